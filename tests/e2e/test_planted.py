"""Planted bugs: for promises 1, 3 and 6, faults that the checks must notice. A check that cannot fail is worth nothing.

The faults of promises 3 and 6 run in real processes, through a tiny island's story; those of promise 1 in this process,
through the crash states.
"""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import pytest

from gateway.store.errors import StoreError
from tests.crash.crash_states import crash_states
from tests.crash.recording_files import RecordingFiles
from tests.crash.test_store_crashes import check_promises, promised, read_store, record_workload
from tests.e2e.planted import sitecustomize
from tests.e2e.story import Scale, Story
from tests.support.clouds import TestCloud
from tests.support.fault_proxy import FaultProxy
from tests.support.zygote import FIRST_VARIABLE

TINY = Scale(files_max=6, big_bytes=1 << 20, big_count=1, round_objects=4, timeout_s=60)


def tell(cloud: TestCloud, proxy: FaultProxy, directory: Path, bug: str) -> None:
    """The story up to the first cut of the link, with a bug in every process of both sites."""
    environment = {"PLANTED_BUG": bug, FIRST_VARIABLE: sitecustomize.__name__}
    story = Story(cloud, directory, TINY, print, proxy, random.Random(1), environment=environment)
    try:
        story.reach("refused")
    finally:
        story.close()


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize(
    ("bug", "said"),
    [
        ("", ""),
        ("drop_the_loser", "conflict|value is lost|is not in"),
        ("advance_the_cursor_before_the_upload", "backlog_changes"),
        ("count_the_backlog_in_memory", "backlog_changes"),
    ],
)
def test_the_story_notices(cloud: TestCloud, proxy: FaultProxy, tmp_path: Path, bug: str, said: str) -> None:
    noticed: Any = pytest.raises(AssertionError, match=said) if bug else contextlib.nullcontext()
    with noticed:
        tell(cloud, proxy, tmp_path, bug)


@pytest.mark.parametrize("bug", ["", "skip_the_file_sync", "skip_the_directory_sync"])
async def test_the_crash_states_notice(bug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losing everything unsynced, at each moment: with a missing sync, some acknowledged write must be missed."""
    if bug == "skip_the_file_sync":
        monkeypatch.setattr(RecordingFiles, "fdatasync", lambda self, fd: None)
    elif bug == "skip_the_directory_sync":
        monkeypatch.setattr(RecordingFiles, "sync_directory", lambda self, path: None)
    record = await record_workload("small puts", tmp_path, 1)
    monkeypatch.undo()
    missed = 0
    for number, state in enumerate(crash_states(record.operations, record.root)):
        if "lost" not in state.what or "format.toml" not in state.files:
            missed += "format.toml" not in state.files and bool(promised(record.operations, state.at))
            continue
        root = tmp_path / f"{number}"
        root.mkdir(mode=0o700)
        state.write_to(root)
        try:
            check_promises((await read_store(root)).values, promised(record.operations, state.at), state.what)
        except (AssertionError, StoreError):
            missed += 1
    assert bool(missed) == bool(bug)
