"""Slices of a checkpoint as bytes: golden samples, and every way to be refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import zstandard

from gateway.store.slice_format import (
    HEAD_SIZE,
    FoldedItem,
    FoldedKey,
    FoldedVersion,
    Items,
    Locations,
    Marks,
    Objects,
    Sibling,
    decode_slice,
    encode_slice,
)
from replication.change_format import ChangeInvalid, ChangeTooNew

GOLDEN = Path(__file__).parents[2] / "golden" / "slices_1.hex"
ORDER, VID = b"o" * 40, b"v" * 16
SLICES = [
    Marks((b"d" * 32,)),
    Items(b"\x03a", b"\x05z", (FoldedItem(b"\x03u", (Sibling(ORDER, True, b"body"),)), FoldedItem(b"\x05v", ()))),
    Objects(
        b"",
        b"",
        (
            FoldedKey(b"u" * 16 + b"a", 9, (Sibling(ORDER, False, b"record"),)),
            FoldedKey(b"u" * 16 + b"b", 9, None, (FoldedVersion(VID, ((ORDER, b"record"),), ((ORDER, b""),)),), 7),
        ),
    ),
    Locations(("sites/x/packs/y",), ((0, 1 << 40, b"header"),)),
]


def test_golden_bytes_are_read():
    golden = [bytes.fromhex(line) for line in GOLDEN.read_text().split()]
    assert [decode_slice(data) for data in golden] == SLICES


def test_what_is_written_is_read_and_its_body_is_the_golden_one():
    for content, line in zip(SLICES, GOLDEN.read_text().split(), strict=True):
        data, golden = encode_slice(content), bytes.fromhex(line)
        assert decode_slice(data) == content
        bodies = [zstandard.ZstdDecompressor().decompress(found[HEAD_SIZE:]) for found in (data, golden)]
        assert bodies[0] == bodies[1]
        assert data[:2] == golden[:2]


@pytest.mark.parametrize("at", [0, 1])
def test_a_newer_version_or_kind_asks_for_an_upgrade(at):
    data = bytearray(encode_slice(SLICES[0]))
    data[at] = 9
    with pytest.raises(ChangeTooNew):
        decode_slice(bytes(data))


def test_what_is_no_slice_is_refused():
    whole = encode_slice(SLICES[2])
    for data in (b"", whole[:5], whole[:-1], whole + b"x", whole[:HEAD_SIZE] + bytes(len(whole) - HEAD_SIZE)):
        with pytest.raises(ChangeInvalid):
            decode_slice(data)


@pytest.mark.parametrize(
    "content",
    [
        Marks((b"short",)),
        Items(b"", b"", (FoldedItem(b"\x03b", ()), FoldedItem(b"\x03a", ()))),
        Items(b"\x03b", b"", (FoldedItem(b"\x03a", ()),)),
        Items(b"", b"\x03b", (FoldedItem(b"\x03c", ()),)),
        Items(b"", b"", (FoldedItem(b"\x03b", (Sibling(b"order", False, b""),)),)),
        Objects(b"", b"", (FoldedKey(b"k", 1, (Sibling(b"order", False, b""),)),)),
        Objects(b"", b"", (FoldedKey(b"k", 1, None, (FoldedVersion(b"vid", ()),)),)),
        Objects(b"", b"", (FoldedKey(b"k", 1, None, (FoldedVersion(VID, ((b"order", b""),)),)),)),
        Objects(b"", b"", (FoldedKey(b"k", 1, None, (FoldedVersion(VID, ()),), 0, 5),)),
        Locations(("one",), ((1, 0, b"header"),)),
        Locations(("one",), ((0, -1, b"header"),)),
    ],
)
def test_what_cannot_be_is_refused(content):
    with pytest.raises(ChangeInvalid):
        decode_slice(encode_slice(content))


def test_a_bomb_is_refused():
    bomb = zstandard.ZstdCompressor().compress(msgspec.msgpack.encode([[bytes(1 << 20)] * 200]))
    data = encode_slice(SLICES[0])[:2] + len(bomb).to_bytes(4, "little") + bomb
    with pytest.raises(ChangeInvalid):
        decode_slice(data)


if __name__ == "__main__":
    GOLDEN.write_text("".join(encode_slice(content).hex() + "\n" for content in SLICES))
