"""What worlds check of the end of tombstones: that everybody knew, that it was time, that nothing shows again by it.

What was ended is found in the bucket, like all else that is expected of a world's end: an ending is a change there.
``check_endings`` looks on every machine when an ending is made; ``check_nothing_came_back`` at the end.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

from replication.change_format import Change, decode_change
from replication.cloud_names import split_head_name
from replication.crdt import Dot, Write
from replication.ports import Origin
from tests.replication.memory_graveyard import is_ending
from tests.replication.memory_site import Item, MemorySite
from tests.simulation.ledger import token_of

if TYPE_CHECKING:
    from tests.simulation.machine import Machine
    from tests.simulation.world import World


class TombstoneNeeded(AssertionError):
    """Something was forgotten too early."""


class Buried(NamedTuple):
    """An ending as it was made: of which writes to an item, how many had been acknowledged, which logs there were."""

    item: Item
    tokens: frozenset[bytes]
    written: int
    logs: frozenset[Origin]


def announced_logs(world: World) -> frozenset[Origin]:
    """Logs with a head in the bucket. Whoever joins while tombstones are being ended is not waited for."""
    return frozenset(head.origin for name in world.bucket.objects if (head := split_head_name(name)))


def check_endings(world: World, machine: Machine, known: int, logs: frozenset[Origin]) -> None:
    """What this machine has just ended (those behind the first ``known``); ``logs``: announced when it began to."""
    for change, replaced in machine.store.endings[known:]:
        known_for_ms = world.time.now_ms - machine.store.horizon_known_ms
        if known_for_ms < world.tombstones_ms:
            raise TombstoneNeeded(f"{machine.name} ended a tombstone {known_for_ms} ms after everybody knew")
        for write in replaced:
            if write.body:  # a client's
                _check_seen(world, machine, write, logs)
        tokens = frozenset(token_of(write.body) for write in replaced)
        world.buried.append(Buried((change.family, change.item), tokens, len(world.ledger.written), logs))
        world.deeds["tombstones ended"] += 1


def _check_seen(world: World, machine: Machine, write: Write, logs: frozenset[Origin]) -> None:
    """Copies are nobody's to know of; who has no head in the bucket yet has not read anything either."""
    for other in (*world.machines, *world.away):
        identity = other.store.identity()
        here = (identity.site, identity.incarnation) in logs and not world.is_out(identity.site)
        if here and not world.sharings and not has_seen(other.store, write.dot):
            raise TombstoneNeeded(f"{machine.name} ended a tombstone that {other.name} has not seen")


def has_seen(store: MemorySite, dot: Dot) -> bool:
    """Whether this site took in, or made, the change."""
    log = store.heard().get((dot.site, dot.incarnation))
    return dot in store.applied or (log is not None and dot.seq <= log.seq)


def check_nothing_came_back(world: World, standing: dict[Item, set[bytes]], logs_of: dict[bytes, set[Origin]]) -> None:
    """No live write stands at an item whose tombstone was ended after it was written, in a log that was known then,
    unless its writer had seen the tombstone.
    """
    for buried in world.buried:
        for token in standing.get(buried.item, ()):
            written = world.ledger.written[token]
            early = int.from_bytes(token, "big") <= buried.written
            if early and not written.dead and logs_of[token] <= buried.logs and not saw(world, token, buried.tokens):
                raise TombstoneNeeded(f"what was dead shows again, of {buried.item!r}: {token.hex()}")


def saw(world: World, token: bytes, sought: frozenset[bytes]) -> bool:
    """Whether a write replaced one of these, or what replaced them."""
    seen, waiting = set(), [token]
    while waiting:
        found = world.ledger.written[waiting.pop()].saw - seen
        if found & sought:
            return True
        seen |= found
        waiting += found
    return False


def find_ended(world: World, changes: list[Change]) -> set[bytes]:
    """Tokens of what the endings among all changes of the bucket replaced."""
    tokens = {change.dot: token_of(change.body) for change in changes if change.body}
    ended = {tokens[dot] for change in changes if is_ending(change) for dot in change.replaces if dot in tokens}
    alive = [token for token in ended if token in world.ledger.written and not world.ledger.written[token].dead]
    if alive:
        raise TombstoneNeeded(f"something that lives was ended: {alive[0].hex()}")
    return ended


def decode_all(batches: list[list[bytes]]) -> list[Change]:
    return [decode_change(data) for batch in batches for data in batch]


def check_graves_are_empty(machine: Machine, partial: Collection[bytes]) -> None:
    """Where everybody is there and has seen all, and time has passed: nothing that may be forgotten is left, but of
    sites that take in some buckets only, which end none.
    """
    store = machine.store
    found = store.find_tombstones(lambda site: site not in partial, b"", 1 << 30)
    if found.due or found.kept.get("not_yet_stable"):
        raise TombstoneNeeded(f"{machine.name} keeps what everybody has seen go long ago: {found}")
