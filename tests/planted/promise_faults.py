"""Planted faults that the tests of the README's table of promises must notice: whole sites, so they take longer.

Each names one test of that table alone, where ``faults`` names the smallest one. ``make planted`` runs them; the few
that CI tries by chance are not of these.
"""

from __future__ import annotations

from typing import Final

from tests.planted.fault import Fault

_STATES = "tests/crash/test_store_crashes.py::test_every_crash_state_keeps_its_promises"
_ISLAND = "tests/e2e/test_island.py"

PROMISE_FAULTS: Final = (
    Fault(
        *("acknowledge what no sync has reached", 1, "gateway/store/segments.py"),
        *("self._files.fdatasync(segment.fd)", "pass"),
        (_STATES,),
    ),
    Fault(
        *("acknowledge, and write the log when there is time", 1, "gateway/store/commit.py"),
        "            self._make_durable(transaction, applier, batch, now_ms)",
        "            self._deliver(outcomes)\n            import time\n            time.sleep(0.05)\n"
        "            self._make_durable(transaction, applier, batch, now_ms)",
        ("tests/e2e/test_sigkill.py::test_sigkill_under_load_loses_nothing_acknowledged",),
    ),
    Fault(
        *("decide a race before the lock", 2, "gateway/operations/objects_put.py"),
        *("if request.conditions is not NO_CONDITIONS:  # spares", "if False:  # spares"),
        ("tests/e2e/test_one_winner.py::test_fifty_concurrent_creators_have_one_winner",),
    ),
    Fault(
        *("let each site keep what came last", 2, "replication/crdt.py"),
        "return Entry(tuple(sorted(live.values(), key=_order, reverse=True)), marks)",
        "return Entry(tuple(live.values())[::-1], marks)",
        ("tests/simulation/test_convergence.py::test_worlds_converge_and_lose_nothing",),
    ),
    Fault(
        *("forget the loser on an island", 3, "replication/crdt.py"),
        "return Entry(tuple(sorted(live.values(), key=_order, reverse=True)), marks)",
        "return Entry(tuple(sorted(live.values(), key=_order, reverse=True)[:1]), marks)",
        (f"{_ISLAND}::test_both_sites_go_on_without_the_link_and_converge_with_it",),
    ),
    Fault(
        *("send a change in plaintext", 4, "replication/shipper.py"),
        'await self._cloud.put(head_name(origin, batch.n), b"")',
        'await self._cloud.put(head_name(origin, batch.n), b"".join(batch.changes))',
        (f"{_ISLAND}::test_the_cloud_sees_no_name_and_no_content",),
    ),
    Fault(
        *("restore names and leave bytes where they are", 5, "gateway/cli/restore.py"),
        *("remote=None if lazy else RemoteStore(site.store)", "remote=None"),
        (f"{_ISLAND}::test_the_bucket_and_the_key_bring_a_site_back",),
    ),
    Fault(
        *("call a site safe that has unsent changes", 6, "replication/status.py"),
        *("    if backlog.changes or backlog.bytes:", "    if False:"),
        ("tests/e2e/test_refusals.py::test_a_captive_portal_is_no_cloud",),
    ),
    Fault(
        *("call a site safe that nobody could read back", 6, "replication/status.py"),
        *("    if not recoverable:", "    if False:"),
        ("tests/replication/test_status.py::test_each_reason_alone_makes_it_unsafe",),
    ),
    Fault(
        *("tell strangers what there is", 7, "gateway/http/app.py"),
        "        if handler is None and not by_version_2 and parse_claim(headers, query) is None:\n",
        "        if handler is None:\n",
        ("tests/gateway/http/test_security_table.py::test_unknown_operations_say_so_only_to_those_who_sign",),
    ),
)
