"""System calls that fail when told to: the n-th call of a name, with an errno, or a short write."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from gateway.store.files import Buffer, Files


class FailingFiles(Files):
    """``fail[name] = (after, errno)``: calls of ``name`` fail once ``after`` more went well. Calls are recorded."""

    def __init__(self) -> None:
        self.fail: dict[str, tuple[int, int]] = {}
        self.calls: list[str] = []
        self.free: int | None = None

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.fail:
            after, number = self.fail[name]
            self.fail[name] = (after - 1, number)
            if after <= 0:
                raise OSError(number, os.strerror(number))

    def append(self, fd: int, offset: int, buffers: Sequence[Buffer]) -> int:
        try:
            self._call("append")
        except OSError:
            whole = b"".join(buffers)
            super().append(fd, offset, [whole[: len(whole) // 2]])  # what a real disk may have done by then
            raise
        return super().append(fd, offset, buffers)

    def fdatasync(self, fd: int) -> None:
        self._call("fdatasync")
        super().fdatasync(fd)

    def sync_directory(self, path: Path) -> None:
        self._call("sync_directory")
        super().sync_directory(path)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        self._call("pread")
        return super().pread(fd, size, offset)

    def pread_cached(self, fd: int, size: int, offset: int) -> bytes | None:
        self._call("pread_cached")
        return super().pread_cached(fd, size, offset)

    def link(self, source: Path, target: Path) -> None:
        self._call("link")
        super().link(source, target)

    def unlink(self, path: Path) -> None:
        self._call("unlink")
        super().unlink(path)

    def free_bytes(self, path: Path) -> int:
        return super().free_bytes(path) if self.free is None else self.free
