"""Each setting of a public access block alone, against every way to make or use public access: the User Guide's table.

Source: "Blocking public access to your Amazon S3 storage", "Block public access settings".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.compat.access_clients import Account, allow, make_bucket, policy_of
from tests.gateway.http.server import Server
from tests.gateway.http.stores import opener

SETTINGS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
EVERYBODY = "http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(opener("memory", tmp_path_factory.mktemp("data"))) as running:
        yield running


def _passes(call: Any, **arguments: Any) -> bool:
    """Whether a call is not denied."""
    try:
        answer = call(**arguments)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 403:
            raise
        return False
    if "Body" in answer:
        answer["Body"].close()
    return True


def _acl(owner: str, uri: str) -> dict[str, Any]:
    grants = [{"Grantee": {"Type": "Group", "URI": uri}, "Permission": "READ"}]
    return {"Owner": {"ID": owner}, "Grants": grants}


def _block(owner: Account, bucket: str, setting: str) -> None:
    flags = {name: name == setting for name in SETTINGS}
    owner.s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=flags)


@pytest.mark.parametrize("setting", SETTINGS)
def test_making_something_public(ann: Account, setting: str) -> None:
    bucket = make_bucket(ann, "ObjectWriter")
    name = {"Bucket": bucket, "Key": "k"}
    ann.s3.put_object(**name, Body=b"")
    owner = ann.s3.list_buckets()["Owner"]["ID"]
    _block(ann, bucket, setting)
    acls = setting != "BlockPublicAcls"
    for acl in ("public-read", "authenticated-read", "public-read-write"):
        assert _passes(ann.s3.put_object, **name, Body=b"", ACL=acl) is acls
        assert _passes(ann.s3.put_object_acl, **name, ACL=acl) is acls
        assert _passes(ann.s3.put_bucket_acl, Bucket=bucket, ACL=acl) is acls
        assert _passes(ann.s3.copy_object, Bucket=bucket, Key="c", CopySource=f"{bucket}/k", ACL=acl) is acls
        assert _passes(ann.s3.create_multipart_upload, **name, ACL=acl) is acls
    for uri in (EVERYBODY, AUTHENTICATED):
        assert _passes(ann.s3.put_object_acl, **name, AccessControlPolicy=_acl(owner, uri)) is acls
        assert _passes(ann.s3.put_bucket_acl, Bucket=bucket, AccessControlPolicy=_acl(owner, uri)) is acls
        assert _passes(ann.s3.put_object, **name, Body=b"", GrantRead=f'uri="{uri}"') is acls
        assert _passes(ann.s3.put_object_acl, **name, GrantFullControl=f'uri="{uri}"') is acls
    assert _passes(ann.s3.put_object, **name, Body=b"", ACL="bucket-owner-full-control")
    public, fixed = policy_of(allow(bucket, "s3:GetObject")), policy_of(allow(bucket, "s3:GetObject", {"AWS": ann.id}))
    assert _passes(ann.s3.put_bucket_policy, Bucket=bucket, Policy=public) is (setting != "BlockPublicPolicy")
    assert _passes(ann.s3.put_bucket_policy, Bucket=bucket, Policy=fixed)


@pytest.mark.parametrize("setting", SETTINGS)
def test_using_what_is_public_already(ann: Account, bob: Account, nobody: Any, setting: str) -> None:
    bucket = make_bucket(ann, "ObjectWriter")
    ann.s3.put_object(Bucket=bucket, Key="by/acl", Body=b"", ACL="public-read")
    ann.s3.put_object(Bucket=bucket, Key="by/policy", Body=b"")
    ann.s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    ann.s3.put_bucket_policy(Bucket=bucket, Policy=policy_of(allow(bucket, "s3:GetObject", path="/by/policy")))
    _block(ann, bucket, setting)
    by_acl = setting not in ("IgnorePublicAcls",)
    by_policy = setting != "RestrictPublicBuckets"
    for s3 in (bob.s3, nobody):
        assert _passes(s3.get_object, Bucket=bucket, Key="by/policy") is by_policy
        if setting != "RestrictPublicBuckets":
            assert _passes(s3.get_object, Bucket=bucket, Key="by/acl") is by_acl
            assert _passes(s3.list_objects_v2, Bucket=bucket) is by_acl
    for key in ("by/acl", "by/policy"):
        assert _passes(ann.s3.get_object, Bucket=bucket, Key=key)
    # Nothing was changed: without the setting all is public again.
    ann.s3.delete_public_access_block(Bucket=bucket)
    for key in ("by/acl", "by/policy"):
        assert _passes(nobody.get_object, Bucket=bucket, Key=key)


def test_a_new_bucket_with_a_public_acl_is_refused_where_acls_are_off(ann: Account, refused: Any) -> None:
    code = "InvalidBucketAclWithObjectOwnership"
    refused(code, 400, ann.s3.create_bucket, Bucket="never-made", ACL="public-read")
    refused("NoSuchBucket", 404, ann.s3.list_objects_v2, Bucket="never-made")


@pytest.mark.parametrize(
    ("condition", "public"),
    [
        # "The meaning of public": fixed values of these keys are not public, others are.
        (None, True),
        ({"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}, False),
        ({"IpAddress": {"aws:SourceIp": "0.0.0.0/1"}}, True),
        ({"StringEquals": {"aws:SourceVpc": "vpc-91237329"}}, False),
        ({"StringEquals": {"aws:SourceVpce": "vpce-1a2b3c4d"}}, False),
        ({"StringLike": {"aws:SourceVpc": "vpc-*"}}, True),
        ({"StringEquals": {"aws:SourceOwner": "111122223333"}}, False),
        ({"StringEquals": {"aws:SourceAccount": "111122223333"}}, False),
        ({"ArnLike": {"aws:SourceArn": "arn:aws:s3:::another"}}, False),
        ({"StringEquals": {"aws:PrincipalOrgID": "o-aa111bb222"}}, False),
        ({"StringEquals": {"aws:userid": "AIDAEXAMPLEID"}}, False),
        ({"StringLike": {"aws:userid": "*"}}, True),
        ({"StringLike": {"aws:Referer": "http://www.example.com/*"}}, True),
        ({"StringEquals": {"s3:x-amz-server-side-encryption": "AES256"}}, True),
        ({"Bool": {"aws:SecureTransport": "true"}}, True),
    ],
)
def test_the_meaning_of_public(ann: Account, condition: dict[str, Any] | None, public: bool) -> None:
    bucket = make_bucket(ann)
    more = {} if condition is None else {"Condition": condition}
    ann.s3.put_bucket_policy(Bucket=bucket, Policy=policy_of(allow(bucket, "s3:PutObject", **more)))
    assert ann.s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is public
