"""Which buckets a site takes in: names, or prefixes of names with ``*`` behind them. Pure.

Stands below whoever filters (the store, as changes are applied), tells (checkpoints: what they hold) and configures.
All of the realm is ``ALL``; bucket names cannot hold a star, so nothing is ambiguous.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

ALL: Final = ("*",)
_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\*?|\*")


def matches(patterns: Sequence[str], name: str) -> bool:
    """Whether a bucket of this name is among them."""
    return any(name == each or (each.endswith("*") and name.startswith(each[:-1])) for each in patterns)


def covers(patterns: Sequence[str], pattern: str) -> bool:
    """Whether every bucket that ``pattern`` could mean is among ``patterns``."""
    stem = pattern.removesuffix("*")
    return any(each == pattern or (each.endswith("*") and stem.startswith(each[:-1])) for each in patterns)


def covers_all(patterns: Sequence[str], others: Sequence[str]) -> bool:
    """Whether every bucket of ``others`` is among ``patterns``; an empty list stands for all of the realm."""
    return all(covers(patterns or ALL, each) for each in others or ALL)


def check_patterns(patterns: Sequence[str]) -> str | None:
    """What is wrong with a list of names and beginnings of names; None if nothing is."""
    wrong = [each for each in patterns if not _PATTERN.fullmatch(each)]
    return f'must be a bucket\'s name, or how names begin and "*", not {wrong[0]!r}' if wrong else None
