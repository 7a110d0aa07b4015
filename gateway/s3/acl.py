"""Access control lists as values: grants, the canned ones, how they are stored, what each permission allows. Pure.

Who a grant means is an account by its canonical id, or one of S3's groups by its URI. ACLs count only where a bucket's
object ownership is not ``BucketOwnerEnforced``. XML is ``acl_xml``, headers are ``acl_headers``, evaluation is
``gateway/identity/authorize``.

ON DISK: an ACL (bucket document ``acl``, attribute ``acl`` of a version) is JSON, UTF-8:
``{"owner": id, "grants": [[kind, grantee, permission], ...]}``; kind ``CanonicalUser`` or ``Group``.

Source: Amazon S3 User Guide, "Access control list (ACL) overview".
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Final, NamedTuple

from gateway.s3.stored import stored

CANONICAL_USER: Final = "CanonicalUser"
GROUP: Final = "Group"
ALL_USERS: Final = "http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED_USERS: Final = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
LOG_DELIVERY: Final = "http://acs.amazonaws.com/groups/s3/LogDelivery"
GROUPS: Final = frozenset({ALL_USERS, AUTHENTICATED_USERS, LOG_DELIVERY})
PUBLIC_GROUPS: Final = frozenset({ALL_USERS, AUTHENTICATED_USERS})

FULL_CONTROL: Final = "FULL_CONTROL"
READ: Final = "READ"
WRITE: Final = "WRITE"
READ_ACP: Final = "READ_ACP"
WRITE_ACP: Final = "WRITE_ACP"
PERMISSIONS: Final = frozenset({FULL_CONTROL, READ, WRITE, READ_ACP, WRITE_ACP})
GRANTS_MAX: Final = 100
EC2_ID: Final = "6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c"
"""The canonical id that AWS documents for EC2's reading of image bundles (``aws-exec-read``)."""

BUCKET_ACTIONS: Final = {
    "s3:ListBucket": READ,
    "s3:ListBucketVersions": READ,
    "s3:ListBucketMultipartUploads": READ,
    "s3:PutObject": WRITE,
    "s3:DeleteObject": WRITE,
    "s3:AbortMultipartUpload": WRITE,
    "s3:ListMultipartUploadParts": WRITE,
    "s3:GetBucketAcl": READ_ACP,
    "s3:PutBucketAcl": WRITE_ACP,
}
"""Which permission in a bucket's ACL allows an action. Aborting and listing parts go with being able to write."""
OBJECT_ACTIONS: Final = {
    "s3:GetObject": READ,
    "s3:GetObjectVersion": READ,
    "s3:GetObjectAcl": READ_ACP,
    "s3:GetObjectVersionAcl": READ_ACP,
    "s3:PutObjectAcl": WRITE_ACP,
    "s3:PutObjectVersionAcl": WRITE_ACP,
}
"""Which permission in an object's ACL allows an action."""


class Grant(NamedTuple):
    """One permission for one grantee: a canonical id or a group's URI."""

    kind: str
    grantee: str
    permission: str


class Acl(NamedTuple):
    """An ACL with the canonical id of whose bucket or object it is."""

    owner: str
    grants: tuple[Grant, ...]


_CANNED: Final[dict[str, tuple[Grant, ...]]] = {
    "private": (),
    "public-read": (Grant(GROUP, ALL_USERS, READ),),
    "public-read-write": (Grant(GROUP, ALL_USERS, READ), Grant(GROUP, ALL_USERS, WRITE)),
    "authenticated-read": (Grant(GROUP, AUTHENTICATED_USERS, READ),),
    "aws-exec-read": (Grant(CANONICAL_USER, EC2_ID, READ),),
    "log-delivery-write": (Grant(GROUP, LOG_DELIVERY, WRITE), Grant(GROUP, LOG_DELIVERY, READ_ACP)),
    "bucket-owner-read": (),
    "bucket-owner-full-control": (),
}
_FOR_BUCKET_OWNER: Final = {"bucket-owner-read": READ, "bucket-owner-full-control": FULL_CONTROL}
CANNED: Final = frozenset(_CANNED)


def default_acl(owner: str) -> Acl:
    """What everything has that was given no ACL: full control for its owner."""
    return Acl(owner, (Grant(CANONICAL_USER, owner, FULL_CONTROL),))


def canned_acl(name: str, owner: str, bucket_owner: str) -> Acl:
    """A canned ACL, for an object of ``owner`` in a bucket of ``bucket_owner``, or for a bucket (one and the same)."""
    grants = (Grant(CANONICAL_USER, owner, FULL_CONTROL), *_CANNED[name])
    if name in _FOR_BUCKET_OWNER and owner != bucket_owner:
        grants += (Grant(CANONICAL_USER, bucket_owner, _FOR_BUCKET_OWNER[name]),)
    return Acl(owner, grants)


def encode_acl(acl: Acl) -> bytes:
    """Bytes of an ACL as it is stored."""
    return json.dumps({"owner": acl.owner, "grants": acl.grants}, separators=(",", ":")).encode()


@lru_cache(maxsize=1024)
@stored
def decode_acl(body: bytes) -> Acl:
    """The ACL in ``body``."""
    found = json.loads(body)
    return Acl(found["owner"], tuple([Grant(*grant) for grant in found["grants"]]))


def is_public_acl(acl: Acl) -> bool:
    """Whether anyone, or anyone with an account, is granted anything (User Guide, "The meaning of public")."""
    return any(grant.grantee in PUBLIC_GROUPS for grant in acl.grants)


def grants_permission(acl: Acl, permission: str, canonical_id: str, *, ignore_public: bool = False) -> bool:
    """Whether an ACL gives ``permission`` to an account; ``canonical_id`` empty: to nobody who signed.

    ``ignore_public``: grants to groups count for nothing (IgnorePublicAcls).
    """
    for grant in acl.grants:
        if grant.permission not in (permission, FULL_CONTROL):
            continue
        if grant.kind == CANONICAL_USER:
            if canonical_id and grant.grantee == canonical_id:
                return True
        elif not ignore_public and (
            grant.grantee == ALL_USERS or (canonical_id and grant.grantee == AUTHENTICATED_USERS)
        ):
            return True
    return False
