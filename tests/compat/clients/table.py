"""The table client × feature, collected while the tests run.

✓ every test that shows it passed · ✗ one failed · – nothing to show: the client has no such thing (or it is not tested)
· s skipped: the client is not here. Written where ``SKERRY_COMPAT_TABLE`` says; without it nothing is written.
"""

from __future__ import annotations

from pathlib import Path

from tests.compat.clients.features import FEATURES

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
            f"| client | {' | '.join(FEATURES.values())} |",
            f"|---|{':-:|' * len(FEATURES)}",
        ]
        for client, row in sorted(self.cells.items(), key=lambda item: item[0].lower()):
            signs = [SIGNS[row[feature]] if feature in row else "–" for feature in FEATURES]
            lines.append(f"| {client} | {' | '.join(signs)} |")
        return "\n".join(lines) + "\n"

    def write(self, path: Path) -> None:
        """The table with the words that explain it."""
        path.write_text(
            "<!-- written by `make compat` -->\n\n"
            "✓ works · ✗ fails · – the client has no such thing, or cannot be told to · s not run\n\n" + self.render(),
            encoding="utf-8",
        )
