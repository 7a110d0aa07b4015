"""Object ownership: whether ACLs count in a bucket, and who owns what others write into it. Pure.

``BucketOwnerEnforced``: ACLs are off, the bucket's owner owns everything. ``BucketOwnerPreferred``: as the next, but
what is written with the canned ACL bucket-owner-full-control is the bucket owner's. ``ObjectWriter``: the writer's.
Source: Amazon S3 User Guide, "Controlling ownership of objects and disabling ACLs for your bucket".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.s3.documents import children, fields_of, parse_document
from gateway.s3.errors import MalformedXML, invalid_argument

ENFORCED: Final = "BucketOwnerEnforced"
PREFERRED: Final = "BucketOwnerPreferred"
OBJECT_WRITER: Final = "ObjectWriter"
OWNERSHIPS: Final = (ENFORCED, PREFERRED, OBJECT_WRITER)


def parse_ownership_controls(body: bytes) -> str:
    """The one object ownership of an OwnershipControls document; ``MalformedXML`` otherwise."""
    document = parse_document(body, "OwnershipControls")
    rules = [fields_of(rule, "ObjectOwnership") for _, rule in children(document, "Rule")]
    found = rules[0].get("ObjectOwnership", "").strip() if len(rules) == 1 else ""
    if found not in OWNERSHIPS:
        raise MalformedXML
    return found


def parse_ownership_header(headers: Mapping[str, str]) -> str:
    """x-amz-object-ownership, empty if it is not there; ``InvalidArgument`` for what is none."""
    found = headers.get("x-amz-object-ownership")
    if found is not None and found not in OWNERSHIPS:
        raise invalid_argument(f"Invalid x-amz-object-ownership header: {found}", "x-amz-object-ownership", found)
    return found or ""


def render_ownership_controls(ownership: str) -> bytes:
    """OwnershipControls."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<OwnershipControls xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Rule><ObjectOwnership>{ownership}</ObjectOwnership></Rule></OwnershipControls>"
    ).encode()
