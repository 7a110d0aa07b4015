"""What is a policy and what is not: a table of both, AWS's words for the second, and any JSON at all."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.bucket_policies import POLICY_BYTES_MAX, parse_bucket_policy
from gateway.s3.errors import MalformedPolicy
from gateway.s3.policy_document import parse_policy

GOOD = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}


def changed(**changes):
    """``GOOD`` with some elements replaced; None removes one."""
    return {name: value for name, value in {**GOOD, **changes}.items() if value is not None}


def text(*statements, **top):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements), **top}).encode()


@pytest.mark.parametrize(
    "statement",
    [
        GOOD,
        changed(Sid="any words here"),
        changed(Principal={"AWS": "*"}),
        changed(Principal={"AWS": ["arn:aws:iam::123456789012:root", "123456789012"], "Service": "s3.amazonaws.com"}),
        changed(Principal=None, NotPrincipal={"AWS": "123456789012"}, Effect="Deny"),
        changed(Action=["s3:GetObject", "S3:putobject", "s3:Get*", "s3:*"]),
        changed(Action="*"),
        changed(Action=None, NotAction="s3:DeleteObject"),
        changed(Resource=["arn:aws:s3:::b/home/*", "arn:aws:s3:::b/?"]),
        changed(Resource="arn:aws:s3:::b*"),
        changed(Resource=["arn:aws:s3::*:b/*", "arn:aws:s3:*:*:b/k"]),
        changed(Resource="*"),
        changed(Action="s3:ListBucket", Resource="arn:aws:s3:::b"),
        changed(Resource=None, NotResource="arn:aws:s3:::b/private/*", Effect="Deny"),
        changed(Condition={}),
        changed(Condition={"StringEquals": {"s3:x-amz-acl": ["private", "public-read"]}}),
        changed(Condition={"ForAllValues:StringLikeIfExists": {"aws:TagKeys": "a*"}, "Null": {"aws:Referer": True}}),
        changed(Condition={"NumericLessThan": {"s3:max-keys": 10}, "Bool": {"aws:SecureTransport": False}}),
        changed(Condition={"IpAddress": {"aws:SourceIp": ["10.0.0.1", "2001:db8::/32"]}}),
        changed(Condition={"DateGreaterThan": {"aws:CurrentTime": "2026-01-01T00:00:00Z", "aws:EpochTime": 5}}),
        changed(Condition={"StringEquals": {"s3:ExistingObjectTag/a b": "${aws:username}"}}),
    ],
    ids=json.dumps,
)
def test_policies(statement):
    assert len(parse_bucket_policy(text(statement), "b").statements) == 1
    assert len(parse_bucket_policy(json.dumps({"Statement": statement}).encode(), "b").statements) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "first byte must be '{'"),
        (b"[]", "first byte must be '{'"),
        (b"{", "invalid Json"),
        (b'{"a": 1, "a": 2}', "invalid Json"),
        (b"{" * 5000, "invalid Json"),
        (b'{"Statement": ' + b"[" * 3000 + b"]" * 3000 + b"}", "invalid Json"),
        (b'{"Statement": NaN}', "invalid Json"),
        (b"{}", "Missing required field Statement"),
        (text(), "Statement is empty"),
        (text(GOOD, Version="2013-01-01"), "valid version string"),
        (text(GOOD, Version=["2012-10-17"]), "valid version string"),
        (text(GOOD, Sort="x"), "Unknown field Sort"),
        (text(changed(Effects="Allow")), "Unknown field Effects"),
        (text("Allow"), "Invalid policy syntax."),
        (text(changed(Effect=None)), "Missing required field Effect"),
        (text(changed(Effect="allow")), "Invalid effect: allow"),
        (text(changed(Effect=["Allow"])), "Invalid effect"),
        (text(changed(Principal=None)), "Missing required field Principal"),
        (text(changed(Action=None)), "Missing required field Action"),
        (text(changed(Resource=None)), "Missing required field Resource"),
        (text(changed(NotAction="s3:GetObject")), "Invalid policy syntax."),
        (text(changed(Principal=None, NotPrincipal="*")), "Allow with NotPrincipal"),
        (text(changed(Principal="somebody")), "Invalid principal in policy"),
        (text(changed(Principal={})), "Invalid principal in policy"),
        (text(changed(Principal={"Aws": "*"})), "Invalid principal in policy"),
        (text(changed(Principal={"AWS": "arn:aws:iam::*:root"})), "Invalid principal in policy"),
        (text(changed(Principal={"AWS": []})), "Invalid principal in policy"),
        (text(changed(Principal={"AWS": [5]})), "Invalid principal in policy"),
        (text(changed(Action="GetObject")), "Policy has invalid action"),
        (text(changed(Action=[])), "Policy has invalid action"),
        (text(changed(Action="s3:NoSuchThing")), "Policy has invalid action"),
        (text(changed(Action="ec2:RunInstances")), "Policy has invalid action"),
        (text(changed(Resource="arn:aws:s3:::other/*")), "Policy has invalid resource"),
        (text(changed(Resource="arn:aws:s3:::other")), "Policy has invalid resource"),
        (text(changed(Resource="b/*")), "Policy has invalid resource"),
        (text(changed(Resource="arn:aws:sqs:::b")), "Policy has invalid resource"),
        (text(changed(Resource=["arn:aws:s3:::b/*", "arn:aws:s3:::c/*"])), "Policy has invalid resource"),
        (text(changed(Resource="arn:aws:s3:::b")), "Action does not apply to any resource"),
        (text(changed(Action=["s3:GetObject", "s3:ListBucket"])), "Action does not apply to any resource"),
        (text(changed(Condition=[])), "Invalid policy syntax."),
        (text(changed(Condition={"StringEqual": {"s3:prefix": "a"}})), "Invalid Condition type : StringEqual"),
        (text(changed(Condition={"NullIfExists": {"s3:prefix": "true"}})), "Invalid Condition type"),
        (text(changed(Condition={"StringEquals": {"s3:colour": "a"}})), "invalid condition key"),
        (text(changed(Condition={"StringEquals": {"aws:Colour": "a"}})), "invalid condition key"),
        (text(changed(Condition={"StringEquals": {"colour": "a"}})), "invalid condition key"),
        (text(changed(Condition={"IpAddress": {"aws:SourceIp": "everywhere"}})), "Invalid IP address"),
        (text(changed(Condition={"NumericEquals": {"s3:max-keys": "many"}})), "numeric"),
        (text(changed(Condition={"DateEquals": {"aws:CurrentTime": "now"}})), "date"),
        (text(changed(Condition={"Bool": {"aws:SecureTransport": "perhaps"}})), "boolean"),
        (text(changed(Condition={"StringEquals": {"s3:prefix": None}})), "Invalid policy syntax."),
        (text(changed(Condition={"StringEquals": {"s3:prefix": []}})), "Invalid policy syntax."),
        (text({**GOOD, "Sid": "a"}, {**GOOD, "Sid": "a"}), "duplicate statement ids"),
        (text(GOOD, Id="x" * POLICY_BYTES_MAX), "maximum allowed document size"),
    ],
    ids=lambda value: value[:60].decode() if isinstance(value, bytes) else value[:30],
)
def test_no_policies(body, message):
    with pytest.raises(MalformedPolicy) as caught:
        parse_bucket_policy(body, "b")
    assert message in caught.value.text


def test_an_identitys_policy_names_nobody():
    statement = {"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}
    assert parse_policy(text(statement), with_principal=False).statements[0].principals is None
    with pytest.raises(MalformedPolicy, match="should not specify a principal"):
        parse_policy(text(GOOD), with_principal=False)


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["*", "Allow"])
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*GOOD, "AWS", "Condition", "StringLike", "s3:prefix"]), inner, max_size=4)
    ),
    max_leaves=12,
)
statements = st.fixed_dictionaries(
    {},
    optional={
        "Sid": anything,
        "Effect": st.sampled_from(["Allow", "Deny"]) | anything,
        "Principal": st.just("*") | anything,
        "Action": st.just("s3:*") | anything,
        "Resource": st.just("*") | anything,
        "Condition": st.dictionaries(
            st.sampled_from(["StringLike", "NumericEquals", "DateLessThan", "IpAddress", "BinaryEquals", "ArnLike"]),
            st.dictionaries(st.sampled_from(["s3:prefix", "aws:SourceIp"]), anything, max_size=2),
            max_size=2,
        )
        | anything,
    },
)


@given(st.fixed_dictionaries({"Statement": statements | st.lists(statements, max_size=2) | anything}) | anything)
def test_any_json_is_a_policy_or_a_typed_error(document):
    with contextlib.suppress(MalformedPolicy):
        parse_bucket_policy(json.dumps(document).encode(), "b")


@given(st.binary(max_size=40))
def test_any_bytes_are_a_policy_or_a_typed_error(body):
    with pytest.raises(MalformedPolicy):
        parse_bucket_policy(body, "b")
