"""The planted faults: one small wrong edit each, of the kind that really happens, and the test that must notice it.

Data only. A fault names a file, a text that occurs in it exactly once, what replaces it, the promise of DESIGN §1 that
is broken then, and the tests (pytest node ids) of which at least one must fail. ``planting`` applies them to
copies of the tree; ``test_faults`` keeps every text from rotting.
"""

from __future__ import annotations

from typing import Final

from tests.planted.checkpoint_faults import CHECKPOINT_FAULTS
from tests.planted.client_faults import CLIENT_FAULTS
from tests.planted.collection_faults import COLLECTION_FAULTS
from tests.planted.day_faults import DAY_FAULTS
from tests.planted.disk_faults import DISK_FAULTS
from tests.planted.fault import Fault
from tests.planted.fleet_faults import FLEET_FAULTS
from tests.planted.promise_faults import PROMISE_FAULTS
from tests.planted.rekey_faults import REKEY_FAULTS
from tests.planted.tombstone_faults import TOMBSTONE_FAULTS

_STORE = "tests/gateway/store"
_S3 = "tests/gateway/s3"
_CONTRACTS = "tests/contracts/test_identity.py"
_LIMITS = "tests/compat/test_boto3_limits.py"
_CRASH_STATES = ("tests/e2e/test_planted.py::test_the_crash_states_notice[]",)
_CRASH_REMOVED = "tests/crash/test_store_crashes.py::test_no_index_that_a_crash_leaves_names_what_collection_removed"

FAULTS: Final = (
    # 1. 200 means durable.
    Fault(
        *("skip the file's sync", 1, "gateway/store/segments.py"),
        *("self._files.fdatasync(segment.fd)", "pass"),
        _CRASH_STATES,
    ),
    Fault(
        *("skip the directory's sync", 1, "gateway/store/segments.py"),
        *("self._files.sync_directory(self._directory.segments)", "pass"),
        _CRASH_STATES,
    ),
    Fault(
        *("acknowledge before the log", 1, "gateway/store/commit.py"),
        "            self._make_durable(transaction, applier, batch, now_ms)",
        "            self._deliver(outcomes)\n            self._make_durable(transaction, applier, batch, now_ms)",
        (f"{_STORE}/test_commit.py::test_a_failed_sync_makes_the_site_read_only_and_nothing_is_acknowledged",),
    ),
    Fault(
        *("acknowledge although the index failed", 1, "gateway/store/commit.py"),
        'raise ReadOnlyStore(f"the index failed behind the log ({error}): restart to recover") from error',
        "return",
        (f"{_STORE}/test_commit.py::test_the_index_failing_behind_the_log_stops_all_writes",),
    ),
    Fault(
        *("retry a failed sync", 1, "gateway/store/segments.py"),
        "                self._failed = True\n                self._dirty.update(dirty)",
        "                self._dirty.update(dirty)",
        (f"{_STORE}/test_segments.py::test_a_failed_sync_is_final",),
    ),
    Fault(
        *("leave the site writable after a failed sync", 1, "gateway/store/shared.py"),
        *("        self._words[_READ_ONLY] = 1", "        return"),
        (f"{_STORE}/test_forks.py", f"{_STORE}/test_shared.py"),
    ),
    Fault(
        *("take a short write for a whole one", 1, "gateway/store/files.py"),
        *("if count != expected:", "if False:"),
        (f"{_STORE}/test_files.py::test_short_write_is_an_error",),
    ),
    Fault(
        *("append again after a failed write", 1, "gateway/store/segments.py"),
        "                self._retire()\n                raise",
        "                raise",
        (f"{_STORE}/test_segments.py::test_a_failed_append_abandons_the_segment",),
    ),
    Fault(
        *("do not sync object bytes", 1, "gateway/store/content.py"),
        *("if self._chunks.must_sync:", "if False:"),
        (f"{_STORE}/test_content.py::test_large_bodies_are_synced_before_finish_returns",),
    ),
    Fault(
        *("rely on a dead process' tail unsynced", 1, "gateway/store/log.py"),
        "        self.sync_segment(segment)\n",
        "",
        (f"{_STORE}/test_recover.py::test_what_a_dead_process_left_is_synced_before_anything_relies_on_it",),
    ),
    Fault(
        *("forget what a dead process logged", 1, "gateway/store/recover.py"),
        *("        if abandoned.batch == state.batch + 1 and", "        if False and"),
        (f"{_STORE}/test_recover.py::test_a_live_process_takes_in_what_a_dead_one_appended",),
    ),
    Fault(
        *("take a torn batch for the log's", 1, "gateway/store/recover.py"),
        "linked = [batch for batch in find(number) if batch.header.previous == previous]",
        "linked = list(find(number))[:1]",
        ("tests/crash/test_torn_batches.py", f"{_STORE}/test_recover.py"),
    ),
    # 2. Strong on the site.
    Fault(
        *("ignore If-None-Match", 2, "gateway/s3/conditions.py"),
        '"If-Unmodified-Since")\n    if conditions.if_none_match is not None and etag',
        '"If-Unmodified-Since")\n    if False and etag',
        (f"{_S3}/test_conditions.py",),
    ),
    Fault(
        *("evaluate conditions before the commit only", 2, "gateway/operations/objects_put.py"),
        *("if request.conditions is not NO_CONDITIONS:  # spares", "if False:  # spares"),
        ("tests/gateway/operations/test_operations.py::test_the_condition_that_counts_is_the_one_in_the_commit",),
    ),
    Fault(
        *("keep what a refused decision had staged", 2, "gateway/store/commit.py"),
        "            transaction.end_nested(keep=False)",
        "            transaction.end_nested(keep=True)",
        (f"{_STORE}/test_commit.py::test_a_decision_that_raises_leaves_no_trace_and_its_neighbours_stand",),
    ),
    # 3. No acknowledged write is lost to a merge.
    Fault(
        *("drop the loser of a collision", 3, "replication/crdt.py"),
        "return Entry(tuple(sorted(live.values(), key=_order, reverse=True)), marks)",
        "return Entry(tuple(sorted(live.values(), key=_order, reverse=True)[:1]), marks)",
        ("tests/replication/test_crdt.py::test_concurrent_writes_are_both_kept",),
    ),
    Fault(
        *("let the last to arrive win", 3, "replication/crdt.py"),
        "return Entry(tuple(sorted(live.values(), key=_order, reverse=True)), marks)",
        "return Entry(tuple(live.values())[::-1], marks)",
        ("tests/replication/test_crdt.py",),
    ),
    Fault(
        *("forget what was replaced", 3, "replication/crdt.py"),
        *("marks = a.marks | b.marks", "marks = b.marks"),
        ("tests/replication/test_crdt.py",),
    ),
    Fault(
        *("lose tags when sites merge", 3, "gateway/store/version_documents.py"),
        *("    if vid != NULL_VID and is_removed_for_good(transaction, uid, vid, key):", "    if vid != NULL_VID:"),
        (f"{_STORE}/test_version_documents.py",),
    ),
    Fault(
        *("let a legal hold lose to its removal", 3, "gateway/store/version_document_format.py"),
        *("if name == HOLD and HOLD_ON in values:", "if False:"),
        (f"{_STORE}/test_version_documents.py",),
    ),
    Fault(
        *("drop a tombstone at once", 3, "gateway/store/object_rows.py"),
        *(
            "        for order, row in shown.rows.items():\n",
            "        for order, row in [kept for kept in shown.rows.items() if not kept[1].dead]:\n",
        ),
        (f"{_STORE}/test_replica.py::test_sites_converge_in_any_order_of_delivery", f"{_STORE}/test_replica.py"),
    ),
    Fault(
        *("let a purge win over a lock it never saw", 3, "gateway/store/purge_format.py"),
        *("or locks <= saw for purge", "or True for purge"),
        (f"{_STORE}/test_purge.py",),
    ),
    Fault(
        *("look at a purge only when it comes", 3, "gateway/store/apply.py"),
        *("            self.objects.weigh_purges(uid, vid, key)\n", "            pass\n"),
        (f"{_STORE}/test_purge.py",),
    ),
    Fault(
        *("call stable what a member has not seen", 3, "replication/membership.py"),
        *("min([seq, *(acks.get(log, {})", "max([0, *(acks.get(log, {})"),
        ("tests/replication/test_membership.py",),
    ),
    Fault(
        *("wait for a forgotten site no longer than one knows", 3, "replication/membership.py"),
        *("not (heard and self._is_cut_reached(site, removal))", "not self._is_cut_reached(site, removal)"),
        ("tests/replication/test_membership.py", "tests/replication/test_departures.py"),
    ),
    Fault(
        *("acknowledge before what came before it is sent", 3, "replication/acknowledging.py"),
        *("last_seq >= self._waiting[0]", "last_seq >= 0"),
        ("tests/replication/test_acknowledging.py",),
    ),
    Fault(
        *("keep to oneself how far a forgotten log was taken in", 3, "replication/departures.py"),
        *("if site != me and any(", "if site == me and any("),
        ("tests/replication/test_departures.py",),
    ),
    Fault(
        *("take in what a revoked site still ships", 3, "replication/puller.py"),
        *("min(head_n, removal.counts(origin[1]) if removal else 0)", "head_n"),
        ("tests/replication/test_departures.py",),
    ),
    Fault(
        *("read before others wait for one's acks", 3, "replication/service.py"),
        *("        await self._announced.wait()\n", ""),
        ("tests/replication/test_service.py::test_a_new_site_announces_itself_before_it_reads",),
    ),
    Fault(
        *("pass over a change of a newer release", 3, "replication/puller.py"),
        *(
            "except (CloudObjectTooNew, ChangeTooNew) as error:\n        raise OriginStopped(StopReason.TOO_NEW",
            "except (CloudObjectTooNew, ChangeTooNew) as error:\n        raise OriginStopped(StopReason.GAP",
        ),
        ("tests/replication/test_mixed_versions.py",),
    ),
    Fault(
        *("apply what saw the other machine's changes", 3, "gateway/store/replica.py"),
        *("if seen > state.shipped_seq:", "if False:"),
        (f"{_CONTRACTS}::test_what_has_seen_more_than_was_shipped_is_not_applied",),
    ),
    Fault(
        *("name the old dot to others", 3, "gateway/store/own_changes.py"),
        *("is_named=seq <= reissue.named_seq)", "is_named=True)"),
        (f"{_STORE}/test_parted.py", f"{_CONTRACTS}::test_two_copies_of_a_disk_converge_with_everything"),
    ),
    Fault(
        *("leave the former self standing", 3, "gateway/store/apply.py"),
        *("    if not record.stands:\n        return change\n", "    return change\n"),
        (f"{_CONTRACTS}::test_two_copies_of_a_disk_converge_with_everything",),
    ),
    Fault(
        *("apply twice what the cloud has too", 3, "gateway/store/apply.py"),
        *("if change.dot.seq > stands_here or change.dot in change.replaces:", "if True:"),
        (f"{_STORE}/test_parted.py::test_what_stands_in_the_cloud_is_not_applied_twice",),
    ),
    Fault(
        *("let a decision see configuration as it was before its batch", 2, "gateway/store/decision.py"),
        *("        if self._state.generation != self._base_generation:\n", "        if False:\n"),
        (f"{_STORE}/test_items.py::test_what_a_batch_changes_of_configuration_its_next_decision_sees",),
    ),
    Fault(
        *("issue anew within a batch of others", 3, "gateway/store/commit.py"),
        *("            if request.alone:\n", "            if False:\n"),
        (f"{_STORE}/test_parted.py::test_writes_that_wait_meanwhile_are_each_in_one_log",),
    ),
    Fault(
        *("let a condition name the old dot", 3, "gateway/store/renaming.py"),
        *("if saw in self._dots:", "if False:"),
        (f"{_STORE}/test_parted.py::test_documents_and_conditions_go_with_what_they_are_about",),
    ),
    Fault(
        *("stay the site whoever ended its log", 3, "replication/parting.py"),
        *("        if successor_of(closing) not in (origin, *former):", "        if False:"),
        ("tests/replication/test_shipper.py::test_who_begins_a_new_incarnation_must_have_ended_the_former_log",),
    ),
    Fault(
        *("take a batch that came wrong for another machine's", 3, "replication/parting.py"),
        *("READS_MAX: Final = 3", "READS_MAX: Final = 1"),
        ("tests/replication/test_parting.py::test_a_batch_that_came_wrong_is_not_issued_anew",),
    ),
    Fault(
        *("take a change that a copy sent without its value for sent", 3, "replication/shipper.py"),
        *("        await self._log.restate(reissue.bare)\n", ""),
        ("tests/contracts/test_identity.py::test_what_only_a_copy_had_overwritten_is_not_lost_to_it",),
    ),
    Fault(
        *("look at the own log only when there is something to send", 3, "replication/puller.py"),
        *("        if waits:\n", "        if False:\n"),
        ("tests/replication/test_shipper.py::test_a_machine_with_nothing_to_send_notices_too",),
    ),
    # 4. The cloud learns nothing.
    Fault(
        *("put a change's plaintext into a cloud object", 4, "replication/shipper.py"),
        'await self._cloud.put(head_name(origin, batch.n), b"")',
        'await self._cloud.put(head_name(origin, batch.n), b"".join(batch.changes))',
        ("tests/planted/test_cloud_learns_nothing.py",),
    ),
    Fault(
        *("name cloud objects by what is in them", 4, "replication/cloud_names.py"),
        'return f"{_origin_prefix(origin)}packs/{digest.hex()}"',
        'return f"{_origin_prefix(origin)}packs/{digest.hex()}-secret-bucket"',
        ("tests/planted/test_cloud_learns_nothing.py",),
    ),
    Fault(
        *("leave the realm out of what a frame is bound to", 4, "replication/sealing.py"),
        *('return b"skerry frame 1" + realm + encoded', 'return b"skerry frame 1" + encoded'),
        ("tests/replication/test_sealing.py",),
    ),
    Fault(
        *("use one key for two payloads", 4, "replication/sealing.py"),
        *("    salt = hasher.digest()", "    salt = bytes(32)"),
        ("tests/replication/test_sealing.py::test_no_two_payloads_share_a_key",),
    ),
    Fault(
        *("tell others of what stays here", 4, "gateway/store/replica.py"),
        "    if not stays_here(change.family, change.item):\n        return data",
        "    return data",
        ("tests/contracts/test_local_buckets.py",),
    ),
    Fault(
        *("one chunk on both sides of the border", 4, "gateway/store/chunk_writer.py"),
        "self._predecessor, self._local = tools, owner, predecessor, local",
        "self._predecessor, self._local = tools, owner, predecessor, False",
        ("tests/contracts/test_local_buckets.py::test_the_border_is_kept_by_chunks_of_its_own",),
    ),
    Fault(
        *("one part table on both sides of the border", 4, "gateway/operations/multipart_complete.py"),
        *("replaces=_old_table(plan), local=is_local_uid(bucket.uid))", "replaces=_old_table(plan))"),
        ("tests/gateway/operations/test_part_tables.py::test_the_border_of_local_buckets_holds_for_tables",),
    ),
    Fault(
        *("rest a part table on one of another key", 4, "gateway/operations/multipart_complete.py"),
        *(" or SEAL_EXTRA in old.extra or SEAL_EXTRA in plan.upload.extra:", ":"),
        ("tests/gateway/operations/test_part_tables.py::test_the_border_of_keys_holds_for_tables",),
    ),
    Fault(
        *("write pages from where the mender ended", 0, "gateway/store/predecessor.py"),
        *("self.expected = self._page_start = self._begin", "self._page_start = self._begin"),
        (f"{_STORE}/test_predecessor.py",),
    ),
    # 1. What was acknowledged is what is read.
    Fault(
        *("take old chunks at a border without looking at the bytes", 1, "gateway/store/part_seams.py"),
        *(" or not self._is_same(run, old):", ":"),
        (f"{_STORE}/test_part_seams.py",),
    ),
    Fault(
        *("refer at a border to chunks that are not here", 1, "gateway/store/part_seams.py"),
        *("if not all(self._is_here(leaf.ref.id) for leaf in old) or", "if"),
        (f"{_STORE}/test_part_seams.py",),
    ),
    # 5. The bucket alone rebuilds a site; the log alone rebuilds its index.
    Fault(
        *("bridge a gap in the log", 5, "gateway/store/recover.py"),
        "        if chosen is None:\n",
        "        if chosen is None:\n            return\n        if chosen is None:\n",
        (f"{_STORE}/test_rebuild.py", f"{_STORE}/test_recover.py"),
    ),
    Fault(
        *("apply changes without the index of their bytes", 5, "replication/puller.py"),
        "                if batch.index:\n",
        "                if False:\n",
        ("tests/replication/test_puller.py",),
    ),
    Fault(
        *("evict what the cloud does not have", 5, "gateway/store/evict.py"),
        *("if is_in_cloud(decision.transaction, chunk_id):", "if True:"),
        (f"{_STORE}/test_evict.py",),
    ),
    # 6. Honest status.
    Fault(
        *("advance the cursor before the log put is confirmed", 6, "replication/shipper.py"),
        "        try:\n            await self._cloud.put(log_name(attempt.origin",
        "        position = LogPosition(attempt.batch.n, attempt.batch.last_seq, hash_object(attempt.data))\n"
        "        await self._log.record_shipped(position, (*attempt.packed, *attempt.inline))\n"
        "        try:\n            await self._cloud.put(log_name(attempt.origin",
        ("tests/replication/test_shipper.py",),
    ),
    Fault(
        *("overwrite another machine's log batch", 6, "replication/shipper.py"),
        "attempt.data, if_absent=True)",
        "attempt.data, if_absent=False)",
        ("tests/replication/test_shipper.py", "tests/simulation/test_convergence.py"),
    ),
    Fault(
        *("follow a log that was rewritten", 6, "replication/puller.py"),
        *("    if batch.chain != before.chain:", "    if False:"),
        ("tests/replication/test_puller.py::test_log_rewritten_after_the_fact_is_noticed",),
    ),
    # 7. A precondition, signature or permission is evaluated or refused.
    Fault(
        *("accept any signature", 7, "gateway/s3/sigv4.py"),
        *("    if not _equal(sign_string(signing_key, to_sign), claim.signature):", "    if False:"),
        (f"{_S3}/test_sigv4.py",),
    ),
    Fault(
        *("accept unsigned x-amz-* headers", 7, "gateway/s3/sigv4.py"),
        *("    if unsigned:\n", "    if False:\n"),
        ("tests/gateway/http/test_security_table.py::test_an_unsigned_amz_header_is_refused",),
    ),
    Fault(
        *("skip the trailer's signature", 7, "gateway/s3/chunked.py"),
        *("if not compare_digest(self._signatures.sign_trailer(text), value):", "if False:"),
        (f"{_S3}/test_chunked.py",),
    ),
    Fault(
        *("skip the chunks' signatures", 7, "gateway/s3/chunked.py"),
        *("if not compare_digest(self._signatures.sign_chunk(digest), self._expected):", "if False:"),
        (f"{_S3}/test_chunked.py",),
    ),
    Fault(
        *("ignore an unknown header", 7, "gateway/s3/headers.py"),
        "            raise refuse_on_reads(name, headers[name])\n        raise not_implemented_header(name)",
        "            raise refuse_on_reads(name, headers[name])",
        (f"{_S3}/test_object_headers.py::test_what_skerry_does_not_do_is_refused_by_name",),
    ),
    Fault(
        *("ignore If-None-Match beside If-Match", 7, "gateway/s3/conditions.py"),
        *(' or "if-match" in headers):', " and False):"),
        ("tests/compat/test_boto3_refusals.py::test_conditions_that_exclude_each_other",),
    ),
    Fault(
        *("ignore the version a write names", 7, "gateway/s3/routing.py"),
        *('"versionId" in query and operation in _OF_NO_VERSION', "False"),
        ("tests/compat/test_boto3_refusals.py::test_writes_name_no_version",),
    ),
    Fault(
        *("compose checksums of parts that had none", 7, "gateway/operations/multipart.py"),
        *("is_missing = not claimed and upload.checksum_type == COMPOSITE", "is_missing = False"),
        ("tests/compat/test_boto3_refusals.py::test_composed_checksums_need_those_of_the_parts",),
    ),
    Fault(
        *("forget permissions boundaries", 7, "gateway/identity/policy_evaluation.py"),
        *("for limit in (principal.session, principal.boundary)", "for limit in (principal.session,)"),
        (f"{_LIMITS}::test_a_boundary_limits_what_a_users_policies_allow",),
    ),
    Fault(
        *("let a bucket's policy lift a role's limits", 7, "gateway/identity/policy_evaluation.py"),
        *("elif named == AS_ROLE:", "elif False:"),
        (f"{_LIMITS}::test_a_session_policy_limits_its_role_but_not_what_names_the_session",),
    ),
    Fault(
        *("tag sessions unasked", 7, "gateway/operations/sts_sessions.py"),
        *('for action in ("sts:AssumeRole", *asked.needed):', 'for action in ("sts:AssumeRole",):'),
        (f"{_LIMITS}::test_tags_of_a_session_are_its_principals",),
    ),
    Fault(
        *("hold parts to what only their upload says", 7, "gateway/identity/authorize.py"),
        *("if value is None and self._operation in _OF_UPLOADS else value", "if False else value"),
        ("tests/compat/test_boto3_policy.py::test_parts_are_written_as_their_upload_was_begun",),
    ),
    Fault(
        *("let a new user have an old one's grants", 7, "gateway/identity/bucket_access.py"),
        *("bind_policy(parse_policy, body, view.document(bucket.uid, POLICY_IDS))", "parse_policy(body)"),
        (f"{_LIMITS}::test_a_user_made_anew_gets_nothing_of_the_old_ones",),
    ),
    Fault(
        *("ignore a policy's deny", 7, "gateway/identity/authorize.py"),
        *("if denied or identity.denied or limits.denied:", "if identity.denied or limits.denied:"),
        ("tests/gateway/identity/test_authorize.py::test_denies_reach_everybody",),
    ),
    Fault(
        *("write past what a bucket with Object Lock adds", 7, "gateway/operations/objects_put.py"),
        *("frozenset({LIFECYCLE, NOTIFICATION, OBJECT_LOCK})", "frozenset({LIFECYCLE, NOTIFICATION})"),
        ("tests/gateway/operations/test_operations.py",),
    ),
    Fault(
        *("take the place of a batch's first frame for all", 1, "gateway/store/commit.py"),
        *("offset += len(chunk.encoded_header) + len(chunk.ciphertext)", "pass"),
        ("tests/gateway/store/test_chunk_rows.py",),
    ),
    Fault(
        *("delete in spite of a lock", 7, "gateway/operations/object_lock.py"),
        *("    if verdict is Verdict.ALLOWED:", "    if verdict:"),
        ("tests/compat/test_boto3_object_lock.py::test_compliance_cannot_be_bypassed",),
    ),
    Fault(
        *("skip the check of a customer's key", 7, "gateway/operations/object_encryption.py"),
        "    keys = _find_keys(context, view, seal, customer)\n    if not compare_digest(keys.check, seal.check):\n"
        "        raise AccessDenied",
        "    keys = _find_keys(context, view, seal, customer)\n    if False:\n        raise AccessDenied",
        ("tests/compat/test_boto3_sse_c.py::test_wrong_missing_and_superfluous_keys",),
    ),
    # 8. Damage is found, named and repaired.
    Fault(
        *("do not verify a chunk's id", 8, "gateway/store/frames.py"),
        *("if not self.has_id(plaintext, header.chunk_id):", "if False:"),
        (f"{_STORE}/test_frames.py::test_a_frame_that_claims_another_chunk_is_refused",),
    ),
    Fault(
        *("return a damaged stretch", 8, "gateway/store/stretches.py"),
        *(
            'if not compare_digest(b"".join(tags), known.tags[numbers.start * _TAG_SIZE : numbers.stop * _TAG_SIZE]):',
            "if False:",
        ),
        (f"{_STORE}/test_reading.py::test_a_stretch_that_is_damaged_is_not_returned_and_the_rest_is",),
    ),
    Fault(
        *("list what the index' own checksum denies", 8, "gateway/store/scans.py"),
        *("            if crc32c(key + data) != CRC_OF_WHOLE:", "            if False:"),
        (f"{_STORE}/test_index.py::test_a_damaged_head_is_not_listed",),
    ),
    Fault(
        *("do not check the index' own values", 8, "gateway/store/index.py"),
        *(
            "        if crc32c(key + data) != CRC_OF_WHOLE:\n            self._index",
            "        if False:\n            self._index",
        ),
        (f"{_STORE}/test_index.py::test_values_come_back_and_damage_is_seen",),
    ),
    Fault(
        *("collect without waiting for readers", 8, "gateway/store/collect.py"),
        "if not self._pending or self._setup.shared.oldest_active() <= self._pending[0].epoch:",
        "if not self._pending:",
        (f"{_STORE}/test_collect.py::test_a_reader_keeps_what_it_reads",),
    ),
    Fault(
        *("remove a segment before it is forgotten for good", 8, "gateway/store/collect.py"),
        *("        if setup.commit(forget):", "        if True:"),
        (_CRASH_REMOVED,),
    ),
    Fault(
        *("do not sync what collection moves", 8, "gateway/store/collect.py"),
        *("            self._setup.appender.sync()", "            pass"),
        (_CRASH_REMOVED,),
    ),
    *CHECKPOINT_FAULTS,
    *COLLECTION_FAULTS,
    *TOMBSTONE_FAULTS,
    *REKEY_FAULTS,
    *DISK_FAULTS,
    *CLIENT_FAULTS,
    *DAY_FAULTS,
    *FLEET_FAULTS,
    *PROMISE_FAULTS,
)
