"""Sites of different releases live together for weeks: an old one stops at what it cannot read, says so, goes on
shipping its own, is seen to hold the others' collection back, and goes on where it stopped once it is upgraded. Nothing
is skipped.
"""

from __future__ import annotations

import msgspec
import pytest

from gateway.store.item_format import FAMILY_MEMBER, FAMILY_NULL_SLOT
from replication import batch_format, change_format, member_format
from replication.change_format import decode_change, encode_change
from replication.cloud_memory import MemoryCloud
from replication.member_format import name_item
from replication.membership import take_census
from replication.padded_format import decode_padded
from replication.puller import StopReason
from tests.replication.test_departures import Machine, rest

NEWER_CHANGE, NEWER_BATCH, NEWER_STATEMENT = "a newer change", "a newer batch", "a newer statement"


class Release:
    """The release that this process is: the next one within ``with``, else the one that is installed."""

    def __init__(self, monkeypatch):
        self._monkeypatch = monkeypatch

    def __enter__(self):
        self._context = self._monkeypatch.context()
        patch = self._context.__enter__()
        patch.setattr(change_format, "READER_VERSION", change_format.READER_VERSION + 1)
        patch.setattr(
            batch_format, "decode_padded", lambda magic, version, data: decode_padded(magic, version + 1, data)
        )
        patch.setattr(member_format, "MEMBER_VERSION", member_format.MEMBER_VERSION + 1)

    def __exit__(self, *exc):
        self._context.__exit__(*exc)


@pytest.fixture
def next_release(monkeypatch):
    return Release(monkeypatch)


async def write_newer(machine, what, release, monkeypatch):
    """Something that only the next release can read; what comes before and behind it every release can."""
    machine.store.put(b"before", b"before")
    await machine.ship()
    with release, monkeypatch.context() as patch:
        if what == NEWER_STATEMENT:
            body = member_format.encode_member(member_format.NameRecord(member_format.MEMBER_VERSION, "new"))
            machine.store.write(FAMILY_MEMBER, name_item(machine.site), body)
        else:
            machine.store.put(b"newer", b"newer")
        if what == NEWER_CHANGE:
            newer = msgspec.structs.replace(decode_change(machine.store.own[-1]), version=change_format.READER_VERSION)
            machine.store.own[-1] = encode_change(newer)
        if what == NEWER_BATCH:
            patch.setattr(batch_format, "BATCH_VERSION", batch_format.BATCH_VERSION + 1)
        await machine.shipper.ship_round()
    machine.store.put(b"behind", b"behind")
    with release:
        await machine.ship()


@pytest.mark.parametrize("what", [NEWER_CHANGE, NEWER_BATCH, NEWER_STATEMENT])
async def test_an_old_site_stops_says_so_and_goes_on_after_its_upgrade(what, next_release, monkeypatch):
    bucket = MemoryCloud()
    new, old, third = [Machine(name, bucket) for name in (b"n", b"o", b"t")]
    await rest(new, old, third)
    await write_newer(new, what, next_release, monkeypatch)
    stopped_at = None
    for week in range(4):
        old.store.put(b"old %d" % week, b"old")
        third.store.put(b"third %d" % week, b"third")
        await rest(old, third)
        with next_release:
            await rest(new)
        state = old.puller.states[new.log]
        assert state.reason is StopReason.TOO_NEW
        assert "upgrade" in state.stopped
        assert old.store.backlog().changes == 0
        assert stopped_at in (None, old.store.pulled()[new.log])
        stopped_at = old.store.pulled()[new.log]
    items = {item for (family, item) in old.store.visible() if family == FAMILY_NULL_SLOT}
    assert items == {b"before", *(b"%s %d" % (who, week) for who in (b"old", b"third") for week in range(4))}
    with next_release:
        census = take_census(new.store)
        assert census.cut()[new.log] == stopped_at.seq < new.store.shipped().seq
        assert {holder.site for holder in census.waiting_for()} == {old.site, third.site}
        for machine in (old, third):
            upgraded = Machine.again(machine)
            await rest(upgraded, new)
            assert not upgraded.puller.states[new.log].stopped
            assert upgraded.store.visible() == new.store.visible()
        assert take_census(new.store).waiting_for() == []
