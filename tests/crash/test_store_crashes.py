"""Every crash state of small workloads: the store opens, has all it promised, and nothing it did not.

Each state is looked at with the index as it was, as it was one commit earlier (a power cut may take the newest, no
other: the sync of a commit makes the one before it durable), and deleted. Then it lives on: writes, loses its index,
and must still have everything. There are thousands of states; a random part of them is taken, by a printed seed.
``SKERRY_CRASH_STATES=0`` takes all, ``SKERRY_CRASH_SEED`` repeats a choice.
"""

from __future__ import annotations

import os
import random
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest

from gateway.store.index import Transaction
from gateway.store.index_format import State as StateRow
from gateway.store.logical_dump import Row
from replication.keys import read_key_directory
from tests.crash.crash_states import State, crash_states
from tests.crash.open_store import dump_store, open_store
from tests.crash.recording_files import Note, Operation, RecordingFiles, Unlink
from tests.crash.workloads import KEY_OBJECT, WORKLOADS, Step, Value, Writer, current_documents, current_records, digest
from tests.gateway.store.held_frames import HeldFrames

STATES_MAX = int(os.environ.get("SKERRY_CRASH_STATES", "10"))
INDEX_NAME = "data.mdb"
UNTOUCHED_BY_REISSUE = ("names", "counts", "uploads", "bucket_uploads", "parts", "chunks")


@dataclass(frozen=True)
class Record:
    """A workload's run: what was done to which directory."""

    operations: list[Operation]
    root: Path
    cloud: HeldFrames


async def record_workload(name: str, directory: Path, seed: int) -> Record:
    """Run a workload on a store whose file calls are recorded, with the index file noted as each commit left it.

    Every commit counts, also those that log nothing: what collection removes depends on which of them may be lost.
    """
    root = directory / "recorded"
    last = b""

    def note_index(path: Path) -> None:
        """If it changed. On the thread that has the write lock: it appends to the log, and commits."""
        nonlocal last
        index = root / "index" / INDEX_NAME
        if path.suffix == ".log" and index.exists():
            data = index.read_bytes()
            if data != last:
                files.note("index", data)
                last = data

    commit = Transaction.commit

    def commit_and_note(transaction: Transaction) -> None:
        commit(transaction)
        note_index(Path("committed.log"))

    files, cloud = RecordingFiles(before_write=note_index), HeldFrames()
    root.mkdir(mode=0o700)
    with patch.object(Transaction, "commit", commit_and_note):
        async with open_store(root, files, cloud) as store:
            writer = Writer(store, files, seed, cloud)
            await writer.make_bucket()
            await WORKLOADS[name](writer)
    return Record(files.operations, root, cloud)


def promised(operations: Sequence[Operation], at: int) -> dict[str, set[Value]]:
    """What each key may be after the first ``at`` operations: its last acknowledged value, or one still in flight."""
    allowed: dict[str, set[Value]] = {}
    for operation in operations[:at]:
        if isinstance(operation, Note) and isinstance(operation.value, Step):
            step = operation.value
            if operation.what == "begin":
                allowed.setdefault(step.key, {None}).add(step.value)
            else:
                allowed[step.key] = {step.value}
    return allowed


def indexes_before(operations: Sequence[Operation], at: int) -> list[bytes | None]:
    """The index as a crash may leave it: gone, as last committed, as committed before that."""
    noted = [op.value for op in operations[:at] if isinstance(op, Note) and op.what == "index"]
    return [None, *[value for value in noted[-2:] if isinstance(value, bytes)]]


def list_cases(record: Record) -> list[tuple[State, bytes | None]]:
    """Every state with every index that it may have, each once: commits alone leave the other files as they were."""
    cases: dict[tuple[object, ...], tuple[State, bytes | None]] = {}
    for state in crash_states(record.operations, record.root):
        steps = sum(isinstance(op, Note) and isinstance(op.value, Step) for op in record.operations[: state.at])
        for index in indexes_before(record.operations, state.at):
            mark = (steps, hash(frozenset(state.files.items())), state.directories, hash(index))
            cases.setdefault(mark, (state, index))
    return list(cases.values())


@dataclass(frozen=True)
class Contents:
    """What a store holds: key → digest of every current object, and the logical content of its index.

    ``rebuilt``: whether opening had to make the index anew.
    """

    values: dict[str, Value]
    rows: list[Row]
    rebuilt: bool


async def read_store(root: Path, cloud: HeldFrames | None = None) -> Contents:
    """Open what is there, read everything back, verify, close."""
    async with open_store(root, cloud=cloud) as store:
        with store.view() as view:
            records = current_records(view)
            found: dict[str, Value] = {**current_documents(view)}
        for key, record in records.items():
            data = b"".join([piece async for piece in store.read(record.content)])
            assert len(data) == record.size
            found[key] = digest(data)
        found |= {KEY_OBJECT + name: digest(data) for name, data in read_key_directory(root / "keys").items()}
        report = await store.verify()
        assert report.sound, report
        return Contents(found, dump_store(store), store.rebuilt is not None)


def check_promises(found: dict[str, Value], allowed: dict[str, set[Value]], where: str) -> None:
    """Nothing promised is missing, nothing half-done is there."""
    for key in found.keys() | allowed.keys():
        assert found.get(key) in allowed.get(key, set()), f"{where}: {key} is {found.get(key)}, not {allowed.get(key)}"


def remove_index(root: Path) -> None:
    """As an operator would."""
    shutil.rmtree(root / "index")


def check_rebuilt(before: Contents, after: Contents, where: str) -> None:
    """The rebuilt index equals the one it replaces.

    Unless there is a torn tail that no index vouches for: the site then goes on under a new incarnation, as which it
    issues what was not shipped again. Contents, counts, references and uploads are the same even so.
    """
    assert after.values == before.values, f"{where}: another content after rebuilding the index"
    is_new = _incarnation(before) != _incarnation(after)
    tables = UNTOUCHED_BY_REISSUE if is_new else tuple({row[0] for row in (*before.rows, *after.rows)})
    different = {row[:2] for row in _rows(before, tables) ^ _rows(after, tables)}
    assert not different, f"{where}: the rebuilt index differs in {sorted(different)[:5]}"


def _incarnation(contents: Contents) -> bytes:
    return next(value.incarnation for table, _, value in contents.rows if isinstance(value, StateRow))


def _rows(contents: Contents, tables: tuple[str, ...]) -> set[tuple[str, bytes, str]]:
    return {(table, key, repr(value)) for table, key, value in contents.rows if table in tables}


async def check_state(
    state: State, index: bytes | None, allowed: dict[str, set[Value]], root: Path, cloud: HeldFrames
) -> None:
    """One state with one index: first life, rebuilt index, second life, rebuilt index again."""
    root.mkdir(mode=0o700)
    state.write_to(root)
    if not (root / "format.toml").exists():
        assert not allowed  # the very first moments: there is no site yet, and nothing was promised
        shutil.rmtree(root)
        return
    (root / "index").mkdir(exist_ok=True, mode=0o700)
    if index is not None:
        (root / "index" / INDEX_NAME).write_bytes(index)
    shutil.rmtree(root / "run", ignore_errors=True)
    what = f"after operation {state.at}, {state.what}, index {'deleted' if index is None else 'kept'}"
    await live_on(root, allowed, what, cloud)
    shutil.rmtree(root)


async def live_on(root: Path, allowed: dict[str, set[Value]], what: str, cloud: HeldFrames) -> bool:
    """Open what is there: promises, rebuilt index, second life, rebuilt index. Whether opening rebuilt the index."""
    first = await read_store(root, cloud)
    check_promises(first.values, allowed, what)
    remove_index(root)
    check_rebuilt(first, await read_store(root, cloud), what)
    async with open_store(root, cloud=cloud) as store:
        writer = Writer(store, RecordingFiles(), len(first.values))
        await writer.make_bucket()
        await writer.put("second life", 50_000)
        await writer.put("second life, small", 50)
    second = await read_store(root, cloud)
    kept = {key: second.values.get(key) for key in first.values}
    assert kept == first.values, f"{what}: lost in its second life"
    remove_index(root)
    check_rebuilt(second, await read_store(root, cloud), f"{what}, in its second life")
    return first.rebuilt


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", WORKLOADS)
async def test_every_crash_state_keeps_its_promises(name: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("SKERRY_CRASH_SEED") or secrets.randbits(32))
    record = await record_workload(name, tmp_path, seed)
    assert any(isinstance(op, Note) and op.what == "acknowledged" for op in record.operations)
    cases = list_cases(record)
    chosen = cases if not STATES_MAX else random.Random(seed).sample(cases, min(STATES_MAX, len(cases)))
    print(f"{name}: {len(record.operations)} operations, {len(cases)} states, {len(chosen)} looked at; seed {seed}")
    for number, (state, index) in enumerate(chosen):
        allowed = promised(record.operations, state.at)
        await check_state(state, index, allowed, tmp_path / f"state-{number}", record.cloud)


@pytest.mark.timeout(300)
async def test_no_index_that_a_crash_leaves_names_what_collection_removed(tmp_path: Path) -> None:
    """Around each removal of a segment, with every index that there may be then: all of these states, each time."""
    record = await record_workload("collected", tmp_path, 3700950374)
    removed = {at for at, op in enumerate(record.operations, 1) if isinstance(op, Unlink) and op.path.suffix == ".data"}
    assert len(removed) > 1
    for number, (state, index) in enumerate(list_cases(record)):
        if index is not None and removed & {state.at - 1, state.at}:
            allowed = promised(record.operations, state.at)
            await check_state(state, index, allowed, tmp_path / f"state-{number}", record.cloud)
