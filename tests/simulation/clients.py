"""What clients do on one site: writes to every family of items, with what each of them sees and replaces.

The rules are those of the merge table (what a write to a slot, a version, a document replaces), told here in the few
lines a simulation needs; bodies are a token and a little text.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from gateway.store.item_format import (
    FAMILY_ACCESS_KEY,
    FAMILY_BUCKET,
    FAMILY_DOCUMENT,
    FAMILY_IDENTITY,
    FAMILY_NULL_SLOT,
    FAMILY_USER,
    FAMILY_VERSION,
    FAMILY_VERSION_DOCUMENT,
    document_item,
    null_slot_item,
    version_document_item,
    version_item,
)
from replication.change_format import Ref
from replication.crdt import Write
from tests.replication.memory_site import Item, MemorySite
from tests.simulation.ledger import Ledger, Written, token_of
from tests.simulation.shape import SIZES, Shape

CONTENTS = [random.Random(f"{size} {number}").randbytes(size) for size in SIZES for number in range(8)]
DROP = b"drop"
LEANING = 0.35
"""How often a client of a leaning world uses bytes that are there already instead of bringing some."""
DOCUMENTS = ["versioning", "policy", "public-access-block"]


def candidates(live: Sequence[Write]) -> Sequence[Write]:
    """A slot's writes that may be current or losers: a drop exists only to replace."""
    return [write for write in live if not write.body.endswith(DROP)]


class Client:
    """Somebody with all rights, at one site."""

    def __init__(self, store: MemorySite, ledger: Ledger, rng: random.Random, shape: Shape) -> None:
        self.store, self.ledger, self.rng, self.shape = store, ledger, rng, shape

    def act(self) -> str:
        """One write of any kind; its name, or nothing if there was nothing to do."""
        leans = self.shape.leaning and self.rng.random() < LEANING
        kind = self.rng.choice(_LEANING) if leans else self.rng.choices(_KINDS, _WEIGHTS)[0]
        if not self._shown() and kind != "configure":
            return ""
        return kind if getattr(self, kind)() else ""

    # objects

    def put(self) -> bool:
        item = self._slot()
        return self._write(FAMILY_NULL_SLOT, item, self._content(1), self._current(item))

    def put_if_absent(self) -> bool:
        item = self._slot()
        current = self._current(item)
        return (not current or current[0].dead) and self._write(FAMILY_NULL_SLOT, item, self._content(1), current)

    def put_large(self) -> bool:
        """As many pieces as no round has room for."""
        item = self._slot()
        pieces = self._content(self.rng.randint(4, 9))
        return self._write(FAMILY_NULL_SLOT, item, pieces, self._current(item))

    def delete(self) -> bool:
        item = self._slot()
        current = self._current(item)
        if not current or current[0].dead:
            return False
        return self._write(FAMILY_NULL_SLOT, item, (), current, dead=True)

    def drop_losers(self) -> bool:
        """A kept loser is deleted, by its owner or when its time is over: it names its victim and touches no other."""
        item = self._slot()
        losers = [write for write in candidates(self._live(FAMILY_NULL_SLOT, item))[1:] if not write.dead]
        if not losers:
            return False
        return self._write(FAMILY_NULL_SLOT, item, (), [self.rng.choice(losers)], dead=True, value=DROP)

    def expire(self) -> bool:
        """Lifecycle: whatever is there now, and nothing that comes meanwhile."""
        item = self._slot()
        alive = [write for write in self._live(FAMILY_NULL_SLOT, item) if not write.dead]
        return bool(alive) and self._write(FAMILY_NULL_SLOT, item, (), alive, dead=True)

    def put_version(self) -> bool:
        vid = self.rng.randbytes(16)
        return self._write(FAMILY_VERSION, version_item(self._uid(), vid, self._key()), self._content(1), ())

    def purge(self) -> bool:
        found = self._versions()
        if not found:
            return False
        item = self.rng.choice(found)
        return self._write(FAMILY_VERSION, item, (), self._live(FAMILY_VERSION, item), dead=True)

    def tag_version(self) -> bool:
        found = self._versions()
        if not found:
            return False
        version = self.rng.choice(found)
        name = self.rng.choice(["tags", "lock"])
        item = version_document_item(version[:16], version[16:32], version[32:], name)
        return self._write(FAMILY_VERSION_DOCUMENT, item, (), self._live(FAMILY_VERSION_DOCUMENT, item))

    # what leans on bytes that may lie in the bucket only

    def copy(self) -> bool:
        """An object anew under another name, by what it refers to."""
        found, item = self._some_object(), self._slot()
        return found is not None and self._write(FAMILY_NULL_SLOT, item, (), self._current(item), refs=found[1])

    def stage(self) -> bool:
        """A part of an upload, sent, or copied from what is deleted thereupon: nobody else hears of it."""
        upload = self.rng.choice([b"one", b"two"])
        found = self._some_object() if self.rng.random() < 0.8 else None
        if found is None:
            self.store.stage(upload, self._content(1))
            return True
        (family, item), refs = found
        self.store.stage(upload, refs=refs)
        return self.rng.random() < 0.7 and self._write(family, item, (), self._live(family, item), dead=True)

    def complete(self) -> bool:
        """An open upload becomes an object, or is given up; not while some of it must be waited for."""
        found = [upload for upload, refs in self.store.staged.items() if self.store.is_held(refs)]
        if not found:
            return False
        refs, item = self.store.unstage(self.rng.choice(found)), self._slot()
        return self.rng.random() < 0.8 and self._write(FAMILY_NULL_SLOT, item, (), self._current(item), refs=refs)

    def _some_object(self) -> tuple[Item, tuple[Ref, ...]] | None:
        """Some object that can be copied, and what it refers to."""
        store = self.store
        found = [
            (item, store.refs[write.dot])
            for item, entry in store.entries.items()
            if item[0] in _OBJECTS and store.shows(*item)
            for write in entry.live[:1]
            if store.refs[write.dot] and store.is_held(store.refs[write.dot])
        ]
        return self.rng.choice(found) if found else None

    # configuration

    def make_bucket(self) -> bool:
        uid = self._uid()
        return self._write(FAMILY_BUCKET, uid, (), self._live(FAMILY_BUCKET, uid))

    def delete_bucket(self) -> bool:
        uid = self._uid()
        live = self._live(FAMILY_BUCKET, uid)
        return bool(live) and self._write(FAMILY_BUCKET, uid, (), live, dead=True)

    def put_document(self) -> bool:
        item = document_item(self._uid(), self.rng.choice(DOCUMENTS))
        return self._write(FAMILY_DOCUMENT, item, (), self._live(FAMILY_DOCUMENT, item), dead=self.rng.random() < 0.2)

    def configure(self) -> bool:
        family = self.rng.choice([FAMILY_USER, FAMILY_ACCESS_KEY, FAMILY_IDENTITY])
        item = b"role/r" if family == FAMILY_IDENTITY else self.rng.choice([b"u", b"v"])
        live = self._live(family, item)
        if any(write.dead for write in live):
            return False  # ids are never reused
        return self._write(family, item, (), live, dead=bool(live) and self.rng.random() < 0.3)

    # within

    def _write(
        self,
        family: int,
        item: bytes,
        contents: Sequence[bytes],
        replaced: Sequence[Write],
        *,
        dead: bool = False,
        value: bytes = b"",
        refs: tuple[Ref, ...] = (),
    ) -> bool:
        token = self.ledger.next_token()
        saw = frozenset([token_of(write.body) for write in replaced])
        dots = [write.dot for write in replaced]
        self.store.write(family, item, token + value, contents, dots, dead=dead, refs=refs)
        self.ledger.acknowledge(token, Written(family, item, dead, saw))
        return True

    def _live(self, family: int, item: bytes) -> tuple[Write, ...]:
        return self.store.live(family, item)

    def _current(self, item: bytes) -> Sequence[Write]:
        return candidates(self._live(FAMILY_NULL_SLOT, item))[:1]

    def _versions(self) -> list[bytes]:
        """Versions that are there: those nobody removed."""
        return [
            item
            for (family, item), entry in self.store.entries.items()
            if family == FAMILY_VERSION
            and self.store.shows(family, item)
            and entry.live
            and not any(write.dead for write in entry.live)
        ]

    def _content(self, pieces: int) -> list[bytes]:
        return [self.rng.choice(CONTENTS) for _ in range(pieces)]

    def _uid(self) -> bytes:
        shown, number = self._shown(), self.rng.randrange(self.shape.buckets)
        return shown[number % len(shown)]

    def _shown(self) -> list[bytes]:
        uids = [b"bucket-%09d" % number for number in range(self.shape.buckets)]
        return [uid for uid in uids if self.store.shows_bucket(uid)]

    def _key(self) -> bytes:
        return b"key-%d" % self.rng.randrange(self.shape.keys)

    def _slot(self) -> bytes:
        return null_slot_item(self._uid(), self._key())


_CHANCES = {
    "put": 10, "put_if_absent": 3, "put_large": 1, "delete": 4, "drop_losers": 2, "expire": 1, "put_version": 4,
    "purge": 2, "tag_version": 2, "make_bucket": 1, "delete_bucket": 1, "put_document": 2, "configure": 1,
}  # fmt: skip
_KINDS, _WEIGHTS = list(_CHANCES), list(_CHANCES.values())
_LEANING = ["copy", "stage", "stage", "stage", "complete"]
_OBJECTS = (FAMILY_NULL_SLOT, FAMILY_VERSION)
