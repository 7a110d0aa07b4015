"""The settings of a bucket that decide who may what in it: read from its documents here, written elsewhere.

    policy                the JSON that was put; policy-ids: whom it named (``principal_ids``)
    ownership             an object ownership; b"" after it was deleted (ACLs count, writers own). None: a bucket made
                          before there was a choice: BucketOwnerEnforced
    acl                   ``gateway.s3.acl``; None: the default one
    public-access-block   ``gateway.s3.public_access``; None: nothing is blocked
    request-payment       b"Requester" or b"BucketOwner"; None: the owner
    abac                  b"Enabled": conditions may ask for the bucket's tags; None: they see none, as with AWS
    tagging               ``gateway.s3.tagging``

Decoders cache by the document's bytes, and the view caches those, so that each costs a dictionary lookup or two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.identity.principal_ids import bind_policy
from gateway.s3.acl import Acl, decode_acl, default_acl
from gateway.s3.errors import MalformedPolicy
from gateway.s3.ownership import ENFORCED, OBJECT_WRITER
from gateway.s3.policy_document import Policy, parse_policy
from gateway.s3.public_access import NOTHING_BLOCKED, PublicAccessBlock, decode_public_access_block
from gateway.s3.tagging import decode_tags
from gateway.store.ports import Bucket, ReadView

POLICY: Final = "policy"
POLICY_IDS: Final = "policy-ids"
PUBLIC_ACCESS_BLOCK: Final = "public-access-block"
OWNERSHIP: Final = "ownership"
ACL: Final = "acl"
REQUEST_PAYMENT: Final = "request-payment"
REQUESTER: Final = b"Requester"
ABAC: Final = "abac"
ABAC_ENABLED: Final = b"Enabled"
TAGGING: Final = "tagging"
_DENY_ALL: Final = parse_policy(b'{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"}}')
ENFORCED_DOCUMENTS: Final = frozenset({None, ENFORCED.encode()})
"""What the ownership document is where ACLs do not count."""


def find_policy(view: ReadView, bucket: Bucket) -> Policy | None:
    """The bucket's policy, parsed. One that this site cannot read (it came from a newer one) denies everything."""
    body = view.document(bucket.uid, POLICY)
    if body is None:
        return None
    try:
        return bind_policy(parse_policy, body, view.document(bucket.uid, POLICY_IDS))
    except MalformedPolicy:
        return _DENY_ALL


def find_bucket_tags(view: ReadView, bucket: Bucket) -> Mapping[str, str]:
    """The bucket's tags."""
    body = view.document(bucket.uid, TAGGING)
    return {} if body is None else decode_tags(body)


def has_abac(view: ReadView, bucket: Bucket) -> bool:
    """Whether conditions may ask for the bucket's tags (PutBucketAbac)."""
    return view.document(bucket.uid, ABAC) == ABAC_ENABLED


def find_ownership(view: ReadView, bucket: Bucket) -> str:
    """The object ownership in force."""
    body = view.document(bucket.uid, OWNERSHIP)
    return ENFORCED if body is None else body.decode() or OBJECT_WRITER


def has_acls(view: ReadView, bucket: Bucket) -> bool:
    """Whether ACLs count in this bucket, and objects may be owned by others than its owner."""
    return view.document(bucket.uid, OWNERSHIP) not in ENFORCED_DOCUMENTS


def find_bucket_acl(view: ReadView, bucket: Bucket) -> Acl:
    """The bucket's ACL; where ACLs do not count, the default one whatever was set before."""
    body = view.document(bucket.uid, ACL) if has_acls(view, bucket) else None
    return decode_acl(body) if body else default_acl(bucket.record.owner)


def find_public_access_block(view: ReadView, bucket: Bucket) -> PublicAccessBlock:
    """What is blocked of public access."""
    body = view.document(bucket.uid, PUBLIC_ACCESS_BLOCK)
    return NOTHING_BLOCKED if body is None else decode_public_access_block(body)


def owner_of_object(view: ReadView, bucket: Bucket, owner: str) -> str:
    """Who owns an object whose record says ``owner``: the bucket's owner, unless ACLs count."""
    return (owner or bucket.record.owner) if has_acls(view, bucket) else bucket.record.owner
