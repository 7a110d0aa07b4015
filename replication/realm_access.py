"""A site's hold on its realm: the key directory, the root key, and the keyring they open, kept up with the bucket's.

Stands between ``keys`` (functions on key objects) and everything that asks for a keyring. The directory holds, byte for
byte, what the bucket holds; the root key stays in this object for as long as the process may have to open new epochs.
Opening is blocking (files, scrypt); ``publish`` and ``refresh`` talk to the cloud. Whether a starting site takes its
own realm, joins the bucket's or makes one is the composition root's to decide.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from replication.keys import (
    KeyObjects,
    OpenRealm,
    fetch_keys,
    open_realm,
    publish_realm,
    read_key_directory,
    write_key_directory,
)
from replication.ports import Cloud
from replication.realm_format import Realm
from replication.root_keys import RootKeyProvider
from replication.sealing import Keyring


class RealmAccess:
    """The realm as this process holds it. Made by ``open_local``."""

    def __init__(self, directory: Path, root: RootKeyProvider, objects: KeyObjects, opened: OpenRealm) -> None:
        self.directory = directory
        self._root = root
        self._objects = dict(objects)
        self._opened = opened
        self.on_keyring: Callable[[Keyring], None] = lambda keyring: None

    @property
    def realm(self) -> Realm:
        """The realm's id, derivation and age."""
        return self._opened.realm

    @property
    def recoverable(self) -> bool:
        """Whether a recovery key can open the realm too."""
        return self._opened.recoverable

    def keyring(self) -> Keyring:
        """The keys as known now."""
        return self._opened.keyring

    async def publish(self, cloud: Cloud) -> None:
        """See to it that the bucket holds this realm and these keys; ``WrongRealm`` before anything is written."""
        await publish_realm(cloud, self._objects)

    async def refresh(self, cloud: Cloud) -> None:
        """Take in keys that other sites put into the bucket; ``on_keyring`` is told."""
        fresh = await fetch_keys(cloud, self._objects)
        if fresh:
            await asyncio.to_thread(self._adopt, fresh)
            self.on_keyring(self._opened.keyring)

    def _adopt(self, fresh: KeyObjects) -> None:
        objects = {**self._objects, **fresh}
        opened = open_realm(self._root, objects)
        write_key_directory(self.directory, fresh)
        self._objects, self._opened = objects, opened


def open_local(directory: Path, root: RootKeyProvider) -> RealmAccess:
    """The realm kept beside the site's data; ``NoRealm`` if there is none yet, ``WrongRealmKey``,
    ``RootKeyUnusable``.
    """
    objects = read_key_directory(directory)
    return RealmAccess(directory, root, objects, open_realm(root, objects))
