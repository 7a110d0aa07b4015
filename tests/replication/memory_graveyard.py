"""``Graveyard`` of a site in memory: what is dead there, and its end. Mixed into ``MemorySite``."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from gateway.store.item_format import FAMILY_DOOM, FAMILY_NULL_SLOT, FAMILY_VERSION
from replication.change_format import Change
from replication.collection_ports import Horizon, Tombstones
from replication.crdt import Dot, Entry, Write

ENDED = (FAMILY_NULL_SLOT, FAMILY_VERSION, FAMILY_DOOM)


def is_ending(change: Change) -> bool:
    """Whether a change only ends tombstones (what goes without its value keeps the head of its body)."""
    return change.dead and not change.body and change.dot in change.replaces


class MemoryGraveyard:
    """The half of a site in memory that forgets what is dead."""

    entries: dict[tuple[int, bytes], Entry]
    write: Callable[..., Change]
    next_dot: Callable[[], Dot]
    known_horizon: Horizon | None = None
    horizon_known_ms = 0
    """Since when, by the true clock, as far as anybody looked."""
    endings: tuple[tuple[Change, tuple[Write, ...]], ...] = ()
    """Every ending this machine made, with what it ended: for the checks."""

    def horizon(self) -> Horizon | None:
        return self.known_horizon

    async def record_horizon(self, horizon: Horizon) -> None:
        await asyncio.sleep(0)
        self.known_horizon = horizon

    def find_tombstones(self, is_mine: Callable[[bytes], bool], after: bytes, count_max: int) -> Tombstones:
        due: list[bytes] = []
        kept: Counter[str] = Counter()
        left = [(name, key) for name, key in self.names() if name > after]
        for name, (family, item) in left[:count_max]:
            live = self.entries[family, item].live
            dead = sum(write.dead for write in live)
            if not dead:
                continue
            if family not in ENDED:
                kept["configuration"] += dead
            elif dead < len(live):
                kept["beside_what_lives"] += dead
            elif not self._is_stable(live):
                kept["not_yet_stable"] += dead
            elif not is_mine(live[0].dot.site):
                kept["of_other_sites"] += dead
            else:
                due.append(name)
        return Tombstones(due, kept, left[count_max - 1][0] if len(left) > count_max else b"")

    async def end_tombstones(self, due: Sequence[bytes]) -> int:
        await asyncio.sleep(0)
        count = 0
        for name in due:
            family, item = msgspec.msgpack.decode(name, type=tuple[int, bytes])
            live = self.entries[family, item].live
            if live and all(write.dead for write in live) and self._is_stable(live):
                replaced = [*[write.dot for write in live], self.next_dot()]
                self.endings += ((self.write(family, item, b"", replaces=replaced, dead=True), live),)
                count += 1
        return count

    def names(self) -> list[tuple[bytes, tuple[int, bytes]]]:
        """Every item with the name it has to those who walk over them, in their order."""
        return sorted((msgspec.msgpack.encode(key), key) for key in self.entries)

    def _is_stable(self, live: Sequence[Write]) -> bool:
        cut = self.known_horizon.cut if self.known_horizon is not None else {}
        return all(write.dot.seq <= cut.get((write.dot.site, write.dot.incarnation), 0) for write in live)
