"""Rotation of epochs and root keys: small, durable on both sides, open to the recovery key, agreed by all sites."""

import pytest

from replication.cloud_memory import MemoryCloud
from replication.frame_format import FrameHeader, decode_header
from replication.keys import RealmError, WrongRealmKey, fetch_realm, open_realm
from replication.ports import CloudUnreachable
from replication.realm_access import open_local
from replication.root_keys import FileRootKey, GivenRootKey, PassphraseRootKey, generate_key_file
from replication.sealing import (
    PURPOSE_CLOUD_LOG,
    KeyUnknown,
    SealBroken,
    chunk_id,
    open_envelope,
    open_frame,
    reseal_frame,
    seal_envelope,
    seal_frame,
)
from tests.replication.faulty_cloud import CRASH_AFTER, CRASH_BEFORE, LOST_REPLY, Crash, FaultyCloud
from tests.replication.realms import found, join

CONTEXT = b"c" * 8


def key_file(path):
    generate_key_file(path)
    return FileRootKey(path)


def bucket_of(objects):
    cloud = MemoryCloud()
    cloud.objects.update(objects)
    return cloud


@pytest.fixture
def realm(tmp_path):
    """(the realm at its first site, its root key, the recovery key, the bucket that holds it)"""
    root = key_file(tmp_path / "root")
    access, made = found(tmp_path / "a", root)
    return access, root, GivenRootKey(made.recovery_key), bucket_of(made.objects)


def seal(access):
    return seal_envelope(access.keyring(), PURPOSE_CLOUD_LOG, CONTEXT, b"text")


def can_open(keyring, sealed):
    return open_envelope(keyring, PURPOSE_CLOUD_LOG, CONTEXT, sealed) == b"text"


async def test_a_new_epoch_is_one_object_and_what_was_sealed_stays_open(realm, tmp_path):
    access, root, recovery, cloud = realm
    before, count = seal(access), len(cloud.objects)
    told = []
    access.on_keyring = told.append
    epoch = await access.rotate_epoch(cloud, 5)
    assert len(cloud.objects) == count + 1
    assert access.keyring().current == told[-1].current == epoch
    after = seal(access)
    for opened in (open_local(tmp_path / "a", root).keyring(), access.keyring()):
        assert opened.current == epoch
        assert can_open(opened, before)
        assert can_open(opened, after)
    recovered = open_realm(recovery, await fetch_realm(cloud))
    assert can_open(recovered.keyring, after)
    assert recovered.recoverable
    assert chunk_id(recovered.keyring, b"x") == chunk_id(access.keyring(), b"x"), "the chunk-id key never rotates"


async def test_a_clock_that_is_behind_makes_a_newer_epoch_all_the_same(realm):
    access, _, _, cloud = realm
    first = await access.rotate_epoch(cloud, 10**13)
    second = await access.rotate_epoch(cloud, 5)
    assert [epoch.id for epoch in access.epochs()][-2:] == [first, second]
    assert access.keyring().current == second


async def test_two_sites_that_rotate_at_once_agree(realm, tmp_path):
    a, root, _, cloud = realm
    b = await join(tmp_path / "b", root, cloud)
    one, other = await a.rotate_epoch(cloud, 7), await b.rotate_epoch(cloud, 7)
    sealed = seal(a), seal(b)
    for access in (a, b):
        await access.refresh(cloud)
    assert a.keyring().current == b.keyring().current == max(one, other)
    assert all(can_open(access.keyring(), one) for access in (a, b) for one in sealed)


@pytest.mark.parametrize("fault", [CRASH_BEFORE, CRASH_AFTER, LOST_REPLY])
async def test_interrupted_at_each_call_nobody_uses_a_key_that_is_not_in_the_bucket(tmp_path, fault):
    for call in range(1, 12):
        directory = tmp_path / f"{call}"
        root = key_file(tmp_path / f"root{call}")
        access, made = found(directory, root)
        inner = bucket_of(made.objects)
        cloud = FaultyCloud(inner, script={call: fault})
        try:
            await access.rotate_epoch(cloud, 5)
        except (Crash, CloudUnreachable):
            assert open_local(directory, root).keyring().current == access.keyring().current
            await open_local(directory, root).rotate_epoch(inner, 5)
        kept = open_local(directory, root)
        bucket = open_realm(root, await fetch_realm(inner))
        assert kept.keyring().epochs.keys() <= bucket.keyring.epochs.keys()
        if len(cloud.calls) < call:
            return
    raise AssertionError("more calls than thought")


async def test_other_processes_of_the_site_learn_of_it(realm, tmp_path):
    access, root, _, _ = realm
    other = open_local(tmp_path / "a", root)
    epoch = await access.rotate_epoch(None, 5)
    ring = other.keyring()
    assert can_open(ring, seal(access)), "an epoch that is not known is looked for beside the data"
    assert other.keyring().current == epoch
    with pytest.raises(KeyUnknown):
        ring.epoch_key(b"strange epoch !!")
    assert not other.reload()


async def test_a_new_root_is_two_objects_and_the_old_one_works_until_it_is_dropped(realm, tmp_path):
    access, old, recovery, cloud = realm
    count, new = len(cloud.objects), key_file(tmp_path / "new")
    mark = await access.add_root(cloud, new)
    assert len(cloud.objects) == count + 2
    assert await access.add_root(cloud, new) == mark
    assert len(cloud.objects) == count + 2
    await access.rotate_epoch(cloud, 9)
    sealed = seal(access)
    for provider in (old, new, recovery):
        assert can_open(open_realm(provider, await fetch_realm(cloud)).keyring, sealed)
    roots = access.roots()
    assert sorted((root.in_use, root.recovery) for root in roots) == [(False, False), (False, True), (True, False)]
    with pytest.raises(RealmError, match="in use"):
        await access.drop_root(cloud, next(root.mark for root in roots if root.in_use))
    with pytest.raises(RealmError, match="recovery"):
        await access.drop_root(cloud, next(root.mark for root in roots if root.recovery))
    with pytest.raises(RealmError, match="no root key"):
        await access.drop_root(cloud, bytes(16))


async def test_a_dropped_root_opens_nothing_and_nobody_brings_it_back(realm, tmp_path):
    first, old, recovery, cloud = realm
    second = await join(tmp_path / "b", old, cloud)
    new = key_file(tmp_path / "new")
    await first.add_root(cloud, new)
    old_mark = next(root.mark for root in first.roots() if root.in_use)
    moved = open_local(tmp_path / "a", new)
    await moved.drop_root(cloud, old_mark)
    await second.publish(cloud)
    await second.refresh(cloud)
    assert any(root.mark == old_mark for root in second.roots()), "it is in use there until the new one is configured"
    await moved.publish(cloud)
    objects = await fetch_realm(cloud)
    with pytest.raises(WrongRealmKey):
        open_realm(old, objects)
    for provider in (new, recovery):
        assert can_open(open_realm(provider, objects).keyring, seal(second))
    with pytest.raises(WrongRealmKey):
        open_local(tmp_path / "a", old)
    other = open_local(tmp_path / "b", new)
    await other.refresh(cloud)
    with pytest.raises(WrongRealmKey):
        open_local(tmp_path / "b", old)
    assert open_local(tmp_path / "b", new).recoverable


async def test_without_a_recovery_key_another_root_is_none(realm, tmp_path):
    access, _, _, cloud = realm
    mark = next(root.mark for root in access.roots() if root.recovery)
    for path in (tmp_path / "a").glob(f"*/{mark.hex()}"):
        path.unlink()
    access.reload()
    assert not access.recoverable
    await access.add_root(cloud, key_file(tmp_path / "new"))
    assert not access.recoverable


async def test_a_passphrase_realm_moves_to_a_key_file(tmp_path):
    (tmp_path / "phrase").write_text("correct horse")
    (tmp_path / "phrase").chmod(0o600)
    old = PassphraseRootKey(tmp_path / "phrase", log2_n=10)
    access, _ = found(tmp_path / "a", old)
    new = key_file(tmp_path / "new")
    await access.add_root(None, new)
    assert open_local(tmp_path / "a", new).keyring().current == access.keyring().current


async def test_retired_epochs_are_known_to_all_and_the_newest_never_is(realm, tmp_path):
    a, root, _, cloud = realm
    (first,) = [epoch.id for epoch in a.epochs()]
    assert await a.retire_epochs(cloud) == [], "there is no other to seal with"
    b = await join(tmp_path / "b", root, cloud)
    second = await a.rotate_epoch(cloud, 5)
    told = []
    a.on_keyring = told.append
    assert await a.retire_epochs(cloud) == [first]
    assert a.keyring().retired == told[-1].retired == {first}
    await b.refresh(cloud)
    c = await join(tmp_path / "c", root, cloud)
    for access in (b, c, open_local(tmp_path / "a", root), open_local(tmp_path / "b", root)):
        assert access.keyring().retired == {first}
        assert [(epoch.id, epoch.retired) for epoch in access.epochs()] == [(first, True), (second, False)]
    cloud.objects[f"keys/retired/{second.hex()}"] = b""
    await b.refresh(cloud)
    assert b.keyring().retired == {first}, "a mark of the newest says nothing, whoever wrote it"


async def test_an_epoch_ends_in_the_bucket_and_where_nothing_lies_under_it(realm, tmp_path):
    a, root, recovery, cloud = realm
    b, idle = await join(tmp_path / "b", root, cloud), await join(tmp_path / "idle", root, cloud)
    before = seal(a)
    (first,) = [epoch.id for epoch in a.epochs()]
    with pytest.raises(RealmError, match="current"):
        await a.drop_epoch(cloud, first)
    second = await a.rotate_epoch(cloud, 5)
    with pytest.raises(RealmError, match="rekey"):
        await a.drop_epoch(cloud, first)
    await a.retire_epochs(cloud)
    for access in (b, idle):
        await access.refresh(cloud)
    await a.drop_epoch(cloud, first)
    assert not [name for name in cloud.objects if name.startswith(f"keys/{first.hex()}/")]
    with pytest.raises(KeyUnknown):
        can_open(a.keyring(), before)
    b.is_needed = lambda epoch: epoch == first
    idle.is_needed = lambda epoch: False
    for access in (b, idle):
        await access.refresh(cloud)
        await access.publish(cloud)
        assert not [name for name in cloud.objects if name.startswith(f"keys/{first.hex()}/")], "nor does it come back"
    assert can_open(b.keyring(), before), "something lies under it there, whatever a mark says"
    with pytest.raises(KeyUnknown):
        can_open(idle.keyring(), before)
    assert not (tmp_path / "idle" / first.hex()).exists() or not list((tmp_path / "idle" / first.hex()).iterdir())
    cloud.objects[f"keys/dropped/{second.hex()}"] = b""
    for access in (a, idle):
        await access.refresh(cloud)
        assert can_open(access.keyring(), seal(access)), "the newest stays, whoever wrote a mark"
    for opened in (open_realm(recovery, await fetch_realm(cloud)).keyring, open_local(tmp_path / "a", root).keyring()):
        assert set(opened.epochs) == {second}
    with pytest.raises(RealmError, match="no epoch"):
        await a.drop_epoch(cloud, first)


async def test_a_frame_sealed_anew_is_the_same_frame(realm):
    access, _, _, cloud = realm
    old = access.keyring()
    header = FrameHeader(1, 0, 0, 7, 0, 9, old.current, b"s" * 24, b"c" * 32, bytes(32))
    encoded, ciphertext = seal_frame(old, header, b"some payload")
    await access.rotate_epoch(cloud, 5)
    ring = access.keyring()
    anew = reseal_frame(ring, encoded, ciphertext)
    found = decode_header(anew[0])
    assert anew == reseal_frame(ring, encoded, ciphertext), "wherever it is done"
    assert (found.epoch, found.name, len(anew[0])) == (ring.current, decode_header(encoded).name, len(encoded))
    assert open_frame(ring, found, anew[1]) == b"some payload"
    assert anew[1] != ciphertext
    with pytest.raises(SealBroken):
        reseal_frame(ring, encoded, ciphertext[:-1] + bytes([ciphertext[-1] ^ 1]))


async def test_what_leaked_opens_nothing_of_a_renewed_realm_whatever_is_read_of_the_bucket(realm, tmp_path):
    """Root key, wrapped keys, and all of the bucket as it is now: and still none of what is sealed from then on."""
    a, root, recovery, cloud = realm
    b = await join(tmp_path / "b", root, cloud)
    leaked = dict(await fetch_realm(cloud))
    old = seal(a)
    new = key_file(tmp_path / "new")
    await a.add_root(cloud, new)
    a, keys = open_local(tmp_path / "a", new), []
    with pytest.raises(RealmError, match="drop it"):
        await a.renew(cloud, 5, keys.append)
    (before,) = [one.mark for one in a.roots() if not one.in_use and not one.recovery]
    await a.drop_root(cloud, before)
    plain = await a.rotate_epoch(cloud, 5)
    thief = open_realm(root, {**await fetch_realm(cloud), **leaked})
    assert plain in thief.keyring.epochs, "a new epoch alone is open to who has the wrapping key"
    renewed_epoch = await a.renew(cloud, 6, keys.append)
    fresh = seal(a)
    assert a.keyring().current == renewed_epoch
    assert a.recoverable
    bucket = await fetch_realm(cloud)
    for leak in (root, recovery):
        opened = open_realm(leak, {**bucket, **leaked})
        assert renewed_epoch not in opened.keyring.epochs
        with pytest.raises(KeyUnknown):
            can_open(opened.keyring, fresh)
    renewed = GivenRootKey(keys[-1])
    for provider in (new, renewed):
        opened = open_realm(provider, bucket)
        assert opened.recoverable
        assert can_open(opened.keyring, old)
        assert can_open(opened.keyring, fresh)
    later = await a.rotate_epoch(cloud, 7)
    opened = open_realm(renewed, await fetch_realm(cloud))
    assert later in opened.keyring.epochs, "the new recovery key outlives what follows"
    assert later not in open_realm(root, {**await fetch_realm(cloud), **leaked}).keyring.epochs
    roots = sorted((one.recovery, one.outdated) for one in a.roots())
    assert roots == [(False, False), (True, False), (True, True)]
    b = open_local(tmp_path / "b", root)
    await b.refresh(cloud)
    assert renewed_epoch not in b.keyring().epochs, "it runs with the root key of before"


@pytest.mark.parametrize("kind", [CRASH_BEFORE, CRASH_AFTER, LOST_REPLY])
async def test_a_renewal_that_is_cut_short_leaves_no_realm_without_its_recovery_key(realm, tmp_path, kind):
    a, root, recovery, cloud = realm
    providers, cut_short = [recovery], 0
    for call in range(1, 24):
        a, keys = open_local(tmp_path / "a", root), []
        try:
            await a.renew(FaultyCloud(cloud, script={call: kind}), 5 + call, keys.append)
        except (Crash, CloudUnreachable):
            cut_short += 1
        assert len(keys) == 1, "told before anything counts"
        providers.append(GivenRootKey(keys[0]))
        bucket = await fetch_realm(cloud)
        sealed = seal_envelope(open_realm(root, bucket).keyring, PURPOSE_CLOUD_LOG, CONTEXT, b"text")
        opens = [provider for provider in providers if opens_envelope(provider, bucket, sealed)]
        assert opens, f"call {call}: nothing but a root key opens what is sealed now"
        assert open_realm(root, bucket).recoverable
    assert cut_short > 5


def opens_envelope(provider, bucket, sealed):
    """Whether a recovery key opens it."""
    try:
        return can_open(open_realm(provider, bucket).keyring, sealed)
    except (KeyUnknown, RealmError):
        return False
