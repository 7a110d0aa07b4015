"""Planted faults of the end of tombstones, over the real store. Data only: see ``faults``."""

from __future__ import annotations

from typing import Final

from tests.planted.fault import Fault

_ENDINGS = "tests/gateway/store/test_endings.py"
_TOMBSTONES = "tests/contracts/test_tombstones.py"

TOMBSTONE_FAULTS: Final = (
    Fault(
        *("end a tombstone beside what lives", 3, "gateway/store/endings.py"),
        *('reason = "" if is_empty else BESIDE', 'reason = ""'),
        (f"{_TOMBSTONES}::test_a_tombstone_beside_what_lives_stays",),
    ),
    Fault(
        *("end a tombstone whose lock not everybody has", 3, "gateway/store/endings.py"),
        *('return "" if _are_stable(documents, cut) else WAITS, dots', 'return "", dots'),
        (f"{_ENDINGS}::test_a_lock_that_not_everybody_has_keeps_the_purge_that_saw_it",),
    ),
    Fault(
        *("end a tombstone whose value is to come", 3, "gateway/store/endings.py"),
        *("or not state.values or", "or"),
        (f"{_ENDINGS}::test_a_purge_whose_value_did_not_arrive_yet_stays",),
    ),
    Fault(
        *("end a tombstone without its value", 3, "gateway/store/endings.py"),
        *("for order in (*state.purges, *state.values)]", "for order in state.purges]"),
        (f"{_ENDINGS}::test_who_replays_in_any_order_never_sees_it_again",),
    ),
    Fault(
        *("end a tombstone of a marker above what lives", 3, "gateway/store/endings.py"),
        *("if marker and markers_stay:", "if marker and not markers_stay:"),
        (f"{_ENDINGS}::test_a_purged_marker_stays_as_long_as_anything_lives_below",),
    ),
    Fault(
        *("end a tombstone by another one", 3, "gateway/store/decision.py"),
        *("replaces = (*ending.replaces, dot)", "replaces = ending.replaces"),
        (f"{_ENDINGS}::test_a_purged_version_goes_with_its_value_and_its_documents",),
    ),
    Fault(
        *("end a tombstone while somebody joins", 3, "replication/tombstones.py"),
        *(
            "elif self._is_due(horizon) and _is_within(horizon.resting_on, census.cut()):",
            "elif self._is_due(horizon):",
        ),
        (f"{_TOMBSTONES}::test_a_site_that_joins_counts_before_it_has_read_anything",),
    ),
    Fault(
        *("end a tombstone before its time", 3, "replication/tombstones.py"),
        *("now_ms - horizon.since_ms >= self._age_ms", "now_ms >= horizon.since_ms"),
        (f"{_TOMBSTONES}::test_nothing_is_ended_before_its_time_or_by_an_unknown_time",),
    ),
    Fault(
        *("end a tombstone by no clock", 3, "replication/tombstones.py"),
        *("if now_ms is not None and _is_within(", "if _is_within("),
        (f"{_TOMBSTONES}::test_nothing_is_ended_before_its_time_or_by_an_unknown_time",),
    ),
    Fault(
        *("end a tombstone of a site that stays", 3, "replication/tombstones.py"),
        *("return site == me", "return True"),
        (f"{_TOMBSTONES}::test_a_silent_site_keeps_every_tombstone",),
    ),
    Fault(
        *("end a tombstone of nobody", 3, "replication/tombstones.py"),
        *("else census.heir_of(site, members) == me", "else False"),
        (f"{_TOMBSTONES}::test_the_first_that_stays_ends_what_a_retired_site_left",),
    ),
    Fault(
        *("tell the end of a tombstone as a removal", 0, "gateway/events/happenings.py"),
        *("if is_ending(change):", "if is_ending(change) and False:"),
        (f"{_ENDINGS}::test_an_ending_is_no_event",),
    ),
    Fault(
        *("keep the row of an item that is gone", 3, "gateway/store/item_rows.py"),
        *("    if not live:\n", "    if live is None:\n"),
        (f"{_ENDINGS}::test_documents_of_a_null_object_go_with_it_and_not_before",),
    ),
    # What was deleted, and what was not, looking back.
    Fault(
        *("take the drop of a loser for a delete, looking back", 5, "gateway/store/history.py"),
        "        elif not (change.family == FAMILY_NULL_SLOT and change.dead and change.body == DROP_BODY):",
        "        else:",
        ("tests/gateway/store/test_history.py::test_what_won_a_collision_stays_when_the_loser_is_dropped",),
    ),
)
