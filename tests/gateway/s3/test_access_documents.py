"""ACLs by headers and XML, ownership, public access and what is public: parsed, refused, rendered."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3 import acl
from gateway.s3.acl_headers import parse_acl_headers
from gateway.s3.acl_xml import parse_acl, render_acl
from gateway.s3.errors import InvalidArgument, MalformedACLError, MalformedXML
from gateway.s3.ownership import OWNERSHIPS, parse_ownership_controls, render_ownership_controls
from gateway.s3.policy_document import parse_policy
from gateway.s3.public_access import (
    PublicAccessBlock,
    decode_public_access_block,
    encode_public_access_block,
    is_public_policy,
    parse_public_access_block,
    render_public_access_block,
)
from gateway.s3.request_payment import PAYERS, parse_request_payment, render_request_payment

SOME = acl.Acl(
    "ann",
    (
        acl.Grant(acl.CANONICAL_USER, "bob <&>", acl.READ_ACP),
        acl.Grant(acl.GROUP, acl.ALL_USERS, acl.READ),
        acl.Grant(acl.GROUP, acl.LOG_DELIVERY, acl.WRITE),
    ),
)


def test_acls_survive_storage_and_xml():
    assert acl.decode_acl(acl.encode_acl(SOME)) == SOME
    assert acl.Acl(*parse_acl(render_acl(SOME, lambda _: "name & <more>"))) == SOME


@pytest.mark.parametrize("name", sorted(acl.CANNED))
def test_canned_acls(name):
    of_object = acl.canned_acl(name, "ann", "bob")
    assert of_object.grants[0] == acl.Grant(acl.CANONICAL_USER, "ann", acl.FULL_CONTROL)
    assert acl.is_public_acl(of_object) == (name in ("public-read", "public-read-write", "authenticated-read"))
    expected = {"bucket-owner-read": acl.READ, "bucket-owner-full-control": acl.FULL_CONTROL}.get(name)
    assert [grant.permission for grant in of_object.grants if grant.grantee == "bob"] == (
        [expected] if expected else []
    )
    if expected:
        assert acl.canned_acl(name, "ann", "ann") == acl.default_acl("ann")


@pytest.mark.parametrize("given_", sorted(acl.PERMISSIONS))
@pytest.mark.parametrize("asked", sorted(acl.PERMISSIONS - {acl.FULL_CONTROL}))
def test_permissions(given_, asked):
    found = acl.Acl("o", (acl.Grant(acl.CANONICAL_USER, "ann", given_),))
    assert acl.grants_permission(found, asked, "ann") == (given_ in (asked, acl.FULL_CONTROL))
    assert not acl.grants_permission(found, asked, "bob")
    assert not acl.grants_permission(found, asked, "")


def test_groups():
    everyone = acl.Acl("o", (acl.Grant(acl.GROUP, acl.ALL_USERS, acl.READ),))
    signed = acl.Acl("o", (acl.Grant(acl.GROUP, acl.AUTHENTICATED_USERS, acl.READ),))
    logs = acl.Acl("o", (acl.Grant(acl.GROUP, acl.LOG_DELIVERY, acl.READ),))
    for found, user, expected in (
        (everyone, "", True),
        (everyone, "ann", True),
        (signed, "", False),
        (signed, "ann", True),
        (logs, "ann", False),
    ):
        assert acl.grants_permission(found, acl.READ, user) is expected
        assert not acl.grants_permission(found, acl.READ, user, ignore_public=True)


def test_headers():
    assert parse_acl_headers({"x-amz-meta-a": "b"}) is None
    assert parse_acl_headers({"x-amz-acl": "private"}).canned == "private"
    value = 'id="1, 2", emailAddress=a@b.c ,URI="http://acs.amazonaws.com/groups/global/AllUsers"'
    found = parse_acl_headers({"x-amz-grant-read-acp": value, "x-amz-grant-full-control": "id=x"})
    assert found.grants == (
        acl.Grant(acl.CANONICAL_USER, "x", acl.FULL_CONTROL),
        acl.Grant(acl.CANONICAL_USER, "1, 2", acl.READ_ACP),
        acl.Grant("AmazonCustomerByEmail", "a@b.c", acl.READ_ACP),
        acl.Grant(acl.GROUP, acl.ALL_USERS, acl.READ_ACP),
    )


@pytest.mark.parametrize("value", ["", "x", "id=", 'id="a', 'id="a",', 'id="a" id="b"', "name=x", ",id=a"])
def test_wrong_grants(value):
    with pytest.raises(InvalidArgument):
        parse_acl_headers({"x-amz-grant-read": value})


@given(st.text('id="uri, emailAddress=\\', max_size=30))
def test_any_grant_header_is_an_acl_or_a_typed_error(value):
    with contextlib.suppress(InvalidArgument):
        assert parse_acl_headers({"x-amz-grant-write": value}).grants


GRANTEE = '<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"><ID>a</ID></Grantee>'


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<AccessControlPolicy/>",
        "<AccessControlPolicy><Owner><ID>a</ID></Owner></AccessControlPolicy>",
        f"<AccessControlPolicy><AccessControlList><Grant>{GRANTEE}</Grant></AccessControlList></AccessControlPolicy>",
        f"<AccessControlPolicy><AccessControlList><Grant>{GRANTEE}<Permission>ALL</Permission></Grant>"
        "</AccessControlList></AccessControlPolicy>",
        "<AccessControlPolicy><AccessControlList><Grant><Grantee/><Permission>READ</Permission></Grant>"
        "</AccessControlList></AccessControlPolicy>",
        "<AccessControlPolicy><AccessControlList/><AccessControlList/></AccessControlPolicy>",
        "<Other/>",
    ],
)
def test_no_acl_documents(body):
    with pytest.raises(MalformedACLError):
        parse_acl(body.encode())


def test_small_documents():
    for ownership in OWNERSHIPS:
        assert parse_ownership_controls(render_ownership_controls(ownership)) == ownership
    for payer in PAYERS:
        assert parse_request_payment(render_request_payment(payer)) == payer
    for bits in range(16):
        block = PublicAccessBlock(*[bool(bits >> at & 1) for at in range(4)])
        assert decode_public_access_block(encode_public_access_block(block)) == block
        assert parse_public_access_block(render_public_access_block(block)) == block
    for parse, body in (
        (parse_ownership_controls, b"<OwnershipControls/>"),
        (parse_ownership_controls, render_ownership_controls("Mine")),
        (parse_request_payment, render_request_payment("Me")),
        (parse_public_access_block, b"<PublicAccessBlockConfiguration><Block/></PublicAccessBlockConfiguration>"),
    ):
        with pytest.raises(MalformedXML):
            parse(body)


def is_public(**changes):
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*", **changes}
    return is_public_policy(parse_policy(json.dumps({"Version": "2012-10-17", "Statement": statement}).encode()))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"Principal": {"AWS": "*"}}, True),
        ({"Principal": {"AWS": "123456789012"}}, False),
        ({"Principal": {"Service": "logging.s3.amazonaws.com"}}, False),
        ({"Effect": "Deny"}, False),
        ({"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}, False),
        ({"Condition": {"StringLike": {"aws:SourceVpc": "vpc-*"}}}, True),
        ({"Condition": {"StringNotEquals": {"aws:SourceVpc": "vpc-1"}}}, True),
        ({"Condition": {"StringEqualsIfExists": {"aws:SourceVpc": "vpc-1"}}}, True),
        ({"Condition": {"StringEquals": {"aws:SourceVpc": "vpc-1"}}}, False),
        ({"Condition": {"StringEquals": {"aws:userid": "${aws:userid}"}}}, True),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}}, False),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "0.0.0.0/1"}}}, True),
        ({"Condition": {"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "0.0.0.0/0"]}}}, True),
        ({"Condition": {"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}}, True),
        ({"Condition": {"StringEquals": {"aws:Referer": "https://a.example"}}}, True),
        ({"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:sns:us-east-1:1:*"}}}, False),
        ({"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:*:x"}}}, True),
    ],
)
def test_what_is_public(changes, expected):
    assert is_public(**changes) is expected
