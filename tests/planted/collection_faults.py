"""Planted faults of collection in the bucket, over the real store. Data only: see ``faults``."""

from __future__ import annotations

from typing import Final

from tests.planted.fault import Fault

_NEEDS = "tests/gateway/store/test_cloud_needs.py"
_COLLECTION = "tests/contracts/test_collection.py"

COLLECTION_FAULTS: Final = (
    Fault(
        *("let a patch lose its base", 3, "gateway/store/cloud_needs.py"),
        *("for chunk_id in patches_over(self._transaction, base.chunk_id):", "for chunk_id in ():"),
        (f"{_NEEDS}::test_a_patch_never_loses_its_base",),
    ),
    Fault(
        *("forget which pages were not opened", 3, "gateway/store/chunk_rows.py"),
        *('self._transaction.put(self._tables.closed, chunk_id, b"")', "pass"),
        (f"{_NEEDS}::test_what_pages_list_is_needed_and_unknown_until_they_are_opened",),
    ),
    Fault(
        *("rely on doomed objects", 3, "gateway/store/cloud_rows.py"),
        *("return self.trusted and not self.doomed", "return self.trusted"),
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
        *("return self.trusted and not self.doomed", "return not self.doomed"),
        (f"{_COLLECTION}::test_a_site_that_nobody_knows_yet_relies_on_nobody",),
    ),
    Fault(
        *("trust the silent by a clock that may jump", 3, "replication/collector.py"),
        *("self._log.identity(), self._steady_ms()", "self._log.identity(), self._wall_ms()"),
        (f"{_COLLECTION}::test_who_is_silent_is_trusted_after_an_hour_that_no_clock_makes_shorter",),
    ),
    Fault(
        *("look for members before looking at what was shipped", 3, "replication/collector.py"),
        "cut = replace(before, heads=await list_heads(self._cloud)).cut()",
        "cut = take_census(self._log, await list_heads(self._cloud)).cut()",
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
)
