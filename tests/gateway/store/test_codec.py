"""Encoding chunks: stored, compressed or patched, and always back again."""

from __future__ import annotations

import random

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.store.codec import PayloadInvalid, decode_payload, encode_payload, resembles
from replication.frame_format import CODEC_PATCH, CODEC_STORED, CODEC_ZSTD

RANDOM = random.Random(2).randbytes(6 << 20)
TEXT = b"".join(b"%d: some line of a log, and its number again %d\n" % (n, n) for n in range(40_000))

plaintexts = st.one_of(
    st.binary(max_size=200),
    st.integers(0, 200_000).map(lambda size: RANDOM[:size]),
    st.integers(0, 200_000).map(lambda size: TEXT[:size]),
    st.tuples(st.integers(0, 99_999), st.binary(max_size=50)).map(
        lambda p: RANDOM[: p[0]] + p[1] + RANDOM[p[0] : 99_999]
    ),
)


@settings(max_examples=80, deadline=None)
@given(plaintexts, st.one_of(st.just(b""), plaintexts))
def test_round_trip(plaintext: bytes, base: bytes) -> None:
    codec, payload = encode_payload(plaintext, base)
    assert decode_payload(codec, bytes(payload), len(plaintext), base) == plaintext
    assert len(payload) <= len(plaintext)
    assert encode_payload(memoryview(plaintext), base) == (codec, payload)


def test_what_does_not_compress_is_stored_and_what_does_is_compressed() -> None:
    assert encode_payload(RANDOM[: 1 << 20])[0] == CODEC_STORED
    codec, payload = encode_payload(TEXT)
    assert codec == CODEC_ZSTD
    assert len(payload) < len(TEXT) // 3


def test_a_small_change_makes_a_small_patch() -> None:
    base = RANDOM[: 1 << 20]
    changed = base[:500_000] + RANDOM[-1024:] + base[500_000:]
    codec, payload = encode_payload(changed, base)
    assert codec == CODEC_PATCH
    assert len(payload) < 1300


@pytest.mark.parametrize("distance", [0, 3 << 20, 4 << 20])
def test_bases_of_several_megabytes_are_reached(distance: int) -> None:
    base = RANDOM[:distance] + RANDOM[-(1 << 20) :]
    codec, payload = encode_payload(RANDOM[-(1 << 20) :], base)
    assert codec == CODEC_PATCH
    assert len(payload) < 1000
    assert decode_payload(codec, bytes(payload), 1 << 20, base) == RANDOM[-(1 << 20) :]


def test_two_full_bases_of_the_largest_size_round_trip() -> None:
    base = (RANDOM + RANDOM[::-1])[: 8 << 20]
    plaintext = base[-(4 << 20) :]
    codec, payload = encode_payload(plaintext, base)
    assert decode_payload(codec, bytes(payload), len(plaintext), base) == plaintext


def test_no_patch_where_it_does_not_help() -> None:
    assert encode_payload(RANDOM[: 1 << 20], RANDOM[1 << 20 : 2 << 20])[0] == CODEC_STORED
    assert encode_payload(b"tiny", b"tiny")[0] == CODEC_STORED
    assert not resembles(RANDOM[:1000], RANDOM[2000:])
    assert resembles(RANDOM[:1000], RANDOM[500:])


def test_wrong_bases_sizes_and_bytes_are_refused_or_give_nothing_longer() -> None:
    base = RANDOM[: 1 << 20]
    codec, payload = encode_payload(base[:700_000], base)
    assert codec == CODEC_PATCH
    payload = bytes(payload)
    with pytest.raises(PayloadInvalid):
        decode_payload(codec, payload, 699_999, base)
    with pytest.raises(PayloadInvalid):
        decode_payload(codec, payload, 700_000, base[:1000])
    with pytest.raises(PayloadInvalid):
        decode_payload(codec, payload + b"more", 700_000, base)
    with pytest.raises(PayloadInvalid):
        decode_payload(CODEC_ZSTD, b"no zstd", 7)
    with pytest.raises(PayloadInvalid):
        decode_payload(CODEC_STORED, b"seven b", 6)
    with pytest.raises(PayloadInvalid, match="upgrade"):
        decode_payload(9, b"", 0)


def test_a_bomb_is_not_unpacked() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(100 << 20))
    with pytest.raises(PayloadInvalid):
        decode_payload(CODEC_ZSTD, bomb, 1000)
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1000))
    with pytest.raises(PayloadInvalid):
        decode_payload(CODEC_ZSTD, unsized, 1000)
    huge = bytes.fromhex("28b52ffd e0 0000000000100000 090000 41")  # names 16 TiB, holds one byte
    with pytest.raises(PayloadInvalid):
        decode_payload(CODEC_ZSTD, huge, 1)


@pytest.mark.parametrize("base_mib", [3, 7, 12, 16])
@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_a_patch_finds_its_bytes_anywhere_in_its_bases(base_mib: int, where: str) -> None:
    """However large the dictionary: a hash table too small for it would forget its beginning."""
    base = random.Random(base_mib).randbytes(base_mib << 20)
    size = 2 << 20
    start = {"first": 0, "middle": (len(base) - size) // 2, "last": len(base) - size}[where]
    plaintext = base[start : start + size]
    codec, payload = encode_payload(plaintext, base)
    assert codec == CODEC_PATCH
    assert len(payload) < 4096
    assert decode_payload(codec, bytes(payload), size, base) == plaintext
