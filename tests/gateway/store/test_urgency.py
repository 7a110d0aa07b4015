"""Which unsent changes must not wait: found as they come, by bucket and prefix."""

from gateway.store.urgency import UrgentChanges
from tests.gateway.store.store_site import StoreSite


async def test_urgent_changes_are_found_by_bucket_and_prefix(tmp_path):
    async with StoreSite(tmp_path / "site") as site:
        replica = site.store.replica
        urgent = UrgentChanges(site.store, replica, ["bucket/alarms/", "absent/"])
        whole = UrgentChanges(site.store, replica, ["bucket/"])
        nothing = UrgentChanges(site.store, replica, [])
        before = replica.last_seq()
        await site.put(b"bulk/1", b"x" * 50_000)
        assert (urgent.latest(before), whole.latest(before), nothing.latest(0)) == (0, replica.last_seq(), 0)
        await site.put(b"alarms/fire", b"!", versioned=True)
        marked = replica.last_seq()
        await site.put(b"bulk/2", b"y")
        assert urgent.latest(before) == marked
        assert urgent.latest(marked) == 0, "what was shipped is not urgent any more"
        await site.put(b"alarms/flood", b"!")
        assert urgent.latest(marked) == replica.last_seq()


async def test_each_change_is_read_once(tmp_path, monkeypatch):
    async with StoreSite(tmp_path / "site") as site:
        replica = site.store.replica
        urgent = UrgentChanges(site.store, replica, ["bucket/alarms/"])
        await site.put(b"bulk", b"x")
        urgent.latest(0)
        reads = []
        monkeypatch.setattr(replica, "read_changes", lambda *given: reads.append(given) or [])
        assert urgent.latest(0) == 0
        assert reads == []
