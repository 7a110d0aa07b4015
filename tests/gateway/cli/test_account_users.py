"""``skerry user`` and users inside accounts: made, listed, refused; an account with users stays."""

import json

import pytest

from gateway.cli.command import run_command
from gateway.cli.site import create_site
from gateway.config import Overrides, load_config


@pytest.fixture
def data(tmp_path):
    config = load_config(None, {}, Overrides(data=tmp_path / "data"))
    create_site(config)
    return str(config.data)


@pytest.fixture
def skerry(capsys, data):
    """``skerry("user", …)``: exit code, standard output (parsed if it is JSON), standard error."""

    def run(*arguments):
        code = run_command([*arguments, "--data", data, "--json"], {})
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else None, said.err

    return run


def test_a_user_inside_an_account(skerry):
    _, ada, _ = skerry("user", "add", "ada")
    code, bob, _ = skerry(
        "user", "add", "bob", "--account", "ada", "--access-key", "BOBKEY", "--secret-key", "bobs-secret"
    )
    assert code == 0
    assert (bob["account"], bob["access_key"], bob["secret_key"]) == (ada["id"], "BOBKEY", "bobs-secret")
    assert bob["canonical_id"] == ada["canonical_id"]
    assert bob["arn"].endswith(":user/bob")
    assert ada["arn"].endswith(":root")
    users = {user["name"]: user["account"] for user in skerry("user", "list")[1]["users"]}
    assert users == {"ada": ada["id"], "bob": ada["id"]}
    assert skerry("user", "disable", "bob")[1]["disabled"] is True
    assert skerry("user", "delete", "ada")[0] == 3
    assert skerry("user", "delete", "bob")[0] == 0
    assert skerry("user", "delete", "ada")[0] == 0


def test_names_are_an_accounts_own(skerry):
    for account in ("ada", "eve"):
        skerry("user", "add", account)
        assert skerry("user", "add", "bob", "--account", account)[0] == 0
    assert skerry("user", "add", "bob")[0] == 0
    assert skerry("user", "disable", "bob")[1]["arn"].endswith(":root")  # a name means the account


@pytest.mark.parametrize(
    "arguments",
    [
        ["bob", "--account", "nobody"],
        ["sp ace", "--account", "ada"],
        ["BOB", "--account", "ada"],
        ["ada", "--account", "ada"],
        ["carl", "--account", "bob"],
        ["carl", "--account", "ada", "--admin"],
        ["carl", "--account", "ada", "--id", "x"],
        ["carl", "--account", "ada", "--access-key", "ADAKEY"],
    ],
)
def test_wrong_users_are_refused(skerry, arguments):
    skerry("user", "add", "ada", "--access-key", "ADAKEY")
    skerry("user", "add", "bob", "--account", "ada")
    before = skerry("user", "list")[1]
    code, out, err = skerry("user", "add", *arguments)
    assert (code, out) == (3, None)
    assert err.startswith("skerry: ")
    assert skerry("user", "list")[1] == before
