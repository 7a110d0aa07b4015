"""Sealing: golden bytes, keys that no two payloads share, and every tampering noticed."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from replication.frame_format import FrameHeader, decode_header, encode_header
from replication.sealing import (
    ENVELOPE_OVERHEAD,
    ENVELOPE_SIZE,
    PURPOSE_CLOUD_LOG,
    PURPOSE_LOCAL_LOG,
    Keyring,
    KeyUnknown,
    SealBroken,
    chunk_id,
    chunking_seed,
    decrypt_stretch,
    frame_key,
    open_envelope,
    open_frame,
    seal_envelope,
    seal_frame,
    segment_key,
)

GOLDEN = Path(__file__).parents[1] / "golden"
EPOCH, OTHER = bytes(range(16)), bytes(range(16, 32))
KEYRING = Keyring(b"realm id 16 byte", bytes(range(32)), {EPOCH: bytes(range(32, 64)), OTHER: bytes(32)}, EPOCH)
HEADER = FrameHeader(0, 0, 0, 5, 0, 9, EPOCH, bytes(range(24)), bytes(range(32)), bytes(32))
PLAINTEXT = b"plaintext"
CONTEXT = b"segment and number"
CHUNK_ID = "badb5aa797d6cf4d5a04fc1c5279c92cc59bc52f989247460979bbd62adf0415"
SEED = 0xE5C43A80F45A51E


def test_golden_frame() -> None:
    """Frames sealed once must open forever, byte for byte as they were sealed."""
    header, ciphertext = (bytes.fromhex(line) for line in (GOLDEN / "frame_1.hex").read_text().split())
    assert seal_frame(KEYRING, HEADER, PLAINTEXT) == (header, ciphertext)
    assert open_frame(KEYRING, decode_header(header), ciphertext) == PLAINTEXT


def test_golden_envelope() -> None:
    sealed = bytes.fromhex((GOLDEN / "envelope_1.hex").read_text())
    assert open_envelope(KEYRING, PURPOSE_LOCAL_LOG, CONTEXT, sealed) == PLAINTEXT


def test_golden_chunk_id_and_seed() -> None:
    """Other ids would end deduplication against everything that is stored."""
    assert chunk_id(KEYRING, PLAINTEXT).hex() == CHUNK_ID
    assert chunking_seed(KEYRING) == SEED


@given(st.binary(max_size=3000))
def test_frames_round_trip(payload: bytes) -> None:
    encoded, ciphertext = seal_frame(KEYRING, replace(HEADER, raw_size=len(payload)), payload)
    header = decode_header(encoded)
    assert header.stored_size == len(ciphertext) == len(payload) + 16
    assert open_frame(KEYRING, header, ciphertext) == payload
    assert open_frame(KEYRING, header, memoryview(ciphertext)) == payload


def test_no_two_payloads_share_a_key() -> None:
    """A cloned machine reuses births: another payload, or another header, must then have another key."""
    packed = replace(HEADER, codec=1)
    first = seal_frame(KEYRING, packed, b"payload a")
    assert seal_frame(KEYRING, packed, b"payload a") == first
    other = seal_frame(KEYRING, packed, b"payload b")  # the same chunk, encoded otherwise
    moved = seal_frame(KEYRING, replace(packed, slot=6), b"payload a")
    assert len({decode_header(encoded).salt for encoded, _ in (first, other, moved)}) == 3
    assert xor(first[1], b"payload a") != xor(other[1], b"payload b")


def test_stored_payloads_have_their_keys_by_their_chunk_ids() -> None:
    bodies = (b"payload a", b"payload b")
    sealed = [seal_frame(KEYRING, replace(HEADER, chunk_id=chunk_id(KEYRING, body)), body) for body in bodies]
    assert len({decode_header(encoded).salt for encoded, _ in sealed}) == 2
    assert xor(sealed[0][1], bodies[0]) != xor(sealed[1][1], bodies[1])


def xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=False))


@pytest.mark.parametrize(
    "change",
    [
        {"slot": 6},
        {"segment": bytes(24)},
        {"chunk_id": bytes(32)},
        {"salt": bytes(32)},
        {"kind": 1},
        {"codec": 1},
        {"raw_size": 8},
        {"domain": 1},
        {"epoch": OTHER},
        {"stored_size": 26},
    ],
)
def test_a_frame_opens_only_under_the_header_it_was_sealed_with(change: dict[str, object]) -> None:
    encoded, ciphertext = seal_frame(KEYRING, HEADER, PLAINTEXT)
    header = replace(decode_header(encoded), **change)
    with pytest.raises(SealBroken):
        open_frame(KEYRING, decode_header(encode_header(header)), ciphertext)


def test_a_frame_opens_only_in_its_realm_and_unchanged() -> None:
    encoded, ciphertext = seal_frame(KEYRING, HEADER, PLAINTEXT)
    header = decode_header(encoded)
    for keyring in (
        dataclasses.replace(KEYRING, realm=bytes(16)),
        dataclasses.replace(KEYRING, epochs={EPOCH: bytes(32)}),
    ):
        with pytest.raises(SealBroken):
            open_frame(keyring, header, ciphertext)
    for bad in (ciphertext[:-1], b"", bytes([ciphertext[0] ^ 1]) + ciphertext[1:]):
        with pytest.raises(SealBroken):
            open_frame(KEYRING, header, bad)
    with pytest.raises(KeyUnknown):
        open_frame(dataclasses.replace(KEYRING, epochs={}), header, ciphertext)


@given(st.binary(max_size=500), st.binary(max_size=50))
def test_envelopes_round_trip(plaintext: bytes, context: bytes) -> None:
    sealed = seal_envelope(KEYRING, PURPOSE_LOCAL_LOG, context, plaintext)
    assert len(sealed) == len(plaintext) + ENVELOPE_OVERHEAD
    assert open_envelope(KEYRING, PURPOSE_LOCAL_LOG, context, memoryview(sealed)) == plaintext
    assert seal_envelope(KEYRING, PURPOSE_LOCAL_LOG, context, plaintext) != sealed


def test_envelopes_open_only_for_their_purpose_context_and_realm() -> None:
    sealed = seal_envelope(KEYRING, PURPOSE_LOCAL_LOG, CONTEXT, PLAINTEXT)
    with pytest.raises(SealBroken, match="kind"):
        open_envelope(KEYRING, PURPOSE_CLOUD_LOG, CONTEXT, sealed)
    with pytest.raises(SealBroken):
        open_envelope(KEYRING, PURPOSE_LOCAL_LOG, CONTEXT + b"x", sealed)
    with pytest.raises(SealBroken):
        open_envelope(dataclasses.replace(KEYRING, realm=bytes(16)), PURPOSE_LOCAL_LOG, CONTEXT, sealed)
    with pytest.raises(SealBroken):
        open_envelope(KEYRING, PURPOSE_LOCAL_LOG, CONTEXT, sealed[: ENVELOPE_SIZE + 15])
    for at in range(len(sealed)):
        damaged = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(SealBroken):
            open_envelope(KEYRING, PURPOSE_LOCAL_LOG, CONTEXT, damaged)


def test_relabelling_an_envelope_as_another_purpose_does_not_help() -> None:
    sealed = bytearray(seal_envelope(KEYRING, PURPOSE_LOCAL_LOG, CONTEXT, PLAINTEXT))
    sealed[4] = PURPOSE_CLOUD_LOG
    with pytest.raises(SealBroken):
        open_envelope(KEYRING, PURPOSE_CLOUD_LOG, CONTEXT, bytes(sealed))


def test_keys_differ_by_epoch_purpose_and_segment() -> None:
    keys = {
        segment_key(epoch, purpose, segment)
        for epoch in (bytes(32), bytes(31) + b"x")
        for purpose in (1, 2)
        for segment in (bytes(24), bytes(23) + b"x")
    }
    assert len(keys) == 8


def test_keys_do_not_show() -> None:
    for text in (repr(KEYRING), str(KEYRING), f"{KEYRING}"):
        assert KEYRING.chunk_key.hex() not in text
        assert repr(KEYRING.chunk_key) not in text
        assert repr(KEYRING.epochs[EPOCH]) not in text


def test_chunk_ids_depend_on_the_key() -> None:
    other = dataclasses.replace(KEYRING, chunk_key=bytes(32))
    assert chunk_id(other, PLAINTEXT) != chunk_id(KEYRING, PLAINTEXT)
    assert chunking_seed(other) != chunking_seed(KEYRING)
    assert chunk_id(KEYRING, memoryview(PLAINTEXT)) == chunk_id(KEYRING, PLAINTEXT)


@pytest.mark.parametrize("size", [0, 1, 16, 1000, 100_003])
def test_stretches_of_a_frame_decrypt_to_what_the_whole_does(size: int) -> None:
    payload = random.Random(size).randbytes(size)
    encoded, ciphertext = seal_frame(KEYRING, replace(HEADER, raw_size=size), payload)
    header = decode_header(encoded)
    key = frame_key(KEYRING, header)
    for start in range(0, size, 16 * 777):
        for end in (start + 1, start + 15, start + 5000, size):
            stretch = ciphertext[start : min(end, size)]
            assert decrypt_stretch(key, stretch, start) == payload[start : min(end, size)]
    with pytest.raises(AssertionError):
        decrypt_stretch(key, ciphertext, 8)
