"""Every file call of a workload fails once, with EIO or ENOSPC: what was acknowledged stays, what failed said so.

After a failed sync nothing may be acknowledged any more (a later sync that succeeds proves nothing), until the site is
opened again.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from gateway.store.errors import ReadOnlyStore, StoreError
from gateway.store.files import Buffer
from tests.crash.open_store import open_store
from tests.crash.recording_files import Note, RecordingFiles
from tests.crash.test_store_crashes import check_promises, promised, read_store
from tests.crash.workloads import WORKLOADS, Value, Writer


class FailingFiles(RecordingFiles):
    """Lets the ``fail_at``-th of the calls that change the disk fail. 0: none, but they are counted."""

    def __init__(self, fail_at: int, code: int) -> None:
        super().__init__()
        self.fail_at, self.code, self.calls, self.failed = fail_at, code, 0, ""

    def _count(self, what: str) -> None:
        self.calls += 1
        if self.calls == self.fail_at:
            self.failed = what
            self.note("failed", what)
            raise OSError(self.code, f"planted in {what}")

    def create(self, path: Path) -> int:
        self._count("create")
        return super().create(path)

    def append(self, fd: int, offset: int, buffers: Sequence[Buffer]) -> int:
        if self.calls + 1 == self.fail_at and offset:
            half = b"".join(map(bytes, buffers))
            super().append(fd, offset, [half[: len(half) // 2]])  # it fails in the middle, as a full disk does
        self._count("append")
        return super().append(fd, offset, buffers)

    def fdatasync(self, fd: int) -> None:
        self._count("fdatasync")
        super().fdatasync(fd)

    def sync_directory(self, path: Path) -> None:
        self._count("sync_directory")
        super().sync_directory(path)


class PatientWriter(Writer):
    """Goes on after a write that failed, and counts what was refused."""

    refused = 0

    async def _step(self, key: str, value: Value, run: Callable) -> None:
        try:
            await super()._step(key, value, run)
        except (StoreError, OSError):
            self.refused += 1


async def run_workload(name: str, root: Path, fail_at: int, code: int) -> tuple[FailingFiles, int]:
    """A workload on a store of its own; the calls of opening it do not count. The files, and how many writes failed."""
    files = FailingFiles(0, code)
    root.mkdir(mode=0o700)
    async with open_store(root, files) as store:
        writer = PatientWriter(store, files, 1)
        await writer.make_bucket()
        files.calls, files.fail_at = 0, fail_at
        await WORKLOADS[name](writer)
        files.fail_at = -1
    return files, writer.refused


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
@pytest.mark.parametrize("name", ["small puts", "medium and large", "uploads", "deletes"])
async def test_each_failing_call(name: str, code: int, tmp_path: Path) -> None:
    files, refused = await run_workload(name, tmp_path / "count", 0, code)
    assert not refused
    assert files.calls > 5
    for fail_at in range(1, files.calls + 1):
        root = tmp_path / f"{fail_at}"
        failing, refused = await run_workload(name, root, fail_at, code)
        what = f"{name}: call {fail_at} ({failing.failed})"
        assert refused, f"{what}: nobody was told"
        if "sync" in failing.failed:
            notes = [op for op in failing.operations if isinstance(op, Note)]
            later = notes[next(at for at, note in enumerate(notes) if note.what == "failed") :]
            acknowledged = [note for note in later if note.what == "acknowledged"]
            assert not acknowledged, f"{what}: acknowledged after a failed sync"
        check_promises((await read_store(root)).values, promised(failing.operations, len(failing.operations)), what)


async def test_a_failed_sync_makes_the_site_read_only(tmp_path: Path) -> None:
    files = FailingFiles(0, errno.EIO)
    async with open_store(tmp_path / "site", files) as store:
        writer = Writer(store, files, 1)
        await writer.make_bucket()
        files.calls, files.fail_at = 0, 2
        with pytest.raises(ReadOnlyStore):
            await writer.put("first", 100)
        with pytest.raises(ReadOnlyStore):
            await writer.put("second", 100)
    assert (await read_store(tmp_path / "site")).values.keys() <= {"first"}
