"""ON WIRE: what a site tells of itself with every batch, sealed with it; kept by readers as it came, newest only.

MessagePack array (version 1; fields may only ever be added at the end, with defaults):

    0 version          int     1
    1 name             str     as the site's operator calls it
    2 release          str     the Skerry that wrote it
    3 reader_version   int     the greatest change version that it can apply
    4 backlog_changes  int     own changes that are not in the bucket with this batch
    5 backlog_bytes    int     at most this much of them and their frames is unsent
    6 oldest_unsent_ms int     unix time of the oldest of them; 0: none
    7 free_bytes       int     free space where the data lies, without the reserve; -1: not known
    8 full_in_days     float   at the pace of the last days; -1: not filling, or not known
    9 skew_ms          int     the site's clock less the bucket's; 0 if not known
   10 open_conflicts   int     keys that two sites wrote at once
   11 cloud_live_bytes    int  its objects of frames in the bucket, as it looked at them last: what something needs,
   12 cloud_dead_bytes    int  what nothing does, or did lately,
   13 cloud_doomed_bytes  int  and what is in objects that go when all have let go of them; -1 each: not looked at yet
   14 tombstones       int     kept in its index; -1: not counted yet
   15 collects         int     1: it takes back in the bucket what nothing needs; 0: it was told not to; -1: not known
   16 held_since_ms    int     unix time since which it waits for some site to acknowledge anything; 0: for none
   17 rekeyed          array   of bin16: epochs that are to end and under which nothing of it lies any more

A status of a later version is read as far as its fields are known here: it is for people, and nothing rests on it but
whether an epoch may be ended (each site counts for itself before it gives the key up). What is no status at all is none
(None), and never stops a log.

Not here: when it is sent (shipper), how free space is judged (the composition root).
"""

from __future__ import annotations

from typing import Final

import msgspec

STATUS_VERSION: Final = 1
STATUS_BYTES_MAX: Final = 4096


class SiteStatus(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One site's account of itself; fields as in the table."""

    version: int = STATUS_VERSION
    name: str = ""
    release: str = ""
    reader_version: int = 0
    backlog_changes: int = 0
    backlog_bytes: int = 0
    oldest_unsent_ms: int = 0
    free_bytes: int = -1
    full_in_days: float = -1.0
    skew_ms: int = 0
    open_conflicts: int = 0
    cloud_live_bytes: int = -1
    cloud_dead_bytes: int = -1
    cloud_doomed_bytes: int = -1
    tombstones: int = -1
    collects: int = -1
    held_since_ms: int = 0
    rekeyed: tuple[bytes, ...] = ()

    @property
    def cloud_going_bytes(self) -> int:
        """What of its objects of frames in the bucket is to go, as far as it was looked at."""
        return max(0, self.cloud_dead_bytes) + max(0, self.cloud_doomed_bytes)

    @property
    def cloud_bytes(self) -> int:
        """All of them, as far as they were looked at."""
        return max(0, self.cloud_live_bytes) + self.cloud_going_bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(SiteStatus)


def encode_site_status(status: SiteStatus) -> bytes:
    """Bytes of a status; ``ValueError`` if a name makes it longer than a batch should carry."""
    data = _encoder.encode(status)
    if len(data) > STATUS_BYTES_MAX:
        raise ValueError(f"a status of {len(data)} bytes: at most {STATUS_BYTES_MAX}")
    return data


def decode_site_status(data: bytes) -> SiteStatus | None:
    """The status in ``data``; None if there is none, or none that can be read."""
    if not data or len(data) > STATUS_BYTES_MAX:
        return None
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
