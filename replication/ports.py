"""What replication needs from a store and from a cloud: small Protocols, implemented elsewhere.

``gateway/store/replica.py`` implements ``ChangeLog`` and ``FrameStore`` over the real store;
``replication/cloud_s3.py`` and ``replication/cloud_memory.py`` implement ``Cloud``. One contract suite in
``tests/contracts`` runs over every implementation. Replication sees opaque items, encoded changes and sealed frames:
no S3, no plaintext bodies.

Error semantics are part of each contract: a method either did what it says, durably where it says so, or raised.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from replication.crdt import Dot


@dataclass(frozen=True, slots=True)
class Identity:
    """Who ships: realm (16 bytes), site (16 bytes), incarnation (8 random bytes)."""

    realm: bytes
    site: bytes
    incarnation: bytes


Origin = tuple[bytes, bytes]
"""A remote log: (site, incarnation)."""


@dataclass(frozen=True, slots=True)
class LogPosition:
    """How far a log was shipped or taken in: batches ``1..n``, their last sequence number, and the chain hash of batch
    n. ``n == 0`` is the empty log; its chain is 32 zero bytes.
    """

    n: int = 0
    seq: int = 0
    chain: bytes = bytes(32)


@dataclass(frozen=True, slots=True)
class FrameLocation:
    """Where a sealed frame lies in the cloud.

    ``header`` is the frame's header as ``frame_format`` encodes it (bases included); the ciphertext is
    ``header.stored_size`` bytes at ``offset`` of the cloud object ``object_name`` (relative to the prefix).
    """

    header: bytes
    object_name: str
    offset: int


@dataclass(frozen=True, slots=True)
class Frame:
    """A sealed frame: encoded header and ciphertext, byte for byte as on disk and in the cloud."""

    header: bytes
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class Backlog:
    """What the cloud does not have yet, counted from the log: never from memory.

    ``bytes`` is ciphertext of unshipped frames that unsent changes need, plus the encoded changes themselves;
    ``oldest_ms`` the unix time of the oldest unsent change (None if there is none); ``open_upload_bytes`` belongs to
    multipart uploads not completed, which are never shipped.
    """

    changes: int
    bytes: int
    oldest_ms: int | None
    open_upload_bytes: int


@dataclass(frozen=True, slots=True)
class PulledBatch:
    """One verified batch of another site's log, ready to be applied.

    ``changes`` are encoded changes, dense in ``seq``, the last being ``position.seq``; ``frames`` came inline and
    should be kept locally; ``located`` says where the other new frames lie; ``acks`` is the writer's own vector: what
    it had applied of each origin when it wrote the batch; ``sent_ms`` its wall clock then; ``closed``: its log ends
    here; ``status`` what it tells of itself, encoded. ``changes`` may be empty (the bytes of a huge object come in
    batches before its change; an ended log has a last batch): ``position.seq`` then stays what it was.
    """

    origin: Origin
    position: LogPosition
    changes: Sequence[bytes]
    frames: Sequence[Frame] = ()
    located: Sequence[FrameLocation] = ()
    acks: Mapping[Origin, int] = field(default_factory=dict)
    sent_ms: int = 0
    closed: bool = False
    status: bytes = b""


@dataclass(frozen=True, slots=True)
class RemoteLog:
    """What is known here of another log: how far it was taken in, and what its newest batches said.

    ``acks``: what its writer had applied of each other log, the greatest it ever said; ``sent_ms``: its wall clock
    when it wrote the newest batch; ``closed``: nothing will follow; ``status``: what it told of itself last, encoded.
    """

    position: LogPosition
    acks: Mapping[Origin, int] = field(default_factory=dict)
    sent_ms: int = 0
    closed: bool = False
    status: bytes = b""


@dataclass(frozen=True, slots=True)
class Statement:
    """An unreplaced change that says something of a site (``member_format``)."""

    item: bytes
    dot: Dot
    hlc: int
    dead: bool
    body: bytes


@dataclass(frozen=True, slots=True)
class Reissue:
    """What becomes of a log that parted from the cloud's: the own changes past the common head are issued anew.

    ``former`` is the log that is this machine's no longer; ``common`` its last batch that both hold; own changes up to
    ``known_seq`` stand in the bucket under their dots, whoever put them there; those above, up to ``named_seq``, were
    confirmed once and are gone: others may still have them, so their successors name them among what they replace.
    ``site``, ``incarnation``: what this machine goes on as. ``bare``: known ones sent without values that nothing
    in that log replaces. ``reason``: for people.
    """

    former: Origin
    common: LogPosition
    known_seq: int
    named_seq: int
    site: bytes
    incarnation: bytes
    reason: str = ""
    bare: tuple[bytes, ...] = ()


class OwnLogAhead(Exception):
    """A batch acknowledges more of this site's log than is known here to be in the bucket: a reply was lost, or another
    machine writes as this site. Until that is settled it must not be applied: its dots may mean other changes here.
    """

    def __init__(self, seq: int) -> None:
        super().__init__(f"another site has taken in change {seq} of this site's log, which is not known to be shipped")
        self.seq = seq


class ChangeLog(Protocol):
    """The site's change log as replication sees it. Reads are consistent snapshots; writes are durable on return."""

    def identity(self) -> Identity:
        """This site's realm, site and newest incarnation."""

    def last_seq(self) -> int:
        """The sequence number of the newest own change of this incarnation; 0 if none."""

    def shipped(self) -> LogPosition:
        """The confirmed cursor: what is verified to be in the cloud."""

    def backlog(self) -> Backlog:
        """Exact and durable: derived from log and cursor in one snapshot."""

    def read_changes(self, after_seq: int, count_max: int, bytes_max: int) -> list[bytes]:
        """Own encoded changes, dense, starting at ``after_seq + 1``; at least one if there is any, even above
        ``bytes_max``.
        """

    def sendable(self, changes: Sequence[bytes]) -> list[bytes]:
        """Own changes as they may be sent now: each verbatim, or, if a later own change replaced it and its bytes were
        collected before they were ever sent, as a dead one of the same dot, clock and item, without refs, that replaces
        itself besides what it replaced.
        """

    async def record_shipped(self, position: LogPosition, located: Sequence[FrameLocation]) -> None:
        """Advance the cursor and remember where the frames lie, atomically. Refuses to go back (``ValueError``).

        ``position.seq`` may stay what it was: frames of a change that is still to come.
        """

    def pulled(self) -> Mapping[Origin, LogPosition]:
        """Every remote log and how far it was taken in."""

    def heard(self) -> Mapping[Origin, LogPosition]:
        """How far every remote log was ever taken in here, and may have been acknowledged: a site that takes in more
        buckets than before begins again (``FoldedState.subscribe``), but knows what it knew.
        """

    def remote_logs(self) -> Mapping[Origin, RemoteLog]:
        """Every remote log with what its writer said of itself in what was taken in."""

    def unsettled(self) -> Mapping[Origin, int]:
        """For each log with a doom that is not settled here the first such change: acks must stay below it."""

    def acks(self) -> Mapping[Origin, Mapping[Origin, int]]:
        """What each remote log's writer had applied of each origin, as its batches taken in here say."""

    def statements(self) -> Sequence[Statement]:
        """What is said of the realm's sites: every unreplaced change of that family, in any order."""

    async def state(self, item: bytes, body: bytes) -> None:
        """Say something of a site: an own change to that item that replaces what stands there."""

    async def record_pulled(self, batch: PulledBatch) -> None:
        """Merge a remote batch: changes, frames, locations and position become durable together, or not at all.

        Idempotent: a batch at or below the known position is ignored. A gap (``position.n`` not the next) is
        ``ValueError``; ``OwnLogAhead`` if it acknowledges own changes that are not known to be shipped. Of a log that
        was this site's own, changes that stand here already are passed over.
        """

    def trail(self) -> Iterator[LogPosition]:
        """Positions of the own log that were recorded as shipped, newest first: to find where chains part."""

    def former_logs(self) -> Sequence[Origin]:
        """Logs that were this machine's own before, oldest first."""

    async def restate(self, changes: Sequence[bytes]) -> int:
        """Write those of these own changes that still stand here again, as changes that replace them, with the same
        clocks, items, values and version ids: how many. For what the bucket holds without its value.
        """

    async def issue_anew(self, reissue: Reissue) -> int:
        """Go on under another incarnation (or site id), whole or not at all: how many changes were issued anew.

        Those past ``known_seq`` get new dots, the same clocks, items, values and version ids; what they replaced of
        one another is named by the new dots; one that nothing shows any more keeps its place and brings nothing back.
        The former log becomes a remote one, taken in up to ``common``. No effect if the log is ``former`` no longer.
        """


class BytesLost(Exception):
    """The bytes of a chunk cannot be had: what lies here of it is damaged, or nothing does, and the bucket, if it was
    heard of there, does not have it. Said of what somebody asked for now; whether it is for good, time tells.
    """

    def __init__(self, message: str, chunk_id: bytes) -> None:
        super().__init__(message)
        self.chunk_id = chunk_id


Vector = Mapping[Origin, RemoteLog]
"""How far a site had taken in each log, what their writers said; of its own: what is verified to be in the cloud."""


class StateNotReady(Exception):
    """The site's state cannot be exported now; says what it waits for."""


@dataclass(frozen=True, slots=True)
class ExportStart:
    """An export begins: vector, slices of exactly that, buckets the site takes in (``subscription``; none: all)."""

    vector: Vector
    slices: Sequence[bytes] = ()
    holds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JoinState:
    """A join by checkpoint that is not over: whose and which, its vector, slices joined so far, whether those were all,
    and how far each log must be taken in before it is over.
    """

    origin: Origin
    n: int
    made_ms: int
    vector: Vector
    slices: int
    folded: bool
    targets: Mapping[Origin, int]


class FoldedState(Protocol):
    """The site's whole state in slices (opaque here), out of it for a checkpoint and into it from one."""

    def begin_export(self) -> ExportStart:
        """Take the vector. Raises ``StateNotReady``."""

    def export_slice(self, cursor: bytes) -> tuple[bytes, bytes]:
        """The next slice and the cursor behind it; begins and ends with ``b""``. An empty slice is none.

        Each is a short snapshot of its own, not older than the vector: together they hold every change up to it, and
        may hold later ones. Own changes are among those although the cloud may not have them yet.
        """

    def joining(self) -> JoinState | None:
        """The join that is not over. Until it is folded, ``pulled`` tells nothing of it: nothing is acknowledged."""

    def subscribed(self) -> tuple[str, ...]:
        """Which buckets the site takes in (``subscription``); none: all of the realm."""

    async def subscribe(self, patterns: tuple[str, ...]) -> None:
        """Take in these buckets from now on, and those that were taken in before; none: all of the realm.

        If that is more than before, every log counts as not taken in, until a checkpoint or the logs have brought what
        was passed over.
        """

    async def begin_join(self, join: JoinState) -> None:
        """Join a checkpoint from its first slice on, whatever the site has and whatever was joined half before."""

    async def fold_slice(self, number: int, data: bytes) -> None:
        """Join slice ``number`` (from 0, each after the one before), durably. ``ChangeInvalid``, ``ChangeTooNew``."""

    async def end_join(self) -> None:
        """All slices are joined: every log counts as taken in at least up to the vector."""

    async def finish_join(self) -> None:
        """Every log is taken in as far as the join's targets say: it is over. Or, before it is folded, it is given up:
        what was joined stays, and logs are replayed.
        """


class FrameStore(Protocol):
    """Sealed frames of this site, for shipping."""

    def unshipped_frames(self, changes: Sequence[bytes]) -> list[bytes]:
        """Headers of local frames that these changes need (pages, data, patch bases: bases first) and the cloud lacks.

        ``BytesLost`` if some of them is neither here nor in the cloud, unless that was accepted: a change must not
        become visible elsewhere before its bytes (ask ``sendable`` first, for those whose value is dead by now).
        """

    def absent_chunks(self, changes: Sequence[bytes], count_max: int) -> list[bytes]:
        """Chunks that these changes need, that are not here, and lie in the bucket only where nothing is relied on:
        after the log was issued anew they are to be fetched before the changes are sent.
        """

    def read_frame(self, header: bytes) -> Frame:
        """The frame with exactly this header, verified against its checksum; ``BytesLost``."""

    def locate(self, chunk_ids: Sequence[bytes]) -> dict[bytes, FrameLocation]:
        """Where chunks lie in the cloud, for those known; a full frame is preferred to a patch."""

    def locate_frame(self, chunk_id: bytes, segment: bytes, slot: int) -> FrameLocation | None:
        """Where exactly this frame (by its birth) lies in the cloud: what a patch's base needs."""


class ChunkFetcher(Protocol):
    """Fetches frames that are known only in the cloud; injected into the store by the composition root."""

    async def fetch(self, locations: Sequence[FrameLocation]) -> list[Frame]:
        """Frames in the order asked. Raises ``CloudError``; never returns less, never unverified lengths.

        Single flight and coalescing of neighbouring ranges are its business; authenticating plaintext is the store's.
        """


class CloudError(Exception):
    """The cloud did not do it. Subclasses say whether trying again can help."""


class CloudUnreachable(CloudError):
    """No answer, or one that says later (timeout, reset, 5xx, SlowDown, a captive portal): unknown, never absent."""


class CloudRefused(CloudError):
    """A definite no that trying again will not change: credentials, permissions, missing bucket."""


class CloudMissing(CloudError):
    """The object is not there, said by the bucket itself."""


class CloudExists(CloudError):
    """A conditional create found the name taken (412, 409)."""


class Cloud(Protocol):
    """A bucket and a prefix. Names are relative to the prefix; idempotent unless said otherwise."""

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        """Create or replace. With ``if_absent``: ``CloudExists`` if the name is taken. Returns when the bucket
        confirmed.

        After ``CloudUnreachable`` the object may or may not be there.
        """

    async def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of an object, or of a range; exactly ``length`` of them when given, else ``CloudError``."""

    async def list(self, prefix: str, *, after: str = "", count_max: int = 1000) -> list[str]:
        """Names under ``prefix``, ascending, greater than ``after``: ``count_max`` (at most 1,000) of them, or all."""

    async def delete(self, name: str) -> None:
        """Remove; no error if it was not there."""

    async def close(self) -> None:
        """Release connections."""
