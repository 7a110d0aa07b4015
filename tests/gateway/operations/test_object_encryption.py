"""The layer itself: keys of objects, seeking in a cipher, parts, and what keys of the realm may and may not do."""

import os

import pytest

from gateway.operations.context import Context, OperationSettings
from gateway.operations.customer_keys import WHOLE_NONCE, derive_keys, layer_etag, start_cipher
from gateway.operations.kms_keys import DELETED, ENABLED, create_key, ensure_key, find_key, list_keys, set_state
from gateway.operations.object_encryption import Opening, Sealing, Wanted, make_sealing, pour_sealed
from gateway.operations.opened_reads import StoredBody, open_small, read_plain
from gateway.s3.encryption import CUSTOMER, SealRecord, kind_of
from gateway.s3.errors import KMSInvalidStateException, KMSNotFoundException
from gateway.s3.sse_customer import CustomerKey
from gateway.store.object_format import ObjectRecord, PartEntry, encode_parts
from tests.gateway.operations.memory_store import MemoryStore

SECRET, SALT = bytes(range(32)), b"salt" * 8


def test_keys_differ_by_secret_salt_and_context():
    base = derive_keys(SECRET, SALT)
    assert len({base.cipher, base.check, base.name}) == 3
    for other in (
        derive_keys(bytes(32), SALT),
        derive_keys(SECRET, bytes(32)),
        derive_keys(SECRET, SALT, '{"a":"b"}'),
    ):
        assert not {base.cipher, base.check, base.name} & {other.cipher, other.check, other.name}
    assert base == derive_keys(SECRET, SALT)
    assert base.cipher.hex() not in repr(base)


@pytest.mark.parametrize("offset", [0, 1, 15, 16, 17, 1000, 65_536, 99_999])
def test_a_cipher_seeks(offset):
    keys, data = derive_keys(SECRET, SALT), os.urandom(100_000)
    sealed = start_cipher(keys, WHOLE_NONCE).update(data)
    assert sealed != data
    assert start_cipher(keys, WHOLE_NONCE, offset).update(sealed[offset:]) == data[offset:]


def test_a_counter_does_not_meet_another_part_s():
    keys = derive_keys(SECRET, SALT)
    zeros = bytes(64)
    streams = {start_cipher(keys, bytes([n]) * 12).update(zeros) for n in range(50)}
    assert len(streams) == 50


def test_etags_need_the_key():
    md5 = "d41d8cd98f00b204e9800998ecf8427e"
    etag = layer_etag(derive_keys(SECRET, SALT), md5)
    assert len(bytes.fromhex(etag)) == 16
    assert etag != md5
    assert etag != layer_etag(derive_keys(bytes(32), SALT), md5)


class Data:
    """Bytes as a body, in pieces."""

    def __init__(self, data, piece):
        self._data, self._piece = data, piece

    async def pour(self, writer):
        from gateway.operations.bodies import Received
        from gateway.operations.digests import Digester

        digester = Digester(("CRC32",))
        for at in range(0, len(self._data), self._piece):
            await digester.update(self._data[at : at + self._piece])
            await writer.write(memoryview(self._data)[at : at + self._piece])
        digests = await digester.finish()
        return Received(len(self._data), digests.md5, digests.checksums)


def seal(nonce=WHOLE_NONCE):
    keys = derive_keys(SECRET, SALT)
    return Sealing(SealRecord(kind=kind_of(CUSTOMER), salt=SALT, check=keys.check), keys, nonce)


async def store_parts(store, parts):
    """Parts, each under a nonce of its own, as the record of one object."""
    refs, entries = [], []
    for number, data in enumerate(parts, 1):
        nonce = os.urandom(12)
        async with store.writer() as writer:
            await pour_sealed(Data(data, 70_000), writer, seal(nonce))
            refs += (await writer.finish()).refs
        entries.append(PartEntry(number, len(data), "", nonce))
    async with store.writer(fixed=True) as writer:
        await writer.write(encode_parts(entries))
        table = await writer.finish()
    size = sum(map(len, parts))
    return ObjectRecord(size=size, content=tuple(refs), part_count=len(parts), parts=table.refs[0])


@pytest.mark.parametrize("sizes", [[1], [5, 5, 5], [100_000, 1, 70_001, 3 << 20]])
async def test_ranges_over_parts(sizes):
    store = MemoryStore()
    parts = [os.urandom(size) for size in sizes]
    data = b"".join(parts)
    record = await store_parts(store, parts)
    opening = Opening(seal().seal, seal().keys)
    edges = {0, len(data) - 1, len(data) // 2, sizes[0] - 1, min(sizes[0], len(data) - 1)}
    for start in edges:
        for end in {edge + 1 for edge in edges if edge >= start}:
            pieces = [piece async for piece in read_plain(store, record, opening, start, end - start)]
            assert b"".join(pieces) == data[start:end]
    received = await StoredBody(store, record, opening, 0, len(data), "CRC32").pour(_Sink())
    assert received.size == len(data)


class _Sink:
    async def write(self, data):
        return None


async def test_small_content_is_opened_in_one_step():
    store, sealing = MemoryStore(), seal()
    async with store.writer() as writer:
        await pour_sealed(Data(b"small", 2), writer, sealing)
        content = await writer.finish()
    stored = store.read_small(content.refs)
    opening = Opening(sealing.seal, sealing.keys)
    assert open_small(ObjectRecord(size=5), opening, stored) == b"small"
    assert open_small(ObjectRecord(size=5, part_count=1), opening, stored) is None


async def test_keys_of_the_realm():
    store = MemoryStore()
    with pytest.raises(KMSNotFoundException):
        await ensure_key(store, "mine", create=False)
    assert (await ensure_key(store, "aws/s3", create=False)).record.state == ENABLED
    key = await ensure_key(store, "mine", create=True)
    assert await ensure_key(store, "mine", create=True) == key
    with store.view() as view:
        assert [found.name for found in list_keys(view)] == ["aws/s3", "mine"]
        assert find_key(view, "other") is None
    await store.commit(lambda view: set_state(view, "mine", DELETED))
    with store.view() as view:
        assert not [name for name in view.document_names(_keys_uid()) if name.startswith("material/mine/")]
    with pytest.raises(KMSInvalidStateException):
        await ensure_key(store, "mine", create=True)
    with pytest.raises(LookupError):
        await store.commit(lambda view: set_state(view, "mine", ENABLED))
    with pytest.raises(ValueError, match="existed"):
        await store.commit(lambda view: create_key(view, "mine"))


async def test_deleting_a_key_leaves_those_below_its_name():
    store = MemoryStore()
    for name in ("a", "a/b"):
        await ensure_key(store, name, create=True)
    await store.commit(lambda view: set_state(view, "a", DELETED))
    with store.view() as view:
        materials = [name for name in view.document_names(_keys_uid()) if name.startswith("material/")]
    assert [name.rpartition("/")[0] for name in materials] == ["material/a/b"]


async def test_an_object_under_a_key_has_keys_of_its_own():
    context = Context(None, "", MemoryStore(), OperationSettings())
    sealings = [await make_sealing(context, Wanted("aws:kms", None, "mine")) for _ in range(2)]
    assert len({sealing.keys.cipher for sealing in sealings}) == 2
    customer = [await make_sealing(context, Wanted(CUSTOMER, CustomerKey(SECRET))) for _ in range(2)]
    assert len({sealing.keys.cipher for sealing in customer}) == 2
    assert all(SECRET not in sealing.extra["sse"] for sealing in customer)


def _keys_uid():
    from gateway.operations.kms_keys import KEYS_UID

    return KEYS_UID
