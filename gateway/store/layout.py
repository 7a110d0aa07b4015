"""The data directory: its stamp, its paths, and who may use it.

    DATA/format.toml   format version, realm, site, when it was made; written first, once, fsynced with its directory
    DATA/segments/     data and log segments      DATA/index/  LMDB, derived
    DATA/keys/         wrapped key objects        DATA/run/    shared memory and pid files, not durable

Stands between configuration and everything that opens a file. Invariants: directories are 0700, files 0600; a directory
that is not ours (no stamp but not empty, another realm or site, another owner, a newer format) is refused before
anything is written to it. It knows no keys and starts nothing.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.store.errors import BadDataDirectory, FormatTooNew
from gateway.store.files import TEMPORARY_SUFFIX, Files
from gateway.store.segment_format import KIND_DATA, KIND_LOG, parse_segment_name, segment_name

FORMAT_VERSION: Final = 1
STAMP_NAME: Final = "format.toml"
_SUBDIRECTORIES: Final = ("segments", "index", "keys", "run")
_ID: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class DataDirectory:
    """An opened data directory: its path, its stamp's realm and site (16 bytes each), and the system calls to use."""

    path: Path
    realm: bytes
    site: bytes
    files: Files

    @property
    def segments(self) -> Path:
        """Directory of segment files."""
        return self.path / "segments"

    @property
    def index(self) -> Path:
        """Directory of the LMDB index."""
        return self.path / "index"

    @property
    def keys(self) -> Path:
        """Directory of wrapped keys."""
        return self.path / "keys"

    @property
    def run(self) -> Path:
        """Directory of what does not outlive the processes."""
        return self.path / "run"

    @classmethod
    def is_stamped(cls, path: Path) -> bool:
        """Whether something was created here: ``open`` it, do not ``create``."""
        return (path / STAMP_NAME).exists()

    @classmethod
    def create(cls, path: Path, realm: bytes, site: bytes, files: Files | None = None) -> DataDirectory:
        """Make a new data directory at ``path`` (absent, or empty and our own) and open it. Durable on return.

        ``BadDataDirectory`` if something else is there, or if it would leave files of ours in another user's directory.
        """
        files, path = files or Files(), path.resolve()
        if not files.is_directory(path):
            _make_directories(files, path)
        _check_owner(files, path)
        foreign = [name for name in files.list_directory(path) if name != STAMP_NAME + TEMPORARY_SUFFIX]
        if foreign:
            raise BadDataDirectory(
                f"{path} is not empty and is no data directory of Skerry (found {sorted(foreign)[0]!r}): "
                "give another directory, or empty this one"
            )
        now = datetime.now(UTC).replace(microsecond=0).isoformat()
        stamp = f'format = {FORMAT_VERSION}\nrealm = "{realm.hex()}"\nsite = "{site.hex()}"\ncreated = "{now}"\n'
        files.write_file_durably(path / STAMP_NAME, stamp.encode())
        return cls.open(path, realm, site, files)

    @classmethod
    def open(
        cls, path: Path, realm: bytes | None = None, site: bytes | None = None, files: Files | None = None
    ) -> DataDirectory:
        """Open an existing data directory, checking that it is of ``realm`` and ``site`` where these are given.

        ``BadDataDirectory`` with what to do, or ``FormatTooNew``; nothing is written in either case.
        """
        files, path = files or Files(), path.resolve()
        if not files.is_directory(path):
            raise BadDataDirectory(f"{path} is not a directory")
        _check_owner(files, path)
        found_realm, found_site = _read_stamp(files, path)
        if realm is not None and realm != found_realm:
            raise BadDataDirectory(f"{path} belongs to realm {found_realm.hex()}, not to {realm.hex()}")
        if site is not None and site != found_site:
            raise BadDataDirectory(f"{path} belongs to site {found_site.hex()}, not to {site.hex()}")
        made = False
        for name in _SUBDIRECTORIES:
            if not files.is_directory(path / name):
                files.make_directory(path / name)
                made = True
            else:
                _check_owner(files, path / name)
        if made:
            files.sync_directory(path)
        return cls(path, found_realm, found_site, files)

    def segment_path(self, number: int, kind: int) -> Path:
        """Path of a segment file."""
        return self.segments / segment_name(number, kind)

    def segment_numbers(self, kind: int) -> list[int]:
        """Numbers of the segment files of one kind that exist now, ascending."""
        parsed = map(parse_segment_name, self.files.list_directory(self.segments))
        return sorted(found[0] for found in parsed if found is not None and found[1] == kind)

    def claim_number(self, kind: int) -> Iterator[int]:
        """Numbers to try, ascending, above every one in use: the claim itself is the exclusive create of the file.

        Numbers of data segments are even, of log segments odd, so that a number alone names one file. The collector
        never unlinks the highest of a kind, so no number is used twice.
        """
        assert kind in (KIND_DATA, KIND_LOG)
        last = self.segment_numbers(kind)[-1:]
        number = last[0] + 2 if last else 2 + kind
        while True:
            yield number
            number += 2


def _make_directories(files: Files, path: Path) -> None:
    """Make ``path`` and its missing parents, each synced into its parent; refused below another user's directory."""
    parent = path.parent
    if not files.is_directory(parent) and not parent.exists():
        _make_directories(files, parent)
    elif files.own_user() == 0 and files.owner(parent.resolve()) != 0:
        raise BadDataDirectory(
            f"{parent} belongs to user {files.owner(parent.resolve())}, but this runs as root: run as that user, "
            "or make the directory first and give it to root"
        )
    try:
        files.make_directory(path)
    except OSError as error:
        raise BadDataDirectory(f"cannot make {path}: {error.strerror}") from error
    files.sync_directory(parent)


def _check_owner(files: Files, path: Path) -> None:
    owner, own = files.owner(path), files.own_user()
    if owner != own:
        raise BadDataDirectory(
            f"{path} belongs to user {owner}, but this runs as user {own}, which would leave files there that the "
            f"owner cannot use: run as user {owner}, or change the owner of the whole directory"
        )


def _read_stamp(files: Files, path: Path) -> tuple[bytes, bytes]:
    try:
        text = files.read_file(path / STAMP_NAME)
    except FileNotFoundError:
        raise BadDataDirectory(f"{path} holds no {STAMP_NAME}: it is no data directory of Skerry") from None
    except OSError as error:
        raise BadDataDirectory(f"cannot read {path / STAMP_NAME}: {error.strerror}") from error
    owner = files.owner(path / STAMP_NAME)
    if owner != files.own_user():
        raise BadDataDirectory(f"{path / STAMP_NAME} belongs to user {owner}: change the owner of the whole directory")
    try:
        stamp = tomllib.loads(text.decode())
        version, realm, site = stamp["format"], stamp["realm"], stamp["site"]
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError) as error:
        raise BadDataDirectory(f"{path / STAMP_NAME} cannot be understood: {error}") from error
    if not isinstance(version, int) or version < 1:
        raise BadDataDirectory(f"{path / STAMP_NAME} names no format")
    if version > FORMAT_VERSION:
        raise FormatTooNew(
            f"{path} has format {version}; this Skerry reads up to {FORMAT_VERSION}: upgrade it. Nothing was touched"
        )
    if not all(isinstance(value, str) and _ID.fullmatch(value) for value in (realm, site)):
        raise BadDataDirectory(f"{path / STAMP_NAME} names no realm or site")
    return bytes.fromhex(realm), bytes.fromhex(site)
