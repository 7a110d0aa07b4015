"""Progress where a person waits: a bar on standard error if that is a terminal, nothing otherwise."""

from __future__ import annotations

import sys
from types import TracebackType

from tqdm import tqdm


class Progress:
    """A bar that counts ``unit``s. A context manager; ``total`` may be learnt late, or never."""

    def __init__(self, what: str, unit: str = "B", total: int | None = None) -> None:
        self._bar = tqdm(
            desc=what,
            total=total,
            unit=unit,
            unit_scale=True,
            unit_divisor=1024 if unit == "B" else 1000,
            file=sys.stderr,
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.close()

    def advance(self, count: int) -> None:
        """So much more is done."""
        self._bar.update(count)

    def reach(self, done: int, total: int | None = None) -> None:
        """So much is done by now, of so much."""
        if total is not None:
            self._bar.total = total
        self._bar.update(done - self._bar.n)
