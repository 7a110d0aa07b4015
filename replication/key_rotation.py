"""New keys for a realm that is in use: another epoch, another root key, and the end of a root key that had its time.

Stands beside ``keys``: values in, key objects out; ``RealmAccess`` puts them into the bucket and beside the data.

* **Epoch** (``new_epoch``): a fresh key, wrapped by the wrapping key: one object. New segments and cloud objects are
  sealed with the newest epoch; what was sealed before stays as it is, and older epochs stay for as long as it does.
* **Everything** (``renew``): an epoch under a fresh wrapping key, which the root key in use and a fresh recovery key
  wrap, and nothing else does. A new epoch alone is open to whoever got hold of the wrapping key before, by a root key
  that leaked, and reads the bucket's keys of today. The recovery key of before opens nothing later.
* **Root** (``wrap_for_root``): the new root key wraps the wrapping key and the chunk-id key: two small objects,
  whatever the amount of data. The old one works until somebody ends it.
* **Ending a root key** (``drop_root``): a mark, ``keys/dropped/<fingerprint>``, then its wraps go. The mark stays: a
  site that still has those wraps beside its data must not publish them again, and gives them up when it sees it.
* **Ending an epoch**: first a mark, ``keys/retired/<epoch>``: every site that sees it seals anew what it has under it,
  on its disk and in the bucket (``skerry rekey``). When nothing is left, ``drop_epoch``: a mark in ``keys/dropped/``,
  too, then all its wraps go. Whoever kept a copy of wraps and root key opens nothing with it that still lies anywhere.

A recovery key wraps nothing but the wrapping key: that is how it is told from root keys, and why it opens every later
epoch and outlives every rotation.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

from replication.cloud_names import KEYS_PREFIX, key_name, retired_name, split_key_name
from replication.keys import KeyObjects, OpenRealm, RealmError
from replication.listing import list_all
from replication.ports import Cloud
from replication.realm_format import (
    KEY_CHUNK,
    KEY_EPOCH,
    KEY_ID_SIZE,
    KEY_WRAPPING,
    RECOVERY_KEY_LABEL,
    KeyRecord,
    encode_key_text,
    fingerprint,
    wrap_key,
)
from replication.sealing import KEY_SIZE

DROPPED_PREFIX: Final = f"{KEYS_PREFIX}dropped/"
Draw = Callable[[int], bytes]
"""So many random bytes: keys and their ids."""


@dataclass(frozen=True, slots=True)
class RealmEpoch:
    """An epoch as told to people: its id, when it was made, whether new data is sealed with it, whether what is sealed
    with it is to be sealed anew.
    """

    id: bytes
    created_ms: int
    current: bool
    retired: bool = False


@dataclass(frozen=True, slots=True)
class RealmRoot:
    """A key that opens the realm: its fingerprint, whether it is the one in use here, whether a recovery key, and one
    that opens nothing of what came after ``renew``.
    """

    mark: bytes
    in_use: bool
    recovery: bool
    outdated: bool = False


@dataclass(frozen=True, repr=False)
class Renewed:
    """What ``renew`` makes: the epoch's id, the objects, and the recovery key's text, which exists nowhere else."""

    epoch: bytes
    objects: KeyObjects
    recovery_key: str


def new_epoch(opened: OpenRealm, now_ms: int, draw: Draw = secrets.token_bytes) -> tuple[bytes, KeyObjects]:
    """A fresh epoch, newer than every other known here (whatever this site's clock says): its id, its object."""
    wrapping = _record(opened, KEY_WRAPPING)
    newest_ms = max(record.created_ms for record in opened.records if record.kind == KEY_EPOCH)
    created_ms = max(now_ms, newest_ms + 1)
    epoch = KeyRecord(draw(KEY_ID_SIZE), KEY_EPOCH, created_ms, draw(KEY_SIZE))
    name = key_name(epoch.id, fingerprint(opened.realm.id, wrapping.key))
    return epoch.id, {name: wrap_key(opened.realm.id, wrapping.key, epoch)}


def renew(opened: OpenRealm, now_ms: int, draw: Draw = secrets.token_bytes) -> Renewed:
    """An epoch that is open to nobody by what was known before, but to who has the root key in use here.

    The object by which the root key opens the rest is the last one: until it is there, nobody knows of the others.
    """
    before = _record(opened, KEY_WRAPPING)
    stamp = max(now_ms, 1 + max(record.created_ms for record in opened.records))
    wrapping = KeyRecord(draw(KEY_ID_SIZE), KEY_WRAPPING, stamp, draw(KEY_SIZE))
    epoch = KeyRecord(draw(KEY_ID_SIZE), KEY_EPOCH, stamp, draw(KEY_SIZE))
    recovery, root = draw(KEY_SIZE), opened.openers[opened.mark]
    assert wrapping.created_ms > before.created_ms
    inside = [record for record in opened.records if record.kind in (KEY_CHUNK, KEY_EPOCH)]
    realm = opened.realm.id
    objects = {
        key_name(record.id, fingerprint(realm, by)): wrap_key(realm, by, record)
        for by, record in [
            *[(wrapping.key, record) for record in (*inside, epoch)],
            (recovery, wrapping),
            (root, wrapping),
        ]
    }
    return Renewed(epoch.id, objects, encode_key_text(RECOVERY_KEY_LABEL, recovery))


def wrap_for_root(opened: OpenRealm, root: bytes) -> tuple[bytes, KeyObjects]:
    """The realm opened to one more root key: its fingerprint, its objects."""
    mark = fingerprint(opened.realm.id, root)
    records = (_record(opened, KEY_WRAPPING), _record(opened, KEY_CHUNK))
    return mark, {key_name(record.id, mark): wrap_key(opened.realm.id, root, record) for record in records}


def list_epochs(opened: OpenRealm) -> list[RealmEpoch]:
    """Every epoch, oldest first."""
    epochs = sorted((one.created_ms, one.id) for one in opened.records if one.kind == KEY_EPOCH)
    ring = opened.keyring
    return [RealmEpoch(key, created_ms, key == ring.current, key in ring.retired) for created_ms, key in epochs]


def retire_older(opened: OpenRealm) -> KeyObjects:
    """Marks that every epoch but the current one is to end."""
    return {retired_name(epoch.id): b"" for epoch in list_epochs(opened) if not epoch.current}


def list_roots(opened: OpenRealm, names: Iterable[str]) -> list[RealmRoot]:
    """Every key outside the realm that opens it."""
    newest = _record(opened, KEY_WRAPPING)
    wrapping = [record for record in opened.records if record.kind == KEY_WRAPPING]
    inside, ids_of_wrapping = {fingerprint(opened.realm.id, one.key) for one in wrapping}, {one.id for one in wrapping}
    wraps: dict[bytes, set[bytes]] = {}
    for split in filter(None, map(split_key_name, names)):
        wraps.setdefault(split[1], set()).add(split[0])
    return [
        RealmRoot(mark, mark == opened.mark, ids <= ids_of_wrapping, newest.id not in ids)
        for mark, ids in sorted(wraps.items())
        if mark not in inside
    ]


async def list_dropped(cloud: Cloud) -> frozenset[bytes]:
    """Fingerprints of the root keys, and ids of the epochs, that somebody ended."""
    marks = [name.removeprefix(DROPPED_PREFIX) for name in await list_all(cloud, DROPPED_PREFIX)]
    return frozenset(bytes.fromhex(mark) for mark in marks if len(mark) == 2 * KEY_ID_SIZE)


async def drop_root(cloud: Cloud, names: Iterable[str], mark: bytes) -> None:
    """End a root key in the bucket: mark first, then its wraps. Idempotent."""
    await cloud.put(f"{DROPPED_PREFIX}{mark.hex()}", b"")
    for name in wraps_of(names, {mark}):
        await cloud.delete(name)


async def drop_epoch(cloud: Cloud, epoch: bytes) -> None:
    """End an epoch in the bucket: mark first, then all its wraps, whoever made them. Idempotent."""
    await cloud.put(f"{DROPPED_PREFIX}{epoch.hex()}", b"")
    for name in await list_all(cloud, f"{KEYS_PREFIX}{epoch.hex()}/"):
        await cloud.delete(name)


def wraps_around(names: Iterable[str], keys: Collection[bytes]) -> list[str]:
    """The key objects in which these keys are wrapped."""
    return [name for name in names if (split := split_key_name(name)) and split[0] in keys]


def wraps_of(names: Iterable[str], marks: Collection[bytes]) -> list[str]:
    """The key objects that these keys wrapped."""
    return [name for name in names if (split := split_key_name(name)) and split[1] in marks]


def _record(opened: OpenRealm, kind: int) -> KeyRecord:
    """The newest key of a kind."""
    of_kind = [record for record in opened.records if record.kind == kind]
    found = max(of_kind, key=lambda record: (record.created_ms, record.id), default=None)
    if found is None:
        raise RealmError("this key opens the realm only in part: use the realm's root key")
    return found
