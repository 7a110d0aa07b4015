"""A realm's keys: made, kept, published, joined; every wrong key or bucket refused before anything is written."""

import dataclasses
import os
import sys

import pytest

from replication.cloud_memory import MemoryCloud
from replication.cloud_names import REALM
from replication.keys import (
    NoRealm,
    RealmError,
    WrongRealm,
    WrongRealmKey,
    create_realm,
    fetch_realm,
    open_realm,
    publish_realm,
    read_key_directory,
    recovery_kit,
    write_key_directory,
)
from replication.ports import CloudUnreachable
from replication.realm_access import open_local
from replication.realm_format import KEY_EPOCH, KeyRecord, fingerprint, unwrap_key, wrap_key
from replication.root_keys import (
    CommandRootKey,
    FileRootKey,
    GivenRootKey,
    PassphraseRootKey,
    RootKeyUnusable,
    generate_key_file,
)
from replication.sealing import chunk_id
from tests.replication.faulty_cloud import CRASH_AFTER, CRASH_BEFORE, DAMAGED, LOST_REPLY, Crash, FaultyCloud
from tests.replication.realms import found, join


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "realm.key"
    generate_key_file(path)
    return path


@pytest.fixture
def root(key_file):
    return FileRootKey(key_file)


def other_root(tmp_path):
    path = tmp_path / "other.key"
    generate_key_file(path)
    return FileRootKey(path)


def test_new_realm_opens_again_with_root_and_with_recovery_key(root):
    made = create_realm(root, 1)
    again = open_realm(root, made.objects)
    recovered = open_realm(GivenRootKey(made.recovery_key), made.objects)
    for opened in (again, recovered):
        assert chunk_id(opened.keyring, b"x") == chunk_id(made.opened.keyring, b"x")
        assert opened.keyring.epochs == made.opened.keyring.epochs
        assert opened.keyring.current == made.opened.keyring.current
        assert opened.recoverable


def test_realms_are_unlike(root):
    one, two = create_realm(root, 1), create_realm(root, 1)
    assert one.opened.realm.id != two.opened.realm.id
    assert chunk_id(one.opened.keyring, b"x") != chunk_id(two.opened.keyring, b"x")


def test_wrong_key_is_said(root, tmp_path):
    made = create_realm(root, 1)
    with pytest.raises(WrongRealmKey):
        open_realm(other_root(tmp_path), made.objects)
    with pytest.raises(NoRealm):
        open_realm(root, {})


def test_without_recovery_wrap_it_is_said(root):
    made = create_realm(root, 1)
    recovery = GivenRootKey(made.recovery_key)
    mark = fingerprint(made.opened.realm.id, recovery.root_key(made.opened.realm)).hex()
    objects = {name: data for name, data in made.objects.items() if not name.endswith(mark)}
    assert len(objects) == len(made.objects) - 1
    assert not open_realm(root, objects).recoverable
    with pytest.raises(WrongRealmKey):
        open_realm(recovery, objects)


def test_damaged_key_is_an_error(root):
    made = create_realm(root, 1)
    for name in made.objects:
        damaged = bytes([*made.objects[name][:-1], made.objects[name][-1] ^ 1])
        with pytest.raises((RealmError, ValueError)):
            open_realm(root, {**{n: d for n, d in made.objects.items() if n == REALM}, name: damaged})


def test_newest_epoch_is_current_and_recovery_opens_it(root):
    made = create_realm(root, 1)
    realm = made.opened.realm.id
    newer = KeyRecord(b"n" * 16, KEY_EPOCH, 2, bytes(32))
    by = root.root_key(made.opened.realm)
    name = f"keys/{newer.id.hex()}/{fingerprint(realm, by).hex()}"
    opened = open_realm(root, {**made.objects, name: wrap_key(realm, by, newer)})
    assert opened.keyring.current == newer.id
    assert set(opened.keyring.epochs) == {newer.id, made.opened.keyring.current}
    assert unwrap_key(realm, by, newer.id, wrap_key(realm, by, newer)) == newer


def test_recovery_kit_says_what_to_keep_and_how_to_restore(root):
    made = create_realm(root, 1)
    kit = recovery_kit(made, "s3://bucket/prefix")
    assert made.recovery_key in kit
    assert made.opened.realm.id.hex() in kit
    assert "s3://bucket/prefix" in kit
    assert "skerry restore" in kit


def test_nothing_secret_shows(root):
    made = create_realm(root, 1)
    for value in (made, made.opened, made.opened.keyring, GivenRootKey(made.recovery_key)):
        assert made.recovery_key.split()[1] not in repr(value)
        assert made.opened.keyring.chunk_key.hex() not in repr(value)


# root key providers


def test_key_file_of_others_is_refused(key_file, root):
    assert key_file.stat().st_mode & 0o777 == 0o600
    key_file.chmod(0o640)
    with pytest.raises(RootKeyUnusable, match="chmod 600"):
        create_realm(root, 1)
    with pytest.raises(FileExistsError):
        generate_key_file(key_file)


@pytest.mark.parametrize("text", ["", "nonsense", "skerry-realm-key-1 00 00000000", "x" * 5000, "\xff"])
def test_bad_key_file_is_said(tmp_path, text):
    path = tmp_path / "bad.key"
    path.write_bytes(text.encode("latin-1"))
    path.chmod(0o600)
    with pytest.raises(RootKeyUnusable):
        create_realm(FileRootKey(path), 1)
    with pytest.raises(RootKeyUnusable, match="cannot be read"):
        create_realm(FileRootKey(tmp_path / "none"), 1)


def test_passphrase_by_file_and_by_variable(tmp_path, monkeypatch):
    path = tmp_path / "passphrase"
    path.write_text("correct horse battery staple\n")
    path.chmod(0o600)
    by_file = PassphraseRootKey(path=path, log2_n=10)
    made = create_realm(by_file, 1)
    by_variable = PassphraseRootKey(variable="REALM_PASSPHRASE")
    with pytest.raises(RootKeyUnusable, match="not set"):
        open_realm(by_variable, made.objects)
    monkeypatch.setenv("REALM_PASSPHRASE", "correct horse battery staple")
    assert open_realm(by_variable, made.objects).keyring.current == made.opened.keyring.current
    monkeypatch.setenv("REALM_PASSPHRASE", "tr0ub4dor")
    with pytest.raises(WrongRealmKey) as caught:
        open_realm(by_variable, made.objects)
    assert "tr0ub4dor" not in str(caught.value)
    assert open_realm(GivenRootKey(made.recovery_key), made.objects).recoverable


def test_provider_of_the_wrong_kind_is_said(root, tmp_path):
    path = tmp_path / "passphrase"
    path.write_text("pass")
    path.chmod(0o600)
    with pytest.raises(RootKeyUnusable, match="not made with a passphrase"):
        open_realm(PassphraseRootKey(path=path), create_realm(root, 1).objects)
    with pytest.raises(WrongRealmKey, match="made with a passphrase"):
        open_realm(root, create_realm(PassphraseRootKey(path=path, log2_n=8), 1).objects)


def test_command(key_file, root):
    made = create_realm(root, 1)
    assert open_realm(CommandRootKey(("cat", str(key_file))), made.objects).recoverable


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import sys; print('s3cret'); sys.exit(3)", r"exit code 3: run it by hand"),
        ("print('s3cret')", "not a key text"),
        ("import time; time.sleep(60)", "did not end"),
    ],
)
def test_failing_command_is_said_without_its_output(root, code, says):
    made = create_realm(root, 1)
    command = CommandRootKey((sys.executable, "-c", code), timeout_s=0.3 if "sleep" in code else 30)
    with pytest.raises(RootKeyUnusable, match=says) as caught:
        open_realm(command, made.objects)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(RootKeyUnusable, match=r"'/nonexistent/command', cannot be run"):
        open_realm(CommandRootKey(("/nonexistent/command",)), made.objects)


# the directory


def test_directory_keeps_byte_for_byte(root, tmp_path):
    made = create_realm(root, 1)
    directory = tmp_path / "keys"
    assert read_key_directory(directory) == {}
    write_key_directory(directory, made.objects)
    write_key_directory(directory, made.objects)
    assert read_key_directory(directory) == made.objects
    assert directory.stat().st_mode & 0o077 == 0
    with pytest.raises(WrongRealm):
        write_key_directory(directory, create_realm(root, 1).objects)
    assert read_key_directory(directory) == made.objects


def test_directory_is_written_with_the_realm_last_and_synced(root, tmp_path, monkeypatch):
    made = create_realm(root, 1)
    written, synced = [], []
    real_open, real_fsync = os.open, os.fsync

    def spy_open(path, flags, *rest):
        if flags & os.O_CREAT:
            written.append(str(path))
        return real_open(path, flags, *rest)

    monkeypatch.setattr(os, "open", spy_open)
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(descriptor), real_fsync(descriptor)))
    write_key_directory(tmp_path / "keys", made.objects)
    assert written[-1].endswith("realm.new")
    assert len(synced) >= 2 * len(made.objects)


# the bucket


async def test_publish_and_join(root, tmp_path):
    cloud = MemoryCloud()
    access, made = found(tmp_path / "a", root)
    await access.publish(cloud)
    assert cloud.objects == made.objects
    joined = await join(tmp_path / "b", root, cloud)
    assert joined.keyring().epochs == access.keyring().epochs
    assert open_local(tmp_path / "b", root).realm == access.realm
    assert read_key_directory(tmp_path / "b") == cloud.objects


async def test_publishing_again_writes_nothing(root, tmp_path):
    cloud = FaultyCloud(MemoryCloud())
    access, _ = found(tmp_path / "a", root)
    await access.publish(cloud)
    cloud.calls.clear()
    await access.publish(cloud)
    assert {verb for verb, _ in cloud.calls} <= {"get", "list"}


async def test_bucket_of_another_realm_is_refused_before_anything_is_written(root, tmp_path):
    cloud = MemoryCloud()
    cloud.objects |= create_realm(root, 1).objects
    before = dict(cloud.objects)
    access, _ = found(tmp_path / "a", root)
    with pytest.raises(WrongRealm):
        await access.publish(cloud)
    assert cloud.objects == before
    cloud.objects = {REALM: b"someone else's object"}
    with pytest.raises(WrongRealm, match="not Skerry's"):
        await access.publish(cloud)


async def test_joining_with_a_wrong_key_keeps_nothing(root, tmp_path):
    cloud = MemoryCloud()
    cloud.objects |= create_realm(root, 1).objects
    with pytest.raises(WrongRealmKey):
        await join(tmp_path / "b", other_root(tmp_path), cloud)
    assert not (tmp_path / "b").exists()
    with pytest.raises(NoRealm):
        await join(tmp_path / "b", root, MemoryCloud())


@pytest.mark.parametrize("fault", [CRASH_BEFORE, CRASH_AFTER, LOST_REPLY])
async def test_publishing_interrupted_at_each_call(root, fault):
    made = create_realm(root, 1)
    counting = FaultyCloud(MemoryCloud())
    await publish_realm(counting, made.objects)
    for call in range(1, len(counting.calls) + 1):
        inner = MemoryCloud()
        with pytest.raises((Crash, CloudUnreachable)):
            await publish_realm(FaultyCloud(inner, script={call: fault}), made.objects)
        if REALM in inner.objects:
            assert await fetch_realm(inner) == made.objects, "a realm in the bucket is one that can be joined"
        await publish_realm(inner, made.objects)
        assert inner.objects == made.objects


async def test_race_of_two_founders_has_one_winner(root):
    one, two = create_realm(root, 1), create_realm(root, 1)
    inner = MemoryCloud()

    class Racing(MemoryCloud):
        async def put(self, name, data, *, if_absent=False):
            if name == REALM:
                inner.objects.setdefault(REALM, one.objects[REALM])
            await inner.put(name, data, if_absent=if_absent)

        async def get(self, name, *, offset=0, length=None):
            return await inner.get(name)

    with pytest.raises(WrongRealm):
        await publish_realm(Racing(), two.objects)
    await publish_realm(inner, one.objects)
    assert open_realm(root, await fetch_realm(inner)).realm == one.opened.realm


async def test_refresh_takes_in_another_sites_epoch(root, tmp_path):
    cloud = MemoryCloud()
    access, _ = found(tmp_path / "a", root)
    await access.publish(cloud)
    told = []
    access.on_keyring = told.append
    await access.refresh(cloud)
    assert told == []
    realm, by = access.realm.id, root.root_key(access.realm)
    newer = KeyRecord(b"n" * 16, KEY_EPOCH, 2, bytes(32))
    cloud.objects[f"keys/{newer.id.hex()}/{fingerprint(realm, by).hex()}"] = wrap_key(realm, by, newer)
    await access.refresh(cloud)
    assert access.keyring().current == newer.id
    assert [ring.current for ring in told] == [newer.id]
    assert open_local(tmp_path / "a", root).keyring().current == newer.id
    assert dataclasses.is_dataclass(told[0])


async def test_a_key_that_came_damaged_is_not_kept(root):
    """Of a wrap by the recovery key, which no site has at hand, nothing but a second read tells."""
    cloud, made = MemoryCloud(), create_realm(root, 1)
    await publish_realm(cloud, made.objects)
    names = [name for name in made.objects if name != REALM]
    for number in range(len(names)):
        flipping = FaultyCloud(cloud, script={3 + 2 * number: DAMAGED})
        with pytest.raises(CloudUnreachable, match="did not come whole"):
            await fetch_realm(flipping)
    assert await fetch_realm(cloud) == made.objects
