"""ServerSideEncryptionConfiguration: a bucket's default encryption, as XML and as a value. Pure.

Source: API reference, PutBucketEncryption. One rule; KMSMasterKeyID only with KMS; what types are blocked
(``SSE-C``, or ``NONE`` to unblock). A bucket without a document has AWS's default: SSE-S3, no bucket key.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple
from xml.etree.ElementTree import Element

from gateway.s3.documents import children, fields_of, parse_boolean, parse_document, text_of
from gateway.s3.encryption import AES256, CUSTOMER, KMS_METHODS, METHODS
from gateway.s3.errors import InvalidArgument, MalformedXML, escape_text


class BucketEncryption(NamedTuple):
    """A bucket's default: method, key id as given (empty: the default key), bucket key, blocked types."""

    method: str = AES256
    key_id: str = ""
    bucket_key: bool = False
    blocked: tuple[str, ...] = ()


DEFAULT_ENCRYPTION = BucketEncryption()


def parse_bucket_encryption(body: bytes) -> BucketEncryption:
    """The document's one rule. ``MalformedXML``, or ``InvalidArgument`` for a key id without KMS."""
    rules = [child for _, child in children(parse_document(body, "ServerSideEncryptionConfiguration"), "Rule")]
    if len(rules) != 1:
        raise MalformedXML
    method, key_id, bucket_key = AES256, "", False
    blocked: tuple[str, ...] = ()
    seen = set()
    for name, child in children(
        rules[0], "ApplyServerSideEncryptionByDefault", "BucketKeyEnabled", "BlockedEncryptionTypes"
    ):
        if name in seen:
            raise MalformedXML
        seen.add(name)
        if name == "BucketKeyEnabled":
            bucket_key = parse_boolean(text_of(child))
        elif name == "BlockedEncryptionTypes":
            blocked = _parse_blocked(child)
        else:
            fields = fields_of(child, "SSEAlgorithm", "KMSMasterKeyID")
            method, key_id = fields.get("SSEAlgorithm", "").strip(), fields.get("KMSMasterKeyID", "").strip()
            if method not in METHODS:
                raise MalformedXML
            if key_id and method not in KMS_METHODS:
                raise InvalidArgument("a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms")
    if not seen:
        raise MalformedXML
    return BucketEncryption(method, key_id, bucket_key, blocked)


def _parse_blocked(element: Element) -> tuple[str, ...]:
    types = [text_of(child).strip() for _, child in children(element, "EncryptionType")]
    if not types or any(kind not in ("NONE", CUSTOMER) for kind in types) or len(types) > 1:
        raise MalformedXML
    return tuple(types)


@lru_cache(maxsize=1024)
def decode_bucket_encryption(body: bytes) -> BucketEncryption:
    """The stored document (the client's XML, checked when it was put)."""
    return parse_bucket_encryption(body)


def render_bucket_encryption(encryption: BucketEncryption) -> bytes:
    """The document as GetBucketEncryption answers it."""
    key = f"<KMSMasterKeyID>{escape_text(encryption.key_id)}</KMSMasterKeyID>" if encryption.key_id else ""
    blocked = "".join(f"<EncryptionType>{kind}</EncryptionType>" for kind in encryption.blocked)
    blocked = f"<BlockedEncryptionTypes>{blocked}</BlockedEncryptionTypes>" if blocked else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ServerSideEncryptionConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule>'
        f"<ApplyServerSideEncryptionByDefault><SSEAlgorithm>{encryption.method}</SSEAlgorithm>{key}"
        f"</ApplyServerSideEncryptionByDefault><BucketKeyEnabled>{str(encryption.bucket_key).lower()}</BucketKeyEnabled>"
        f"{blocked}</Rule></ServerSideEncryptionConfiguration>"
    ).encode()
