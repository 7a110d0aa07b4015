"""What a command ends with: exit codes for scripts, and one way to print an answer or a complaint.

Every command returns one of these codes. Answers go to standard output (one JSON document with ``--json``),
progress and complaints to standard error, so that a pipe gets only the answer.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

EXIT_OK: Final = 0
EXIT_NO: Final = 1
"""The command worked and the answer is no: damage was found, not safe to lose, conflicts exist and were asked for."""
EXIT_USAGE: Final = 2
"""Wrong options, or a configuration that cannot be used."""
EXIT_FAILED: Final = 3
"""The site could not do it: data directory, keys, disk, or something that does not exist."""
EXIT_CLOUD: Final = 4
"""The cloud could not be reached or refused; trying again later may help."""
EXIT_INTERRUPTED: Final = 130

EXIT_CODES_TEXT: Final = (
    "exit codes: 0 done; 1 done, and the answer is no (damage found, unsafe, conflicts);\n"
    "2 wrong options or configuration; 3 the site could not do it; 4 the cloud could not be reached\n"
    "or refused; 130 interrupted"
)


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    json.dump(document, sys.stdout, indent=2, sort_keys=False)
    sys.stdout.write("\n")


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns aligned for a person; nothing but the head if there are no rows."""
    lines = [tuple(head), *(tuple(str(cell) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def complain(message: str) -> None:
    """One complaint on standard error."""
    print(f"skerry: {message}", file=sys.stderr)


def describe_bytes(count: int) -> str:
    """A size for a person: ``1.5 MiB``."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            return f"{int(size)} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")
