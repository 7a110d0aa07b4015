"""A random workload on one site, and the exchange of batches between sites."""

from __future__ import annotations

import asyncio
import random

from gateway.store.document_format import AccessKeyRecord, BucketRecord, PartRecord, UploadRecord, UserRecord
from gateway.store.graveyard import StoreGraveyard
from gateway.store.object_format import Condition, ObjectRecord
from gateway.store.replica import Replica
from gateway.store.version_document_format import HOLD_OFF, HOLD_ON, Retention, encode_retention
from gateway.store.version_ids import NULL
from replication.collection_ports import Horizon
from replication.frame_format import FrameName
from replication.ports import FrameLocation, LogPosition, Origin, PulledBatch
from tests.gateway.store.index_site import REALM, IndexSite

KEYS = [b"k%d" % number for number in range(6)]


def replica_of(site: IndexSite) -> Replica:
    return Replica(
        *(REALM, site.site, site.view, site.committer, site.log, site.reader, site.shared, site.open_pages),
    )


def positions_of(site: IndexSite) -> dict[Origin, int]:
    """How much of every log stands here."""
    replica = replica_of(site)
    own = {(replica.identity().site, replica.identity().incarnation): replica.last_seq()}
    return {**{origin: position.seq for origin, position in replica.pulled().items()}, **own}


class Workload:
    """Random decisions on a site: every kind of change, contents of every shape."""

    def __init__(self, site: IndexSite, rng: random.Random, keys: int = 6) -> None:
        self.site, self.rng, self.keys = site, rng, KEYS[:keys]
        self.stable_cut = lambda: positions_of(site)  # of a site alone in the world
        self.uploads: list[str] = []
        self.bodies: list[bytes] = []

    def run(self, steps: int) -> None:
        weights = {
            self.put: 12,
            self.remove: 6,
            self.upload: 6,
            self.bucket: 2,
            self.configure: 3,
            self.ship: 2,
            self.describe: 4,
            self.forget: 1,
        }
        for step in self.rng.choices(list(weights), list(weights.values()), k=steps):
            step()

    def content(self):
        """Refs of some body: new, seen before, a page of several, or a patch against one seen before."""
        rng, site = self.rng, self.site
        inline = rng.random() < 0.5
        body = rng.choice(self.bodies) if self.bodies and rng.random() < 0.4 else rng.randbytes(rng.randrange(1, 3000))
        shape = rng.random()
        if shape < 0.2:
            children = tuple(site.stage(body + bytes([n]), inline=inline) for n in range(3))
            return (site.stage_page(children, inline=inline),)
        if shape < 0.4 and self.bodies:
            base = rng.choice(self.bodies)
            place = site.find_chunk(site.frames.chunk_id(base))
            if place is not None and place.local and not place.bases and place.refcount:
                name = FrameName(site.frames.chunk_id(base), place.segment, place.slot)
                return (site.stage(base + b"!", inline=inline, bases=(name,), base=base),)
        self.bodies.append(body)
        return (site.stage(body, inline=inline),)

    def uid(self) -> bytes | None:
        with self.site.view() as view:
            buckets = view.buckets()
        return self.rng.choice(buckets).uid if buckets else None

    def put(self) -> None:
        uid, rng = self.uid(), self.rng
        if uid is None:
            return self.bucket()
        key, versioned = rng.choice(self.keys), rng.random() < 0.5
        with self.site.view() as view:
            current = view.current(uid, key)
        condition = Condition("If-Match", current.order) if current is not None and rng.random() < 0.2 else None
        record = ObjectRecord(size=rng.randrange(99), content=self.content(), marker=False, condition=condition)
        return self.site.commit(lambda view: view.put_object(uid, key, record, versioned=versioned)) and None

    def remove(self) -> None:
        uid, rng = self.uid(), self.rng
        if uid is None:
            return
        with self.site.view() as view:
            found = [(version.key, version.id) for version in view.scan_versions(uid)]
        key, version_id = rng.choice(found) if found and rng.random() < 0.8 else (rng.choice(self.keys), NULL)
        self.site.commit(lambda view: view.remove_version(uid, key, version_id))

    def describe(self) -> None:
        """Change a document of some version, loser or marker."""
        uid, rng = self.uid(), self.rng
        if uid is None:
            return
        with self.site.view() as view:
            found = list(view.scan_versions(uid))
        if found:
            version, name = rng.choice(found), rng.choice(["tags", "hold", "retention"])
            bodies = {"tags": b"%d" % rng.randrange(99), "hold": rng.choice([HOLD_ON, HOLD_OFF])}
            body = bodies.get(name) or encode_retention(Retention(rng.randrange(3), rng.randrange(99)))
            body = body if rng.random() < 0.8 else None
            self.site.commit(lambda view: view.put_version_document(uid, version, name, body))

    def upload(self) -> None:
        uid, rng, site = self.uid(), self.rng, self.site
        if uid is None:
            return
        step = rng.random()
        if step < 0.4 or not self.uploads:
            upload_id = f"up{len(self.uploads)}-{site.site[:1].decode()}"
            self.uploads.append(upload_id)
            site.commit(lambda view: view.open_upload(UploadRecord(id=upload_id, uid=uid, key=rng.choice(self.keys))))
            return
        upload_id = rng.choice(self.uploads)
        with site.view() as view:
            upload = view.upload(upload_id)
        if upload is None:
            return
        if step < 0.8:
            part = PartRecord(number=rng.randrange(1, 4), size=rng.randrange(50), content=self.content())
            site.commit(lambda view: view.put_part(upload_id, part))
            return

        def complete(view):
            refs = tuple(ref for part in view.parts(upload_id) for ref in part.content)
            if refs and step < 0.95:
                view.put_object(upload.uid, upload.key, ObjectRecord(content=refs), versioned=False)
            view.close_upload(upload_id)

        site.commit(complete)

    def bucket(self) -> None:
        rng = self.rng
        name, owner = rng.choice(["one", "two"]), rng.choice(["ann", "bob"])
        uid = self.uid()
        if uid is not None and rng.random() < 0.3:
            self.site.commit(lambda view: view.delete_bucket(uid))
        else:
            self.site.commit(lambda view: view.put_bucket(BucketRecord(name=name, owner=owner)))

    def configure(self) -> None:
        rng, site, uid = self.rng, self.site, self.uid()
        choice = rng.randrange(5)
        if choice == 0 and uid is not None:
            body = rng.choice([b"Enabled", b"Suspended", None])
            site.commit(lambda view: view.put_document(uid, "versioning", body))
        elif choice == 1:
            user = UserRecord(id=rng.choice("uv"), name=str(rng.random()), disabled=rng.random() < 0.3)
            site.commit(lambda view: view.put_user(user))
        elif choice == 2:
            site.commit(lambda view: view.delete_user("v"))
        elif choice == 3:
            site.commit(lambda view: view.put_access_key(AccessKeyRecord(id=rng.choice("AB"), user="u")))
        else:
            site.commit(lambda view: view.delete_access_key("B"))

    def forget(self) -> None:
        """End what is dead here and, as ``stable_cut`` says, known to everybody."""
        graveyard = StoreGraveyard(self.site.view, self.site.committer)
        asyncio.run(graveyard.record_horizon(Horizon(self.stable_cut(), {}, 1)))
        asyncio.run(graveyard.end_tombstones(graveyard.find_tombstones(lambda site: True, b"", 1 << 30).due))

    def ship(self) -> None:
        """Confirm some of the backlog, as the shipper would."""
        asyncio.run(ship_some(self.site, self.rng.randrange(1, 8)))


async def ship_some(site: IndexSite, count: int) -> PulledBatch | None:
    """Ship the next changes of a site: the batch as another site would pull it."""
    replica = replica_of(site)
    before, identity = replica.shipped(), replica.identity()
    changes = replica.sendable(replica.read_changes(before.seq, count, 1 << 20))
    if not changes:
        return None
    headers = replica.unshipped_frames(changes)
    frames = [replica.read_frame(header) for header in headers]
    position = LogPosition(before.n + 1, before.seq + len(changes), bytes([before.n % 256]) * 32)
    located = [FrameLocation(header, f"packs/{before.n + 1}", at) for at, header in enumerate(headers)]
    await replica.record_shipped(position, located)
    acks = {origin: known.seq for origin, known in replica.pulled().items()}
    return PulledBatch((identity.site, identity.incarnation), position, changes, frames, located, acks, 5)
