"""The bucket document ``mirror``: where plain copies of a bucket's current objects go, and which site writes them.

JSON: ``{"bucket": name, "prefix": text, "site": hex of the site's id}``; fields of a newer Skerry are passed over. It
replicates like every document, so all sites know who does it, and another site takes over by saying so.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

MIRROR: Final = "mirror"


class Mirror(msgspec.Struct, frozen=True):
    """Where a mirror is, and whose task it is."""

    bucket: str
    prefix: str
    site: str


def encode_mirror(mirror: Mirror) -> bytes:
    """Bytes of the document."""
    return msgspec.json.encode(mirror)


@lru_cache(maxsize=256)
def decode_mirror(data: bytes) -> Mirror | None:
    """The document's value; None if this Skerry cannot read it, and so mirrors nothing."""
    try:
        return msgspec.json.decode(data, type=Mirror)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
