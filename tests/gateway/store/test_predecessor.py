"""Choosing the old chunks that a new one is patched against."""

from __future__ import annotations

from gateway.store.page_format import page_ref
from gateway.store.predecessor import WINDOW, Predecessor
from replication.change_format import REF_DATA, Ref


def ref(name: int, size: int = 1000) -> Ref:
    return Ref(REF_DATA, name.to_bytes(32, "big"), size)


OLD = [ref(n) for n in range(10)]


def nothing(page: Ref) -> None:
    return None


def test_after_a_match_the_next_old_chunk_is_the_base() -> None:
    predecessor = Predecessor(OLD, nothing)
    assert predecessor.match(OLD[3].id, 1000) == 3000
    assert predecessor.bases(predecessor.pass_by(1000), 1000) == [OLD[4]]
    assert predecessor.bases(predecessor.pass_by(1000), 1000) == [OLD[5]]


def test_without_a_match_the_hint_says_where() -> None:
    predecessor = Predecessor(OLD, nothing, 4500)
    assert not predecessor.anchored
    assert predecessor.bases(predecessor.pass_by(1000), 1000) == [OLD[4], OLD[5]]


def test_at_most_two_and_those_that_overlap_most() -> None:
    predecessor = Predecessor(OLD, nothing)
    assert predecessor.bases(900, 2150) == [OLD[1], OLD[2]]
    assert predecessor.bases(1000, 1100) == [OLD[1]], "a sliver is not worth a base"
    assert predecessor.bases(0, 500) == [OLD[0]]


def test_behind_the_end_the_last_ones() -> None:
    assert Predecessor(OLD, nothing, 50_000).bases(50_000, 1500) == [OLD[8], OLD[9]]
    assert Predecessor([], nothing).bases(0, 100) == []


def test_repeated_chunks_match_where_they_are_expected() -> None:
    same = [ref(7), ref(1), ref(7), ref(2), ref(7)]
    predecessor = Predecessor(same, nothing)
    assert [predecessor.match(chunk.id, 1000) for chunk in same] == [0, 1000, 2000, 3000, 4000]


def test_a_chunk_known_from_elsewhere_moves_on_by_its_size() -> None:
    predecessor = Predecessor(OLD, nothing)
    assert predecessor.match(ref(99).id, 2000) is None
    assert predecessor.expected == 2000
    assert not predecessor.anchored


def test_pages_are_loaded_and_are_bases_of_pages() -> None:
    page = page_ref(b"p" * 32, OLD)
    predecessor = Predecessor([page], lambda ref: OLD)
    assert predecessor.match(OLD[9].id, 1000) == 9000
    assert predecessor.page_bases() == [page]


def test_pages_that_cannot_be_had_or_lie_give_no_bases() -> None:
    page = page_ref(b"p" * 32, OLD)
    assert Predecessor([page], nothing).bases(0, 1000) == []
    assert Predecessor([page], lambda ref: OLD[:5]).bases(0, 1000) == []


def test_of_huge_contents_only_a_window_is_known() -> None:
    count = 0
    size = 1 << 26
    pages = [Ref(1, bytes([n]) * 32, WINDOW) for n in range(64)]

    def load(page: Ref) -> list[Ref]:
        nonlocal count
        count += 1
        return [ref(1000 * page.id[0] + n, size) for n in range(WINDOW // size)]

    predecessor = Predecessor(pages, load, 20 * WINDOW)
    found = predecessor.bases(20 * WINDOW, size)
    assert found == [ref(20_000, size)]
    assert count <= 3


def test_who_comes_again_from_the_beginning_finds_the_beginning() -> None:
    """The mender of seams goes first, and the writer of pages after it: over as many windows as there are."""
    size = 1 << 26
    pages = [Ref(1, bytes([n]) * 32, WINDOW) for n in range(3)]
    chunks = [ref(100 * n + m, size) for n in range(3) for m in range(WINDOW // size)]
    predecessor = Predecessor(pages, lambda page: chunks[page.id[0] * 16 : page.id[0] * 16 + 16])
    for _ in range(2):
        assert not predecessor.anchored
        assert [predecessor.match(chunk.id, size) for chunk in chunks] == [n * size for n in range(len(chunks))]
        predecessor.rewind()


def test_coming_again_loads_no_page_again() -> None:
    loaded = []
    predecessor = Predecessor([page_ref(b"p" * 32, OLD)], lambda ref: loaded.append(ref) or OLD)
    for _ in range(2):
        assert [predecessor.match(chunk.id, 1000) for chunk in OLD] == list(range(0, 10_000, 1000))
        assert len(predecessor.page_bases()) == 1
        predecessor.rewind()
    assert len(loaded) == 1
