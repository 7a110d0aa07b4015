"""No promise and no bad day without a planted fault that its test notices: the README's table, and RELIABILITY's.

Both tables are read as they are written for people. That the faults are really noticed is what ``make planted`` runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.planted.faults import FAULTS
from tests.planted.planting import ROOT

BY_NAME = {fault.name: fault for fault in FAULTS}
TEST = re.compile(r"`(tests/[\w/]+\.py(?:::\w+)?)`")


def read_rows(file: str, head: str) -> Iterator[list[str]]:
    """Cells of the table that begins with this row."""
    lines = (ROOT / file).read_text().splitlines()
    at = lines.index(head) + 2
    while at < len(lines) and lines[at].startswith("|"):
        yield [cell.strip() for cell in lines[at].strip("|").split("|")]
        at += 1


PROMISES = list(read_rows("README.md", "| promise | fails if it is false |"))
BAD_DAYS = list(
    read_rows("tests/RELIABILITY.md", "| bad day | fails if it is not survived | planted fault |"),
)


def exists(test: str) -> bool:
    file, _, name = test.partition("::")
    path = ROOT / file
    return path.exists() and (not name or re.search(rf"def {name}\b", path.read_text()) is not None)


def test_the_tables_are_whole() -> None:
    assert len(PROMISES) == 8
    assert len(BAD_DAYS) > 40


@pytest.mark.parametrize("row", PROMISES, ids=lambda row: row[0][:40])
def test_each_test_of_a_promise_notices_a_fault(row: list[str]) -> None:
    tests = TEST.findall(row[1])
    assert tests
    for test in tests:
        assert exists(test), test
        assert any(test in fault.tests for fault in FAULTS), f"no planted fault names {test}"


@pytest.mark.parametrize("row", BAD_DAYS, ids=lambda row: row[0][:40])
def test_each_test_of_a_bad_day_notices_a_fault(row: list[str]) -> None:
    tests, names = TEST.findall(row[1]), [name.strip() for name in row[2].split(";")]
    assert tests
    assert set(names) <= BY_NAME.keys(), set(names) - BY_NAME.keys()
    noticed = {test.partition("::")[0] for name in names for test in BY_NAME[name].tests}
    for test in tests:
        assert exists(test), test
        assert test.partition("::")[0] in noticed, f"none of {names} names {test}"
