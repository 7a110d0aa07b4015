"""A bucket's default encryption: PutBucketEncryption, GetBucketEncryption, DeleteBucketEncryption.

A bucket that was told nothing answers SSE-S3, as AWS does since 2023: it is what every object of a realm has.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.http.calls import Call, CallHandler
from gateway.operations.bucket_documents import ENCRYPTION
from gateway.operations.configurations import get_bucket, get_document, put_document
from gateway.operations.kms_keys import read_key_name
from gateway.s3.documents import body_bytes_max
from gateway.s3.encryption import KMS_METHODS
from gateway.s3.encryption_documents import (
    DEFAULT_ENCRYPTION,
    decode_bucket_encryption,
    parse_bucket_encryption,
    render_bucket_encryption,
)
from gateway.s3.routing import Operation


async def put_encryption(call: Call) -> web.StreamResponse:
    """PutBucketEncryption."""
    get_bucket(call.context, call.bucket, "PutBucketEncryption")
    body = await call.read_document(body_bytes_max("ServerSideEncryptionConfiguration"))
    encryption = parse_bucket_encryption(body)
    if encryption.method in KMS_METHODS:
        read_key_name(encryption.key_id)
    await put_document(
        call.context, call.bucket, "PutBucketEncryption", ENCRYPTION, render_bucket_encryption(encryption)
    )
    return call.answer()


async def get_encryption(call: Call) -> web.StreamResponse:
    """GetBucketEncryption."""
    body = get_document(call.context, call.bucket, "GetBucketEncryption", ENCRYPTION)
    encryption = DEFAULT_ENCRYPTION if body is None else decode_bucket_encryption(body)
    return call.answer(body=render_bucket_encryption(encryption))


async def delete_encryption(call: Call) -> web.StreamResponse:
    """DeleteBucketEncryption: back to SSE-S3."""
    await put_document(call.context, call.bucket, "DeleteBucketEncryption", ENCRYPTION, None)
    return call.answer(204)


HANDLERS: Final[dict[Operation, CallHandler]] = {
    Operation.DeleteBucketEncryption: delete_encryption,
    Operation.GetBucketEncryption: get_encryption,
    Operation.PutBucketEncryption: put_encryption,
}
"""What this file answers."""
