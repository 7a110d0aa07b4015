"""A machine whose keys change: the realm as its processes hold it, a sealed disk, and what ``keys`` commands do.

The disk (``SealedSite``) keeps frames and log records under the epochs that they came under, until its collector has
sealed them anew, some at a time; beside them lie the key directory and what the daemon last reported, so that a copy or
a backup takes them along. The realm is the real one (``RealmAccess``) over a directory that is a dict. Commands are
processes of their own, which crash like the daemon does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.epoch_progress import find_needs_in_bucket
from replication.cloud_names import KEYS_PREFIX, REALM, key_name, split_key_name, split_retired_name
from replication.collecting import Collecting
from replication.collector import CollectedRound
from replication.fleet import list_fleet
from replication.frame_format import decode_header
from replication.keys import KeyObjects, OpenRealm, RealmError, open_realm, reopen_realm
from replication.member_format import read_register
from replication.membership import take_census
from replication.offload import run_at_once
from replication.ports import CloudError
from replication.realm_access import RealmAccess
from replication.realm_format import (
    KEY_CHUNK,
    KEY_EPOCH,
    KEY_WRAPPING,
    KeyDerivation,
    KeyRecord,
    Realm,
    encode_realm,
    fingerprint,
    wrap_key,
)
from replication.sealing import Keyring
from replication.site_status_format import SiteStatus, encode_site_status
from replication.status import EpochAccount
from tests.replication.faulty_cloud import Crash
from tests.replication.fixed_realm import KEYRING
from tests.replication.memory_site import MemorySite
from tests.simulation.machine import Machine

if TYPE_CHECKING:
    from tests.simulation.rekeying_world import Rekeying

ROOT, RECOVERY, WRAPPING = (bytes(range(start, start + 32)) for start in (96, 128, 160))
SEALED_ANEW_AT_ONCE = 3


class FixedRoot:
    """The root key that every machine has."""

    def derivation(self) -> KeyDerivation:
        return KeyDerivation()

    def root_key(self, realm: Realm) -> bytes:
        return ROOT


def realm_objects() -> dict[str, bytes]:
    """What ``create_realm`` makes, of the keys that all tests have."""
    realm = Realm(KEYRING.realm, KeyDerivation(), 1)
    wrapping = KeyRecord(b"wrapping-key----", KEY_WRAPPING, 1, WRAPPING)
    chunk = KeyRecord(b"chunk-id-key----", KEY_CHUNK, 1, KEYRING.chunk_key)
    epoch = KeyRecord(KEYRING.current, KEY_EPOCH, 1, KEYRING.epochs[KEYRING.current])
    wraps = [(ROOT, wrapping), (RECOVERY, wrapping), *[(by, one) for one in (chunk, epoch) for by in (ROOT, WRAPPING)]]
    return {REALM: encode_realm(realm)} | {
        key_name(record.id, fingerprint(realm.id, by)): wrap_key(realm.id, by, record) for by, record in wraps
    }


def open_objects(objects: Mapping[str, bytes]) -> OpenRealm:
    """The realm as whoever has the root key opens it from such objects, among others."""
    kept = {name: data for name, data in objects.items() if name == REALM or _is_kept(name)}
    return open_realm(FixedRoot(), kept)


def _is_kept(name: str) -> bool:
    return name.startswith(KEYS_PREFIX) and bool(split_key_name(name) or split_retired_name(name))


class RealmInMemory(RealmAccess):
    """The realm as one process holds it, over a key directory that is a dict."""

    def __init__(self, disk: dict[str, bytes], draw: Callable[[int], bytes], may_crash: Callable[[str], None]) -> None:
        super().__init__(Path(), disk, open_objects(disk), offload=run_at_once, draw=draw)
        self._disk, self._may_crash = disk, may_crash

    def reload(self) -> bool:
        if dict(self._disk) == self._objects:
            return False
        self._take(dict(self._disk))
        return True

    def _keep(self, fresh: KeyObjects, ended) -> None:
        objects = {name: data for name, data in {**self._objects, **fresh}.items() if name not in ended}
        reopen_realm(self._opened, objects)
        for name in sorted(fresh):
            self._may_crash("before a key is kept")
            self._disk[name] = fresh[name]
        for name in sorted(ended):
            self._may_crash("before a key is given up")
            self._disk.pop(name, None)
        self._take(objects)


class SealedSite(MemorySite):
    """A disk on which it counts what lies under which epoch."""

    def __init__(self, keys: dict[str, bytes], *given) -> None:
        self.keys = keys
        self.reported: dict[str, EpochAccount] = {}
        """What the daemon's last report says of epochs that are to end."""
        self.heads: dict = {}
        """How far it says that logs reach."""
        self.records: dict[bytes, int] = {}
        """Log records on the disk, by the epoch they are sealed under."""
        super().__init__(*given)

    def set_keyring(self, keyring: Keyring) -> None:
        self.keyring = keyring

    def collect(self) -> int:
        """Some of what lies under retired epochs is sealed anew, beside what collection does anyway."""
        self.seal_anew(SEALED_ANEW_AT_ONCE)
        return super().collect()

    def seal_anew(self, count_max: int) -> None:
        """So many frames, and the log."""
        old = [name for name, frame in self.frames.items() if self._to_keep(frame) is not frame]
        for name in old[:count_max]:
            self.frames[name] = self._to_keep(self.frames[name])
        for epoch in self.keyring.retired & self.records.keys():
            self.keyring.epoch_key(epoch)
            self._record(self.records.pop(epoch))

    def sealed_here(self) -> Mapping[bytes, int]:
        frames = Counter(decode_header(frame.header).epoch for frame in self.frames.values())
        return frames + Counter(self.records)

    def write(self, *given, **more):
        self._record(1)
        return super().write(*given, **more)

    async def record_pulled(self, *given) -> None:
        await super().record_pulled(*given)
        self._record(1)

    async def record_shipped(self, *given) -> None:
        await super().record_shipped(*given)
        self._record(1)

    async def issue_anew(self, *given) -> int:
        count = await super().issue_anew(*given)
        self._record(1 + count)
        return count

    def _record(self, count: int) -> None:
        epoch = self.keyring.current
        self.records[epoch] = self.records.get(epoch, 0) + count


class RekeyingMachine(Machine):
    world: Rekeying
    store: SealedSite

    def keyring(self) -> Keyring:
        return self.realm.keyring()

    def make_store(self, name: str, seed: int) -> MemorySite:
        return SealedSite(self.world.keys_at_join(), KEYRING, name.encode(), self.clock.wall_ms, seed)

    def start(self) -> None:
        self.entered = False
        self.realm = self._open_realm()
        self.realm.on_keyring = self._take_keyring
        self.realm.is_needed = self.may_need
        self._take_keyring(self.realm.keyring())
        self.refresh_keys = lambda: self.realm.refresh(self.link)
        super().start()
        self.collecting = Collecting(
            *(self.mortal, self.mortal, self.collector, 0),
            wall_ms=self.clock.wall_ms,
            hurry=lambda: None,
            refresh_keys=self.refresh_keys,
        )

    def _open_realm(self) -> RealmInMemory:
        return RealmInMemory(self.store.keys, self.world.rng.randbytes, lambda when: self.link.may_crash(when))

    def _take_keyring(self, keyring: Keyring) -> None:
        self.store.set_keyring(keyring)
        self.world.note_keys(keyring)

    # the daemon

    async def enter(self) -> None:
        """What the daemon does before anything else."""
        if not self.entered:
            await self.realm.publish(self.link)
            await self.realm.refresh(self.link)
            self.entered = True
            self.report()

    def report(self) -> None:
        self.store.reported = self.collecting.epochs
        self.store.heads = {log: state.head_n for log, state in self.puller.states.items() if state.head_n}

    async def replicate(self, verb: str) -> str:
        try:
            await self.enter()
            done = await super().replicate(verb)
        except (RealmError, ValueError, CloudError, Crash) as error:  # damaged on its way; the daemon tries again
            return f"{verb}: {error!r}"
        self.report()
        return done

    async def collect(self, *, caught_up: bool) -> CollectedRound:
        done = await self.collecting.take_turn(caught_up=caught_up, now=True)
        self.report()
        if self.collecting.wants_checkpoint():
            await self.replicate("checkpoint")
        return done

    def tell_status(self, unsent: int) -> bytes:
        rekeyed = tuple([bytes.fromhex(one) for one, left in sorted(self.store.reported.items()) if left.is_done])
        return encode_site_status(SiteStatus(name=self.name, backlog_changes=unsent, rekeyed=rekeyed))

    def may_need(self, epoch: bytes) -> bool:
        """``epoch_progress.may_need``."""
        looked = self.store.reported.get(epoch.hex())
        return looked is None or looked.bucket > 0 or self.store.sealed_here().get(epoch, 0) > 0

    # the commands

    def find_needs(self, epoch: bytes) -> list[str]:
        """``epoch_progress.find_needs``."""
        store = self.store
        census, register = take_census(store, store.heads), read_register(store.statements())
        fleet = list_fleet(census, register, SiteStatus(name=self.name), self.clock.wall_ms())
        here = [f"{count} things here" for one, count in store.sealed_here().items() if one == epoch and count]
        return here + find_needs_in_bucket(epoch, store.reported.get(epoch.hex()), fleet)

    async def command(self, verb: str) -> str:
        """``skerry keys rotate``, ``rekey``, ``keys drop-epoch`` beside the daemon: what came of it."""
        realm = self._open_realm()
        try:
            await realm.refresh(self.link)
            return f"{verb}: {await self._command(realm, verb)}"
        except (RealmError, ValueError, CloudError, Crash) as error:
            return f"{verb}: {error!r}"
        finally:
            self.world.note_keys(realm.keyring())
            if not self.link.crashed and self.realm.reload():
                self._take_keyring(self.realm.keyring())

    async def _command(self, realm: RealmInMemory, verb: str) -> str:
        if verb == "rotate":
            return (await realm.rotate_epoch(self.link, self.clock.wall_ms())).hex()
        if verb == "renew":
            return (await realm.renew(self.link, self.clock.wall_ms(), lambda kit: None)).hex()
        if verb == "rekey":
            return ", ".join(epoch.hex() for epoch in await realm.retire_epochs(self.link))
        for epoch in (one.id for one in realm.epochs() if one.retired):
            if needs := self.find_needs(epoch):
                return f"{epoch.hex()} is needed: {needs}"
            self.world.check_drop(self, epoch)
            try:
                await realm.drop_epoch(self.link, epoch)
            finally:
                self.world.note_dropped(self, epoch)
        return "done"
