"""One good request for every operation: the rows of the security table, a small file a family.

A family adds its operations by a module here with ``ROWS: dict[Operation, Row]`` (and, where its requests need
something to be there, ``prepare(s3)``, which runs before each test with a client of the owner; what it makes is in the
bucket ``raw`` or in buckets of its own, and the scene's cleaning up finds it). ``collect_rows`` finds the modules.
A row's request must succeed when it is signed: its status is what S3 answers then, be it 404 for what is not there.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from gateway.s3.routing import Operation


class Row(NamedTuple):
    """A request. ``{u}`` in the query is an open upload of ``up`` with part 1; ``%s`` in the body that part's ETag.

    ``status``: of the answer when it is signed; ``md5``: the document must be vouched for by Content-MD5.
    """

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = {}
    body: bytes = b""
    status: int = 200
    md5: bool = False


def collect_rows() -> tuple[dict[Operation, Row], list[Callable[[Any], None]]]:
    """All families' rows, and what prepares their scenes. An operation in two families is an error."""
    rows: dict[Operation, Row] = {}
    prepares = []
    for module in pkgutil.iter_modules(__path__):
        family = import_module(f"{__name__}.{module.name}")
        assert not rows.keys() & family.ROWS.keys(), f"{module.name} repeats another family's row"
        rows.update(family.ROWS)
        if hasattr(family, "prepare"):
            prepares.append(family.prepare)
    return rows, prepares
