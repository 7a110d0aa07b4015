"""Batches of the change log as bytes: golden samples, round trips, and every way to be refused."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from gateway.store import log_format
from gateway.store.errors import Damaged, FormatTooNew
from gateway.store.log_format import (
    BATCH_HEADER_SIZE,
    Anew,
    BatchInvalid,
    Evicted,
    Folded,
    Imported,
    Incarnation,
    JoinBegun,
    JoinDone,
    JoinOver,
    Located,
    Lost,
    Own,
    Parted,
    PartStored,
    Placed,
    Pulled,
    Record,
    Shipped,
    StableCut,
    Subscribed,
    UploadClosed,
    UploadOpened,
    VectorRow,
    batch_hash,
    decode_batch_header,
    encode_records,
    open_records,
    reseal_batch,
    seal_batch,
)
from replication.sealing import Keyring, SealBroken

GOLDEN = Path(__file__).parents[2] / "golden"
KEYRING = Keyring(b"r" * 16, b"c" * 32, {b"e" * 16: b"k" * 32}, b"e" * 16)
SEGMENT = b"g" * 24
RECORDS = [
    Placed(((2, 128, b"header"),)),
    Own(b"change", 70),
    Imported(b"S" * 16, b"I" * 8, (b"one", b"two")),
    Pulled(
        b"S" * 16, b"I" * 8, 3, 9, b"h" * 32, ((b"T" * 16, b"J" * 8, 5),), 1_700_000_000_000, (Located(b"h", "o", 7),)
    ),
    Shipped(2, 8, b"h" * 32, (Located(b"h", "packs/x", 1 << 40),), 12345),
    UploadOpened(b"upload"),
    PartStored("id", b"part"),
    UploadClosed("id"),
    Incarnation(b"S" * 16, b"I" * 8),
]


CLOSED = Pulled(b"S" * 16, b"I" * 8, 4, 9, b"h" * 32, sent_ms=1_700_000_000_000, closed=True, status=b"status")
PARTED = Parted(b"S" * 16, b"I" * 8, 3, 9, b"h" * 32, 11, 0, "why")
ANEW = Anew(b"change", 70, b"T" * 16, b"J" * 8, 12, True)
LOST = Lost(((b"c" * 32, b"s" * 24, 7, 1 << 20), (b"d" * 32, bytes(24), 0, 0)))
EVICTED = Evicted(((b"c" * 32, b"s" * 24, 7, 1 << 20),))


JOIN = [
    JoinBegun(
        *(b"S" * 16, b"I" * 8, 4, 1_700_000_000_000),
        (VectorRow(b"T" * 16, b"J" * 8, 3, 9, b"h" * 32, 5, ((b"S" * 16, b"I" * 8, 2),), True, b"status"),),
        ((b"T" * 16, b"J" * 8, 11),),
    ),
    Folded(0, b"slice"),
    JoinDone(),
    JoinOver(),
]


SUBSCRIBED = Subscribed(("photos", "logs-*"))
STABLE_CUT = StableCut(1_700_000_000_000, ((b"S" * 16, b"I" * 8, 9),), ((b"S" * 16, b"I" * 8, 11),))


def seal(number=7, frames=(b"head", b"cipher")):
    return seal_batch(KEYRING, SEGMENT, number, 1_700_000_000_000, b"p" * 32, encode_records(RECORDS), frames)


def test_golden_records_and_header(monkeypatch):
    golden = dict(line.split() for line in (GOLDEN / "log_batch_1.hex").read_text().splitlines())
    assert msgspec.msgpack.decode(bytes.fromhex(golden["records"]), type=list[Record]) == RECORDS
    assert encode_records(RECORDS).hex() == golden["records_2"]  # Pulled has two fields more
    monkeypatch.setattr(os, "urandom", lambda size: b"u" * size)
    assert b"".join(seal().buffers).hex() == golden["batch_2"]


def test_a_golden_batch_opens():
    golden = dict(line.split() for line in (GOLDEN / "log_batch_1.hex").read_text().splitlines())
    data = bytes.fromhex(golden["batch"])
    header = decode_batch_header(data)
    assert (header.number, header.time_ms, header.previous) == (7, 1_700_000_000_000, b"p" * 32)
    assert (header.inline_count, header.frames_size, header.size) == (1, 10, len(data))
    envelope = data[BATCH_HEADER_SIZE : BATCH_HEADER_SIZE + header.sealed_size]
    assert open_records(KEYRING, SEGMENT, header, envelope) == RECORDS


def test_a_batch_sealed_anew_has_golden_bytes_and_the_hash_it_had(monkeypatch):
    golden = dict(line.split() for line in (GOLDEN / "log_batch_1.hex").read_text().splitlines())
    monkeypatch.setattr(os, "urandom", lambda size: b"u" * size)
    batch = seal()
    header = decode_batch_header(batch.buffers[0])
    data = reseal_batch(KEYRING, b"t" * 24, header, batch.hash, RECORDS)
    assert data.hex() == golden["resealed"]
    found, sealed = decode_batch_header(data), data[BATCH_HEADER_SIZE:]
    assert (found.version, found.reader_min, found.frames_size, found.size) == (2, 2, 0, len(data))
    assert (found.number, found.time_ms, found.previous) == (header.number, header.time_ms, header.previous)
    assert batch_hash(data[:BATCH_HEADER_SIZE], sealed) == batch.hash
    assert open_records(KEYRING, b"t" * 24, found, sealed) == RECORDS
    for damaged in (bytes([sealed[0] ^ 1]) + sealed[1:], sealed[:-1] + bytes([sealed[-1] ^ 1])):
        with pytest.raises(SealBroken):
            open_records(KEYRING, b"t" * 24, found, damaged)


def test_records_added_since_have_golden_bytes_too():
    golden = dict(line.split() for line in (GOLDEN / "log_batch_1.hex").read_text().splitlines())
    assert encode_records([EVICTED]).hex() == golden["evicted"]
    assert msgspec.msgpack.decode(bytes.fromhex(golden["evicted"]), type=list[Evicted]) == [EVICTED]
    assert encode_records([LOST]).hex() == golden["lost"]
    assert msgspec.msgpack.decode(bytes.fromhex(golden["lost"]), type=list[Record]) == [LOST]
    assert encode_records([SUBSCRIBED]).hex() == golden["subscribed"]
    assert msgspec.msgpack.decode(bytes.fromhex(golden["subscribed"]), type=list[Record]) == [SUBSCRIBED]
    assert encode_records([STABLE_CUT]).hex() == golden["stable_cut"]
    assert msgspec.msgpack.decode(bytes.fromhex(golden["stable_cut"]), type=list[Record]) == [STABLE_CUT]
    assert encode_records(JOIN).hex() == golden["join"]
    assert msgspec.msgpack.decode(bytes.fromhex(golden["join"]), type=list[Record]) == JOIN
    assert encode_records([PARTED, ANEW]).hex() == golden["parted"]
    assert msgspec.msgpack.decode(bytes.fromhex(golden["parted"]), type=list[Record]) == [PARTED, ANEW]
    assert encode_records([CLOSED]).hex() == golden["closed"]
    assert msgspec.msgpack.decode(bytes.fromhex(golden["closed"]), type=list[Pulled]) == [CLOSED]


def test_the_hash_covers_header_and_envelope_but_not_the_frames():
    batch = seal()
    header, envelope = batch.buffers[:2]
    assert batch.hash == batch_hash(header, envelope)
    assert batch.frames_offset == len(header) + len(envelope)
    assert batch.size == sum(map(len, batch.buffers))


@pytest.mark.parametrize("at", range(0, BATCH_HEADER_SIZE, 7))
def test_a_flipped_bit_in_the_header_is_seen(at):
    data = bytearray(b"".join(seal().buffers))
    data[at] ^= 1
    with pytest.raises(BatchInvalid):
        decode_batch_header(bytes(data))


def test_an_envelope_belongs_to_its_segment_and_number():
    encoded, envelope = seal().buffers[:2]
    header = decode_batch_header(encoded)
    for segment, number in ((b"h" * 24, 7), (SEGMENT, 8)):
        with pytest.raises(SealBroken):
            open_records(KEYRING, segment, header._replace(number=number), envelope)


def test_a_batch_for_newer_readers_is_never_applied(monkeypatch):
    data = b"".join(seal().buffers)
    assert decode_batch_header(data).reader_min == 1, "what is not sealed anew is for older readers, too"
    monkeypatch.setattr(log_format, "READER_VERSION", 0)
    with pytest.raises(FormatTooNew):
        decode_batch_header(data)


def test_a_record_of_an_unknown_kind_is_too_new_and_rubbish_is_damage():
    for plaintext, expected in (([[99, b"x"]], FormatTooNew), ([[1, "no bytes"]], Damaged), ("rubbish", Damaged)):
        batch = seal_batch(KEYRING, SEGMENT, 7, 0, bytes(32), msgspec.msgpack.encode(plaintext), [])
        with pytest.raises(expected):
            open_records(KEYRING, SEGMENT, decode_batch_header(batch.buffers[0]), batch.buffers[1])
