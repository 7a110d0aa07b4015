"""The laws of the stable cut, by hypothesis, and who is a member."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from replication.crdt import Dot
from replication.membership import Census, Holder, Removal, is_stable, stable_cut, take_census, waiting_for
from replication.ports import LogPosition, PulledBatch, RemoteLog
from tests.replication.fixed_realm import KEYRING
from tests.replication.memory_site import MemorySite

SITES = [name * 16 for name in (b"a", b"b", b"c", b"d")]
ME = (SITES[0], b"1" * 8)
B, C, D = [(site, b"1" * 8) for site in SITES[1:]]
B2 = (SITES[1], b"2" * 8)
LOGS = [ME, B, C, D, B2]

vectors = st.dictionaries(st.sampled_from(LOGS), st.integers(0, 5))
knowledge = st.fixed_dictionaries(dict.fromkeys(LOGS[1:], vectors))
groups = st.dictionaries(st.sampled_from(SITES), st.sets(st.sampled_from(LOGS[1:]), min_size=1, max_size=3), max_size=3)


def remote(n=1, seq=1, acks=(), *, closed=False, sent_ms=0):
    return RemoteLog(LogPosition(n, seq), dict(acks), sent_ms, closed)


@given(vectors, knowledge, groups)
def test_the_cut_is_what_everybody_acknowledged_and_no_more(positions, acks, members):
    cut = stable_cut(ME, positions, acks, members)
    assert cut.keys() == positions.keys()
    asked = {log for logs in members.values() for log in logs}
    for origin, seq in cut.items():
        others = [acks[log].get(origin, 0) for log in asked - {origin}]
        assert seq <= positions[origin]
        assert all(seq <= acked for acked in others)
        assert seq == positions[origin] or seq in others


@given(vectors, knowledge, groups, st.sampled_from(LOGS[1:]))
def test_one_more_member_only_lowers_it(positions, acks, members, log):
    more = {**members, log[0]: {*members.get(log[0], ()), log}}
    cut, lower = stable_cut(ME, positions, acks, members), stable_cut(ME, positions, acks, more)
    assert all(lower[origin] <= cut[origin] for origin in cut)


@given(vectors, knowledge, groups, st.sampled_from(LOGS[1:]), st.sampled_from(LOGS))
def test_one_more_ack_only_raises_it(positions, acks, members, log, origin):
    more = {**acks, log: {**acks[log], origin: acks[log].get(origin, 0) + 1}}
    cut, higher = stable_cut(ME, positions, acks, members), stable_cut(ME, positions, more, members)
    assert all(cut[origin] <= higher[origin] for origin in cut)


@given(vectors, vectors, knowledge, groups)
def test_nobody_is_waited_for_if_and_only_if_it_is_in_the_cut(target, positions, acks, members):
    cut = stable_cut(ME, positions, acks, members)
    inside = is_stable(cut, [Dot(*origin, seq) for origin, seq in target.items()])
    assert inside == (not waiting_for(target, ME, positions, acks, members, {}))


def test_a_member_without_a_live_log_holds_everything_back():
    census = Census(ME, 4, {B: remote(2, 7, {ME: 4}, closed=True, sent_ms=5)})
    assert census.cut() == {ME: 0, B: 0}
    assert census.waiting_for() == [Holder(SITES[1], None, ME, 0, 5), Holder(SITES[1], None, B, 0, 5)]
    gone_on = replace(census, logs={**census.logs, B2: remote(1, 1, {ME: 4, B: 7})})
    assert gone_on.cut() == {ME: 4, B: 7, B2: 1}


def test_a_head_alone_makes_a_member():
    census = Census(ME, 4, {B: remote(1, 3, {ME: 4})}, heads={B: 1, C: 1})
    assert census.cut() == {ME: 0, B: 0}
    assert {holder.log for holder in census.waiting_for()} == {C}


def test_a_copy_of_this_machine_that_still_ships_is_waited_for():
    other = (ME[0], b"2" * 8)
    assert Census(ME, 4, {other: remote(1, 3, {ME: 2})}).cut() == {ME: 2, other: 3}


def test_a_retired_site_is_waited_for_until_all_of_it_was_taken_in():
    logs = {B: remote(3, 3, {ME: 1}), C: remote(1, 1, {ME: 4, B: 3})}
    census = Census(ME, 4, logs, heads={B: 4, C: 1}, retired=[B[0]])
    assert census.cut()[ME] == 1
    assert replace(census, logs={**logs, B: remote(4, 3, {ME: 1}, closed=True)}).cut() == {ME: 4, B: 3, C: 1}


def test_a_forgotten_site_is_waited_for_until_everybody_knows_and_the_cut_is_reached():
    said = Dot(*C, 2)
    removed = {B[0]: Removal({B[1]: 3}, C[0], frozenset((said,)))}
    behind = {B: remote(2, 2), C: remote(2, 2, {ME: 4, B: 2}), D: remote(1, 1, {ME: 4, B: 2, C: 1})}
    census = Census(ME, 4, behind, removed=removed)
    assert B[0] in census.members()
    reached = replace(census, logs={**behind, B: remote(3, 3)})
    assert B[0] in reached.members()  # D may have taken in more of it, and would say so before it acknowledges
    told = replace(reached, logs={**reached.logs, D: remote(2, 1, {ME: 4, B: 2, C: 2})})
    assert told.members().keys() == {ME[0], C[0], D[0]}
    assert told.cut()[ME] == 4
    assert B[0] in replace(told, logs={**told.logs, B: remote(2, 2)}).members()


async def test_a_census_is_taken_from_the_log():
    site = MemorySite(KEYRING, b"a", lambda: 1)
    site.put(b"key", b"content")
    me = (site.identity().site, site.identity().incarnation)
    await site.record_pulled(PulledBatch(B, LogPosition(1, 0, bytes(32)), (), acks={me: 0}, sent_ms=9))
    await site.record_shipped(LogPosition(1, 1, bytes(32)), ())
    census = take_census(site)
    assert (census.me, census.positions) == (me, {me: 1, B: 0})
    assert census.cut() == {me: 0, B: 0}
    assert census.waiting_for() == [Holder(B[0], B, me, 0, 9)]
