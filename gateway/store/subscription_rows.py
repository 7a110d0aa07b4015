"""ON DISK (derived, deletable): which buckets this site takes in, in the index table ``meta``; what follows from it.

    meta  b"subscription"   SubscriptionRow, MessagePack array; none: all of the realm

Stands between ``apply`` (which keeps the row as ``Subscribed`` records say) and whoever asks: ``replica``, as it takes
in a batch, ``state_fold``, and views. The filter is on what is applied; logs are read, verified and acknowledged whole.

* Taken in are bucket and user documents of the whole realm, and of objects those of subscribed buckets. A change of any
  other leaves its place in the order (a change of no item). A bucket whose name is not known yet is taken in.
* What was ever taken in goes on being taken in; a narrower subscription only hides it (``shown``).
* A wider one **rewinds**: every log counts as not taken in, a checkpoint or the logs bring what was passed over, and
  changes up to ``high`` that were taken in before are passed over in turn. When all logs are there again it is over,
  and only then what it added is shown: half of a bucket would pass for the whole, and what is written to it would not
  have seen what this site has acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from gateway.store.document_format import BucketRecord, decode_record
from gateway.store.index import Transaction
from gateway.store.index_format import DOT
from gateway.store.item_format import (
    FAMILY_BUCKET,
    FAMILY_NULL_SLOT,
    FAMILY_VERSION,
    FAMILY_VERSION_DOCUMENT,
    FAMILY_VOID,
    UID_SIZE,
)
from gateway.store.item_rows import read_entry
from gateway.store.join_rows import drop_join, read_join
from gateway.store.log_format import Subscribed, VectorRow
from gateway.store.log_rows import read_origin, scan_origins
from replication.change_format import Change, decode_change, encode_change
from replication.crdt import Dot, Seen
from replication.ports import LogPosition, Origin
from replication.subscription import ALL, covers, matches

_KEY: Final = b"subscription"
_OBJECT_FAMILIES: Final = frozenset((FAMILY_NULL_SLOT, FAMILY_VERSION, FAMILY_VERSION_DOCUMENT))


class SubscriptionRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """``taken``: which buckets are taken in; ``shown``: which of them are to be seen; while it rewinds, ``high``: how
    far logs had been taken in, and ``before``: which buckets of that then.
    """

    taken: tuple[str, ...] = ALL
    shown: tuple[str, ...] = ALL
    before: tuple[str, ...] = ()
    high: tuple[VectorRow, ...] = ()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(SubscriptionRow)
_EVERYTHING: Final = SubscriptionRow()


def read_subscription(transaction: Transaction) -> SubscriptionRow:
    """What this site takes in and shows."""
    data = transaction.get(transaction.tables.meta, _KEY)
    return _EVERYTHING if data is None else _decoder.decode(data)


def heard_logs(transaction: Transaction) -> dict[Origin, LogPosition]:
    """How far every log was ever taken in: a rewind takes none of that back."""
    found = {row.origin: LogPosition(row.n, row.seq, row.chain) for row in read_subscription(transaction).high}
    for origin, row in scan_origins(transaction):
        if row.n >= found.get(origin, LogPosition()).n:
            found[origin] = LogPosition(row.n, row.seq, row.chain)
    return found


def heard_of(transaction: Transaction, origin: Origin) -> int:
    """Up to which batch one log was ever taken in; 0 if never."""
    before = [row.n for row in read_subscription(transaction).high if row.origin == origin]
    return max(read_origin(transaction, origin).n, *before, 0)


def apply_subscribed(transaction: Transaction, record: Subscribed) -> None:
    """The operator wants these buckets from now on."""
    known = {
        origin: VectorRow(*origin, log.n, log.seq, log.chain, log.sent_ms, log.acks, log.closed, log.status)
        for origin, log in scan_origins(transaction)
    }
    is_new = not known and read_join(transaction) is None
    row, rewinds = resubscribe(read_subscription(transaction), record.patterns or ALL, known, is_new=is_new)
    if rewinds:
        for origin in known:
            transaction.delete(transaction.tables.origins, origin[0] + origin[1])
        drop_join(transaction)
    transaction.put(transaction.tables.meta, _KEY, _encoder.encode(row))


def resubscribe(
    row: SubscriptionRow, wanted: tuple[str, ...], known: Mapping[Origin, VectorRow], *, is_new: bool
) -> tuple[SubscriptionRow, bool]:
    """What a site takes in that is told to take in ``wanted``, and whether every log counts as not taken in from now
    on. ``known``: how far each was; ``is_new``: nothing was ever begun here. Pure.
    """
    if is_new and not row.high:
        return SubscriptionRow(wanted, wanted), False
    if all(covers(row.taken, pattern) for pattern in wanted):
        return msgspec.structs.replace(row, shown=wanted), False
    before = row.before if row.high else row.taken
    high = {one.origin: one for one in row.high}
    for origin, log in known.items():
        if origin not in high or log.n > high[origin].n:
            high[origin] = log
    taken = ALL if covers(wanted, "*") else tuple(dict.fromkeys((*row.taken, *wanted)))
    return SubscriptionRow(taken, wanted, before, tuple(high.values())), True


def is_shown(row: SubscriptionRow, name: str) -> bool:
    """Whether a bucket of this name is to be seen: subscribed to, and there as a whole. Pure."""
    return matches(row.shown, name) and (not row.high or matches(row.before, name))


def settle_rewind(transaction: Transaction, is_applied: Seen) -> bool:
    """If every log is there again, the rewind is over, and marks that it left behind go: whether that is so now."""
    row = read_subscription(transaction)
    if not row.high or any(read_origin(transaction, known.origin).n < known.n for known in row.high):
        return False
    marks = transaction.tables.marks
    for key in [key for key, _ in transaction.scan(marks)]:
        if is_applied(Dot(*DOT.unpack(key))):
            transaction.delete(marks, key)
    settled = msgspec.structs.replace(row, before=(), high=())
    transaction.put(transaction.tables.meta, _KEY, _encoder.encode(settled))
    return True


class Scope:
    """What a site takes in, as of one moment. ``name_of``: a bucket's name by its uid, if it was heard; ``name_in``:
    the one that a change of a bucket tells.
    """

    def __init__(
        self, row: SubscriptionRow, name_of: Callable[[bytes], str | None], name_in: Callable[[Change], str]
    ) -> None:
        self._row, self._name_of, self._name_in = row, name_of, name_in
        self._high: Mapping[Origin, int] = {known.origin: known.seq for known in self._row.high}
        self._names: dict[bytes, str | None] = {}
        self.everything = self._row.taken == ALL and not self._row.high

    def takes_change(self, change: Change) -> bool:
        """Whether a change from elsewhere is to be applied."""
        before = change.dot.seq <= self._high.get((change.dot.site, change.dot.incarnation), 0)
        return self._takes(change.family, change.item, before=before)

    def takes_told(self, family: int, item: bytes) -> bool:
        """Whether what a checkpoint tells of an item (or of a key: its bucket's uid first) is to be joined."""
        return self.everything or self._takes(family, item, before=False)

    def seen_here(self, family: int, item: bytes, is_applied: Seen) -> Seen:
        """What counts as seen of an item: while it rewinds, of what was taken in before, all that was."""
        if not self._high or self._takes(family, item, before=True):
            return is_applied
        high = self._high
        return lambda dot: is_applied(dot) or dot.seq <= high.get((dot.site, dot.incarnation), 0)

    def pass_over(self, changes: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """The changes of a batch, each as it is, or as its mere place in the order."""
        decoded = [decode_change(data) for data in changes]
        for change in decoded:
            if change.family == FAMILY_BUCKET and change.item not in self._names:
                self._names[change.item] = self._name(change.item) or self._name_in(change)
        return tuple(
            [
                data if self.takes_change(change) else encode_change(_place_of(change))
                for data, change in zip(changes, decoded, strict=True)
            ]
        )

    def _takes(self, family: int, item: bytes, *, before: bool) -> bool:
        if family not in _OBJECT_FAMILIES:
            return not before
        name = self._name(item[:UID_SIZE])
        if name is None:
            return not before
        return matches(self._row.taken, name) and not (before and matches(self._row.before, name))

    def _name(self, uid: bytes) -> str | None:
        if uid not in self._names:
            self._names[uid] = self._name_of(uid)
        return self._names[uid]


def read_scope(transaction: Transaction) -> Scope:
    """What this site takes in, as of a transaction."""

    def name_of(uid: bytes) -> str | None:
        live = read_entry(transaction, FAMILY_BUCKET, uid).live
        return decode_record(BucketRecord, live[0].body).name if live else None

    return Scope(read_subscription(transaction), name_of, lambda change: decode_record(BucketRecord, change.body).name)


def _place_of(change: Change) -> Change:
    return Change(change.dot, change.hlc, FAMILY_VOID, b"", True, (change.dot,))
