"""How far each destination was told of the change log: one small file each, in the data directory, durable.

    DATA/events/<destination>.json    {"incarnation": hex, "seq": n}

A destination that has no file yet begins with what happens from now on. Where the site went on under another
incarnation (its log parted from the cloud's), what was told of the former one and issued anew is not told again.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from gateway.store.layout import DataDirectory


class Position(NamedTuple):
    """The last change that a destination was told of."""

    incarnation: bytes
    seq: int


class _Stored(msgspec.Struct):
    incarnation: str
    seq: int


class PositionFile:
    """The position of one destination."""

    def __init__(self, directory: DataDirectory, destination: str) -> None:
        self._files = directory.files
        self._directory = directory.path / "events"
        self._path: Path = self._directory / f"{destination}.json"

    def begin(self, newest: Position) -> Position:
        """Where to go on: for a destination never told before behind ``newest``, which is durable on return. Called
        before a client can reach the site, too: what is written while the follower's process starts is told.
        """
        position = self.load()
        if position is None:
            self.save(newest)
        return position or newest

    def load(self) -> Position | None:
        """What was saved last; None if nothing ever was, or it cannot be read."""
        try:
            stored = msgspec.json.decode(self._files.read_file(self._path), type=_Stored)
            return Position(bytes.fromhex(stored.incarnation), stored.seq)
        except (FileNotFoundError, msgspec.MsgspecError, ValueError):
            return None

    def save(self, position: Position) -> None:
        """Durable on return."""
        if not self._files.is_directory(self._directory):
            self._files.make_directory(self._directory)
            self._files.sync_directory(self._directory.parent)
        data = msgspec.json.encode(_Stored(position.incarnation.hex(), position.seq))
        self._files.write_file_durably(self._path, data)
