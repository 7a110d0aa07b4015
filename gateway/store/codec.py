"""How a chunk is encoded before it is sealed: stored, zstd, or a zstd patch against chunks it resembles. Pure.

Stands between the plaintext and the seal. What is chosen is only a matter of size and time: ``decode_payload`` gives
the plaintext back or raises, and never more bytes than the frame's header names. A patch is zstd with the bases'
plaintexts, one behind the other, as raw-content dictionary.

Measured on 1 MiB chunks, one core: deciding that random bytes do not compress 15 µs (whole: 110 µs); a patch 3.5 ms per
base MiB, nearly all of it hashing the dictionary, which is why a look for common bytes decides first (100 µs per probe
that finds nothing); decoding a patch 35 µs.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

import zstandard

from replication.frame_format import CODEC_PATCH, CODEC_STORED, CODEC_ZSTD

LEVEL: Final = 1
SAMPLE_SIZE: Final = 16 << 10
"""Two slices of this size decide whether to compress; what is not larger than both is compressed to see."""
COMPRESS_BELOW: Final = 0.9
PATCH_SIZE_MIN: Final = 1 << 10
PATCH_BELOW: Final = 0.6
"""A patch is kept if it has less than this share of what plain encoding would have."""
PATCH_CERTAIN: Final = 0.05
"""A patch with less than this share of the plaintext is kept without trying anything else."""
PROBES: Final = 8
PROBE_SIZE: Final = 32

DICTIONARY_MAX: Final = 16 << 20
"""Bytes of bases that a patch may be made against."""
_PATCH_PARAMETERS: Final = tuple(
    (bytes_max, zstandard.ZstdCompressionParameters.from_level(LEVEL, window_log=window_log, hash_log=hash_log))
    for bytes_max, window_log, hash_log in ((4 << 20, 23, 19), (8 << 20, 24, 20), (DICTIONARY_MAX, 25, 21))
)
"""By dictionary size: a hash table too small for the dictionary forgets its beginning (measured: all but the last 4 MiB
with 2^19 entries), and a larger one costs its clearing on every patch."""
_local = threading.local()

Buffer = bytes | memoryview


class PayloadInvalid(ValueError):
    """A payload that does not decode to what its frame's header says."""


def encode_payload(plaintext: Buffer, base: bytes = b"") -> tuple[int, Buffer]:
    """Encode a chunk: (codec, payload). ``base`` is the joined plaintext of its bases (at most
    ``DICTIONARY_MAX`` bytes); ``CODEC_PATCH`` only if it helped.
    """
    size = len(plaintext)
    patch = _patch(plaintext, base) if size >= PATCH_SIZE_MIN and base and resembles(plaintext, base) else None
    if patch is not None and len(patch) < size * PATCH_CERTAIN:
        return CODEC_PATCH, patch
    codec, payload = _plain(plaintext)
    if patch is not None and len(patch) < len(payload) * PATCH_BELOW:
        return CODEC_PATCH, patch
    return codec, payload


def decode_payload(codec: int, payload: bytes, raw_size: int, base: bytes = b"") -> bytes:
    """The plaintext of a payload: exactly ``raw_size`` bytes, or ``PayloadInvalid``.

    ``base`` as when it was encoded.
    """
    if codec == CODEC_STORED:
        plaintext = payload
    elif codec in (CODEC_ZSTD, CODEC_PATCH):
        plaintext = _decompress(payload, raw_size, base if codec == CODEC_PATCH else b"")
    else:
        raise PayloadInvalid(f"codec {codec} is not known: upgrade this site")
    if len(plaintext) != raw_size:
        raise PayloadInvalid(f"{len(plaintext)} bytes where the header names {raw_size}")
    return plaintext


def resembles(plaintext: Buffer, base: bytes) -> bool:
    """Whether a few probes, spread over the plaintext, are found anywhere in the base."""
    step = max(1, (len(plaintext) - PROBE_SIZE) // (PROBES - 1))
    return any(base.find(plaintext[at : at + PROBE_SIZE]) >= 0 for at in _probe_offsets(len(plaintext), step))


def join_bases(plaintexts: Sequence[bytes]) -> bytes:
    """The dictionary that several bases make, in the order the frame names them."""
    return plaintexts[0] if len(plaintexts) == 1 else b"".join(plaintexts)


def _probe_offsets(size: int, step: int) -> list[int]:
    """Middle first: edits at an end are the commonest, so the middle is the likeliest to be found."""
    offsets = range(0, max(1, size - PROBE_SIZE + 1), step)
    return sorted(offsets, key=lambda offset: abs(offset - size // 2))


def _plain(plaintext: Buffer) -> tuple[int, Buffer]:
    size = len(plaintext)
    if size > 2 * SAMPLE_SIZE:
        quarter = (size - SAMPLE_SIZE) // 4
        sample = bytes(plaintext[quarter : quarter + SAMPLE_SIZE]) + bytes(
            plaintext[3 * quarter : 3 * quarter + SAMPLE_SIZE]
        )
        if len(_compressor().compress(sample)) >= len(sample) * COMPRESS_BELOW:
            return CODEC_STORED, plaintext
    packed = _compressor().compress(plaintext)
    return (CODEC_ZSTD, packed) if len(packed) < size * COMPRESS_BELOW else (CODEC_STORED, plaintext)


def _patch(plaintext: Buffer, base: bytes) -> bytes:
    dictionary = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    parameters = next(chosen for bytes_max, chosen in _PATCH_PARAMETERS if len(base) <= bytes_max)
    return zstandard.ZstdCompressor(dict_data=dictionary, compression_params=parameters).compress(plaintext)


def _decompress(payload: bytes, raw_size: int, base: bytes) -> bytes:
    try:
        if zstandard.frame_content_size(payload) != raw_size:
            raise PayloadInvalid("the payload names another size than the header")
        if not base:
            return _decompressor().decompress(payload, allow_extra_data=False)
        dictionary = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        return zstandard.ZstdDecompressor(dict_data=dictionary).decompress(payload, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise PayloadInvalid(f"the payload does not decompress: {error}") from error


def _compressor() -> zstandard.ZstdCompressor:
    """A compressor of this thread's own: contexts are costly to make and must not be shared."""
    try:
        return _local.compressor  # type: ignore[no-any-return]
    except AttributeError:
        _local.compressor = zstandard.ZstdCompressor(level=LEVEL)
        return _local.compressor  # type: ignore[no-any-return]


def _decompressor() -> zstandard.ZstdDecompressor:
    try:
        return _local.decompressor  # type: ignore[no-any-return]
    except AttributeError:
        _local.decompressor = zstandard.ZstdDecompressor()
        return _local.decompressor  # type: ignore[no-any-return]
