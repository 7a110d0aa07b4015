"""A disk as a crash may leave it: replays recorded operations and makes the states that POSIX allows after any of them.

What is promised: a file's bytes up to its last sync, a directory's names up to its last sync. Everything later may be
there, not be there, be there in part, or be there as zeros, sector by sector and in no order. Names of one directory
come back in order (a journal), so a state keeps a prefix of the pending ones; data is under no such rule.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

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

SECTOR = 512
PAGE = 4096

Change = Write | Truncate | Punch
Keep = Callable[[Change], Change | None]
"""What becomes of an unsynced operation: itself, a part of it, or None."""

Lost = Callable[["Inode", int], bool]
"""Whether the unsynced bytes of the sector at this offset of a file never reached the disk."""


@dataclass
class Inode:
    """A file's bytes: durable, and what was done since. ``name``: what it was made as."""

    name: str
    durable: bytes = b""
    pending: list[Change] = field(default_factory=list)

    def content(self, keep: Keep, lost: Lost | None = None) -> bytes:
        """The bytes when ``keep`` decides about each pending operation, and then ``lost`` about each dirty sector."""
        data = bytearray(self.durable)
        for operation in self.pending:
            kept = keep(operation)
            if isinstance(kept, Truncate):
                data[kept.size :] = bytes(max(0, kept.size - len(data)))
            elif isinstance(kept, Punch):
                data[kept.offset : kept.offset + kept.size] = bytes(len(data[kept.offset : kept.offset + kept.size]))
            elif kept is not None:
                data.extend(bytes(max(0, kept.offset - len(data))))
                data[kept.offset : kept.offset + len(kept.data)] = kept.data
        if lost is not None:
            for sector in range(0, len(data), SECTOR):
                if lost(self, sector):
                    old = self.durable[sector : sector + SECTOR]
                    size = len(data[sector : sector + SECTOR])
                    data[sector : sector + SECTOR] = old[:size] + bytes(max(0, size - len(old)))
        return bytes(data)


@dataclass
class Directory:
    """A directory's names: durable, and what was done since. A value is an inode number, or None for a directory."""

    durable: dict[str, int | None] = field(default_factory=dict)
    pending: list[tuple[str, str, int | None]] = field(default_factory=list)

    def names(self, count: int) -> dict[str, int | None]:
        """The names when the first ``count`` pending changes made it."""
        names = dict(self.durable)
        for what, name, value in self.pending[:count]:
            if what == "unlink":
                names.pop(name, None)
            elif what == "rename":
                old, _, new = name.partition("\0")
                if old in names:
                    names[new] = names.pop(old)
            else:
                names[name] = value
        return names


@dataclass(frozen=True)
class State:
    """One state of the disk: where in the record it is, what it is like, and its files by relative path."""

    at: int
    what: str
    files: dict[str, bytes]
    directories: tuple[str, ...]

    def write_to(self, target: Path) -> None:
        """Make it real in an empty directory."""
        for name in self.directories:
            (target / name).mkdir(mode=0o700)
        for name, data in self.files.items():
            (target / name).write_bytes(data)
            (target / name).chmod(0o600)


class Disk:
    """The disk under ``root``, as the record tells it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.inodes: dict[int, Inode] = {}
        self.directories: dict[Path, Directory] = {root: Directory()}

    def apply(self, operation: Operation) -> None:
        """Take in one operation."""
        match operation:
            case Create(path, inode):
                self.inodes[inode] = Inode(path.name)
                self._of(path).pending.append(("link", path.name, inode))
            case MakeDirectory(path):
                self.directories[path] = Directory()
                if path != self.root:
                    self._of(path).pending.append(("link", path.name, None))
            case Write(inode, _, _) | Truncate(inode, _) | Punch(inode, _, _):
                self.inodes[inode].pending.append(operation)
            case Sync(inode, later):
                node = self.inodes[inode]
                covered = len(node.pending) - later
                rest, node.pending = node.pending[covered:], node.pending[:covered]
                node.durable, node.pending = node.content(_keep_all), rest
            case SyncDirectory(path):
                directory = self.directories.setdefault(path, Directory())
                directory.durable, directory.pending = directory.names(len(directory.pending)), []
            case Rename(source, target):
                if source.parent == target.parent:
                    self._of(source).pending.append(("rename", f"{source.name}\0{target.name}", None))
                else:  # worse than any file system in use: either name may be durable without the other
                    names = self._of(source).names(len(self._of(source).pending))
                    self._of(source).pending.append(("unlink", source.name, None))
                    self._of(target).pending.append(("link", target.name, names[source.name]))
            case Link(source, target):
                names = self._of(source).names(len(self._of(source).pending))
                self._of(target).pending.append(("link", target.name, names[source.name]))
            case Unlink(path):
                self._of(path).pending.append(("unlink", path.name, None))
            case _:
                pass

    def _of(self, path: Path) -> Directory:
        return self.directories.setdefault(path.parent, Directory())

    def state(
        self,
        at: int,
        what: str,
        keep: Keep,
        names_kept: Callable[[Directory], int],
        lost: Lost | None = None,
    ) -> State:
        """The state in which ``keep`` decided about data, ``names_kept`` how many pending names a directory has."""
        files: dict[str, bytes] = {}
        made: list[str] = []
        todo = [self.root]
        while todo:
            path = todo.pop()
            directory = self.directories.get(path, Directory())
            for name, inode in directory.names(names_kept(directory)).items():
                relative = str((path / name).relative_to(self.root))
                if inode is None:
                    made.append(relative)
                    todo.append(path / name)
                else:
                    files[relative] = self.inodes[inode].content(keep, lost)
        return State(at, what, files, tuple(made))


def _all_names(directory: Directory) -> int:
    return len(directory.pending)


def _no_names(_: Directory) -> int:
    return 0


def _keep_all(operation: Change) -> Change | None:
    return operation


def _drop_all(_: Change) -> Change | None:
    return None


def _tear(last: Operation, size: int, *, zeros: bool = False) -> Keep:
    """Keep everything, but of the write ``last`` only its first ``size`` bytes (the rest as zeros if ``zeros``)."""

    def keep(operation: Change) -> Change | None:
        if operation is not last or not isinstance(operation, Write):
            return operation
        rest = bytes(len(operation.data) - size) if zeros else b""
        return Write(operation.inode, operation.offset, operation.data[:size] + rest)

    return keep


def _outside(last: Write) -> Lost:
    """Only the sectors of ``last`` made it: what was written before it, elsewhere in the file, did not."""
    first, end = last.offset // SECTOR * SECTOR, last.offset + len(last.data)
    return lambda inode, sector: last in inode.pending and not first <= sector < end


def _every_other(parity: int) -> Lost:
    """Dirty pages are written back in no order: of each file, every other one is lost."""
    return lambda inode, sector: bool(inode.pending) and sector // PAGE % 2 == parity


INDEX = "data.mdb"
_META_PAGES = 2


def _of_index(lose: Callable[[int], bool], *, others: bool = False) -> Lost:
    """Of the index file, the dirty sectors that ``lose`` names by offset; of other files all (``others``) or none."""

    def lost(inode: Inode, sector: int) -> bool:
        return bool(inode.pending) and (lose(sector) if inode.name == INDEX else others)

    return lost


def _by_chance(seed: int, size: int) -> Callable[[int], bool]:
    """Half of the pages (or sectors: ``size``), another half for each seed."""
    return lambda offset: zlib.crc32(b"%d %d" % (seed, offset // size)) & 1 == 1


def _index_variants(at: int) -> list[tuple[str, Keep, Callable[[Directory], int], Lost | None]]:
    """What may become of the index' unsynced pages beside the log's and the segments' unsynced bytes."""
    losses: list[tuple[str, Lost]] = [
        ("index lost, the rest kept", _of_index(lambda _: True)),
        ("index kept, the rest lost", _of_index(lambda _: False, others=True)),
        ("of the index only the meta pages kept", _of_index(lambda offset: offset >= _META_PAGES * PAGE)),
        ("of the index only the meta pages lost", _of_index(lambda offset: offset < _META_PAGES * PAGE)),
        ("index pages lost by chance", _of_index(_by_chance(at, PAGE))),
        ("index pages lost by chance, the rest lost", _of_index(_by_chance(at + 1, PAGE), others=True)),
        ("index sectors lost by chance", _of_index(_by_chance(at, SECTOR))),
        ("every other index sector lost", _of_index(lambda offset: offset // SECTOR % 2 == 1)),
    ]
    return [(what, _keep_all, _all_names, lost) for what, lost in losses]


def crash_states(operations: Sequence[Operation], root: Path) -> Iterator[State]:
    """Every distinct state after each operation, with a few kinds of loss; ``at`` counts the operations before it."""
    disk = Disk(root)
    seen: set[int] = set()
    notes = 0
    for at, operation in enumerate(operations, start=1):
        disk.apply(operation)
        notes += isinstance(operation, Note)  # the same disk is another state once more was promised
        variants: list[tuple[str, Keep, Callable[[Directory], int], Lost | None]] = [
            ("everything kept", _keep_all, _all_names, None),
            ("everything unsynced lost", _drop_all, _no_names, None),
            ("names kept, unsynced data lost", _drop_all, _all_names, None),
            ("data kept, unsynced names lost", _keep_all, _no_names, None),
            ("even pages lost", _keep_all, _all_names, _every_other(0)),
            ("odd pages lost", _keep_all, _all_names, _every_other(1)),
        ]
        if isinstance(operation, Write):
            size = len(operation.data)
            for cut in sorted({1, size // 2 // SECTOR * SECTOR, (size - 1) // SECTOR * SECTOR, size - 1} - {0, size}):
                variants.append((f"last write torn at {cut}", _tear(operation, cut), _all_names, None))
            variants.append(("last write zeros", _tear(operation, 0, zeros=True), _all_names, None))
            variants.append(("last write half zeros", _tear(operation, size // 2, zeros=True), _all_names, None))
            variants.append(("only the last write kept", _keep_all, _all_names, _outside(operation)))
        if any(node.name == INDEX and node.pending for node in disk.inodes.values()):
            variants += _index_variants(at)
        for what, keep, names_kept, lost in variants:
            state = disk.state(at, what, keep, names_kept, lost)
            mark = hash((notes, tuple(sorted(state.files.items())), state.directories))
            if mark not in seen:
                seen.add(mark)
                yield state
