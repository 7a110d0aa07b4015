"""Mirrors of buckets: current objects, plain, in a bucket of the same cloud, written by the one site that is to.

For the background process. Follows the site's log of own and taken-in changes (``changed_keys``), so what is mirrored
is *merged* state; a mirror is for others to read and is no replica. The place in the log is durable per bucket, saved
once what is before it was written, so that every change is mirrored at least once, also after a crash. A mirror that
begins, moves, or follows a joined checkpoint is compared whole: what differs from a listing is written, what is too
much and carries the mirror's mark is deleted.

    DATA/mirrors/<bucket uid hex>.json    {"target": …, "batch": n}      durable; what status tells: ``mirror_reports``

Left out, and told: objects under SSE-C and SSE-KMS (plain copies would undo what they are for), archived ones, keys
that are no UTF-8, and objects whose bytes are lost, as was accepted (until they are written again).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.cli.link_state import open_debts, site_link
from gateway.cli.mirror_reports import MirrorReport, write_reports
from gateway.cli.opening import OpenSite
from gateway.operations.mirror_document import MIRROR, Mirror, decode_mirror
from gateway.operations.storage_classes import is_readable
from gateway.s3.encryption import SEAL_EXTRA
from gateway.store.changed_keys import ChangedKeys
from gateway.store.errors import ChunkLost, StoreError
from gateway.store.ports import Bucket, Version
from replication.plain_bucket import Listed, PlainBucket, PlainObject, open_plain_bucket
from replication.ports import CloudError
from replication.throttle import Pacer

POLL_S: Final = 1.0
REST_S: Final = 15.0
KEYS_AT_ONCE: Final = 256
BATCHES_AT_ONCE: Final = 256
_HEADERS: Final = {
    "content-type": "ContentType",
    "content-encoding": "ContentEncoding",
    "content-disposition": "ContentDisposition",
    "content-language": "ContentLanguage",
    "cache-control": "CacheControl",
}

log = logging.getLogger("skerry.mirror")


class MirrorPlace(msgspec.Struct):
    """How far a mirror is: which target, and the last batch of the log that is in it (0: nothing yet)."""

    target: str = ""
    batch: int = 0


class Mirroring:
    """The mirrors that are this site's task. One per site (the background process has the only one)."""

    def __init__(self, site: OpenSite) -> None:
        assert site.config.cloud is not None
        self._site = site
        self._me = site.replica.identity().site.hex()
        self._changed = ChangedKeys(site.store.view, site.store.log, site.store.shared)
        self._link = site_link(site.config, site.directory)
        self._debts = open_debts(site.directory)
        self._reports: dict[bytes, MirrorReport] = {}

    def close(self) -> None:
        """Give back what it holds."""
        self._debts.close()

    async def step(self) -> bool:
        """A piece of work for each mirror: whether there was any. Failures are told, and tried again."""
        with self._site.store.view() as view:
            mine = [(bucket, mirror) for bucket in view.buckets() if (mirror := _mirror_of(view, bucket, self._me))]
        worked = False
        for uid in self._reports.keys() - {bucket.uid for bucket, _ in mine}:
            del self._reports[uid]
            worked = True
        for bucket, mirror in mine:
            if self._link.limits().up.paused:
                break
            report = self._reports.setdefault(bucket.uid, MirrorReport(bucket.name, f"{mirror.bucket}/{mirror.prefix}"))
            try:
                worked |= await self._follow(bucket, mirror, report)
                report.last_error = ""
            except (CloudError, StoreError) as error:
                report.last_error = str(error)
                log.warning("mirror of %s: %s", bucket.name, error)
        if worked or any(report.last_error for report in self._reports.values()):
            write_reports(self._site, self._reports.values())
        return worked and not any(report.last_error for report in self._reports.values())

    async def _follow(self, bucket: Bucket, mirror: Mirror, report: MirrorReport) -> bool:
        path = self._site.directory.path / "mirrors" / f"{bucket.uid.hex()}.json"
        target = f"{mirror.bucket}/{mirror.prefix}"
        place = _load_place(self._site, path)
        newest = self._changed.newest()
        report.behind_batches = newest - place.batch
        if place.target == target and place.batch == newest:
            return False
        assert self._site.config.cloud is not None
        pacer = Pacer(self._link, self._debts)
        remote = await open_plain_bucket(self._site.config.cloud, mirror.bucket, bucket.uid.hex(), pacer)
        try:
            if place.target != target:
                place = MirrorPlace(target, await self._compare_whole(bucket, mirror, remote, report))
            else:
                place.batch = await self._catch_up(bucket, mirror, remote, report, place.batch)
        finally:
            await remote.close()
        await asyncio.to_thread(_save_place, self._site, path, place)
        report.behind_batches = self._changed.newest() - place.batch
        return True

    async def _catch_up(
        self, bucket: Bucket, mirror: Mirror, remote: PlainBucket, report: MirrorReport, after: int
    ) -> int:
        touched = await asyncio.to_thread(self._changed.read, [bucket.uid], after, BATCHES_AT_ONCE)
        if touched.everything:
            return await self._compare_whole(bucket, mirror, remote, report)
        for key in sorted(touched.keys[bucket.uid]):
            await self._mirror_key(bucket, mirror, remote, report, key)
        return touched.batch

    async def _compare_whole(self, bucket: Bucket, mirror: Mirror, remote: PlainBucket, report: MirrorReport) -> int:
        """Make the target what the bucket is: the batch before which that is so."""
        batch = self._changed.newest()
        report.left_out = 0
        there: dict[str, Listed] = {row.key: row async for row in remote.list(mirror.prefix)}
        for key in self._current_keys(bucket):
            name = _name_of(mirror, key)
            row = there.pop(name, None) if name is not None else None
            if row is None or not self._is_same(bucket, key, row):
                await self._mirror_key(bucket, mirror, remote, report, key)
        for name in there:
            await remote.delete(name)
        return batch

    def _current_keys(self, bucket: Bucket) -> Iterable[bytes]:
        after = b""
        while True:
            with self._site.store.view() as view:
                keys = [key for key, _ in islice(view.scan_heads(bucket.uid, after), KEYS_AT_ONCE)]
            yield from keys
            if len(keys) < KEYS_AT_ONCE:
                return
            after = keys[-1] + b"\0"

    def _is_same(self, bucket: Bucket, key: bytes, row: Listed) -> bool:
        with self._site.store.view() as view:
            version = view.current(bucket.uid, key)
        return version is not None and (version.record.size, version.record.etag) == (row.size, row.etag)

    async def _mirror_key(
        self, bucket: Bucket, mirror: Mirror, remote: PlainBucket, report: MirrorReport, key: bytes
    ) -> None:
        name = _name_of(mirror, key)
        if name is None:
            report.left_out += 1
            return
        with self._site.store.view() as view:
            version = view.current(bucket.uid, key)
            plain = version is not None and _is_plain(version, view.version_documents(bucket.uid, version), view)
        if version is None or version.record.marker:
            await remote.delete(name)
            report.deleted += 1
        elif not plain:
            report.left_out += 1
            await remote.delete(name)
        else:
            headers = {_HEADERS[known]: value for known, value in version.record.headers.items() if known in _HEADERS}
            metadata = {name: value for name, value in version.record.metadata.items() if value.isascii()}
            what = PlainObject(version.record.size, headers, metadata)
            try:
                await remote.put(name, what, self._site.store.read(version.record.content))
                report.written += 1
            except ChunkLost:
                report.left_out += 1
                await remote.delete(name)


async def run_mirrors_forever(site: OpenSite, stop: asyncio.Event) -> None:
    """Mirror until ``stop``; what goes wrong is told, and tried again."""
    if site.cloud is None:
        return
    mirroring = Mirroring(site)
    try:
        while not stop.is_set():
            try:
                rest_s = 0.0 if await mirroring.step() else POLL_S
            except Exception:  # replication lives in the same process and goes on
                log.exception("mirroring failed; trying again later")
                rest_s = REST_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await stop.wait()
    finally:
        mirroring.close()


def _mirror_of(view: Any, bucket: Bucket, me: str) -> Mirror | None:
    """The mirror of a bucket, if it is this site's task."""
    body = view.document(bucket.uid, MIRROR)
    mirror = decode_mirror(body) if body is not None else None
    return mirror if mirror is not None and mirror.site == me else None


def _is_plain(version: Version, documents: Any, view: Any) -> bool:
    return SEAL_EXTRA not in version.record.extra and is_readable(version.record, documents, 0)


def _name_of(mirror: Mirror, key: bytes) -> str | None:
    try:
        return mirror.prefix + key.decode()
    except UnicodeDecodeError:
        return None


def _load_place(site: OpenSite, path: Path) -> MirrorPlace:
    try:
        return msgspec.json.decode(site.directory.files.read_file(path), type=MirrorPlace)
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
        return MirrorPlace()


def _save_place(site: OpenSite, path: Path, place: MirrorPlace) -> None:
    """Durable on return."""
    files = site.directory.files
    if not files.is_directory(path.parent):
        files.make_directory(path.parent)
        files.sync_directory(path.parent.parent)
    files.write_file_durably(path, msgspec.json.encode(place))
