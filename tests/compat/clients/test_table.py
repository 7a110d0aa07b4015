"""The table itself: the worst outcome counts, a skip hides nothing, and only marked places are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compat.clients.table import BEGIN, END, Table


def test_the_worst_outcome_counts_and_a_skip_hides_nothing() -> None:
    table = Table()
    for outcome in ("passed", "failed", "passed", "skipped"):
        table.add("one", ("small",), outcome)
    table.add("one", ("range", "copy"), "skipped")
    table.add("one", ("range",), "passed")
    header, _, row = table.render().splitlines()
    cells = dict(zip(header.split(" | "), row.split(" | "), strict=True))
    assert (cells["small"], cells["range"], cells["copy"], cells["keys"]) == ("✗", "✓", "s", "–")


def test_it_is_written_between_the_marks_and_nowhere_else(tmp_path: Path) -> None:
    table = Table()
    table.add("one", ("small",), "passed")
    path = tmp_path / "file.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    for _ in range(2):
        table.write(path)
    assert path.read_text(encoding="utf-8") == f"before\n{BEGIN}\n\n{table.render()}\n{END}\nafter\n"
    path.write_text("no marks", encoding="utf-8")
    with pytest.raises(ValueError, match="where the table goes"):
        table.write(path)
