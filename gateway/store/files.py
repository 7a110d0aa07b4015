"""The only ``os`` calls of the store: every byte that reaches or leaves the disk passes through ``Files``.

Stands below segments, layout and everything durable, so that a test can record, fail or reorder each call by passing
another ``Files``. Invariants: a write is whole or raises (a short write is an error, never retried); nothing here
decides policy, retries, or hides an error.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

IOV_MAX: Final = min(os.sysconf("SC_IOV_MAX"), 1024) if os.sysconf("SC_IOV_MAX") > 0 else 16
FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700
TEMPORARY_SUFFIX: Final = ".tmp"
_PUNCH_HOLE_KEEP_SIZE: Final = 3

Buffer = bytes | bytearray | memoryview


class Files:
    """System calls on files. Errors are ``OSError`` as the kernel gave them; stateless and safe from any thread."""

    def create(self, path: Path) -> int:
        """Create a file that must not exist (``FileExistsError``), mode 0600, for reading and writing.

        Its descriptor.
        """
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)

    def open_read(self, path: Path) -> int:
        """Open for reading; a symbolic link is refused."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def open_shared(self, path: Path) -> int:
        """Open for reading and writing, created (0600) if absent.

        For files that are mapped or locked, never appended.
        """
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)

    def truncate(self, fd: int, size: int) -> None:
        """Set a file's size, with all its blocks: a mapped page must not find the disk full (SIGBUS)."""
        os.ftruncate(fd, size)
        if size:
            os.posix_fallocate(fd, 0, size)

    def append(self, fd: int, offset: int, buffers: Sequence[Buffer]) -> int:
        """Write all buffers at ``offset``, one behind the other: bytes written, which is always their sum.

        A short write raises ``OSError`` (ENOSPC, its usual reason): what the file holds from ``offset`` on is then
        unknown, and the caller must never append to it again.
        """
        written = 0
        for first in range(0, len(buffers), IOV_MAX):
            group = buffers[first : first + IOV_MAX]
            expected = sum(map(len, group))
            count = os.pwritev(fd, group, offset + written)
            if count != expected:
                raise OSError(errno.ENOSPC, f"short write: {count} of {expected} bytes")
            written += count
        return written

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """Up to ``size`` bytes at ``offset``; less only at the file's end. May block on the disk."""
        data = os.pread(fd, size, offset)
        if len(data) == size or not data:
            return data
        pieces = [data]
        have = len(data)
        while have < size and (data := os.pread(fd, size - have, offset + have)):
            pieces.append(data)
            have += len(data)
        return b"".join(pieces)

    def pread_cached(self, fd: int, size: int, offset: int) -> bytes | None:
        """Exactly ``size`` bytes if the page cache has them all; None if the disk would have to be waited for."""
        buffer = bytearray(size)
        try:
            count = os.preadv(fd, [buffer], offset, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                return None
            raise
        return bytes(buffer) if count == size else None

    def fdatasync(self, fd: int) -> None:
        """Everything written to the file, and its size, is on stable storage."""
        os.fdatasync(fd)

    def fsync(self, fd: int) -> None:
        """As ``fdatasync``, and the file's mode and times too."""
        os.fsync(fd)

    def sync_directory(self, path: Path) -> None:
        """The names in the directory are on stable storage."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name, replacing what had it. Durable after ``sync_directory``."""
        os.rename(source, target)

    def link(self, source: Path, target: Path) -> None:
        """Give a file one more name; ``FileExistsError`` if that is taken. Durable after ``sync_directory``."""
        os.link(source, target, follow_symlinks=False)

    def unlink(self, path: Path) -> None:
        """Remove a name. Durable after ``sync_directory``."""
        os.unlink(path)

    def close(self, fd: int) -> None:
        """Give a descriptor back."""
        os.close(fd)

    def size(self, fd: int) -> int:
        """A file's size in bytes."""
        return os.fstat(fd).st_size

    def link_count(self, fd: int) -> int:
        """How many names an open file still has: 0 once it was unlinked."""
        return os.fstat(fd).st_nlink

    def drop_cache(self, fd: int) -> None:
        """Ask the kernel to forget cached pages of the file, so that the next read comes from the disk."""
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def forget(self, fd: int, offset: int, size: int) -> None:
        """Advise the kernel that a stretch of the file need not stay cached; what is not on the disk yet does."""
        os.posix_fadvise(fd, offset, size, os.POSIX_FADV_DONTNEED)

    def open_write(self, path: Path) -> int:
        """Open an existing file for writing; a symbolic link is refused. Only for ``punch_hole``."""
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)

    def punch_hole(self, fd: int, offset: int, size: int) -> None:
        """Give the whole blocks of a stretch back to the file system; it reads as zeros then, the file's size stays.

        ``OSError`` (EOPNOTSUPP) where the file system or C library cannot.
        """
        try:
            fallocate = ctypes.CDLL(None, use_errno=True).fallocate
        except AttributeError:
            raise OSError(errno.EOPNOTSUPP, "no fallocate") from None
        arguments = (fd, _PUNCH_HOLE_KEEP_SIZE, ctypes.c_longlong(offset), ctypes.c_longlong(size))
        if fallocate(*arguments):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def free_bytes(self, path: Path) -> int:
        """Bytes an unprivileged process may still write to the file system of ``path``."""
        figures = os.statvfs(path)
        return figures.f_bavail * figures.f_frsize

    def total_bytes(self, path: Path) -> int:
        """Bytes of the file system of ``path``, whoever they belong to."""
        figures = os.statvfs(path)
        return figures.f_blocks * figures.f_frsize

    def list_directory(self, path: Path) -> list[str]:
        """Names in a directory, in no order."""
        return os.listdir(path)

    def make_directory(self, path: Path) -> None:
        """Make one directory, mode 0700; ``FileExistsError`` if the name is taken."""
        os.mkdir(path, DIRECTORY_MODE)

    def owner(self, path: Path) -> int | None:
        """User id a file or directory belongs to (a link is not followed); None if there is none."""
        try:
            return os.lstat(path).st_uid
        except FileNotFoundError:
            return None

    def is_directory(self, path: Path) -> bool:
        """Whether the path is a directory itself, not a link to one."""
        try:
            return stat.S_ISDIR(os.lstat(path).st_mode)
        except FileNotFoundError:
            return False

    def own_user(self) -> int:
        """User id this process creates files as."""
        return os.geteuid()

    def write_file_durably(self, path: Path, data: bytes, mode: int = FILE_MODE) -> None:
        """Create or replace a small file: on return it is whole and durable under its name; a crash leaves old or new.

        Written beside its name, synced, renamed, directory synced. One writer per path at a time.
        """
        temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
        with contextlib.suppress(FileNotFoundError):
            self.unlink(temporary)
        fd = self.create(temporary)
        try:
            os.fchmod(fd, mode)
            self.append(fd, 0, [data])
            self.fsync(fd)
        finally:
            self.close(fd)
        self.rename(temporary, path)
        self.sync_directory(path.parent)

    def read_file(self, path: Path) -> bytes:
        """A small file, whole."""
        fd = self.open_read(path)
        try:
            return self.pread(fd, self.size(fd), 0)
        finally:
            self.close(fd)
