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

A status of a later version is read as far as its fields are known here: it is for people, nothing rests on it. What
is no status at all is none (None), and never stops a log.

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
