"""The command line without a server: what each command answers, its exit codes, and that secrets stay in place."""

import asyncio
import json
import subprocess
import sys

import pytest

from gateway.cli.child import Orders, decode_orders, encode_orders
from gateway.cli.command import COMMANDS, build_parser, run_command
from gateway.cli.credentials import credentials_path, ensure_credentials
from gateway.cli.opening import opened_site
from gateway.cli.site import create_site
from gateway.config import Overrides, load_config
from gateway.store.document_format import BucketRecord
from replication.departures import name_site
from replication.ports import LogPosition, Reissue


@pytest.fixture
def data(tmp_path):
    config = load_config(None, {}, Overrides(data=tmp_path / "data"))
    create_site(config)
    return config.data


def run(capsys, *arguments, environment=None):
    code = run_command([str(argument) for argument in arguments], environment or {})
    said = capsys.readouterr()
    return code, said.out, said.err


def answer(capsys, *arguments):
    code, out, err = run(capsys, *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_status_of_a_lone_site(capsys, data):
    status = answer(capsys, "status", "--data", data)
    assert status["safe_to_lose"] is False
    assert status["reasons"] == ["no cloud is configured"]
    assert (status["conflicts"], status["broken_conditions"], status["open_upload_bytes"]) == (0, 0, 0)
    assert (status["backlog_changes"], status["oldest_unsent_age_s"], status["sites"]) == (0, None, [])
    assert run(capsys, "status", "--data", data)[0] == 0
    assert run(capsys, "status", "--data", data, "--exit-code")[0] == 1


def test_buckets_of_one_name_are_told_of(capsys, data):
    async def make_both():
        async with opened_site(load_config(None, {}, Overrides(data=data))) as site:
            for at_ms, owner in enumerate(("ann", "bob"), start=1):
                record = BucketRecord(name="same", owner=owner, created_ms=at_ms)
                await site.store.commit(lambda view, record=record: view.put_bucket(record))

    asyncio.run(make_both())
    told = answer(capsys, "status", "--data", data)
    (derived,) = told["renamed_buckets"]
    assert told["renamed_buckets"] == {derived: "same"}
    assert any(derived in warning for warning in told["warnings"])
    assert derived in run(capsys, "status", "--data", data)[1]


def test_the_backlog_counts_what_was_acknowledged(capsys, data):
    answer(capsys, "user", "add", "ada", "--data", data)
    status = answer(capsys, "status", "--data", data)
    assert status["backlog_changes"] == 2
    assert status["backlog_bytes"] > 0
    assert status["oldest_unsent_age_s"] >= 0
    assert len(status["reasons"]) == 2


def test_a_users_life(capsys, data):
    made = answer(
        capsys,
        "user",
        "add",
        "ada",
        "--access-key",
        "ADAKEY",
        "--secret-key",
        "ada-secret",
        "--email",
        "a@b",
        "--data",
        data,
    )
    assert (made["access_key"], made["secret_key"], made["email"]) == ("ADAKEY", "ada-secret", "a@b")
    disabled = answer(capsys, "user", "disable", "a@b", "--data", data)
    assert (disabled["disabled"], disabled["access_keys"]) == (True, made["access_keys"])
    assert answer(capsys, "user", "enable", "ADAKEY", "--data", data)["disabled"] is False
    rotated = answer(capsys, "user", "rotate", "ada", "--data", data)
    users = answer(capsys, "user", "list", "--data", data)["users"]
    assert [key["access_key"] for key in users[0]["access_keys"]] == [rotated["access_key"]]
    kept = answer(capsys, "user", "rotate", "ada", "--keep", "--data", data)
    users = answer(capsys, "user", "list", "--data", data)["users"]
    assert kept["access_keys"] == users[0]["access_keys"]
    assert {key["access_key"] for key in users[0]["access_keys"]} == {rotated["access_key"], kept["access_key"]}
    assert "ada" in run(capsys, "user", "list", "--data", data)[1]
    assert answer(capsys, "user", "delete", made["id"], "--data", data)["result"] == "deleted"
    assert answer(capsys, "user", "list", "--data", data)["users"] == []


def test_lists_show_no_secret(capsys, data):
    answer(capsys, "user", "add", "ada", "--secret-key", "ada-secret", "--data", data)
    for extra in ([], ["--json"]):
        assert "ada-secret" not in run(capsys, "user", "list", "--data", data, *extra)[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["user", "add", "ada", "--secret-key", "short"],
        ["user", "add", "ada", "--access-key", "a b"],
        ["user", "add", "bob", "--access-key", "ADAKEY"],
        ["user", "add", "ada"],
        ["user", "delete", "nobody"],
        ["user", "rotate", "ada", "--access-key", "ADAKEY"],
    ],
)
def test_wrong_users_are_refused_and_change_nothing(capsys, data, arguments):
    answer(capsys, "user", "add", "ada", "--access-key", "ADAKEY", "--data", data)
    before = answer(capsys, "user", "list", "--data", data)
    code, out, err = run(capsys, *arguments, "--data", data)
    assert (code, out) == (3, "")
    assert err.startswith("skerry: ")
    assert answer(capsys, "user", "list", "--data", data) == before


def test_root_is_neither_disabled_nor_deleted(capsys, data):
    root = first_start(data)
    for verb in ("disable", "delete"):
        assert run(capsys, "user", verb, "root", "--data", data)[0] == 3
    assert answer(capsys, "user", "rotate", root.id, "--data", data)["access_key"] != root.id


def first_start(data, environment=None):
    async def ensure():
        async with opened_site(load_config(None, {}, Overrides(data=data))) as site:
            return await ensure_credentials(site.store, site.directory, environment or {})

    return asyncio.run(ensure())


def test_root_credentials_are_made_once_and_kept_for_their_owner(capsys, data):
    root = first_start(data)
    path = credentials_path(data)
    assert path.stat().st_mode & 0o777 == 0o600
    assert root.id in path.read_text()
    assert root.secret in path.read_text()
    assert first_start(data) is None
    rotated = answer(capsys, "user", "rotate", "root", "--data", data)
    assert first_start(data) is None
    assert [
        key["access_key"]
        for user in answer(capsys, "user", "list", "--data", data)["users"]
        for key in user["access_keys"]
    ] == [rotated["access_key"]]


def test_given_root_credentials_are_not_written_down(data):
    given = {"SKERRY_ROOT_ACCESS_KEY": "ROOTKEY1", "SKERRY_ROOT_SECRET_KEY": "root-secret-1"}
    assert first_start(data, given).id == "ROOTKEY1"
    assert first_start(data, given) is None
    assert not credentials_path(data).exists()


def test_no_conflicts(capsys, data):
    assert answer(capsys, "conflicts", "--data", data) == {"conflicts": []}
    assert run(capsys, "conflicts", "--data", data, "--exit-code")[0] == 0


def test_an_index_is_made_anew(capsys, data):
    answer(capsys, "user", "add", "ada", "--data", data)
    before = answer(capsys, "user", "list", "--data", data)
    assert answer(capsys, "rebuild-index", "--data", data)["broken"] == []
    assert answer(capsys, "user", "list", "--data", data) == before


def test_verify_says_what_is_damaged(capsys, data):
    answer(capsys, "user", "add", "ada", "--data", data)
    assert answer(capsys, "verify", "--data", data)["sound"] is True
    assert "sound" in run(capsys, "verify", "--data", data)[1]
    (log,) = (data / "segments").glob("*.log")
    damaged = bytearray(log.read_bytes())
    damaged[400] ^= 1
    log.write_bytes(damaged)
    code, out, _ = run(capsys, "verify", "--data", data, "--json")
    assert code == 1
    assert json.loads(out)["bad_batches"]


def test_no_index_is_made_anew_beside_a_running_process(capsys, data):
    async def beside():
        async with opened_site(load_config(None, {}, Overrides(data=data))):
            return await asyncio.to_thread(run_command, ["rebuild-index", "--data", str(data)], {})

    assert asyncio.run(beside()) == 3
    assert "stop it" in capsys.readouterr().err


def test_sites(capsys, data):
    sites = answer(capsys, "sites", "list", "--data", data)
    (this,) = sites["sites"]
    assert (this["state"], this["is_waited_for"], sites["waiting_for"]) == ("this site", False, [])
    assert len(this["site_id"]) == 32
    assert run(capsys, "sites", "list", "--data", data)[0] == 0
    assert answer(capsys, "sites", "name", this["site_id"], "shop 7", "--data", data)["name"] == "shop 7"
    assert answer(capsys, "sites", "list", "--data", data)["sites"][0]["name"] == "shop 7"
    assert answer(capsys, "status", "--data", data)["fleet"][0]["name"] == "shop 7"
    for verb in (["forget", "shop 7", "--heir", "shop 7"], ["revoke", "shop 7"], ["name", "nobody", "x"]):
        assert run(capsys, "sites", *verb, "--data", data)[0] == 3
    assert run(capsys, "sites", "retire", "--yes", "--data", data)[0] == 2  # there is no cloud


@pytest.mark.parametrize("verb", ["list", "name", "retire", "forget", "revoke", "policy"])
def test_verbs_of_sites_have_help_with_an_example(capsys, verb):
    with pytest.raises(SystemExit):
        run(capsys, "sites", verb, "--help")
    assert "example:\n  skerry sites" in capsys.readouterr().out
    assert run(capsys, "sites", "policy", "--data", data)[0] == 2


def test_verbs_of_sites_know_a_machine_by_the_id_it_goes_on_under(capsys, data):
    """A copied machine takes another id than its directory was made with: verbs without a name mean that one."""

    async def part():
        async with opened_site(load_config(None, {}, Overrides(data=data))) as site:
            former = site.replica.identity()
            log, common = (former.site, former.incarnation), LogPosition(0, 0, bytes(32))
            await site.replica.issue_anew(Reissue(log, common, 0, 0, b"n" * 16, b"i" * 8, "told by a test"))
            await name_site(site.replica, b"n" * 16, "anew")
            return former.site

    former = asyncio.run(part())
    said = answer(capsys, "sites", "revoke", former.hex(), "--yes", "--data", data)
    assert (said["site_id"], said["heir"]) == (former.hex(), (b"n" * 16).hex())


@pytest.mark.parametrize("command", [["status"], ["user", "list"], ["conflicts"], ["rebuild-index"]])
def test_commands_make_no_site(capsys, tmp_path, command):
    code, out, err = run(capsys, *command, "--data", tmp_path / "none")
    assert (code, out) == (3, "")
    assert "is not a directory" in err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("command", [["replicate", "--once"], ["restore"]])
def test_without_a_cloud_there_is_nothing_to_talk_to(capsys, data, command):
    assert run(capsys, *command, "--data", data)[0] == 2


def test_another_owners_directory_is_refused(capsys, data, monkeypatch):
    monkeypatch.setattr("gateway.store.files.Files.own_user", lambda self: 12345)
    code, _, err = run(capsys, "user", "add", "ada", "--data", data)
    assert code == 3
    assert "belongs to user" in err


def test_a_bad_configuration_is_exit_code_2(capsys, tmp_path):
    path = tmp_path / "site.toml"
    path.write_text("[server]\nworkers = 1000\n")
    for command in (["config", "check"], ["status"], ["serve"]):
        code, _, err = run(capsys, *command, "--config", path)
        assert code == 2
        assert f"{path}:2: [server] workers: must be between 0 and 64, not 1000" in err
    code, out, _ = run(capsys, "config", "check", path, "--json")
    assert code == 2
    assert json.loads(out)["problems"][0]["line"] == 2
    assert run(capsys, "status", environment={"SKERRY_CONFIG": str(path)})[0] == 2


def test_a_named_file_that_cannot_be_read_is_told_with_its_line(capsys, tmp_path):
    path = tmp_path / "site.toml"
    path.write_text('[site]\ndata = "data"\n[realm]\npassphrase_file = "words"\n')
    code, _, err = run(capsys, "config", "check", path)
    assert code == 2
    assert f"{path}:4: [realm] passphrase_file: {tmp_path / 'words'} cannot be read: No such file" in err
    (tmp_path / "words").write_text("x")
    assert run(capsys, "config", "check", path)[0] == 0


def test_one_wrong_key_is_one_problem(capsys, tmp_path):
    path = tmp_path / "site.toml"
    path.write_text("[site]\ndata = 5\n")
    code, out, _ = run(capsys, "config", "check", path, "--json")
    assert (code, len(json.loads(out)["problems"])) == (2, 1)


def subparsers(parser, path=()):
    for action in parser._actions:
        if hasattr(action, "choices") and isinstance(action.choices, dict):
            for name, child in action.choices.items():
                yield (*path, name), child
                yield from subparsers(child, (*path, name))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_verb_helps_with_an_example(command):
    parsers = [(path, parser) for path, parser in subparsers(build_parser(command)) if path[0] == command]
    assert parsers
    for path, parser in parsers:
        assert "example:\n  skerry " + path[0] in parser.format_help(), path
        assert parser.description, path


def test_the_list_of_commands_tells_of_each_and_of_the_exit_codes():
    text = build_parser().format_help()
    assert "exit codes: 0 done" in text
    for command in COMMANDS.values():
        assert command.summary in text


WITHOUT = {
    "--help": "gateway.config gateway.store.store",
    "status": "aiobotocore botocore aiohttp gateway.http.app",
}


@pytest.mark.parametrize("command", WITHOUT)
def test_a_command_imports_only_what_it_needs(command, data):
    """Nothing of AWS' client or of the HTTP server for an answer that needs neither."""
    program = (
        "import sys; from gateway.cli.command import run_command\n"
        "try: run_command(sys.argv[1:], {})\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    options = [] if command == "--help" else ["--data", str(data)]
    told = subprocess.run(
        [sys.executable, "-c", program, command, *options], capture_output=True, text=True, check=True, timeout=60
    )
    imported = told.stderr.split()
    assert "gateway.cli.command" in imported
    assert sorted(set(WITHOUT[command].split()) & set(imported)) == []


NEEDING_A_CLOUD = (
    *("audit-cloud", "drill", "checkpoint", "collect-cloud --dry-run", "replicate --once", "restore"),
    *("link show", "mirror list", "sites policy", "sites retire --yes"),
)


@pytest.mark.parametrize("command", NEEDING_A_CLOUD)
def test_what_needs_a_cloud_says_that_there_is_none(capsys, data, command):
    code, out, err = run(capsys, *command.split(), "--data", data)
    assert (code, out) == (2, "")
    assert "no cloud is configured" in err


def test_an_unknown_command_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as caught:
        run(capsys, "rekeyed")
    assert caught.value.code == 2


def test_a_segment_is_shown_without_a_key(capsys, data):
    answer(capsys, "user", "add", "ada", "--data", data)
    (log,) = sorted((data / "segments").glob("*.log"))[-1:]
    shown = answer(capsys, "inspect", log)
    assert shown["kind"] == "log"
    assert [batch["number"] for batch in shown["batches"]] == sorted(batch["number"] for batch in shown["batches"])
    assert "NUMBER" in run(capsys, "inspect", log)[1]
    log.write_bytes(log.read_bytes() + b"torn")
    assert run(capsys, "inspect", log)[0] == 1
    assert run(capsys, "inspect", data / "format.toml")[0] == 3
    assert run(capsys, "inspect", data / "none")[0] == 3


def test_orders_are_what_was_configured(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text(
        '[site]\ndata = "d"\n[server]\ndomains = ["s3.example.org"]\n[cloud]\nbucket = "realm"\nca_file = "ca"\n'
        'access_key = "a"\nsecret_key = "s"\n'
    )
    orders = Orders(load_config(path, {}), 3, 7)
    assert decode_orders(encode_orders(orders)) == orders
