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


class PhaseProgress:
    """Work that comes in named phases, each with a count and perhaps a total: one bar a phase. A context manager."""

    def __init__(self, unit: str = "") -> None:
        self._unit = unit
        self._phase = ""
        self._bar: Progress | None = None

    def __enter__(self) -> PhaseProgress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    def tell(self, phase: str, done: int, total: int) -> None:
        """So much of a phase is done; ``total`` 0: not known."""
        if self._bar is None or phase != self._phase:
            self._close()
            self._phase, self._bar = phase, Progress(phase, self._unit, total or None)
        self._bar.reach(done, total or None)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
