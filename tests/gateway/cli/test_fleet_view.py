"""What operators are shown of the other sites: what each has in the bucket, what of it goes, who keeps all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.cli.fleet_view import WAITS_SHOWN, describe_fleet, format_waits
from gateway.cli.opening import opened_site
from gateway.cli.site import create_site
from gateway.cli.site_status import assess_site
from gateway.cli.sites import format_site
from gateway.config import Overrides, load_config
from replication.fleet import FleetLog, FleetSite, SiteState
from replication.member_format import ForgottenRecord, encode_member, forgotten_item
from replication.site_status_format import SiteStatus

GIB = 1 << 30


def show(status: SiteStatus | None, *logs: FleetLog) -> dict[str, Any]:
    site = FleetSite(b"s" * 16, "shop", SiteState.MEMBER, logs, status, 0, is_waited_for=True)
    return describe_fleet([site], None)[0]


def collecting(**fields: Any) -> SiteStatus:
    counts = {"cloud_live_bytes": 5 * GIB, "cloud_dead_bytes": 2 * GIB, "cloud_doomed_bytes": GIB, "tombstones": 7}
    return SiteStatus(name="shop", **{**counts, "collects": 1, **fields})


def test_what_a_site_has_in_the_bucket_is_told() -> None:
    row = show(collecting(held_since_ms=1_000))
    assert (row["cloud_live_bytes"], row["cloud_dead_bytes"], row["cloud_doomed_bytes"]) == (5 * GIB, 2 * GIB, GIB)
    assert (row["tombstones"], row["collects"]) == (7, True)
    assert row["held_back_age_s"] > 1e9
    assert {"8.0 GiB", "2.0 GiB dead, 1.0 GiB doomed"} <= set(format_site(row))
    assert collecting().cloud_bytes == 8 * GIB
    assert collecting().cloud_going_bytes == 3 * GIB


def test_what_a_site_keeps_on_purpose_is_told_apart() -> None:
    row = show(collecting(collects=0, cloud_doomed_bytes=0))
    assert row["collects"] is False
    assert "2.0 GiB dead, kept" in format_site(row)
    assert show(collecting())["held_back_age_s"] is None, "waits for nobody"


def test_what_is_not_known_is_not_told_as_nothing() -> None:
    for status in (None, SiteStatus(name="shop")):
        row = show(status)
        assert row["cloud_live_bytes"] is row["tombstones"] is row["collects"] is row["held_back_age_s"] is None
        assert "0 B" not in format_site(row)
    assert SiteStatus().cloud_bytes == 0


def test_a_site_whose_logs_have_ended_is_pointed_out() -> None:
    ended, live = FleetLog(b"i" * 8, 3, 9, 3, closed=True), FleetLog(b"j" * 8, 1, 1, 1, closed=False)
    assert "has ended" in str(format_site(show(None, ended))[-1])
    assert format_site(show(None, ended, live))[-1] == ""
    assert format_site(show(None))[-1] == ""


@pytest.mark.parametrize(("revoked", "word"), [(False, "forgotten"), (True, "revoked")])
async def test_a_site_that_is_out_is_not_called_safe_to_lose(tmp_path: Path, *, revoked: bool, word: str) -> None:
    """What it ships nobody takes in, so that it lies in the bucket proves nothing."""
    config = load_config(None, {}, Overrides(data=tmp_path / "data"))
    create_site(config)
    async with opened_site(config) as site:
        me, heir = site.replica.identity().site, b"h" * 16
        assert word not in str(assess_site(site).unsafe_reasons)
        said = ForgottenRecord(at_ms=1, cut=(), heir=heir, revoked=revoked)
        await site.replica.state(forgotten_item(me, heir), encode_member(said))
        (reason,) = [reason for reason in assess_site(site).unsafe_reasons if word in reason]
        assert "counts nowhere" in reason


def test_in_a_large_realm_only_the_longest_waits_have_a_line_each() -> None:
    ages = [9_000.0, 700.0, 355.0, 354.0, 353.0, *[300.0] * 33]
    waits = [
        {"name": f"shop-{n}", "site_id": "00", "changes_not_acknowledged": 38, "age_s": age}
        for n, age in enumerate(ages)
    ]
    lines = format_waits(waits)
    assert lines[0] == "waiting for shop-0: 38 changes not acknowledged, for 9000 s"
    assert lines[WAITS_SHOWN:] == ["waiting for 33 more sites, for no longer than 300 s"]
    assert format_waits(waits[:WAITS_SHOWN]) == lines[:WAITS_SHOWN]
    assert format_waits([]) == []
