"""Dots, writes and the entry lattice: what every change of a realm is merged by.

In the data's way this stands between the change format (bytes) and the stores that keep entries (index, simulator).
It is pure: no clock, no I/O, no randomness, and it knows nothing of S3: an item is an opaque key elsewhere.

An **entry** is the state of one item (an object slot, a version, a bucket document, a user …):

* ``live``: the writes that no write we know of has replaced, and
* ``marks``: dots that some write replaced. A mark may be dropped by its keeper once the write it names has been
  applied there (each dot is applied exactly once per site), so marks never grow with history.

Laws, tested in ``tests/replication/test_crdt.py``: ``merge`` is commutative, associative and idempotent, and
``merge(a, b)`` contains every mark of both and no write that either has marked.

Winners, losers, conflicts and the safer of two values are *derived when read* (``winner``, ``losers``), never stored:
stored verdicts are what makes such merges non-associative. Tombstones are ordinary writes with ``dead`` set; whether a
dead sibling beats live ones (remove-wins) or only orders among them (register) is the reader's rule, not merge's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

SITE_SIZE = 16
INCARNATION_SIZE = 8


class Dot(NamedTuple):
    """The identity of one change: which site, which of its incarnations, and its dense sequence number from 1."""

    site: bytes
    incarnation: bytes
    seq: int


@dataclass(frozen=True, slots=True)
class Write:
    """One write to an item: where and when it happened and the opaque value it left (empty when ``dead``)."""

    dot: Dot
    hlc: int
    dead: bool
    body: bytes

    @property
    def order(self) -> tuple[int, bytes, bytes, int]:
        """The total order among writes: hybrid clock, then site, incarnation, sequence; a function of the write
        alone.
        """
        return (self.hlc, self.dot.site, self.dot.incarnation, self.dot.seq)


@dataclass(frozen=True, slots=True)
class Entry:
    """The state of one item: unreplaced writes, greatest order first, and the dots known to be replaced."""

    live: tuple[Write, ...] = ()
    marks: frozenset[Dot] = frozenset()


EMPTY = Entry()


def entry_of(write: Write, replaces: frozenset[Dot]) -> Entry:
    """The entry that one change alone makes: the write itself, and marks for what it replaced."""
    return Entry((write,), replaces)


def merge(a: Entry, b: Entry) -> Entry:
    """Join two entries of one item; commutative, associative, idempotent."""
    marks = a.marks | b.marks
    live = {write.dot: write for write in (*a.live, *b.live) if write.dot not in marks}
    return Entry(tuple(sorted(live.values(), key=_order, reverse=True)), marks)


Seen = Callable[[Dot], bool]
"""Whether the change with this dot is among those that a state was made of."""


def join(mine: Entry, theirs: Entry, seen_here: Seen, seen_there: Seen) -> Entry:
    """Join the states of one item on two sites, each made of the changes that its ``seen`` tells.

    What one has and the other has seen and has no more was replaced there. Law: if ``mine`` is the merge of some
    changes and ``theirs`` of others, this is the merge of all of them.
    """
    marks = mine.marks | theirs.marks
    here, there = {write.dot: write for write in mine.live}, {write.dot: write for write in theirs.live}
    live = [
        write
        for dot, write in (here | there).items()
        if dot not in marks and (dot in here or not seen_here(dot)) and (dot in there or not seen_there(dot))
    ]
    return Entry(tuple(sorted(live, key=_order, reverse=True)), marks)


def winner(entry: Entry) -> Write | None:
    """The unreplaced write of greatest order, dead or not; None for an item nobody wrote."""
    return entry.live[0] if entry.live else None


def losers(entry: Entry) -> tuple[Write, ...]:
    """Unreplaced writes that carry a value and are not the winner: the other side of a collision, kept readable."""
    return tuple(write for write in entry.live[1:] if not write.dead)


def is_removed(entry: Entry) -> bool:
    """Remove-wins reading, for items whose ids are never reused (versions, users, access keys)."""
    return any(write.dead for write in entry.live)


def _order(write: Write) -> tuple[int, bytes, bytes, int]:
    return write.order
