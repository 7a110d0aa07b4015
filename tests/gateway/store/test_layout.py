"""The data directory: created, opened, and refused untouched where it is not ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.store.errors import BadDataDirectory, FormatTooNew
from gateway.store.files import Files
from gateway.store.layout import DataDirectory
from gateway.store.segment_format import KIND_DATA, KIND_LOG

REALM, SITE = bytes(range(16)), bytes(range(16, 32))


class OwnedBy(Files):
    """Files of which one path belongs to another user."""

    def __init__(self, path: Path, owner: int, own: int | None = None) -> None:
        self.path, self.other, self.own = path, owner, own

    def owner(self, path: Path) -> int | None:
        return self.other if path == self.path else super().owner(path)

    def own_user(self) -> int:
        return super().own_user() if self.own is None else self.own


def test_create_then_open(tmp_path: Path) -> None:
    path = tmp_path / "a" / "data"
    made = DataDirectory.create(path, REALM, SITE)
    assert DataDirectory.is_stamped(path)
    assert not DataDirectory.is_stamped(tmp_path)
    opened = DataDirectory.open(path, REALM, SITE)
    assert (opened.realm, opened.site) == (made.realm, made.site) == (REALM, SITE)
    for directory in (path, opened.segments, opened.index, opened.keys, opened.run):
        assert directory.stat().st_mode & 0o777 == 0o700
    assert (path / "format.toml").stat().st_mode & 0o777 == 0o600


def test_a_link_to_the_directory_is_followed_once(tmp_path: Path) -> None:
    DataDirectory.create(tmp_path / "real", REALM, SITE)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert DataDirectory.open(tmp_path / "link").path == (tmp_path / "real").resolve()


def test_creation_cut_short_can_be_repeated(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.mkdir(mode=0o700)
    (path / "format.toml.tmp").write_bytes(b"form")
    assert DataDirectory.create(path, REALM, SITE).site == SITE


def test_foreign_directories_are_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(BadDataDirectory, match="'file'"):
        DataDirectory.create(tmp_path, REALM, SITE)
    with pytest.raises(BadDataDirectory, match=r"format\.toml"):
        DataDirectory.open(tmp_path)
    with pytest.raises(BadDataDirectory, match="not a directory"):
        DataDirectory.open(tmp_path / "file")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_other_realm_or_site_is_refused(tmp_path: Path) -> None:
    DataDirectory.create(tmp_path / "d", REALM, SITE)
    with pytest.raises(BadDataDirectory, match="realm"):
        DataDirectory.open(tmp_path / "d", SITE)
    with pytest.raises(BadDataDirectory, match="site"):
        DataDirectory.open(tmp_path / "d", REALM, REALM)


def test_newer_format_is_refused(tmp_path: Path) -> None:
    DataDirectory.create(tmp_path / "d", REALM, SITE)
    stamp = tmp_path / "d" / "format.toml"
    stamp.write_text(stamp.read_text().replace("format = 1", "format = 2"))
    with pytest.raises(FormatTooNew, match="upgrade"):
        DataDirectory.open(tmp_path / "d")


@pytest.mark.parametrize("stamp", [b"\xff", b"format = 'x'", b"format = 1\nrealm = 'zz'\nsite = 'zz'", b"["])
def test_stamps_that_say_nothing_are_refused(tmp_path: Path, stamp: bytes) -> None:
    DataDirectory.create(tmp_path / "d", REALM, SITE)
    (tmp_path / "d" / "format.toml").write_bytes(stamp)
    with pytest.raises(BadDataDirectory):
        DataDirectory.open(tmp_path / "d")


def test_another_users_directory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "d"
    DataDirectory.create(path, REALM, SITE)
    for owned in (path, path / "segments", path / "format.toml"):
        with pytest.raises(BadDataDirectory, match="belongs to user 12345"):
            DataDirectory.open(path, files=OwnedBy(owned, 12345))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(BadDataDirectory, match="run as user 12345"):
        DataDirectory.create(empty, REALM, SITE, OwnedBy(empty, 12345))
    assert not list(empty.iterdir())


def test_root_makes_nothing_below_another_users_directory(tmp_path: Path) -> None:
    with pytest.raises(BadDataDirectory, match="runs as root"):
        DataDirectory.create(tmp_path / "a" / "b", REALM, SITE, OwnedBy(tmp_path, 12345, own=0))
    assert not list(tmp_path.iterdir())


def test_numbers_are_claimed_above_those_in_use_and_name_one_file(tmp_path: Path) -> None:
    directory = DataDirectory.create(tmp_path / "d", REALM, SITE)
    assert next(directory.claim_number(KIND_DATA)) == 2
    assert next(directory.claim_number(KIND_LOG)) == 3
    for name in ("2.data", "10.data", "3.log", "9.data", "x.log", "04.data", "99999999999.data"):
        (directory.segments / name).touch()
    assert directory.segment_numbers(KIND_DATA) == [2, 10]
    assert next(directory.claim_number(KIND_DATA)) == 12
    assert next(directory.claim_number(KIND_LOG)) == 5
