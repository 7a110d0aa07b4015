"""Checkpoint objects: what is written is read; anything else is refused, with the right reason."""

import pytest

from replication.checkpoint_format import (
    Manifest,
    decode_manifest,
    decode_part,
    encode_manifest,
    encode_part,
)
from replication.checkpoints import CheckpointName, delete_checkpoint, list_checkpoints
from replication.cloud_memory import MemoryCloud
from replication.cloud_names import (
    checkpoint_mark_name,
    checkpoint_name,
    checkpoint_part_name,
    head_name,
    split_checkpoint_mark,
    split_checkpoint_object,
    split_head_name,
)
from replication.padded_format import CloudObjectInvalid
from replication.ports import LogPosition, RemoteLog
from replication.puller import list_heads
from replication.sealing import SealBroken
from tests.replication.fixed_realm import KEYRING, ORIGIN

OTHER = (b"site-b----------", b"incarn-2")
SLICES = [b"slice one", b"slice two" * 100]
PART, PART_DATA = encode_part(KEYRING, ORIGIN, 3, SLICES)
VECTOR = {
    ORIGIN: RemoteLog(LogPosition(7, 40, b"c" * 32)),
    OTHER: RemoteLog(LogPosition(2, 5, b"d" * 32), {ORIGIN: 39}, 1_700_000_000_000),
}
MANIFEST = Manifest(1_700_000_000_001, VECTOR, {ORIGIN: 9}, (PART,))
MANIFEST_DATA = encode_manifest(KEYRING, ORIGIN, 3, MANIFEST)


def test_what_was_written_is_read():
    assert decode_manifest(KEYRING, ORIGIN, 3, MANIFEST_DATA) == MANIFEST
    assert decode_part(KEYRING, ORIGIN, 3, PART, PART_DATA) == SLICES


@pytest.mark.parametrize(("origin", "n"), [(OTHER, 3), (ORIGIN, 4)])
def test_an_object_counts_in_its_place_only(origin, n):
    with pytest.raises(SealBroken):
        decode_manifest(KEYRING, origin, n, MANIFEST_DATA)
    with pytest.raises(SealBroken):
        decode_part(KEYRING, origin, n, PART, PART_DATA)
    with pytest.raises(SealBroken):
        decode_manifest(KEYRING, ORIGIN, 3, PART_DATA)


def test_a_part_is_the_one_that_the_manifest_names():
    other, data = encode_part(KEYRING, ORIGIN, 3, SLICES)
    assert other.digest != PART.digest, "sealed anew, it is another object"
    with pytest.raises(CloudObjectInvalid):
        decode_part(KEYRING, ORIGIN, 3, PART, data)


def test_names_tell_what_they_are_of():
    mark = checkpoint_mark_name(ORIGIN, 3)
    assert split_checkpoint_mark(mark) == (ORIGIN, 3)
    assert split_head_name(mark) is None
    assert split_checkpoint_mark(head_name(ORIGIN, 3)) is None
    assert split_checkpoint_object(checkpoint_name(ORIGIN, 3)) == 3
    assert split_checkpoint_object(checkpoint_part_name(ORIGIN, 3, b"d" * 32)) == 3
    assert split_checkpoint_object(mark) is None


async def test_checkpoints_are_listed_with_what_is_wrong_with_them():
    cloud = MemoryCloud()
    for n in (1, 3):
        await cloud.put(checkpoint_mark_name(ORIGIN, n), b"")
    await cloud.put(checkpoint_name(ORIGIN, 3), MANIFEST_DATA)
    await cloud.put(checkpoint_part_name(ORIGIN, 3, PART.digest), PART_DATA)
    gone, whole = await list_checkpoints(cloud, lambda: KEYRING)
    assert gone.manifest is None
    assert "not there" in gone.problem
    assert whole.manifest == MANIFEST
    assert whole.name == CheckpointName(ORIGIN, 3)
    assert await list_heads(cloud) == {}
    await delete_checkpoint(cloud, whole)
    await delete_checkpoint(cloud, gone)
    assert cloud.objects == {}
