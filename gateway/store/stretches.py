"""Stretches of large frames: a range out of a chunk without opening all of it, still authenticated.

Stands beside ``local_frames``. A frame's seal covers all its bytes, so the first range out of a chunk opens it whole;
what was authenticated then is remembered as one tag for every ``STRETCH_SIZE`` bytes of plaintext, in memory only.
The next range reads and decrypts just the stretches it touches and compares them with those tags: what does not
match is not returned (the caller opens the frame whole, which names the damage or mends it). Frames that are stored
as they are only: one that is compressed or a patch must be decoded from its beginning.

A tag is GMAC (SP 800-38D) under a key of this object's, with a nonce of its own for each stretch of each frame
learned: whoever can change the disk knows neither key nor tags, and no tag leaves the process. A third of BLAKE3's
time.

Measured: 64 KiB out of 1 MiB cost 190 us of CPU and a trip to a thread opened whole, 30 us as stretches.
"""

from __future__ import annotations

import os
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable
from hmac import compare_digest
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.store.index_format import ChunkPlace
from replication.frame_format import CODEC_STORED, FrameHeader
from replication.sealing import Keyring, decrypt_stretch, frame_key

STRETCH_SIZE: Final = 32 << 10
CHUNK_SIZE_MIN: Final = 128 << 10
"""Smaller chunks are opened whole as fast."""
KNOWN_BYTES_MAX: Final = 8 << 20
"""Tags kept: for some 10 GiB of chunks."""
_TAG_SIZE: Final = 16
_ENTRY_BYTES: Final = 400
_NONCE: Final = struct.Struct(">QI")


class _Known(NamedTuple):
    """A frame that authenticated: its birth, its key, its number among the learned, its tags one behind the other.

    One that was sealed anew since has another key, so its stretches do not match: it is opened whole and learned again.
    """

    segment: bytes
    slot: int
    key: bytes
    number: int
    tags: bytes


class Stretches:
    """What is known of frames that were opened whole lately. Any thread."""

    def __init__(self, bytes_max: int = KNOWN_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._bytes = 0
        self._mac = AESGCM(os.urandom(32))
        self._learned = 0

    def learn(self, keyring: Keyring, header: FrameHeader, plaintext: bytes) -> None:
        """Remember a frame that was just opened and is stored as it is. Reads all of it: not on an event loop."""
        if header.codec != CODEC_STORED or len(plaintext) < CHUNK_SIZE_MIN:
            return
        view = memoryview(plaintext)
        with self._lock:
            self._learned += 1
            frame = self._learned
        stretches = [view[at : at + STRETCH_SIZE] for at in range(0, len(view), STRETCH_SIZE)]
        tags = b"".join([self._tag(frame, number, stretch) for number, stretch in enumerate(stretches)])
        known = _Known(header.segment, header.slot, frame_key(keyring, header), frame, tags)
        with self._lock:
            before = self._known.pop(header.chunk_id, None)
            self._known[header.chunk_id] = known
            self._bytes += _weight(known) - (_weight(before) if before is not None else 0)
            while self._bytes > self._bytes_max:
                self._bytes -= _weight(self._known.popitem(last=False)[1])

    def open(
        self, chunk_id: bytes, place: ChunkPlace, first: int, last: int, read: Callable[[int, int], bytes | None]
    ) -> bytes | None:
        """Plaintext [first, last) of the frame at a place; None if it is not known, if ``read`` (offset in the
        segment, size) gives nothing, or if a stretch is not what was authenticated.
        """
        with self._lock:
            known = self._known.get(chunk_id)
            if known is None or (known.segment, known.slot) != (place.segment, place.slot):
                return None
            self._known.move_to_end(chunk_id)
        start = first - first % STRETCH_SIZE
        end = min(place.raw_size, last + -last % STRETCH_SIZE)
        ciphertext = read(place.offset + place.header_size + start, end - start)
        if ciphertext is None:
            return None
        plaintext = decrypt_stretch(known.key, ciphertext, start)
        view = memoryview(plaintext)
        numbers = range(start // STRETCH_SIZE, -(-end // STRETCH_SIZE))
        offsets = [number * STRETCH_SIZE - start for number in numbers]
        tags = [
            self._tag(known.number, number, view[at : at + STRETCH_SIZE])
            for number, at in zip(numbers, offsets, strict=True)
        ]
        if not compare_digest(b"".join(tags), known.tags[numbers.start * _TAG_SIZE : numbers.stop * _TAG_SIZE]):
            return None
        return plaintext[first - start : last - start]

    def _tag(self, frame: int, number: int, stretch: memoryview) -> bytes:
        return self._mac.encrypt(_NONCE.pack(frame, number), b"", stretch)


def _weight(known: _Known) -> int:
    return _ENTRY_BYTES + len(known.tags)
