"""The promises, as checks of a world: while it lives, and after it came to rest. Raise ``Broken``.

While it lives (for the machine that acted): the durable cursor claims nothing that the bucket does not hold, and every
value a client could see has its bytes here or in the bucket. After rest: see ``check_world``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from gateway.store.item_format import FAMILY_DOOM, FAMILY_MEMBER
from replication.batch_format import chain_of, decode_batch
from replication.change_format import Change, Ref, decode_change
from replication.checkpoint_format import decode_manifest
from replication.cloud_names import (
    checkpoint_name,
    checkpoint_part_name,
    index_name,
    is_pack_name,
    log_name,
    log_prefix,
    packs_prefix,
    site_prefix,
    split_checkpoint_mark,
    split_index_name,
    split_log_name,
)
from replication.collector import is_worth_it
from replication.crdt import Dot
from replication.frame_format import decode_header
from replication.hydrate import CloudFetcher
from replication.member_format import read_register
from replication.membership import take_census
from replication.parting import is_same_change
from replication.ports import LogPosition, Origin
from replication.puller import list_heads
from replication.restore import restore_site
from replication.sealing import chunk_id, open_frame
from replication.subscription import ALL
from tests.replication.faulty_cloud import STALE
from tests.replication.memory_graveyard import is_ending
from tests.replication.memory_site import Item, MemorySite
from tests.simulation.ledger import token_of
from tests.simulation.subscriptions import check_shown
from tests.simulation.tombstone_checks import (
    check_graves_are_empty,
    check_nothing_came_back,
    decode_all,
    find_ended,
)

if TYPE_CHECKING:
    from tests.simulation.machine import Machine
    from tests.simulation.world import World


SITES_OWN = (FAMILY_DOOM, FAMILY_MEMBER)


class Broken(AssertionError):
    """A promise did not hold in this world."""


class Witness:
    """What the bucket was seen to hold, so that nothing is opened twice: objects there never change."""

    def __init__(self, world: World) -> None:
        self.world, self.bucket, self.objects = world, world.bucket, world.bucket.objects
        self._batches: dict[str, tuple[bytes, list[bytes]]] = {}
        self._read: set[tuple[object, ...]] = set()

    def batch(self, origin: Origin, n: int) -> list[bytes] | None:
        """The encoded changes of a batch in the bucket, or of one that was deleted there."""
        name = log_name(origin, n)
        data = self.objects.get(name, self.bucket.left.get(name))
        if name in self.objects and name in self.bucket.left:
            raise Broken(f"written again after it had left: {name}")
        if data is None:
            return None
        known = self._batches.get(name)
        if known is None:
            batch = decode_batch(self.world.keyring, origin, n, data)
            known = self._batches[name] = (data, list(batch.changes))
        elif known[0] is not data:
            self._check_sealed_anew(origin, n, known[0], data)
            self._batches[name] = (data, known[1])
        return known[1]

    def _check_sealed_anew(self, origin: Origin, n: int, before: bytes, after: bytes) -> None:
        """Only the last batches of logs that have ended are given other bytes, which say the same."""
        ring = self.world.keyring
        was, is_now = decode_batch(ring, origin, n, before), decode_batch(ring, origin, n, after)
        same = replace(was, index=b"", frames=()) == replace(is_now, index=b"", frames=())
        if not same or chain_of(ring, origin, n, before) != chain_of(ring, origin, n, after):
            raise Broken(f"a batch was overwritten: {log_name(origin, n)}")
        self.world.deeds["batch of an ended log sealed anew"] += 1

    def check_readable(self, store: MemorySite, ref: Ref) -> None:
        """The bytes of a visible value are here, or where the site says, and are those written."""
        local = store.frame_of(ref.id)
        if local is not None:
            key, header, ciphertext = (local.header,), decode_header(local.header), local.ciphertext
        else:
            place = store.locate([ref.id]).get(ref.id)
            if place is not None and place.object_name in store.doubtful_names():  # all are: some may be gone already
                places = [place for place in store.placed() if decode_header(place.header).chunk_id == ref.id]
                place = next((place for place in places if place.object_name in self.objects), None)
            if place is None or place.object_name not in self.objects:
                raise Broken("a value is visible whose bytes are nowhere")
            key, header = (place.object_name, place.offset, place.header), decode_header(place.header)
            ciphertext = self.objects[place.object_name][place.offset :][: header.stored_size]
        ring = store.keyring
        if header.epoch not in ring.epochs:  # who meets a key that it lacks asks the bucket
            ring = self.world.published
            if header.epoch not in ring.epochs:
                raise Broken("a value is visible that nobody has the key to")
        if (ref.id, *key) not in self._read:
            if chunk_id(ring, open_frame(ring, header, ciphertext)) != ref.id:
                raise Broken("the bytes read are not those written")
            self._read.add((ref.id, *key))


def check_machine(world: World, machine: Machine) -> None:
    """At any moment, whatever happened: the cursor, the bytes, and the answer to whether it is safe to lose."""
    store, position = machine.store, machine.store.shipped()
    origin = (store.identity().site, store.identity().incarnation)
    at = 0
    for n in range(1, position.n + 1):
        sent = world.witness.batch(origin, n)
        if sent is None:
            raise Broken(f"{machine.name}: the cursor claims batch {n}, which the bucket does not hold")
        own = store.own[at : at + len(sent)]
        if len(own) != len(sent) or not all(map(is_same_change, own, sent)):
            raise Broken(f"{machine.name}: the cursor claims changes that the bucket does not hold")
        at += len(sent)
    if at != position.seq:
        raise Broken(f"{machine.name}: the cursor claims changes that the bucket does not hold")
    if machine.says_safe() and position.seq != len(store.own):
        raise Broken(f"{machine.name} says it is safe to lose, and has what the bucket has not")
    check_bytes(world, store, at_rest=False, alone=not world.sharings)


def check_bytes(world: World, store: MemorySite, *, at_rest: bool, alone: bool = True) -> None:
    """Every value a client could see can be read. A site that ships deduplicates against what other logs brought into
    the bucket, so a reader that has its log and not yet theirs must wait for them (503, and counted here): but never
    for anything of its own (unless another machine writes as this site: ``alone``), and not at rest.
    """
    own = store.identity().site
    for dot, ref in store.live_dots():
        here = store.frame_of(ref.id) is not None or store.is_in_cloud(ref.id)
        waits = not here if alone else store.frame_of(ref.id) is None
        if not at_rest and (dot.site != own or not alone) and waits:
            world.deeds["value whose bytes another log is to locate"] += 1
        elif not at_rest and world.is_out(own):
            world.deeds["value that a site shows which is out"] += 1  # nobody waits for it to let go of the bytes
        else:
            world.witness.check_readable(store, ref)
    for refs in store.staged.values():
        for ref in refs:
            world.witness.check_readable(store, ref)


def check_relied_on(world: World, machine: Machine) -> None:
    """What a site relies on (sends no more, gives up here) is in the bucket."""
    for name in {place.object_name for place in machine.store.placed()}:
        if machine.store.relies_on(name) and name not in world.bucket.objects:
            raise Broken(f"{machine.name} relies on what is gone: {name}")


async def check_world(world: World) -> None:
    """Everything is at rest, and the link is sound."""
    heads = await list_heads(world.bucket)
    for machine in world.machines:
        if machine.shipper.fenced:
            raise Broken(f"{machine.name} does not go on: {machine.shipper.fenced}")
        if is_overtaken(machine.store, heads):
            raise Broken(f"{machine.name}: its log in the bucket is longer than it knows")
    _check_identities(world)
    survivors, bare, doubled, restated, ended = await collect_survivors(world)
    if doubled and world.sharings < 2:
        raise Broken(f"issued twice: {sorted(doubled)[0].hex()}")
    if restated and not world.sharings:
        raise Broken(f"written again without need: {sorted(restated)[0].hex()}")
    world.deeds["issued anew by two machines"] += len(doubled)
    world.deeds["written again, for a copy overwrote it"] += len(restated)
    doubled |= restated
    for token in bare - {seen for written in world.ledger.written.values() for seen in written.saw}:
        raise Broken(f"nobody replaced it, and it went without its value: {token.hex()}")
    standing = world.ledger.standing(set(survivors), bare)
    check_nothing_came_back(world, standing, survivors)
    standing = {item: tokens - ended for item, tokens in standing.items()}
    _check_acknowledged(world, survivors)
    wholes = [machine for machine in world.machines if machine.store.subscription.shown == ALL]
    states = [clients_state(machine.store) for machine in wholes]
    for machine, state in zip(wholes, states, strict=True):
        if state != states[0]:
            raise Broken(f"{machine.name} differs from {wholes[0].name} after everything came to rest")
    for machine in world.machines:
        if machine.store.backlog().changes:
            raise Broken(f"{machine.name}: something is unsent after everything came to rest")
        check_machine(world, machine)
        check_bytes(world, machine.store, at_rest=True)
        check_relied_on(world, machine)
    fresh = await rebuild(world)
    for name, state in (("the first site", states[0] if states else None), ("a rebuilt site", clients_state(fresh))):
        if state is not None:
            shown = {item: {token_of(body) for _, body in live} for item, live in state.items()}
            _check_state(name, shown, standing, doubled)
    if states and clients_state(fresh) != states[0]:
        raise Broken("a site rebuilt from the bucket alone differs")
    for machine in world.machines:
        check_shown(machine.name, machine.store, clients_state(machine.store), clients_state(fresh))
        world.deeds["shows some buckets, and those exactly"] += machine.store.subscription.shown != ALL
    joined = await rebuild(world, by_checkpoint=True)
    _check_state(
        "a site that joined by checkpoint",
        {item: {token_of(body) for _, body in live} for item, live in clients_state(joined).items()},
        *(standing, doubled),
    )
    if joined.visible() != fresh.visible():
        raise Broken("a site that joined by checkpoint differs from one that replayed every log")
    if joined.pulled() != fresh.pulled():
        raise Broken("a site that joined by checkpoint acknowledges other than it took in")


def check_leaving(world: World, name: str) -> None:
    """A batch or an index may leave the bucket if a checkpoint of its site stands in for it, and who does not have to
    begin with a checkpoint anyway has taken it in.
    """
    n = split_log_name(name) or split_index_name(name) or 0
    origin = (bytes.fromhex(name[6:38]), bytes.fromhex(name[39:55]))
    batch = world.bucket.objects.get(log_name(origin, n))
    if split_index_name(name) and batch is not None:
        named = decode_batch(world.keyring, origin, n, batch).index
        if not named or name != index_name(origin, n, named):
            return  # what an interrupted round left
    marks = [split_checkpoint_mark(name) for name in world.bucket.objects]
    if not any(mark is not None and _stands_in(world, mark.origin, mark.n, origin, n) for mark in marks):
        raise Broken(f"it left, and nothing stands in for it: {name}")
    if not world.sharings and STALE not in world.shape.rates:
        for machine in [*world.machines, *world.away]:
            store = machine.store
            mine = (store.identity().site, store.identity().incarnation)
            if (
                origin != mine
                and not world.is_out(mine[0])
                and store.cursor.n
                and store.heard().get(origin, LogPosition()).n < n
            ):
                raise Broken(f"it left, and {machine.name} still needs it: {name}")


def _stands_in(world: World, writer: Origin, number: int, origin: Origin, n: int) -> bool:
    data = world.bucket.objects.get(checkpoint_name(writer, number))
    if data is None:  # a mark that arrived late, of a checkpoint that went
        return False
    manifest = decode_manifest(world.keyring, writer, number, data)
    parts = {checkpoint_part_name(writer, number, part.digest) for part in manifest.parts}
    whole = parts <= world.bucket.objects.keys()
    outs = [read_register(machine.store.statements()) for machine in world.machines]
    is_out = any(origin[0] in out.removed or origin[0] in out.retired for out in outs)  # then its heir's counts, too
    return (
        (writer[0] == origin[0] or is_out)
        and whole
        and not manifest.holds
        and origin in manifest.vector
        and manifest.vector[origin].position.n >= n
    )


def check_garbage(world: World) -> None:
    """Where everybody is there, no pack is left that its owner doomed, or most of which nothing needs."""
    sound = {machine.store.identity().site: machine for machine in world.machines if not machine.shipper.fenced}
    writers = {bytes.fromhex(name[6:38]) for name in world.bucket.objects if name.startswith("sites/")}
    if len(sound) != len(world.machines) or world.away or writers - sound.keys() or world.sharings:
        return
    partial = {site for site, machine in sound.items() if machine.wanted}  # they delete nothing
    for site, machine in sound.items():
        if site in partial:
            continue
        for held in machine.store.held_objects(site_prefix(site), "", 1 << 30, machine.clock.wall_ms()):
            if is_pack_name(held.name) and held.name in world.bucket.objects:
                if held.doomed:
                    raise Broken(f"a doomed object is still there: {held.name}")
                if is_worth_it(held, world.collecting):
                    raise Broken(f"an object is mostly garbage: {held}")
        _check_log_is_short(world, machine)
        if world.forgets:
            check_graves_are_empty(machine, partial)
        _check_no_orphans(world, machine)
    world.deeds["bucket without garbage"] += 1


def _check_no_orphans(world: World, machine: Machine) -> None:
    """Every pack of its log is one that some batch named, and that has something to tell."""
    store = machine.store
    prefix = packs_prefix((store.identity().site, store.identity().incarnation))
    known = {held.name for held in store.held_objects(prefix, "", 1 << 30, 0) if held.frames}
    left = {name for name in world.bucket.objects if name.startswith(prefix)} - known
    if left:
        raise Broken(f"an object is still there that no batch names: {sorted(left)[0]}")


def _check_log_is_short(world: World, machine: Machine) -> None:
    """Of what its newest checkpoint stands in for nothing is left but what holds something alive, or may not be known
    to everybody.
    """
    store = machine.store
    origin = (store.identity().site, store.identity().incarnation)
    seq = take_census(store).cut()[origin]
    held = {one.name: one for one in store.held_objects(log_prefix(origin), "", 1 << 30, machine.clock.wall_ms())}
    for n in range(1, store.shipped().n):
        name = log_name(origin, n)
        if name not in world.bucket.objects or (name in held and held[name].live_bytes):
            continue
        marks = [split_checkpoint_mark(name) for name in world.bucket.objects]
        covered = any(mark and _stands_in(world, mark.origin, mark.n, origin, n) for mark in marks)
        if covered and decode_batch(world.keyring, origin, n, world.bucket.objects[name]).last_seq < seq:
            raise Broken(f"a batch is still there that nobody needs: {name}")


def is_overtaken(store: MemorySite, heads: dict[Origin, int]) -> bool:
    """Another machine went on with this site's log, and this one did not notice."""
    identity = store.identity()
    return heads.get((identity.site, identity.incarnation), 0) > store.shipped().n


def _check_identities(world: World) -> None:
    """No two machines are one site, but for copies that nobody wrote on since: they cannot be told apart."""
    known: dict[bytes, tuple[bytes, list[bytes]]] = {}
    for machine in world.machines:
        identity = machine.store.identity()
        log = (identity.incarnation, machine.store.own)
        if known.setdefault(identity.site, log) != log:
            raise Broken(f"{machine.name} and another machine are one site after everything came to rest")


class Survivors(NamedTuple):
    """Tokens of every change in any log of the bucket, with the logs; of those among them that went without their
    value; of those that stand in two logs: three machines were one site, and two of them had the same unsent change to
    issue anew; of those that went without and were written again by a machine that still showed them; of tombstones
    that were ended.
    """

    logs: dict[bytes, set[Origin]]
    bare: set[bytes]
    doubled: set[bytes]
    restated: set[bytes]
    ended: set[bytes]


async def collect_survivors(world: World) -> Survivors:
    every: list[list[bytes]] = []
    found: dict[bytes, set[Origin]] = {}
    for origin, head_n in (await list_heads(world.bucket)).items():
        for n in range(1, world.counted(origin, head_n) + 1):
            batch = world.witness.batch(origin, n)
            if batch is None:
                raise Broken(f"a head says batch {n} is there, and it is not")
            every.append(batch)
            for change in clients_changes(batch):
                found.setdefault(token_of(change.body), set()).add(origin)
    changes = [change for batch in every for change in clients_changes(batch)]
    bare = {token_of(change.body) for change in changes if change.dot in change.replaces}
    restated = bare & find_restated(changes)
    doubled = {token for token, origins in found.items() if len(origins) > 1}
    return Survivors(found, bare - restated, doubled - restated, restated, find_ended(world, decode_all(every)))


def find_restated(changes: Sequence[Change]) -> set[bytes]:
    """Tokens of changes that stand in for one of themselves that went without its value."""
    bare = {change.dot: token_of(change.body) for change in changes if change.dot in change.replaces}
    whole = [change for change in changes if change.dot not in change.replaces]
    return {token_of(one.body) for one in whole for dot in one.replaces if bare.get(dot) == token_of(one.body)}


async def rebuild(world: World, *, by_checkpoint: bool = False) -> MemorySite:
    """A site made of the bucket and the realm key alone, bytes and all: by the checkpoints and what is left of the
    logs, or by every batch that ever stood there.
    """
    keyring = world.published if by_checkpoint else world.keyring
    fresh = MemorySite(keyring, b"rebuilt", lambda: world.time.now_ms)
    bucket = world.bucket if by_checkpoint else world.bucket.whole()
    fresh.fetcher = CloudFetcher(bucket)
    state = fresh if by_checkpoint else None
    done = await restore_site(bucket, lambda: keyring, fresh, wall_ms=fresh.wall_ms, remote=fresh, state=state)
    world.deeds["rebuilt by checkpoint"] += bool(done.checkpoint_ms)
    for ref in fresh.live_refs():
        if fresh.frame_of(ref.id) is None:
            raise Broken("a rebuilt site lacks bytes")
        world.witness.check_readable(fresh, ref)
    return fresh


def _check_acknowledged(world: World, survivors: set[bytes]) -> None:
    """Every acknowledged write is in the bucket, or on the disk of a machine that is away, or was forfeited."""
    held = {token_of(change.body) for machine in world.away for change in own_changes(machine.store)}
    for token in world.ledger.written:
        if token not in survivors and token not in held and token not in world.ledger.forfeited:
            written = world.ledger.written[token]
            raise Broken(f"an acknowledged write of {written.item!r} is in no log and on no disk: {token.hex()}")


def _check_state(
    who: str,
    found: dict[tuple[int, bytes], set[bytes]],
    expected: dict[tuple[int, bytes], set[bytes]],
    doubled: set[bytes],
) -> None:
    """``doubled``: of each such change one may stand although the other was replaced."""
    for item in sorted(found.keys() | expected.keys()):
        lost = expected.get(item, set()) - found.get(item, set())
        if lost:
            raise Broken(f"{who} lost an acknowledged write of {item!r}: {sorted(lost)[0].hex()}")
        back = found.get(item, set()) - expected.get(item, set()) - doubled
        if back:
            raise Broken(f"{who} shows again what was replaced, of {item!r}: {sorted(back)[0].hex()}")


def own_changes(store: MemorySite) -> list[Change]:
    return clients_changes(store.own)


def clients_changes(encoded: Iterable[bytes]) -> list[Change]:
    """What clients wrote: sites say something in their logs, too."""
    changes = map(decode_change, encoded)
    return [change for change in changes if change.family not in SITES_OWN and not is_ending(change)]


def clients_state(store: MemorySite) -> dict[Item, tuple[tuple[Dot, bytes], ...]]:
    """The visible state without what sites say of themselves."""
    return {item: live for item, live in store.visible().items() if item[0] not in SITES_OWN}
