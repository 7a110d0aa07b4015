"""The file calls of a whole process, LMDB's own among them, recorded by strace and told as ``recording_files`` tells.

Stands where ``RecordingFiles`` stands, for what does not pass through ``Files``: the index' pages and its meta pages,
its growth, key objects. One trace has the calls of all threads in the order in which they ended; a sync covers what
had ended when it began. What lies in ``run/`` and LMDB's lock file is memory, not disk: a crash takes it away.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from tests.crash.recording_files import (
    Create,
    Link,
    MakeDirectory,
    Note,
    Operation,
    Punch,
    Rename,
    Sync,
    SyncDirectory,
    Truncate,
    Unlink,
    Write,
)
from tests.crash.workloads import Step

STRACE: Final = shutil.which("strace")
WHY_NOT: Final = "strace is not installed: the index' own writes cannot be recorded"
CALLS: Final = (
    "openat,close,lseek,write,writev,pwrite64,pwritev,pwritev2,fdatasync,fsync,msync,sync_file_range,ftruncate,"
    "fallocate,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,rmdir"
)
_TIMEOUT_S: Final = 120
_LINE: Final = re.compile(r"^(\d+) +(.*)$")
_CALL: Final = re.compile(r"^(\w+)\((.*)\) += (-?\d+|\?)")
_RESUMED: Final = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$", re.DOTALL)
_STRING: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_UNFINISHED: Final = " <unfinished ...>"
_VOLATILE: Final = ("run", "index/lock.mdb", "index-rebuild/lock.mdb")


def trace(command: list[str], output: Path) -> None:
    """Run a command under strace; ``AssertionError`` with what it said if it fails."""
    assert STRACE is not None, WHY_NOT
    tracing = [STRACE, "-f", "-qq", "-xx", "-s", str(1 << 24), "-e", "abbrev=none", "-e", f"trace={CALLS}"]
    done = subprocess.run(
        [*tracing, "-o", str(output), *command], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def trace_python(module: str, arguments: Iterable[str], output: Path) -> None:
    """Run one of our modules under strace, without the noise of compiled files."""
    trace([sys.executable, "-B", "-m", module, *arguments], output)


class TraceReader:
    """Turns a trace's lines into operations on the files below ``root``; what is written to ``notes`` into notes."""

    def __init__(self, root: Path, notes: Path) -> None:
        self._root, self._notes = root, notes
        self.operations: list[Operation] = []
        self._inodes = 0
        self._by_path: dict[Path, int] = {}
        self._by_fd: dict[int, Path | int] = {}  # a directory or the notes, or the inode of a file
        self._position: dict[int, int] = {}
        self._begun: dict[str, tuple[str, int]] = {}  # thread -> what it was doing, and how much had ended by then
        self.names: dict[int, str] = {}

    def read(self, lines: Iterable[str]) -> list[Operation]:
        """All operations, in order."""
        for line in lines:
            self._read_line(line.rstrip("\n"))
        return self.operations

    def _read_line(self, line: str) -> None:
        matched = _LINE.match(line)
        assert matched is not None, line[:200]
        thread, text = matched[1], matched[2]
        if text.endswith(_UNFINISHED):
            self._begun[thread] = (text.removesuffix(_UNFINISHED), len(self.operations))
            return
        at = len(self.operations)
        if resumed := _RESUMED.match(text):
            begun, at = self._begun.pop(thread)
            text = begun + resumed[2]
        if (call := _CALL.match(text)) and not call[3].startswith(("-", "?")):
            self._take(call[1], call[2], int(call[3]), at)

    def _take(self, name: str, arguments: str, result: int, at: int) -> None:
        take = getattr(self, f"_take_{name}", None)
        assert take is not None, f"{name} is traced, but not understood"
        take(arguments, result, at)

    def _is_ours(self, path: Path) -> bool:
        if not path.is_relative_to(self._root):
            return False
        relative = str(path.relative_to(self._root))
        return not any(relative == name or relative.startswith(name + "/") for name in _VOLATILE)

    def _inode(self, arguments: str) -> int | None:
        found = self._by_fd.get(int(arguments.partition(",")[0]))
        return found if isinstance(found, int) else None

    # names

    def _take_openat(self, arguments: str, result: int, at: int) -> None:
        path = Path(os.fsdecode(_strings(arguments)[0]))
        self._by_fd.pop(result, None)
        self._position[result] = 0
        if path == self._notes or (self._is_ours(path) and "O_DIRECTORY" in arguments):
            self._by_fd[result] = path
        elif self._is_ours(path) and ("O_CREAT" in arguments or path in self._by_path):
            if path not in self._by_path:
                self._inodes += 1
                self._by_path[path] = self._inodes
                self.names[self._inodes] = path.name
                self.operations.append(Create(path, self._inodes))
            assert "O_TRUNC" not in arguments or not path.is_relative_to(self._root / "segments")
            self._by_fd[result] = self._by_path[path]
            if "O_TRUNC" in arguments:
                self.operations.append(Truncate(self._by_path[path], 0))

    def _take_close(self, arguments: str, result: int, at: int) -> None:
        self._by_fd.pop(int(arguments), None)

    def _take_mkdir(self, arguments: str, result: int, at: int) -> None:
        path = Path(os.fsdecode(_strings(arguments)[0]))
        if path == self._root or self._is_ours(path):
            self.operations.append(MakeDirectory(path))

    def _take_rmdir(self, arguments: str, result: int, at: int) -> None:
        assert not self._is_ours(Path(os.fsdecode(_strings(arguments)[0]))), "removing directories is not modelled"

    def _take_rename(self, arguments: str, result: int, at: int) -> None:
        source, target = (Path(os.fsdecode(name)) for name in _strings(arguments))
        if source in self._by_path:
            self._by_path[target] = self._by_path.pop(source)
            self.operations.append(Rename(source, target))

    _take_renameat = _take_renameat2 = _take_rename

    def _take_link(self, arguments: str, result: int, at: int) -> None:
        source, target = (Path(os.fsdecode(name)) for name in _strings(arguments))
        if source in self._by_path:
            self._by_path[target] = self._by_path[source]
            self.operations.append(Link(source, target))

    _take_linkat = _take_link

    def _take_unlink(self, arguments: str, result: int, at: int) -> None:
        path = Path(os.fsdecode(_strings(arguments)[0]))
        if self._by_path.pop(path, None) is not None:
            self.operations.append(Unlink(path))

    def _take_unlinkat(self, arguments: str, result: int, at: int) -> None:
        self._take_unlink(arguments, result, at)

    # bytes

    def _take_lseek(self, arguments: str, result: int, at: int) -> None:
        self._position[int(arguments.partition(",")[0])] = result

    def _write(self, arguments: str, result: int, offset: int) -> None:
        fd = int(arguments.partition(",")[0])
        data = b"".join(_strings(arguments))[:result]
        assert len(data) == result, "the trace is cut short"
        if self._by_fd.get(fd) == self._notes:
            what, key, value = json.loads(data)
            self.operations.append(Note(what, Step(key, value)))
        elif (inode := self._inode(arguments)) is not None:
            self.operations.append(Write(inode, offset, data))

    def _take_write(self, arguments: str, result: int, at: int) -> None:
        fd = int(arguments.partition(",")[0])
        if fd in self._by_fd:
            self._write(arguments, result, self._position.get(fd, 0))
            self._position[fd] = self._position.get(fd, 0) + result

    _take_writev = _take_write

    def _take_pwrite64(self, arguments: str, result: int, at: int) -> None:
        if int(arguments.partition(",")[0]) in self._by_fd:
            self._write(arguments, result, int(arguments.rpartition(",")[2]))

    _take_pwritev = _take_pwrite64

    def _take_pwritev2(self, arguments: str, result: int, at: int) -> None:
        self._take_pwrite64(arguments.rpartition(",")[0], result, at)

    def _take_ftruncate(self, arguments: str, result: int, at: int) -> None:
        if (inode := self._inode(arguments)) is not None:
            self.operations.append(Truncate(inode, int(arguments.rpartition(",")[2])))

    def _take_fallocate(self, arguments: str, result: int, at: int) -> None:
        if (inode := self._inode(arguments)) is not None:
            assert "PUNCH_HOLE" in arguments, arguments[:100]
            _, _, offset, size = arguments.split(",")
            self.operations.append(Punch(inode, int(offset), int(size)))

    def _take_fdatasync(self, arguments: str, result: int, at: int) -> None:
        if (inode := self._inode(arguments)) is not None:
            changes = (Write, Truncate, Punch)
            later = [op for op in self.operations[at:] if isinstance(op, changes) and op.inode == inode]
            self.operations.append(Sync(inode, len(later)))
        elif isinstance(path := self._by_fd.get(int(arguments.partition(",")[0])), Path):
            self.operations.append(SyncDirectory(path))

    _take_fsync = _take_fdatasync

    def _take_msync(self, arguments: str, result: int, at: int) -> None:
        raise AssertionError("nothing durable is written through a map")

    _take_sync_file_range = _take_msync


def _strings(arguments: str) -> list[bytes]:
    """Every quoted string among a call's arguments."""
    return [bytes.fromhex(found.replace("\\x", "")) for found in _STRING.findall(arguments)]


def read_trace(output: Path, root: Path, notes: Path) -> tuple[list[Operation], dict[int, str]]:
    """The operations of a trace, and the name each inode was made with."""
    reader = TraceReader(root, notes)
    return reader.read(_lines(output)), reader.names


def _lines(output: Path) -> Iterator[str]:
    with output.open() as file:
        yield from (line for line in file if "+++ " not in line and "--- SIG" not in line)
