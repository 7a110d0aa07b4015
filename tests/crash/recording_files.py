"""A ``Files`` that does its work and keeps a record of it, from which every state a crash could leave can be made.

Stands where the store's own ``Files`` stands. Operations are recorded in the order in which they finished, with the
test's own notes (what was acknowledged when, what the index file looked like) among them. What ``open_shared`` opens
lives in memory only and is not recorded: a crash takes it away.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.store.files import Buffer, Files


@dataclass(frozen=True)
class Create:
    path: Path
    inode: int


@dataclass(frozen=True)
class Write:
    inode: int
    offset: int
    data: bytes


@dataclass(frozen=True)
class Truncate:
    inode: int
    size: int


@dataclass(frozen=True)
class Punch:
    """A hole: reads as zeros, the size stays."""

    inode: int
    offset: int
    size: int


@dataclass(frozen=True)
class Sync:
    """``later``: how many writes were recorded while it ran, which it may not cover."""

    inode: int
    later: int = 0


@dataclass(frozen=True)
class SyncDirectory:
    path: Path


@dataclass(frozen=True)
class Rename:
    source: Path
    target: Path


@dataclass(frozen=True)
class Link:
    source: Path
    target: Path


@dataclass(frozen=True)
class Unlink:
    path: Path


@dataclass(frozen=True)
class MakeDirectory:
    path: Path


@dataclass(frozen=True)
class Note:
    """Not an operation: something the test wants to know of when it looks at a state, e.g. an acknowledgement."""

    what: str
    value: object


Operation = Create | Write | Truncate | Punch | Sync | SyncDirectory | Rename | Link | Unlink | MakeDirectory | Note


class RecordingFiles(Files):
    """Records what it does in ``operations``. ``before_write`` is called with the path ahead of each append."""

    def __init__(self, before_write: Callable[[Path], None] | None = None) -> None:
        self.operations: list[Operation] = []
        self._before_write = before_write
        self._lock = threading.RLock()
        self._inodes = 0
        self._by_path: dict[Path, int] = {}
        self._by_fd: dict[int, int] = {}
        self._path_by_fd: dict[int, Path] = {}

    def note(self, what: str, value: object) -> None:
        """Put a note between the operations."""
        with self._lock:
            self.operations.append(Note(what, value))

    def create(self, path: Path) -> int:
        with self._lock:
            fd = super().create(path)
            self._inodes += 1
            self._by_path[path] = self._by_fd[fd] = self._inodes
            self._path_by_fd[fd] = path
            self.operations.append(Create(path, self._inodes))
            return fd

    def open_read(self, path: Path) -> int:
        with self._lock:
            fd = super().open_read(path)
            if path in self._by_path:
                self._by_fd[fd] = self._by_path[path]
            return fd

    def append(self, fd: int, offset: int, buffers: Sequence[Buffer]) -> int:
        if self._before_write is not None and fd in self._path_by_fd:
            self._before_write(self._path_by_fd[fd])
        with self._lock:
            written = super().append(fd, offset, buffers)
            if fd in self._by_fd:
                self.operations.append(Write(self._by_fd[fd], offset, b"".join(map(bytes, buffers))))
            return written

    def truncate(self, fd: int, size: int) -> None:
        with self._lock:
            super().truncate(fd, size)
            if fd in self._by_fd:
                self.operations.append(Truncate(self._by_fd[fd], size))

    def fdatasync(self, fd: int) -> None:
        self._sync(fd, super().fdatasync)

    def fsync(self, fd: int) -> None:
        self._sync(fd, super().fsync)

    def _sync(self, fd: int, really_sync: Callable[[int], None]) -> None:
        # Not under the lock: other threads write on meanwhile, and this sync promises nothing about that.
        with self._lock:
            at = len(self.operations)
            inode = self._by_fd.get(fd)
        really_sync(fd)
        if inode is not None:
            with self._lock:
                later = [
                    op for op in self.operations[at:] if isinstance(op, Write | Truncate | Punch) and op.inode == inode
                ]
                self.operations.append(Sync(inode, len(later)))

    def sync_directory(self, path: Path) -> None:
        with self._lock:
            super().sync_directory(path)
            self.operations.append(SyncDirectory(path))

    def rename(self, source: Path, target: Path) -> None:
        with self._lock:
            super().rename(source, target)
            if source in self._by_path:  # else the index made it: its writes do not come this way
                self._by_path[target] = self._by_path.pop(source)
                self.operations.append(Rename(source, target))

    def link(self, source: Path, target: Path) -> None:
        with self._lock:
            super().link(source, target)
            self._by_path[target] = self._by_path[source]
            self.operations.append(Link(source, target))

    def unlink(self, path: Path) -> None:
        with self._lock:
            super().unlink(path)
            if self._by_path.pop(path, None) is not None:
                self.operations.append(Unlink(path))

    def make_directory(self, path: Path) -> None:
        with self._lock:
            super().make_directory(path)
            self.operations.append(MakeDirectory(path))

    def open_write(self, path: Path) -> int:
        with self._lock:
            fd = super().open_write(path)
            if path in self._by_path:
                self._by_fd[fd] = self._by_path[path]
            return fd

    def punch_hole(self, fd: int, offset: int, size: int) -> None:
        with self._lock:
            super().punch_hole(fd, offset, size)
            if fd in self._by_fd:
                self.operations.append(Punch(self._by_fd[fd], offset, size))

    def close(self, fd: int) -> None:
        with self._lock:
            self._by_fd.pop(fd, None)
            self._path_by_fd.pop(fd, None)
            super().close(fd)
