"""S3's actions as policies name them: which an operation needs, which go with a version, on what they can be granted.

Pure data and lookups over ``operations_table``. Source: Service Authorization Reference, "Actions, resources, and
condition keys for Amazon S3", and "Required permissions for Amazon S3 API operations" in the User Guide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.s3.operations_table import ROWS, Scope

VERSIONED: Final = {
    "s3:GetObject": "s3:GetObjectVersion",
    "s3:GetObjectAcl": "s3:GetObjectVersionAcl",
    "s3:GetObjectAttributes": "s3:GetObjectVersionAttributes",
    "s3:GetObjectTagging": "s3:GetObjectVersionTagging",
    "s3:GetObjectTorrent": "s3:GetObjectVersionTorrent",
    "s3:PutObjectAcl": "s3:PutObjectVersionAcl",
    "s3:PutObjectTagging": "s3:PutObjectVersionTagging",
    "s3:DeleteObject": "s3:DeleteObjectVersion",
    "s3:DeleteObjectTagging": "s3:DeleteObjectVersionTagging",
}
"""The action that is needed instead where a version id is named."""

_MORE_OBJECT_ACTIONS: Final = (
    *("s3:BypassGovernanceRetention", "s3:ObjectOwnerOverrideToBucketOwner", "s3:ReplicateDelete"),
    *("s3:ReplicateObject", "s3:ReplicateTags", "s3:GetObjectVersionForReplication", "s3:ListMultipartUploadParts"),
    *("s3:InitiateReplication", "s3:AbortMultipartUpload", "s3:PutObjectFanout"),
)
_OBJECT_ACTIONS: Final = frozenset(
    {row.action for row in ROWS.values() if row.scope is Scope.OBJECT and row.action.startswith("s3:")}
    | {row.action for name, row in ROWS.items() if name in ("PostObject", "DeleteObjects")}
    | set(VERSIONED.values())
    | set(_MORE_OBJECT_ACTIONS)
)
_MORE_BUCKET_ACTIONS: Final = ("s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads")
_BUCKET_ACTIONS: Final = frozenset(
    {row.action for row in ROWS.values() if row.scope is Scope.BUCKET and row.action.startswith("s3:")}
    - _OBJECT_ACTIONS
    | set(_MORE_BUCKET_ACTIONS)
)
ON_OBJECTS: Final = frozenset(action.lower() for action in _OBJECT_ACTIONS)
"""Actions on objects, in lower case, as statements have them."""
ON_BUCKETS: Final = frozenset(action.lower() for action in _BUCKET_ACTIONS)
"""Actions on buckets, in lower case."""

UNLOCKABLE: Final = frozenset({"s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"})
"""What an account's own user may do in its bucket whatever the policy denies (PutBucketPolicy, API reference)."""
ON_OWN_UPLOAD: Final = frozenset({"s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"})
"""What whoever began an upload may do to it (User Guide, "Multipart upload API and permissions")."""
OWN_ACCOUNT_ONLY: Final = UNLOCKABLE
"""What other accounts are refused with MethodNotAllowed even if the policy allows it to them."""
_ALSO: Final = {"GetObjectAttributes": ("s3:GetObject",)}
_WRITES: Final = frozenset({"PutObject", "CopyObject", "PostObject", "CreateMultipartUpload"})
CREATING: Final = frozenset({"PutObject", "CopyObject", "PostObject", "CompleteMultipartUpload"})
"""Operations that make an object: s3:ObjectCreationOperation. Beginning an upload and its parts do not."""
_ASKED_BY: Final = {
    "x-amz-acl": "s3:PutObjectAcl",
    "x-amz-tagging": "s3:PutObjectTagging",
    "x-amz-object-lock-mode": "s3:PutObjectRetention",
    "x-amz-object-lock-retain-until-date": "s3:PutObjectRetention",
    "x-amz-object-lock-legal-hold": "s3:PutObjectLegalHold",
}
GRANT_PREFIX: Final = "x-amz-grant-"


def actions_of(operation: str, *, versioned: bool) -> tuple[str, ...]:
    """The actions an operation needs on what it addresses. ``operation``: S3's name, or an action without ``s3:``."""
    row = ROWS.get(operation)
    actions = (row.action if row is not None else f"s3:{operation}", *_ALSO.get(operation, ()))
    return tuple([VERSIONED.get(action, action) for action in actions]) if versioned else actions


def further_actions(operation: str, headers: Mapping[str, str]) -> tuple[str, ...]:
    """What a write's headers ask for besides writing: an ACL, tags, a lock. Each needs its own permission."""
    if operation not in _WRITES:
        return ()
    found = {_ASKED_BY[name] for name in headers if name in _ASKED_BY}
    if any(name.startswith(GRANT_PREFIX) for name in headers):
        found.add("s3:PutObjectAcl")
    return tuple(sorted(found))
