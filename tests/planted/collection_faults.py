"""Planted faults of collection in the bucket, over the real store. Data only: see ``faults``."""

from __future__ import annotations

from typing import Final

from tests.planted.fault import Fault

_NEEDS = "tests/gateway/store/test_cloud_needs.py"
_COLLECTION = "tests/contracts/test_collection.py"
_HEIRS = "tests/contracts/test_heirs.py"
_ORPHANS = "tests/contracts/test_orphans.py"
_ENDED = "tests/contracts/test_ended_dooms.py"
_IDENTITY = "tests/contracts/test_identity.py"
_COMPACTION = "tests/contracts/test_log_compaction.py"

COLLECTION_FAULTS: Final = (
    Fault(
        *("let a patch lose its base", 3, "gateway/store/cloud_needs.py"),
        *("for chunk_id in patches_over(self._transaction, base.header.chunk_id):", "for chunk_id in ():"),
        (f"{_NEEDS}::test_a_patch_never_loses_its_base",),
    ),
    Fault(
        *("forget which pages were not opened", 3, "gateway/store/chunk_rows.py"),
        *('self._transaction.put(self._tables.closed, chunk_id, b"")', "pass"),
        (f"{_NEEDS}::test_what_pages_list_is_needed_and_unknown_until_they_are_opened",),
    ),
    Fault(
        *("rely on doomed objects", 3, "gateway/store/cloud_rows.py"),
        *("return self.trusted and not self.flags", "return self.trusted"),
        (f"{_COLLECTION}::test_a_doomed_object_is_not_relied_on_and_is_read",),
    ),
    Fault(
        *("send a value whose bytes went with a doomed object", 3, "gateway/store/replica.py"),
        *("and not is_in_cloud(view.transaction, ref.id):", "and locate_chunk(view.transaction, ref.id) is None:"),
        (f"{_COLLECTION}::test_a_dead_value_that_lies_only_in_an_object_that_went_is_sent_without_it",),
    ),
    Fault(
        *("take a patch without its base for a copy", 3, "gateway/store/cloud_rows.py"),
        *("place.usable and _has_bases(transaction, place, untrusted_too=False)", "place.usable"),
        (f"{_NEEDS}::test_a_dead_patch_whose_base_has_left_is_no_copy",),
    ),
    Fault(
        *("rely on a site that does not know this one", 3, "gateway/store/cloud_rows.py"),
        *("return self.trusted and not self.flags", "return not self.flags"),
        (f"{_COLLECTION}::test_a_site_that_nobody_knows_yet_relies_on_nobody",),
    ),
    Fault(
        *("trust the silent by a clock that may jump", 3, "replication/collector.py"),
        *("self._log.identity(), self._steady_ms()", "self._log.identity(), self._wall_ms()"),
        (f"{_COLLECTION}::test_who_is_silent_is_trusted_after_an_hour_that_no_clock_makes_shorter",),
    ),
    Fault(
        *("rely on packs that a copy may have deleted", 3, "gateway/store/apply.py"),
        *("may_be_copied=may_be_copied)", "may_be_copied=False)"),
        (f"{_IDENTITY}::test_what_lies_in_own_packs_is_sent_again_until_the_former_log_is_read",),
    ),
    Fault(
        *("rely on no own pack after a parting, not on those of the new log either", 3, "gateway/store/cloud_rows.py"),
        *(
            "(transaction.get(table, log[0]), transaction.get(table, log[0] + log[1]))",
            "(transaction.get(table, log[0]),)",
        ),
        (f"{_IDENTITY}::test_what_lies_in_own_packs_is_sent_again_until_the_former_log_is_read",),
    ),
    Fault(
        *("take an object whose doom ended for news", 3, "gateway/store/told_objects.py"),
        *("return log is None or told.get", "return True or told.get"),
        (f"{_ENDED}::test_an_old_checkpoint_does_not_bring_it_back",),
    ),
    Fault(
        *("forget what was heard when a log is read once more", 3, "gateway/store/subscription_rows.py"),
        *("high if row.origin == origin]", "high if False]"),
        (f"{_ENDED}::test_a_log_that_is_read_once_more_does_not_bring_it_back",),
    ),
    Fault(
        *("await nothing that a checkpoint skips", 3, "gateway/store/told_objects.py"),
        *("self._cloud.flag(number, flags ^ OBJECT_AWAITED)", "pass"),
        (f"{_ENDED}::test_who_was_away_relies_on_nothing_that_a_checkpoint_does_not_tell_of",),
    ),
    Fault(
        *("rely on what a checkpoint did not tell of", 3, "gateway/store/told_objects.py"),
        *("self._stop_waiting(OBJECT_UNTOLD)", "self._stop_waiting(0)"),
        (f"{_ENDED}::test_who_was_away_relies_on_nothing_that_a_checkpoint_does_not_tell_of",),
    ),
    Fault(
        *("end a log where its beginning left", 3, "replication/log_end.py"),
        *("if following not in ([], [log_name(origin, n + 1)]):", "if False:"),
        ("tests/replication/test_restore.py::test_closing_writes_nothing_where_the_logs_beginning_left",),
    ),
    Fault(
        *("take a batch that is denied for one that left", 3, "replication/log_end.py"),
        *("count_max=1) == [log_name(origin, n)]:", "count_max=1) == []:"),
        ("tests/replication/test_parting.py::test_a_batch_that_is_denied_for_a_while_has_not_left",),
    ),
    Fault(
        *("go on with half a checkpoint behind what logs brought", 3, "replication/joining.py"),
        *("elif left is not None and not left.folded:", "elif interrupted is not None:"),
        ("tests/contracts/test_checkpoints.py::test_half_a_checkpoint_does_not_go_on_behind_what_the_logs_brought",),
    ),
    Fault(
        *("take a checkpoint for interrupted that a list hides", 3, "replication/checkpoint_writer.py"),
        *("if replaces(manifest, found.manifest) if found.manifest is not None else is_absent:", "if True:"),
        ("tests/contracts/test_checkpoints.py::test_a_list_that_lags_costs_no_checkpoint",),
    ),
    Fault(
        *("end no doom", 3, "replication/collector.py"),
        *("            await self._end(dooms, done)", "            pass"),
        (f"{_ENDED}::test_nothing_is_left_of_it_anywhere",),
    ),
    Fault(
        *("look for members before looking at what was shipped", 3, "replication/collector.py"),
        *("cut = census.cut()", "cut = replace(census, own_seq=self._log.shipped().seq).cut()"),
        (f"{_COLLECTION}::test_what_joins_while_heads_are_listed_sees_what_is_deleted_without_it",),
    ),
    Fault(
        *("acknowledge a doom before it is settled", 3, "replication/acknowledging.py"),
        *("return {origin: seq - 1 for origin, seq in log.unsettled().items()}", "return {}"),
        (f"{_COLLECTION}::test_what_only_another_site_needs_it_takes_over_before_it_acknowledges",),
    ),
    Fault(
        *("delete without waiting for the others", 3, "replication/collector.py"),
        *("if doom.dot.seq > cut.get(origin, 0):", "if False:"),
        (f"{_COLLECTION}::test_everybody_lets_go_before_the_owner_deletes",),
    ),
    Fault(
        *("cut a log that somebody did not take in", 3, "replication/log_compaction.py"),
        *("batch.last_seq < seq and", ""),
        (f"{_COMPACTION}::test_a_member_that_did_not_take_it_in_is_waited_for",),
    ),
    Fault(
        *("cut a log however young", 3, "replication/log_compaction.py"),
        *(" and batch.sent_ms < sent_before_ms", ""),
        (f"{_COMPACTION}::test_what_may_be_looked_back_to_stays",),
    ),
    Fault(
        *("cut a log on somebody else's checkpoint", 3, "replication/log_compaction.py"),
        *("if name.origin[0] != site:", "if False:"),
        (f"{_COMPACTION}::test_without_a_whole_checkpoint_of_its_own_everything_stays",),
    ),
    Fault(
        *("cut a log behind a checkpoint that lacks a part", 3, "replication/log_compaction.py"),
        *("            if not await list_missing_parts(self._cloud, found):", "            if True:"),
        (f"{_COMPACTION}::test_without_a_whole_checkpoint_of_its_own_everything_stays",),
    ),
    Fault(
        *("cut a log behind a checkpoint whose manifest is gone", 3, "replication/checkpoints.py"),
        *("for name in (checkpoint_name(origin, n), *parts) if", "for name in parts if"),
        (f"{_COMPACTION}::test_a_manifest_is_read_once_and_its_going_is_noticed",),
    ),
    Fault(
        *("delete batches whose frames are needed", 3, "replication/log_compaction.py"),
        *("if name not in held or not held[name].frames:", "if True:"),
        (f"{_COMPACTION}::test_inline_frames_that_are_needed_keep_their_batch",),
    ),
    Fault(
        *("delete the newest batch", 3, "replication/log_compaction.py"),
        *("newest - 1)", "newest)"),
        (f"{_COMPACTION}::test_the_newest_batch_stays",),
    ),
    Fault(
        *("write where a batch has left", 3, "replication/shipper.py"),
        *("if not adopted and await goes_on(self._cloud, origin, before.n):", "if False:"),
        (f"{_COMPACTION}::test_a_backup_from_before_the_cut_overwrites_nothing",),
    ),
    Fault(
        *("delete a checkpoint that reaches further", 3, "replication/checkpoint_writer.py"),
        *("found.manifest is not None and replaces(manifest, found.manifest)", "found.manifest is not None"),
        (f"{_COMPACTION}::test_an_older_checkpoint_that_reaches_further_stays",),
    ),
    Fault(
        *("join what knows other changes under one's own dots", 3, "replication/joining.py"),
        *("if _own_batches(manifest, self._own()) > self._log.shipped().n:", "if False:"),
        (f"{_COMPACTION}::test_a_checkpoint_that_knows_other_changes_of_ones_own_log_waits",),
    ),
    Fault(
        *("take what left the bucket for lost", 3, "replication/parting.py"),
        *("            if await has_left(cloud, origin, position.n):", "            if False:"),
        (f"{_COMPACTION}::test_a_backup_whose_newest_batch_left_issues_little_anew",),
    ),
    Fault(
        *("call any missing batch compacted", 2, "replication/cloud_audit.py"),
        *("for n in range(covered.n + 1, position.n + 1):", "for n in ():"),
        ("tests/replication/test_cloud_audit.py",),
    ),
    Fault(
        *("take a pack of a round in flight for an orphan", 3, "replication/orphans.py"),
        *("return shipped > self._found[name] or origin", "return True or origin"),
        (f"{_ORPHANS}::test_what_a_crash_left_goes_when_its_round_is_over",),
    ),
    Fault(
        *("delete at first sight", 3, "replication/orphans.py"),
        *("        if name not in self._found:\n            return False\n", ""),
        (f"{_ORPHANS}::test_what_is_found_first_is_never_deleted_at_once",),
    ),
    Fault(
        *("keep what a late request brought back", 3, "replication/orphans.py"),
        *("if name in known and name not in gone:", "if name in known:"),
        (f"{_ORPHANS}::test_what_a_late_request_brought_back_goes_again",),
    ),
    Fault(
        *("take over what somebody else inherited", 3, "replication/membership.py"),
        *("if self.heir_of(site, members) == me}", "if True}"),
        (f"{_HEIRS}::test_the_heir_deletes_what_is_dead_and_keeps_what_lives",),
    ),
    Fault(
        *("leave what the lost site had doomed", 3, "replication/collector.py"),
        *("heirlooms = census.inherited() if len(census.removed) == 1 else {}", "heirlooms = {}"),
        (f"{_HEIRS}::test_what_it_had_doomed_itself_the_heir_deletes",),
    ),
)
