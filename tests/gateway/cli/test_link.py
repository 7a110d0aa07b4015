"""The operator's live word and the debts that processes share."""

import json

import pytest

from gateway.cli.command import run_command
from gateway.cli.link_state import LOOK_S, OverrideFile, SharedDebts, open_debts, read_override, write_override
from gateway.store.files import Files
from gateway.store.layout import DataDirectory
from replication.link import DOWN, UP, Link, Override
from replication.link_hours import Limit, LinkHours, LinkLimits

CONFIG = (
    '[site]\ndata = "data"\n[cloud]\nbucket = "realm"\naccess_key = "a"\nsecret_key = "s"\nupload_bytes_per_s = 1000\n'
)


@pytest.fixture
def config(tmp_path):
    DataDirectory.create(tmp_path / "data", b"r" * 16, b"s" * 16)
    path = tmp_path / "site.toml"
    path.write_text(CONFIG)
    path.chmod(0o600)
    return path


def ask(config, capsys, *words):
    code = run_command(["link", *words, "--json", "--config", str(config)], {})
    said = capsys.readouterr()
    return code, json.loads(said.out) if said.out else said.err


def test_set_holds_until_cleared(config, capsys):
    assert ask(config, capsys, "show")[1]["up_bytes_per_s"] == 1000
    code, said = ask(config, capsys, "set", "--up", "pause")
    assert (code, said["up_bytes_per_s"], said["down"], said["from"]) == (0, 0, "no limit", "skerry link set")
    assert ask(config, capsys, "set", "--down", "64k")[1]["up"] == "paused", "one way at a time"
    assert ask(config, capsys, "clear")[1]["up_bytes_per_s"] == 1000


def test_set_for_a_while_ends_by_itself(config, capsys):
    assert ask(config, capsys, "set", "--up", "full", "--for", "0s")[1]["from"] == "the configuration"
    assert ask(config, capsys, "set", "--up", "full", "--for", "1h")[1]["until_ms"]


@pytest.mark.parametrize("words", [("set",), ("set", "--up", "fast"), ("set", "--up", "1k", "--for", "soon")])
def test_words_that_mean_nothing_change_nothing(config, capsys, words):
    code, said = ask(config, capsys, *words)
    assert code == 2
    assert said
    assert ask(config, capsys, "show")[1]["from"] == "the configuration"


def test_a_word_wins_over_hours_and_hours_over_limits(tmp_path):
    path = tmp_path / "link.json"
    now_s = [0.0]
    link = Link(
        LinkLimits(Limit(1000), Limit(2000)),
        LinkHours(["daily 00:00-24:00 up=pause"]),
        OverrideFile(path, lambda: now_s[0]),
        lambda: 5_000,
    )
    assert link.limits() == LinkLimits(Limit(paused=True), Limit(2000))
    assert link.bytes_per_s(UP) == 1000, "what must pass during a pause keeps to the plain limit"
    write_override(path, Override(up=Limit(7), until_ms=6_000))
    assert link.limits().up.paused, "looked at now and then"
    now_s[0] += LOOK_S
    assert link.limits().up == Limit(7)
    write_override(path, Override(up=Limit(7), until_ms=5_000))
    now_s[0] += LOOK_S
    assert link.limits().up.paused, "its time is over"
    path.write_bytes(b"{")
    assert read_override(path) == Override()


def test_debts_are_one_for_all_processes(tmp_path):
    ours, theirs = (SharedDebts(Files(), tmp_path / "debts") for _ in range(2))
    assert ours.take(UP, 100.0, 2.0) == 100.0
    assert theirs.take(UP, 100.5, 2.0) == 102.0
    assert theirs.take(DOWN, 100.5, 1.0) == 100.5
    assert ours.take(UP, 101.0, 0.5) == 104.0
    assert ours.take(UP, 0.5, 1.0) == 104.5, "the same boot"
    ours.take(UP, 1e9, 1.0)
    assert theirs.take(UP, 5.0, 1.0) == 5.0, "a clock that began anew owes nothing"
    ours.close()
    theirs.close()


def test_debts_lie_with_what_is_not_durable(config):
    directory = DataDirectory.open(config.parent / "data")
    open_debts(directory).close()
    assert (directory.run / "link.debts").stat().st_mode & 0o777 == 0o600
