"""Is it safe to lose this site: every reason, and that only reasons make it unsafe."""

import json

import pytest

from replication.ports import Backlog, LogPosition
from replication.site_policy import site_policy
from replication.status import DaemonReport, RemoteReport, ReportInvalid, assess, decode_report, encode_report

GOOD = DaemonReport(written_ms=1, running=True, cloud="ok", published=True, recoverable=True, shipped_n=3)
EMPTY = Backlog(0, 0, None, 0)
SHIPPED = LogPosition(3, 9)


def judge(backlog=EMPTY, shipped=SHIPPED, report=GOOD, *, has_cloud=True, recoverable=True, out="", lost=()):
    options = {"has_cloud": has_cloud, "recoverable": recoverable, "out": out, "lost": lost}
    return assess(backlog, shipped, report, now_ms=10_000, **options)


def test_safe_when_nothing_is_wrong():
    status = judge()
    assert status.safe_to_lose
    assert status.unsafe_reasons == status.warnings == ()
    assert status.oldest_unsent_age_s is None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"has_cloud": False, "report": None}, "no cloud is configured"),
        ({"backlog": Backlog(2, 100, 4_000, 0)}, "2 changes (100 bytes)"),
        ({"report": None}, "has not run yet"),
        ({"report": DaemonReport(1, published=True, fenced="a clone")}, "fenced: a clone"),
        (
            {"report": DaemonReport(1, published=True, fenced="it was"), "out": "it was forgotten"},
            "it was forgotten; what",
        ),
        ({"report": DaemonReport(1, published=True, stopped="another realm")}, "cannot go on: another realm"),
        ({"report": DaemonReport(1), "shipped": LogPosition()}, "keys are not confirmed"),
        ({"recoverable": False}, "no recovery key"),
        ({"lost": ["bytes of bucket/key cannot be had"]}, "cannot be had"),
    ],
)
def test_each_reason_alone_makes_it_unsafe(options, says):
    status = judge(**options)
    assert not status.safe_to_lose
    assert len(status.unsafe_reasons) == 1
    assert says in status.unsafe_reasons[0]


def test_age_of_the_oldest_unsent_change():
    assert judge(Backlog(2, 100, 4_000, 0)).oldest_unsent_age_s == 6.0
    assert judge(Backlog(2, 100, 40_000, 0)).oldest_unsent_age_s == 0.0


def test_unreachable_takes_nothing_back_that_was_confirmed_and_is_said():
    remote = RemoteReport("aa", "bb", 1, 2, 3, "a gap", 0, 0)
    report = DaemonReport(1, cloud="unreachable", last_error="timeout", published=True, remotes=(remote,))
    status = judge(Backlog(0, 0, None, 77), report=report)
    assert status.safe_to_lose
    assert len(status.warnings) == 4


def test_report_round_trip():
    assert decode_report(encode_report(GOOD)) == GOOD
    for data in (b"", b"[]", b"{}", b'{"written_ms": "x"}', b"\xff"):
        with pytest.raises(ReportInvalid):
            decode_report(data)


@pytest.mark.parametrize("prefix", ["", "realm-1", "/realm-1/"])
def test_policy_lets_a_site_write_its_own_and_read_the_rest(prefix):
    site = bytes(range(16))
    policy = json.loads(site_policy("bucket", prefix, site))
    root = "arn:aws:s3:::bucket/" + ("realm-1/" if prefix else "")
    writes = [
        resource
        for statement in policy["Statement"]
        if "s3:PutObject" in statement["Action"]
        for resource in statement["Resource"]
    ]
    own = [f"sites/{site.hex()}/*", f"heads/{site.hex()}-*", f"checkpoints/{site.hex()}-*"]
    assert writes == [f"{root}{name}" for name in ("realm", "keys/*", *own)]
    deletes = [s for s in policy["Statement"] if "s3:DeleteObject" in s["Action"]]
    assert len(deletes) == 1
    assert all(site.hex() in resource for resource in deletes[0]["Resource"])
    assert policy["Version"] == "2012-10-17"


def test_a_join_that_is_under_way_is_told():
    (warning,) = judge(
        report=DaemonReport(1, running=True, cloud="reachable", published=True, joining="1 of 9")
    ).warnings
    assert "1 of 9" in warning
