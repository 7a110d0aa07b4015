"""The ACL of a bucket: get and put. One snapshot or one commit each. What it allows is told in ``identity/authorize``."""

from __future__ import annotations

from gateway.identity.bucket_access import find_bucket_acl
from gateway.operations.acl_grantees import ShownAcl, show_acl
from gateway.operations.context import Context, find_bucket


def get_bucket_acl(context: Context, name: str) -> ShownAcl:
    """GetBucketAcl: where ACLs do not count, its owner's full control."""
    with context.store.view() as view:
        return show_acl(view, find_bucket_acl(view, find_bucket(context, view, name, "GetBucketAcl")))
