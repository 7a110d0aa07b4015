"""All rows of one version id as one value: what of it is shown, and what rows that makes. Pure.

Stands inside ``object_rows``, which reads the rows of a version id, adds what arrived, and writes back what is
different. The lattice (``crdt.merge``) says which values and purges nothing has replaced; here is what follows from
them and from the locks that stand: the same for every order of arrival, since only the sets go in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from typing import NamedTuple

from gateway.store.index_format import ROLE_VERSION, ROW_DEAD, VersionRow
from gateway.store.purge_format import (
    UNCONDITIONAL,
    Hidden,
    Tombstone,
    decode_tombstone,
    encode_tombstone,
    is_removed,
)


class VersionState(NamedTuple):
    """Unreplaced values (change bodies) and purges (change bodies) of one version id, by their orders."""

    values: dict[bytes, bytes]
    purges: dict[bytes, bytes]

    def orders(self) -> tuple[bytes, ...]:
        """Of everything in it."""
        return (*self.values, *self.purges)

    def without(self, replaced: Callable[[bytes], bool]) -> VersionState:
        """What is left if the orders that ``replaced`` says so of are gone."""
        values = {order: body for order, body in self.values.items() if not replaced(order)}
        return VersionState(values, {order: body for order, body in self.purges.items() if not replaced(order)})


class Shown(NamedTuple):
    """What a state makes: its rows by order, whether it is removed, how many of its purges are void."""

    rows: dict[bytes, VersionRow]
    removed: bool
    void: int


def read_state(rows: Iterable[VersionRow]) -> VersionState:
    """The state behind the rows of one version id."""
    state = VersionState({}, {})
    for row in rows:
        if not row.dead:
            state.values[row.order] = row.body
            continue
        tombstone = decode_tombstone(row.body)
        state.purges[row.order] = tombstone.purge
        if tombstone.hidden is not None:
            state.values[tombstone.hidden.order] = tombstone.hidden.body
    return state


def show_state(vid: bytes, state: VersionState, read_locks: Callable[[], Set[bytes]]) -> Shown:
    """Rows of a state. ``read_locks``: names of the version's unreplaced lock documents, asked only if it matters.

    Among values of one id (one issued anew after a fence: the same value) the greatest order alone is kept. An
    unconditional purge keeps nothing; any other keeps the value it hides, for a lock may yet arrive.
    """
    value = max(state.values.items(), default=None)
    purges = state.purges.values()
    conditional = bool(state.purges) and UNCONDITIONAL not in purges
    removed = bool(state.purges) and (not conditional or is_removed(purges, read_locks()))
    hidden = Hidden(*value) if removed and conditional and value is not None else None
    rows = {
        order: VersionRow(order, ROLE_VERSION | ROW_DEAD, vid, encode_tombstone(Tombstone(purge, hidden)))
        for order, purge in state.purges.items()
    }
    if value is not None and not removed:
        rows[value[0]] = VersionRow(value[0], ROLE_VERSION, vid, value[1])
    return Shown(rows, removed, 0 if removed or value is None else len(state.purges))
