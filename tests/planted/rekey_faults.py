"""Planted faults of sealing anew what lies under epochs that are to end. Data only: see ``faults``."""

from __future__ import annotations

from typing import Final

from tests.planted.fault import Fault

_DISK = "tests/gateway/store/test_resealing.py"
_BUCKET = "tests/contracts/test_rekeying.py"
_KEYS = "tests/replication/test_key_rotation.py"
_NOTHING_LEFT = f"{_DISK}::test_nothing_is_left_under_a_retired_epoch_and_its_key_may_go"
_NOWHERE = f"{_BUCKET}::test_nothing_is_left_under_the_first_epoch_anywhere"

REKEY_FAULTS: Final = (
    Fault(
        *("move frames without sealing them anew", 4, "gateway/store/collect.py"),
        *("if header.epoch in keyring.retired:", "if False:"),
        (_NOTHING_LEFT,),
    ),
    Fault(
        *("leave the batches of the log as they are", 4, "gateway/store/collect.py"),
        *("for kind in (KIND_DATA, KIND_LOG) if retired else ():", "for kind in (KIND_DATA,) if retired else ():"),
        (_NOTHING_LEFT,),
    ),
    Fault(
        *("give a batch sealed anew another hash", 1, "gateway/store/log_format.py"),
        *("return sealed[:_HASH_SIZE]", "return blake3.blake3(header).update(sealed).digest()"),
        (f"{_DISK}::test_a_batch_sealed_anew_keeps_its_place_in_the_chain",),
    ),
    Fault(
        *("believe a kept hash that anybody may have written", 8, "gateway/store/log_format.py"),
        *('kept = sealed[:_HASH_SIZE] if header.version == RESEALED_VERSION else b""', 'kept = b""'),
        ("tests/gateway/store/test_log_format.py::test_a_batch_sealed_anew_has_golden_bytes_and_the_hash_it_had",),
    ),
    Fault(
        *("unlink a log segment that somebody still reads", 1, "gateway/store/collect.py"),
        *(
            "self._pending.append(_Pending(self._setup.shared.epoch, [], number, KIND_LOG))",
            "self._pending.append(_Pending(-1, [], number, KIND_LOG))",
        ),
        (f"{_DISK}::test_a_log_segment_goes_behind_all_who_read_it",),
    ),
    Fault(
        *("name a log file that is not whole", 1, "gateway/store/log_resealing.py"),
        *("path = self._unfinished(number)", "path = directory.segment_path(number, KIND_LOG)"),
        (f"{_DISK}::test_a_new_log_file_has_its_name_when_it_is_whole",),
    ),
    Fault(
        *("take old packs for alive", 4, "replication/rekeying.py"),
        *("is_old = bool(held.epochs & self.retired) or held.name in self._old", "is_old = False"),
        (_NOWHERE,),
    ),
    Fault(
        *("ship again as it was sealed", 4, "replication/collector.py"),
        *("if header.epoch in ring.retired:", "if False:"),
        (f"{_BUCKET}::test_what_is_not_here_is_fetched_and_sealed_anew",),
    ),
    Fault(
        *("write no checkpoint for old batches", 4, "replication/rekeying.py"),
        *("self.wants_checkpoint = await self._find_uncovered()", "self.wants_checkpoint = False"),
        (_NOWHERE,),
    ),
    Fault(
        *("leave an idle site nothing to acknowledge", 4, "replication/rekeying.py"),
        *("if batch.last_seq >= self._log.last_seq():", "if False:"),
        (f"{_BUCKET}::test_a_site_that_writes_nothing_lets_its_log_go_as_well",),
    ),
    Fault(
        *("give the last batch of a log another hash", 1, "replication/batch_format.py"),
        *("            return data[-HASH_SIZE:]", "            pass"),
        (f"{_BUCKET}::test_logs_that_have_ended_come_under_the_later_epoch_where_they_lie",),
    ),
    Fault(
        *("believe a hash that anybody may have put there", 4, "replication/batch_format.py"),
        *("            decode_batch(keyring, origin, n, data)\n            return data", "            return data"),
        (f"{_BUCKET}::test_logs_that_have_ended_come_under_the_later_epoch_where_they_lie",),
    ),
    Fault(
        *("keep pulled frames under an epoch that is to end", 4, "gateway/store/pulled_frames.py"),
        *("if header.epoch in keyring.retired:", "if False:"),
        (f"{_DISK}::test_nothing_comes_under_an_epoch_that_is_to_end",),
    ),
    Fault(
        *("keep fetched frames under an epoch that is to end", 4, "gateway/store/frames.py"),
        *("if header.epoch in self.keyring.retired:", "if False:"),
        (f"{_DISK}::test_nothing_comes_under_an_epoch_that_is_to_end",),
    ),
    Fault(
        *("give up a key that something lies under", 1, "replication/realm_access.py"),
        *("if not await self._offload(partial(self.is_needed, epoch))", ""),
        (f"{_KEYS}::test_an_epoch_ends_in_the_bucket_and_where_nothing_lies_under_it",),
    ),
    Fault(
        *("open a renewed realm before its recovery key does", 5, "replication/key_rotation.py"),
        *("            (recovery, wrapping),\n            (root, wrapping),", "            (root, wrapping),"),
        (f"{_KEYS}::test_a_renewal_that_is_cut_short_leaves_no_realm_without_its_recovery_key",),
    ),
    Fault(
        *("wrap later epochs with the wrapping key of before", 4, "replication/key_rotation.py"),
        *("found = max(of_kind, key", "found = min(of_kind, key"),
        (f"{_KEYS}::test_what_leaked_opens_nothing_of_a_renewed_realm_whatever_is_read_of_the_bucket",),
    ),
    Fault(
        *("keep a key as it came", 4, "replication/keys.py"),
        *("if await cloud.get(name) != data:", "if False:"),
        ("tests/replication/test_keys.py::test_a_key_that_came_damaged_is_not_kept",),
    ),
    Fault(
        *("read what lies under an epoch that has ended", 4, "gateway/store/hydration.py"),
        *("if best is None or self._opens(best):", "if True:"),
        (f"{_BUCKET}::test_a_place_under_an_epoch_that_ended_is_passed_over",),
    ),
    Fault(
        *("rely on what lies behind a cut", 4, "replication/collector.py"),
        *("if trusted := [site for site in sites if site not in cut]:", "if trusted := sites:"),
        ("tests/simulation/test_rekeying.py::test_what_broke_once_holds[333]",),
    ),
    Fault(
        *("publish a dropped epoch again", 4, "replication/realm_access.py"),
        *(
            "dropped = {*wraps_of(self._objects, marks), *wraps_around(self._objects, marks)}",
            "dropped = {*wraps_of(self._objects, marks)}",
        ),
        (f"{_KEYS}::test_an_epoch_ends_in_the_bucket_and_where_nothing_lies_under_it",),
    ),
    Fault(
        *("end an epoch that others need", 1, "gateway/cli/epoch_progress.py"),
        *("if not _is_done(one, epoch)\n    ]", "if False\n    ]"),
        ("tests/gateway/cli/test_rekey_command.py::test_who_needs_an_epoch_is_named",),
    ),
)
