"""The model of a crashing disk, checked by hand on small records: a test of the tests."""

from __future__ import annotations

from pathlib import Path

from tests.crash.crash_states import State, crash_states
from tests.crash.recording_files import RecordingFiles


def record(tmp_path: Path) -> tuple[RecordingFiles, Path]:
    root = tmp_path / "disk"
    root.mkdir()
    return RecordingFiles(), root


def states_at_end(files: RecordingFiles, root: Path) -> list[State]:
    return [state for state in crash_states(files.operations, root) if state.at == len(files.operations)]


def test_unsynced_data_and_names_may_each_be_lost(tmp_path: Path) -> None:
    files, root = record(tmp_path)
    fd = files.create(root / "a")
    files.append(fd, 0, [b"x" * 1000])
    contents = {state.files.get("a") for state in states_at_end(files, root)}
    files.close(fd)
    assert {b"x" * 1000, b"x", b"x" * 512, b"x" * 999, bytes(1000)} <= contents
    everything = [state.files.get("a") for state in crash_states(files.operations, root)]
    assert None in everything
    assert b"" in everything


def test_synced_data_stays_but_its_name_may_go(tmp_path: Path) -> None:
    files, root = record(tmp_path)
    fd = files.create(root / "a")
    files.append(fd, 0, [b"durable"])
    files.fdatasync(fd)
    files.close(fd)
    kept = [s for s in crash_states([*files.operations], root) if s.at >= 2]
    assert any("a" not in s.files for s in crash_states(files.operations, root))
    files.sync_directory(root)
    files.note("acknowledged", "a")
    # With name and data synced there is one state only, and it was seen before the note.
    assert all(s.files == {"a": b"durable"} for s in crash_states(files.operations, root) if s.at >= 4)
    assert any(s.files == {"a": b"durable"} for s in kept)


def test_a_lost_directory_takes_its_files_along(tmp_path: Path) -> None:
    files, root = record(tmp_path)
    files.make_directory(root / "d")
    fd = files.create(root / "d" / "a")
    files.append(fd, 0, [b"1"])
    files.fdatasync(fd)
    files.sync_directory(root / "d")
    files.close(fd)
    found = [state.files for state in crash_states(files.operations, root)]
    assert {} in found
    assert {"d/a": b"1"} in found


def test_replacing_a_file_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    files, root = record(tmp_path)
    files.write_file_durably(root / "stamp", b"old")
    begin = len(files.operations)
    files.write_file_durably(root / "stamp", b"new")
    for state in crash_states(files.operations, root):
        if state.at > begin:
            assert state.files["stamp"] in (b"old", b"new")


def test_a_replacement_without_a_sync_can_leave_an_empty_file(tmp_path: Path) -> None:
    files, root = record(tmp_path)
    files.write_file_durably(root / "stamp", b"old")
    fd = files.create(root / "stamp.new")
    files.append(fd, 0, [b"new"])
    files.close(fd)
    files.rename(root / "stamp.new", root / "stamp")
    assert b"" in {state.files["stamp"] for state in crash_states(files.operations, root) if "stamp" in state.files}


def test_states_can_be_made_real(tmp_path: Path) -> None:
    files, root = record(tmp_path)
    files.make_directory(root / "d")
    files.write_file_durably(root / "d" / "a", b"1")
    state = [s for s in crash_states(files.operations, root) if s.files][-1]
    target = tmp_path / "copy"
    target.mkdir()
    state.write_to(target)
    assert {str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()} == state.files
