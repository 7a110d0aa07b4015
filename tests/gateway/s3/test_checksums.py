"""Checksums: known answers, streaming, combination, ETags."""

from __future__ import annotations

import hashlib
import zlib
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.checksums import (
    ALGORITHMS,
    BY_HEADER,
    COMPOSITE,
    FULL_OBJECT,
    combine_checksums,
    compose_checksums,
    compose_etag,
    compute_checksum,
    decode_digest,
    default_type,
    encode_digest,
    extend_etag,
    start_hasher,
)

CHECK = b"123456789"  # the check value of the catalogue of parametrised CRC algorithms
COMBINING = [name for name, algorithm in ALGORITHMS.items() if algorithm.combine]


@pytest.mark.parametrize(
    ("name", "hexadecimal"),
    [
        ("CRC32", "cbf43926"),
        ("CRC32C", "e3069283"),
        ("CRC64NVME", "ae8b14860a799888"),
        ("SHA1", "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
        ("SHA256", hashlib.sha256(CHECK).hexdigest()),
        ("SHA512", hashlib.sha512(CHECK).hexdigest()),
        ("MD5", "25f9e794323b453885f5181f1b624d0b"),
        ("XXHASH64", "8cb841db40e6ae83"),
    ],
)
def test_known_answers(name, hexadecimal):
    assert compute_checksum(name, CHECK) == b64encode(bytes.fromhex(hexadecimal)).decode()


@pytest.mark.parametrize("name", ALGORITHMS)
@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=5))
def test_streaming_equals_at_once(name, data, cuts):
    hasher = start_hasher(name)
    at = 0
    for cut in sorted(min(cut, len(data)) for cut in cuts):
        hasher.update(memoryview(data)[at:cut])
        at = cut
    hasher.update(data[at:])
    assert encode_digest(hasher.digest()) == compute_checksum(name, data)
    assert hasher.digest() == hasher.digest()
    assert len(hasher.digest()) == ALGORITHMS[name].size


@pytest.mark.parametrize("name", COMBINING)
@given(parts=st.lists(st.binary(max_size=100), min_size=1, max_size=6))
def test_crcs_of_parts_combine_to_that_of_the_whole(name, parts):
    combined = combine_checksums(name, [(compute_checksum(name, part), len(part)) for part in parts])
    assert combined == compute_checksum(name, b"".join(parts))


def test_combining_terabytes_costs_nothing():
    part = (compute_checksum("CRC32", b"x"), 5 * 1024**3)
    assert combine_checksums("CRC32", [part] * 1000)


def test_which_algorithm_may_be_what():
    assert {name for name, algorithm in ALGORITHMS.items() if FULL_OBJECT in algorithm.types} == set(COMBINING)
    assert {name for name, algorithm in ALGORITHMS.items() if COMPOSITE not in algorithm.types} == {"CRC64NVME"}
    assert default_type("CRC64NVME") == FULL_OBJECT
    assert default_type("CRC32") == default_type("SHA256") == COMPOSITE
    assert BY_HEADER["x-amz-checksum-crc32c"].element == "ChecksumCRC32C"


def test_composite_checksums_are_of_the_digests():
    parts = [compute_checksum("SHA256", part) for part in (b"a", b"b")]
    expected = hashlib.sha256(hashlib.sha256(b"a").digest() + hashlib.sha256(b"b").digest()).digest()
    assert compose_checksums("SHA256", parts) == b64encode(expected).decode() + "-2"
    crc = zlib.crc32(zlib.crc32(b"a").to_bytes(4, "big")).to_bytes(4, "big")
    assert compose_checksums("CRC32", [compute_checksum("CRC32", b"a")]) == b64encode(crc).decode() + "-1"


def test_multipart_etags():
    parts = [hashlib.md5(part).hexdigest() for part in (b"a", b"b")]
    expected = hashlib.md5(hashlib.md5(b"a").digest() + hashlib.md5(b"b").digest()).hexdigest()
    assert compose_etag(parts) == f"{expected}-2"


@pytest.mark.parametrize(
    "text", ["", "AAAA", "AAAAAA=", "AAAAAA", "AAAAAB==", "AAAAAA==\n", " AAAAAA==", "A" * 200, "ÄÄÄÄÄÄ==", "AA-_AA=="]
)
def test_digests_are_strict_base64(text):
    assert decode_digest(text, 4) is None


@given(text=st.text(max_size=40))
def test_any_text_is_a_digest_or_none(text):
    assert decode_digest(text, 4) is None or encode_digest(decode_digest(text, 4) or b"") == text


def test_the_etag_of_an_append_is_that_of_two_parts_and_goes_on_from_there():
    one, two = hashlib.md5(b"1").hexdigest(), hashlib.md5(b"2").hexdigest()
    both = extend_etag(one, two, 2)
    assert both == compose_etag([one, two])
    again = extend_etag(both, two, 3)
    assert again.endswith("-3")
    assert again[:32] != both[:32]
