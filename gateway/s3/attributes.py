"""What a writing request asks to be attached to its object besides headers and metadata: tags, ACL, lock, encryption.

Read from headers (PutObject, CopyObject, CreateMultipartUpload) or form fields (PostObject, whose fields are folded to
the headers' names first). Pure: names of accounts are not resolved and defaults of buckets not applied here; that is
``operations/object_attributes``, inside the commit. A request without any of it costs one set lookup per header.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from gateway.s3.acl_headers import ACL_HEADERS, AclRequest, parse_acl_headers
from gateway.s3.encryption import WRITE_HEADERS, SseRequest, parse_sse
from gateway.s3.object_lock import HOLD_HEADER, MODE_HEADER, UNTIL_HEADER, LockRequest, parse_lock_headers
from gateway.s3.tagging import TAGGING_HEADER, parse_tagging_header

_HEADERS: Final = ACL_HEADERS | WRITE_HEADERS | {TAGGING_HEADER, HOLD_HEADER, MODE_HEADER, UNTIL_HEADER}


class Attributes(NamedTuple):
    """Everything asked for; None: not asked. ``tags`` by name, in the order sent."""

    tags: dict[str, str] | None = None
    acl: AclRequest | None = None
    lock: LockRequest | None = None
    sse: SseRequest | None = None


NO_ATTRIBUTES = Attributes()


def parse_attributes(headers: Mapping[str, str]) -> Attributes:
    """What ``headers`` (folded) ask for; each part's errors are those of its own parser."""
    if _HEADERS.isdisjoint(headers):
        return NO_ATTRIBUTES
    found = Attributes(
        tags=parse_tagging_header(headers),
        acl=parse_acl_headers(headers),
        lock=parse_lock_headers(headers),
        sse=parse_sse(headers),
    )
    return NO_ATTRIBUTES if found == NO_ATTRIBUTES else found
