"""The payload table: what is not listed is refused, whatever the operation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.errors import InvalidArgument, InvalidRequest, MissingContentLength, S3Error, S3NotImplemented
from gateway.s3.payload import ALLOWED, Payload, PayloadMode, Signer, plan_payload
from gateway.s3.routing import Operation
from gateway.s3.sigv4 import EMPTY_SHA256, Claim, Verified

CRC = "x-amz-checksum-crc32"


def verified_by(signer: Signer, content: str) -> Verified | None:
    if signer is Signer.NOBODY:
        return None
    claim = Claim("AK", "20130524", "r", "s3", "20130524T000000Z", 0, "host", "0" * 64, signer is Signer.QUERY)
    return Verified(claim, b"k" * 32, content)


def headers_for(mode: PayloadMode) -> dict[str, str]:
    headers = {"x-amz-content-sha256": EMPTY_SHA256 if mode is PayloadMode.SHA256 else mode.value}
    if mode.is_chunked:
        headers["x-amz-decoded-content-length"] = "5"
    if mode.has_trailer:
        headers["x-amz-trailer"] = CRC
    return headers


@pytest.mark.parametrize("signer", Signer)
@pytest.mark.parametrize("mode", PayloadMode)
def test_the_table_is_total_and_fails_closed(signer, mode):
    headers = headers_for(mode)
    verified = verified_by(signer, headers["x-amz-content-sha256"])
    unsigned_chunks = mode is PayloadMode.UNSIGNED_CHUNKS_TRAILER
    may_chunk = signer is Signer.HEADER or (signer is Signer.NOBODY and unsigned_chunks)
    for operation in Operation:
        streamed = operation in (Operation.PutObject, Operation.UploadPart)
        if not mode.is_chunked or (streamed and may_chunk):
            assert plan_payload(verified, operation, headers).mode is mode
            assert operation in ALLOWED[signer, mode]
        else:
            with pytest.raises(InvalidRequest):
                plan_payload(verified, operation, headers)


def test_a_presigned_url_cannot_sign_chunks():
    assert not [mode for signer, mode in ALLOWED if signer is Signer.QUERY and mode.is_chunked]


def test_plans():
    digest = "AB" * 32
    assert plan_payload(verified_by(Signer.HEADER, digest), Operation.PutObject, {}) == Payload(
        PayloadMode.SHA256, digest.lower()
    )
    assert plan_payload(None, Operation.PutObject, {}) == Payload(PayloadMode.UNSIGNED)
    mode = PayloadMode.SIGNED_CHUNKS_TRAILER
    assert plan_payload(verified_by(Signer.HEADER, mode.value), Operation.PutObject, headers_for(mode)) == Payload(
        mode, "", 5, (CRC,)
    )


def test_an_anonymous_chunked_body_is_recognised():
    headers = {"content-encoding": "aws-chunked", "x-amz-trailer": CRC, "x-amz-decoded-content-length": "3"}
    assert plan_payload(None, Operation.PutObject, headers).mode is PayloadMode.UNSIGNED_CHUNKS_TRAILER


@pytest.mark.parametrize(
    ("content", "headers", "error"),
    [
        ("nonsense", {}, InvalidArgument),
        ("", {}, InvalidArgument),
        ("e" * 63, {}, InvalidArgument),
        ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", {}, S3NotImplemented),
        ("STREAMING-AWS4-HMAC-SHA256-EVENTS", {}, InvalidArgument),
        (PayloadMode.SIGNED_CHUNKS.value, {}, MissingContentLength),
        (PayloadMode.SIGNED_CHUNKS.value, {"x-amz-decoded-content-length": "x"}, MissingContentLength),
        (PayloadMode.SIGNED_CHUNKS.value, {"x-amz-decoded-content-length": "1", "x-amz-trailer": CRC}, InvalidRequest),
        (
            PayloadMode.UNSIGNED_CHUNKS_TRAILER.value,
            {"x-amz-decoded-content-length": "1", "x-amz-trailer": "x-amz-meta-a"},
            InvalidRequest,
        ),
        ("UNSIGNED-PAYLOAD", {"x-amz-trailer": CRC}, InvalidRequest),
        ("UNSIGNED-PAYLOAD", {"x-amz-decoded-content-length": "5"}, InvalidRequest),
    ],
)
def test_refusals(content, headers, error):
    with pytest.raises(error):
        plan_payload(verified_by(Signer.HEADER, content), Operation.PutObject, headers)


@given(
    content=st.text(max_size=80),
    headers=st.dictionaries(
        st.sampled_from(["x-amz-decoded-content-length", "x-amz-trailer", "content-encoding"]), st.text(max_size=20)
    ),
    signer=st.sampled_from(Signer),
)
def test_any_headers_give_a_plan_or_a_typed_error(content, headers, signer):
    try:
        plan = plan_payload(verified_by(signer, content), Operation.PutObject, headers)
    except S3Error:
        return
    assert isinstance(plan, Payload)
