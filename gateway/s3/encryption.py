"""Server-side encryption as requests, buckets, records and answers have it: which kind, whose key. Pure.

Four kinds. ``AES256`` (SSE-S3) is what everything in a realm is anyway: sealed, always; nothing is kept of it, and it
is what answers show of an object that has nothing else (as AWS since 2023). ``SSE-C``, ``aws:kms`` and ``aws:kms:dsse``
put a layer of their own under it (``operations/object_encryption``); what a version needs to be opened again, keys
apart, is ``SealRecord``, kept as ``extra["sse"]``:

    MessagePack array: version 1 | kind 0 SSE-C, 1 aws:kms, 2 aws:kms:dsse | salt 32 | check 32
                       | key name | key material id | encryption context (JSON text) | bucket key enabled
                       | the key as the writer named it, empty: by its ARN

Source: API reference, PutObject, CopyObject, CreateMultipartUpload; User Guide, "Specifying server-side encryption".
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from gateway.s3.errors import InvalidArgument, S3Error, invalid_argument
from gateway.s3.sse_customer import ALGORITHM, HEADERS, SOURCE_HEADERS, CustomerKey, parse_customer_key

SSE: Final = "x-amz-server-side-encryption"
SSE_KEY_ID: Final = "x-amz-server-side-encryption-aws-kms-key-id"
SSE_CONTEXT: Final = "x-amz-server-side-encryption-context"
SSE_BUCKET_KEY: Final = "x-amz-server-side-encryption-bucket-key-enabled"
WRITE_HEADERS: Final = frozenset({SSE, SSE_KEY_ID, SSE_CONTEXT, SSE_BUCKET_KEY, *HEADERS})
READ_HEADERS: Final = frozenset(HEADERS)
COPY_HEADERS: Final = WRITE_HEADERS | frozenset(SOURCE_HEADERS)
SEAL_EXTRA: Final = "sse"
"""The name of a ``SealRecord`` among a version's, an upload's or a part's extras (a part's is only its nonce)."""

AES256: Final = "AES256"
KMS: Final = "aws:kms"
DSSE: Final = "aws:kms:dsse"
CUSTOMER: Final = "SSE-C"
METHODS: Final = (AES256, KMS, DSSE)
KMS_METHODS: Final = frozenset({KMS, DSSE})
_KINDS: Final = (CUSTOMER, KMS, DSSE)
_CONTEXT_BYTES_MAX: Final = 8192


class SseRequest(NamedTuple):
    """What a write asks for. ``method`` empty: not said (``customer`` or ``bucket_key`` alone were)."""

    method: str = ""
    key_id: str = ""
    context: str = ""
    bucket_key: bool | None = None
    customer: CustomerKey | None = None


class BadSeal(ValueError):
    """Bytes that are no seal this site knows."""


class SealRecord(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What is kept of a version's own layer; fields: this module's docstring."""

    version: int = 1
    kind: int = 0
    salt: bytes = b""
    check: bytes = b""
    key_name: str = ""
    material: str = ""
    context: str = ""
    bucket_key: bool = False
    named: str = ""

    @property
    def method(self) -> str:
        """``SSE-C``, ``aws:kms`` or ``aws:kms:dsse``."""
        return _KINDS[self.kind]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(SealRecord)


def kind_of(method: str) -> int:
    """The number of a kind that has a layer of its own."""
    return _KINDS.index(method)


def encode_seal(record: SealRecord) -> bytes:
    """Bytes of a record."""
    return _encoder.encode(record)


def decode_seal(data: bytes) -> SealRecord:
    """The record in ``data``; ``BadSeal`` if it is none, or of a later version."""
    try:
        record = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadSeal(f"not an encryption record: {error}") from error
    if record.version != 1 or not 0 <= record.kind < len(_KINDS):
        raise BadSeal("an encryption record this site does not know: upgrade it")
    return record


def find_seal(extra: Mapping[str, bytes]) -> SealRecord | None:
    """The record among a version's extras; None if it has no layer of its own."""
    data = extra.get(SEAL_EXTRA)
    return None if data is None else decode_seal(data)


def parse_sse(headers: Mapping[str, str]) -> SseRequest | None:
    """What folded ``headers`` of a write ask for; None for nothing. ``InvalidArgument`` for what contradicts itself."""
    if WRITE_HEADERS.isdisjoint(headers):
        return None
    customer = parse_customer_key(headers)
    method = headers.get(SSE, "")
    if SSE in headers and method not in METHODS:
        raise invalid_argument("The encryption method specified is not supported", SSE, method)
    if customer is not None and method:
        raise invalid_argument(
            "Server Side Encryption with Customer provided key is incompatible with the encryption method specified",
            SSE,
            method,
        )
    if (SSE_KEY_ID in headers or SSE_CONTEXT in headers) and method not in KMS_METHODS:
        raise invalid_argument(
            "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : "
            "aws:kms",
            SSE,
            method or None,
        )
    key_id = headers.get(SSE_KEY_ID, "")
    if SSE_KEY_ID in headers and not key_id:
        raise invalid_argument("The KMS key id cannot be empty", SSE_KEY_ID, key_id)
    return SseRequest(method, key_id, _parse_context(headers), _parse_bucket_key(headers), customer)


def _parse_bucket_key(headers: Mapping[str, str]) -> bool | None:
    text = headers.get(SSE_BUCKET_KEY)
    if text is None:
        return None
    if text.lower() not in ("true", "false"):
        raise invalid_argument("The bucket key enabled header must be true or false", SSE_BUCKET_KEY, text)
    return text.lower() == "true"


def _parse_context(headers: Mapping[str, str]) -> str:
    """The encryption context as canonical JSON; empty without one."""
    text = headers.get(SSE_CONTEXT)
    if text is None:
        return ""
    try:
        pairs = json.loads(b64decode(text.encode("ascii"), validate=True).decode())
    except (binascii.Error, ValueError, RecursionError):
        raise _bad_context(text) from None
    if not isinstance(pairs, dict) or not all(isinstance(value, str) for value in pairs.values()):
        raise _bad_context(text)
    canonical = json.dumps(pairs, sort_keys=True, separators=(",", ":"))
    if len(canonical) > _CONTEXT_BYTES_MAX:
        raise _bad_context(text)
    return canonical


def _bad_context(text: str) -> S3Error:
    return invalid_argument(
        "The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 string holding JSON which "
        "represents a string-string map",
        SSE_CONTEXT,
        text,
    )


def seal_headers(seal: SealRecord | None, key_md5: str, key_arn: str = "", *, written: bool = False) -> dict[str, str]:
    """The headers by which answers tell of a version's encryption.

    ``key_md5``: of the SSE-C key that came with the request (nothing of it is stored). ``written``: the answer of a
    write, which shows the encryption context, too.
    """
    if seal is None:
        return {SSE: AES256}
    if seal.method == CUSTOMER:
        return {HEADERS[0]: ALGORITHM, "x-amz-server-side-encryption-customer-key-MD5": key_md5} if key_md5 else {}
    headers = {SSE: seal.method, SSE_KEY_ID: key_arn}
    if seal.bucket_key:
        headers[SSE_BUCKET_KEY] = "true"
    if written and seal.context:
        headers[SSE_CONTEXT] = b64encode(seal.context.encode()).decode()
    return headers


def refuse_on_reads(name: str, value: str) -> S3Error:
    """The error for an encryption header on an operation that takes none (GET and HEAD, parts)."""
    error: S3Error = InvalidArgument(
        f"{name} header is not supported for this operation.", ArgumentName=name, ArgumentValue=value
    )
    return error
