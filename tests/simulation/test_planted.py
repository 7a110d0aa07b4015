"""Planted bugs: one-line faults, each of which the simulated worlds must notice.

A check that cannot fail is worth nothing.
"""

from contextlib import suppress
from dataclasses import replace

import pytest

from gateway.store.doom_format import decode_doom
from replication import status
from replication.batch_format import Batch, hash_object
from replication.checkpoint_writer import CheckpointWriter
from replication.checkpoints import list_checkpoints
from replication.cloud_names import log_name
from replication.collection_ports import DoomState
from replication.collector import Collector
from replication.crdt import Entry
from replication.crdt import merge as real_merge
from replication.frame_format import decode_header
from replication.freight import Freight
from replication.log_compaction import Compaction, LogCompactor, own_logs
from replication.membership import Census
from replication.orphans import OrphanSweep
from replication.ports import CloudError, CloudMissing, LogPosition, PulledBatch
from replication.puller import OriginStopped, Puller
from replication.shipper import Shipper
from tests.replication.faulty_cloud import CRASH_AFTER, LOST_REPLY, NOT_YET
from tests.replication.memory_site import MemorySite
from tests.simulation import planted_endings, planted_retention, planted_subscriptions
from tests.simulation.checks import Broken
from tests.simulation.departing_world import DepartingWorld
from tests.simulation.forgotten_world import ForgottenWorld
from tests.simulation.leaning_world import LeaningWorld
from tests.simulation.planted_subscriptions import in_subscribing, in_wasting
from tests.simulation.retaining_world import RetainingWorld
from tests.simulation.returning_world import ReturningWorld
from tests.simulation.shape import shape_of
from tests.simulation.world import World, live_with

SEEDS = range(1, 81)


def advance_cursor_before_the_log_put(patch):
    real = Shipper._commit

    async def commit(self, attempt):
        position = LogPosition(attempt.batch.n, attempt.batch.last_seq, hash_object(attempt.data))
        await self._log.record_shipped(position, (*attempt.packed, *attempt.inline))
        return await real(self, attempt)

    patch.setattr(Shipper, "_commit", commit)


def take_no_answer_for_a_yes(patch):
    async def commit(self, attempt):
        with suppress(CloudError):
            await self._cloud.put(log_name(attempt.origin, attempt.batch.n), attempt.data, if_absent=True)
        return await self._confirm(attempt)

    patch.setattr(Shipper, "_commit", commit)


def take_a_taken_name_for_success(patch):
    real = Shipper._recognise

    async def recognise(self, origin, before):
        if self._attempt is not None:
            return self._attempt
        return await real(self, origin, before)

    patch.setattr(Shipper, "_recognise", recognise)


def overwrite_the_log_after_a_crash(patch):
    real = Shipper._prepare

    async def no_adoption(self, origin, before):
        raise CloudMissing("never looks")

    async def no_look_behind(*given):
        return False

    async def prepare(self, origin, before, *given, **more):
        cloud = self._cloud
        if not getattr(cloud, "planted", False):
            put = cloud.put

            async def unconditional(name, data, *, if_absent=False):
                await put(name, data)

            cloud.put, cloud.planted = unconditional, True
        return await real(self, origin, before, *given, **more)

    patch.setattr(Shipper, "_recognise", no_adoption)
    patch.setattr("replication.shipper.goes_on", no_look_behind)
    patch.setattr(Shipper, "_prepare", prepare)


def put_the_log_before_the_packs(patch):
    real_upload, real_commit = Freight.upload_packs, Shipper._commit

    async def upload(self, *given):
        held, cloud = [], self._cloud

        class Holding:
            async def put(self, name, data):
                held.append((name, data))

        self._cloud = Holding()
        try:
            return await real_upload(self, *given)
        finally:
            self._cloud, self.held = cloud, held

    async def commit(self, attempt):
        done = await real_commit(self, attempt)
        for name, data in getattr(self._freight, "held", ()):
            await self._cloud.put(name, data)
        return done

    patch.setattr(Freight, "upload_packs", upload)
    patch.setattr(Shipper, "_commit", commit)


def apply_without_the_index(patch):
    real = Puller._read_index

    async def read_index(self, origin, batch):
        try:
            return await real(self, origin, batch)
        except CloudError:
            return ()

    patch.setattr(Puller, "_read_index", read_index)


def break_ties_by_arrival(patch):
    def merge(a, b):
        merged = real_merge(a, b)
        arrived = {write.dot: number for number, write in enumerate((*a.live, *b.live))}
        return Entry(tuple(sorted(merged.live, key=lambda write: arrived[write.dot])), merged.marks)

    patch.setattr("tests.replication.memory_site.merge", merge)


def drop_the_losers(patch):
    patch.setattr(
        "tests.replication.memory_site.merge",
        lambda a, b: Entry(real_merge(a, b).live[:1], real_merge(a, b).marks),
    )


def let_a_delete_win_over_what_it_never_saw(patch):
    def merge(a, b):
        merged = real_merge(a, b)
        dead = tuple(write for write in merged.live if write.dead)
        return Entry(dead or merged.live, merged.marks)

    patch.setattr("tests.replication.memory_site.merge", merge)


def forget_marks(patch):
    patch.setattr("tests.replication.memory_site.merge", lambda a, b: Entry(real_merge(a, b).live, b.marks))


def ship_one_change_too_few(patch):
    real = Shipper._confirm

    async def confirm(self, attempt):
        shipped = await real(self, attempt)
        store = self._log._store
        if shipped.changes > 1 and shipped.position.n == 2:
            store.cursor = LogPosition(store.cursor.n, store.cursor.seq + 1, store.cursor.chain)
        return shipped

    patch.setattr(Shipper, "_confirm", confirm)


def adopt_a_foreign_batch(patch):
    patch.setattr("replication.shipper.is_same_change", lambda own, sent: True)


def skip_a_batch_that_is_not_there(patch):
    real = Puller._read_batch

    async def read_batch(self, origin, position, fetch):
        try:
            return await real(self, origin, position, fetch)
        except OriginStopped:
            return Batch(position.n + 1, bytes(32), position.seq + 1, ()), replace(position, n=position.n + 1), ()

    patch.setattr(Puller, "_read_batch", read_batch)


def forget_the_inline_frames(patch):
    patch.setattr("replication.puller.locate_inline", lambda origin, batch, data: [])
    patch.setattr(
        "replication.puller.PulledBatch", lambda *given, **more: PulledBatch(*given[:3], (), *given[4:], **more)
    )


def stop_one_batch_short(patch):
    real = Puller._pull_log

    def pull_log(self, origin, position, head_n):
        return real(self, origin, position, max(position.n, head_n - 1))

    patch.setattr(Puller, "_pull_log", pull_log)


def forget_tombstones(patch):
    def merge(a, b):
        merged = real_merge(a, b)
        return Entry(tuple(write for write in merged.live if not write.dead), merged.marks)

    patch.setattr("tests.replication.memory_site.merge", merge)


def call_it_safe_while_something_is_unsent(patch):
    real = status.assess

    def assess(backlog, shipped, report, **more):
        return real(replace(backlog, changes=0, bytes=0), shipped, report, **more)

    patch.setattr("tests.simulation.machine.assess", assess)


def name_the_old_dot_in_what_is_issued_anew(patch):
    real = MemorySite._anew
    patch.setattr(MemorySite, "_anew", lambda self, *given, is_named: real(self, *given, is_named=True))


def issue_anew_what_the_bucket_has_too(patch):
    patch.setattr("replication.parting.is_same_change", lambda own, sent: False)


def take_the_former_log_for_read(patch):
    real = MemorySite.issue_anew

    async def issue_anew(self, reissue):
        return await real(self, replace(reissue, common=replace(reissue.common, n=reissue.common.n + 1)))

    patch.setattr(MemorySite, "issue_anew", issue_anew)


def stay_the_site_whoever_ended_its_log(patch):
    async def claim(*given):
        return True

    patch.setattr("replication.shipper.claim_site", claim)


def keep_the_old_dot_in_what_replaced_it(patch):
    real = MemorySite._anew

    def anew(self, former, renamed, *, is_named):
        return real(self, former, {former.dot: renamed[former.dot]}, is_named=is_named)

    patch.setattr(MemorySite, "_anew", anew)


def delete_without_waiting_for_anybody(patch):
    patch.setattr(Census, "members", lambda self: {self.me[0]: frozenset()})


def settle_without_moving_anything(patch):
    async def move_all(self, names, done):
        return True

    patch.setattr(Collector, "_move_all", move_all)


def rely_on_doomed_objects(patch):
    patch.setattr(MemorySite, "doomed_names", lambda self: set())


def keep_only_the_newest_place_of_a_frame(patch):
    def locate(self, located):
        for place in located:
            self.places[decode_header(place.header).name] = {place.object_name: place}

    patch.setattr(MemorySite, "_locate", locate)


def take_conflict_losers_for_dead(patch):
    def is_kept(self, chunk, since_ms):
        winners = {entry.live[0].dot for entry in self.entries.values() if entry.live}
        return any(ref.id == chunk for dot, ref in self.live_dots() if dot in winners)

    patch.setattr(MemorySite, "_is_kept", is_kept)


def forget_a_doomed_object_at_once(patch):
    real = MemorySite._apply_doom

    def apply_doom(self, change):
        real(self, change)
        if not change.dead:
            self._forget_contents(decode_doom(change.body))

    patch.setattr(MemorySite, "_apply_doom", apply_doom)


def doom_and_never_delete(patch):
    async def delete(self, dooms, done):
        pass

    patch.setattr(Collector, "_delete", delete)


def cut_a_log_without_a_checkpoint(patch):
    patch.setattr(LogCompactor, "_covered", lambda self, found: dict.fromkeys(own_logs(self._log), 1 << 60))


def cut_a_log_on_somebody_elses_checkpoint(patch):
    async def checkpoints(self):
        return await list_checkpoints(self._cloud, self._keyring)

    patch.setattr(LogCompactor, "_own_checkpoints", checkpoints)


def cut_a_log_before_everybody_has_it(patch):
    real = LogCompactor._is_settled

    async def is_settled(self, origin, name, seq, sent_before_ms):
        return await real(self, origin, name, 1 << 60, sent_before_ms)

    patch.setattr(LogCompactor, "_is_settled", is_settled)


def delete_batches_with_what_is_in_them(patch):
    patch.setattr("replication.log_compaction.held_behind", lambda *given: {})


def never_cut_a_log(patch):
    async def compact(self, cut, sent_before_ms, since_ms):
        return Compaction()

    patch.setattr(LogCompactor, "compact", compact)


def leave_what_a_crash_left(patch):
    async def sweep(self, gone, inherited=(), ended=()):
        return 0

    patch.setattr(OrphanSweep, "sweep", sweep)


def acknowledge_half_a_checkpoint(patch):
    real = MemorySite.fold_slice

    async def fold_slice(self, number, data):
        await real(self, number, data)
        if number == 1:
            await self.end_join()
            self.join = replace(self.join, folded=False)

    patch.setattr(MemorySite, "fold_slice", fold_slice)


def take_the_vector_after_the_scan(patch):
    real = CheckpointWriter.scan

    async def scan(self):
        draft = await real(self)
        start = self._state.begin_export()
        return replace(draft, manifest=replace(draft.manifest, vector=start.vector))

    patch.setattr(CheckpointWriter, "scan", scan)


def leave_locations_out_of_a_checkpoint(patch):
    real = MemorySite.export_slice

    def export_slice(self, cursor):
        data, following = real(self, cursor)
        return (b"" if cursor == b"located" else data), following

    patch.setattr(MemorySite, "export_slice", export_slice)


def settle_at_once(patch):
    """The owner's last look makes up for it, but for what it cannot know of."""

    async def settle(self, dooms, done):
        for doom in dooms:
            await self._holdings.record_doom(doom.dot, DoomState.SETTLED)

    patch.setattr(Collector, "_settle", settle)


PLANTED = [
    acknowledge_half_a_checkpoint,
    leave_locations_out_of_a_checkpoint,
    advance_cursor_before_the_log_put,
    take_no_answer_for_a_yes,
    take_a_taken_name_for_success,
    put_the_log_before_the_packs,
    break_ties_by_arrival,
    drop_the_losers,
    let_a_delete_win_over_what_it_never_saw,
    forget_marks,
    ship_one_change_too_few,
    forget_the_inline_frames,
    stop_one_batch_short,
    forget_tombstones,
    call_it_safe_while_something_is_unsent,
    delete_without_waiting_for_anybody,
    settle_without_moving_anything,
    rely_on_doomed_objects,
    take_conflict_losers_for_dead,
    doom_and_never_delete,
    cut_a_log_without_a_checkpoint,
    cut_a_log_on_somebody_elses_checkpoint,
    delete_batches_with_what_is_in_them,
    never_cut_a_log,
    leave_what_a_crash_left,
]
PLANTED_IN_COPIES = [
    apply_without_the_index,
    adopt_a_foreign_batch,
    keep_only_the_newest_place_of_a_frame,
    name_the_old_dot_in_what_is_issued_anew,
    issue_anew_what_the_bucket_has_too,
    take_the_former_log_for_read,
    stay_the_site_whoever_ended_its_log,
    keep_the_old_dot_in_what_replaced_it,
]
PLANTED_IN_LEANING = [forget_a_doomed_object_at_once, settle_at_once]
PLANTED_IN_DEPARTING = [cut_a_log_before_everybody_has_it]
PLANTED_IN_SCANNED = [take_the_vector_after_the_scan]
PLANTED_IN_UNSURE = [skip_a_batch_that_is_not_there]
PLANTED_IN_CRASHING = [overwrite_the_log_after_a_crash]


def in_copies(seed):
    """Of many copies and backups, and few keys."""
    return World(seed, replace(shape_of(seed), sites=2, steps=50, keys=1, troubles=0.25, cloned=True))


def in_scanned(seed):
    """In which hardly anything happens but checkpoints, and pulls in the middle of them."""
    chances = [25, 20, 35, 20, 0, 0, 0, 0, 0]
    return World(seed, replace(shape_of(seed), sites=2, steps=50, keys=3, troubles=0.0, rates={}, chances=chances))


def in_unsure(seed):
    """In which every tenth read of what is there says that it is not."""
    shape = shape_of(seed)
    return World(seed, replace(shape, rates={**shape.rates, NOT_YET: 0.1}))


def in_crashing(seed):
    """In which every eighth call ends in a crash behind it, or its answer is lost."""
    shape = shape_of(seed)
    return World(seed, replace(shape, rates={**shape.rates, CRASH_AFTER: 0.06, LOST_REPLY: 0.06}))


WORLDS = [
    *[(plant, World) for plant in PLANTED],
    *[(plant, in_copies) for plant in PLANTED_IN_COPIES],
    *[(plant, LeaningWorld) for plant in PLANTED_IN_LEANING],
    *[(plant, DepartingWorld) for plant in PLANTED_IN_DEPARTING],
    *[(plant, in_scanned) for plant in PLANTED_IN_SCANNED],
    *[(plant, in_unsure) for plant in PLANTED_IN_UNSURE],
    *[(plant, in_crashing) for plant in PLANTED_IN_CRASHING],
    *[(plant, in_subscribing) for plant in planted_subscriptions.PLANTED],
    *[(plant, RetainingWorld) for plant in planted_retention.PLANTED_IN_RETAINING],
    *[(plant, ReturningWorld) for plant in planted_endings.PLANTED_IN_RETURNING],
    *[(plant, ForgottenWorld) for plant in planted_endings.PLANTED_IN_FORGOTTEN],
    *[(plant, in_wasting) for plant in planted_subscriptions.PLANTED_IN_WASTING],
]
"""Each fault with a kind of world in which several of the seeds notice it: where one in 80 does, none may once the
worlds change.
"""


@pytest.mark.parametrize(("plant", "world"), WORLDS, ids=lambda one: one.__name__)
def test_planted_bug_is_noticed(plant, world, monkeypatch):
    plant(monkeypatch)
    with pytest.raises(Broken) as noticed:
        live_through(world)
    assert not isinstance(noticed.value.__cause__, TypeError | AttributeError | NameError), "the fault itself is broken"


def live_through(world):
    for seed in SEEDS:
        live_with(world(seed))
