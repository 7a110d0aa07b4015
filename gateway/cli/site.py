"""From a configuration to a site that can be opened: data directory, realm keys, and what a first start makes of them.

The only place where directory, keys and cloud come together before a store is opened. A site is *new* until its key
directory holds the ``realm`` object, which is written last: a first start that was interrupted before that has
acknowledged nothing, and is begun anew. With a cloud configured, a new site joins the realm that the bucket holds, or
makes and publishes one; it never guesses when the bucket cannot be asked.

Blocking (files, scrypt, a key command): called before an event loop runs. Prints nothing: kit and credentials are
returned to who shows them.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.cli.core_dumps import forbid_core_dumps
from gateway.config import Config, RealmConfig
from gateway.store.errors import BadDataDirectory
from gateway.store.layout import STAMP_NAME, DataDirectory
from replication.cloud_names import REALM
from replication.keys import (
    KeyObjects,
    NewRealm,
    NoRealm,
    RealmError,
    WrongRealm,
    WrongRealmKey,
    create_realm,
    fetch_realm,
    open_realm,
    publish_realm,
    read_key_directory,
    recovery_kit,
    write_key_directory,
)
from replication.open_cloud import open_cloud
from replication.ports import CloudError
from replication.realm_access import RealmAccess, open_local
from replication.realm_format import REALM_KEY_LABEL, RECOVERY_KEY_LABEL, encode_key_text
from replication.root_keys import (
    CommandRootKey,
    FileRootKey,
    GivenRootKey,
    PassphraseRootKey,
    RootKeyProvider,
    generate_key_file,
    read_secret,
)
from replication.sealing import KEY_SIZE
from replication.settings import CloudSettings
from replication.wrapped_root_keys import AwsKms, VaultTransit, WrappedRootKey, WrappingService

SITE_ID_SIZE: Final = 16
GENERATED_KEY_NAME: Final = "realm.key"


@dataclass(frozen=True, repr=False)
class SiteKeys:
    """A data directory and its opened realm."""

    directory: DataDirectory
    realm: RealmAccess


@dataclass(frozen=True, repr=False)
class FirstStart:
    """A site just made: what there is to show, once.

    ``kit`` is the recovery kit, empty for a site that joined a realm; ``key_place`` where a root key was generated.
    """

    kit: str = ""
    key_place: str = ""


def generated_key_path(config: Config) -> Path:
    """Where the root key lies if the configuration names no source of it."""
    return config.data / "keys" / GENERATED_KEY_NAME


def guard_memory(config: Config) -> None:
    """Leave no core files of a process that is about to hold keys, unless the configuration wants them."""
    if not config.log.core_dumps:
        forbid_core_dumps()


def root_key_provider(config: Config) -> RootKeyProvider:
    """Where this configuration says the root key comes from. What holds keys leaves no core files from here on."""
    guard_memory(config)
    realm = config.realm
    if realm.wrapped_key_file:
        return wrapped_root_key(realm)
    if realm.key_command:
        return CommandRootKey(realm.key_command)
    if realm.passphrase_file:
        return PassphraseRootKey(realm.passphrase_file)
    path = realm.key_file or generated_key_path(config)
    if path.exists() and (text := read_secret(path)).startswith(RECOVERY_KEY_LABEL):
        return GivenRootKey(text)  # which opens a passphrase's realm too
    return FileRootKey(path)


def wrapped_root_key(realm: RealmConfig) -> WrappedRootKey:
    """The root key of a configuration that names a wrapped file, and who unwraps it."""
    assert realm.wrapped_key_file is not None
    service: WrappingService
    if realm.vault_address:
        assert realm.vault_token_file is not None
        service = VaultTransit(
            *(realm.vault_address, realm.vault_key, realm.vault_token_file),
            *(realm.vault_mount, realm.vault_namespace, realm.vault_ca_file),
        )
    else:
        service = AwsKms(realm.kms_key, realm.kms_region, realm.kms_endpoint_url or None, realm.kms_profile or None)
    return WrappedRootKey(realm.wrapped_key_file, service)


def describe_cloud(cloud: CloudSettings | None) -> str:
    """Where the bucket is, for a person."""
    if cloud is None:
        return "none yet"
    place = f"{cloud.bucket}/{cloud.prefix}".rstrip("/")
    return f"{cloud.endpoint_url or 'AWS, ' + cloud.region}, bucket {place}"


def is_new_site(config: Config) -> bool:
    """Whether there is no site in the data directory yet, or only the beginnings of one."""
    return not (config.data / "keys" / REALM).exists()


def open_site(config: Config, root_key: str = "") -> SiteKeys:
    """Open an existing site's directory and realm; ``BadDataDirectory``, ``RealmError``, ``RootKeyUnusable``.

    ``root_key``: the root key as another process of this site got it; whoever keeps it (a service, a command) is asked
    only if there is none, or it opens the realm no longer.
    """
    directory = DataDirectory.open(config.data)
    if is_new_site(config):
        raise BadDataDirectory(f"{config.data} holds no site yet: `skerry serve` makes one")
    realm = _open_handed(config, directory, root_key) if root_key else None
    realm = realm or _open_configured(config, directory)
    if realm.realm.id != directory.realm:
        raise RealmError(f"the keys in {directory.keys} are of realm {realm.realm.id.hex()}, the data is not")
    return SiteKeys(directory, realm)


def _open_handed(config: Config, directory: DataDirectory, root_key: str) -> RealmAccess | None:
    guard_memory(config)
    try:
        return open_local(directory.keys, GivenRootKey(root_key))
    except WrongRealmKey:  # it was ended since: the configuration knows a newer one
        return None


def _open_configured(config: Config, directory: DataDirectory) -> RealmAccess:
    root = root_key_provider(config)
    try:
        return open_local(directory.keys, root)
    except WrongRealmKey:  # or one that another site let open the realm, of which this one has not heard
        if config.cloud is None or not _fetch_new_keys(config.cloud, directory):
            raise
        return open_local(directory.keys, root)


def _fetch_new_keys(settings: CloudSettings, directory: DataDirectory) -> bool:
    """Take in wrapped keys that the bucket has and this site has not: whether there were any. Nothing if it does not
    answer, or holds another realm.
    """
    known = read_key_directory(directory.keys)
    with ThreadPoolExecutor(1) as beside:  # a loop may be running here
        try:
            found = beside.submit(lambda: asyncio.run(_look_for_realm(settings))).result()
        except CloudError:
            return False
    if found is None or found[REALM] != known[REALM]:
        return False
    fresh = {name: data for name, data in found.items() if name not in known}
    write_key_directory(directory.keys, fresh)
    return bool(fresh)


def create_site(config: Config) -> FirstStart:
    """Make a new site: join the bucket's realm, or make one and publish it. Durable on return.

    Raises ``CloudError`` if the bucket cannot be asked: a site that guessed would have a realm of its own.
    """
    _clear_interrupted_start(config.data)
    found = asyncio.run(_look_for_realm(config.cloud)) if config.cloud else None
    if found is not None:
        return _join_realm(config, found)
    directory, made, key_place = _make_realm(config)
    if config.cloud:
        try:
            asyncio.run(_publish(config.cloud, made.objects))
        except WrongRealm:  # another site's first start was quicker: nothing was written here yet, so start over
            (directory.keys / REALM).unlink()
            _clear_interrupted_start(config.data)
            raise
    return FirstStart(recovery_kit(made, describe_cloud(config.cloud)), key_place)


def join_site(config: Config) -> None:
    """Make a new site of the realm that the bucket holds; ``NoRealm`` if there is none."""
    assert config.cloud is not None
    _clear_interrupted_start(config.data)
    found = asyncio.run(_look_for_realm(config.cloud))
    if found is None:
        raise NoRealm(f"the bucket ({describe_cloud(config.cloud)}) holds no realm to restore from")
    _join_realm(config, found)


def _join_realm(config: Config, objects: KeyObjects) -> FirstStart:
    realm = config.realm
    if not realm.names_source:
        raise RealmError(
            f"the bucket ({describe_cloud(config.cloud)}) holds a realm already: configure its root key, "
            f"for instance [realm] key_file with a copy of keys/{GENERATED_KEY_NAME} of another site"
        )
    opened = open_realm(root_key_provider(config), objects)
    directory = _create_directory(config, opened.realm.id)
    write_key_directory(directory.keys, objects)
    return FirstStart()


def _make_realm(config: Config) -> tuple[DataDirectory, NewRealm, str]:
    now_ms = time.time_ns() // 1_000_000
    realm, key_place = config.realm, ""
    if realm.key_file and not realm.key_file.exists():
        generate_key_file(realm.key_file)
        key_place = str(realm.key_file)
    if realm.wrapped_key_file and not realm.wrapped_key_file.exists():
        wrapped_root_key(realm).generate()
        key_place = str(realm.wrapped_key_file)
    if realm.names_source:
        made = create_realm(root_key_provider(config), now_ms)
        directory = _create_directory(config, made.opened.realm.id)
    else:
        made, directory = _make_realm_with_generated_key(config, now_ms)
        key_place = str(generated_key_path(config))
    write_key_directory(directory.keys, made.objects)
    return directory, made, key_place


def _make_realm_with_generated_key(config: Config, now_ms: int) -> tuple[NewRealm, DataDirectory]:
    text = encode_key_text(REALM_KEY_LABEL, secrets.token_bytes(KEY_SIZE))
    made = create_realm(GivenRootKey(text), now_ms)
    directory = _create_directory(config, made.opened.realm.id)
    directory.files.write_file_durably(generated_key_path(config), text.encode() + b"\n")
    return made, directory


def _create_directory(config: Config, realm: bytes) -> DataDirectory:
    return DataDirectory.create(config.data, realm, secrets.token_bytes(SITE_ID_SIZE))


async def _look_for_realm(settings: CloudSettings) -> KeyObjects | None:
    cloud = await open_cloud(settings)
    try:
        return await fetch_realm(cloud)
    except NoRealm:
        return None
    finally:
        await cloud.close()


async def _publish(settings: CloudSettings, objects: KeyObjects) -> None:
    cloud = await open_cloud(settings)
    try:
        await publish_realm(cloud, objects)
    finally:
        await cloud.close()


def _clear_interrupted_start(path: Path) -> None:
    """Remove what a first start left that ended before ``keys/realm`` was written: stamp, keys, empty directories.

    Refuses (``BadDataDirectory``) where there is any data: then the keys were lost, not never made.
    """
    if not DataDirectory.is_stamped(path):
        return
    directory = DataDirectory.open(path)
    if any(directory.segments.iterdir()) or any(directory.index.iterdir()):
        raise BadDataDirectory(
            f"{path} holds data, but {directory.keys / REALM} is gone: put the keys directory back from a backup "
            "or from the bucket, or move the directory away and use `skerry restore`"
        )
    for name in ("keys", "run", "segments", "index"):
        shutil.rmtree(path / name)
    (path / STAMP_NAME).unlink()
    directory.files.sync_directory(path)
