"""Crash states with the index' own writes among them: LMDB's pages and meta pages, its growth, and key objects.

A process runs each workload under strace; what it wrote is told call by call (``traced_files``), so a power cut may
take, keep, tear or reorder the index' pages in every combination with the log's and the segments' bytes. A rebuild of
the index, holes in log segments and key objects are cut in the same way. Each state: opens (rebuilding the index by
itself where its tree is broken), has all it promised and nothing half done, verifies, equals its rebuilt index, lives
on. ``SKERRY_CRASH_STATES=0`` takes all states, ``SKERRY_CRASH_SEED`` repeats a choice.
"""

from __future__ import annotations

import os
import pickle
import random
import secrets
import shutil
from pathlib import Path

import pytest

from gateway.store.index_pages import TreeBroken, check_index_file
from tests.crash.crash_states import INDEX, State, crash_states
from tests.crash.recording_files import Note, Operation, Punch, Rename, Sync, Unlink, Write
from tests.crash.test_store_crashes import live_on, promised
from tests.crash.traced_files import STRACE, WHY_NOT, read_trace, trace_python
from tests.crash.traced_lives import LIVES
from tests.crash.workloads import WORKLOADS
from tests.gateway.store.held_frames import HeldFrames

STATES_MAX = int(os.environ.get("SKERRY_CRASH_STATES", "5"))
pytestmark = pytest.mark.skipif(STRACE is None, reason=WHY_NOT)


def record_traced(name: str, directory: Path, seed: int) -> tuple[list[Operation], Path, HeldFrames, dict[int, str]]:
    """Run a workload under strace: its operations, its root, what the cloud holds, names of inodes."""
    root, notes, held, output = (directory / part for part in ("recorded", "notes", "held", "trace"))
    trace_python("tests.crash.traced_workload", [name, str(seed), str(root), str(notes), str(held)], output)
    operations, names = read_trace(output, root, notes)
    cloud = HeldFrames()
    cloud.frames = pickle.loads(held.read_bytes())
    return operations, root, cloud, names


def is_tree_whole(index: bytes, root: Path) -> bool:
    """Whether the walk over an index file finds nothing wrong with it."""
    (root / "walked").write_bytes(index)
    with (root / "walked").open("rb") as file:
        try:
            check_index_file(file.fileno(), len(index))
        except TreeBroken:
            return False
        finally:
            (root / "walked").unlink()
    return True


async def check_traced(name: str, state: State, operations: list[Operation], root: Path, cloud: HeldFrames) -> bool:
    """One state: whether the index was rebuilt at opening.

    Once something was acknowledged, the tree on the disk is whole, whatever a power cut takes (unless it is that of a
    rebuild under way, or the disk made zeros of the meta page it was writing).
    """
    allowed = promised(operations, state.at)
    root.mkdir(mode=0o700)
    state.write_to(root)
    index = state.files.get(f"index/{INDEX}")
    try:
        if (
            index
            and name != "rebuilt"
            and "zeros" not in state.what
            and any(isinstance(op, Note) for op in operations[: state.at])
        ):
            assert is_tree_whole(index, root), f"after operation {state.at}, {state.what}: a broken tree"
        if not (root / "format.toml").exists():
            assert not allowed
            return False
        return await live_on(root, allowed, f"after operation {state.at}, {state.what}", cloud)
    finally:
        shutil.rmtree(root)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", [*WORKLOADS, *LIVES])
async def test_every_state_of_index_and_log_keeps_its_promises(name: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("SKERRY_CRASH_SEED") or secrets.randbits(32))
    operations, root, cloud, names = record_traced(name, tmp_path, seed)
    of_index = [op for op in operations if isinstance(op, Write | Sync) and names[op.inode] == INDEX]
    assert len([op for op in of_index if isinstance(op, Sync)]) > 3, "the index' own calls are not in the trace"
    assert any(isinstance(op, Punch) for op in operations) == (name == "punched")
    assert name != "sealed" or sum(isinstance(op, Unlink) for op in operations) >= 2, "nothing was given back"
    states = list(crash_states(operations, root))
    chosen = states if not STATES_MAX else random.Random(seed).sample(states, min(STATES_MAX, len(states)))
    rebuilt = 0
    for number, state in enumerate(chosen):
        rebuilt += await check_traced(name, state, operations, tmp_path / f"state-{number}", cloud)
    notes = sum(isinstance(op, Note) for op in operations)
    print(
        f"{name}: {len(operations) - notes} calls, {len(of_index)} of them the index' own, {len(states)} states, "
        f"{len(chosen)} looked at, {rebuilt} rebuilt by themselves; seed {seed}"
    )


@pytest.mark.timeout(300)
async def test_no_rebuilt_index_is_believed_before_it_is_whole_on_the_disk(tmp_path: Path) -> None:
    """Around the moment at which a rebuilt index takes the old one's place: all states, each time."""
    operations, root, cloud, _ = record_traced("rebuilt", tmp_path, 11)
    swaps = [at for at, op in enumerate(operations, 1) if isinstance(op, Rename) and op.target.name == INDEX]
    assert len(swaps) == 1
    states = [state for state in crash_states(operations, root) if swaps[0] <= state.at <= swaps[0] + 2]
    assert len(states) > 2
    for number, state in enumerate(states):
        await check_traced("rebuilt", state, operations, tmp_path / f"state-{number}", cloud)
