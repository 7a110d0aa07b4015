"""Is what this site holds, and believes to be in the cloud, in another store rebuilt from that cloud? For the drill.

Compares names and documents of buckets, users, and every version that is verified to be replicated: its record and the
chunk ids of its bytes, which are a keyed hash of the content. What differs at a first look may only be news: whoever
compares takes in the logs again and asks for the suspects once more (``recheck``), against what is here by then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

from gateway.store.item_format import is_local_uid
from gateway.store.ports import ReadView, Version
from gateway.store.store import SiteStore
from gateway.store.version_ids import VersionId
from replication.sampling import Sample

VERSIONS_AT_ONCE: Final = 512


class Suspect(NamedTuple):
    """A version of ours that the other store does not show as we do."""

    uid: bytes
    bucket: str
    key: bytes
    id: VersionId

    def __str__(self) -> str:
        return f"{self.bucket}/{self.key.decode('utf-8', 'replace')} version {self.id.text}"


@dataclass
class Comparison:
    """``sample``: versions whose bytes are worth reading, each as likely as any other."""

    versions: int = 0
    unsent: int = 0
    bytes: int = 0
    suspects: list[Suspect] = field(default_factory=list)
    sample: list[Suspect] = field(default_factory=list)


def compare_versions(ours: SiteStore, theirs: SiteStore, sample: Sample[Suspect]) -> Comparison:
    """Walk all our versions, a block of them in one snapshot; those with bytes that are the same come by ``sample``."""
    found = Comparison()
    with ours.view() as view:
        buckets = [(bucket.uid, bucket.name) for bucket in view.buckets() if not is_local_uid(bucket.uid)]
    for uid, name in buckets:
        for block in _blocks(ours, uid):
            with theirs.view() as other:
                for version, replicated in block:
                    if not replicated:
                        found.unsent += 1
                        continue
                    found.versions += 1
                    found.bytes += version.record.size
                    suspect = Suspect(uid, name, version.key, version.id)
                    if not _is_same(version, other.version(uid, version.key, version.id)):
                        found.suspects.append(suspect)
                    elif version.record.size:
                        sample.add(uid + version.key + version.order, suspect)
    found.sample = sample.values()
    return found


def recheck(ours: SiteStore, theirs: SiteStore, suspects: list[Suspect]) -> list[Suspect]:
    """Those that are still here, still said to be replicated, and still not the same over there."""
    left = []
    for suspect in suspects:
        with ours.view() as view, theirs.view() as other:
            version = view.version(suspect.uid, suspect.key, suspect.id)
            if version is None or not view.is_replicated(version):
                continue
            if not _is_same(version, other.version(suspect.uid, suspect.key, suspect.id)):
                left.append(suspect)
    return left


def compare_settings(ours: ReadView, theirs: ReadView) -> list[str]:
    """Buckets, their documents, and users that are not the same: a line for each."""
    wrong = []
    there = {bucket.uid: bucket for bucket in theirs.buckets()}
    for bucket in ours.buckets():
        if bucket.uid not in there or there[bucket.uid].name != bucket.name:
            wrong.append(f"bucket {bucket.name}")
            continue
        for name in {*ours.document_names(bucket.uid), *theirs.document_names(bucket.uid)}:
            if ours.document(bucket.uid, name) != theirs.document(bucket.uid, name):
                wrong.append(f"document {name} of bucket {bucket.name}")
    known = {user.id: user for user in theirs.users()}
    wrong += [f"user {user.name}" for user in ours.users() if known.get(user.id) != user]
    return wrong


def _is_same(ours: Version, theirs: Version | None) -> bool:
    return theirs is not None and theirs.order == ours.order and theirs.record == ours.record


def _blocks(store: SiteStore, uid: bytes) -> Iterator[list[tuple[Version, bool]]]:
    """Versions of a bucket, with whether each is replicated, in blocks of one short snapshot each."""
    after: tuple[bytes, VersionId | None] = (b"", None)
    while True:
        with store.view() as view:
            scan = view.scan_versions(uid)
            scan.seek(*after)
            block = [(version, view.is_replicated(version)) for version in islice(scan, VERSIONS_AT_ONCE)]
        if not block:
            return
        yield block
        after = (block[-1][0].key, block[-1][0].id)
