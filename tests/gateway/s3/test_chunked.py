"""aws-chunked: AWS's published examples byte for byte, every cut, every tampering, bounded work."""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO

import pytest
from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.checksums import compute_checksum
from gateway.s3.chunked import SMALL_CHUNKS_MAX, ChunkedDecoder, encode_chunked
from gateway.s3.errors import (
    IncompleteBody,
    InvalidChunkSizeError,
    MalformedTrailerError,
    S3Error,
    SignatureDoesNotMatch,
)
from gateway.s3.payload import Payload, PayloadMode
from gateway.s3.sigv4 import Claim, Verified, derive_signing_key, parse_claim, verify
from gateway.s3.times import parse_basic
from gateway.s3.uri import EMPTY_QUERY

ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
NOW_S = parse_basic("20130524T000000Z")
SIGNED = PayloadMode.SIGNED_CHUNKS
SIGNED_TRAILER = PayloadMode.SIGNED_CHUNKS_TRAILER
UNSIGNED_TRAILER = PayloadMode.UNSIGNED_CHUNKS_TRAILER
CRC = "x-amz-checksum-crc32c"


def example_headers(mode: PayloadMode, **more: str) -> dict[str, str]:
    headers = {
        "host": "s3.amazonaws.com",
        "x-amz-date": "20130524T000000Z",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
        "x-amz-content-sha256": mode.value,
        "content-encoding": "aws-chunked",
        "x-amz-decoded-content-length": "66560",
    }
    return {**headers, **more}


def verify_example(headers: dict[str, str], signature: str, signed: str) -> Verified:
    headers = {
        **headers,
        "authorization": f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20130524/us-east-1/s3/aws4_request,"
        f"SignedHeaders={signed},Signature={signature}",
    }
    claim = parse_claim(headers, EMPTY_QUERY)
    assert claim is not None
    assert NOW_S is not None
    return verify(claim, SECRET, "PUT", "/examplebucket/chunkObject.txt", EMPTY_QUERY, headers, NOW_S)


def make_verified(signature: str = "f" * 64) -> Verified:
    claim = Claim("AK", "20130524", "us-east-1", "s3", "20130524T000000Z", 0, "host", signature)
    return Verified(claim, derive_signing_key("secret", "20130524", "us-east-1"), SIGNED.value)


def decode(
    payload: Payload, verified: Verified | None, body: bytes, step: int = 1 << 20
) -> tuple[bytes, dict[str, str]]:
    decoder = ChunkedDecoder(payload, verified)
    out = bytearray()
    for at in range(0, len(body), step):
        for piece in decoder.feed(body[at : at + step]):
            out += piece
    return bytes(out), decoder.finish()


def test_aws_example_of_signed_chunks():
    headers = example_headers(SIGNED, **{"content-length": "66824"})
    verified = verify_example(
        headers,
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
        "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;"
        "x-amz-storage-class",
    )
    data = b"a" * 66560
    body = (
        b"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n"
        + data[:65536]
        + b"\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n"
        + data[65536:]
        + b"\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n"
    )
    assert len(body) == 66824
    assert decode(Payload(SIGNED, "", 66560), verified, body) == (data, {})
    assert encode_chunked(SIGNED, [data[:65536], data[65536:]], verified) == body


def test_aws_example_of_signed_chunks_with_a_trailer():
    verified = verify_example(
        example_headers(SIGNED_TRAILER, **{"x-amz-trailer": CRC}),
        "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
        "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;"
        "x-amz-trailer",
    )
    data = b"a" * 66560
    body = (
        b"10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n"
        + data[:65536]
        + b"\r\n400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n"
        + data[65536:]
        + b"\r\n0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n"
        + b"x-amz-checksum-crc32c:sOO8/Q==\r\n"
        + b"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
    )
    payload = Payload(SIGNED_TRAILER, "", 66560, (CRC,))
    assert decode(payload, verified, body) == (data, {CRC: "sOO8/Q=="})
    # The form with a blank line before the signature, and without the last one.
    blank = body.replace(b"sOO8/Q==\r\n", b"sOO8/Q==\n\r\n").removesuffix(b"\r\n")
    assert decode(payload, verified, blank) == (data, {CRC: "sOO8/Q=="})


PIECES = [b"x" * 9000, b"y" * 8192, b"z" * 17]
DATA = b"".join(PIECES)
ALL_MODES = [SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER]


def make_body(mode: PayloadMode, pieces: list[bytes] = PIECES) -> tuple[Payload, Verified | None, bytes]:
    verified = make_verified() if mode.has_signed_chunks else None
    trailers = {CRC: "AAAAAA=="} if mode.has_trailer else {}
    payload = Payload(mode, "", sum(map(len, pieces)), tuple(trailers))
    return payload, verified, encode_chunked(mode, pieces, verified, trailers)


@pytest.mark.parametrize("mode", ALL_MODES)
@pytest.mark.parametrize("step", [1, 7, 64, 8193, 1 << 20])
def test_any_cut_of_the_stream_gives_the_same(mode, step):
    payload, verified, body = make_body(mode)
    data, trailers = decode(payload, verified, body, step)
    assert data == DATA
    assert trailers == ({CRC: "AAAAAA=="} if mode.has_trailer else {})


@pytest.mark.parametrize("mode", ALL_MODES)
def test_an_empty_body(mode):
    payload, verified, body = make_body(mode, [])
    assert decode(payload, verified, body, 3)[0] == b""


@pytest.mark.parametrize("mode", ALL_MODES)
def test_every_truncation_is_incomplete(mode):
    payload, verified, body = make_body(mode, [b"x" * 40])
    # Leaving out the very last CRLF is forgiven: everything that counts has come.
    for size in range(len(body) - 2):
        with pytest.raises(S3Error) as caught:
            decode(payload, verified, body[:size])
        assert caught.value.code in ("IncompleteBody", "MalformedTrailerError")


@pytest.mark.parametrize("mode", [SIGNED, SIGNED_TRAILER])
def test_every_flipped_byte_of_a_signed_body_is_refused(mode):
    payload, verified, body = make_body(mode, [b"x" * 40, b"y" * 40])
    for at in range(len(body)):
        tampered = bytearray(body)
        tampered[at] ^= 1
        try:
            data, trailers = decode(payload, verified, bytes(tampered))
        except S3Error:
            continue
        # Only what carries no meaning may differ: the case of a hex size or a trailer's name.
        assert data == b"x" * 40 + b"y" * 40
        assert trailers == ({CRC: "AAAAAA=="} if mode.has_trailer else {})


def test_a_chunk_of_another_request_is_refused():
    payload, _, body = make_body(SIGNED)
    with pytest.raises(SignatureDoesNotMatch):
        decode(payload, make_verified("e" * 64), body)


def test_swapped_chunks_are_refused():
    verified = make_verified()
    body = encode_chunked(SIGNED, [b"a" * 8192, b"b" * 8192], verified)
    first, second = body[: len(body) // 2 - 45], b""
    size = body.index(b"2000;", 10)
    first, second = body[:size], body[size : 2 * size]
    with pytest.raises(SignatureDoesNotMatch):
        decode(Payload(SIGNED, "", 16384), verified, second + first + body[2 * size :])


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"zz\r\n", IncompleteBody),
        (b"-5\r\n", IncompleteBody),
        (b"\r\n", IncompleteBody),
        (b"5\nhello\r\n", IncompleteBody),
        (b"5;chunk-signature=" + b"0" * 64 + b"\r\n", IncompleteBody),
        (b"5\r\nhelloXX\r\n", IncompleteBody),
        (b"6\r\nhello!", IncompleteBody),
        (b"ffffffffffffffff\r\n", IncompleteBody),
        (b"4\r\nhell\r\n0\r\n", IncompleteBody),
        (b"1" * 600, IncompleteBody),
        (b"5\r\nhello\r\n0\r\n\r\n", MalformedTrailerError),
        (b"5\r\nhello\r\n0\r\nx-amz-checksum-sha1:AAAA\r\n", MalformedTrailerError),
        (b"5\r\nhello\r\n0\r\nno colon\r\n", MalformedTrailerError),
        (b"5\r\nhello\r\n0\r\n" + b"x" * 600, MalformedTrailerError),
        (b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32c:A\r\nx-amz-checksum-crc32c:A\r\n", MalformedTrailerError),
        (b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32c:A\r\n\r\nmore", IncompleteBody),
    ],
)
@pytest.mark.parametrize("step", [1, 1000])
def test_malformed_bodies(body, error, step):
    with pytest.raises(error):
        decode(Payload(UNSIGNED_TRAILER, "", 5, (CRC,)), None, body, step)


def test_a_missing_or_wrong_trailer_signature_is_refused():
    payload, verified, body = make_body(SIGNED_TRAILER)
    at = body.index(b"x-amz-trailer-signature")
    with pytest.raises(S3Error):
        decode(payload, verified, body[:at] + b"\r\n\r\n")
    with pytest.raises(SignatureDoesNotMatch):
        decode(payload, verified, body[:at] + b"x-amz-trailer-signature:" + b"0" * 64 + b"\r\n\r\n")
    with pytest.raises(SignatureDoesNotMatch):
        decode(payload, verified, body.replace(b"AAAAAA==", b"AAAAAQ=="))


def test_tiny_chunks_are_bounded():
    count = SMALL_CHUNKS_MAX + 10
    payload, _, body = make_body(UNSIGNED_TRAILER, [b"x"] * count)
    with pytest.raises(InvalidChunkSizeError):
        decode(payload, None, body)
    payload, _, body = make_body(UNSIGNED_TRAILER, [b"x"] * 100)
    assert decode(payload, None, body)[0] == b"x" * 100


def test_pieces_are_views_of_what_was_fed():
    payload, verified, body = make_body(SIGNED)
    pieces = ChunkedDecoder(payload, verified).feed(body)
    assert [len(piece) for piece in pieces] == [9000, 8192, 17]
    assert all(piece.obj is body for piece in pieces)
    assert sha256(b"".join(pieces)).digest() == sha256(DATA).digest()


@pytest.mark.parametrize("size", [0, 1, 8192, 1 << 20, (1 << 20) + 1])
def test_what_botocore_sends_over_tls_decodes(size):
    data = b"d" * size
    wrapped = AwsChunkedWrapper(BytesIO(data), Crc32Checksum, CRC.replace("crc32c", "crc32"))
    body = b"".join(iter(lambda: wrapped.read(65536), b""))
    decoded, trailers = decode(Payload(UNSIGNED_TRAILER, "", size, ("x-amz-checksum-crc32",)), None, body, 1000)
    assert decoded == data
    assert trailers == {"x-amz-checksum-crc32": compute_checksum("CRC32", data)}


@given(body=st.binary(max_size=300), mode=st.sampled_from(ALL_MODES), step=st.integers(1, 50))
def test_any_bytes_give_a_typed_error_or_a_body(body, mode, step):
    payload = Payload(mode, "", 5, (CRC,) if mode.has_trailer else ())
    try:
        data, _ = decode(payload, make_verified() if mode.has_signed_chunks else None, body, step)
    except S3Error:
        return
    assert len(data) == 5


@given(sizes=st.lists(st.integers(1, 300), max_size=8), step=st.integers(1, 400), mode=st.sampled_from(ALL_MODES))
def test_what_is_encoded_decodes(sizes, step, mode):
    payload, verified, body = make_body(mode, [bytes([size % 251]) * size for size in sizes])
    assert len(decode(payload, verified, body, step)[0]) == sum(sizes)
