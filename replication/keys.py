"""A realm's keys: made, opened, kept beside the site's data, published to the bucket and taken from it.

Key objects travel as ``objects``: a mapping of cloud names (``realm``, ``keys/<id>/<wrap>``) to their bytes, the same
in the bucket and in the site's key directory. The hierarchy:

    root key (provider) ─┬─ wraps chunk-id key, epoch keys
                         └─ wraps the wrapping key ── wraps chunk-id key, epoch keys
    recovery key (printed, kept elsewhere) ── wraps the wrapping key

so that a later epoch is open to the recovery key without anybody having it at hand. Publishing writes keys first and
``realm`` last, each with ``If-None-Match: *``, and reads back and unwraps every one before anything uses it; a bucket
that holds another realm is refused before anything is written.

Marks of retired epochs (``keys/retired/<epoch>``, empty) travel with the wrapped keys, as objects of the same mapping.

Not here: formats (realm_format), root key providers (root_keys).
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from replication.cloud_names import KEYS_PREFIX, REALM, key_name, split_key_name, split_retired_name
from replication.listing import list_all
from replication.padded_format import CloudObjectInvalid
from replication.ports import Cloud, CloudExists, CloudMissing, CloudUnreachable
from replication.realm_format import (
    KEY_CHUNK,
    KEY_EPOCH,
    KEY_ID_SIZE,
    KEY_WRAPPING,
    REALM_ID_SIZE,
    RECOVERY_KEY_LABEL,
    KeyRecord,
    Realm,
    decode_realm,
    encode_key_text,
    encode_realm,
    fingerprint,
    unwrap_key,
    wrap_key,
)
from replication.root_keys import RootKeyProvider
from replication.sealing import KEY_SIZE, Keyring, KeyUnknown
from replication.small_files import FILES, SmallFiles

KeyObjects = Mapping[str, bytes]


class RealmError(Exception):
    """The realm's keys cannot be used as they are; nothing was written."""


class WrongRealm(RealmError):
    """The bucket belongs to another realm than this site's data."""


class WrongRealmKey(RealmError):
    """The root key does not open this realm."""


class NoRealm(RealmError):
    """There is no realm where one was looked for."""


@dataclass(frozen=True, repr=False)
class OpenRealm:
    """An opened realm: what seals and opens, and whether a recovery key could open it too.

    ``mark`` is the fingerprint of the key that opened it; ``records`` are the keys it opens, ``openers`` those that
    wrap others, by their fingerprints.
    """

    realm: Realm
    keyring: Keyring
    recoverable: bool
    mark: bytes
    records: tuple[KeyRecord, ...]
    openers: Mapping[bytes, bytes]


@dataclass(frozen=True, repr=False)
class NewRealm:
    """A realm just made: its objects, opened, and the recovery key's text, which exists nowhere else."""

    objects: KeyObjects
    opened: OpenRealm
    recovery_key: str


def create_realm(provider: RootKeyProvider, now_ms: int) -> NewRealm:
    """A new realm with a chunk-id key, a first epoch and a recovery key. Touches neither disk nor cloud. Blocking."""
    realm = Realm(secrets.token_bytes(REALM_ID_SIZE), provider.derivation(), now_ms)
    root, recovery = provider.root_key(realm), secrets.token_bytes(KEY_SIZE)
    wrapping = _fresh_key(KEY_WRAPPING, now_ms)
    objects = {REALM: encode_realm(realm)}
    for by, record in [
        (root, wrapping),
        (recovery, wrapping),
        *[
            (by, record)
            for record in (_fresh_key(KEY_CHUNK, now_ms), _fresh_key(KEY_EPOCH, now_ms))
            for by in (root, wrapping.key)
        ],
    ]:
        objects[key_name(record.id, fingerprint(realm.id, by))] = wrap_key(realm.id, by, record)
    opened = _open(realm, fingerprint(realm.id, root), {fingerprint(realm.id, root): root}, objects)
    return NewRealm(objects, opened, encode_key_text(RECOVERY_KEY_LABEL, recovery))


def open_realm(provider: RootKeyProvider, objects: KeyObjects) -> OpenRealm:
    """Open a realm with its root key (or its recovery key); ``NoRealm``, ``WrongRealmKey``, ``RootKeyUnusable``.

    Blocking.
    """
    if REALM not in objects:
        raise NoRealm("there is no realm object")
    realm = decode_realm(objects[REALM])
    root = provider.root_key(realm)
    mark = fingerprint(realm.id, root)
    return _open(realm, mark, {mark: root}, objects)


def reopen_realm(opened: OpenRealm, objects: KeyObjects) -> OpenRealm:
    """The realm with other key objects than those it was opened with, without asking for its root key again."""
    return _open(opened.realm, opened.mark, opened.openers, objects)


def recovery_kit(made: NewRealm, cloud: str) -> str:
    """The text to print and keep elsewhere; ``cloud`` says where the bucket is."""
    return describe_recovery(made.opened.realm, made.recovery_key, cloud)


def describe_recovery(realm: Realm, recovery_key: str, cloud: str) -> str:
    """The same for a recovery key of a realm that is in use."""
    return f"""\
SKERRY RECOVERY KIT - print this, or keep it in a password safe. Not on this machine.

Realm         {realm.id.hex()}
Cloud         {cloud}
Recovery key  {recovery_key}

With this key and read access to the bucket, everything in it can be read and a site be rebuilt;
without it, and without the realm key of a site, the bucket is noise, and nobody can help.

To restore: install skerry on a new machine, put the recovery key's line (from the word "{RECOVERY_KEY_LABEL}")
into a file, "chmod 600" it, configure the same cloud and that file as the realm's key file, then run
    skerry restore --config FILE
"""


async def fetch_realm(cloud: Cloud) -> dict[str, bytes]:
    """The realm's objects in the bucket; ``NoRealm`` if it has none, ``CloudError`` if that cannot be told."""
    try:
        objects = {REALM: await cloud.get(REALM)}
    except CloudMissing:
        raise NoRealm("the bucket holds no realm under this prefix") from None
    return objects | await fetch_keys(cloud, ())


async def fetch_keys(cloud: Cloud, known: KeyObjects | tuple[()]) -> dict[str, bytes]:
    """Wrapped keys in the bucket, and marks of retired epochs, that are not in ``known``."""
    names = [name for name in await list_all(cloud, KEYS_PREFIX) if name not in known and _is_kept(name)]
    return {name: await _get_whole(cloud, name) for name in names}


async def _get_whole(cloud: Cloud, name: str) -> bytes:
    """An object that is kept as it comes, read twice: of a wrap whose wrapping key is not here nothing else tells that
    it came whole, and a copy that is not would be taken for another realm's later.
    """
    data = await cloud.get(name)
    if await cloud.get(name) != data:
        raise CloudUnreachable(f"{name} did not come whole")
    return data


async def publish_realm(cloud: Cloud, objects: KeyObjects) -> None:
    """See to it that the bucket holds this realm and these keys, byte for byte. Idempotent.

    Raises ``WrongRealm`` before it writes anything if another realm is there, ``CloudError`` if it cannot be told.
    """
    present = await _get_or_none(cloud, REALM)
    if present is not None and present != objects[REALM]:
        raise _wrong_realm(present)
    for name in sorted(objects, key=lambda name: name == REALM):
        written = await _get_or_none(cloud, name)
        if written is None:
            with suppress(CloudExists):
                await cloud.put(name, objects[name], if_absent=True)
            written = await cloud.get(name)
        if written != objects[name]:
            raise (
                _wrong_realm(written) if name == REALM else RealmError(f"{name} in the bucket is not what was written")
            )


def read_key_directory(directory: Path) -> dict[str, bytes]:
    """The key objects kept beside a site's data; empty if there are none yet."""
    objects: dict[str, bytes] = {}
    if (directory / REALM).exists():
        objects[REALM] = (directory / REALM).read_bytes()
    for path in sorted(directory.glob("*/*")):
        name = f"{KEYS_PREFIX}{path.parent.name}/{path.name}"
        if _is_kept(name):
            objects[name] = path.read_bytes()
    return objects


def write_key_directory(directory: Path, objects: KeyObjects, files: SmallFiles = FILES) -> None:
    """Keep key objects beside a site's data, durable on return, ``realm`` last; what is there already must be equal.

    ``OSError`` if the disk did not take it: repeated, it goes on where it was.
    """
    files.make_directory(directory)
    present = read_key_directory(directory)
    if any(present[name] != objects[name] for name in present.keys() & objects.keys()):
        raise WrongRealm(f"{directory} holds another realm's keys")
    for name in sorted(objects, key=lambda name: name == REALM):
        path = directory / name.removeprefix(KEYS_PREFIX)
        if name not in present:
            files.make_directory(path.parent)
            if name == REALM:
                files.sync_directory(directory)
            files.write_durably(path, objects[name])
    files.sync_directory(directory)
    files.sync_directory(directory.parent)


def remove_from_key_directory(directory: Path, names: Collection[str], files: SmallFiles = FILES) -> None:
    """Give up wrapped keys that are kept beside a site's data. Durable on return."""
    for name in names:
        path = directory / name.removeprefix(KEYS_PREFIX)
        path.unlink(missing_ok=True)
        files.sync_directory(path.parent)


def _open(realm: Realm, mark: bytes, openers: Mapping[bytes, bytes], objects: KeyObjects) -> OpenRealm:
    wraps = [(*split, objects[name]) for name in objects if (split := split_key_name(name))]
    opener = dict(openers)
    records: dict[bytes, KeyRecord] = {}
    while fresh := [wrap for wrap in wraps if wrap[1] in opener and wrap[0] not in records]:
        for key_id, by, data in fresh:
            record = records[key_id] = _unwrap(realm.id, opener[by], key_id, data)
            if record.kind == KEY_WRAPPING:
                opener[fingerprint(realm.id, record.key)] = record.key
    chunk = [record for record in records.values() if record.kind == KEY_CHUNK]
    epochs = sorted((record for record in records.values() if record.kind == KEY_EPOCH), key=_age)
    if not records:
        hint = ", which was made with a passphrase" if realm.derivation.scrypt else ""
        raise WrongRealmKey(f"this key does not open realm {realm.id.hex()}{hint}")
    if len(chunk) != 1 or not epochs:
        raise RealmError(f"realm {realm.id.hex()} lacks its chunk-id key or has no epoch: its keys were tampered with")
    current = epochs[-1].id
    retired = {epoch for name in objects if (epoch := split_retired_name(name)) is not None} - {current}
    ring = Keyring(realm.id, chunk[0].key, {epoch.id: epoch.key for epoch in epochs}, current, frozenset(retired))
    wrapping = [record for record in records.values() if record.kind == KEY_WRAPPING]
    newest = max(wrapping, key=_age).id if wrapping else b""
    by_key: dict[bytes, set[bytes]] = {}
    for key_id, by, _ in wraps:
        by_key.setdefault(by, set()).add(key_id)
    ids_of_wrapping = {record.id for record in wrapping}
    # Root keys wrap the chunk-id key, too.
    recoverable = any(newest in ids and ids <= ids_of_wrapping for ids in by_key.values())
    return OpenRealm(realm, ring, recoverable, mark, tuple(records.values()), opener)


def _unwrap(realm: bytes, by: bytes, key_id: bytes, data: bytes) -> KeyRecord:
    try:
        return unwrap_key(realm, by, key_id, data)
    except (KeyUnknown, CloudObjectInvalid):
        raise
    except ValueError:
        raise RealmError(f"wrapped key {key_id.hex()} is damaged") from None


def _is_kept(name: str) -> bool:
    """Whether a site keeps such an object beside its data."""
    return split_key_name(name) is not None or split_retired_name(name) is not None


def _fresh_key(kind: int, now_ms: int) -> KeyRecord:
    return KeyRecord(secrets.token_bytes(KEY_ID_SIZE), kind, now_ms, secrets.token_bytes(KEY_SIZE))


def _age(record: KeyRecord) -> tuple[int, bytes]:
    return (record.created_ms, record.id)


async def _get_or_none(cloud: Cloud, name: str) -> bytes | None:
    try:
        return await cloud.get(name)
    except CloudMissing:
        return None


def _wrong_realm(data: bytes) -> RealmError:
    try:
        return WrongRealm(f"the bucket belongs to realm {decode_realm(data).id.hex()}, not to this site's")
    except CloudObjectInvalid:
        return WrongRealm("the bucket has a 'realm' object that is not Skerry's: use an empty prefix")
