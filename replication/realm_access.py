"""A site's hold on its realm: the key directory, the root key, and the keyring they open, kept up with the bucket's.

Stands between ``keys`` (functions on key objects) and everything that asks for a keyring. The directory holds, byte for
byte, what the bucket holds. The root key is asked for once: the wrapping key opens later epochs. Every process of a
site looks into the directory now and then, and when it meets an epoch that it does not know. Opening is blocking
(files, scrypt); ``publish``, ``refresh`` and the rotations talk to the cloud. Whether a starting site takes its
own realm, joins the bucket's or makes one is the composition root's to decide.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from replication.cloud_names import REALM
from replication.key_rotation import (
    RealmEpoch,
    RealmRoot,
    drop_epoch,
    drop_root,
    list_dropped,
    list_epochs,
    list_roots,
    new_epoch,
    renew,
    retire_older,
    wrap_for_root,
    wraps_around,
    wraps_of,
)
from replication.keys import (
    KeyObjects,
    OpenRealm,
    RealmError,
    fetch_keys,
    open_realm,
    publish_realm,
    read_key_directory,
    remove_from_key_directory,
    reopen_realm,
    write_key_directory,
)
from replication.offload import Offload, run_in_thread
from replication.ports import Cloud
from replication.realm_format import REALM_KEY_LABEL, Realm, encode_key_text
from replication.root_keys import RootKeyProvider
from replication.sealing import Keyring

WATCH_S: Final = 5.0


class RealmAccess:
    """The realm as this process holds it. Made by ``open_local``. ``reload`` may be called on any thread."""

    def __init__(
        self,
        directory: Path,
        objects: KeyObjects,
        opened: OpenRealm,
        *,
        offload: Offload = run_in_thread,
        draw: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.directory = directory
        self._offload, self._draw = offload, draw
        self._objects = dict(objects)
        self._opened = opened
        self._keyring = self._live(opened)
        self.on_keyring: Callable[[Keyring], None] = lambda keyring: None
        self.is_needed: Callable[[bytes], bool] = lambda epoch: True
        """Whether something of this site may lie under an epoch: its key is not given up then, whatever marks say."""

    @property
    def realm(self) -> Realm:
        """The realm's id, derivation and age."""
        return self._opened.realm

    @property
    def recoverable(self) -> bool:
        """Whether a recovery key can open the realm too."""
        return self._opened.recoverable

    def root_key_text(self) -> str:
        """The root (or recovery) key in use, as text: for processes of this site, by a pipe; never shown or stored."""
        return encode_key_text(REALM_KEY_LABEL, self._opened.openers[self._opened.mark])

    def keyring(self) -> Keyring:
        """The keys as known now. An epoch that it does not know is looked for in the key directory."""
        return self._keyring

    def epochs(self) -> list[RealmEpoch]:
        """Every epoch, oldest first."""
        return list_epochs(self._opened)

    def roots(self) -> list[RealmRoot]:
        """Every key outside the realm that opens it, as far as it is known here."""
        return list_roots(self._opened, self._objects)

    async def publish(self, cloud: Cloud) -> None:
        """See to it that the bucket holds this realm and these keys; ``WrongRealm`` before anything is written."""
        marks = await list_dropped(cloud)
        dropped = {*wraps_of(self._objects, marks), *wraps_around(self._objects, marks)}
        await publish_realm(cloud, {name: data for name, data in self._objects.items() if name not in dropped})

    async def refresh(self, cloud: Cloud) -> None:
        """Take in keys that other sites put into the bucket, give up those of root keys and epochs that were ended (but
        for what is in use here); ``on_keyring`` is told.
        """
        fresh = await fetch_keys(cloud, self._objects)
        marks = await list_dropped(cloud)
        epochs = marks & self._opened.keyring.epochs.keys() - {self._opened.keyring.current}
        unused = {epoch for epoch in epochs if not await self._offload(partial(self.is_needed, epoch))}
        ended = wraps_of(self._objects, marks - {self._opened.mark}) + wraps_around(self._objects, unused)
        if fresh or ended:
            await self._offload(lambda: self._keep(fresh, ended))
            self.on_keyring(self._keyring)

    def reload(self) -> bool:
        """Take in what another process put into the key directory: whether there was anything. Blocking."""
        objects = read_key_directory(self.directory)
        if objects == self._objects:
            return False
        self._take(objects)
        return True

    async def watch(self, interval_s: float = WATCH_S) -> None:
        """Look into the key directory now and then, for ever; ``on_keyring`` is told of what is new."""
        known = self._keyring
        while True:
            await asyncio.sleep(interval_s)
            await self._offload(self.reload)
            if self._keyring is not known:  # found here, or by somebody who met an epoch that was not known
                known = self._keyring
                self.on_keyring(known)

    async def rotate_epoch(self, cloud: Cloud | None, now_ms: int) -> bytes:
        """Begin a new epoch, durable here and in the bucket on return: its id. ``CloudError``, ``RealmError``."""
        epoch, objects = new_epoch(self._opened, now_ms, self._draw)
        await self._add(cloud, objects)
        return epoch

    async def renew(self, cloud: Cloud | None, now_ms: int, tell: Callable[[str], None]) -> bytes:
        """Begin an epoch that nothing known before opens but the root key in use: its id. With a fresh wrapping key and
        a fresh recovery key, whose text exists nowhere else: ``tell`` is given it before anything counts.

        ``CloudError``; ``RealmError`` while another root key opens the realm: who runs with it would be left out.
        """
        others = [root.mark.hex() for root in self.roots() if not root.in_use and not root.recovery]
        if others:
            raise RealmError(f"root key {others[0]} opens the realm, too: have every site run with one, and drop it")
        made = renew(self._opened, now_ms, self._draw)
        tell(made.recovery_key)
        await self._add(cloud, made.objects)
        return made.epoch

    async def retire_epochs(self, cloud: Cloud | None) -> list[bytes]:
        """Have everything sealed anew that lies under an older epoch than the current one, on every site: which those
        are. ``CloudError``.
        """
        marks = {name: data for name, data in retire_older(self._opened).items() if name not in self._objects}
        if marks:
            await self._add(cloud, marks)
        return sorted(self._keyring.retired & self._keyring.epochs.keys())

    async def drop_epoch(self, cloud: Cloud | None, epoch: bytes) -> None:
        """End an epoch, here and in the bucket, of which the caller knows that nobody needs it. ``RealmError`` for the
        current one, one that was not retired, and one that is not known.
        """
        found = next((one for one in self.epochs() if one.id == epoch), None)
        if found is None:
            raise RealmError(f"this realm has no epoch {epoch.hex()}")
        if found.current:
            raise RealmError("this is the current epoch: begin another one first")
        if not found.retired:
            raise RealmError("what lies under this epoch was never to be sealed anew: `skerry rekey` first")
        if cloud is not None:
            await drop_epoch(cloud, epoch)
        await self._offload(lambda: self._keep({}, wraps_around(self._objects, {epoch})))
        self.on_keyring(self._keyring)

    async def add_root(self, cloud: Cloud | None, provider: RootKeyProvider) -> bytes:
        """Let one more root key open the realm, and see that it does: its fingerprint. ``RootKeyUnusable``."""
        root = await self._offload(lambda: provider.root_key(self.realm))
        mark, objects = wrap_for_root(self._opened, root)
        if not wraps_of(self._objects, {mark}):
            await self._add(cloud, objects)
        again = await self._offload(lambda: open_realm(provider, self._objects))
        if again.keyring.epochs.keys() != self._opened.keyring.epochs.keys():
            raise RealmError("the new root key does not open every epoch")
        return mark

    async def drop_root(self, cloud: Cloud | None, mark: bytes) -> None:
        """End a root key, here and in the bucket. ``RealmError`` for the one in use, a recovery key, and one that is
        not known.
        """
        found = next((root for root in self.roots() if root.mark == mark), None)
        if found is None:
            raise RealmError(f"no root key with fingerprint {mark.hex()} opens this realm")
        if found.in_use:
            raise RealmError("this is the root key in use here: configure the new one first")
        if found.recovery:
            raise RealmError("this is a recovery key, not a root key")
        if cloud is not None:
            await drop_root(cloud, self._objects, mark)
        await self._offload(lambda: self._keep({}, wraps_of(self._objects, {mark})))

    async def _add(self, cloud: Cloud | None, objects: KeyObjects) -> None:
        """The bucket first, read back and compared; nobody uses a key before."""
        reopen_realm(self._opened, {**self._objects, **objects})
        if cloud is not None:
            await publish_realm(cloud, {REALM: self._objects[REALM], **objects})
        await self._offload(lambda: self._keep(objects, ()))
        self.on_keyring(self._keyring)

    def _keep(self, fresh: KeyObjects, ended: Collection[str]) -> None:
        objects = {**self._objects, **fresh}
        objects = {name: data for name, data in objects.items() if name not in ended}
        reopen_realm(self._opened, objects)
        write_key_directory(self.directory, fresh)
        remove_from_key_directory(self.directory, ended)
        self._take(objects)

    def _take(self, objects: KeyObjects) -> None:
        opened = reopen_realm(self._opened, objects)
        self._objects, self._opened = dict(objects), opened
        self._keyring = self._live(opened)

    def _live(self, opened: OpenRealm) -> Keyring:
        ring = opened.keyring
        epochs = _LiveEpochs(ring.epochs, self._find_epoch)
        return Keyring(ring.realm, ring.chunk_key, epochs, ring.current, ring.retired)

    def _find_epoch(self, epoch: bytes) -> bytes | None:
        self.reload()
        return self._opened.keyring.epochs.get(epoch)


class _LiveEpochs(dict[bytes, bytes]):
    """Epoch keys by id; what is missing is looked for once more."""

    def __init__(self, known: Mapping[bytes, bytes], find: Callable[[bytes], bytes | None]) -> None:
        super().__init__(known)
        self._find = find

    def __missing__(self, epoch: bytes) -> bytes:
        found = self._find(epoch)
        if found is None:
            raise KeyError(epoch)
        self[epoch] = found
        return found


def open_local(directory: Path, root: RootKeyProvider) -> RealmAccess:
    """The realm kept beside the site's data; ``NoRealm`` if there is none yet, ``WrongRealmKey``,
    ``RootKeyUnusable``.
    """
    objects = read_key_directory(directory)
    return RealmAccess(directory, objects, open_realm(root, objects))
