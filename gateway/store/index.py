"""The index: one LMDB environment per process, and transactions whose every value carries a checksum of ours, over key
and value.

Stands below the row modules (``object_rows``, ``chunk_rows``, …), which know what the values mean; this is the only
module of the store that imports ``lmdb``. Invariants: opened after fork, once per process; never WRITEMAP; the write
transaction is the lock of the site and belongs to the thread that began it; metadata pages are not synced (the change
log has what a power cut may take), so a derived index may fall back by a batch but never breaks.

It does not decide anything: no merge, no reference counting, no recovery.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import google_crc32c
import lmdb
import msgspec

from gateway.store.errors import BadDataDirectory, Damaged, DiskFull, FormatTooNew, Overloaded, ReadOnlyStore
from gateway.store.index_format import INDEX_VERSION, TABLES, State, pack_u64, unpack_u64

MAP_SIZE_DEFAULT: Final = 256 << 30
READERS_MAX: Final = 1024
_SPARE_READERS: Final = 16
_STATE: Final = b"state"
_GENERATION: Final = b"generation"
_SITE: Final = b"site"
_BROKEN: Final = (
    *(lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.CorruptedError, lmdb.PageNotFoundError),
    *(lmdb.IncompatibleError, lmdb.BadChecksumError),
)
crc32c = google_crc32c.value
CRC_SIZE: Final = 4
CRC_OF_WHOLE: Final = 0x48674BC7
"""The CRC32C of anything followed by its own CRC32C, little endian: so a key and what the engine holds under it are
checked as one piece.
"""
_state_decoder = msgspec.msgpack.Decoder(State)
_state_encoder = msgspec.msgpack.Encoder()


class IndexUnreadable(Exception):
    """The index cannot be used (not LMDB, another engine, broken): delete it and rebuild it from the log."""


class IndexOutdated(IndexUnreadable):
    """An older Skerry made the index: it is rebuilt. ``batch``: the last one it knows to be acknowledged."""

    def __init__(self, version: int, batch: int) -> None:
        super().__init__(f"the index has format {version}, this Skerry uses {INDEX_VERSION}: it is rebuilt")
        self.batch = batch


class Tables:
    """Handles of the tables of ``index_format``, by name."""

    __slots__ = tuple(TABLES)
    meta: Any
    items: Any
    names: Any
    counts: Any
    heads: Any
    versions: Any
    marks: Any
    conflicts: Any
    chunks: Any
    cloud: Any
    objects: Any
    segments: Any
    batches: Any
    seqs: Any
    origins: Any
    uploads: Any
    bucket_uploads: Any
    parts: Any
    release: Any
    incarnations: Any
    contents: Any
    patches: Any
    dooms: Any
    trusted: Any
    released: Any
    closed: Any

    def __init__(self, environment: Any) -> None:
        for name in TABLES:
            setattr(self, name, environment.open_db(name.encode()))


class Transaction:
    """A transaction: checked values, and nested ones for requests that may yet be refused.

    ``raw`` is the innermost LMDB transaction; everything reads and writes through it.
    """

    __slots__ = ("_index", "_outer", "raw", "tables")

    def __init__(self, index: Index, raw: Any) -> None:
        self._index = index
        self._outer: Any = None
        self.tables = index.tables
        self.raw = raw

    def check(self, key: bytes, data: bytes) -> bytes:
        """The value in what the engine holds under a key; ``Damaged`` if it is not what was written under that key."""
        if crc32c(key + data) != CRC_OF_WHOLE:
            self._index.on_damage()
            raise Damaged(
                f"an index value is damaged (key {key[:40].hex()}): restart the site to have the index rebuilt"
            )
        return data[:-CRC_SIZE]

    def get(self, table: Any, key: bytes) -> bytes | None:
        """The value of a key; None if there is none; ``Damaged`` if it is not what was written."""
        data: bytes | None = self.raw.get(key, None, table)
        if data is None:
            return None
        return data[:-CRC_SIZE] if crc32c(key + data) == CRC_OF_WHOLE else self.check(key, data)

    def put(self, table: Any, key: bytes, value: bytes) -> None:
        """Set the value of a key."""
        self.raw.put(key, value + crc32c(key + value).to_bytes(CRC_SIZE, "little"), True, True, False, table)

    def delete(self, table: Any, key: bytes) -> bool:
        """Remove a key; whether it was there."""
        return bool(self.raw.delete(key, b"", table))

    def pop(self, table: Any, key: bytes) -> bytes | None:
        """Remove a key and return what it held."""
        data: bytes | None = self.raw.pop(key, table)
        return None if data is None else self.check(key, data)

    def scan(self, table: Any, start: bytes = b"", prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Keys and values from ``start`` on, ascending, while they begin with ``prefix``."""
        cursor = self.raw.cursor(table)
        if not (cursor.set_range(start) if start else cursor.first()):
            return
        for key, data in cursor.iternext(True, True):
            if prefix and not key.startswith(prefix):
                return
            yield key, self.check(key, data)

    def has_any(self, table: Any, prefix: bytes) -> bool:
        """Whether some key begins with ``prefix``; its value is not looked at."""
        cursor = self.raw.cursor(table)
        return bool(cursor.set_range(prefix)) and cursor.key().startswith(prefix)

    def first(self, table: Any, start: bytes) -> tuple[bytes, bytes] | None:
        """The first key >= ``start`` and its value."""
        cursor = self.raw.cursor(table)
        if not cursor.set_range(start):
            return None
        key, data = cursor.item()
        return key, self.check(key, data)

    def last_below(self, table: Any, bound: bytes) -> tuple[bytes, bytes] | None:
        """The last key < ``bound`` and its value."""
        cursor = self.raw.cursor(table)
        found = cursor.prev() if cursor.set_range(bound) else cursor.last()
        if not found:
            return None
        key, data = cursor.item()
        return key, self.check(key, data)

    def load_state(self) -> State:
        """The writer's state; a fresh one in an empty index."""
        data = self.get(self.tables.meta, _STATE)
        return State() if data is None else _state_decoder.decode(data)

    def save_state(self, state: State) -> None:
        """Write the writer's state, and its generation where readers look for it."""
        self.put(self.tables.meta, _STATE, _state_encoder.encode(state))
        if self.generation() != state.generation:
            self.put(self.tables.meta, _GENERATION, pack_u64(state.generation))

    def generation(self) -> int:
        """The configuration generation."""
        data = self.get(self.tables.meta, _GENERATION)
        return 0 if data is None else unpack_u64(data)

    def site(self) -> bytes | None:
        """The site whose index this is; None if nobody claimed it yet."""
        return self.get(self.tables.meta, _SITE)

    def claim(self, site: bytes) -> None:
        """Write down whose index this is, once."""
        if self.site() is None:
            self.put(self.tables.meta, _SITE, site)

    def begin_nested(self) -> None:
        """Begin a part that can be taken back alone."""
        assert self._outer is None
        self._outer = self.raw
        self.raw = self._index.begin_within(self.raw)

    def end_nested(self, keep: bool) -> None:
        """Keep or take back everything since ``begin_nested``."""
        assert self._outer is not None
        nested, self.raw, self._outer = self.raw, self._outer, None
        if keep:
            nested.commit()
        else:
            nested.abort()

    def commit(self) -> None:
        """Make it durable (as far as the index has to be) and visible. ``lmdb.Error`` if that failed."""
        self.raw.commit()

    def abort(self) -> None:
        """Take everything back. Harmless if it ended already."""
        if self._outer is not None:
            self.raw.abort()
            self.raw, self._outer = self._outer, None
        self.raw.abort()

    def end_read(self) -> None:
        """End a snapshot. The engine keeps its slot for as long as anyone holds its transaction, so nobody may: a
        handler's view, for one, lives until its last byte is sent.
        """
        raw, self.raw = self.raw, None
        raw.abort()

    def __enter__(self) -> Transaction:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


class Index:
    """The environment of this process. ``close`` before opening the same directory again."""

    def __init__(
        self, path: Path, map_size: int = MAP_SIZE_DEFAULT, on_damage: Callable[[], None] = lambda: None
    ) -> None:
        """Open (or create) the index in directory ``path``; ``IndexUnreadable`` if what is there is no usable
        index (rebuild it), ``FormatTooNew``, ``BadDataDirectory`` for anything else.

        ``on_damage`` is called whenever something in it turns out not to be what was written.
        """
        self.map_size, self.on_damage = map_size, on_damage
        self.on_panic: Callable[[], object] = lambda: None
        """Called when the engine gave up in this process (a meta page could not be written): it must end."""
        try:
            self._environment = lmdb.open(
                str(path),
                map_size=map_size,
                metasync=False,
                mode=0o600,
                max_dbs=len(TABLES) + 4,
                max_readers=READERS_MAX,
                max_spare_txns=_SPARE_READERS,
                lib_version=1,
            )
            self._environment.reader_check()
            self.tables = Tables(self._environment)
            with self.begin_read() as transaction:
                state = transaction.load_state()
        except (lmdb.Error, Damaged, msgspec.MsgspecError) as error:
            if hasattr(self, "_environment"):
                self._environment.close()
            if isinstance(error, lmdb.Error) and not isinstance(error, _BROKEN):
                raise BadDataDirectory(f"the index in {path} cannot be opened: {error}") from error
            raise IndexUnreadable(f"the index in {path} cannot be used: {error}") from error
        if state.version != INDEX_VERSION:
            self._environment.close()
            if state.version < INDEX_VERSION:
                raise IndexOutdated(state.version, state.batch)
            found = f"the index has format {state.version}"
            raise FormatTooNew(f"{found}; this Skerry reads up to {INDEX_VERSION}: upgrade it")

    def begin_read(self) -> Transaction:
        """A snapshot. Short-lived: never across an await. Ends with ``abort`` (or as a context manager).

        ``Overloaded`` if too many are open, in all processes together.
        """
        try:
            return Transaction(self, self._environment.begin())
        except lmdb.ReadersFullError:
            self._environment.reader_check()  # slots of processes that died
        except lmdb.PanicError as error:
            raise self.translate_error(error) from error
        try:
            return Transaction(self, self._environment.begin())
        except lmdb.ReadersFullError as error:
            raise Overloaded("too many snapshots of the index are open: try again later") from error

    def begin_write(self) -> Transaction:
        """The site's write transaction: waits for whoever holds it. ``commit`` or ``abort`` on this same thread."""
        try:
            return Transaction(self, self._environment.begin(write=True))
        except lmdb.Error as error:
            raise self.translate_error(error) from error

    def begin_within(self, raw: Any) -> Any:
        """A transaction of the engine within another."""
        return self._environment.begin(parent=raw, write=True)

    def translate_error(self, error: Exception) -> Exception:
        """What an error of the engine means to a request: a full disk or map, or durability in doubt."""
        if isinstance(error, lmdb.MapFullError) or "No space left" in str(error):
            return DiskFull(f"the index cannot grow: {error}")
        if isinstance(error, lmdb.PanicError):
            self.on_panic()
            return ReadOnlyStore("the index failed in this process, which is started anew: try again")
        if isinstance(error, _BROKEN):
            self.on_damage()
        return ReadOnlyStore(f"the index failed: {error}")

    def open_scratch(self, name: str) -> Any:
        """A table that is not part of the format, for a rebuild: made if need be; to be dropped again."""
        return self._environment.open_db(name.encode())

    def drop_scratch(self, table: Any) -> None:
        """Remove a scratch table."""
        with self._environment.begin(write=True) as raw:
            raw.drop(table, delete=True)

    def sync(self) -> None:
        """Everything committed is on stable storage, metadata pages included."""
        self._environment.sync(True)

    def size_bytes(self) -> int:
        """Bytes of the index file that are in use."""
        return int(self._environment.info()["last_pgno"] + 1) * int(self._environment.stat()["psize"])

    def close(self) -> None:
        """Give everything back. No transaction may be open."""
        self._environment.close()


INDEX_ERRORS: Final = (lmdb.Error,)
"""What transactions raise when the engine itself fails."""
KEY_ERRORS: Final = (lmdb.BadValsizeError,)
"""Those of them that only say that a key is too long: nothing was touched."""
