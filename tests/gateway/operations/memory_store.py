"""A compact in-memory ``Store``: the same Protocol as the real one, for tests of operations and http that need no disk.

Transactions are copies of a few dicts; content is content-addressed like the real thing (BLAKE3, no key), in chunks of
``CHUNK`` bytes so that multi-chunk paths are walked with small bodies. Nothing is collected. Faults are planted by
setting ``fail_next_commit``, ``fail_writes`` or ``unavailable``.
"""

from __future__ import annotations

import asyncio
import bisect
import copy
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice, takewhile
from typing import TypeVar

import blake3
import msgspec

from gateway.store.document_format import AccessKeyRecord, BucketRecord, PartRecord, UploadRecord, UserRecord
from gateway.store.errors import ChunkGone, ChunkUnavailable
from gateway.store.identity_format import check_identity_item
from gateway.store.item_format import bucket_uid
from gateway.store.object_format import REFS_DIRECT_MAX, ObjectRecord
from gateway.store.ports import Bucket, Content, Contest, Head, Version
from gateway.store.version_document_format import check_version_document
from gateway.store.version_ids import NULL, VersionId, encode_order, make_vid
from replication.change_format import REF_DATA, REF_PAGE, Ref
from replication.clock import tick
from replication.crdt import Dot

CHUNK = 1 << 20
READ_NOW_MAX = 1000
Result = TypeVar("Result")
_refs = msgspec.msgpack.Decoder(tuple[Ref, ...])


@dataclass
class State:
    """Everything a transaction may change. Values are immutable, so a shallow copy of the dicts is a snapshot."""

    generation: int = 1
    clock: int = 0
    seq: int = 0
    buckets: dict[bytes, BucketRecord] = field(default_factory=dict)
    documents: dict[tuple[bytes, str], bytes] = field(default_factory=dict)
    users: dict[str, UserRecord] = field(default_factory=dict)
    keys: dict[str, AccessKeyRecord] = field(default_factory=dict)
    rows: dict[bytes, dict[bytes, tuple[Version, ...]]] = field(default_factory=dict)
    sorted: dict[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    uploads: dict[str, UploadRecord] = field(default_factory=dict)
    parts: dict[tuple[str, int], PartRecord] = field(default_factory=dict)
    version_documents: dict[tuple[bytes, bytes, bytes], dict[str, bytes]] = field(default_factory=dict)
    identities: dict[str, bytes] = field(default_factory=dict)

    def copy(self) -> State:
        """A snapshot that can be changed without touching this one."""
        return replace(
            self, **{name: copy.copy(value) for name, value in self.__dict__.items() if isinstance(value, dict)}
        )


class MemoryView:
    """Reads and, inside a commit, writes."""

    def __init__(self, state: State, store: MemoryStore) -> None:
        self._state = state
        self._store = store
        self.now_ms = time.time_ns() // 1_000_000

    @property
    def generation(self) -> int:
        return self._state.generation

    def bucket(self, name: str) -> Bucket | None:
        found = [(r.created_ms, u, r) for u, r in self._state.buckets.items() if r.name == name]
        return self._bucket(min(found)[1]) if found else None

    def takes_in(self, name: str) -> bool:
        return True

    def is_elsewhere(self, name: str) -> bool:
        return False

    def _bucket(self, uid: bytes) -> Bucket:
        record = self._state.buckets[uid]
        versioning = self._state.documents.get((uid, "versioning"), b"").decode()
        return Bucket(uid, record.name, record, versioning, documents=frozenset(self.document_names(uid)))

    def buckets(self, owner: str | None = None) -> list[Bucket]:
        found = [self._bucket(u) for u, r in self._state.buckets.items() if owner is None or r.owner == owner]
        return sorted(found, key=lambda bucket: bucket.name)

    def is_bucket_empty(self, uid: bytes) -> bool:
        return not self._state.rows.get(uid) and not any(u.uid == uid for u in self._state.uploads.values())

    def document_names(self, uid: bytes) -> list[str]:
        return sorted(name for owner, name in self._state.documents if owner == uid)

    def document(self, uid: bytes, name: str) -> bytes | None:
        return self._state.documents.get((uid, name))

    def user(self, user_id: str) -> UserRecord | None:
        return self._state.users.get(user_id)

    def users(self) -> list[UserRecord]:
        return list(self._state.users.values())

    def access_key(self, access_key_id: str) -> AccessKeyRecord | None:
        return self._state.keys.get(access_key_id)

    def access_keys(self, user_id: str) -> list[AccessKeyRecord]:
        return [key for key in self._state.keys.values() if key.user == user_id]

    def identity(self, name: str) -> bytes | None:
        return self._state.identities.get(name)

    def identities(self, prefix: str) -> list[tuple[str, bytes]]:
        return sorted((name, body) for name, body in self._state.identities.items() if name.startswith(prefix))

    def _rows(self, uid: bytes, key: bytes) -> tuple[Version, ...]:
        return self._state.rows.get(uid, {}).get(key, ())

    def current(self, uid: bytes, key: bytes) -> Version | None:
        return next((row for row in self._rows(uid, key) if row.is_latest), None)

    def version(self, uid: bytes, key: bytes, version_id: VersionId) -> Version | None:
        return next((row for row in self._rows(uid, key) if row.id == version_id), None)

    def version_documents(self, version_owner_uid: bytes, version: Version) -> dict[str, bytes]:
        return dict(self._state.version_documents.get((version_owner_uid, version.key, version.order), {}))

    def scan_heads(self, uid: bytes, start: bytes = b"", passes_max: int = 0) -> HeadScan:
        return HeadScan(self, self._state, uid, start)

    def scan_versions(self, uid: bytes, start: bytes = b"", passes_max: int = 0) -> VersionScan:
        return VersionScan(self._state, uid, start)

    def upload(self, upload_id: str) -> UploadRecord | None:
        return self._state.uploads.get(upload_id)

    def uploads(self, uid: bytes, after_key: bytes = b"", after_id: str = "") -> Iterator[UploadRecord]:
        found = sorted((u.key, u.id, u) for u in self._state.uploads.values() if u.uid == uid)
        return iter([u for key, ident, u in found if (key, ident) > (after_key, after_id)])

    def part(self, upload_id: str, number: int) -> PartRecord | None:
        return self._state.parts.get((upload_id, number))

    def parts(self, upload_id: str, after: int = 0) -> Iterator[PartRecord]:
        return iter(
            sorted(
                (p for (ident, n), p in self._state.parts.items() if ident == upload_id and n > after),
                key=lambda part: part.number,
            )
        )

    def contest(self, uid: bytes, key: bytes, version: Version | None = None) -> Contest:
        return Contest()

    def is_replicated(self, version: Version) -> bool:
        return version.order in self._store.replicated

    def is_replica(self, version: Version) -> bool:
        return False

    # ---- writes, only inside a commit

    def _check(self, refs: Sequence[Ref]) -> None:
        if any(ref.id not in self._store.chunks for ref in refs):
            raise ChunkGone("a chunk is gone")

    def _set_rows(self, uid: bytes, key: bytes, rows: list[Version]) -> None:
        rows.sort(key=lambda row: row.order, reverse=True)
        current = next((row.order for row in rows if not row.id.order), None)
        fixed = tuple(row._replace(is_latest=row.order == current) for row in rows)
        bucket = dict(self._state.rows.get(uid, {}))
        if fixed:
            bucket[key] = fixed
        else:
            bucket.pop(key, None)
        self._state.rows[uid] = bucket
        self._state.sorted.pop(uid, None)

    def put_object(self, uid: bytes, key: bytes, record: ObjectRecord, *, versioned: bool) -> Version:
        self._check(record.refs())
        rows = list(self._rows(uid, key))
        above = max((int.from_bytes(row.order[:8], "big") for row in rows), default=0)
        now = tick(self._state.clock, self.now_ms, above)
        self._state.clock, self._state.seq = now.own, self._state.seq + 1
        order = encode_order(now.hlc, Dot(self._store.site, self._store.incarnation, self._state.seq))
        if not versioned:
            rows = [row for row in rows if row.id != NULL]
        ident = VersionId(make_vid(now.hlc, os.urandom(8))) if versioned else NULL
        self._set_rows(uid, key, [*rows, Version(key, ident, order, True, record)])
        found = self.version(uid, key, ident)
        assert found is not None
        return found

    def plant_conflict(self, uid: bytes, key: bytes, record: ObjectRecord) -> Version:
        """A kept loser, as a merge would leave it: older than what is there."""
        self._state.seq += 1
        order = encode_order(self._state.seq, Dot(b"r" * 16, b"i" * 8, self._state.seq))
        version = Version(key, VersionId(b"", order), order, False, record)
        self._set_rows(uid, key, [*self._rows(uid, key), version])
        return version

    def remove_version(self, uid: bytes, key: bytes, version_id: VersionId) -> Version | None:
        found = self.version(uid, key, version_id)
        if found is not None:
            self._set_rows(uid, key, [row for row in self._rows(uid, key) if row.id != version_id])
        return found

    def expire_version(self, uid: bytes, version: Version, marker: ObjectRecord | None = None) -> Version | None:
        found = self.version(uid, version.key, version.id)
        if found is None or found.order != version.order or marker is None:
            return self.remove_version(uid, version.key, version.id) if found is not None else None
        self._state.seq += 1
        hlc = int.from_bytes(version.order[:8], "big") + 1
        order = encode_order(hlc, Dot(self._store.site, self._store.incarnation, self._state.seq))
        made = Version(version.key, VersionId(make_vid(hlc, order[-8:])), order, True, marker)
        self._set_rows(uid, version.key, [*self._rows(uid, version.key), made])
        return made

    def put_version_document(self, uid: bytes, version: Version, name: str, body: bytes | None) -> None:
        check_version_document(name, body or b"")
        if version.order not in [row.order for row in self._rows(uid, version.key)]:
            raise KeyError(version.id.text)
        owner = (uid, version.key, version.order)
        found = self._state.version_documents.get(owner, {})
        self._state.version_documents[owner] = {**found, name: body or b""}

    def put_bucket(self, record: BucketRecord, *, local: bool = False) -> Bucket:
        uid = bucket_uid(record.name, record.owner, local=local)
        self._state.generation += 1
        self._state.buckets[uid] = record
        for name in [name for name in self._state.documents if name[0] == uid]:
            del self._state.documents[name]
        return self._bucket(uid)

    def delete_bucket(self, uid: bytes) -> None:
        self._state.generation += 1
        del self._state.buckets[uid]

    def put_document(self, uid: bytes, name: str, body: bytes | None) -> None:
        self._state.generation += 1
        if body is None:
            self._state.documents.pop((uid, name), None)
        else:
            self._state.documents[uid, name] = body

    def put_user(self, record: UserRecord) -> None:
        self._state.generation += 1
        self._state.users[record.id] = record

    def delete_user(self, user_id: str) -> None:
        self._state.generation += 1
        del self._state.users[user_id]

    def put_access_key(self, record: AccessKeyRecord) -> None:
        self._state.generation += 1
        self._state.keys[record.id] = record

    def delete_access_key(self, access_key_id: str) -> None:
        self._state.generation += 1
        del self._state.keys[access_key_id]

    def put_identity(self, name: str, body: bytes | None) -> None:
        check_identity_item(name.encode(), body or b"", dead=body is None)
        self._state.generation += 1
        if body is None:
            self._state.identities.pop(name, None)
        else:
            self._state.identities[name] = body

    def open_upload(self, record: UploadRecord) -> None:
        self._state.uploads[record.id] = record

    def put_part(self, upload_id: str, record: PartRecord) -> None:
        assert upload_id in self._state.uploads
        self._check(record.content)
        self._state.parts[upload_id, record.number] = record

    def close_upload(self, upload_id: str) -> None:
        self._state.uploads.pop(upload_id)
        for name in [name for name in self._state.parts if name[0] == upload_id]:
            del self._state.parts[name]


def _sorted_keys(state: State, uid: bytes) -> tuple[bytes, ...]:
    if uid not in state.sorted:
        state.sorted[uid] = tuple(sorted(state.rows.get(uid, {})))
    return state.sorted[uid]


class HeadScan:
    paused_at: bytes | None = None

    def __init__(self, view: MemoryView, state: State, uid: bytes, start: bytes) -> None:
        self._view, self._state, self._uid = view, state, uid
        self._keys = _sorted_keys(state, uid)
        self.seek(start)

    def seek(self, key: bytes) -> None:
        self._at = bisect.bisect_left(self._keys, key)

    def __iter__(self) -> HeadScan:
        return self

    def __next__(self) -> tuple[bytes, Head]:
        while self._at < len(self._keys):
            key = self._keys[self._at]
            self._at += 1
            found = self._view.current(self._uid, key)
            if found is not None and not found.record.marker:
                record = found.record
                algorithm = next(iter(record.checksums), "")
                checksum = f"{algorithm}:{record.checksum_type}" if algorithm else ""
                return key, Head(
                    record.size, record.modified_ms, record.etag, record.owner, checksum, record.storage_class
                )
        raise StopIteration

    def take(self, prefix: bytes, count: int) -> list[tuple[bytes, Head]]:
        return list(islice(takewhile(lambda found: found[0].startswith(prefix), self), count))


class VersionScan:
    paused_at: tuple[bytes, VersionId] | None = None

    def __init__(self, state: State, uid: bytes, start: bytes) -> None:
        self._all = [row for key in _sorted_keys(state, uid) for row in state.rows[uid][key]]
        self.seek(start)

    def seek(self, key: bytes, after: VersionId | None = None) -> None:
        self._at = 0
        while self._at < len(self._all) and self._all[self._at].key < key:
            self._at += 1
        if after is not None and after.vid not in (b"", NULL.vid):  # its clock tells its place, also when it is gone
            while self._at < len(self._all) and (self._all[self._at].key, self._all[self._at].order[:8]) >= (
                key,
                after.vid[:8],
            ):
                if self._all[self._at].key != key:
                    return
                self._at += 1
        elif after is not None:
            while self._at < len(self._all) and self._all[self._at].key == key:
                self._at += 1
                if self._all[self._at - 1].id == after:
                    return

    def __iter__(self) -> VersionScan:
        return self

    def __next__(self) -> Version:
        if self._at >= len(self._all):
            raise StopIteration
        self._at += 1
        return self._all[self._at - 1]


class MemoryWriter:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._buffer = bytearray()

    async def __aenter__(self) -> MemoryWriter:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def write(self, data: bytes | memoryview) -> None:
        if self._store.fail_writes is not None:
            raise self._store.fail_writes
        self._buffer += data
        await asyncio.sleep(0)

    async def finish(self) -> Content:
        data = bytes(self._buffer)
        refs = [self._store.keep(data[at : at + CHUNK]) for at in range(0, len(data), CHUNK)]
        return Content(self._store.page(refs), len(data))


class MemoryStore:
    """See the module's docstring."""

    def __init__(self) -> None:
        self.state = State()
        self.chunks: dict[bytes, bytes] = {}
        self.replicated: set[bytes] = set()
        self.evicted: set[bytes] = set()
        self.site, self.incarnation = os.urandom(16), os.urandom(8)
        self.fail_next_commit: BaseException | None = None
        self.fail_writes: BaseException | None = None
        self.unavailable = False
        self.commits = 0

    def keep(self, data: bytes) -> Ref:
        """Store one chunk."""
        ident = blake3.blake3(data).digest()
        self.chunks[ident] = data
        return Ref(REF_DATA, ident, len(data))

    def page(self, refs: Sequence[Ref]) -> tuple[Ref, ...]:
        """``refs`` themselves, or one page of them when they are many."""
        if len(refs) <= REFS_DIRECT_MAX:
            return tuple(refs)
        body = msgspec.msgpack.encode(tuple(refs))
        return (Ref(REF_PAGE, self.keep(body).id, sum(ref.size for ref in refs)),)

    def realm_key(self, purpose: bytes) -> bytes:
        return blake3.blake3(purpose).digest()

    def view(self) -> AbstractContextManager[MemoryView]:
        return nullcontext(MemoryView(self.state, self))

    async def commit(self, decide: Callable[[MemoryView], Result]) -> Result:
        await asyncio.sleep(0)
        if self.fail_next_commit is not None:
            error, self.fail_next_commit = self.fail_next_commit, None
            raise error
        state = self.state.copy()
        result = decide(MemoryView(state, self))
        self.state = state
        self.commits += 1
        return result

    def writer(
        self, *, replaces: Sequence[Ref] = (), offset_hint: int = 0, fixed: bool = False, local: bool = False
    ) -> MemoryWriter:
        return MemoryWriter(self)

    def read_small(self, refs: Sequence[Ref]) -> bytes | None:
        if len(refs) == 1 and refs[0].kind == REF_DATA and not self.unavailable:
            return self.chunks[refs[0].id]
        return None

    def read_now(self, refs: Sequence[Ref], start: int, length: int) -> bytes | None:
        if self.unavailable or length > READ_NOW_MAX:
            return None
        return b"".join(self._flat(refs))[start : start + length]

    def _flat(self, refs: Sequence[Ref]) -> Iterator[bytes]:
        for ref in refs:
            if ref.kind == REF_PAGE:
                yield from self._flat(_refs.decode(self.chunks[ref.id]))
            else:
                yield self.chunks[ref.id]

    async def read(self, refs: Sequence[Ref], start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        if self.unavailable:
            raise ChunkUnavailable("the cloud cannot be reached")
        left = sum(ref.size for ref in refs) - start if length is None else length
        for data in self._flat(refs):
            if start >= len(data):
                start -= len(data)
                continue
            piece = data[start : start + left]
            start, left = 0, left - len(piece)
            if piece:
                await asyncio.sleep(0)
                yield piece
            if not left:
                return

    async def evict(self, refs: Sequence[Ref]) -> int:
        fresh = {ref.id: ref.size for ref in refs if ref.id not in self.evicted}
        self.evicted.update(fresh)
        return sum(fresh.values())

    async def fetch_local(self, refs: Sequence[Ref]) -> int:
        if self.unavailable:
            raise ChunkUnavailable("the cloud cannot be reached")
        absent = {ref.id: ref.size for ref in refs if ref.id in self.evicted}
        self.evicted.difference_update(absent)
        return sum(absent.values())

    async def splice(self, refs: Sequence[Ref], *, replaces: Sequence[Ref] = ()) -> Content:
        return Content(self.page(refs), sum(ref.size for ref in refs))
