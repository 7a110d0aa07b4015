"""Planted faults of the store's bad days: the index in doubt, calls that fail in the kernel, damage. See ``faults``."""

from __future__ import annotations

from typing import Final

from tests.planted.fault import Fault

_STORE = "tests/gateway/store"

DISK_FAULTS: Final = (
    # The index in doubt.
    Fault(
        *("take a table of any name", 8, "gateway/store/index_pages.py"),
        *('key.rstrip(b"\\0") not in _TABLES or', ""),
        ("tests/gateway/store/test_index_pages.py::test_a_table_of_another_name_is_found",),
    ),
    Fault(
        *("open the index without looking at its tree", 8, "gateway/store/index_doubt.py"),
        *("        check_index_file(fd, files.size(fd))", "        pass"),
        (f"{_STORE}/test_index_doubt.py::test_a_tree_that_the_machine_came_up_with_broken_is_rebuilt",),
    ),
    Fault(
        *("forget that the index was found damaged", 8, "gateway/store/index.py"),
        "            self._index.on_damage()\n            raise Damaged(",
        "            raise Damaged(",
        (f"{_STORE}/test_index_doubt.py::test_an_index_found_damaged_while_it_is_used_is_rebuilt_at_the_next_start",),
    ),
    Fault(
        *("believe the page cache after a failed sync", 1, "gateway/store/index_doubt.py"),
        *("        if shared.must_reverify:", "        if False:"),
        (f"{_STORE}/test_index_doubt.py",),
    ),
    Fault(
        *("do not ask whether free pages are in use", 8, "gateway/store/index_pages.py"),
        *("            self._check_free()", "            pass"),
        (f"{_STORE}/test_index_pages.py::test_a_sound_tree_is_known_to_its_last_page",),
    ),
    Fault(
        *("commit to the index without a sync", 1, "gateway/store/index.py"),
        *("                metasync=False,", "                metasync=False,\n                sync=False,"),
        ("tests/crash/test_traced_crashes.py",),
    ),
    Fault(
        *("keep a process whose index gave up", 1, "gateway/store/index.py"),
        *("            self.on_panic()", "            pass"),
        (f"{_STORE}/test_index.py::test_an_engine_that_gave_up_ends_its_process_and_refuses_until_then",),
    ),
    Fault(
        *("take half a key for a whole one", 5, "replication/small_files.py"),
        *("        if count != len(data):", "        if False:"),
        ("tests/replication/test_key_files.py::test_a_short_write_of_a_key_is_an_error",),
    ),
    # Damage.
    Fault(
        *("take another site's segment for one's own", 8, "gateway/store/segment_check.py"),
        *("            if header.realm != directory.realm or header.site != directory.site:", "            if False:"),
        (f"{_STORE}/test_segment_check.py::test_a_segment_of_another_site_is_refused",),
    ),
    Fault(
        *("take another site's index for one's own", 8, "gateway/store/rebuild.py"),
        *("        return transaction.site() in (None, site)", "        return True"),
        ("tests/crash/test_damage.py",),
    ),
    Fault(
        *("leave segment headers out of what is verified", 8, "gateway/store/verify.py"),
        *(
            "            self.found.bad_segments += find_bad_headers(view.transaction, self._setup.segments)",
            "            pass",
        ),
        (f"{_STORE}/test_scrub.py",),
    ),
    Fault(
        *("count what no scrub has read from when the scrub began", 8, "gateway/store/scrub.py"),
        *("                return min(first_write_ms(view) or now_ms, now_ms)", "                return now_ms"),
        (f"{_STORE}/test_scrub.py",),
    ),
    Fault(
        *("name no objects of what is damaged", 8, "gateway/store/damaged_objects.py"),
        *("            if ids & needing and len(found[chunk_id]) < NAMES_MAX:", "            if False:"),
        (f"{_STORE}/test_scrub.py", "tests/crash/test_damage.py"),
    ),
    Fault(
        *("read segments of a newer format", 8, "gateway/store/segment_format.py"),
        *("    if version > SEGMENT_VERSION:", "    if False:"),
        (f"{_STORE}/test_unknown_versions.py",),
    ),
    # Space that is still in use.
    Fault(
        *("never seal a segment that is mostly dead", 8, "gateway/store/store.py"),
        *("        self.appender.seal(asked)\n", ""),
        (f"{_STORE}/test_sealing_segments.py",),
    ),
    Fault(
        *("seal another segment than that which was asked for", 8, "gateway/store/segments.py"),
        "            if self._current is not None and self._current.header.number == number:",
        "            if self._current is not None:",
        (f"{_STORE}/test_sealing_segments.py",),
    ),
    Fault(
        *("keep files open that were unlinked", 8, "gateway/store/store.py"),
        *("        self.collector.let_go_of_files()", "        pass"),
        (f"{_STORE}/test_sealing_segments.py",),
    ),
)
