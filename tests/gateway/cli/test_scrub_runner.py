"""The scrub's pace: no faster than it is told to read, a rotation every so many days, whatever the clock does."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.cli import scrub_runner
from gateway.cli.failures import find_failure
from gateway.cli.outcomes import EXIT_FAILED
from gateway.cli.scrub_runner import DAY_MS, STEP_PAUSE_S, run_scrub_forever
from gateway.config import ScrubConfig
from gateway.store.scrub import ScrubState

NOW_MS = 1_700_000_000_000
READ = 10_000_000
STEPS = 3


class Scrubber:
    """Reads ten megabytes a step; the third ends the rotation."""

    def __init__(self, state: ScrubState) -> None:
        self.state, self.steps = state, 0

    async def step(self, now_ms: int) -> int:
        self.steps += 1
        self.state = ScrubState(begun_ms=now_ms, is_under_way=self.steps < STEPS, whole_begun_ms=now_ms)
        return READ


def run(path: Path, monkeypatch: pytest.MonkeyPatch, state: ScrubState, config: ScrubConfig) -> tuple[int, list[float]]:
    """Steps made, and how long it would have waited behind each look, until it waits for its next rotation."""
    waits: list[float] = []
    scrubber, stop, timeout = Scrubber(state), asyncio.Event(), asyncio.timeout

    def wait(seconds: float) -> asyncio.Timeout:
        waits.append(seconds)
        if not scrubber.state.is_under_way:
            stop.set()
        return timeout(0)

    monkeypatch.setattr(scrub_runner, "_now_ms", lambda: NOW_MS)
    monkeypatch.setattr(asyncio, "timeout", wait)
    site = SimpleNamespace(
        config=SimpleNamespace(scrub=config),
        directory=SimpleNamespace(run=path),
        store=SimpleNamespace(scrubber=lambda _: scrubber),
    )
    asyncio.run(run_scrub_forever(site, stop))  # type: ignore[arg-type]
    return scrubber.steps, waits


def test_it_reads_no_faster_than_it_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps, waits = run(tmp_path, monkeypatch, ScrubState(), ScrubConfig(bytes_per_s=1_000_000))
    assert (steps, waits) == (STEPS, [10.0] * STEPS)


def test_without_a_limit_it_lets_others_have_their_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps, waits = run(tmp_path, monkeypatch, ScrubState(), ScrubConfig(bytes_per_s=0))
    assert (steps, waits) == (STEPS, [STEP_PAUSE_S] * STEPS)


@pytest.mark.parametrize(
    ("begun_ms", "steps"),
    [
        (NOW_MS - 8 * DAY_MS, STEPS),
        (NOW_MS - 6 * DAY_MS, 0),
        (NOW_MS + 3000 * DAY_MS, 0),  # told by a clock that was set back since: the next is a week from now, not years
    ],
)
def test_a_rotation_begins_when_it_is_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun_ms: int, steps: int
) -> None:
    state = ScrubState(begun_ms=begun_ms, whole_begun_ms=begun_ms)
    done, waits = run(tmp_path, monkeypatch, state, ScrubConfig(every_days=7))
    assert done == steps
    assert max(waits) <= 7 * DAY_MS / 1000


@pytest.mark.parametrize("name", ["EIO", "ENOSPC", "EDQUOT", "EROFS", "EMFILE", "ENOMEM", "EACCES"])
def test_what_the_system_refuses_is_said_in_a_line(name: str) -> None:
    number = getattr(errno, name)
    found = find_failure(OSError(number, os.strerror(number), "/srv/skerry/segments"))
    assert found == (f"the system refused: {os.strerror(number)}: /srv/skerry/segments", EXIT_FAILED)
    assert find_failure(OSError(errno.EINVAL, "a fault of the program")) is None
