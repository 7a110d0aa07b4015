"""Planted faults of bad days: calls that fail, killed processes, damage, clients, releases, secrets. See ``faults``.

``test_tables`` holds that every row of the table of bad days in ``tests/RELIABILITY.md`` has one.
"""

from __future__ import annotations

from typing import Final

from tests.planted.fault import Fault
from tests.planted.loss_faults import LOSS_FAULTS

_STORE = "tests/gateway/store"
_HTTP = "tests/gateway/http"
_INDEX = f"{_STORE}/test_index.py"
_SCRUB = "tests/gateway/cli/test_scrub_runner.py"
_LISTINGS = "tests/gateway/operations/test_listings.py"
_FAULTS = f"{_STORE}/test_commit_faults.py"
_UNKNOWN = f"{_STORE}/test_unknown_versions.py"

DAY_FAULTS: Final = (
    *LOSS_FAULTS,
    # A call fails.
    Fault(
        *("take an index that cannot be mapped for a damaged one", 1, "gateway/store/index.py"),
        *("if isinstance(error, lmdb.Error) and not isinstance(error, _BROKEN):", "if False:"),
        (f"{_INDEX}::test_an_index_that_cannot_be_mapped_is_said_and_left_alone",),
    ),
    Fault(
        *("let the index outgrow its map behind the log", 1, "gateway/store/reserve.py"),
        *("if self._index.map_size - self._index.size_bytes() < MAP_ROOM_BYTES:", "if False:"),
        (f"{_FAULTS}::test_an_index_without_room_to_grow_is_said_before_anything_is_logged",),
    ),
    Fault(
        *("end in a traceback where the system refuses", 0, "gateway/cli/failures.py"),
        *("if isinstance(error, OSError) and error.errno in _SYSTEM:", "if False:"),
        (f"{_SCRUB}::test_what_the_system_refuses_is_said_in_a_line",),
    ),
    Fault(
        *("spin when there are no descriptors left", 0, "gateway/http/handshakes.py"),
        *("                if error.errno in _EXHAUSTED:", "                if False:"),
        (f"{_HTTP}/test_handshakes.py::test_a_process_without_descriptors_takes_connections_again",),
    ),
    Fault(
        *("let connections have every descriptor", 0, "gateway/cli/worker.py"),
        *("connections_max=fit_connections(config.server.connections_max)", "connections_max=1 << 20"),
        ("tests/hostile/test_few_descriptors.py",),
    ),
    Fault(
        *("take the limit of open files as it is", 0, "gateway/cli/descriptors.py"),
        *("        resource.setrlimit(resource.RLIMIT_NOFILE, (given, hard))", "        pass"),
        ("tests/gateway/cli/test_descriptors.py",),
    ),
    # A process is killed.
    Fault(
        *("do not start a dead worker again", 0, "gateway/supervise.py"),
        *("            self.restarts += 1\n", "            return\n"),
        ("tests/gateway/test_supervise.py::test_a_killed_child_comes_back",),
    ),
    Fault(
        *("go on without a supervisor", 0, "gateway/cli/child.py"),
        *("    loop.add_reader(descriptor, at_end)", "    pass"),
        ("tests/gateway/cli/test_serve.py::test_a_killed_parent_takes_its_children_along",),
    ),
    Fault(
        *("leave the slots of the dead taken", 0, "gateway/store/index.py"),
        "            self._environment.reader_check()\n            self.tables",
        "            self.tables",
        (f"{_INDEX}::test_slots_of_the_dead_are_free_again_when_a_process_opens",),
    ),
    Fault(
        *("be overloaded by the slots of the dead", 0, "gateway/store/index.py"),
        *("            self._environment.reader_check()  # slots", "            pass  # slots"),
        (f"{_INDEX}::test_slots_of_the_dead_are_free_again_when_there_is_no_other",),
    ),
    Fault(
        *("wait for what a killed process was doing", 0, "gateway/store/shared.py"),
        *("            if count and not self._is_alive(slot):", "            if False:"),
        (f"{_STORE}/test_shared.py::test_work_of_a_killed_process_does_not_count",),
    ),
    # Damage.
    Fault(
        *("take a segment under another's number", 8, "gateway/store/segment_check.py"),
        *("            if (header.number, header.kind) != (number, kind):", "            if False:"),
        (f"{_STORE}/test_segment_check.py::test_a_segment_under_another_number_is_refused",),
    ),
    Fault(
        *("say that all is sound", 8, "gateway/cli/verify.py"),
        *("    return EXIT_OK if report.sound else EXIT_NO", "    return EXIT_OK"),
        ("tests/e2e/test_damage_is_visible.py",),
    ),
    Fault(
        *("keep what the scrub found out of the metrics", 8, "gateway/cli/admin_status.py"),
        *('"scrub_findings": len(scrub["findings"]),', '"scrub_findings": 0,'),
        ("tests/e2e/test_damage_is_visible.py",),
    ),
    Fault(
        *("keep what the scrub found out of the status", 8, "gateway/cli/site_status.py"),
        *("    if scrub := read_scrub(site).findings:", "    if scrub := read_scrub(site).findings[:0]:"),
        ("tests/e2e/test_damage_is_visible.py",),
    ),
    Fault(
        *("tell no age of what was not read back", 8, "gateway/cli/admin_status.py"),
        *(
            '"oldest_unverified_age_seconds": scrub["oldest_unverified_age_s"] or 0.0,',
            '"oldest_unverified_age_seconds": 0.0,',
        ),
        ("tests/e2e/test_damage_is_visible.py",),
    ),
    Fault(
        *("scrub as fast as the disk goes", 0, "gateway/cli/scrub_runner.py"),
        *(
            "wait_s = max(STEP_PAUSE_S, read / settings.bytes_per_s if settings.bytes_per_s else 0.0)",
            "wait_s = STEP_PAUSE_S",
        ),
        (f"{_SCRUB}::test_it_reads_no_faster_than_it_is_told_to",),
    ),
    Fault(
        *("wait for a clock that was set back", 8, "gateway/cli/scrub_runner.py"),
        *("(min(state.begun_ms, now_ms) + settings", "(state.begun_ms + settings"),
        (f"{_SCRUB}::test_a_rotation_begins_when_it_is_due",),
    ),
    Fault(
        *("let writes go back in time with the clock", 2, "replication/clock.py"),
        *("    ticked = max(own + 1, hlc_of(wall_ms))", "    ticked = hlc_of(wall_ms)"),
        ("tests/replication/test_clock.py",),
    ),
    Fault(
        *("let one key's far future spread", 2, "replication/clock.py"),
        *("    return Tick(hlc, ticked)", "    return Tick(hlc, hlc)"),
        ("tests/replication/test_clock.py",),
    ),
    Fault(
        *("mend nothing from the cloud", 8, "gateway/store/verify.py"),
        *("        await hydrator.mend_chunk(chunk_id, Damaged(reason))", "        pass"),
        (f"{_STORE}/test_verify.py::test_bad_frames_are_named_and_mended",),
    ),
    Fault(
        *("write into the reserve of a full disk", 1, "gateway/store/reserve.py"),
        *("        if free - size < self._reserve_bytes:", "        if False:"),
        (f"{_STORE}/test_reserve.py::test_what_was_told_counts_like_what_was_asked",),
    ),
    Fault(
        *("log what a full disk has no room for", 1, "gateway/store/reserve.py"),
        *("        if free < BATCH_ROOM_BYTES:", "        if False:"),
        (f"{_FAULTS}::test_a_disk_that_is_full_to_the_brim_is_said_before_anything_is_logged",),
    ),
    # Clients.
    Fault(
        *("wait for ever for headers that trickle", 0, "gateway/http/protocol.py"),
        *("        self._partial_since_s = self._loop.time()", "        pass"),
        (f"{_HTTP}/test_hostile.py::test_headers_that_trickle_are_cut_off",),
    ),
    Fault(
        *("expand what a document declares", 0, "gateway/s3/documents.py"),
        *("forbid_dtd=True, forbid_entities=True, forbid_external=True", "forbid_dtd=False, forbid_entities=False"),
        ("tests/gateway/s3/test_bodies.py::test_documents_that_are_refused",),
    ),
    Fault(
        *("parse any number of tags", 0, "gateway/s3/documents.py"),
        *(' or body.count(b"<") > _TAGS_MAX.get(root, _TAGS_DEFAULT_MAX):', ":"),
        ("tests/gateway/s3/test_bodies.py::test_floods_of_tags_are_not_even_parsed",),
    ),
    Fault(
        *("take a million chunks of a byte", 0, "gateway/s3/chunked.py"),
        *("            if self._small > SMALL_CHUNKS_MAX:", "            if False:"),
        ("tests/gateway/s3/test_chunked.py::test_tiny_chunks_are_bounded",),
    ),
    Fault(
        *("read a document of any length", 0, "gateway/http/body.py"),
        *(
            "        if length > bytes_max:\n            raise too_large",
            "        if False:\n            raise too_large",
        ),
        (f"{_HTTP}/test_hostile.py::test_a_huge_document_is_refused_before_it_is_read",),
    ),
    Fault(
        *("keep a connection whose requests end where one likes", 0, "gateway/http/app.py"),
        *("close=close or ill_framed)", "close=close)"),
        (f"{_HTTP}/test_http_edges.py::test_shapes_that_two_servers_could_read_differently_are_refused",),
    ),
    Fault(
        *("make up what a client that vanished did not send", 1, "gateway/http/body.py"),
        "        except TimeoutError:\n            raise RequestTimeout from None\n        self.bytes_read",
        "        except Exception:\n            return bytes(99)\n        self.bytes_read",
        (f"{_HTTP}/test_hostile.py::test_a_short_body_stores_nothing_and_is_no_error_of_ours",),
    ),
    Fault(
        *("tell who waits to come back at once", 0, "gateway/http/turns.py"),
        *('{"Retry-After": str(math.ceil(self.wait_s))}', '{"Retry-After": "1"}'),
        (f"{_HTTP}/test_turns.py::test_who_would_wait_too_long_is_told_when_to_come_back",),
    ),
    Fault(
        *("tell who is one too many to come back too soon", 0, "gateway/http/protocol.py"),
        *("Connection: close\\r\\nRetry-After: 5\\r\\n", "Connection: close\\r\\nRetry-After: 1\\r\\n"),
        (f"{_HTTP}/test_unsent.py::test_who_comes_back_when_told_to_finds_a_place",),
    ),
    Fault(
        *("pass over all that is deleted in one turn", 0, "gateway/operations/listings.py"),
        *(
            "view.scan_heads(bucket.uid, bound(page.prefix), KEYS_PASSED)",
            "view.scan_heads(bucket.uid, bound(page.prefix))",
        ),
        (_LISTINGS,),
    ),
    Fault(
        *("pass over all tombstones in one turn", 0, "gateway/operations/listings.py"),
        "view.scan_versions(bucket.uid, bound(page.prefix), TOMBSTONES_PASSED)",
        "view.scan_versions(bucket.uid, bound(page.prefix))",
        (_LISTINGS,),
    ),
    Fault(
        *("look at all that a common prefix holds", 0, "gateway/s3/listing.py"),
        "                break\n            cursor.seek(bound(beyond))\n        return False",
        "                break\n            while cursor.take(group, 1):\n                pass\n"
        "            cursor.seek(bound(beyond))\n        return False",
        ("tests/gateway/s3/test_listing.py::test_a_common_prefix_costs_one_seek_whatever_lies_under_it",),
    ),
    # Releases.
    Fault(
        *("open a directory of a newer format", 0, "gateway/store/layout.py"),
        *("    if version > FORMAT_VERSION:", "    if False:"),
        (f"{_UNKNOWN}::test_a_stamp_of_a_newer_format",),
    ),
    Fault(
        *("apply a batch that asks for a newer reader", 0, "gateway/store/log_format.py"),
        *("    if reader_min > READER_VERSION:", "    if False:"),
        (f"{_UNKNOWN}::test_a_batch_that_asks_for_a_newer_reader",),
    ),
    Fault(
        *("seal as no release did", 5, "replication/sealing.py"),
        *("_NONCE: Final = bytes(12)", '_NONCE: Final = b"1" * 12'),
        ("tests/golden/test_cloud_formats.py",),
    ),
    Fault(
        *("open nothing of an older release", 5, "replication/sealing.py"),
        *("_NONCE: Final = bytes(12)", '_NONCE: Final = b"2" * 12'),
        ("tests/golden/test_releases.py",),
    ),
    # Secrets.
    Fault(
        *("compare signatures a byte after the other", 0, "gateway/s3/sigv4.py"),
        *("        return compare_digest(one, other)\n", "        return one == other\n"),
        ("tests/gateway/identity/test_constant_time.py",),
    ),
    Fault(
        *("compare a root secret as any text", 0, "gateway/identity/users.py"),
        *("secrets.compare_digest(known.secret, secret)", "known.secret == secret"),
        ("tests/gateway/identity/test_constant_time.py",),
    ),
)
