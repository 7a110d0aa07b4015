"""ON WIRE: the plaintext inside every sealed cloud object: versioned, and padded so that its size tells little.

    offset size field
     0     4    magic    of the format within
     4     2    lowest reader version that may use it
     6     2    zero
     8     4    body size
    12     ..   body
    ..     ..   zeros, up to the Padmé size (at least ``PADDED_MIN``)

All integers little-endian. Padmé leaks O(log log size) bits and costs at most 12 percent (Nikitin et al., "Reducing
Metadata Leakage from Encrypted Files", 2019). The version stands before the body, so that an old reader can say
"upgrade" whatever a newer one changed behind it.

Here too: the two errors all cloud formats raise. Not here: sealing.
"""

from __future__ import annotations

import struct
from typing import Final

PADDED_MIN: Final = 1024
_HEAD: Final = struct.Struct("<4sHHI")
HEAD_SIZE: Final = 12
assert _HEAD.size == HEAD_SIZE


class CloudObjectInvalid(ValueError):
    """Bytes that are no cloud object of this kind: damaged, or not written by Skerry."""


class CloudObjectTooNew(CloudObjectInvalid):
    """Written by a newer Skerry: upgrade this site; until then nothing from there on is applied."""


def padme_size(size: int) -> int:
    """The smallest Padmé size that is not less than ``size``."""
    if size < 2:
        return size
    exponent = size.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1 if exponent > exponent.bit_length() else 0
    return (size + mask) & ~mask


def encode_padded(magic: bytes, version: int, body: bytes) -> bytes:
    """Head, body and zeros up to a Padmé size."""
    head = _HEAD.pack(magic, version, 0, len(body))
    return (head + body).ljust(padme_size(max(PADDED_MIN, HEAD_SIZE + len(body))), b"\0")


def decode_padded(magic: bytes, version: int, data: bytes) -> bytes:
    """The body, if this reader of ``version`` may use it; ``CloudObjectInvalid`` or ``CloudObjectTooNew``."""
    if len(data) < HEAD_SIZE:
        raise CloudObjectInvalid("shorter than its head")
    found, lowest, _, size = _HEAD.unpack_from(data)
    if found != magic:
        raise CloudObjectInvalid("not an object of this kind")
    if lowest > version:
        raise CloudObjectTooNew(f"needs a reader of version {lowest}; this Skerry is one of {version}: upgrade it")
    if lowest < 1 or HEAD_SIZE + size > len(data):
        raise CloudObjectInvalid("its head does not fit its size")
    return data[HEAD_SIZE : HEAD_SIZE + size]
