"""``skerry restore --at``: times longer ago than bytes are kept for."""

from gateway.cli.restore_at import is_beyond, parse_time
from replication.settings import DAY_MS


def test_what_is_longer_ago_than_the_retention_may_be_gone():
    now_ms = parse_time("2026-11-29T12:00:00Z")
    assert not is_beyond(now_ms - 7 * DAY_MS, 7.0, now_ms)
    assert is_beyond(now_ms - 7 * DAY_MS - 1, 7.0, now_ms)
    assert is_beyond(now_ms - 1, 0.0, now_ms)
