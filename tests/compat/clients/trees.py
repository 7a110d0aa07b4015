"""Directory trees, compared."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

Runner = Callable[..., "subprocess.CompletedProcess[bytes]"]
"""Runs one client program with arguments; keyword arguments are its environment, ``check=False`` allows it to fail,
``given`` is its input."""


def read_tree(root: Path) -> dict[str, bytes]:
    """Relative name → bytes, of every file."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
