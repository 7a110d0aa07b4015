"""Making and opening frames: births, bases, and damage in any part."""

from __future__ import annotations

import dataclasses

import pytest

from gateway.store.errors import ChunkUnavailable, Damaged
from gateway.store.frames import FrameMaker, split_frame
from replication.frame_format import CODEC_PATCH, KIND_DATA, FrameName
from replication.sealing import Keyring

KEYRING = Keyring(b"r" * 16, b"c" * 32, {b"e" * 16: b"k" * 32}, b"e" * 16)


def test_every_frame_has_a_birth_of_its_own() -> None:
    makers = [FrameMaker(KEYRING), FrameMaker(KEYRING)]
    frames = [maker.seal(KIND_DATA, maker.chunk_id(b"same"), b"same") for maker in makers for _ in range(3)]
    assert len({(frame.header.segment, frame.header.slot) for frame in frames}) == 6
    assert len({frame.ciphertext for frame in frames}) == 6
    assert len({frame.header.chunk_id for frame in frames}) == 1


def test_headers_tell_what_was_written() -> None:
    maker = FrameMaker(KEYRING)
    frame = maker.seal(KIND_DATA, maker.chunk_id(b"text" * 99), b"text" * 99)
    header, ciphertext = split_frame(frame.encoded_header + frame.ciphertext)
    assert header == frame.header
    assert maker.open_foreign(header, ciphertext) == b"text" * 99


def test_patches_open_with_their_base_and_only_with_it() -> None:
    maker = FrameMaker(KEYRING)
    base = bytes(range(256)) * 40
    plaintext = base[:5000] + b"changed" + base[5000:][::-1]
    name = FrameName(maker.chunk_id(base), b"b" * 24, 5)
    frame = maker.seal(KIND_DATA, maker.chunk_id(plaintext), plaintext, [name], base)
    if frame.header.codec == CODEC_PATCH:
        assert frame.header.bases == (name,)
    assert maker.open(frame.header, frame.ciphertext, base) == plaintext


def test_damage_in_any_part_is_noticed() -> None:
    maker = FrameMaker(KEYRING)
    frame = maker.seal(KIND_DATA, maker.chunk_id(b"plaintext"), b"plaintext")
    data = frame.encoded_header + frame.ciphertext
    for at in range(len(data)):
        damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(Damaged):
            maker.open(*split_frame(damaged))
    for cut in (0, 100, 128, len(data) - 1):
        with pytest.raises(Damaged):
            split_frame(data[:cut])
    with pytest.raises(Damaged):
        split_frame(data + b"x")


def test_a_frame_that_claims_another_chunk_is_refused() -> None:
    maker = FrameMaker(KEYRING)
    frame = maker.seal(KIND_DATA, bytes(32), b"plaintext")
    assert maker.open(frame.header, frame.ciphertext) == b"plaintext"
    with pytest.raises(Damaged, match="claims"):
        maker.open_foreign(frame.header, frame.ciphertext)


def test_an_epoch_that_is_not_here_yet_is_no_damage() -> None:
    maker = FrameMaker(KEYRING)
    newer = dataclasses.replace(KEYRING, epochs={**KEYRING.epochs, b"f" * 16: b"l" * 32}, current=b"f" * 16)
    ahead = FrameMaker(newer)
    frame = ahead.seal(KIND_DATA, maker.chunk_id(b"plaintext"), b"plaintext")
    with pytest.raises(ChunkUnavailable, match="keys"):
        maker.open(frame.header, frame.ciphertext)
    maker.keyring = newer
    assert maker.open(frame.header, frame.ciphertext) == b"plaintext"
