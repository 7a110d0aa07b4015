"""``skerry rekey`` and ``keys drop-epoch`` on a lone site: what is left, what is refused, and when the key goes."""

import asyncio
from types import SimpleNamespace

from gateway.cli import epoch_progress
from gateway.cli.opening import opened_site
from gateway.config import Overrides, load_config
from replication.fleet import FleetSite, SiteState
from replication.site_status_format import SiteStatus
from replication.status import DaemonReport, EpochAccount
from tests.gateway.cli.test_commands import answer, data, run  # noqa: F401 - a fixture


def collect(path):
    """What a running site's collector does."""

    async def work():
        async with opened_site(load_config(None, {}, Overrides(data=path))) as site:
            idle = 0
            while idle < 6:
                site.store.tidy()
                idle = 0 if site.store.collector.collect_step() else idle + 1

    asyncio.run(work())


def test_an_epoch_ends_when_nothing_lies_under_it(capsys, data):  # noqa: F811
    answer(capsys, "user", "add", "ada", "--data", data)
    code, _, err = run(capsys, "rekey", "--data", data)
    assert code == 3
    assert "skerry keys rotate" in err
    (first,) = answer(capsys, "keys", "list", "--data", data)["epochs"]
    assert (first["current"], first["retired"]) == (True, False)
    answer(capsys, "keys", "rotate", "--data", data)
    code, _, err = run(capsys, "keys", "drop-epoch", first["id"], "--data", data)
    assert code == 3
    assert "rekey" in err
    told = answer(capsys, "rekey", "--data", data)
    assert told["retired"] == [first["id"]]
    assert told["epochs"][0]["sealed_here"] > 0
    assert answer(capsys, "status", "--data", data)["keys"]["epochs"][0]["retired"] is True
    code, _, err = run(capsys, "keys", "drop-epoch", first["id"], "--data", data)
    assert code == 3
    assert "things on this site's disk" in err
    collect(data)
    old, new = answer(capsys, "keys", "list", "--data", data)["epochs"]
    assert (old["sealed_here"], old["needed_by"], new["current"]) == (0, [], True)
    assert "to end: 0 things here" in run(capsys, "keys", "list", "--data", data)[1]
    assert answer(capsys, "keys", "drop-epoch", first["id"], "--data", data)["epochs"] == [new]
    assert not list((data / "keys").glob(f"{first['id']}/*"))
    assert [user["name"] for user in answer(capsys, "user", "list", "--data", data)["users"]] == ["ada"]
    answer(capsys, "rebuild-index", "--data", data)
    assert answer(capsys, "verify", "--data", data)["sound"] is True
    for wrong in ("nothing", first["id"]):
        assert run(capsys, "keys", "drop-epoch", wrong, "--data", data)[0] in (2, 3)


def test_after_a_leak_a_new_recovery_kit_is_printed(capsys, data):  # noqa: F811
    old = answer(capsys, "keys", "list", "--data", data)
    code, out, _ = run(capsys, "keys", "rotate", "--new-recovery-key", "--data", data)
    assert code == 0
    assert "SKERRY RECOVERY KIT" in out
    assert out.index("Recovery key") < out.index("seals what is written")
    told = answer(capsys, "keys", "rotate", "--new-recovery-key", "--data", data)
    assert "skerry-recovery-key-1" in told["recovery_kit"]
    assert told["recoverable"]
    assert [root["outdated"] for root in told["roots"] if not root["recovery"]] == [False]
    assert sorted(root["outdated"] for root in told["roots"] if root["recovery"]) == [False, True, True]
    assert len(told["epochs"]) == len(old["epochs"]) + 2
    assert "opens nothing of late" in run(capsys, "keys", "list", "--data", data)[1]


def test_who_needs_an_epoch_is_named(monkeypatch):
    epoch, other = b"e" * 16, b"f" * 16

    def member(name, status, state=SiteState.MEMBER):
        return FleetSite(name.encode().ljust(16), name, state, (), status, 0, True)

    fleet = [
        member("this", None, SiteState.HERE),
        member("done", SiteStatus(rekeyed=(other, epoch))),
        member("older release", SiteStatus()),
        member("never heard", None),
        member("gone", None, SiteState.FORGOTTEN),
    ]
    monkeypatch.setattr(epoch_progress, "see_fleet", lambda site, report: (None, fleet))
    here = {epoch: 0}
    site = SimpleNamespace(
        cloud=object(),
        store=SimpleNamespace(sealed=SimpleNamespace(count=lambda: here)),
        config=SimpleNamespace(
            retention=SimpleNamespace(collect_cloud=True), replication=SimpleNamespace(subscribe=())
        ),
    )
    report = DaemonReport(0, epochs={epoch.hex(): EpochAccount(0, 0)})
    needs = epoch_progress.find_needs(site, report, epoch)
    assert [need.split(" has ")[0] for need in needs] == ["site older release", "site never heard"]
    assert not epoch_progress.may_need(site, report, epoch)
    for told in (None, DaemonReport(0), DaemonReport(0, epochs={epoch.hex(): EpochAccount(0, 3)})):
        assert len(epoch_progress.find_needs(site, told, epoch)) == 3
        assert epoch_progress.may_need(site, told, epoch)
    here[epoch] = 1
    assert "this site's disk" in epoch_progress.find_needs(site, report, epoch)[0]
    assert epoch_progress.may_need(site, report, epoch)
