"""A bucket as it was: two sites write, collide, decide and exchange by chance, and each moment is looked back at."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store.conflicts import scan_conflicts
from gateway.store.document_format import BucketRecord
from gateway.store.history import History
from gateway.store.item_format import bucket_uid
from gateway.store.version_ids import NULL
from tests.gateway.store.index_site import SITE_B, IndexSite
from tests.gateway.store.test_conflicts import exchange

UID = bucket_uid("bk", "ann")
KEYS = [b"a", b"b", b"dir/c"]
Shown = dict[bytes, str]


class Clock:
    """Both sites' clock: a millisecond later each time it is looked at."""

    def __init__(self) -> None:
        self.now_ms = 1_700_000_000_000

    def __next__(self) -> int:
        self.now_ms += 1
        return self.now_ms


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[tuple[IndexSite, IndexSite]]:
    with IndexSite(tmp_path / "a") as a, IndexSite(tmp_path / "b", SITE_B) as b:
        a.clock = b.clock = Clock()  # type: ignore[assignment]
        a.commit(lambda view: view.put_bucket(BucketRecord(name="bk", owner="ann")))
        exchange(a, b)
        yield a, b


def shown(site: IndexSite) -> Shown:
    with site.view() as view:
        currents = [view.current(UID, key) for key in KEYS]
    return {found.key: found.record.etag for found in currents if found is not None and not found.record.marker}


def shown_at(site: IndexSite, at_ms: int) -> Shown:
    history = History(site.view, site.log, site.shared)
    return {past.key: past.record.etag for past in history.objects_at(UID, at_ms)}


def act(site: IndexSite, chance: random.Random, number: int) -> None:
    """One deed on one key: a write, a delete, the end of a version, or of the loser of a collision."""
    key = chance.choice(KEYS)
    with site.view() as view:
        versions = [found for found in view.scan_versions(UID) if found.key == key]
        losers = [loser for found in scan_conflicts(view, UID) if found.key == key for loser in found.losers]
    deed = chance.random()
    if losers and deed < 0.5:
        site.commit(lambda view: view.remove_version(UID, key, chance.choice(losers).id))
    elif versions and deed < 0.6:
        site.commit(lambda view: view.remove_version(UID, key, chance.choice(versions).id))
    elif deed < 0.7:
        site.commit(lambda view: view.remove_version(UID, key, NULL))
    else:
        site.put(UID, key, b"value %d" % number, versioned=chance.random() < 0.2)


@pytest.mark.parametrize("seed", range(6))
def test_every_moment_is_as_it_was_on_both_sites(sites: tuple[IndexSite, IndexSite], seed: int) -> None:
    a, b = sites
    chance, moments = random.Random(seed), list[tuple[int, Shown]]()
    for number in range(60):
        act(chance.choice(sites), chance, number)
        if chance.random() < 0.3:
            exchange(a, b)
            assert shown(a) == shown(b)
            moments.append((a.clock.now_ms, shown(a)))  # type: ignore[attr-defined]
    for at_ms, then in moments:
        assert shown_at(a, at_ms) == then, (seed, at_ms)
        assert shown_at(b, at_ms) == then, (seed, at_ms)


def test_what_won_a_collision_stays_when_the_loser_is_dropped(sites: tuple[IndexSite, IndexSite]) -> None:
    a, b = sites
    lost, won = a.put(UID, b"a", b"lost"), b.put(UID, b"a", b"won")
    exchange(a, b)
    with a.view() as view:
        (conflict,) = scan_conflicts(view)
    assert conflict.losers[0].order == lost.order
    a.commit(lambda view: view.remove_version(UID, b"a", conflict.losers[0].id))
    exchange(a, b)
    for site in sites:
        assert shown_at(site, a.clock.now_ms) == {b"a": won.record.etag}  # type: ignore[attr-defined]
