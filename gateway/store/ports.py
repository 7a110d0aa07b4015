"""The store as the operations see it: a snapshot to read, a transaction to decide in, a writer and a reader of content.

``gateway/store/store.py`` builds the real one. Operations import only this file, the records (object_format,
document_format, version_ids) and the store's errors; that is the seam behind which a larger engine could stand.

Reads are synchronous and short (LMDB, microseconds): no view may be kept across an ``await``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol, TypeVar

from gateway.store.document_format import AccessKeyRecord, BucketRecord, PartRecord, UploadRecord, UserRecord
from gateway.store.object_format import ObjectRecord
from gateway.store.version_ids import VersionId
from replication.change_format import Ref

Result = TypeVar("Result")


class Bucket(NamedTuple):
    """A live bucket: ``name`` as it resolves on this site (a derived one if another owner's bucket has the name)."""

    uid: bytes
    name: str
    record: BucketRecord
    versioning: str  # "", "Enabled" or "Suspended"
    is_plain: bool = False  # no policy, no ACLs (BucketOwnerEnforced): what its owner may is no question of documents
    documents: frozenset[str] = frozenset()  # the names of those it has


class Version(NamedTuple):
    """A version of a key, a delete marker or a kept loser (``id.order`` set)."""

    key: bytes
    id: VersionId
    order: bytes  # 40 bytes, see version_ids.encode_order
    is_latest: bool
    record: ObjectRecord
    contested: int = 0  # not 0: something collided at the key, which ``ReadView.contest`` tells of


class Contest(NamedTuple):
    """What a collision at a key says of one of its versions. ``losers``: values that are kept beside the key's own;
    ``lost_to``: "" if the version is none of them, else what it lost to, "write" or "delete"; ``broken``: the header of
    the condition that it was written under, if that did not hold in the merged history.
    """

    losers: int = 0
    lost_to: str = ""
    broken: str = ""


class Head(NamedTuple):
    """What a listing needs of a key's current version: fixed fields, decoded without touching its record."""

    size: int
    modified_ms: int
    etag: str
    owner: str
    checksum: str  # "ALGORITHM:TYPE" or "": for ChecksumAlgorithm/ChecksumType in listings
    storage_class: str


class HeadScan(Protocol):
    """Current objects (no delete markers) of one bucket in UTF-8 byte order of their keys, each from ``seek`` on."""

    paused_at: bytes | None
    """Where to go on, if the walk ended because it had passed over as many deleted keys as it may at once."""

    def seek(self, key: bytes) -> None:
        """Go on with the first key >= ``key``. O(log n)."""

    def __iter__(self) -> Iterator[tuple[bytes, Head]]: ...

    def __next__(self) -> tuple[bytes, Head]: ...

    def take(self, prefix: bytes, count: int) -> list[tuple[bytes, Head]]:
        """The next objects, at most ``count`` (at least 1), up to the first key that does not begin with ``prefix``,
        which ends the walk.
        """


class VersionScan(Protocol):
    """All versions, delete markers and losers of one bucket: keys ascending, newest first within a key."""

    paused_at: tuple[bytes, VersionId] | None
    """What to ``seek`` to go on, if the walk ended because it had passed over as many tombstones as it may at once."""

    def seek(self, key: bytes, after: VersionId | None = None) -> None:
        """Go on with the first version of the first key >= ``key``; with ``after``, behind that version of ``key``."""

    def __iter__(self) -> Iterator[Version]: ...

    def __next__(self) -> Version: ...


class ReadView(Protocol):
    """One consistent snapshot of the site."""

    @property
    def generation(self) -> int:
        """Changes whenever users, keys, buckets or documents change: the key of every cache of those."""

    def bucket(self, name: str) -> Bucket | None: ...
    def takes_in(self, name: str) -> bool:
        """Whether this site takes in (and so shows) buckets of this name."""

    def is_elsewhere(self, name: str) -> bool:
        """Whether the realm has a bucket of this name that this site does not take in, or did not yet as a whole."""

    def buckets(self, owner: str | None = None) -> list[Bucket]:
        """Live buckets by name; of one owner if given."""

    def is_bucket_empty(self, uid: bytes) -> bool:
        """No version, marker or loser and no open upload is left."""

    def document(self, uid: bytes, name: str) -> bytes | None: ...
    def document_names(self, uid: bytes) -> list[str]:
        """Names of a bucket's documents, ascending."""

    def user(self, user_id: str) -> UserRecord | None: ...
    def users(self) -> list[UserRecord]: ...
    def access_key(self, access_key_id: str) -> AccessKeyRecord | None: ...
    def access_keys(self, user_id: str) -> list[AccessKeyRecord]: ...
    def identity(self, name: str) -> bytes | None:
        """The body of an identity item (``identity_format``): a role, a policy, a membership …; None without one."""

    def identities(self, prefix: str) -> list[tuple[str, bytes]]:
        """(name, body) of the identity items whose names begin with ``prefix``, by name."""

    def current(self, uid: bytes, key: bytes) -> Version | None:
        """The current version, which may be a delete marker; None if the key has none (an unversioned delete)."""

    def version(self, uid: bytes, key: bytes, version_id: VersionId) -> Version | None: ...
    def version_documents(self, version_owner_uid: bytes, version: Version) -> dict[str, bytes]:
        """What was changed of this version since it was written: names and values of ``version_document_format``.

        They override what its record began with (``ObjectRecord.extra``, same names); b"" is an explicit removal. {} if
        nothing was changed: next to free in a bucket where nothing ever was.
        """

    def scan_heads(self, uid: bytes, start: bytes = b"", passes_max: int = 0) -> HeadScan:
        """``passes_max``: of deleted keys, until the walk pauses; 0: never."""

    def scan_versions(self, uid: bytes, start: bytes = b"", passes_max: int = 0) -> VersionScan: ...
    def upload(self, upload_id: str) -> UploadRecord | None: ...
    def uploads(self, uid: bytes, after_key: bytes = b"", after_id: str = "") -> Iterator[UploadRecord]:
        """Open uploads of a bucket by key, then by id, behind the given position."""

    def part(self, upload_id: str, number: int) -> PartRecord | None: ...
    def parts(self, upload_id: str, after: int = 0) -> Iterator[PartRecord]:
        """Parts by number, greater than ``after``."""

    def contest(self, uid: bytes, key: bytes, version: Version | None = None) -> Contest:
        """What collided at a key, as it concerns one of its versions."""

    def is_replicated(self, version: Version) -> bool:
        """Whether the cloud is verified to have this version: its change and every byte."""

    def is_replica(self, version: Version) -> bool:
        """Whether another site wrote this version."""


class WriteView(ReadView, Protocol):
    """The decision: inside the site's one write transaction. What it writes it reads back at once.

    Every method stages one change; if the deciding function raises, nothing it staged remains. Chunks named by a record
    must come from a ``Content`` of this store that is still open (see ``ContentWriter``) or from a version or part that
    this view can see; else ``ChunkGone``.
    """

    @property
    def now_ms(self) -> int:
        """The commit's wall clock, unix ms; what ``modified_ms`` should be."""

    def put_object(self, uid: bytes, key: bytes, record: ObjectRecord, *, versioned: bool) -> Version:
        """A new current version: a fresh version id if ``versioned``, else into the null slot, replacing what is there.

        Also how delete markers are written (``record.marker``). The clock is above every version of the key.
        """

    def remove_version(self, uid: bytes, key: bytes, version_id: VersionId) -> Version | None:
        """Remove one version for good (null: a tombstone in its slot; a loser is dropped). None if absent."""

    def expire_version(self, uid: bytes, version: Version, marker: ObjectRecord | None = None) -> Version | None:
        """End one version so that sites which do the same at once agree, and what they had not seen stays on top.

        With ``marker``: put that delete marker right above the version; its id derives from the version's. Without:
        remove the version for good; in the null slot, what was written since elsewhere stays. The marker, or what was
        removed; None if the version is not there as it was seen.
        """

    def put_version_document(self, uid: bytes, version: Version, name: str, body: bytes | None) -> None:
        """Set a document of one version of bucket ``uid`` (tags, ACL, retention, hold …); None removes it, also what
        the version began with. ``KeyError`` if the version is not there (any more), ``ValueError`` for a body that the
        name cannot have. Objects are as they were: neither Last-Modified nor ``generation`` tells of it.
        """

    def put_bucket(self, record: BucketRecord, *, local: bool = False) -> Bucket:
        """Create (or revive, with documents cleared) the bucket of this name and owner.

        ``local``: one whose objects never leave the site they are written on.
        """

    def delete_bucket(self, uid: bytes) -> None: ...
    def put_document(self, uid: bytes, name: str, body: bytes | None) -> None:
        """Set a bucket document; None removes it. ``"versioning"`` holds b"Enabled" or b"Suspended"."""

    def put_user(self, record: UserRecord) -> None: ...
    def delete_user(self, user_id: str) -> None: ...
    def put_access_key(self, record: AccessKeyRecord) -> None: ...
    def delete_access_key(self, access_key_id: str) -> None: ...
    def put_identity(self, name: str, body: bytes | None) -> None:
        """Set an identity item; None removes it."""

    def open_upload(self, record: UploadRecord) -> None: ...
    def put_part(self, upload_id: str, record: PartRecord) -> None:
        """Store or replace a part. The upload must be open."""

    def close_upload(self, upload_id: str) -> None:
        """Forget an upload and its parts, in bounded time; chunks that an object took over stay referenced."""


class Content(NamedTuple):
    """Bytes that are written: their refs (at most ``REFS_DIRECT_MAX``) and plaintext size."""

    refs: tuple[Ref, ...]
    size: int


class ContentWriter(Protocol):
    """Takes one body as plaintext and turns it into sealed chunks. Memory is O(chunk).

    Use as an async context manager: chunks written by an uncommitted writer are protected from collection until exit;
    the commit that uses ``finish``'s result must happen inside the ``async with``.
    """

    async def __aenter__(self) -> ContentWriter: ...
    async def __aexit__(self, *exc: object) -> None: ...
    async def write(self, data: bytes | memoryview) -> None:
        """Take some plaintext (any size). May wait for disk or budget. Raises ``DiskFull``, ``ReadOnlyStore``."""

    async def finish(self) -> Content:
        """Everything is on stable storage (or, up to ``INLINE_MAX`` bytes, rides with the commit). Once."""


class Store(Protocol):
    """The site's store. One per process, opened after fork."""

    def realm_key(self, purpose: bytes) -> bytes:
        """32 secret bytes for one purpose: the same on every site of the realm and in every worker, for good."""

    def view(self) -> AbstractContextManager[ReadView]:
        """A snapshot for a few synchronous lookups."""

    async def commit(self, decide: Callable[[WriteView], Result]) -> Result:
        """Run ``decide`` in the site's write transaction, make its changes durable, and only then return its result.

        Runs on the writer thread: ``decide`` must be synchronous, quick, free of side effects outside the view, and may
        raise any exception (nothing is kept, the exception is re-raised here). Raises ``ReadOnlyStore``, ``DiskFull``.
        """

    def writer(
        self, *, replaces: Sequence[Ref] = (), offset_hint: int = 0, fixed: bool = False, local: bool = False
    ) -> ContentWriter:
        """A writer for one body. ``replaces``: the refs of the version it will replace (patch bases), ``offset_hint``:
        where in that version the body starts (multipart parts); ``fixed``: 4 MiB chunks, not content-defined;
        ``local``: for a bucket that stays on this site, with chunk ids of its own.
        """

    def read_small(self, refs: Sequence[Ref]) -> bytes | None:
        """The whole content if it is one local chunk, cheap to get (page cache); None: use ``read``."""

    def read_now(self, refs: Sequence[Ref], start: int, length: int) -> bytes | None:
        """Plaintext of a range that lies within the content, authenticated, if it is short and cheap to get (page
        cache, and its chunks were read lately); None: use ``read``.
        """

    def read(self, refs: Sequence[Ref], start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Plaintext of a range, authenticated, in pieces of at most 4 MiB; fetches from the cloud what is not local.

        Raises ``Damaged`` or ``ChunkUnavailable`` (known only in the cloud, which cannot be reached) at the first piece
        that cannot be had; never returns wrong or fewer bytes.
        """

    async def splice(self, refs: Sequence[Ref], *, replaces: Sequence[Ref] = ()) -> Content:
        """One content out of the refs of several (multipart Complete), paged when they are many. Durable as a writer's.
        ``replaces``: the refs of the version it will replace, whose pages the new ones are patched against.

        The refs must stay referenced by something visible until the commit that uses the result.
        """

    async def evict(self, refs: Sequence[Ref]) -> int:
        """Give up the local copy of a content that the cloud is verified to have: bytes that are dead space now.

        ``refs``: the contents of the versions that are to be in the cloud only, together (``record.content`` of each;
        leave a part table here). A chunk stays if anything else needs it on this site: another version, an open
        upload, a patch against it; or if the cloud is not known to have it. 0 is no error. The versions stay as they
        are: reading fetches what is not here, and keeps it.
        """

    async def fetch_local(self, refs: Sequence[Ref]) -> int:
        """Have all of a content on this site again, until it is evicted: plaintext bytes that had to be fetched.

        Raises ``ChunkUnavailable``, ``Damaged``, ``DiskFull``, ``ReadOnlyStore``.
        """
