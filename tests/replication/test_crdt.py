"""The laws of merge, by hypothesis: what every site's convergence rests on."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from replication.crdt import EMPTY, Dot, Entry, Write, entry_of, is_removed, join, losers, merge, winner

SITES = (b"a" * 16, b"b" * 16, b"c" * 16)
dots = st.builds(Dot, st.sampled_from(SITES), st.just(b"i" * 8), st.integers(1, 6))


@st.composite
def histories(draw):
    """Changes as sites could make them: one write per dot, each replacing some dots."""
    found = draw(st.lists(dots, min_size=1, max_size=10, unique=True))
    changes = []
    for dot in found:
        write = Write(dot, draw(st.integers(0, 4)), draw(st.booleans()), dot.site[:1] + bytes([dot.seq]))
        replaces = frozenset(draw(st.lists(dots, max_size=3))) - {dot}
        changes.append((write, replaces))
    return changes


@st.composite
def entries(draw):
    """States reached by some of the changes of one history: equal dots carry equal writes."""
    history = draw(histories())
    picked = [draw(st.lists(st.sampled_from(history), max_size=8)) for _ in range(3)]
    return [fold(changes) for changes in picked]


def fold(changes) -> Entry:
    entry = EMPTY
    for write, replaces in changes:
        entry = merge(entry, entry_of(write, replaces))
    return entry


@given(entries())
def test_merge_is_commutative_associative_idempotent(three):
    a, b, c = three
    assert merge(a, b) == merge(b, a)
    assert merge(merge(a, b), c) == merge(a, merge(b, c))
    assert merge(a, a) == a
    assert merge(a, EMPTY) == a


@given(entries())
def test_merge_keeps_every_mark_and_no_marked_write(three):
    a, b, _ = three
    joined = merge(a, b)
    assert joined.marks == a.marks | b.marks
    assert all(write.dot not in joined.marks for write in joined.live)
    unmarked = {write for write in (*a.live, *b.live) if write.dot not in joined.marks}
    assert set(joined.live) == unmarked


@given(histories(), st.randoms(use_true_random=False))
def test_any_order_of_delivery_and_repetition_gives_the_same_state(history, rng: random.Random):
    shuffled = history + rng.choices(history, k=3)
    rng.shuffle(shuffled)
    assert fold(shuffled) == fold(history)


@given(histories(), st.data())
def test_joining_states_is_merging_what_they_were_made_of(history, data):
    """Sites hear each log in order, of each as far as they heard: then a state and what it has seen are enough."""
    picked = [{site: data.draw(st.integers(0, 6)) for site in SITES} for _ in range(2)]
    seen = [lambda dot, upto=upto: dot.seq <= upto[dot.site] for upto in picked]
    heard = [[change for change in history if has(change[0].dot)] for has in seen]
    states = [fold(changes) for changes in heard]
    unsettled = [
        Entry(state.live, frozenset(dot for dot in state.marks if not has(dot)))
        for state, has in zip(states, seen, strict=True)
    ]
    joined = join(*unsettled, *seen)
    assert joined.live == merge(*states).live
    assert join(unsettled[1], unsettled[0], seen[1], seen[0]) == joined
    assert join(unsettled[0], unsettled[0], seen[0], seen[0]) == unsettled[0]


@given(histories())
def test_winner_is_the_greatest_order_and_losers_are_the_other_values(history):
    entry = fold(history)
    if not entry.live:
        assert winner(entry) is None
        return
    best = winner(entry)
    assert best is not None
    assert all(write.order <= best.order for write in entry.live)
    assert all(not write.dead and write in entry.live and write != best for write in losers(entry))
    assert is_removed(entry) == any(write.dead for write in entry.live)


def test_a_replacement_that_comes_first_keeps_the_replaced_out():
    old, new = Write(Dot(SITES[0], b"i" * 8, 1), 1, False, b"old"), Write(Dot(SITES[1], b"i" * 8, 1), 2, False, b"new")
    entry = merge(entry_of(new, frozenset((old.dot,))), entry_of(old, frozenset()))
    assert entry.live == (new,)
    assert losers(entry) == ()


def test_concurrent_writes_are_both_kept():
    one, two = Write(Dot(SITES[0], b"i" * 8, 1), 5, False, b"1"), Write(Dot(SITES[1], b"i" * 8, 1), 5, False, b"2")
    entry = merge(entry_of(one, frozenset()), entry_of(two, frozenset()))
    assert winner(entry) == two  # equal clocks: the site decides
    assert losers(entry) == (one,)
