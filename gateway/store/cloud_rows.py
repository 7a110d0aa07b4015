"""What lies in the cloud, in the index: where frames lie, which objects are doomed, whose are to be relied on.

Stands beside ``chunk_rows``, between ``apply`` (which says what was located, doomed, given up) and the tables
``cloud``, ``objects``, ``contents``, ``patches``, ``dooms`` and ``trusted``. Rules:

* all places of a frame are kept, whichever log told of them in whatever order: a later log never hides an earlier one;
* a place is **usable** (nothing is sent again, the local copy may go) if its object is not doomed and its owner is
  trusted: it has acknowledged this site's current log, or was silent long after that had begun. Before, the owner may
  delete what this site has just come to need. After a parting the owner of what lies under a former log of the same
  site may be a copy of the machine: this site is trusted like another then, but for what its current log tells of.
  What is not usable is still read, as long as it is there;
* a patch is a copy of its chunk only while a full frame of each base is in a usable place, too: what nothing needs any
  more may lose its base before it goes itself, and be needed again;
* a doomed object stays doomed, also for locations that come later, until the doom itself is ended;
* after its end nothing is left of it: what is taken for news then, and what is usable, says ``told_objects``.

It does not decide what is needed (``cloud_needs``) nor when anything goes (``replication/collector``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from gateway.store.index import Transaction
from gateway.store.index_format import CLOUD_FIXED, NUMBER, DoomRow, State, encode_dot, frame_key
from gateway.store.log_format import Located
from replication.cloud_names import log_of
from replication.collection_ports import DoomState
from replication.crdt import Dot
from replication.frame_format import FrameHeader, FrameName, decode_header
from replication.ports import FrameLocation

OBJECT_DOOMED: Final = 1
OBJECT_AWAITED: Final = 2
OBJECT_UNTOLD: Final = 4
_SITE_SIZE: Final = 16
_CHUNK_ID_SIZE: Final = 32
_NO, _YES = b"\0", b"\1"
_encoder = msgspec.msgpack.Encoder()
_doom_decoder = msgspec.msgpack.Decoder(DoomRow)


class Place(NamedTuple):
    """One place of a frame: its header, the object's number, flags and name, the offset of the ciphertext there."""

    header: FrameHeader
    encoded: bytes
    number: int
    flags: int
    name: str
    offset: int
    trusted: bool

    @property
    def doomed(self) -> bool:
        """Whether the object is on its way out."""
        return bool(self.flags & OBJECT_DOOMED)

    @property
    def usable(self) -> bool:
        """Whether this copy may be relied on."""
        return self.trusted and not self.flags

    @property
    def location(self) -> FrameLocation:
        """The place as replication sees it."""
        return FrameLocation(self.encoded, self.name, self.offset)


class CloudRows:
    """What lies in the cloud, within one write transaction. ``state`` is the writer's (for numbers of objects)."""

    def __init__(self, transaction: Transaction, state: State) -> None:
        self._transaction, self._tables, self._state = transaction, transaction.tables, state

    def locate(self, located: Iterable[FrameLocation | Located]) -> None:
        """Frames lie in the cloud at these places, too; their objects were told of now."""
        numbers: dict[str, int] = {}
        for place in located:
            name = place.object_name
            if name not in numbers:
                numbers[name] = self._told_number(name)
            self._put_place(decode_header(place.header), place.header, numbers[name], place.offset)

    def flag(self, number: int, flags: int) -> None:
        """Set the flags of an object."""
        _, name = read_object(self._transaction, number)
        self._put_object(number, flags, name)

    def object_number(self, name: str) -> int:
        """The number of a cloud object; a new one if it was never heard of."""
        key = b"s" + name.encode()
        found = self._transaction.get(self._tables.objects, key)
        if found is not None:
            return int.from_bytes(found, "little")
        number = self._state.next_object
        self._state.next_object += 1
        self._transaction.put(self._tables.objects, key, number.to_bytes(4, "little"))
        self._put_object(number, 0, name)
        return number

    def doom(self, dot: Dot, names: Sequence[str], time_ms: int) -> list[bytes]:
        """These objects go: nothing relies on them from now on. Ids of the chunks in them and of patches over those."""
        numbers = [self.object_number(name) for name in names]
        touched: list[bytes] = []
        for number, name in zip(numbers, names, strict=True):
            self._put_object(number, OBJECT_DOOMED, name)  # whether it is still awaited matters no more
            for chunk_id in contents_of(self._transaction, number):
                touched += [chunk_id, *patches_over(self._transaction, chunk_id)]
        row = DoomRow(DoomState.APPLIED.value, time_ms, tuple(numbers))
        self._transaction.put(self._tables.dooms, encode_dot(dot), _encoder.encode(row))
        return touched

    def step_doom(self, dot: Dot, state: DoomState) -> None:
        """A doom has come so far here; ``DISCARDED``: nothing is known any more of what was in its objects."""
        row = read_doom(self._transaction, dot)
        if row is None or row.state >= state.value:
            return
        if state is DoomState.DISCARDED:
            for number in row.numbers:
                self._forget_contents(number)
        changed = msgspec.structs.replace(row, state=state.value)
        self._transaction.put(self._tables.dooms, encode_dot(dot), _encoder.encode(changed))

    def supersede_doom(self, dot: Dot) -> None:
        """Another doom of the same objects took its place."""
        self._transaction.delete(self._tables.dooms, encode_dot(dot))

    def end_doom(self, dot: Dot) -> None:
        """Its objects are gone from the bucket, and so is every batch that told of them: nothing is kept of it."""
        row = read_doom(self._transaction, dot)
        if row is None:
            return
        self._transaction.delete(self._tables.dooms, encode_dot(dot))
        for number in row.numbers:
            self._forget_contents(number)
            flags_name = self._transaction.pop(self._tables.objects, b"n" + NUMBER.pack(number))
            if flags_name is not None:
                self._transaction.delete(self._tables.objects, b"s" + flags_name[1:])

    def trust(self, site: bytes) -> None:
        """This site will wait for the current own log before it deletes: what lies in its objects may be relied on."""
        self._transaction.put(self._tables.trusted, site, _YES)

    def meet(self, site: bytes) -> None:
        """There is such a site; it may not know of the current own log yet."""
        if self._transaction.get(self._tables.trusted, site) is None:
            self._transaction.put(self._tables.trusted, site, _NO)

    def trust_own(self, site: bytes, incarnation: bytes, *, only: bool) -> None:
        """The own log begins anew; nobody but the site itself knows of it. ``only``: nor does whoever else may write
        in this site's name, so that only objects of this very log are to be relied on.
        """
        table = self._tables.trusted
        for key in [key for key, _ in self._transaction.scan(table)]:
            if len(key) == _SITE_SIZE:
                self._transaction.put(table, key, _NO)
            else:
                self._transaction.delete(table, key)
        self._transaction.put(table, site, _NO if only else _YES)
        self._transaction.put(table, site + incarnation, _YES)

    def _put_place(self, header: FrameHeader, encoded: bytes, number: int, offset: int) -> None:
        there = NUMBER.pack(number)
        self._transaction.put(self._tables.cloud, frame_key(header.name) + there, CLOUD_FIXED.pack(offset) + encoded)
        self._transaction.put(self._tables.contents, there + header.chunk_id, b"")
        for base in header.bases:
            self._transaction.put(self._tables.patches, base.chunk_id + header.chunk_id, b"")

    def _told_number(self, name: str) -> int:
        number = self.object_number(name)
        flags, _ = read_object(self._transaction, number)
        if flags & ~OBJECT_DOOMED:
            self._put_object(number, flags & OBJECT_DOOMED, name)
        return number

    def _put_object(self, number: int, flags: int, name: str) -> None:
        self._transaction.put(self._tables.objects, b"n" + NUMBER.pack(number), bytes((flags,)) + name.encode())

    def _forget_contents(self, number: int) -> None:
        prefix = NUMBER.pack(number)
        for chunk_id in contents_of(self._transaction, number):
            for place in [place for place in places_of(self._transaction, chunk_id) if place.number == number]:
                self._transaction.delete(self._tables.cloud, frame_key(place.header.name) + prefix)
                for base in place.header.bases:
                    if not any(base in other.header.bases for other in places_of(self._transaction, chunk_id)):
                        self._transaction.delete(self._tables.patches, base.chunk_id + chunk_id)
            self._transaction.delete(self._tables.contents, prefix + chunk_id)


def contents_of(transaction: Transaction, number: int) -> list[bytes]:
    """Ids of the chunks of which some frame lies in a cloud object."""
    prefix = NUMBER.pack(number)
    return [key[len(prefix) :] for key, _ in transaction.scan(transaction.tables.contents, prefix, prefix)]


def places_of(transaction: Transaction, chunk_id: bytes) -> Iterator[Place]:
    """Every place of every frame of a chunk."""
    for key, data in transaction.scan(transaction.tables.cloud, chunk_id, chunk_id):
        yield _place(transaction, key, data)


def places_of_frame(transaction: Transaction, name: FrameName) -> Iterator[Place]:
    """Every place of exactly this frame."""
    prefix = frame_key(name)
    for key, data in transaction.scan(transaction.tables.cloud, prefix, prefix):
        yield _place(transaction, key, data)


def patches_over(transaction: Transaction, chunk_id: bytes) -> Iterator[bytes]:
    """Ids of chunks of which some located frame is a patch against a frame of this one."""
    for key, _ in transaction.scan(transaction.tables.patches, chunk_id, chunk_id):
        yield key[_CHUNK_ID_SIZE:]


def is_in_cloud(transaction: Transaction, chunk_id: bytes) -> bool:
    """Whether some frame of the chunk lies in the cloud to stay, with all it takes to open it."""
    if not transaction.has_any(transaction.tables.cloud, chunk_id):  # as of nearly all that is written
        return False
    places = places_of(transaction, chunk_id)
    return any(place.usable and _has_bases(transaction, place, untrusted_too=False) for place in places)


def is_whole_in_cloud(transaction: Transaction, chunk_id: bytes) -> bool:
    """Whether some full frame of the chunk lies in the cloud to stay."""
    return any(place.usable and not place.header.bases for place in places_of(transaction, chunk_id))


def is_frame_in_cloud(transaction: Transaction, name: FrameName) -> bool:
    """Whether exactly this frame lies in the cloud to stay."""
    return any(place.usable for place in places_of_frame(transaction, name))


def locate_chunk(transaction: Transaction, chunk_id: bytes) -> FrameLocation | None:
    """Where to read a chunk in the cloud: what stays before what goes, a full frame rather than a patch."""
    return next(iter(locate_everywhere(transaction, chunk_id)), None)


def locate_everywhere(transaction: Transaction, chunk_id: bytes) -> list[FrameLocation]:
    """Every place to read a chunk from, best first."""

    def leaves(place: Place) -> bool:
        return bool(place.flags) or not _has_bases(transaction, place, untrusted_too=True)

    places = sorted(places_of(transaction, chunk_id), key=lambda place: (leaves(place), *_preference(place)))
    return [place.location for place in places]


def locate_frame(transaction: Transaction, name: FrameName) -> FrameLocation | None:
    """Where to read exactly this frame in the cloud."""
    places = places_of_frame(transaction, name)
    best = min(places, key=lambda place: (place.flags, *_preference(place)), default=None)
    return None if best is None else best.location


def read_object(transaction: Transaction, number: int) -> tuple[int, str]:
    """Flags and name of a cloud object."""
    data = transaction.get(transaction.tables.objects, b"n" + NUMBER.pack(number))
    assert data is not None, "a frame's cloud object has no name"
    return data[0], data[1:].decode()


def find_object(transaction: Transaction, name: str) -> int | None:
    """The number of a cloud object that was heard of."""
    found = transaction.get(transaction.tables.objects, b"s" + name.encode())
    return None if found is None else int.from_bytes(found, "little")


def scan_objects(transaction: Transaction, prefix: str, after: str) -> Iterator[tuple[str, int]]:
    """(name, number) of the cloud objects under ``prefix`` behind ``after``, by name."""
    start = b"s" + (after.encode() + b"\0" if after else prefix.encode())
    for key, data in transaction.scan(transaction.tables.objects, start, b"s" + prefix.encode()):
        yield key[1:].decode(), int.from_bytes(data, "little")


def untrusted_sites(transaction: Transaction) -> list[bytes]:
    """Sites that may not know of this site's current log yet."""
    return [site for site, known in transaction.scan(transaction.tables.trusted) if known == _NO]


def read_doom(transaction: Transaction, dot: Dot) -> DoomRow | None:
    """How far a doom has come here."""
    data = transaction.get(transaction.tables.dooms, encode_dot(dot))
    return None if data is None else _doom_decoder.decode(data)


def scan_dooms(transaction: Transaction) -> Iterator[tuple[Dot, DoomRow]]:
    """Every doom that is not ended, by its dot."""
    for key, data in transaction.scan(transaction.tables.dooms):
        yield Dot(key[:16], key[16:24], int.from_bytes(key[24:], "big")), _doom_decoder.decode(data)


def dooms_by_name(transaction: Transaction) -> Iterator[tuple[Dot, tuple[str, ...]]]:
    """Every doom that is not ended, with the names of its objects."""
    for dot, row in scan_dooms(transaction):
        yield dot, tuple(read_object(transaction, number)[1] for number in row.numbers)


def _has_bases(transaction: Transaction, place: Place, *, untrusted_too: bool) -> bool:
    """Whether a full frame of each base lies in a usable place; ``untrusted_too``: or in any that is not doomed."""
    return all(
        any(
            not other.header.bases and (other.usable or (untrusted_too and not other.flags))
            for other in places_of(transaction, base.chunk_id)
        )
        for base in place.header.bases
    )


def _preference(place: Place) -> tuple[bool, bool, int]:
    return bool(place.header.bases), not place.trusted, -place.number


def _place(transaction: Transaction, key: bytes, data: bytes) -> Place:
    number = int.from_bytes(key[-4:], "big")
    flags, name = read_object(transaction, number)
    encoded = data[CLOUD_FIXED.size :]
    (offset,) = CLOUD_FIXED.unpack_from(data)
    trusted = _is_trusted(transaction, name)
    return Place(decode_header(encoded), encoded, number, flags, name, offset, trusted)


def _is_trusted(transaction: Transaction, name: str) -> bool:
    log = log_of(name)
    if log is None:
        return True  # nobody deletes it
    table = transaction.tables.trusted
    return _YES in (transaction.get(table, log[0]), transaction.get(table, log[0] + log[1]))
