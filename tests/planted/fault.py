"""One planted fault, as ``faults`` and ``disk_faults`` list them."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """One edit. ``promise``: its number in DESIGN §1; 0: a rule of §7 or §8. ``tests``: node ids, relative to the root
    of the tree.
    """

    name: str
    promise: int
    file: str
    text: str
    replacement: str
    tests: tuple[str, ...]
