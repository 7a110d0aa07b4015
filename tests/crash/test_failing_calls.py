"""Every file call of a workload fails, once or from then on, with every error a disk has: what was acknowledged stays,
what failed said so, in words a client is told.

After a failed sync the site is read-only and nothing is acknowledged any more (a later sync that succeeds proves
nothing), until it is opened again. The short form takes a few calls of each kind by chance; ``SKERRY_FAULTS=all``
takes them all. ``SKERRY_FAULTS_SEED`` repeats a choice.
"""

from __future__ import annotations

import errno
import os
import random
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from gateway.store.errors import ReadOnlyStore, StoreError
from gateway.store.files import Buffer
from gateway.store.index import IndexUnreadable
from tests.crash.open_store import open_store
from tests.crash.recording_files import Note, RecordingFiles
from tests.crash.test_store_crashes import check_promises, promised, read_store
from tests.crash.workloads import WORKLOADS, Value, Writer
from tests.gateway.store.held_frames import HeldFrames

ALL = os.environ.get("SKERRY_FAULTS") == "all"
CALLS_AT_MOST = 4
SHORT = -1
"""Not an errno: half of what was to be written is, and the call says so."""
CODES = {
    "EIO": errno.EIO,
    "ENOSPC": errno.ENOSPC,
    "EDQUOT": errno.EDQUOT,
    "EMFILE": errno.EMFILE,
    "short": SHORT,
}
MEANINGS = {
    "create": ("EIO", "ENOSPC", "EDQUOT", "EMFILE"),
    "open_read": ("EIO", "EMFILE"),
    "append": ("EIO", "ENOSPC", "EDQUOT", "short"),
    "fdatasync": ("EIO", "ENOSPC", "EDQUOT"),
    "sync_directory": ("EIO", "EMFILE"),
    "unlink": ("EIO",),
}
"""Which errors which call can have."""
ENUMERATED = ("small puts", "medium and large", "uploads", "deletes", "documents", "collected")


class FailingFiles(RecordingFiles):
    """Lets a call that is counted fail: the ``fail_at``-th, and with ``lasting`` all of its kind behind it. 0: none.

    ``kinds``: what each counted call was.
    """

    def __init__(self, fail_at: int, code: int, *, lasting: bool = False) -> None:
        super().__init__()
        self.fail_at, self.code, self.lasting = fail_at, code, lasting
        self.kinds: list[str] = []
        self.failed, self.failed_at = "", 0

    @property
    def is_of_an_unlink(self) -> bool:
        """Whether what failed first was the sync of a name that went: nothing acknowledged is in doubt then."""
        return self.failed == "sync_directory" and self.kinds[self.failed_at - 1 : self.failed_at] == ["unlink"]

    @property
    def calls(self) -> int:
        return len(self.kinds)

    def start(self, fail_at: int) -> None:
        """Count from here."""
        self.kinds, self.fail_at = [], fail_at

    def _is_next(self, what: str) -> bool:
        return self.calls + 1 == self.fail_at or (bool(self.failed) and self.lasting and what == self.failed)

    def _count(self, what: str) -> None:
        fails = self.fail_at >= 0 and self._is_next(what)
        self.kinds.append(what)
        if fails:
            if not self.failed:
                self.failed, self.failed_at = what, self.calls - 1
            self.note("failed", what)
            raise OSError(errno.ENOSPC if self.code == SHORT else self.code, f"planted in {what}")

    def create(self, path: Path) -> int:
        self._count("create")
        return super().create(path)

    def open_read(self, path: Path) -> int:
        self._count("open_read")
        return super().open_read(path)

    def append(self, fd: int, offset: int, buffers: Sequence[Buffer]) -> int:
        if self.fail_at >= 0 and self._is_next("append") and offset:
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

    def unlink(self, path: Path) -> None:
        self._count("unlink")
        super().unlink(path)


class PatientWriter(Writer):
    """Goes on after a write that failed, and counts what was refused; ``untyped`` are errors no client is told of."""

    refused = 0
    untyped: tuple[BaseException, ...] = ()

    async def _step(self, key: str, value: Value, run: Callable) -> None:
        try:
            await super()._step(key, value, run)
        except StoreError:
            self.refused += 1
        except AssertionError:  # what it builds on was refused before
            assert self.refused
        except OSError as error:
            self.refused += 1
            self.untyped = (*self.untyped, error)

    def collect(self) -> None:
        try:
            super().collect()
        except StoreError:
            self.refused += 1


async def run_workload(
    name: str, root: Path, fail_at: int, code: int, *, lasting: bool = False
) -> tuple[FailingFiles, PatientWriter, bool]:
    """A workload on a store of its own; the calls of opening it do not count. Last: whether it ended up read-only."""
    files, cloud = FailingFiles(0, code, lasting=lasting), HeldFrames()
    root.mkdir(mode=0o700)
    async with open_store(root, files, cloud) as store:
        writer = PatientWriter(store, files, 1, cloud)
        await writer.make_bucket()
        files.start(fail_at)
        await WORKLOADS[name](writer)
        files.fail_at = -1
        return files, writer, store.shared.read_only


def check_refusals(files: FailingFiles, writer: PatientWriter, read_only: bool, what: str) -> None:
    """Somebody was told, in words; nothing is acknowledged behind a failed sync, and the site is read-only then."""
    assert not writer.untyped, f"{what}: {writer.untyped}"
    if files.failed not in ("open_read", "unlink"):  # reading an old version is an attempt; unlinking is tried again
        assert writer.refused, f"{what}: nobody was told"
    if "sync" in files.failed and not files.is_of_an_unlink:
        assert read_only, f"{what}: writes go on"
        notes = [op for op in files.operations if isinstance(op, Note)]
        later = notes[next(at for at, note in enumerate(notes) if note.what == "failed") :]
        assert not [note for note in later if note.what == "acknowledged"], f"{what}: acknowledged after a failed sync"


def choose(kinds: Sequence[str], code: str, seed: int) -> list[int]:
    """Which calls (from 1) are to fail with this error: all that can, or a few of them."""
    possible = [at for at, kind in enumerate(kinds, start=1) if code in MEANINGS[kind]]
    return possible if ALL else sorted(random.Random(seed).sample(possible, min(CALLS_AT_MOST, len(possible))))


@pytest.mark.slow
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("name", ENUMERATED)
async def test_each_failing_call(name: str, code: str, lasting: bool, tmp_path: Path) -> None:
    seed = int(os.environ.get("SKERRY_FAULTS_SEED") or secrets.randbits(32))
    files, writer, _ = await run_workload(name, tmp_path / "count", 0, 0)
    assert not writer.refused
    assert files.calls > 5
    tried: Counter[str] = Counter()
    for fail_at in choose(files.kinds, code, seed):
        root = tmp_path / f"{fail_at}"
        failing, writer, read_only = await run_workload(name, root, fail_at, CODES[code], lasting=lasting)
        if not failing.failed:
            continue  # threads: this time it came to fewer calls
        what = f"{name}: {code} in call {fail_at} ({failing.failed}), seed {seed}"
        check_refusals(failing, writer, read_only, what)
        check_promises((await read_store(root)).values, promised(failing.operations, len(failing.operations)), what)
        tried[failing.failed] += 1
    how = "for ever" if lasting else "once"
    print(f"{name}, {code} {how}: {tried.total()} faults {dict(tried)} of {files.calls} calls")


@pytest.mark.parametrize("rebuilding", [False, True], ids=["as it is", "rebuilding"])
@pytest.mark.parametrize("code", ["EIO", "EMFILE", "ENOSPC"])
async def test_each_failing_call_of_opening(code: str, rebuilding: bool, tmp_path: Path) -> None:
    """A site that cannot be opened says so, and loses nothing by it."""
    files, _, _ = await run_workload("medium and large", tmp_path / "site", 0, 0)
    allowed = promised(files.operations, len(files.operations))
    tried = 0
    for fail_at in range(1, 100):
        failing = FailingFiles(fail_at, CODES[code])
        if rebuilding:
            shutil.rmtree(tmp_path / "site" / "index", ignore_errors=True)
        try:
            async with open_store(tmp_path / "site", failing):
                failing.fail_at = -1
        except (StoreError, IndexUnreadable, OSError):
            assert failing.failed
        if not failing.failed:
            break
        tried += 1
    check_promises((await read_store(tmp_path / "site")).values, allowed, "in the end")
    print(f"opening{', the index deleted' if rebuilding else ''}, {code}: {tried} faults")


async def test_a_failed_sync_makes_the_site_read_only(tmp_path: Path) -> None:
    files = FailingFiles(0, errno.EIO)
    async with open_store(tmp_path / "site", files) as store:
        writer = Writer(store, files, 1)
        await writer.make_bucket()
        files.start(2)
        with pytest.raises(ReadOnlyStore):
            await writer.put("first", 100)
        with pytest.raises(ReadOnlyStore):
            await writer.put("second", 100)
    assert (await read_store(tmp_path / "site")).values.keys() <= {"first"}
