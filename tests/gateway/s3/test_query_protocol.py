"""The Query protocol: any bytes are parameters or a typed error; lists, structures, documents and their escapes."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlencode
from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3 import errors
from gateway.s3.query_errors import (
    InvalidAction,
    InvalidClientTokenId,
    MalformedInput,
    NoSuchEntity,
    ValidationError,
    translate_error,
)
from gateway.s3.query_protocol import (
    IAM,
    STS,
    Entries,
    Parameters,
    find_service,
    parse_form,
    render_answer,
    render_error,
)

NAMESPACE = "{https://iam.amazonaws.com/doc/2010-05-08/}"


@given(st.binary(max_size=300))
def test_any_bytes_are_parameters_or_a_typed_error(body):
    with suppress(MalformedInput, ValidationError, InvalidAction):
        parameters = parse_form(body)
        for read in (parameters.members, parameters.structures, parameters.find, parameters.text):
            read("PolicyArns")
        parameters.number("MaxItems", default=1, minimum=1, maximum=10)
        find_service(parameters)


@given(
    st.dictionaries(st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1), st.text(max_size=20))
)
def test_what_is_encoded_is_decoded(values):
    if any("\0" in value for value in values.values()):
        return
    parameters = parse_form(urlencode(values).encode())
    assert {name: parameters.find(name) for name in values} == values


def test_lists_and_structures_are_read_in_order():
    body = (
        b"P.member.10=k&P.member.2=b&P.member.1=a&T.member.1.Key=x&T.member.1.Value=1&T.member.2.Key=y&Px.member.1=no"
    )
    parameters = parse_form(body)
    assert parameters.members("P") == ["a", "b", "k"]
    assert parameters.structures("T") == [{"Key": "x", "Value": "1"}, {"Key": "y"}]
    assert parameters.members("Q") == []


@pytest.mark.parametrize(
    "body",
    [b"a=1&a=2", b"a=%zz", b"a=%ff", b"\xff=1", b"a=%00", b"&".join(b"p%d=1" % n for n in range(1001))],
)
def test_forms_that_are_none(body):
    with pytest.raises(MalformedInput):
        parse_form(body)


@pytest.mark.parametrize("name", ["P.member.0", "P.member.x", "P.member.", "P.member.123456", "P.member.-1"])
def test_members_that_are_none(name):
    with pytest.raises(MalformedInput):
        parse_form(f"{name}=1".encode()).members("P")


def test_too_many_members():
    with pytest.raises(ValidationError):
        parse_form(b"&".join(b"P.member.%d=1" % n for n in range(1, 300))).members("P")


def test_numbers_texts_and_flags_are_checked():
    parameters = Parameters({"n": "5", "bad": "5x", "big": "11", "neg": "-1", "t": "abc", "yes": "true", "no": "maybe"})
    assert parameters.number("n", default=1, minimum=1, maximum=10) == 5
    assert parameters.number("absent", default=1, minimum=1, maximum=10) == 1
    for name, error in (("bad", MalformedInput), ("big", ValidationError), ("neg", ValidationError)):
        with pytest.raises(error):
            parameters.number(name, default=1, minimum=1, maximum=10)
    for name, bounds in (("absent", {}), ("t", {"size_max": 2}), ("t", {"size_min": 4})):
        with pytest.raises(ValidationError):
            parameters.text(name, **bounds)
    assert parameters.flag("yes")
    assert not parameters.flag("absent")
    with pytest.raises(MalformedInput):
        parameters.flag("no")


def test_services_go_by_their_version():
    assert find_service(Parameters({"Version": "2010-05-08"})) is IAM
    assert find_service(Parameters({"Version": "2011-06-15"})) is STS
    for version in ({}, {"Version": "2006-03-01"}):
        with pytest.raises(InvalidAction):
            find_service(Parameters(version))


def test_answers_are_well_formed_whatever_is_in_them():
    fields = {
        "User": {"Name": "<&>\x01\ud800", "None": None, "Yes": True, "Number": 3},
        "List": ["a", {"K": "v"}],
        "Map": Entries({"x": 1}),
    }
    found = fromstring(render_answer(IAM, "GetUser", fields, "ID"))
    assert found.tag == NAMESPACE + "GetUserResponse"
    result = found.find(NAMESPACE + "GetUserResult")
    assert result is not None
    assert [child.tag.removeprefix(NAMESPACE) for child in result[0]] == ["Name", "Yes", "Number"]
    assert result[0][1].text == "true"
    assert [child.tag.removeprefix(NAMESPACE) for child in result[1]] == ["member", "member"]
    assert result[2][0][0].text == "x"
    assert found.findtext(f"{NAMESPACE}ResponseMetadata/{NAMESPACE}RequestId") == "ID"
    assert b"Result" not in render_answer(IAM, "DeleteUser", None, "ID")


def test_errors_say_whose_fault_it_is():
    found = fromstring(render_error(IAM, NoSuchEntity("no <user>"), "ID"))
    assert [child.text for child in found[0]] == ["Sender", "NoSuchEntity", "no <user>"]
    assert b"<Type>Receiver</Type>" in render_error(STS, translate_error(errors.InternalError()), "ID")


def test_s3s_errors_have_their_names_here_and_tell_nothing_of_signatures():
    mismatch = translate_error(errors.SignatureDoesNotMatch(None, StringToSign="x", CanonicalRequest="y"))
    assert (mismatch.code, mismatch.status, mismatch.extra) == ("SignatureDoesNotMatch", 403, {})
    assert type(translate_error(errors.InvalidAccessKeyId(None, AWSAccessKeyId="x"))) is InvalidClientTokenId
    own = NoSuchEntity("x")
    assert translate_error(own) is own
