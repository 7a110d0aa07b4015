"""Listings of a bucket: objects, versions, open uploads. One snapshot a page; the folds are ``gateway.s3.listing``.

A page of 1,000 keys is a few milliseconds of one worker, and no view is kept for the next page. Between them may lie
any number of keys that were deleted and are not forgotten yet: after ``KEYS_PASSED`` of them, also some milliseconds,
others have their turn, and the page goes on in a later snapshot: it has whatever was written before it was asked for,
each key as it was when the page came by. What is answered is values; owners are resolved in the last snapshot.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final, NamedTuple

import msgspec

from gateway.identity.bucket_access import owner_of_object
from gateway.operations.context import Context, Owner, find_bucket, find_owner, read_version_id
from gateway.operations.storage_classes import class_of, is_cold, restored_until_ms
from gateway.s3.listing import HeadsFold, Listing, Page, VersionListing, VersionsFold, bound, successor
from gateway.store.document_format import UploadRecord
from gateway.store.ports import Bucket, Head, ReadView, Version

KEYS_PASSED: Final = 10_000
"""Deleted keys that a listing passes over in one turn: 7 ms."""
TOMBSTONES_PASSED: Final = 2_000
"""The same of deleted versions: 9 ms."""
TakeTurn = Callable[[], Awaitable[None]]
"""Waits until the caller may go on, others having had their turn."""


class ObjectsPage(NamedTuple):
    """A page of current objects; ``owners`` by user id, of those listed (empty unless asked for); ``restored``: until
    when the restored among them may be read, unix ms, by key and "".
    """

    bucket: Bucket
    listing: Listing[Head]
    owners: dict[str, Owner]
    restored: dict[tuple[bytes, str], int] = {}


class VersionsPage(NamedTuple):
    """A page of versions, delete markers and kept losers; ``owners`` by user id; ``restored`` by key and version id."""

    bucket: Bucket
    listing: VersionListing[Version]
    owners: dict[str, Owner]
    restored: dict[tuple[bytes, str], int] = {}


class UploadsPage(NamedTuple):
    """A page of open uploads by key and id. ``next_key`` and ``next_id``: the last entry's."""

    uploads: list[UploadRecord]
    prefixes: list[bytes]
    owners: dict[str, Owner]
    next_key: bytes
    next_id: str
    truncated: bool


def _owners(view: ReadView, bucket: Bucket, ids: Iterable[str]) -> dict[str, Owner]:
    """Whose each is, by what its record says: the bucket owner's, unless ACLs count."""
    return {user_id: find_owner(view, owner_of_object(view, bucket, user_id)) for user_id in set(ids)}


def _with_class(view: ReadView, bucket: Bucket, version: Version) -> Version:
    """A version with the storage class in force, where it got another one later."""
    storage_class = class_of(version.record, view.version_documents(bucket.uid, version))
    return version._replace(record=msgspec.structs.replace(version.record, storage_class=storage_class))


def _find_restored(
    view: ReadView, bucket: Bucket, versions: Iterable[tuple[tuple[bytes, str], Version | None]]
) -> dict[tuple[bytes, str], int]:
    """Which of them were restored from an archive, and until when they may be read."""
    found = {
        name: restored_until_ms(view.version_documents(bucket.uid, version))
        for name, version in versions
        if version is not None
    }
    return {name: until_ms for name, until_ms in found.items() if until_ms}


def _with_classes(view: ReadView, bucket: Bucket, contents: Iterable[tuple[bytes, Head]]) -> list[tuple[bytes, Head]]:
    found = []
    for key, head in contents:
        current = view.current(bucket.uid, key)
        if current is not None:  # else it was deleted since the page came by
            head = head._replace(storage_class=_with_class(view, bucket, current).record.storage_class)
        found.append((key, head))
    return found


async def list_objects(
    context: Context, name: str, page: Page, take_turn: TakeTurn, *, with_owners: bool
) -> ObjectsPage:
    """A page of ListObjects (V1 and V2)."""
    fold: HeadsFold[Head] = HeadsFold(page)
    while True:
        with context.store.view() as view:
            bucket = find_bucket(context, view, name, "ListBucket")
            listing = fold.go_on(view.scan_heads(bucket.uid, bound(page.prefix), KEYS_PASSED))
            if listing is not None:
                return _finish_objects(view, bucket, listing, with_owners=with_owners)
        await take_turn()


def _finish_objects(view: ReadView, bucket: Bucket, listing: Listing[Head], *, with_owners: bool) -> ObjectsPage:
    restored: dict[tuple[bytes, str], int] = {}
    if is_cold(view, bucket):
        listing = listing._replace(contents=_with_classes(view, bucket, listing.contents))
        currents = (((key, ""), view.current(bucket.uid, key)) for key, _ in listing.contents)
        restored = _find_restored(view, bucket, currents)
    owners = _owners(view, bucket, (head.owner for _, head in listing.contents)) if with_owners else {}
    return ObjectsPage(bucket, listing, owners, restored)


async def list_object_versions(
    context: Context, name: str, page: Page, version_id_marker: str | None, take_turn: TakeTurn
) -> VersionsPage:
    """A page of ListObjectVersions. ``InvalidArgument`` for a marker that no version could have."""
    after = read_version_id(version_id_marker) if version_id_marker is not None else None
    fold: VersionsFold[Version] = VersionsFold(page, after)
    while True:
        with context.store.view() as view:
            bucket = find_bucket(context, view, name, "ListBucketVersions")
            listing = fold.go_on(view.scan_versions(bucket.uid, bound(page.prefix), TOMBSTONES_PASSED))
            if listing is not None:
                return _finish_versions(view, bucket, listing)
        await take_turn()


def _finish_versions(view: ReadView, bucket: Bucket, listing: VersionListing[Version]) -> VersionsPage:
    restored: dict[tuple[bytes, str], int] = {}
    if is_cold(view, bucket):
        named = (((found.key, found.id.text), found) for found in listing.versions)
        restored = _find_restored(view, bucket, named)
        listing = listing._replace(versions=[_with_class(view, bucket, found) for found in listing.versions])
    owners = _owners(view, bucket, (version.record.owner for version in listing.versions))
    return VersionsPage(bucket, listing, owners, restored)


class UploadsWanted(NamedTuple):
    """What a listing of uploads asks for. ``after_id`` only with ``after_key``: go on within that key."""

    prefix: bytes = b""
    delimiter: bytes = b""
    after_key: bytes = b""
    after_id: str = ""
    count_max: int = 1000


def _first_position(wanted: UploadsWanted) -> tuple[bytes, str] | None:
    """The position behind which the page begins, as the store takes it; None if nothing can follow."""
    prefix, after = wanted.prefix, wanted.after_key
    if not after or after < prefix:
        return prefix, ""
    at = after.find(wanted.delimiter, len(prefix)) if wanted.delimiter and after.startswith(prefix) else -1
    if at >= 0:  # the marker lies in a common prefix: all of that was told
        beyond = successor(after[: at + len(wanted.delimiter)])
        return None if beyond is None else (beyond, "")
    return (after, wanted.after_id) if wanted.after_id else (after + b"\0", "")


def list_uploads(context: Context, name: str, wanted: UploadsWanted) -> UploadsPage:
    """A page of ListMultipartUploads."""
    with context.store.view() as view:
        bucket = find_bucket(context, view, name, "ListBucketMultipartUploads")
        uploads, prefixes, last, truncated = _fold_uploads(view, bucket.uid, wanted)
        owners = {upload.owner: find_owner(view, upload.owner) for upload in uploads}
    return UploadsPage(uploads, prefixes, owners, *last, truncated)


def _fold_uploads(
    view: ReadView, uid: bytes, wanted: UploadsWanted
) -> tuple[list[UploadRecord], list[bytes], tuple[bytes, str], bool]:
    """(uploads, common prefixes, the last entry, whether more follows): a common prefix costs one new position."""
    uploads: list[UploadRecord] = []
    prefixes: list[bytes] = []
    last = (b"", "")
    position = _first_position(wanted)
    while position is not None and wanted.count_max > 0:
        start, position = position, None
        for upload in view.uploads(uid, bound(start[0]), start[1]):
            if not upload.key.startswith(wanted.prefix):
                break
            if len(uploads) + len(prefixes) == wanted.count_max:
                return uploads, prefixes, last, True
            at = upload.key.find(wanted.delimiter, len(wanted.prefix)) if wanted.delimiter else -1
            if at < 0:
                uploads.append(upload)
                last = (upload.key, upload.id)
                continue
            group = upload.key[: at + len(wanted.delimiter)]
            prefixes.append(group)
            last = (group, "")
            beyond = successor(group)
            position = None if beyond is None else (beyond, "")
            break
    return uploads, prefixes, last, False
