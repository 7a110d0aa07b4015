"""Faults of checkpoints and subscriptions: see ``faults``."""

from __future__ import annotations

from typing import Final

from tests.planted.fault import Fault

_STORE = "tests/gateway/store"
_CONTRACTS = "tests/contracts/test_checkpoints.py"

CHECKPOINT_FAULTS: Final = (
    Fault(
        *("bring back what was replaced during a join", 3, "gateway/store/object_rows.py"),
        "            if not self._is_applied(dot):\n",
        "            if not self._is_applied(dot) and False:\n",
        (f"{_STORE}/test_state_fold.py", f"{_STORE}/test_replica.py"),
    ),
    Fault(
        *("keep what a checkpoint's writer saw replaced", 3, "replication/crdt.py"),
        *(" and (dot in there or not seen_there(dot))", ""),
        ("tests/replication/test_crdt.py::test_joining_states_is_merging_what_they_were_made_of",),
    ),
    Fault(
        *("count a change twice that a checkpoint had brought", 3, "gateway/store/object_rows.py"),
        *("if added in nulls and added not in head.nulls:", "if added in nulls:"),
        (f"{_STORE}/test_state_fold.py",),
    ),
    Fault(
        *("acknowledge half a checkpoint", 3, "gateway/store/state_fold.py"),
        "        put_slices(self._transaction, 0)\n",
        "        put_slices(self._transaction, 0)\n        self.end()\n",
        (f"{_STORE}/test_state_fold.py::test_nothing_is_acknowledged_before_the_last_slice",),
    ),
    Fault(
        *("leave hidden values out of a checkpoint", 3, "gateway/store/state_export.py"),
        *("tuple(state.values.items())", "tuple((o, b) for o, b in state.values.items() if not state.purges)"),
        (f"{_STORE}/test_state_fold.py",),
    ),
    Fault(
        *("leave marks out of a checkpoint", 3, "gateway/store/state_export.py"),
        "dots = [key for key, _ in transaction.scan(transaction.tables.marks)]",
        "dots: list[bytes] = []",
        (f"{_STORE}/test_state_fold.py::test_what_was_replaced_before_it_was_seen_stays_away",),
    ),
    Fault(
        *("pass over what was subscribed to later", 3, "gateway/store/subscription_rows.py"),
        *("    if all(covers(row.taken, pattern) for pattern in wanted):", "    if True:"),
        (f"{_STORE}/test_subscription.py::test_subscribing_later_loses_nothing",),
    ),
    Fault(
        *("take what is older for news while rewinding", 3, "gateway/store/subscription_rows.py"),
        *("if not self._high or self._takes(family, item, before=True):", "if True:"),
        (f"{_STORE}/test_subscription.py::test_subscribing_later_loses_nothing",),
    ),
    Fault(
        *("take in what nobody subscribed to", 3, "gateway/store/subscription_rows.py"),
        *("return matches(self._row.taken, name) and not", "return not"),
        (f"{_STORE}/test_subscription.py::test_some_buckets_only",),
    ),
    Fault(
        *("show half of what was subscribed to", 3, "gateway/store/subscription_rows.py"),
        *(
            "return matches(row.shown, name) and (not row.high or matches(row.before, name))",
            "return matches(row.shown, name)",
        ),
        (f"{_STORE}/test_subscription.py::test_subscribing_later_loses_nothing",),
    ),
    Fault(
        *("show nothing more when a rewind is over", 3, "gateway/store/apply.py"),
        *("self.state.generation += 1  # views cache what is shown", "pass"),
        (f"{_STORE}/test_subscription.py::test_what_a_rewind_hid_is_seen_when_it_is_over",),
    ),
    Fault(
        *("join what a forgotten site told beyond its cut", 3, "replication/joining.py"),
        *("out=one.name.origin[0] in outs", "out=False"),
        (f"{_CONTRACTS}::test_what_a_forgotten_site_told_beyond_its_cut_is_not_joined",),
    ),
    Fault(
        *("wait for what a forgotten site has beyond its cut", 3, "replication/joining.py"),
        *("min(n, removed[log[0]].counts(log[1])) if log[0] in removed else n", "n"),
        (f"{_CONTRACTS}::test_what_a_forgotten_site_told_beyond_its_cut_is_not_joined",),
    ),
    Fault(
        *("trust a forgotten site's checkpoint", 3, "replication/checkpointing.py"),
        *("if manifest and name.origin[0] not in out]", "if manifest]"),
        ("tests/replication/test_checkpointing.py::test_one_of_a_site_that_was_forgotten_does_not_count",),
    ),
)
