"""The index: checked values, nested transactions, ordered walks, and what an unusable one says."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store.errors import BadDataDirectory, Damaged, FormatTooNew, ReadOnlyStore
from gateway.store.index import Index
from gateway.store.index_format import (
    HEAD_CURRENT,
    BatchRow,
    ChunkPlace,
    HeadRow,
    State,
    VersionRow,
    decode_batch_row,
    decode_chunk,
    decode_head,
    decode_version,
    encode_batch_row,
    encode_chunk,
    encode_head,
    encode_version,
    invert_order,
    upload_prefix,
    version_key,
)
from gateway.store.item_format import UID_SIZE
from gateway.store.scans import HeadWalk
from replication.frame_format import FrameName

ROOT = Path(__file__).resolve().parents[3]
orders = st.binary(min_size=40, max_size=40)
u32, u64 = st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1)
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)


@pytest.fixture
def index(tmp_path):
    opened = Index(tmp_path, 1 << 28)
    yield opened
    opened.close()


def test_values_come_back_and_damage_is_seen(index):
    with index.begin_write() as transaction:
        table = transaction.tables.heads
        transaction.put(table, b"k", b"value")
        transaction.raw.put(b"bad", b"value" + b"\0\0\0\0", db=table)
        assert transaction.get(table, b"k") == b"value"
        assert transaction.get(table, b"other") is None
        assert transaction.pop(table, b"k") == b"value"
        assert transaction.delete(table, b"k") is False
        for read in (transaction.get, transaction.pop):
            with pytest.raises(Damaged):
                read(table, b"bad")
        transaction.raw.put(b"bad", b"v" + b"\0\0\0\0", db=table)
        with pytest.raises(Damaged):
            list(transaction.scan(table))


def test_every_bit_of_key_and_value_counts(index):
    with index.begin_write() as transaction:
        table = transaction.tables.heads
        transaction.put(table, b"key", b"value")
        held = transaction.raw.get(b"key", db=table)
        for at in range(8 * len(held)):
            broken = bytearray(held)
            broken[at // 8] ^= 1 << at % 8
            with pytest.raises(Damaged):
                transaction.check(b"key", bytes(broken))
        for other in (b"kez", b"ke", b"keyy"):
            with pytest.raises(Damaged):
                transaction.check(other, held)


def test_a_damaged_head_is_not_listed(index):
    uid = bytes(UID_SIZE)
    with index.begin_write() as transaction:
        table = transaction.tables.heads
        for number, name in enumerate((b"a", b"b/1", b"b/2", b"c")):
            row = HeadRow(HEAD_CURRENT, number, 0, 5, 1000, bytes(40), (bytes(40),), "etag\0owner\0\0STANDARD")
            transaction.put(table, uid + name, encode_head(row))
        walk = HeadWalk(transaction, uid, b"")
        assert [key for key, _ in walk.take(b"", 2)] == [b"a", b"b/1"]
        assert [(key, head.etag) for key, head in walk] == [(b"b/2", "etag"), (b"c", "etag")]
        walk.seek(b"b")
        assert [key for key, _ in walk.take(b"b/", 10)] == [b"b/1", b"b/2"]
        assert walk.take(b"", 1) == []
        held = transaction.raw.get(uid + b"b/2", db=table)
        transaction.raw.put(uid + b"b/2", held.replace(b"owner", b"pwner"), db=table)
        walk.seek(b"")
        with pytest.raises(Damaged):
            walk.take(b"", 10)


def test_nested_parts_are_kept_or_taken_back_alone(index):
    with index.begin_write() as transaction:
        table = transaction.tables.items
        for name, keep in ((b"kept", True), (b"dropped", False), (b"kept too", True)):
            transaction.begin_nested()
            transaction.put(table, name, b"")
            transaction.end_nested(keep)
        transaction.commit()
    with index.begin_read() as transaction:
        assert [key for key, _ in transaction.scan(table)] == [b"kept", b"kept too"]


def test_leaving_a_write_transaction_without_commit_takes_it_back(index):
    with index.begin_write() as transaction:
        transaction.put(transaction.tables.items, b"k", b"")
        transaction.begin_nested()
        transaction.put(transaction.tables.items, b"l", b"")
    with index.begin_read() as transaction:
        assert list(transaction.scan(transaction.tables.items)) == []


def test_walks(index):
    with index.begin_write() as transaction:
        table = transaction.tables.items
        for key in (b"a", b"ab", b"b", b"c"):
            transaction.put(table, key, key)
        assert [key for key, _ in transaction.scan(table, b"ab")] == [b"ab", b"b", b"c"]
        assert [key for key, _ in transaction.scan(table, b"a", b"a")] == [b"a", b"ab"]
        assert transaction.first(table, b"aa") == (b"ab", b"ab")
        assert transaction.first(table, b"d") is None
        assert transaction.last_below(table, b"b") == (b"ab", b"ab")
        assert transaction.last_below(table, b"z") == (b"c", b"c")
        assert transaction.last_below(table, b"a") is None


def test_state_and_generation(index):
    with index.begin_write() as transaction:
        assert transaction.load_state() == State()
        transaction.save_state(State(batch=3, generation=7))
        transaction.commit()
    with index.begin_read() as transaction:
        assert transaction.load_state().batch == 3
        assert transaction.generation() == 7


def test_a_newer_index_is_refused(tmp_path):
    index = Index(tmp_path, 1 << 28)
    with index.begin_write() as transaction:
        transaction.save_state(State(version=3))
        transaction.commit()
    index.close()
    with pytest.raises(FormatTooNew):
        Index(tmp_path, 1 << 28)


def test_opening_twice_in_one_process_is_not_taken_for_a_broken_index(tmp_path, index):
    with pytest.raises(BadDataDirectory):
        Index(tmp_path, 1 << 28)


@given(orders, orders)
def test_newer_orders_sort_first(a, b):
    assert invert_order(invert_order(a)) == a
    assert (version_key(7, a) < version_key(7, b)) == (a > b)


heads = st.builds(
    HeadRow, st.integers(0, 255), u64, u64, u64, u64, orders, st.lists(orders, max_size=3).map(tuple), texts
)


@given(heads)
def test_head_round_trip(row):
    assert decode_head(encode_head(row)) == row


@given(st.builds(VersionRow, orders, st.integers(0, 7), st.binary(min_size=16, max_size=16), st.binary(max_size=30)))
def test_version_round_trip(row):
    assert decode_version(row.order, encode_version(row)) == row


names = st.builds(FrameName, st.binary(min_size=32, max_size=32), st.binary(min_size=24, max_size=24), u32)
u8 = st.integers(0, 255)


@given(
    st.builds(
        ChunkPlace,
        *(u32, u8, u64, u32, u32, u8, u8, u8, st.binary(min_size=24, max_size=24), u32),
        *(st.lists(names, max_size=2).map(tuple), u32, u8),
    )
)
def test_chunk_round_trip(row):
    assert decode_chunk(encode_chunk(row)) == row


def test_batch_round_trip():
    row = BatchRow(1, 1 << 40, 1 << 20, 1 << 50, 3, 1 << 45, 1_700_000_000_000)
    assert decode_batch_row(encode_batch_row(row)) == row


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=6), st.sampled_from([b"a", b"b"])), max_size=6))
def test_uploads_sort_by_key_then_id_even_with_nuls_in_keys(pairs):
    uid = b"u" * 16
    assert sorted(pairs) == sorted(pairs, key=lambda pair: upload_prefix(uid, pair[0]) + pair[1])


def test_an_engine_that_gave_up_ends_its_process_and_refuses_until_then(index, monkeypatch):
    class GivenUp:
        def begin(self, **options):
            raise lmdb.PanicError("MDB_PANIC")

    told = []
    index.on_panic = lambda: told.append("end")
    environment = index._environment
    monkeypatch.setattr(index, "_environment", GivenUp())
    for begin in (index.begin_read, index.begin_write):
        with pytest.raises(ReadOnlyStore, match="started anew"):
            begin()
    monkeypatch.setattr(index, "_environment", environment)
    assert told == ["end", "end"]


SLOT_HOLDER = """
import os, sys
from pathlib import Path
from gateway.store.index import Index
index = Index(Path(sys.argv[1]), 1 << 28)
held = [index.begin_read() for _ in range(int(sys.argv[2]))]
print(len(index._environment.readers().splitlines()) - 1, flush=True)
os._exit(0)
"""


def hold_slots_and_die(path, count):
    """A process that opens the index, takes snapshots, and is gone without giving their slots back: how many are held,
    its own included.
    """
    command = [sys.executable, "-c", SLOT_HOLDER, str(path), str(count)]
    return int(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def test_slots_of_the_dead_are_free_again_when_a_process_opens(tmp_path, index):
    before = hold_slots_and_die(tmp_path, 3)
    assert before >= 3
    assert hold_slots_and_die(tmp_path, 3) == before


def test_slots_of_the_dead_are_free_again_when_there_is_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr("gateway.store.index.READERS_MAX", 6)
    index = Index(tmp_path, 1 << 28)
    assert hold_slots_and_die(tmp_path, 5) == 6
    held = [index.begin_read() for _ in range(3)]
    for transaction in held:
        transaction.end_read()
    index.close()


def test_an_index_that_cannot_be_mapped_is_said_and_left_alone(tmp_path):
    """No memory for the map is no damage: a rebuild would take as much, and hours."""
    Index(tmp_path, 1 << 28).close()
    before = (tmp_path / "data.mdb").read_bytes()
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 32, 1 << 32))
        try:
            Index(tmp_path, 1 << 40)
        except BadDataDirectory as error:
            os._exit(0 if "cannot be opened" in str(error) else 2)
        except BaseException:
            os._exit(3)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (tmp_path / "data.mdb").read_bytes() == before
