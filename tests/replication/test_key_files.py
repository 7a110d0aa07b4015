"""Every call by which key objects and root keys reach the disk fails once: told, nothing half written, repeatable."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from replication.keys import create_realm, read_key_directory, write_key_directory
from replication.root_keys import FileRootKey, generate_key_file
from replication.small_files import SmallFiles


class FailingOnce(SmallFiles):
    """The ``fail_at``-th call (from 1) fails; a failing write has written half. ``calls`` counts."""

    def __init__(self, fail_at: int) -> None:
        self.fail_at, self.calls = fail_at, 0

    def _count(self) -> None:
        self.calls += 1
        if self.calls == self.fail_at:
            raise OSError(errno.EIO, "planted")

    def make_directory(self, path: Path) -> None:
        self._count()
        super().make_directory(path)

    def open_new(self, path: Path, *, exclusive: bool) -> int:
        self._count()
        return super().open_new(path, exclusive=exclusive)

    def write(self, descriptor: int, data: bytes) -> None:
        if self.calls + 1 == self.fail_at:
            os.write(descriptor, data[: len(data) // 2])
        self._count()
        super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        self._count()
        super().sync(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        self._count()
        super().rename(source, target)

    def sync_directory(self, path: Path) -> None:
        self._count()
        super().sync_directory(path)


def test_each_failing_call_of_the_key_directory_is_told_and_can_be_repeated(tmp_path: Path) -> None:
    generate_key_file(tmp_path / "root.key")
    made = create_realm(FileRootKey(tmp_path / "root.key"), 1)
    counting = FailingOnce(0)
    write_key_directory(tmp_path / "all", made.objects, counting)
    assert counting.calls > 4 * len(made.objects)
    for fail_at in range(1, counting.calls + 1):
        directory = tmp_path / f"{fail_at}"
        with pytest.raises(OSError, match="planted"):
            write_key_directory(directory, made.objects, FailingOnce(fail_at))
        kept = read_key_directory(directory) if directory.exists() else {}
        assert kept.items() <= made.objects.items(), "half a key object under its name"
        assert "realm" not in kept or kept.keys() == made.objects.keys(), "the realm was written before its keys"
        write_key_directory(directory, made.objects)
        assert read_key_directory(directory) == made.objects


def test_each_failing_call_of_a_generated_key_leaves_no_key(tmp_path: Path) -> None:
    for fail_at in (1, 2, 3, 4):
        with pytest.raises(OSError, match="planted"):
            generate_key_file(tmp_path / "root.key", FailingOnce(fail_at))
        assert not (tmp_path / "root.key").exists()
    generate_key_file(tmp_path / "root.key", FailingOnce(5))
    FileRootKey(tmp_path / "root.key")


def test_a_short_write_of_a_key_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:-1]))
    with pytest.raises(OSError, match="short write"):
        generate_key_file(tmp_path / "root.key")
    assert not (tmp_path / "root.key").exists()
