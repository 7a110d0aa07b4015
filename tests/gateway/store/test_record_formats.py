"""Object records, documents, item keys and version ids: golden bytes, round trips, refusals."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.encryption import BadSeal, SealRecord, decode_seal, encode_seal
from gateway.s3.event_messages import BadFacts, EventFacts, decode_facts, encode_facts
from gateway.store.document_format import (
    AccessKeyRecord,
    BucketRecord,
    PartRecord,
    UploadRecord,
    UserRecord,
    decode_record,
    encode_record,
)
from gateway.store.identity_format import RoleRecord, decode_identity, encode_identity
from gateway.store.item_format import (
    bucket_uid,
    document_item,
    null_slot_item,
    split_document,
    split_null_slot,
    split_version,
    version_item,
)
from gateway.store.object_format import (
    Condition,
    ObjectRecord,
    PartEntry,
    decode_object,
    decode_parts,
    encode_object,
    encode_parts,
)
from gateway.store.version_ids import (
    NULL,
    VersionId,
    decode_order,
    encode_order,
    hlc_of_vid,
    make_vid,
    parse_version_id,
)
from replication.change_format import ChangeInvalid, ChangeTooNew, Ref
from replication.crdt import Dot, Write

GOLDEN = Path(__file__).parents[2] / "golden"
OBJECT = ObjectRecord(
    size=5,
    etag="5d41402abc4b2a76b9719d911017c592",
    modified_ms=1_700_000_000_123,
    content=(Ref(0, b"c" * 32, 5),),
    headers={"content-type": "text/plain"},
    metadata={"a": "ü"},
    checksums={"CRC32": "NhCmhg=="},
    checksum_type="FULL_OBJECT",
    owner="root",
    part_count=2,
    parts=Ref(0, b"p" * 32, 40),
    condition=Condition("If-Match", b"o" * 40),
    extra={"x": b"y"},
)
RECORDS = [
    BucketRecord(name="bk", owner="root", created_ms=1, region="eu"),
    UserRecord(
        id="u",
        name="Ursula",
        canonical_id="f" * 64,
        email="u@x",
        admin=True,
        disabled=True,
        created_ms=2,
        account="acct",
        path="/ops/",
        tags={"k": "v"},
    ),
    AccessKeyRecord(id="AK", secret="s", user="u", created_ms=3),
    UploadRecord(id="up", uid=b"u" * 16, key=b"k", owner="u", initiated_ms=4, headers={"a": "b"}),
    PartRecord(
        number=3,
        size=9,
        etag="e",
        modified_ms=5,
        content=(Ref(0, b"c" * 32, 9),),
        checksums={"SHA1": "x"},
        extra={"k": b"v"},
    ),
]


def test_golden_bytes_of_version_1():
    golden = (GOLDEN / "records_1.hex").read_text().split()
    part_without_extra = golden.pop(5)  # as parts were written before they had it
    golden.insert(2, golden.pop())
    user_without_account = golden.pop(3)  # likewise
    encoded = [encode_object(OBJECT), *map(encode_record, RECORDS)]
    assert [data.hex() for data in encoded] == golden
    assert decode_object(bytes.fromhex(golden[0])) == OBJECT
    for record, data in zip(RECORDS, golden[1:], strict=True):
        assert decode_record(type(record), bytes.fromhex(data)) == record
    user = decode_record(UserRecord, bytes.fromhex(user_without_account))
    assert msgspec.structs.replace(user, account="acct", path="/ops/", tags={"k": "v"}) == RECORDS[1]
    older = decode_record(PartRecord, bytes.fromhex(part_without_extra))
    assert msgspec.structs.replace(older, extra=RECORDS[-1].extra) == RECORDS[-1]


def test_missing_fields_at_the_end_take_their_defaults():
    assert decode_object(msgspec.msgpack.encode([1, False, 5])) == ObjectRecord(size=5)
    assert decode_record(UserRecord, msgspec.msgpack.encode([1, "u"])) == UserRecord(id="u")


def test_newer_records_and_rubbish_are_told_apart():
    with pytest.raises(ChangeTooNew):
        decode_object(msgspec.msgpack.encode([2]))
    with pytest.raises(ChangeTooNew):
        decode_record(BucketRecord, msgspec.msgpack.encode([2]))
    for data in (b"", b"\xff", msgspec.msgpack.encode({"a": 1}), msgspec.msgpack.encode(["x"])):
        with pytest.raises(ChangeInvalid):
            decode_object(data)
        with pytest.raises(ChangeInvalid):
            decode_record(PartRecord, data)


def test_a_record_names_all_its_chunks():
    assert OBJECT.refs() == (*OBJECT.content, OBJECT.parts)
    assert ObjectRecord(content=OBJECT.content).refs() == OBJECT.content


def test_part_table_round_trip():
    parts = [PartEntry(1, 5, "abc"), PartEntry(10_000, 5 << 30)]
    assert decode_parts(encode_parts(parts)) == parts


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16), st.binary(min_size=1, max_size=1024))
def test_item_keys_split_as_they_were_joined(uid, vid, key):
    assert split_null_slot(null_slot_item(uid, key)) == (uid, key)
    assert split_version(version_item(uid, vid, key)) == (uid, vid, key)
    assert split_document(document_item(uid, "policy")) == (uid, "policy")


def test_one_owner_creating_one_name_on_two_sites_makes_one_bucket():
    assert bucket_uid("bk", "root") == bucket_uid("bk", "root")
    assert len({bucket_uid("bk", "root"), bucket_uid("bk", "eve"), bucket_uid("bkr", "oot")}) == 3


dots = st.builds(Dot, st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8), st.integers(1, 1 << 63))
clocks = st.integers(0, (1 << 64) - 1)


@given(clocks, dots, clocks, dots)
def test_encoded_orders_compare_as_writes_do(hlc_a, dot_a, hlc_b, dot_b):
    a, b = Write(dot_a, hlc_a, False, b""), Write(dot_b, hlc_b, False, b"")
    encoded_a, encoded_b = encode_order(hlc_a, dot_a), encode_order(hlc_b, dot_b)
    assert (encoded_a < encoded_b) == (a.order < b.order)
    assert decode_order(encoded_a) == (hlc_a, dot_a)


@given(clocks, dots, st.binary(min_size=8, max_size=8))
def test_version_ids_round_trip_through_their_text(hlc, dot, random8):
    vid = make_vid(hlc, random8)
    assert hlc_of_vid(vid) == hlc
    for version_id in (NULL, VersionId(b"", encode_order(hlc, dot)), VersionId(vid or b"\1" * 16)):
        assert parse_version_id(version_id.text) == version_id


@pytest.mark.parametrize("text", ["", "NULL", "0" * 32, "g" * 32, "ab", "conflict-", "conflict-" + "0" * 79, "A" * 32])
def test_what_is_no_version_id_of_ours(text):
    assert parse_version_id(text) is None


def test_text_that_is_no_text_is_a_typed_error():
    """msgspec answers it with UnicodeDecodeError, which is none of its own errors."""
    for kind, encoded in (
        (UserRecord, encode_record(UserRecord(id="u", name="abcd"))),
        (BucketRecord, encode_record(BucketRecord(name="abcd", owner="o"))),
    ):
        with pytest.raises(ChangeInvalid):
            decode_record(kind, encoded.replace(b"abcd", b"ab\xff\xfe"))
    with pytest.raises(ChangeInvalid):
        decode_object(encode_object(ObjectRecord(etag="abcd")).replace(b"abcd", b"ab\xff\xfe"))
    with pytest.raises(ChangeInvalid):
        decode_identity(RoleRecord, encode_identity(RoleRecord(name="abcd")).replace(b"abcd", b"ab\xff\xfe"))
    with pytest.raises(BadSeal):
        decode_seal(encode_seal(SealRecord(key_name="abcd")).replace(b"abcd", b"ab\xff\xfe"))
    with pytest.raises(BadFacts):
        decode_facts(encode_facts(EventFacts("abcd", "", "", "")).replace(b"abcd", b"ab\xff\xfe"))
