"""The system calls behind the files that replication keeps beside a site's data: key objects and root keys.

Stands where ``gateway.store.files`` stands for the store, so that a test can record or fail each call by passing
another ``SmallFiles``. Invariants: a file is whole and durable under its name on return, or the name is as it was; a
short write is an error. It decides nothing: errors are ``OSError`` as the kernel gave them.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

DIRECTORY_MODE: Final = 0o700
FILE_MODE: Final = 0o600


class SmallFiles:
    """Each call is one that a disk may refuse. Stateless."""

    def make_directory(self, path: Path) -> None:
        """A directory (0700), or nothing if it is there. Durable after ``sync_directory`` of its parent."""
        path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)

    def open_new(self, path: Path, *, exclusive: bool) -> int:
        """Open an empty file (0600) for writing; ``exclusive``: ``FileExistsError`` if there is one."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_EXCL if exclusive else os.O_TRUNC)
        return os.open(path, flags, FILE_MODE)

    def write(self, descriptor: int, data: bytes) -> None:
        """All of it, or ``OSError``."""
        count = os.write(descriptor, data)
        if count != len(data):
            raise OSError(errno.ENOSPC, f"short write: {count} of {len(data)} bytes")

    def sync(self, descriptor: int) -> None:
        """What was written is on stable storage."""
        os.fsync(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file its name. Durable after ``sync_directory``."""
        source.rename(target)

    def sync_directory(self, path: Path) -> None:
        """The names in a directory are on stable storage."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def write_durably(self, path: Path, data: bytes) -> None:
        """Make or replace a file by one that was written beside it: a crash leaves the old or the new."""
        beside = path.with_suffix(".new")
        self.write_open(self.open_new(beside, exclusive=False), data)
        self.rename(beside, path)
        self.sync_directory(path.parent)

    def write_open(self, descriptor: int, data: bytes) -> None:
        """Write and sync an open file, and close it whatever happens."""
        try:
            self.write(descriptor, data)
            self.sync(descriptor)
        finally:
            os.close(descriptor)


FILES: Final = SmallFiles()
