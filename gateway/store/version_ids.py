"""Version ids: their text on the S3 wire and their 16 (or 40) bytes in the store. Pure.

"null"                       the unversioned slot
32 hex digits                a version: hybrid clock 8 bytes, random 8 bytes; the clock finds its row without a scan
"conflict-" + 80 hex digits  the kept loser of a collision in the null slot: its order (clock 8, site 16,
                             incarnation 8, sequence 8); fixed form, the same on every site
"""

from __future__ import annotations

import re
import struct
from typing import Final, NamedTuple

from replication.change_format import ChangeInvalid
from replication.crdt import Dot

NULL_VID: Final = bytes(16)
_ORDER: Final = struct.Struct(">Q16s8sQ")
ORDER_SIZE: Final = 40
assert _ORDER.size == ORDER_SIZE
_VERSION: Final = re.compile(r"[0-9a-f]{32}")
_CONFLICT: Final = re.compile(r"conflict-([0-9a-f]{80})")


class VersionId(NamedTuple):
    """A version id as the store takes it: either ``vid`` (16 bytes, zeros for null) or ``order`` (40 bytes)."""

    vid: bytes
    order: bytes = b""

    @property
    def text(self) -> str:
        """The id as S3 clients see it."""
        if self.order:
            return "conflict-" + self.order.hex()
        return "null" if self.vid == NULL_VID else self.vid.hex()


NULL: Final = VersionId(NULL_VID)


def parse_version_id(text: str) -> VersionId | None:
    """The version id in ``text``; None if no version of ours could have it (S3: NoSuchVersion or InvalidArgument)."""
    if text == "null":
        return NULL
    if _VERSION.fullmatch(text) and text != NULL_VID.hex():
        return VersionId(bytes.fromhex(text))
    conflict = _CONFLICT.fullmatch(text)
    return VersionId(b"", bytes.fromhex(conflict.group(1))) if conflict else None


def make_vid(hlc: int, random8: bytes) -> bytes:
    """16 bytes of a new version id."""
    return struct.pack(">Q", hlc) + random8


def hlc_of_vid(vid: bytes) -> int:
    """The hybrid clock a version id carries."""
    return int.from_bytes(vid[:8], "big")


def encode_order(hlc: int, dot: Dot) -> bytes:
    """40 bytes that compare as ``Write.order`` does."""
    return _ORDER.pack(hlc, dot.site, dot.incarnation, dot.seq)


def decode_order(order: bytes) -> tuple[int, Dot]:
    """(hybrid clock, dot) of an encoded order; ``ChangeInvalid`` if it is none."""
    if len(order) != ORDER_SIZE:
        raise ChangeInvalid("not an order")
    hlc, site, incarnation, seq = _ORDER.unpack(order)
    return hlc, Dot(site, incarnation, seq)
