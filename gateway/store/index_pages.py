"""The index' file as pages: is the tree that its newest meta page names whole? Read without the engine.

    page    u64 page number · u64 transaction · u16 pad · u16 flags · u16 lower · u16 upper     (24 bytes; overflow
            pages have u32 count in place of lower and upper), then u16 offsets of nodes, nodes from the end
    node    u16 size low · u16 size high · u16 flags · u16 key size · key to an even size · data; in branches the first
            three words are the child's page number; big data: u64 page · u64 transaction · u64 count
    meta    page header · u32 magic BEEFC0DE · u32 version 3 · u64 · u64 map size · 2 trees (free, main) · u64 last
            page · u64 transaction
    tree    u32 pad (of the first: page size) · u16 flags · u16 depth · u64 branch, leaf, overflow pages, entries, root

(LMDB 1.0, which ``index`` uses.) Stands beside ``index`` and is asked before it, when the machine may have ended badly:
an engine that follows a broken branch page reads whatever is there, or ends the process. What a power cut may take
leaves a whole tree, or none (``tests/crash/test_traced_crashes.py``); a disk that acknowledges what it has not written
may leave anything, and values' checksums say nothing of branch pages.

Found: pages that are not what their parent takes them for (number, kind, depth, newer than the meta page), nodes
outside their page, keys out of their parent's bounds, a page in two places or free and in use, counts that differ,
keys and values that are not what was written (a key that was changed where it lies is not found any more, and nothing
says so), tables of names that nobody gives (whoever asks for the right one would get an empty table). Not here: a page
that is merely old, and fits where it stands.
"""

from __future__ import annotations

import mmap
from struct import Struct
from struct import error as StructError
from typing import Final, NamedTuple

import google_crc32c

from gateway.store.index_format import SCRATCH_TABLES, TABLES

_PAGE: Final = Struct("<QQHHHH")
_META: Final = Struct("<IIQQ48s48sQQ")
_TREE: Final = Struct("<IHHQQQQQ")
_NODE: Final = Struct("<HHHH")
_BIG: Final = Struct("<QQQ")
_U64: Final = Struct("<Q")
PAGE_HEADER_SIZE: Final = 24
NODE_HEADER_SIZE: Final = 8
TREE_SIZE: Final = 48
assert (_PAGE.size, _NODE.size, _TREE.size) == (PAGE_HEADER_SIZE, NODE_HEADER_SIZE, TREE_SIZE)

MAGIC: Final = 0xBEEFC0DE
VERSION: Final = 3
_BRANCH, _LEAF, _OVERFLOW, _META_PAGE = 0x01, 0x02, 0x04, 0x08
_KIND_MASK: Final = 0x0F
_BIG_DATA, _SUB_TREE, _DUPLICATES = 0x01, 0x02, 0x04
_NO_PAGE: Final = 0xFFFFFFFFFFFFFFFF
_DEPTH_MAX: Final = 32
_PAGE_SIZE_MIN: Final = 512
_TABLES: Final = frozenset(name.encode() for name in (*TABLES, *SCRATCH_TABLES))


class TreeBroken(Exception):
    """The index' file holds no whole tree: rebuild the index. The message names the page."""


class _Meta(NamedTuple):
    page_size: int
    free: bytes
    main: bytes
    last_page: int
    transaction: int


class _Tree(NamedTuple):
    """What a tree's record says of it."""

    integer_keys: bool
    depth: int
    branches: int
    leaves: int
    overflows: int
    entries: int
    root: int


def check_index_file(fd: int, size: int) -> int:
    """Walk every page of the tree of an open index file that no process writes to: how many pages are known.

    ``TreeBroken``. An empty file is an index without a tree: 0.
    """
    if size == 0:
        return 0
    with mmap.mmap(fd, size, access=mmap.ACCESS_READ) as data:
        data.madvise(mmap.MADV_WILLNEED)
        return _Walk(data).run()


class _Walk:
    """One walk. Every access to the file is bounds-checked: a page beyond its end is a finding, not an error."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._meta = _newest_meta(data)
        self._size = self._meta.page_size
        self._seen = bytearray(self._meta.last_page + 1)
        self._counts = [0, 0, 0, 0]  # branches, leaves, overflows, entries of the tree being walked
        self._free: list[bytes] = []
        self._trees: list[bytes] = []

    def run(self) -> int:
        """The free list's tree, the main one, and those it names."""
        try:
            self._seen[0] = self._seen[1] = 1
            self._walk_tree(self._meta.free, "the free list", free=True)
            self._walk_tree(self._meta.main, "the main tree", main=True)
            for record in self._trees:
                self._walk_tree(record, "a table")
            self._check_free()
            return sum(self._seen)
        except (StructError, IndexError, ValueError) as error:
            raise TreeBroken(f"a page of the index cannot be understood: {error}") from error

    def _walk_tree(self, record: bytes, what: str, *, free: bool = False, main: bool = False) -> None:
        tree = _decode_tree(record)
        self._counts = [0, 0, 0, 0]
        self._is_free, self._is_main = free, main
        if tree.root == _NO_PAGE:
            if tree.entries or tree.depth:
                raise TreeBroken(f"{what} has {tree.entries} entries and no root")
        else:
            if not 0 < tree.depth <= _DEPTH_MAX:
                raise TreeBroken(f"{what} has depth {tree.depth}")
            self._walk_page(tree.root, tree.depth, self._meta.transaction, None, None, tree.integer_keys)
        if self._counts != [tree.branches, tree.leaves, tree.overflows, tree.entries]:
            raise TreeBroken(f"{what} holds other numbers of pages and entries than its record says")

    def _take_page(self, number: int, kind: int, newest: int, pages: int = 1) -> tuple[bytes, int, int, int]:
        """Check a page's header and mark it as seen: (the bytes of it and those behind, transaction, lower, upper)."""
        if not 1 < number <= self._meta.last_page:
            raise TreeBroken(f"page {number} lies outside the index")
        if self._seen[number]:
            raise TreeBroken(f"page {number} of the index is in two places")
        self._seen[number] = 1
        page = self._data[number * self._size : (number + pages) * self._size]
        found, transaction, _, flags, lower, upper = _PAGE.unpack_from(page)
        if found != number or flags & _KIND_MASK != kind or transaction > newest:
            raise TreeBroken(f"page {number} of the index is not the page that belongs there")
        return page, transaction, lower, upper

    def _walk_page(
        self, number: int, depth: int, newest: int, low: bytes | None, high: bytes | None, integers: bool
    ) -> None:
        """A branch or leaf page whose keys belong between ``low`` and ``high``, no newer than its parent."""
        is_leaf = depth == 1
        page, transaction, lower, upper = self._take_page(number, _LEAF if is_leaf else _BRANCH, newest)
        count, room = lower // 2, self._size - PAGE_HEADER_SIZE
        self._counts[1 if is_leaf else 0] += 1
        if lower % 2 or not lower <= upper <= room or count < (1 if is_leaf else 2):
            raise TreeBroken(f"page {number} of the index has impossible bounds")
        offsets = memoryview(page)[PAGE_HEADER_SIZE : PAGE_HEADER_SIZE + lower].cast("H").tolist()
        if min(offsets) < upper or max(offsets) + NODE_HEADER_SIZE > room:
            raise TreeBroken(f"page {number} of the index has nodes outside itself")
        if is_leaf:
            self._check_leaf(number, page, offsets, low, high, integers)
            return
        children = [_branch_node(page, PAGE_HEADER_SIZE + offset) for offset in offsets]
        keys: list[bytes | None] = [low, *[key for _, key in children[1:]], high]
        for position, (child, _) in enumerate(children):
            self._walk_page(child, depth - 1, transaction, keys[position], keys[position + 1], integers)

    def _check_leaf(
        self, number: int, page: bytes, offsets: list[int], low: bytes | None, high: bytes | None, integers: bool
    ) -> None:
        """Nodes lie within their page, keys ascend from ``low`` to below ``high``."""
        self._counts[3] += len(offsets)
        before = low
        may_equal = True
        for offset in offsets:
            size_low, size_high, flags, key_size = _NODE.unpack_from(page, PAGE_HEADER_SIZE + offset)
            start = PAGE_HEADER_SIZE + offset + NODE_HEADER_SIZE
            key = page[start : start + key_size]
            value = start + key_size + (key_size & 1)
            size = TREE_SIZE if flags & _SUB_TREE else _BIG.size if flags & _BIG_DATA else size_low | size_high << 16
            if value + size > self._size:
                raise TreeBroken(f"page {number} of the index has a node that does not fit it")
            if before is not None and not _ascends(before, key, integers, may_equal):
                raise TreeBroken(f"page {number} of the index has keys out of order")
            before, may_equal = key, False
            data = page[value : value + size]
            if self._is_main and (key.rstrip(b"\0") not in _TABLES or (flags, size_low) != (_SUB_TREE, TREE_SIZE)):
                raise TreeBroken(f"page {number} of the index names a table that is none of ours")
            if flags or self._is_free:
                data = self._take_special(number, flags, data, size_low | size_high << 16)
            if not (self._is_free or self._is_main) and not is_checked(key, data):
                raise TreeBroken(f"page {number} of the index has a key or value that is not what was written")
        if high is not None and before is not None and not _ascends(before, high, integers, False):
            raise TreeBroken(f"page {number} of the index has keys that belong elsewhere")

    def _take_special(self, number: int, flags: int, data: bytes, size: int) -> bytes:
        """A node that leads elsewhere, to overflow pages or to a table, or (free list) to pages that are free: its
        value.
        """
        if flags & _DUPLICATES:
            raise TreeBroken(f"page {number} of the index has duplicates")
        if flags & _SUB_TREE:
            if not self._is_main:
                raise TreeBroken(f"page {number} of the index names a table out of place")
            if _TREE.unpack(data)[:2] != (0, 0):
                raise TreeBroken(f"page {number} of the index names a table of a kind that we have none of")
            self._trees.append(data)
            return data
        if flags & _BIG_DATA:
            first, _, pages = _BIG.unpack_from(data)
            data = self._take_overflow(number, first, pages)[:size]
        if self._is_free:
            self._free.append(data)
        return data

    def _take_overflow(self, parent: int, first: int, pages: int) -> bytes:
        page, _, low, high = self._take_page(first, _OVERFLOW, self._meta.transaction, pages)
        if low | high << 16 != pages or first + pages - 1 > self._meta.last_page:
            raise TreeBroken(f"overflow page {first} of the index is not what page {parent} takes it for")
        if any(self._seen[first + 1 : first + pages]):
            raise TreeBroken(f"overflow page {first} of the index runs into others")
        self._seen[first + 1 : first + pages] = b"\1" * (pages - 1)
        self._counts[2] += pages
        return page[PAGE_HEADER_SIZE:]

    def _check_free(self) -> None:
        """What is free is not in use, and free once."""
        for value in self._free:
            numbers = memoryview(value).cast("Q").tolist()
            if not numbers or numbers[0] != len(numbers) - 1:
                raise TreeBroken("the index' list of free pages is cut short")
            for number in numbers[1:]:
                if not 1 < number <= self._meta.last_page or self._seen[number]:
                    raise TreeBroken(f"page {number} of the index is free and in use")
                self._seen[number] = 1


def is_checked(key: bytes, data: bytes) -> bool:
    """Whether a table's value, with the checksum of ours at its end, belongs to its key and is what was written."""
    crc: int = google_crc32c.value(key + data[:-4])
    return crc == int.from_bytes(data[-4:], "little")


def _branch_node(page: bytes, at: int) -> tuple[int, bytes]:
    first, second, third, key_size = _NODE.unpack_from(page, at)
    return first | second << 16 | third << 32, page[at + NODE_HEADER_SIZE : at + NODE_HEADER_SIZE + key_size]


def _ascends(before: bytes, key: bytes, integers: bool, may_equal: bool) -> bool:
    if integers:
        first, second = int.from_bytes(before, "little"), int.from_bytes(key, "little")
        return first < second or (may_equal and first == second)
    return before < key or (may_equal and before == key)


def _decode_tree(record: bytes) -> _Tree:
    _, flags, depth, branches, leaves, overflows, entries, root = _TREE.unpack(record)
    return _Tree(bool(flags & 0x08), depth, branches, leaves, overflows, entries, root)


def _newest_meta(data: mmap.mmap) -> _Meta:
    """The meta page the engine would take."""
    try:
        first = _read_meta(data, 0)
        if first.page_size < _PAGE_SIZE_MIN or first.page_size & (first.page_size - 1):
            raise TreeBroken(f"the index has pages of {first.page_size} bytes")
        second = _read_meta(data, first.page_size)
    except StructError as error:
        raise TreeBroken(f"the index is shorter than its two first pages: {error}") from error
    newest = second._replace(page_size=first.page_size) if second.transaction > first.transaction else first
    if (newest.last_page + 1) * newest.page_size > len(data) and _decode_tree(newest.main).root != _NO_PAGE:
        # Pages that were allocated and never written may lie beyond the end; those of the tree may not.
        return newest._replace(last_page=max(1, len(data) // newest.page_size - 1))
    return newest


def _read_meta(data: mmap.mmap, at: int) -> _Meta:
    _, _, _, flags, _, _ = _PAGE.unpack_from(data, at)
    magic, version, _, _, free, main, last_page, transaction = _META.unpack_from(data, at + PAGE_HEADER_SIZE)
    if flags & _KIND_MASK != _META_PAGE or magic != MAGIC:
        raise TreeBroken(f"the index has no meta page at offset {at}")
    if version != VERSION:
        raise TreeBroken(f"the index is of another engine (data version {version})")
    return _Meta(_TREE.unpack(free)[0], free, main, last_page, transaction)
