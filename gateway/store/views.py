"""A snapshot of the site for reading: what operations and http ask of the store, in microseconds.

Stands between ``ports.ReadView`` and the row modules. Users, keys, buckets and documents are cached decoded, per
process and generation: a generation is read in the same snapshot as the object, so all workers agree at once. It
changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Final, TypeVar

from gateway.store import item_rows, upload_rows
from gateway.store.chunk_rows import read_chunk
from gateway.store.cloud_rows import locate_chunk
from gateway.store.contest import read_contest
from gateway.store.document_format import AccessKeyRecord, PartRecord, UploadRecord, UserRecord
from gateway.store.index import Index, Transaction
from gateway.store.index_format import NO_ORDER, ChunkPlace, State
from gateway.store.join_rows import JoinRow, read_join
from gateway.store.log_rows import is_shipped, read_former
from gateway.store.losses import is_accepted
from gateway.store.object_rows import count_visible, read_head, read_row, rows_of_vid
from gateway.store.ports import Bucket, Contest, Version
from gateway.store.scans import HeadWalk, VersionWalk, version_of
from gateway.store.subscription_rows import SubscriptionRow, is_shown, read_subscription
from gateway.store.version_documents import has_version_documents, read_version_documents
from gateway.store.version_ids import NULL_VID, VersionId, decode_order
from replication.ports import FrameLocation
from replication.subscription import ALL, matches

CACHE_ENTRIES_MAX: Final = 65_536
_MISSING: Final = object()
_OWNERS_OWN: Final = (None, b"BucketOwnerEnforced")  # the bucket document "ownership" where ACLs do not count
Value = TypeVar("Value")


class ConfigurationCache:
    """Decoded users, keys, buckets and documents of one generation. Threads may race to fill it: they write equal
    things.
    """

    __slots__ = ("_generation", "_values")

    def __init__(self) -> None:
        self._generation = -1
        self._values: dict[object, Any] = {}

    def values(self, generation: int) -> dict[object, Any]:
        """The dictionary to look up and fill for this generation (an older snapshot gets one of its own)."""
        if generation == self._generation:
            return self._values
        fresh: dict[object, Any] = {}
        if generation > self._generation:
            self._generation, self._values = generation, fresh
        return fresh


class View:
    """``ReadView`` over one transaction."""

    __slots__ = ("_cache", "_generation", "_site", "_values", "transaction")

    def __init__(self, transaction: Transaction, site: bytes, cache: ConfigurationCache) -> None:
        self.transaction = transaction
        self._site = site
        self._cache = cache
        self._generation = -1
        self._values: dict[object, Any] | None = None

    @property
    def generation(self) -> int:
        """Changes whenever users, keys, buckets or documents change."""
        if self._generation < 0:
            self._generation = self.transaction.generation()
        return self._generation

    def _cached(self, kind: str, name: object, read: Callable[[], Value], *, misses: bool = True) -> Value:
        """What ``read`` gives, remembered. ``misses`` False: None is not, since ``name`` is whatever a request brings:
        strangers could fill the cache with names of their own, and as long as they like.
        """
        if self._values is None:
            self._values = self._cache.values(self.generation)
        key = (kind, name)
        found = self._values.get(key, _MISSING)
        if found is _MISSING:
            found = read()
            if len(self._values) < CACHE_ENTRIES_MAX and (misses or found is not None):
                self._values[key] = found
        return found  # type: ignore[no-any-return]

    # buckets, users, keys

    def bucket(self, name: str) -> Bucket | None:
        """The live bucket that this name stands for on this site."""
        return self._cached("bucket", name, lambda: self._read_bucket(name), misses=False)

    def takes_in(self, name: str) -> bool:
        """Whether this site takes in buckets of this name."""
        return matches(self._subscription().shown, name)

    def is_elsewhere(self, name: str) -> bool:
        """Whether the realm has a bucket of this name that this site does not take in."""
        found = item_rows.resolve_bucket(self.transaction, name)
        return found is not None and not self._is_shown(found)

    def buckets(self, owner: str | None = None) -> list[Bucket]:
        """Live buckets by name; of one owner if given."""
        found = self._cached("buckets", owner, lambda: self._read_buckets(owner))
        return list(found)

    def is_bucket_empty(self, uid: bytes) -> bool:
        """No version, marker or loser and no open upload is left."""
        return not count_visible(self.transaction, uid) and not upload_rows.has_uploads(self.transaction, uid)

    def document(self, uid: bytes, name: str) -> bytes | None:
        """A bucket's document; None if there is none."""
        return self._cached("document", (uid, name), lambda: item_rows.read_document(self.transaction, uid, name))

    def document_names(self, uid: bytes) -> list[str]:
        """Names of a bucket's documents, ascending."""
        names = self._cached("documents", uid, lambda: item_rows.document_names(self.transaction, uid))
        return [name for name in names if self.document(uid, name) is not None]

    def user(self, user_id: str) -> UserRecord | None:
        """A user by id."""
        return self._cached("user", user_id, lambda: item_rows.read_user(self.transaction, user_id), misses=False)

    def users(self) -> list[UserRecord]:
        """All users, by id."""
        return list(self._cached("users", None, lambda: item_rows.scan_users(self.transaction)))

    def access_key(self, access_key_id: str) -> AccessKeyRecord | None:
        """An access key by id."""
        return self._cached(
            "key", access_key_id, lambda: item_rows.read_access_key(self.transaction, access_key_id), misses=False
        )

    def access_keys(self, user_id: str) -> list[AccessKeyRecord]:
        """The access keys of a user, by id."""
        found = self._cached("keys", None, lambda: item_rows.scan_access_keys(self.transaction))
        return [key for key in found if key.user == user_id]

    def identity(self, name: str) -> bytes | None:
        """The body of an identity item."""
        return self._cached("identity", name, lambda: item_rows.read_identity(self.transaction, name), misses=False)

    def identities(self, prefix: str) -> list[tuple[str, bytes]]:
        """(name, body) of identity items, by name."""
        return list(self._cached("identities", prefix, lambda: item_rows.scan_identities(self.transaction, prefix)))

    # objects

    def current(self, uid: bytes, key: bytes) -> Version | None:
        """The current version, which may be a delete marker; None if the key has none."""
        head = read_head(self.transaction, uid, key)
        if head is None or head.current == NO_ORDER:
            return None
        row = read_row(self.transaction, head.key_id, head.current)
        assert row is not None, "a head's current version is not there"
        return version_of(key, head, row)

    def version(self, uid: bytes, key: bytes, version_id: VersionId) -> Version | None:
        """One version, delete marker or kept loser; None if it is not there (or removed)."""
        head = read_head(self.transaction, uid, key)
        if head is None:
            return None
        if version_id.order:
            order = version_id.order if version_id.order in head.nulls[1:] else None
        elif version_id.vid == NULL_VID:
            order = head.nulls[0] if head.nulls else None
        else:
            rows = rows_of_vid(self.transaction, head.key_id, version_id.vid)
            return next((version_of(key, head, row) for row in rows if not row.dead), None)
        row = read_row(self.transaction, head.key_id, order) if order is not None else None
        return None if row is None or row.dead else version_of(key, head, row)

    def contest(self, uid: bytes, key: bytes, version: Version | None = None) -> Contest:
        """See ``ports.ReadView``."""
        return read_contest(self.transaction, uid, key, version)

    def version_documents(self, version_owner_uid: bytes, version: Version) -> dict[str, bytes]:
        """Documents of a version changed since it was written (b"": removed); costs next to nothing in a bucket
        that has none.
        """
        uid = version_owner_uid
        if not self._cached("documented", uid, lambda: has_version_documents(self.transaction, uid)):
            return {}
        return read_version_documents(self.transaction, uid, version)

    def scan_heads(self, uid: bytes, start: bytes = b"", passes_max: int = 0) -> HeadWalk:
        """Current objects of a bucket, by key."""
        return HeadWalk(self.transaction, uid, start, passes_max)

    def scan_versions(self, uid: bytes, start: bytes = b"", passes_max: int = 0) -> VersionWalk:
        """All versions of a bucket, by key, newest first."""
        return VersionWalk(self.transaction, uid, start, passes_max)

    @property
    def site(self) -> bytes:
        """The site id of own changes."""
        return self.transaction.load_state().site or self._site

    def is_replicated(self, version: Version) -> bool:
        """Whether the cloud is verified to have this version: its change and every byte (bytes go before changes)."""
        dot = decode_order(version.order)[1]
        shipped = is_shipped(self.transaction, self.site, self.transaction.load_state(), dot)
        return shipped and not any(is_accepted(self.transaction, ref.id) for ref in version.record.content)

    def is_replica(self, version: Version) -> bool:
        """Whether another site wrote this version."""
        dot = decode_order(version.order)[1]
        former = read_former(self.transaction, dot.incarnation)
        return dot.site != self.site and (former is None or former.site not in (b"", dot.site))

    # uploads

    def upload(self, upload_id: str) -> UploadRecord | None:
        """An open upload."""
        return upload_rows.read_upload(self.transaction, upload_id)

    def uploads(self, uid: bytes, after_key: bytes = b"", after_id: str = "") -> Iterator[UploadRecord]:
        """Open uploads of a bucket by key, then by id, behind the given position."""
        return upload_rows.scan_uploads(self.transaction, uid, after_key, after_id)

    def part(self, upload_id: str, number: int) -> PartRecord | None:
        """One part of an open upload."""
        if upload_rows.read_upload(self.transaction, upload_id) is None:
            return None
        return upload_rows.read_part(self.transaction, upload_id, number)

    def parts(self, upload_id: str, after: int = 0) -> Iterator[PartRecord]:
        """Parts of an open upload by number, greater than ``after``."""
        if upload_rows.read_upload(self.transaction, upload_id) is None:
            return iter(())
        return upload_rows.scan_parts(self.transaction, upload_id, after)

    # chunks: for the store's own readers and writers of content

    def chunk(self, chunk_id: bytes) -> ChunkPlace | None:
        """A chunk's row: where its frame lies here, if ``local``. None if nothing ever needed it."""
        return read_chunk(self.transaction, chunk_id)

    def locate(self, chunk_id: bytes) -> FrameLocation | None:
        """Where a chunk lies in the cloud; a full frame rather than a patch."""
        return locate_chunk(self.transaction, chunk_id)

    def state(self) -> State:
        """The writer's state, for status and replication."""
        return self.transaction.load_state()

    def join(self) -> JoinRow | None:
        """The join by checkpoint that is not over, if there is one."""
        return read_join(self.transaction)

    def _read_bucket(self, name: str) -> Bucket | None:
        found = item_rows.resolve_bucket(self.transaction, name)
        return None if found is None or not self._is_shown(found) else self._with_versioning(found)

    def _is_shown(self, bucket: item_rows.NamedBucket) -> bool:
        row = self._subscription()
        return (row.shown == ALL and not row.high) or is_shown(row, bucket.record.name)

    def _subscription(self) -> SubscriptionRow:
        return self._cached("subscription", "", lambda: read_subscription(self.transaction))

    def _read_buckets(self, owner: str | None) -> list[Bucket]:
        found = [bucket for bucket in item_rows.scan_buckets(self.transaction) if self._is_shown(bucket)]
        return [self._with_versioning(bucket) for bucket in found if owner is None or bucket.record.owner == owner]

    def _with_versioning(self, bucket: item_rows.NamedBucket) -> Bucket:
        uid = bucket.uid
        setting = self.document(uid, item_rows.VERSIONING)
        is_plain = self.document(uid, "policy") is None and self.document(uid, "ownership") in _OWNERS_OWN
        versioning, documents = setting.decode() if setting else "", frozenset(self.document_names(uid))
        return Bucket(uid, bucket.name, bucket.record, versioning, is_plain, documents)


class ViewContext:
    """``with`` gives a ``View`` on a snapshot of now, and ends it."""

    __slots__ = ("_cache", "_index", "_site", "_transaction")

    def __init__(self, index: Index, site: bytes, cache: ConfigurationCache) -> None:
        self._index, self._site, self._cache = index, site, cache

    def __enter__(self) -> View:
        self._transaction = self._index.begin_read()
        return View(self._transaction, self._site, self._cache)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transaction.end_read()
