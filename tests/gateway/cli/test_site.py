"""Making a site: a first start, one that was interrupted, joining a realm, and everything that must be refused."""

import shutil

import pytest

from gateway.cli import site
from gateway.cli.site import create_site, generated_key_path, is_new_site, open_site
from gateway.config import Overrides, load_config
from gateway.store.errors import BadDataDirectory
from replication.cloud_memory import MemoryCloud
from replication.keys import RealmError, WrongRealm, WrongRealmKey
from replication.ports import CloudUnreachable
from replication.realm_format import REALM_KEY_LABEL, encode_key_text
from replication.root_keys import RootKeyUnusable

CLOUD = '[cloud]\nbucket = "realm"\naccess_key = "a"\nsecret_key = "s"\n'


def config_of(tmp_path, name="a", text=""):
    path = tmp_path / f"{name}.toml"
    path.write_text(text)
    return load_config(path, {}, Overrides(data=tmp_path / name))


@pytest.fixture
def cloud(monkeypatch):
    shared = MemoryCloud()

    async def open_it(settings):
        return shared

    monkeypatch.setattr(site, "open_cloud", open_it)
    return shared


def test_a_first_start_makes_what_later_starts_open(tmp_path):
    config = config_of(tmp_path)
    assert is_new_site(config)
    made = create_site(config)
    assert not is_new_site(config)
    assert "Recovery key  skerry-recovery-key-1" in made.kit
    assert generated_key_path(config).stat().st_mode & 0o777 == 0o600
    opened = open_site(config)
    assert opened.realm.keyring().chunk_key == open_site(config).realm.keyring().chunk_key
    assert opened.realm.recoverable


def test_an_interrupted_first_start_is_begun_anew(tmp_path):
    config = config_of(tmp_path)
    create_site(config)
    (config.data / "keys" / "realm").unlink()
    assert is_new_site(config)
    create_site(config)
    open_site(config)


def test_lost_keys_are_not_an_interrupted_start(tmp_path):
    config = config_of(tmp_path)
    create_site(config)
    (config.data / "keys" / "realm").unlink()
    (config.data / "segments" / "2.data").write_bytes(b"what matters")
    with pytest.raises(BadDataDirectory, match="holds data, but"):
        create_site(config)
    assert (config.data / "segments" / "2.data").read_bytes() == b"what matters"


def test_a_directory_that_is_not_ours_is_refused(tmp_path):
    config = config_of(tmp_path)
    config.data.mkdir()
    (config.data / "thesis.txt").write_text("mine")
    with pytest.raises(BadDataDirectory, match="not empty"):
        create_site(config)
    assert [path.name for path in config.data.iterdir()] == ["thesis.txt"]


def test_a_wrong_key_opens_nothing(tmp_path):
    config = config_of(tmp_path)
    create_site(config)
    other = config_of(tmp_path, "other")
    create_site(other)
    shutil.copy(generated_key_path(other), generated_key_path(config))
    with pytest.raises(WrongRealmKey):
        open_site(config)
    generated_key_path(config).chmod(0o644)
    with pytest.raises(RootKeyUnusable, match="chmod 600"):
        open_site(config)


def test_a_key_file_that_is_named_but_absent_is_made_for_a_new_realm(tmp_path):
    config = config_of(tmp_path, text='[realm]\nkey_file = "outside.key"\n')
    assert create_site(config).key_place == str(tmp_path / "outside.key")
    assert not generated_key_path(config).exists()
    open_site(config)


def test_a_passphrase_and_a_command_open_a_realm(tmp_path):
    (tmp_path / "phrase").write_text("correct horse\n")
    (tmp_path / "phrase").chmod(0o600)
    config = config_of(tmp_path, text='[realm]\npassphrase_file = "phrase"\n')
    create_site(config)
    open_site(config)
    key = generated_key_path(create_and_return(tmp_path))
    command = config_of(tmp_path, "third", f'[realm]\nkey_command = ["cat", "{key}"]\n')
    create_site(command)
    open_site(command)


def create_and_return(tmp_path):
    config = config_of(tmp_path, "second")
    create_site(config)
    return config


def test_a_second_site_joins_with_the_key_and_not_without(tmp_path, cloud):
    first = config_of(tmp_path, "a", CLOUD)
    made = create_site(first)
    assert made.kit
    with pytest.raises(RealmError, match="configure its root key"):
        create_site(config_of(tmp_path, "b", CLOUD))
    assert not (tmp_path / "b").exists()
    second = config_of(tmp_path, "b", CLOUD + f'[realm]\nkey_file = "{generated_key_path(first)}"\n')
    joined = create_site(second)
    assert not joined.kit
    a, b = open_site(first), open_site(second)
    assert a.directory.realm == b.directory.realm
    assert a.directory.site != b.directory.site
    assert a.realm.keyring().chunk_key == b.realm.keyring().chunk_key


def test_a_wrong_key_joins_nothing_and_leaves_nothing(tmp_path, cloud):
    create_site(config_of(tmp_path, "a", CLOUD))
    stranger = config_of(tmp_path, "stranger")
    create_site(stranger)
    joining = config_of(tmp_path, "b", CLOUD + f'[realm]\nkey_file = "{generated_key_path(stranger)}"\n')
    with pytest.raises(WrongRealmKey):
        create_site(joining)
    assert not joining.data.exists()


def test_a_bucket_that_cannot_be_asked_makes_no_realm(tmp_path, cloud, monkeypatch):
    async def unreachable(*_arguments, **_options):
        raise CloudUnreachable("no route")

    monkeypatch.setattr(cloud, "get", unreachable)
    config = config_of(tmp_path, "a", CLOUD)
    with pytest.raises(CloudUnreachable):
        create_site(config)
    assert not config.data.exists()


def test_two_first_starts_at_once_make_one_realm(tmp_path, cloud, monkeypatch):
    async def nothing_yet(_settings):
        return None

    monkeypatch.setattr(site, "_look_for_realm", nothing_yet)
    create_site(config_of(tmp_path, "a", CLOUD))
    late = config_of(tmp_path, "b", CLOUD)
    with pytest.raises(WrongRealm):
        create_site(late)
    assert list(late.data.iterdir()) == []


def test_a_root_key_that_was_handed_over_is_used_and_nobody_asked(tmp_path, monkeypatch):
    config = config_of(tmp_path)
    create_site(config)
    key = open_site(config).realm.root_key_text()
    monkeypatch.setattr(site, "root_key_provider", lambda config: pytest.fail("it was asked for again"))
    assert open_site(config, key).realm.recoverable


def test_a_handed_root_key_that_was_ended_since_gives_way_to_the_configured_one(tmp_path):
    config = config_of(tmp_path)
    create_site(config)
    assert open_site(config, encode_key_text(REALM_KEY_LABEL, b"o" * 32)).realm.recoverable
