"""The system calls: whole or an error, owner-only modes, durable replacement."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gateway.store.files import IOV_MAX, Files


def test_append_writes_more_buffers_than_one_call_takes(tmp_path: Path) -> None:
    files = Files()
    fd = files.create(tmp_path / "a")
    buffers = [bytes([n & 255]) * (n % 7) for n in range(2 * IOV_MAX + 5)]
    assert files.append(fd, 3, buffers) == sum(map(len, buffers))
    assert files.pread(fd, 1 << 20, 3) == b"".join(buffers)
    files.close(fd)


def test_short_write_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files()
    fd = files.create(tmp_path / "a")
    monkeypatch.setattr(os, "pwritev", lambda fd, buffers, offset: sum(map(len, buffers)) - 1)
    with pytest.raises(OSError) as caught:
        files.append(fd, 0, [b"ab", b"c"])
    assert caught.value.errno == errno.ENOSPC
    files.close(fd)


def test_create_refuses_what_exists_and_gives_owner_only_modes(tmp_path: Path) -> None:
    files = Files()
    files.close(files.create(tmp_path / "a"))
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        files.create(tmp_path / "a")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(OSError):
        files.open_read(tmp_path / "link")


def test_pread_cached_gives_all_or_none(tmp_path: Path) -> None:
    files = Files()
    fd = files.create(tmp_path / "a")
    files.append(fd, 0, [b"x" * 5000])
    assert files.pread_cached(fd, 5000, 0) in (b"x" * 5000, None)
    assert files.pread_cached(fd, 5001, 0) is None
    files.close(fd)


def test_durable_write_replaces_whole_and_survives_a_leftover(tmp_path: Path) -> None:
    files = Files()
    (tmp_path / "a.tmp").write_bytes(b"left over")
    files.write_file_durably(tmp_path / "a", b"one")
    files.write_file_durably(tmp_path / "a", b"two", mode=0o640)
    assert (tmp_path / "a").read_bytes() == b"two"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["a"]
