"""The names of a bucket's documents, and the one way to read one as a value.

A document (policy, ACL, CORS, lock …) is stored as bytes: the client's XML or JSON, or an encoding of ours, one format
one file in ``gateway/s3``. The view caches the bytes per generation, and decoders are ``lru_cache``d by those bytes, so
that asking for a document on every request costs two dictionary lookups; changes are seen with the next request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from gateway.identity.bucket_access import ABAC as ABAC
from gateway.identity.bucket_access import ACL as ACL
from gateway.identity.bucket_access import OWNERSHIP as OWNERSHIP
from gateway.identity.bucket_access import POLICY as POLICY
from gateway.identity.bucket_access import PUBLIC_ACCESS_BLOCK as PUBLIC_ACCESS_BLOCK
from gateway.identity.bucket_access import REQUEST_PAYMENT as REQUEST_PAYMENT
from gateway.identity.bucket_access import TAGGING as TAGGING
from gateway.store.ports import ReadView

Value = TypeVar("Value")

VERSIONING: Final = "versioning"
CORS: Final = "cors"
WEBSITE: Final = "website"
OBJECT_LOCK: Final = "object-lock"
LIFECYCLE: Final = "lifecycle"
ENCRYPTION: Final = "encryption"
LOGGING: Final = "logging"
NOTIFICATION: Final = "notification"
REPLICATION: Final = "replication"
ACCELERATE: Final = "accelerate"


def find_document(view: ReadView, uid: bytes, name: str, decode: Callable[[bytes], Value]) -> Value | None:
    """The document ``name`` of bucket ``uid``, decoded; None without one. ``decode`` is pure and caches."""
    body = view.document(uid, name)
    return None if body is None else decode(body)
