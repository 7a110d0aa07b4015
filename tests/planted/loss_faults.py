"""Planted faults of bytes that cannot be had: held back, asked for, accepted, healed. Data only: see ``faults``."""

from __future__ import annotations

from typing import Final

from tests.planted.fault import Fault

_LOSSES = "tests/contracts/test_losses.py"
_LOST = "tests/gateway/cli/test_lost.py"
_SERVICE = "tests/replication/test_service.py"
_WAITS = f"{_LOSSES}::test_what_stands_before_a_lost_chunk_goes_and_what_follows_waits_until_it_is_accepted"
_SILENT = f"{_LOSSES}::test_what_the_cloud_does_not_say_is_not_lost"
_HEARS = f"{_SERVICE}::test_a_site_whose_first_change_lost_its_bytes_still_hears_what_may_bring_them"
_NAMED = f"{_LOST}::test_what_cannot_be_had_is_named_everywhere_and_can_be_accepted"

LOSS_FAULTS: Final = (
    Fault(
        *("send a change whose bytes are nowhere", 3, "gateway/store/needed_frames.py"),
        *("if locate_chunk(self._transaction, chunk_id) is None and", "if False and"),
        (f"{_LOSSES}::test_a_chunk_that_is_missing_below_a_page_stops_the_round",),
    ),
    Fault(
        *("hold everything back for one lost chunk", 0, "replication/freight.py"),
        *("                if not count:\n", "                if loss.chunk_id in tried:\n"),
        (_WAITS,),
    ),
    Fault(
        *("believe at once that bytes are lost", 6, "replication/freight.py"),
        *("if self._doubts[loss.chunk_id] < DOUBTS_MAX:", "if False:"),
        (f"{_LOSSES}::test_what_is_only_where_nobody_relies_on_it_and_is_gone_stops_nothing_for_ever",),
    ),
    Fault(
        *("take a cloud that does not answer for one that lost the bytes", 6, "gateway/store/loss_search.py"),
        *("            return replace(suspect, reason=str(error), unknown=True)", "            return suspect"),
        (_SILENT,),
    ),
    Fault(
        *("accept what the cloud did not say", 6, "gateway/store/loss_search.py"),
        *("or one.accepted or one.unknown:", "or one.accepted:"),
        (_SILENT,),
    ),
    Fault(
        *("fall silent while bytes are lost", 0, "replication/shipper.py"),
        *("if not isinstance(error, BytesLost) or not speak:", "if True:"),
        (_WAITS, _HEARS),
    ),
    Fault(
        *("hear nothing in a single round while bytes are lost", 0, "replication/service.py"),
        *("            except BytesLost as error:", "            except ZeroDivisionError as error:"),
        (_HEARS,),
    ),
    Fault(
        *("keep an accepted loss for ever", 8, "gateway/store/chunk_rows.py"),
        *("            drop_accepted(self._transaction, chunk_id)", "            pass"),
        (f"{_LOSSES}::test_a_copy_that_turns_up_heals_every_site",),
    ),
    Fault(
        *("place what is left of a lost frame in a rebuild", 8, "gateway/store/chunk_rows.py"),
        *("        self.evict(name, raw_size)\n        put_accepted", "        put_accepted"),
        (_WAITS,),
    ),
    Fault(
        *("deduplicate against what is known to be damaged", 1, "gateway/store/hydration.py"),
        *("flags=row.flags | CHUNK_CONDEMNED))", "flags=row.flags))"),
        (f"{_LOSSES}::test_what_is_known_to_be_damaged_is_not_deduplicated_against",),
    ),
    Fault(
        *("keep a damaged frame although the same bytes were sent again", 1, "gateway/store/decision.py"),
        *("row.flags & CHUNK_LOCAL and not row.flags & CHUNK_CONDEMNED:", "row.flags & CHUNK_LOCAL:"),
        (f"{_LOSSES}::test_what_is_known_to_be_damaged_is_not_deduplicated_against",),
    ),
    Fault(
        *("give a rebuild up for a page that was accepted as lost", 8, "gateway/store/rebuilt_pages.py"),
        *("            if not self._pages.is_lost(chunk_id):", "            if True:"),
        (f"{_LOSSES}::test_a_damaged_page_stops_the_round_until_it_is_accepted",),
    ),
    Fault(
        *("call an accepted loss an outage", 8, "gateway/store/hydration.py"),
        *("if self.fetcher is None or self._setup.locate.is_lost(chunk_id):", "if self.fetcher is None:"),
        (f"{_LOSSES}::test_reads_of_what_is_accepted_say_so_and_writing_it_again_heals",),
    ),
    Fault(
        *("call a site safe that waits for lost bytes", 6, "gateway/cli/site_status.py"),
        *("        lost=say_held_back(site, report),\n", ""),
        (_NAMED,),
    ),
    Fault(
        *("keep lost bytes out of the metrics", 6, "gateway/cli/admin_status.py"),
        *("float(find_held_back(self._site, report) is not None)", "0.0"),
        (_NAMED,),
    ),
)
