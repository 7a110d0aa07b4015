"""Cloud formats: round trips of anything, typed errors for anything else, sizes that tell little."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replication.batch_format import Batch, decode_batch, encode_batch, locate_inline
from replication.cloud_index_format import PackedFrames, decode_index, encode_index, locate_packed, packed_frames
from replication.cloud_names import (
    head_name,
    head_prefix,
    index_name,
    key_name,
    log_name,
    pack_name,
    split_head_name,
    split_key_name,
)
from replication.frame_format import CODEC_STORED, KIND_DATA, FrameHeader, decode_header
from replication.pack_format import FOOTER_SIZE, decode_footer, decode_pack, encode_pack
from replication.padded_format import (
    CloudObjectInvalid,
    CloudObjectTooNew,
    decode_padded,
    encode_padded,
    padme_size,
)
from replication.ports import Frame
from replication.realm_format import (
    KEY_CHUNK,
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
from replication.sealing import Keyring, SealBroken, chunk_id, open_frame, seal_frame
from tests.replication.fixed_realm import KEYRING, ORIGIN

OTHER = Keyring(b"x" * 16, KEYRING.chunk_key, KEYRING.epochs, KEYRING.current)


def seal(number, content):
    header = FrameHeader(
        CODEC_STORED, KIND_DATA, 0, number, 0, len(content), KEYRING.current, b"s" * 24, chunk_id(KEYRING, content), b""
    )
    return Frame(*seal_frame(KEYRING, header, content))


frames = st.lists(st.binary(max_size=300), max_size=6).map(
    lambda contents: tuple(seal(number, content) for number, content in enumerate(contents))
)
origins = st.tuples(st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8))
batches = st.builds(
    Batch,
    n=st.integers(1, 1 << 60),
    chain=st.binary(min_size=32, max_size=32),
    first_seq=st.integers(1, 1 << 60),
    changes=st.lists(st.binary(max_size=100), max_size=5).map(tuple),
    acks=st.dictionaries(origins, st.integers(0, 1 << 60), max_size=4),
    sent_ms=st.integers(0, 1 << 48),
    index=st.sampled_from([b"", b"i" * 16]),
    frames=frames,
)


@given(batches, origins)
@settings(max_examples=60, deadline=None)
def test_batch_round_trip(batch, origin):
    data = encode_batch(KEYRING, origin, batch)
    assert decode_batch(KEYRING, origin, batch.n, data) == batch
    for frame, place in zip(batch.frames, locate_inline(origin, batch, data), strict=True):
        assert place.object_name == log_name(origin, batch.n)
        assert data[place.offset :][: len(frame.ciphertext)] == frame.ciphertext


@given(frames)
@settings(max_examples=60, deadline=None)
def test_pack_round_trip_and_same_name_for_same_frames(frames):
    pack = encode_pack(KEYRING, ORIGIN, frames)
    assert pack == encode_pack(KEYRING, ORIGIN, frames)
    assert decode_pack(KEYRING, ORIGIN, pack.data) == list(pack.located)
    assert (
        padme_size(len(pack.data)) == len(pack.data)
        or len(pack.data) - len(b"".join(f.ciphertext for f in frames)) < 4096
    )
    for frame, place in zip(frames, pack.located, strict=True):
        header = decode_header(place.header)
        stored = pack.data[place.offset :][: header.stored_size]
        assert chunk_id(KEYRING, open_frame(KEYRING, header, stored)) == header.chunk_id
        assert stored == frame.ciphertext


@given(frames, st.integers(1, 1 << 60))
@settings(max_examples=40, deadline=None)
def test_index_round_trip(frames, n):
    pack = encode_pack(KEYRING, ORIGIN, frames)
    index = encode_index(KEYRING, ORIGIN, n, [packed_frames(pack)])
    assert decode_index(KEYRING, ORIGIN, n, index.data) == list(pack.located)
    assert index.name == index_name(ORIGIN, n, index.digest)


SAMPLES = {
    "batch": (
        encode_batch(KEYRING, ORIGIN, Batch(3, bytes(32), 9, (b"change",), frames=(seal(0, b"x" * 50),))),
        lambda data: decode_batch(KEYRING, ORIGIN, 3, data),
    ),
    "pack": (
        encode_pack(KEYRING, ORIGIN, [seal(0, b"x" * 50), seal(1, b"y")]).data,
        lambda data: decode_pack(KEYRING, ORIGIN, data),
    ),
    "index": (
        encode_index(KEYRING, ORIGIN, 3, [packed_frames(encode_pack(KEYRING, ORIGIN, [seal(0, b"x")]))]).data,
        lambda data: decode_index(KEYRING, ORIGIN, 3, data),
    ),
    "realm": (encode_realm(Realm(b"r" * 16, KeyDerivation(True, 15, 8, 1, b"s" * 16), 1)), decode_realm),
    "key": (
        wrap_key(b"r" * 16, bytes(32), KeyRecord(b"k" * 16, KEY_CHUNK, 1, b"s" * 32)),
        lambda data: unwrap_key(b"r" * 16, bytes(32), b"k" * 16, data),
    ),
    "padded": (encode_padded(b"TEST", 1, b"body"), lambda data: decode_padded(b"TEST", 1, data)),
    "footer": (
        encode_pack(KEYRING, ORIGIN, [seal(0, b"x")]).data[-FOOTER_SIZE:],
        decode_footer,
    ),
}


@pytest.mark.parametrize("kind", SAMPLES)
@given(data=st.binary(max_size=400))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_a_typed_error(kind, data):
    with pytest.raises((CloudObjectInvalid, SealBroken)):
        SAMPLES[kind][1](data)


@pytest.mark.parametrize("kind", SAMPLES)
def test_cut_flipped_or_lengthened_is_a_typed_error_or_harmless(kind):
    """Every prefix, and a flip of every byte: either refused, or (padding outside any seal) read as the same."""
    data, decode = SAMPLES[kind]
    whole = decode(data)
    rng = random.Random(1)
    for cut in sorted(rng.sample(range(len(data)), min(len(data), 200))):
        if kind == "padded" and cut >= 16:
            continue
        with pytest.raises((CloudObjectInvalid, SealBroken)):
            decode(data[:cut])
    for position in sorted(rng.sample(range(len(data)), min(len(data), 400))):
        flipped = bytearray(data)
        flipped[position] ^= 1 << rng.randrange(8)
        try:
            found = decode(bytes(flipped))
        except (CloudObjectInvalid, SealBroken):
            continue
        assert kind in ("pack", "padded")
        if kind == "pack":  # a flip in ciphertext or padding changes the name, which is the pack's hash
            assert found[0].object_name != whole[0].object_name


@pytest.mark.parametrize("kind", ["batch", "pack", "index"])
def test_another_realm_site_or_number_does_not_open(kind):
    data, _ = SAMPLES[kind]
    elsewhere = (ORIGIN[1] * 2, ORIGIN[1])
    opens = {
        "batch": [(OTHER, ORIGIN, 3), (KEYRING, elsewhere, 3), (KEYRING, ORIGIN, 4)],
        "index": [(OTHER, ORIGIN, 3), (KEYRING, elsewhere, 3), (KEYRING, ORIGIN, 4)],
        "pack": [(OTHER, ORIGIN), (KEYRING, elsewhere)],
    }
    decode = {"batch": decode_batch, "index": decode_index, "pack": decode_pack}[kind]
    for place in opens[kind]:
        with pytest.raises(SealBroken):
            decode(*place, data)


def test_newer_versions_say_upgrade(monkeypatch):
    with pytest.raises(CloudObjectTooNew, match="upgrade"):
        decode_padded(b"TEST", 1, encode_padded(b"TEST", 2, b""))
    realm = bytearray(SAMPLES["realm"][0])
    realm[4] = 2
    with pytest.raises(CloudObjectTooNew):
        decode_realm(bytes(realm))
    monkeypatch.setattr("replication.pack_format.PACK_VERSION", 2)
    newer = encode_pack(KEYRING, ORIGIN, [seal(0, b"x")]).data
    monkeypatch.undo()
    with pytest.raises(CloudObjectTooNew):
        decode_pack(KEYRING, ORIGIN, newer)


def test_index_points_only_into_its_own_log():
    located = locate_packed(ORIGIN, [PackedFrames(b"d" * 32, ((seal(0, b"x").header, 0),))])
    assert located[0].object_name == pack_name(ORIGIN, b"d" * 32)


@given(st.integers(0, 1 << 40))
def test_padme_grows_little_and_is_stable(size):
    padded = padme_size(size)
    assert size <= padded <= size + size // 8 + 1
    assert padme_size(padded) == padded


@pytest.mark.parametrize(("size", "padded"), [(0, 0), (1, 1), (9, 10), (1000, 1024), (1025, 1088), (1 << 20, 1 << 20)])
def test_padme_of_the_paper(size, padded):
    assert padme_size(size) == padded


def test_batches_of_one_byte_more_or_less_have_one_size():
    sizes = {len(encode_batch(KEYRING, ORIGIN, Batch(1, bytes(32), 1, (b"x" * size,)))) for size in range(600)}
    assert len(sizes) == 1


@given(origins, st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1))
def test_names_split_again_and_sort_as_numbers(origin, n, other):
    head = split_head_name(head_name(origin, n))
    assert (head.origin, head.n) == (origin, n)
    assert head_name(origin, n).startswith(head_prefix(origin))
    assert (log_name(origin, n) < log_name(origin, other)) == (n < other)
    assert split_key_name(key_name(origin[0], origin[0])) == (origin[0], origin[0])


@given(st.text(max_size=120))
def test_other_names_are_passed_over(name):
    assert split_head_name("heads/" + name) is None
    assert split_key_name("keys/" + name) is None


@given(st.binary(min_size=32, max_size=32))
def test_key_text_round_trip(key):
    text = encode_key_text("skerry-realm-key-1", key)
    assert decode_key_text(text + "\n") == key


@pytest.mark.parametrize(
    "mangle", [lambda t: t[:-1], lambda t: t.replace("0", "1", 1), lambda t: "", lambda t: t + " x"]
)
def test_mistyped_key_text_is_refused_without_repeating_it(mangle):
    text = mangle(encode_key_text("skerry-realm-key-1", bytes(range(32))))
    with pytest.raises(ValueError, match="key text") as caught:
        decode_key_text(text)
    assert "0405060708" not in str(caught.value)


def test_secrets_do_not_show():
    record = KeyRecord(b"k" * 16, KEY_CHUNK, 1, b"secret" * 5 + b"..")
    assert "secret" not in repr(record)
