"""The short way through an Authorization header says what the long way says, of whatever stands in it."""

import pytest

from gateway.s3 import sigv4
from gateway.s3.errors import S3Error

DATE = "20130524T000000Z"
CREDENTIAL = "AKIAEXAMPLE/20130524/us-east-1/s3/aws4_request"
SIGNED = "host;x-amz-date"
SIGNATURE = "0" * 64
USUAL = f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}, SignedHeaders={SIGNED}, Signature={SIGNATURE}"
HEADERS = {"x-amz-date": DATE}


def outcome(parse: object, authorization: str, headers: dict[str, str]) -> object:
    try:
        return parse(authorization, headers, "s3")  # type: ignore[operator]
    except S3Error as error:
        return type(error), str(error), error.code


@pytest.mark.parametrize(
    "authorization",
    [
        USUAL,
        USUAL.replace(", ", ","),
        USUAL.replace("Credential=", "Credential= "),
        USUAL.replace("SHA256 ", "SHA256  "),
        USUAL.replace("SHA256 ", "SHA512 "),
        USUAL.replace("AWS4-HMAC", "aws4-hmac"),
        USUAL + " ",
        USUAL + ",",
        USUAL + ", Signature=1",
        USUAL + ",Credential=other",
        USUAL + ", Other=1",
        USUAL.replace("SignedHeaders", "signedheaders"),
        USUAL.replace("Credential", "Other"),
        USUAL.replace(f", Signature={SIGNATURE}", ""),
        USUAL.replace(SIGNATURE, ""),
        USUAL.replace(SIGNATURE, "a=b"),
        USUAL.replace("us-east-1", "a, b"),
        USUAL.replace("us-east-1", "x" * 2000),
        USUAL.replace("/s3/", "/ec2/"),
        USUAL.replace("aws4_request", "aws5_request"),
        USUAL.replace("20130524/", "2013/"),
        USUAL.replace("AKIAEXAMPLE", "a/b"),
        USUAL.replace(SIGNED, "host;host"),
        USUAL.replace(SIGNED, "Host"),
        USUAL.replace(SIGNED, "x-amz-date"),
        USUAL.replace(SIGNED, ""),
        f"AWS4-HMAC-SHA256 SignedHeaders={SIGNED}, Credential={CREDENTIAL}, Signature={SIGNATURE}",
        f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}, Signature={SIGNATURE}, SignedHeaders={SIGNED}",
        ", Signature=",
        f", Signature={SIGNATURE}",
        "",
    ],
)
@pytest.mark.parametrize(
    "headers",
    [
        HEADERS,
        {**HEADERS, "x-amz-security-token": "token"},
        {},
        {"date": "Fri, 24 May 2013 00:00:00 GMT"},
        {"x-amz-date": "Fri, 24 May 2013 00:00:00 GMT"},
        {"x-amz-date": "soon"},
    ],
)
def test_short_and_long_way_agree(authorization: str, headers: dict[str, str]) -> None:
    for _ in range(2):  # the second time from memory
        short = outcome(sigv4._parse_header_claim, authorization, headers)
        assert short == outcome(sigv4._parse_any_header_claim, authorization, headers)


def test_usual_header_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sigv4, "_parse_any_header_claim", None)
    claim = sigv4._parse_header_claim(USUAL, HEADERS, "s3")
    assert (claim.access_key, claim.signed_headers, claim.signature) == ("AKIAEXAMPLE", SIGNED, SIGNATURE)
