"""Pages of refs: golden bytes, refusals, and trees for any number of refs."""

from __future__ import annotations

import random
from itertools import accumulate
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.store.object_format import REFS_DIRECT_MAX
from gateway.store.page_format import (
    PAGE_REFS_MAX,
    PAGE_REFS_MIN,
    Leaf,
    LeafWalk,
    PageTree,
    decode_page,
    encode_page,
    leaves,
    page_ref,
)
from replication.change_format import REF_DATA, REF_PAGE, ChangeInvalid, ChangeTooNew, Ref

GOLDEN = Path(__file__).parents[2] / "golden" / "page_1.hex"
SAMPLE = (Ref(REF_DATA, bytes(range(32)), 5), Ref(REF_PAGE, bytes(range(32, 64)), 1 << 40))


class Pages:
    """Pages as a store would keep them: by a name that is made of their content."""

    def __init__(self) -> None:
        self.plain: dict[bytes, bytes] = {}
        self.loads = 0

    def store(self, refs: list[Ref]) -> Ref:
        plaintext = encode_page(refs)
        name = random.Random(plaintext).randbytes(32)
        self.plain[name] = plaintext
        return page_ref(name, refs)

    def load(self, ref: Ref) -> tuple[Ref, ...]:
        self.loads += 1
        return decode_page(self.plain[ref.id])

    def build(self, refs: list[Ref]) -> tuple[Ref, ...]:
        tree = PageTree()
        for ref in refs:
            page = tree.add(ref)
            while page is not None:
                page = tree.add(self.store(page[1]), page[0])
        while (page := tree.close()) is not None:
            tree.add(self.store(page[1]), page[0])
        return tree.root()


def data_refs(count: int, seed: int = 3) -> list[Ref]:
    source = random.Random(seed)
    return [Ref(REF_DATA, source.randbytes(32), source.randrange(1, 1 << 22)) for _ in range(count)]


def test_golden_bytes() -> None:
    golden = bytes.fromhex(GOLDEN.read_text())
    assert encode_page(SAMPLE) == golden
    assert decode_page(golden) == SAMPLE


def test_what_is_no_page_is_refused() -> None:
    encode = msgspec.msgpack.encode
    for bad in (b"", b"\xc0", encode([1, []]), encode([1, [[0, b"short", 5]]]), encode([1, [[7, bytes(32), 5]]])):
        with pytest.raises(ChangeInvalid):
            decode_page(bad)
    with pytest.raises(ChangeInvalid):
        decode_page(encode([1, [[0, bytes(32), 5]] * (PAGE_REFS_MAX + 1)]))
    with pytest.raises(ChangeTooNew):
        decode_page(encode([2, [[0, bytes(32), 5]]]))
    assert decode_page(encode([1, [[0, bytes(32), 5]], "a later field"])) == (Ref(0, bytes(32), 5),)


@pytest.mark.parametrize("count", [0, 1, REFS_DIRECT_MAX, REFS_DIRECT_MAX + 1, PAGE_REFS_MIN, 5000, 60_000])
def test_any_number_of_refs_becomes_a_few(count: int) -> None:
    pages = Pages()
    refs = data_refs(count)
    root = pages.build(refs)
    assert len(root) <= REFS_DIRECT_MAX
    assert [leaf.ref for leaf in leaves(root, pages.load)] == refs
    assert sum(ref.size for ref in root) == sum(ref.size for ref in refs)
    assert all(len(decode_page(plain)) <= PAGE_REFS_MAX for plain in pages.plain.values())


def test_five_tebibytes_fit_in_the_root() -> None:
    """The smallest chunks, pages of the fewest refs: still three levels."""
    chunks = (5 << 40) // (256 << 10)
    assert chunks / PAGE_REFS_MIN**3 <= REFS_DIRECT_MAX


@settings(max_examples=60, deadline=None)
@given(st.integers(9, 3000), st.data())
def test_ranges_find_their_leaves_and_load_no_page_beside_them(count: int, data: st.DataObject) -> None:
    pages = Pages()
    refs = data_refs(count, seed=count)
    root = pages.build(refs)
    size = sum(ref.size for ref in refs)
    start = data.draw(st.integers(0, size))
    end = data.draw(st.integers(start, size + 10))
    offset, expected = 0, []
    for ref in refs:
        if offset < end and offset + ref.size > start:
            expected.append(Leaf(offset, ref))
        offset += ref.size
    pages.loads = 0
    assert list(leaves(root, pages.load, start, end)) == expected
    if end - start <= 1:
        assert pages.loads <= 2
    walk, found = LeafWalk(root, start, end), []
    while (next_one := walk.advance()) is not None:
        if isinstance(next_one, Leaf):
            found.append(next_one)
        else:
            children = pages.load(next_one)
            walk.descend(children, tuple(accumulate([child.size for child in children])))
    assert found == expected


def test_a_change_in_front_leaves_most_pages_as_they_were() -> None:
    pages = Pages()
    refs = data_refs(60_000)
    pages.build(refs)
    before = set(pages.plain)
    pages.build([*data_refs(1, seed=9), *refs])
    assert len(set(pages.plain) - before) <= 4
    assert len(before) > 20


def test_pages_that_lie_about_their_size_or_nest_without_end_are_refused() -> None:
    pages = Pages()
    page = pages.store(data_refs(20))
    with pytest.raises(ChangeInvalid, match="bytes its ref names"):
        list(leaves([Ref(REF_PAGE, page.id, page.size + 1)], pages.load))
    walk = LeafWalk([Ref(REF_PAGE, page.id, page.size + 1)])
    walk.advance()
    with pytest.raises(ChangeInvalid, match="bytes its ref names"):
        walk.descend(pages.load(page), tuple(accumulate([child.size for child in pages.load(page)])))
    loop = Ref(REF_PAGE, bytes(32), 7)
    with pytest.raises(ChangeInvalid, match="deeply"):
        list(leaves([loop], lambda ref: [loop]))


def test_walking_asks_for_one_page_at_a_time() -> None:
    pages = Pages()
    refs = data_refs(20)
    page = pages.store(refs)
    walk = LeafWalk([page], 0, None)
    assert walk.advance() == page
    assert walk.offset == 0
    walk.descend(pages.load(page))
    assert walk.advance() == Leaf(0, refs[0])
    assert LeafWalk([], 0, None).advance() is None


def test_pages_taken_over_keep_their_height() -> None:
    pages = Pages()
    first, second = data_refs(PAGE_REFS_MIN, 1), data_refs(12, 2)
    page = pages.store(first)
    tree = PageTree()
    tree.add(second[0])
    below = tree.close_below(1)
    assert below == (1, [second[0]])
    tree.add(pages.store(below[1]), below[0])
    assert tree.close_below(1) is None
    tree.add(page, 1)
    for ref in second[1:]:
        tree.add(ref)
    while (made := tree.close()) is not None:
        tree.add(pages.store(made[1]), made[0])
    assert [leaf.ref for leaf in leaves(tree.root(), pages.load)] == [second[0], *first, *second[1:]]
