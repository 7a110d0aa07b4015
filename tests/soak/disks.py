"""A disk that can be made full: a file system of its own where the machine lets us mount one, else the site's reserve.

Neither knows the site's files. ``fill`` and ``free`` may be called again and again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from tests.support.net import wait_until
from tests.support.site import Site

_EXT4_IOC_SHUTDOWN: Final = 0x8004587D  # _IOR('X', 125, __u32), linux/fs/ext4/ext4.h
_NO_LOG_FLUSH: Final = 2
_LEFT_BYTES: Final = 1 << 20
_STEP_BYTES: Final = 64 << 20
_BLOCK_BYTES: Final = 4096
_ENDLESS_BYTES: Final = 1 << 60


class Disk(Protocol):
    """What is below a site."""

    def fill(self) -> None:
        """From now on there is no room."""

    def free(self) -> None:
        """There is room again."""


class BallastDisk:
    """A file system that a file of ballast fills."""

    def __init__(self, directory: Path, left_bytes: int = _LEFT_BYTES) -> None:
        self._ballast, self._left_bytes = directory / "ballast", left_bytes

    def fill(self) -> None:
        """Write ballast until little is left; what the site frees meanwhile is its own."""
        step = _STEP_BYTES
        with self._ballast.open("wb") as file:
            while step >= _BLOCK_BYTES and (left := _free_bytes(self._ballast.parent) - self._left_bytes) > 0:
                try:
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), min(left, step))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    step //= 2  # so much is not free, what ballast needs for itself included

    def free(self) -> None:
        """Throw the ballast away."""
        self._ballast.unlink(missing_ok=True)


class ReserveDisk:
    """No file system of one's own: the site is restarted with a reserve that no disk has."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def fill(self) -> None:
        """Ask for more free space than there is."""
        self._restart(_ENDLESS_BYTES)

    def free(self) -> None:
        """Ask for little."""
        self._restart(0)

    def _restart(self, reserve_bytes: int) -> None:
        self._site.settings.setdefault("store", {})["reserve_bytes"] = reserve_bytes
        self._site.write_config()
        self._site.stop()
        self._site.start()


@contextmanager
def mounted(directory: Path, size_bytes: int) -> Iterator[bool]:
    """A file system of that size (a sparse image, ext4) on ``directory`` while the block runs; whether it could be."""
    directory.mkdir()
    image = directory.with_suffix(".image")
    with image.open("wb") as file:
        file.truncate(size_bytes)
    try:
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(directory)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        image.unlink()
        yield False
        return
    try:
        yield True
    except BaseException:
        _unmount(directory)  # the image stays: somebody will want to look
        raise
    _unmount(directory)
    image.unlink()


def shut_down(directory: Path) -> None:
    """Cut a mounted ext4 off, now, its journal not written out: what was not synced is lost, every call fails."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _EXT4_IOC_SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
    finally:
        os.close(descriptor)


def remount(directory: Path, *options: str) -> None:
    """Take away what ``mounted`` mounted and mount it again: its journal is replayed, nothing of it is cached."""
    wait_until(lambda: not subprocess.run(["umount", str(directory)], capture_output=True).returncode, "free", 60)
    image = directory.with_suffix(".image")
    subprocess.run(["mount", "-o", ",".join(("loop", *options)), str(image), str(directory)], check=True)


def _unmount(directory: Path) -> None:
    """Processes that were killed may hold files for a moment longer."""
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: not subprocess.run(["umount", str(directory)], capture_output=True).returncode, "free", 20)
        return
    subprocess.run(["umount", "--lazy", str(directory)], check=False)


def _free_bytes(directory: Path) -> int:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize
