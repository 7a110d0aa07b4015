"""The table client × feature, collected while the tests run.

✓ every test that shows it passed · ✗ one failed · – nothing to show: the client has no such thing, or cannot be told to
· s skipped: the client is not here, or its version cannot. Written into the files that ``SKERRY_COMPAT_TABLE`` names,
between the two lines that mark its place there; without it nothing is written.
"""

from __future__ import annotations

from pathlib import Path

from tests.compat.clients.features import FEATURES

BEGIN, END = "<!-- written by `make compat` -->", "<!-- end of what `make compat` writes -->"
RANK = {"skipped": 0, "passed": 1, "failed": 2}
SIGNS = {"skipped": "s", "passed": "✓", "failed": "✗"}


class Table:
    """Outcomes by client and feature; the worst one of several tests counts, but a skip never hides a pass."""

    def __init__(self) -> None:
        self.cells: dict[str, dict[str, str]] = {}

    def add(self, client: str, features: tuple[str, ...], outcome: str) -> None:
        """One phase of one test: ``outcome`` is passed, failed or skipped."""
        row = self.cells.setdefault(client, {})
        for feature in features:
            row[feature] = max(row.get(feature, "skipped"), outcome, key=RANK.__getitem__)

    def render(self) -> str:
        """GitHub's Markdown; clients by name, features in their order."""
        lines = [
            f"| client | {' | '.join(feature.replace('_', ' ') for feature in FEATURES)} |",
            f"|---|{':-:|' * len(FEATURES)}",
        ]
        for client, row in sorted(self.cells.items(), key=lambda item: item[0].lower()):
            signs = [SIGNS[row[feature]] if feature in row else "–" for feature in FEATURES]
            lines.append(f"| {client} | {' | '.join(signs)} |")
        return "\n".join(lines) + "\n"

    def write(self, path: Path) -> None:
        """Put the table into the file, in place of the one that is there. ``ValueError`` if its place is not marked."""
        text = path.read_text(encoding="utf-8")
        before, begin, rest = text.partition(BEGIN + "\n")
        _, end, after = rest.partition(END)
        if not (begin and end):
            raise ValueError(f"{path} does not say where the table goes: {BEGIN} … {END}")
        path.write_text(f"{before}{begin}\n{self.render()}\n{end}{after}", encoding="utf-8")
