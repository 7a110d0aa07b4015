"""The layer of its own that an object under SSE-C or SSE-KMS has: who seals with what, and who may open it.

In the data's way: between a request's body and the store's writer (``Sealing.wrap``), and between the store's reader
and the answer (``opened_reads``). Digests and checksums are of the plaintext; the store sees ciphertext that is unlike
any other's, so nothing is deduplicated or patched across keys, and seals it once more, which is where integrity
comes from. Plaintext objects (SSE-S3: the realm's own sealing) come nowhere near this: ``plan_sealing`` is None.

A write's encryption is settled before its body is read (headers, else the bucket's document, else SSE-S3) and kept in
``extra["sse"]``. Memory is O(piece); pieces above 64 KiB are ciphered off the loop.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from hmac import compare_digest
from typing import Final, NamedTuple

from gateway.operations.bodies import Body, Received
from gateway.operations.bucket_documents import ENCRYPTION, find_document
from gateway.operations.context import Context
from gateway.operations.customer_keys import (
    NONCE_SIZE,
    SALT_SIZE,
    WHOLE_NONCE,
    LayerKeys,
    derive_keys,
    layer_etag,
    start_cipher,
)
from gateway.operations.digests import INLINE_MAX, run_hashing
from gateway.operations.kms_keys import ensure_key, find_material, read_key_name
from gateway.s3.encryption import (
    AES256,
    CUSTOMER,
    KMS,
    KMS_METHODS,
    SEAL_EXTRA,
    SSE,
    SealRecord,
    SseRequest,
    decode_seal,
    encode_seal,
    find_seal,
    kind_of,
    seal_headers,
)
from gateway.s3.encryption_documents import BucketEncryption, decode_bucket_encryption
from gateway.s3.errors import AccessDenied, InvalidArgument, InvalidRequest
from gateway.s3.resource_arns import is_alias, kms_key_arn
from gateway.s3.sse_customer import CustomerKey
from gateway.store.document_format import UploadRecord
from gateway.store.object_format import ObjectRecord
from gateway.store.ports import Bucket, Content, ContentWriter, ReadView

_NEEDS_KEY: Final = (
    "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to "
    "retrieve the object."
)
_NOT_APPLICABLE: Final = "The encryption parameters are not applicable to this object."
_NEEDS_SIGNATURE: Final = (
    "Requests specifying Server Side Encryption with AWS KMS managed keys require AWS Signature Version 4."
)
_INSECURE: Final = (
    "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection."
)


class Wanted(NamedTuple):
    """How a write is to be encrypted: SSE-C with a key, or SSE-KMS with a key's name."""

    method: str
    customer: CustomerKey | None = None
    key_name: str = ""
    context: str = ""
    bucket_key: bool = False
    named: str = ""


class Opening(NamedTuple):
    """The right to read an object: its record's layer and the keys to it."""

    seal: SealRecord
    keys: LayerKeys


class Sealing(NamedTuple):
    """The right to write an object (or a part, with a ``nonce`` of its own)."""

    seal: SealRecord
    keys: LayerKeys
    nonce: bytes = WHOLE_NONCE

    @property
    def extra(self) -> dict[str, bytes]:
        """What the version's (or the upload's) extras keep."""
        return {SEAL_EXTRA: encode_seal(self.seal)}

    @property
    def part_extra(self) -> dict[str, bytes]:
        """What a part's extras keep."""
        return {SEAL_EXTRA: self.nonce}

    def wrap(self, writer: ContentWriter) -> ContentWriter:
        """A writer of plaintext before a store's writer, which stays the caller's to enter and leave."""
        return _SealingWriter(writer, self)


class _SealingWriter:
    """Ciphers what passes through."""

    def __init__(self, writer: ContentWriter, sealing: Sealing) -> None:
        self._writer = writer
        self._cipher = start_cipher(sealing.keys, sealing.nonce)

    async def __aenter__(self) -> ContentWriter:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def write(self, data: bytes | memoryview) -> None:
        if len(data) <= INLINE_MAX:
            await self._writer.write(self._cipher.update(data))
        else:
            await self._writer.write(await run_hashing(self._cipher.update, data))

    async def finish(self) -> Content:
        return await self._writer.finish()


async def pour_sealed(body: Body, writer: ContentWriter, sealing: Sealing | None) -> Received:
    """Pour a body through its layer, if it has one: what comes back names the bytes as the record is to name them."""
    if sealing is None:
        return await body.pour(writer)
    received = await body.pour(sealing.wrap(writer))
    return received._replace(md5=layer_etag(sealing.keys, received.md5))


def bucket_encryption(view: ReadView, bucket: Bucket) -> BucketEncryption | None:
    """The bucket's document; None: AWS's default, SSE-S3."""
    return find_document(view, bucket.uid, ENCRYPTION, decode_bucket_encryption)


def find_wanted(context: Context, view: ReadView, bucket: Bucket, asked: SseRequest | None) -> Wanted | None:
    """How a write to ``bucket`` is to be encrypted; None: SSE-S3. Headers win over the bucket's document."""
    default = bucket_encryption(view, bucket)
    if default is None and asked is None:
        return None
    if asked is not None and asked.customer is not None:
        check_customer_key_allowed(context)
        if default is not None and CUSTOMER in default.blocked:
            raise AccessDenied("The bucket's encryption configuration blocks server-side encryption with customer keys")
        return Wanted(CUSTOMER, asked.customer)
    method = asked.method if asked is not None and asked.method else ""
    by_default = default is not None and (not method or method == default.method)
    if not method:
        method = default.method if default is not None else AES256
    if method not in KMS_METHODS:
        return None
    _check_signed(context)
    key_id = asked.key_id if asked is not None else ""
    bucket_key = asked.bucket_key if asked is not None else None
    if default is not None and by_default and not key_id:
        key_id = default.key_id if default.method in KMS_METHODS else ""
    if bucket_key is None:
        bucket_key = default is not None and default.bucket_key
    name = read_key_name(key_id)
    described = asked.context if asked is not None else ""
    return Wanted(method, None, name, described, bucket_key and method == KMS, "" if is_alias(key_id) else key_id)


def keeps_layer(seal: SealRecord, wanted: Wanted | None) -> bool:
    """Whether a copy may keep the layer of its source: both under the same KMS key, in the same way."""
    if wanted is None or wanted.customer is not None:
        return False
    asked = (wanted.method, wanted.key_name, wanted.context, wanted.bucket_key, wanted.named)
    return (seal.method, seal.key_name, seal.context, seal.bucket_key, seal.named) == asked


def _check_signed(context: Context) -> None:
    """``InvalidArgument`` for nobody: as with AWS, keys of the KMS are nothing for who does not sign."""
    if context.principal.is_anonymous:
        raise InvalidArgument(_NEEDS_SIGNATURE)


def check_customer_key_allowed(context: Context) -> None:
    """``InvalidRequest`` where keys of customers may only come over TLS and this listener has none."""
    if not context.settings.customer_keys:
        raise InvalidRequest(_INSECURE)


async def make_sealing(context: Context, wanted: Wanted | None) -> Sealing | None:
    """Fresh keys for one object; for SSE-KMS its key is looked up, or made where settings allow it."""
    if wanted is None:
        return None
    salt = secrets.token_bytes(SALT_SIZE)
    if wanted.customer is not None:
        keys = derive_keys(wanted.customer.key, salt)
        return Sealing(SealRecord(kind=kind_of(CUSTOMER), salt=salt, check=keys.check), keys)
    key = await ensure_key(context.store, wanted.key_name, create=context.settings.kms_create_keys)
    with context.store.view() as view:
        material = find_material(view, key.name, key.record.material)
    keys = derive_keys(material, salt, wanted.context)
    seal = SealRecord(
        kind=kind_of(wanted.method),
        salt=salt,
        check=keys.check,
        key_name=key.name,
        material=key.record.material,
        context=wanted.context,
        bucket_key=wanted.bucket_key,
        named=wanted.named,
    )
    return Sealing(seal, keys)


def continue_sealing(
    context: Context, view: ReadView, upload: UploadRecord, customer: CustomerKey | None
) -> Sealing | None:
    """The sealing of one part of an upload, with a nonce of its own; the key must be the one it was begun with."""
    seal = find_seal(upload.extra)
    if seal is None or seal.method != CUSTOMER:
        if customer is not None:
            raise InvalidRequest(
                "The multipart upload initiate did not request encryption. Please resend the request without sending "
                "encryption parameters."
            )
    elif customer is None:
        raise InvalidRequest(
            "The multipart upload initiate requested encryption. Subsequent part requests must include the "
            "appropriate encryption parameters."
        )
    if seal is None:
        return None
    keys = _find_keys(context, view, seal, customer)
    if not compare_digest(keys.check, seal.check):
        raise InvalidRequest("The provided encryption parameters did not match the ones used originally.")
    return Sealing(seal, keys, secrets.token_bytes(NONCE_SIZE))


def may_tell_parts(context: Context, view: ReadView, upload: UploadRecord, customer: CustomerKey | None) -> bool:
    """Whether checksums of an upload's parts may be told: of plaintext under SSE-C only to who brings its key.

    ``InvalidRequest`` for another key.
    """
    seal = find_seal(upload.extra)
    if seal is None or seal.method != CUSTOMER:
        return True
    return customer is not None and continue_sealing(context, view, upload, customer) is not None


def open_layer(
    context: Context, view: ReadView, record: ObjectRecord, customer: CustomerKey | None, *, content: bool = True
) -> Opening | None:
    """The right to read an object; None if it has no layer of its own. Without ``content`` (HEAD) no KMS key is used.

    Raises ``InvalidRequest`` for a key that is missing or means nothing here, ``AccessDenied`` for a wrong one, and
    the errors of KMS keys.
    """
    data = record.extra.get(SEAL_EXTRA)
    if data is None:
        if customer is not None:
            raise InvalidRequest(_NOT_APPLICABLE)
        return None
    seal = decode_seal(data)
    if seal.method == CUSTOMER:
        if customer is None:
            raise InvalidRequest(_NEEDS_KEY)
    elif customer is not None:
        raise InvalidRequest(_NOT_APPLICABLE)
    elif not content:
        return None
    keys = _find_keys(context, view, seal, customer)
    if not compare_digest(keys.check, seal.check):
        raise AccessDenied
    return Opening(seal, keys)


def _find_keys(context: Context, view: ReadView, seal: SealRecord, customer: CustomerKey | None) -> LayerKeys:
    if customer is not None:
        check_customer_key_allowed(context)
        return derive_keys(customer.key, seal.salt)
    _check_signed(context)
    return derive_keys(find_material(view, seal.key_name, seal.material), seal.salt, seal.context)


_SSE_S3: Final[Mapping[str, str]] = {SSE: AES256}


def shown_encryption(
    region: str, extra: Mapping[str, bytes], key_md5: str = "", *, written: bool = False
) -> Mapping[str, str]:
    """The headers by which an answer tells of a version's (or an upload's) encryption, from its extras.

    ``key_md5``: of the customer's key that came with the request. ``written``: the answer of a write.
    """
    data = extra.get(SEAL_EXTRA)
    if data is None:
        return _SSE_S3
    seal = decode_seal(data)
    return seal_headers(seal, key_md5, seal.named or kms_key_arn(region, seal.key_name), written=written)
