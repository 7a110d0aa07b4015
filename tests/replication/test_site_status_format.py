"""What a site tells of itself: read across versions, and never a reason to stop a log."""

import msgspec
import pytest

from replication.site_status_format import STATUS_BYTES_MAX, SiteStatus, decode_site_status, encode_site_status


def test_a_later_version_is_read_as_far_as_it_is_known():
    later = msgspec.msgpack.encode([2, "shop", "9.0", 7, 1, 2, 3, 4, 5.0, 6, 7, 8, 9, 10, 11, 1, 12, [b"e"], "new"])
    known = SiteStatus(2, "shop", "9.0", 7, 1, 2, 3, 4, 5.0, 6, 7, 8, 9, 10, 11, 1, 12, (b"e",))
    assert decode_site_status(later) == known


def test_an_earlier_one_has_defaults():
    assert decode_site_status(msgspec.msgpack.encode([1, "shop"])) == SiteStatus(name="shop")


@pytest.mark.parametrize("data", [b"", b"\xc1", msgspec.msgpack.encode(["shop"]), b"\x91" * (STATUS_BYTES_MAX + 1)])
def test_what_is_none_is_none(data):
    assert decode_site_status(data) is None


def test_a_name_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="4096"):
        encode_site_status(SiteStatus(name="x" * STATUS_BYTES_MAX))
