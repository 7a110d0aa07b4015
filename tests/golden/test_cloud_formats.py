"""Golden bytes of everything that lies in the cloud bucket: written once by version 1, readable for ever.

``python -m tests.golden.test_cloud_formats`` writes samples that are missing; it never replaces one.
"""

from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from replication.batch_format import Batch, decode_batch, encode_batch, hash_object, reseal_batch
from replication.change_format import REF_DATA, Change, Ref, decode_change, encode_change
from replication.checkpoint_format import (
    Manifest,
    PartEntry,
    decode_manifest,
    decode_part,
    encode_manifest,
    encode_part,
)
from replication.cloud_index_format import decode_index, encode_index, packed_frames
from replication.crdt import Dot
from replication.frame_format import CODEC_STORED, KIND_DATA, FrameHeader, FrameName, decode_header
from replication.member_format import ForgottenRecord, NameRecord, RetiredRecord, decode_member, encode_member
from replication.pack_format import decode_pack, encode_pack
from replication.ports import Frame, LogPosition, RemoteLog
from replication.realm_format import (
    KEY_EPOCH,
    KeyDerivation,
    KeyRecord,
    Realm,
    decode_key_text,
    decode_realm,
    encode_key_text,
    encode_realm,
    unwrap_key,
    wrap_key,
)
from replication.sealing import chunk_id, open_frame, seal_frame
from replication.site_status_format import SiteStatus, decode_site_status, encode_site_status
from tests.replication.fixed_realm import KEYRING, ORIGIN

SAMPLES = Path(__file__).parent / "cloud"
KEY_ID = b"key-id----------"
ROOT = bytes(range(100, 132))
REALM = Realm(KEYRING.realm, KeyDerivation(True, 17, 8, 1, b"salt------------"), 1_700_000_000_000)
RECORD = KeyRecord(KEY_ID, KEY_EPOCH, 1_700_000_000_000, bytes(32))


def frame(number, content):
    header = FrameHeader(
        CODEC_STORED, KIND_DATA, 0, number, 0, len(content), KEYRING.current, b"s" * 24, chunk_id(KEYRING, content), b""
    )
    return Frame(*seal_frame(KEYRING, header, content))


FRAMES = (frame(0, b"first frame"), frame(1, b"second" * 100))
CHANGE = Change(
    Dot(*ORIGIN, 7),
    0x018BCFE568000003,
    2,
    b"item",
    replaces=(Dot(b"r" * 16, b"i" * 8, 3),),
    refs=(Ref(REF_DATA, decode_header(FRAMES[0].header).chunk_id, 11),),
    body=b"body",
)
BATCH = Batch(
    5,
    b"c" * 32,
    7,
    (encode_change(CHANGE),),
    {(b"r" * 16, b"i" * 8): 3},
    1_700_000_000_000,
    b"x" * 16,
    FRAMES,
)
STATUS = SiteStatus(1, "Lädchen 7", "0.1.0", 2, 3, 4096, 1_700_000_000_000, 1 << 33, 12.5, -250, 1)
"""As it was before sites told of what they have in the bucket: read, and not written any more."""
TOLD = replace(BATCH, changes=(), frames=(), index=b"", closed=True, status=(SAMPLES / "status.1").read_bytes())
COLLECTING = structs.replace(
    STATUS,
    cloud_live_bytes=1 << 40,
    cloud_dead_bytes=1 << 30,
    cloud_doomed_bytes=1 << 20,
    tombstones=12,
    collects=1,
    held_since_ms=1_700_000_000_000,
)
REKEYED = structs.replace(COLLECTING, rekeyed=(b"epoch-zero------",))
FORGOTTEN = ForgottenRecord(1, 1_700_000_000_000, ((b"i" * 8, 12), (b"j" * 8, 0)), b"h" * 16, True)
PACK = encode_pack(KEYRING, ORIGIN, FRAMES)
SLICES = [b"slice one", b"slice two" * 100]
MANIFEST = Manifest(
    1_700_000_000_001,
    {
        ORIGIN: RemoteLog(LogPosition(7, 40, b"c" * 32)),
        (b"r" * 16, b"i" * 8): RemoteLog(
            *(LogPosition(2, 5, b"d" * 32), {ORIGIN: 39}, 1_700_000_000_000), closed=True, status=b"status"
        ),
    },
    {ORIGIN: 8},
    (PartEntry(b"p" * 32, 4000, 2),),
    ("photos", "logs-*"),
)

WRITE = {
    "change": lambda: encode_change(CHANGE),
    "frame": lambda: FRAMES[1].header + FRAMES[1].ciphertext,
    "batch": lambda: encode_batch(KEYRING, ORIGIN, BATCH),
    "told": lambda: encode_batch(KEYRING, ORIGIN, TOLD),
    "status": lambda: encode_site_status(STATUS),
    "collecting": lambda: encode_site_status(COLLECTING),
    "rekeyed": lambda: encode_site_status(REKEYED),
    "resealed": lambda: reseal_batch(KEYRING, ORIGIN, 5, encode_batch(KEYRING, ORIGIN, BATCH)),
    "forgotten": lambda: encode_member(FORGOTTEN),
    "retired": lambda: encode_member(RetiredRecord(1, 1_700_000_000_000)),
    "name": lambda: encode_member(NameRecord(1, "Lädchen 7")),
    "pack": lambda: PACK.data,
    "index": lambda: encode_index(KEYRING, ORIGIN, 5, [packed_frames(PACK)]).data,
    "manifest": lambda: encode_manifest(KEYRING, ORIGIN, 3, MANIFEST),
    "part": lambda: encode_part(KEYRING, ORIGIN, 3, SLICES)[1],
    "realm": lambda: encode_realm(REALM),
    "key": lambda: wrap_key(KEYRING.realm, ROOT, RECORD),
    "text": lambda: encode_key_text("skerry-realm-key-1", ROOT).encode(),
}
READ = {
    "change": (decode_change, CHANGE),
    "frame": (lambda data: open_frame(KEYRING, decode_header(data), data[128:]), b"second" * 100),
    "batch": (lambda data: decode_batch(KEYRING, ORIGIN, 5, data), BATCH),
    "told": (lambda data: decode_batch(KEYRING, ORIGIN, 5, data), TOLD),
    "status": (decode_site_status, STATUS),
    "collecting": (decode_site_status, COLLECTING),
    "rekeyed": (decode_site_status, REKEYED),
    "resealed": (lambda data: decode_batch(KEYRING, ORIGIN, 5, data), replace(BATCH, frames=(), index=b"")),
    "forgotten": (lambda data: decode_member(ForgottenRecord, data), FORGOTTEN),
    "retired": (lambda data: decode_member(RetiredRecord, data), RetiredRecord(1, 1_700_000_000_000)),
    "name": (lambda data: decode_member(NameRecord, data), NameRecord(1, "Lädchen 7")),
    "pack": (lambda data: decode_pack(KEYRING, ORIGIN, data), list(PACK.located)),
    "index": (lambda data: decode_index(KEYRING, ORIGIN, 5, data), list(PACK.located)),
    "manifest": (lambda data: decode_manifest(KEYRING, ORIGIN, 3, data), MANIFEST),
    "part": (lambda data: decode_part(KEYRING, ORIGIN, 3, PartEntry(hash_object(data), len(data), 2), data), SLICES),
    "realm": (decode_realm, REALM),
    "key": (lambda data: unwrap_key(KEYRING.realm, ROOT, KEY_ID, data), RECORD),
    "text": (lambda data: decode_key_text(data.decode()), ROOT),
}
DETERMINISTIC = ["change", "frame", "rekeyed", "forgotten", "retired", "name", "pack", "realm", "text"]


@pytest.mark.parametrize("kind", READ)
def test_sample_is_read(kind):
    decode, expected = READ[kind]
    assert decode((SAMPLES / f"{kind}.1").read_bytes()) == expected


@pytest.mark.parametrize("kind", DETERMINISTIC)
def test_same_bytes_are_written(kind):
    assert WRITE[kind]() == (SAMPLES / f"{kind}.1").read_bytes()


@pytest.mark.parametrize("kind", WRITE)
def test_what_is_written_now_is_read(kind):
    decode, expected = READ[kind]
    assert decode(WRITE[kind]()) == expected


def test_header_is_as_its_table_says():
    header = decode_header(FRAMES[1].header)
    assert header.name == FrameName(chunk_id(KEYRING, b"second" * 100), b"s" * 24, 1)
    assert len(FRAMES[1].header) == 128


if __name__ == "__main__":
    for kind, write in WRITE.items():
        path = SAMPLES / f"{kind}.1"
        if not path.exists():
            path.write_bytes(write())
