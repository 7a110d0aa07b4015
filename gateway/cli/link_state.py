"""What the processes of a site share about the link: an operator's word, and the debt that a limit makes.

    DATA/run/link.json    Override as JSON, written by ``skerry link``; gone: as configured. Read again when it changes
    DATA/run/link.debts   two doubles: when each way is free again, on the machine's monotonic clock; under a file lock

Neither is durable, and neither must be: a limit is about now. After a boot the monotonic clock begins anew, so what
lies further ahead than any transfer could owe is not believed.
"""

from __future__ import annotations

import fcntl
import mmap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway.cli.run_files import read_run_file, write_run_file
from gateway.config import Config
from gateway.store.files import Files
from gateway.store.layout import DataDirectory
from replication.link import Link, Override, configured_link

OVERRIDE_NAME: Final = "link.json"
DEBTS_NAME: Final = "link.debts"
LOOK_S: Final = 0.5
DEBT_S_MAX: Final = 6 * 3600.0
DEBTS_SIZE: Final = 16


class SharedDebts:
    """See ``replication.link.Debts``: one for all processes of a site."""

    def __init__(self, files: Files, path: Path) -> None:
        self._files = files
        self._fd = files.open_shared(path)
        if files.size(self._fd) < DEBTS_SIZE:
            files.truncate(self._fd, DEBTS_SIZE)
        self._map = mmap.mmap(self._fd, DEBTS_SIZE)
        self._free_at = memoryview(self._map).cast("d")

    def take(self, way: int, now_s: float, seconds: float) -> float:
        """See ``Debts``. Nothing is waited for under the lock."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            free_at = self._free_at[way]
            begin = free_at if now_s < free_at < now_s + DEBT_S_MAX else now_s
            self._free_at[way] = begin + seconds
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        return begin

    def close(self) -> None:
        """Let go of the file."""
        self._free_at.release()
        self._map.close()
        self._files.close(self._fd)


class OverrideFile:
    """The operator's word, as it stands in the file; looked at every ``LOOK_S`` at most."""

    def __init__(self, path: Path, now: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._now = now
        self._look_at = 0.0
        self._said = Override()

    def __call__(self) -> Override:
        """What holds; as configured if there is no file, or none that can be read."""
        if self._now() >= self._look_at:
            self._look_at = self._now() + LOOK_S
            self._said = read_override(self._path)
        return self._said


def open_debts(directory: DataDirectory) -> SharedDebts:
    """This process' hold on the site's debts."""
    return SharedDebts(directory.files, directory.run / DEBTS_NAME)


def override_path(directory: DataDirectory) -> Path:
    """Where an operator's word is kept."""
    return directory.run / OVERRIDE_NAME


def read_override(path: Path) -> Override:
    """What the file says; nothing if it is not there or not one of ours."""
    return read_run_file(path, Override) or Override()


def write_override(path: Path, said: Override) -> None:
    """Say something else from now on: whole or not at all."""
    write_run_file(path, said)


def site_link(config: Config, directory: DataDirectory) -> Link:
    """The link of a site that has a cloud, as all its processes see it."""
    assert config.cloud is not None
    return configured_link(config.cloud, config.link, OverrideFile(override_path(directory)))
