"""The short form of ``make planted``: the list has not rotted, and a few faults of it, by chance, are noticed."""

from __future__ import annotations

import random
import secrets
from pathlib import Path

import pytest

from tests.planted.fault import Fault
from tests.planted.faults import FAULTS
from tests.planted.planting import ROOT, Copy, check_text
from tests.planted.promise_faults import PROMISE_FAULTS

SAMPLE = 3


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_fault_can_be_planted(fault: Fault) -> None:
    assert check_text(fault) is None


def test_the_list_is_worth_its_name() -> None:
    assert len(FAULTS) >= 20
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert {fault.promise for fault in FAULTS} == set(range(9))
    assert all((ROOT / test.partition("::")[0]).exists() for fault in FAULTS for test in fault.tests)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_some_faults_are_noticed(tmp_path: Path) -> None:
    seed = secrets.randbits(32)
    chosen = random.Random(seed).sample([fault for fault in FAULTS if fault not in PROMISE_FAULTS], SAMPLE)
    print(f"seed {seed}: {[fault.name for fault in chosen]}")
    copy = Copy(tmp_path / "tree")
    copy.check_sound(chosen)
    for fault in chosen:
        verdict = copy.try_fault(fault)
        assert verdict.caught, f"{fault.name} survived {fault.tests}:\n{verdict.said}"


def test_a_harmless_edit_survives(tmp_path: Path) -> None:
    """The test of the tests: what breaks nothing is not said to be caught."""
    test = "tests/replication/test_crdt.py::test_concurrent_writes_are_both_kept"
    harmless = Fault("harmless", 3, "replication/crdt.py", "EMPTY = Entry()", "EMPTY = Entry((), frozenset())", (test,))
    assert not Copy(tmp_path / "tree").try_fault(harmless).caught
