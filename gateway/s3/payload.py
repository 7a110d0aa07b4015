"""How a body is protected: a fail-closed table of how signed × x-amz-content-sha256 × operation. Pure.

Comes after ``sigv4.verify``: the header (or the presigned default) that is read here was part of what was signed. What
the table does not list is refused. Whoever reads the body must do what the plan says before any of it counts.

Source: "Authenticating Requests (AWS Signature Version 4)" and "Signature calculations ... transferring payload in
multiple chunks", Amazon S3 API reference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Final

import msgspec

from gateway.s3.checksums import BY_HEADER
from gateway.s3.errors import InvalidRequest, MissingContentLength, S3NotImplemented, invalid_argument
from gateway.s3.requests import PUT_BYTES_MAX, parse_content_length
from gateway.s3.routing import Operation
from gateway.s3.sigv4 import EMPTY_SHA256, UNSIGNED_PAYLOAD, Verified


class Signer(Enum):
    """How a request is signed."""

    __hash__ = object.__hash__  # members are singletons; Enum's own is a Python function on every request's way

    NOBODY = "anonymous"
    HEADER = "header"
    QUERY = "query"


class PayloadMode(Enum):
    """How a body is protected."""

    __hash__ = object.__hash__

    UNSIGNED = UNSIGNED_PAYLOAD
    SHA256 = "SHA256"
    SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    SIGNED_CHUNKS_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    UNSIGNED_CHUNKS_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

    @property
    def is_chunked(self) -> bool:
        """Whether the body is aws-chunked."""
        return self in _CHUNKED

    @property
    def has_signed_chunks(self) -> bool:
        """Whether every chunk carries a signature."""
        return self in (PayloadMode.SIGNED_CHUNKS, PayloadMode.SIGNED_CHUNKS_TRAILER)

    @property
    def has_trailer(self) -> bool:
        """Whether trailing headers follow the last chunk."""
        return self in (PayloadMode.SIGNED_CHUNKS_TRAILER, PayloadMode.UNSIGNED_CHUNKS_TRAILER)


_CHUNKED: Final = frozenset(
    {PayloadMode.SIGNED_CHUNKS, PayloadMode.SIGNED_CHUNKS_TRAILER, PayloadMode.UNSIGNED_CHUNKS_TRAILER}
)
_ALL: Final = frozenset(Operation)
_NONE: Final[frozenset[Operation]] = frozenset()
_STREAMED: Final = frozenset({Operation.PutObject, Operation.UploadPart})
ALLOWED: Final[Mapping[tuple[Signer, PayloadMode], frozenset[Operation]]] = {
    (Signer.HEADER, PayloadMode.SHA256): _ALL,
    (Signer.HEADER, PayloadMode.UNSIGNED): _ALL,
    (Signer.HEADER, PayloadMode.SIGNED_CHUNKS): _STREAMED,
    (Signer.HEADER, PayloadMode.SIGNED_CHUNKS_TRAILER): _STREAMED,
    (Signer.HEADER, PayloadMode.UNSIGNED_CHUNKS_TRAILER): _STREAMED,
    (Signer.QUERY, PayloadMode.SHA256): _ALL,
    (Signer.QUERY, PayloadMode.UNSIGNED): _ALL,
    (Signer.NOBODY, PayloadMode.SHA256): _ALL,
    (Signer.NOBODY, PayloadMode.UNSIGNED): _ALL,
    # Nothing is claimed to be signed, so nothing can be forged; SDKs without credentials send their checksums so.
    (Signer.NOBODY, PayloadMode.UNSIGNED_CHUNKS_TRAILER): _STREAMED,
}
"""The only combinations that are served."""
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")
_MODES: Final[Mapping[str, PayloadMode]] = {mode.value: mode for mode in PayloadMode if mode is not PayloadMode.SHA256}


class Payload(msgspec.Struct, frozen=True, gc=False):
    """What is expected of a body.

    ``sha256``: 64 lower case hex digits it must hash to, empty if not asked; ``decoded_length``: plaintext bytes of a
    chunked body, None otherwise; ``trailers``: the trailing headers announced, lower case.
    """

    mode: PayloadMode
    sha256: str = ""
    decoded_length: int | None = None
    trailers: tuple[str, ...] = ()


UNSIGNED: Final = Payload(PayloadMode.UNSIGNED)
"""Nothing is promised of the body."""


def plan_payload(verified: Verified | None, operation: Operation, headers: Mapping[str, str]) -> Payload:
    """The plan for a request's body; ``verified`` None for an anonymous one. ``headers``: folded, not merged.

    Raises ``InvalidArgument``, ``InvalidRequest``, ``MissingContentLength``, ``NotImplemented`` (SigV4A).
    """
    if verified is None:
        signer, content = Signer.NOBODY, headers.get("x-amz-content-sha256", "")
        if not content:
            content = _guess_anonymous(headers)
    else:
        signer = Signer.QUERY if verified.claim.presigned else Signer.HEADER
        content = verified.payload_hash
    mode = PayloadMode.SHA256 if content == EMPTY_SHA256 else _MODES.get(content)
    if mode is None:
        if content.startswith("STREAMING-AWS4-ECDSA"):
            raise S3NotImplemented("Signature Version 4A is not implemented")
        if not _SHA256.fullmatch(content):
            raise invalid_argument(
                "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, "
                "STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 "
                "value.",
                "x-amz-content-sha256",
                content,
            )
        mode = PayloadMode.SHA256
    if operation not in ALLOWED.get((signer, mode), _NONE):
        raise InvalidRequest(f"The payload mode {mode.value} is not allowed for {operation} signed by {signer.value}")
    if mode in _CHUNKED:
        return _plan_chunked(mode, headers)
    if "x-amz-decoded-content-length" in headers or "x-amz-trailer" in headers:
        raise InvalidRequest("x-amz-decoded-content-length and x-amz-trailer need a streaming x-amz-content-sha256")
    return Payload(mode, content.lower()) if mode is PayloadMode.SHA256 else UNSIGNED


def _guess_anonymous(headers: Mapping[str, str]) -> str:
    """What an anonymous request without x-amz-content-sha256 means: SDKs that do not sign leave it out."""
    if "aws-chunked" in headers.get("content-encoding", "").lower() and "x-amz-trailer" in headers:
        return PayloadMode.UNSIGNED_CHUNKS_TRAILER.value
    return UNSIGNED_PAYLOAD


def _plan_chunked(mode: PayloadMode, headers: Mapping[str, str]) -> Payload:
    """The plan for an aws-chunked body: its decoded length, and trailers that may only be checksums."""
    if "x-amz-decoded-content-length" not in headers:
        raise MissingContentLength
    length = parse_content_length(headers, bytes_max=PUT_BYTES_MAX)
    announced = headers.get("x-amz-trailer")
    if announced is None:
        return Payload(mode, "", length)
    names = tuple(name.strip().lower() for name in announced.split(","))
    if not mode.has_trailer:
        raise InvalidRequest("x-amz-trailer needs an x-amz-content-sha256 that ends with -TRAILER")
    if len(names) != 1 or names[0] not in BY_HEADER:
        raise InvalidRequest("The value specified in the x-amz-trailer header is not supported")
    return Payload(mode, "", length, names)
