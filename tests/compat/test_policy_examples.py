"""Policies as the User Guide gives them, and who gets in by them.

Source: "Bucket policy examples", "Policy examples for ACLs", "Bucket policy examples using condition keys".
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.compat.access_clients import Account, allow, make_bucket, policy_of


def _put_policy(owner: Account, bucket: str, *statements: dict[str, Any]) -> None:
    owner.s3.put_bucket_policy(Bucket=bucket, Policy=policy_of(*statements))


@pytest.mark.parametrize("ownership", ["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"])
def test_uploads_that_give_the_bucket_owner_full_control(
    ann: Account, bob: Account, refused: Any, ownership: str
) -> None:
    """s3:PutObject is all that the examples give; s3:PutObjectAcl is for ACLs that give to others."""
    bucket = make_bucket(ann, ownership)
    owner = ann.s3.list_buckets()["Owner"]["ID"]
    put = {"Bucket": bucket, "Key": "k", "Body": b""}
    canned = {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}}
    _put_policy(ann, bucket, allow(bucket, "s3:PutObject", {"AWS": bob.id}, Condition=canned))
    refused("AccessDenied", 403, bob.s3.put_object, **put)
    refused("AccessDenied", 403, bob.s3.put_object, **put, ACL="bucket-owner-read")
    bob.s3.put_object(**put, ACL="bucket-owner-full-control")
    assert ann.s3.get_object_acl(Bucket=bucket, Key="k")["Grants"]
    grants = {"StringEquals": {"s3:x-amz-grant-full-control": f"id={owner}"}}
    _put_policy(ann, bucket, allow(bucket, "s3:PutObject", {"AWS": bob.id}, Condition=grants))
    refused("AccessDenied", 403, bob.s3.put_object, **put)
    bob.s3.put_object(**put, GrantFullControl=f"id={owner}")
    everybody = "uri=http://acs.amazonaws.com/groups/global/AllUsers"
    other = {**put, "Key": "other"}  # of k, bob is the owner where ACLs count
    refused("AccessDenied", 403, bob.s3.put_object, **other, GrantFullControl=f"id={owner}", GrantRead=everybody)
    deny = {**allow(bucket, "s3:PutObjectAcl", {"AWS": bob.id}), "Effect": "Deny"}
    _put_policy(ann, bucket, allow(bucket, "s3:PutObject", {"AWS": bob.id}), deny)
    refused("AccessDenied", 403, bob.s3.put_object, **put, ACL="bucket-owner-full-control")


def test_an_acl_that_gives_to_others_needs_its_own_permission(ann: Account, bob: Account, refused: Any) -> None:
    bucket = make_bucket(ann, "ObjectWriter")
    put = {"Bucket": bucket, "Key": "k", "Body": b""}
    _put_policy(ann, bucket, allow(bucket, "s3:PutObject", {"AWS": bob.id}))
    for acl in ("public-read", "public-read-write", "authenticated-read", "aws-exec-read"):
        refused("AccessDenied", 403, bob.s3.put_object, **put, ACL=acl)
    _put_policy(ann, bucket, allow(bucket, ["s3:PutObject", "s3:PutObjectAcl"], {"AWS": bob.id}))
    bob.s3.put_object(**put, ACL="public-read")
