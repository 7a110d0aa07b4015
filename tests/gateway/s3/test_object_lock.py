"""Object Lock's rules and documents, as tables."""

import pytest

from gateway.s3.errors import InvalidArgument, MalformedXML
from gateway.s3.object_lock import (
    COMPLIANCE,
    GOVERNANCE,
    NO_RETENTION,
    LockConfiguration,
    Retention,
    Verdict,
    check_future,
    decode_configuration,
    default_retention,
    encode_configuration,
    format_until,
    lock_headers,
    parse_configuration,
    parse_hold,
    parse_lock_headers,
    parse_retention,
    render_configuration,
    render_hold,
    render_retention,
    weigh_change,
    weigh_deletion,
)
from gateway.s3.times import parse_iso_ms

A, B, R = Verdict.ALLOWED, Verdict.NEEDS_BYPASS, Verdict.REFUSED
NOW = 1_000_000


@pytest.mark.parametrize(
    ("retention", "hold", "verdict"),
    [
        (NO_RETENTION, "", A),
        (NO_RETENTION, "OFF", A),
        (NO_RETENTION, "ON", R),
        (Retention(GOVERNANCE, NOW + 1), "", B),
        (Retention(GOVERNANCE, NOW), "", A),
        (Retention(GOVERNANCE, NOW + 1), "ON", R),
        (Retention(COMPLIANCE, NOW + 1), "OFF", R),
        (Retention(COMPLIANCE, NOW), "", A),
        (Retention(COMPLIANCE, NOW - 1), "ON", R),
    ],
)
def test_deletion(retention, hold, verdict):
    assert weigh_deletion(retention, hold, NOW) is verdict


GOVERNED, COMPLIANT = Retention(GOVERNANCE, NOW + 10), Retention(COMPLIANCE, NOW + 10)


@pytest.mark.parametrize(
    ("current", "wanted", "verdict"),
    [
        (NO_RETENTION, COMPLIANT, A),
        (NO_RETENTION, NO_RETENTION, A),
        (GOVERNED, GOVERNED, A),
        (GOVERNED, Retention(GOVERNANCE, NOW + 11), A),
        (GOVERNED, Retention(GOVERNANCE, NOW + 9), B),
        (GOVERNED, Retention(COMPLIANCE, NOW + 11), B),
        (GOVERNED, NO_RETENTION, B),
        (COMPLIANT, Retention(COMPLIANCE, NOW + 11), A),
        (COMPLIANT, Retention(COMPLIANCE, NOW + 9), R),
        (COMPLIANT, Retention(GOVERNANCE, NOW + 11), R),
        (COMPLIANT, NO_RETENTION, R),
        (Retention(COMPLIANCE, NOW), NO_RETENTION, A),
        (Retention(COMPLIANCE, NOW), Retention(GOVERNANCE, NOW + 1), A),
    ],
)
def test_change(current, wanted, verdict):
    assert weigh_change(current, wanted, NOW) is verdict


def test_a_retention_must_lie_ahead():
    check_future(NO_RETENTION, NOW)
    check_future(Retention(GOVERNANCE, NOW + 1), NOW)
    with pytest.raises(InvalidArgument):
        check_future(Retention(GOVERNANCE, NOW), NOW)


@pytest.mark.parametrize(
    ("configuration", "now", "until"),
    [
        (LockConfiguration(GOVERNANCE, days=2), "2026-02-27T10:00:00Z", "2026-03-01T10:00:00Z"),
        (LockConfiguration(COMPLIANCE, years=1), "2027-06-01T10:00:00Z", "2028-06-01T10:00:00Z"),
        (LockConfiguration(COMPLIANCE, years=1), "2028-02-29T10:00:00Z", "2029-03-01T10:00:00Z"),
        (LockConfiguration(COMPLIANCE, years=4), "2028-02-29T10:00:00Z", "2032-02-29T10:00:00Z"),
    ],
)
def test_default(configuration, now, until):
    now_ms = parse_iso_ms(now) + 7
    assert default_retention(configuration, now_ms) == Retention(configuration.mode, parse_iso_ms(until) + 7)
    assert default_retention(LockConfiguration(), now_ms) is NO_RETENTION


def test_the_safer_configuration_is_the_greater():
    by_safety = [
        LockConfiguration(),
        LockConfiguration(GOVERNANCE, days=1),
        LockConfiguration(GOVERNANCE, days=364),
        LockConfiguration(GOVERNANCE, years=1),
        LockConfiguration(GOVERNANCE, days=366),
        LockConfiguration(COMPLIANCE, days=1),
        LockConfiguration(COMPLIANCE, years=100),
    ]
    bodies = [encode_configuration(one) for one in by_safety]
    assert bodies == sorted(bodies)
    assert [decode_configuration(body) for body in bodies] == by_safety
    for wrong in (b"", b"\x02" + bodies[0][1:], b"\x01\x03" + bodies[0][2:], bodies[0] + b"\0"):
        with pytest.raises(ValueError, match="object lock"):
            decode_configuration(wrong)


def lock(inner):
    return f"<ObjectLockConfiguration>{inner}</ObjectLockConfiguration>".encode()


def ruled(inner):
    return lock(
        f"<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>{inner}</DefaultRetention></Rule>"
    )


@pytest.mark.parametrize(
    "configuration",
    [LockConfiguration(), LockConfiguration(GOVERNANCE, days=36500), LockConfiguration(COMPLIANCE, years=100)],
)
def test_configuration_round_trip(configuration):
    assert parse_configuration(render_configuration(configuration)) == configuration


@pytest.mark.parametrize(
    "body",
    [
        lock(""),
        lock("<ObjectLockEnabled>Disabled</ObjectLockEnabled>"),
        lock("<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule/>"),
        lock("<ObjectLockEnabled>Enabled</ObjectLockEnabled><ObjectLockEnabled>Enabled</ObjectLockEnabled>"),
        ruled(""),
        ruled("<Days>1</Days>"),
        ruled("<Mode>GOVERNANCE</Mode>"),
        ruled("<Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years>"),
        ruled("<Mode>Governance</Mode><Days>1</Days>"),
        ruled("<Mode>GOVERNANCE</Mode><Days>one</Days>"),
        ruled("<Mode>GOVERNANCE</Mode><Days></Days>"),
        ruled("<Mode>GOVERNANCE</Mode><Weeks>1</Weeks>"),
    ],
)
def test_configurations_that_are_none(body):
    with pytest.raises(MalformedXML):
        parse_configuration(body)


@pytest.mark.parametrize("period", ["<Days>0</Days>", "<Days>-3</Days>", "<Days>36501</Days>", "<Years>101</Years>"])
def test_periods_that_are_none(period):
    with pytest.raises(InvalidArgument):
        parse_configuration(ruled("<Mode>GOVERNANCE</Mode>" + period))


def test_retention_round_trip():
    retention = Retention(COMPLIANCE, parse_iso_ms("2030-01-02T03:04:05.678Z"))
    assert parse_retention(render_retention(retention)) == retention
    assert format_until(retention.until_ms) == "2030-01-02T03:04:05.678Z"
    assert parse_retention(b"<Retention/>") is NO_RETENTION
    assert parse_hold(render_hold("ON")) == "ON"
    assert parse_hold(render_hold("OFF")) == "OFF"


@pytest.mark.parametrize(
    ("parse", "body"),
    [
        (parse_retention, b"<Retention><Mode>GOVERNANCE</Mode></Retention>"),
        (parse_retention, b"<Retention><RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate></Retention>"),
        (
            parse_retention,
            b"<Retention><Mode>X</Mode><RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate></Retention>",
        ),
        (parse_retention, b"<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>soon</RetainUntilDate></Retention>"),
        (parse_hold, b"<LegalHold/>"),
        (parse_hold, b"<LegalHold><Status>on</Status></LegalHold>"),
        (parse_hold, b"<Retention/>"),
    ],
)
def test_documents_that_are_none(parse, body):
    with pytest.raises(MalformedXML):
        parse(body)


def test_headers_round_trip():
    until_ms = parse_iso_ms("2030-01-02T03:04:05Z")
    shown = lock_headers(Retention(GOVERNANCE, until_ms), "ON")
    asked = parse_lock_headers(shown)
    assert asked is not None
    assert (asked.retention, asked.hold) == (Retention(GOVERNANCE, until_ms), "ON")
    assert parse_lock_headers({}) is None
    assert lock_headers(NO_RETENTION, "") == {}


MODE, UNTIL, HOLD = "x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date", "x-amz-object-lock-legal-hold"


@pytest.mark.parametrize(
    "headers",
    [
        {MODE: GOVERNANCE},
        {UNTIL: "2030-01-01T00:00:00Z"},
        {MODE: GOVERNANCE, UNTIL: "tomorrow"},
        {MODE: "none", UNTIL: "2030-01-01T00:00:00Z"},
        {HOLD: "yes"},
        {HOLD: ""},
    ],
)
def test_headers_that_are_none(headers):
    with pytest.raises(InvalidArgument):
        parse_lock_headers(headers)
