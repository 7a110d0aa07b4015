"""Changes under new dots: what a change becomes when its log is issued anew under another incarnation or site id. Pure.

Stands inside ``own_changes``. Clock, item, value, refs and version id stay. What the change says of other changes of
the same log goes with them: what it replaces, the version its condition saw (``object_format``), the null-slot write
its document belongs to (``version_document_format``). A change that nothing shows any more (something replaced it)
replaces itself: it keeps its place in the log, does to others what it did, and comes back nowhere.
"""

from __future__ import annotations

import msgspec

from gateway.store.item_format import (
    FAMILY_NULL_SLOT,
    FAMILY_VERSION,
    FAMILY_VERSION_DOCUMENT,
    null_slot_item,
    split_version_document,
)
from gateway.store.object_format import decode_object, encode_object
from gateway.store.version_document_format import IDENTITY_SIZE
from gateway.store.version_ids import NULL_VID, decode_order, encode_order
from replication.change_format import Change
from replication.crdt import Dot
from replication.ports import Origin


class Renaming:
    """One log's changes, renamed in the order of their sequence numbers."""

    def __init__(self, former: Origin, log: Origin) -> None:
        self._former, self._log = former, log
        self._dots: dict[Dot, Dot] = {}
        self._identities: dict[tuple[bytes, bytes], bytes] = {}
        self.count = 0
        """How many were renamed."""

    def rename(self, change: Change, *, stands: bool, is_named: bool) -> Change:
        """The change under the log's next dot. ``stands``: nothing has replaced it; ``is_named``: whoever has it under
        its former dot has this very change, so it names that, too.
        """
        self.count += 1
        dot, former = Dot(*self._log, self.count), change.dot
        self._dots[former] = dot
        replaces = tuple([self._dots.get(old, old) for old in change.replaces])
        if is_named:
            replaces = (former, *replaces, *[old for old in change.replaces if old in self._dots])
        body = self._rename_body(change)
        if change.family == FAMILY_NULL_SLOT and self._log[0] != self._former[0]:
            old, new = encode_order(change.hlc, former), encode_order(change.hlc, dot)
            self._identities[change.item, old[:IDENTITY_SIZE]] = new[:IDENTITY_SIZE]
        if not stands:
            # Replaced by what may only have seen its former self: it replaces itself, too.
            return msgspec.structs.replace(change, dot=dot, replaces=(*replaces, dot), refs=(), body=body)
        return msgspec.structs.replace(change, dot=dot, replaces=replaces, body=body)

    def _rename_body(self, change: Change) -> bytes:
        if change.family == FAMILY_VERSION_DOCUMENT:
            uid, vid, key, _ = split_version_document(change.item)
            identity = change.body[:IDENTITY_SIZE]
            if vid == NULL_VID:
                return (
                    self._identities.get((null_slot_item(uid, key), identity), identity) + change.body[IDENTITY_SIZE:]
                )
        elif change.family in (FAMILY_NULL_SLOT, FAMILY_VERSION) and not change.dead:
            record = decode_object(change.body)
            if record.condition is not None and record.condition.saw:
                hlc, saw = decode_order(record.condition.saw)
                if saw in self._dots:
                    condition = msgspec.structs.replace(record.condition, saw=encode_order(hlc, self._dots[saw]))
                    return encode_object(msgspec.structs.replace(record, condition=condition))
        return change.body
