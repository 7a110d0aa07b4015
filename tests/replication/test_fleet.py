"""The fleet as one site sees it, who it waits for, and since when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replication.crdt import Dot
from replication.fleet import FleetLog, SiteState, Wait, follow_waits, list_fleet, resolve_site
from replication.member_format import Register, Removal
from replication.membership import Census
from replication.ports import LogPosition, RemoteLog
from replication.site_status_format import SiteStatus, encode_site_status

ME = (b"a" * 16, b"1" * 8)
B, C, D = [(name * 16, b"1" * 8) for name in (b"b", b"c", b"d")]
OWN = SiteStatus(name="here", backlog_changes=1)


def remote(seq, acks=(), *, sent_ms=5, status=b"", closed=False):
    return RemoteLog(LogPosition(seq, seq), dict(acks), sent_ms, closed, status)


def test_every_site_is_listed_with_what_it_told_last():
    told = SiteStatus(name="shop", backlog_changes=7, free_bytes=1 << 30, full_in_days=3.0)
    removed = {D[0]: Removal({D[1]: 2}, B[0], frozenset((Dot(*B, 1),)), revoked=True)}
    logs = {B: remote(2, {ME: 4, D: 2}, status=encode_site_status(told)), D: remote(2)}
    census = Census(ME, 4, logs, {B: 3, C: 1}, removed)
    fleet = list_fleet(census, Register({C[0]: "named"}, {}, removed), OWN, 99)
    here, gone, named, shop = fleet
    assert (here.site, here.state, here.status, here.seen_ms, here.is_waited_for) == (
        *(ME[0], SiteState.HERE, OWN, 99, False),
    )
    assert (shop.name, shop.status, shop.seen_ms, shop.state) == ("shop", told, 5, SiteState.MEMBER)
    assert shop.logs == (FleetLog(B[1], 2, 2, 3, closed=False),)
    assert (named.name, named.status, named.seen_ms, named.is_waited_for) == ("named", None, 0, True)
    assert named.logs == (FleetLog(C[1], 0, 0, 1, closed=False),)
    assert (gone.state, gone.heir) == (SiteState.REVOKED, B[0])


def test_a_retiring_site_is_retired_once_all_of_it_is_here():
    census = Census(ME, 0, {B: remote(2)}, retired=[B[0]])
    register = Register({}, {B[0]: 1}, {})
    assert list_fleet(census, register, OWN, 9)[1].state is SiteState.RETIRING
    ended = replace(census, logs={B: remote(3, closed=True)})
    assert list_fleet(ended, register, OWN, 9)[1].state is SiteState.RETIRED


def test_a_wait_is_as_old_as_the_last_progress():
    behind = Census(ME, 4, {B: remote(1, {ME: 1}), C: remote(1, {ME: 4, B: 1})})
    waits = follow_waits((), behind, 100)
    assert waits == (Wait(B[0].hex(), B[1].hex(), 4, 1, 100),)  # 3 of ours, 1 of C's
    spoke = replace(behind, logs={**behind.logs, B: remote(2, {ME: 1}, sent_ms=150), C: remote(1, {ME: 4, B: 2})})
    assert follow_waits(waits, spoke, 200)[0].since_ms == 100  # heard, and no further
    further = replace(behind, logs={**behind.logs, B: remote(1, {ME: 2})})
    assert follow_waits(waits, further, 300) == (Wait(B[0].hex(), B[1].hex(), 3, 2, 300),)
    done = replace(behind, logs={**behind.logs, B: remote(1, {ME: 4, C: 1})})
    assert follow_waits(waits, done, 400) == ()


def test_a_site_is_meant_by_id_beginning_or_name():
    census = Census(ME, 0, {B: remote(0), C: remote(0)})
    fleet = list_fleet(census, Register({B[0]: "shop", C[0]: "shop"}, {}, {}), OWN, 1)
    assert resolve_site(fleet, "here") == ME[0]
    assert resolve_site(fleet, B[0].hex()) == B[0]
    assert resolve_site(fleet, C[0].hex()[:8]) == C[0]
    for named in ("shop", "nobody", C[0].hex()[:7]):
        with pytest.raises(LookupError, match="sites list"):
            resolve_site(fleet, named)


def test_a_name_means_the_site_that_stays():
    census = Census(ME, 0, {B: remote(0), C: remote(0)})
    out = Removal({}, ME[0], frozenset())
    fleet = list_fleet(census, Register({B[0]: "shop", C[0]: "shop"}, {}, {B[0]: out}), OWN, 1)
    assert resolve_site(fleet, "shop") == C[0]
    assert resolve_site(fleet, B[0].hex()) == B[0]
    both = Register({B[0]: "shop", C[0]: "shop"}, {}, {B[0]: out, C[0]: out})
    with pytest.raises(LookupError, match="2 sites"):
        resolve_site(list_fleet(census, both, OWN, 1), "shop")
