"""Small JSON files in ``DATA/run``, by which the processes of a site and its commands tell each other how things stand.

Written whole or not at all, and not durable: they are about now. Whoever reads one does without where there is none, or
none of its kind.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

Kind = TypeVar("Kind")


def write_run_file(path: Path, document: Any) -> None:
    """Replace what the file says. ``document``: anything that msgspec encodes."""
    replace_run_file(path, msgspec.json.encode(document))


def replace_run_file(path: Path, data: bytes) -> None:
    """The same for bytes that have a format of their own."""
    temporary = path.with_suffix(".new")
    temporary.write_bytes(data)
    temporary.replace(path)


def read_run_file(path: Path, kind: type[Kind]) -> Kind | None:
    """What the file says; None if it cannot be read, or says nothing of this kind."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
