"""Object ownership, public access block, requester pays, expected owners: with two accounts and nobody."""

import pytest

from gateway.http.settings import HttpSettings
from gateway.identity.arns import account_id
from tests.compat.access_clients import allow, make_account, make_bucket, policy_of
from tests.gateway.http.server import Server
from tests.gateway.http.stores import opener

ALL = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True}
NONE = dict.fromkeys(ALL, False)


def ownership_of(account, bucket):
    return account.s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"][0]["ObjectOwnership"]


def set_ownership(account, bucket, ownership):
    account.s3.put_bucket_ownership_controls(
        Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": ownership}]}
    )


def block(account, bucket, **switches):
    account.s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={**NONE, **switches})


def test_new_buckets_are_as_awss(ann, refused):
    ann.s3.create_bucket(Bucket="brand-new")
    assert ownership_of(ann, "brand-new") == "BucketOwnerEnforced"
    found = ann.s3.get_public_access_block(Bucket="brand-new")["PublicAccessBlockConfiguration"]
    assert found == ALL
    policy = policy_of(allow("brand-new", "s3:GetObject"))
    refused("AccessDenied", 403, ann.s3.put_bucket_policy, Bucket="brand-new", Policy=policy)
    ann.s3.delete_bucket(Bucket="brand-new")


def test_ownership_controls(ann, bob, refused):
    bucket = make_bucket(ann)
    refused("AccessControlListNotSupported", 400, ann.s3.put_bucket_acl, Bucket=bucket, ACL="private")
    put = ann.s3.put_object
    refused("AccessControlListNotSupported", 400, put, Bucket=bucket, Key="k", Body=b"", ACL="public-read")
    put(Bucket=bucket, Key="k", Body=b"", ACL="bucket-owner-full-control")
    put(Bucket=bucket, Key="k", Body=b"", GrantFullControl=f'id="{ann.id}"')
    refused("AccessControlListNotSupported", 400, ann.s3.put_object_acl, Bucket=bucket, Key="k", ACL="private")
    set_ownership(ann, bucket, "ObjectWriter")
    ann.s3.put_bucket_acl(Bucket=bucket, GrantRead=f'id="{bob.id}"', GrantFullControl=f'id="{ann.id}"')
    with pytest.raises(ann.s3.exceptions.ClientError, match="InvalidBucketAclWithObjectOwnership"):
        set_ownership(ann, bucket, "BucketOwnerEnforced")
    ann.s3.put_bucket_acl(Bucket=bucket, ACL="private")
    set_ownership(ann, bucket, "BucketOwnerEnforced")
    ann.s3.delete_bucket_ownership_controls(Bucket=bucket)
    refused("OwnershipControlsNotFoundError", 404, ann.s3.get_bucket_ownership_controls, Bucket=bucket)
    ann.s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    refused("AccessDenied", 403, bob.s3.get_bucket_ownership_controls, Bucket=bucket)
    refused("InvalidArgument", 400, ann.s3.create_bucket, Bucket="x-y-z", ObjectOwnership="Everybody")


def test_enforced_ownership_is_the_bucket_owners(ann, bob):
    bucket = make_bucket(ann)
    ann.s3.put_bucket_policy(Bucket=bucket, Policy=policy_of(allow(bucket, "s3:PutObject", {"AWS": bob.id})))
    bob.s3.put_object(Bucket=bucket, Key="k", Body=b"bob's words")
    assert ann.s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"bob's words"
    assert ann.s3.list_objects(Bucket=bucket)["Contents"][0]["Owner"]["ID"] == ann.id
    assert ann.s3.get_object_acl(Bucket=bucket, Key="k")["Owner"]["ID"] == ann.id
    set_ownership(ann, bucket, "ObjectWriter")  # and remains so
    assert ann.s3.get_object_acl(Bucket=bucket, Key="k")["Owner"]["ID"] == ann.id
    assert ann.s3.list_objects(Bucket=bucket)["Contents"][0]["Owner"]["ID"] == ann.id


def test_objects_become_the_bucket_owners_when_acls_are_switched_off(ann, bob, refused):
    bucket = make_bucket(ann, "ObjectWriter")
    ann.s3.put_bucket_acl(Bucket=bucket, GrantWrite=f'id="{bob.id}"')
    bob.s3.put_object(Bucket=bucket, Key="k", Body=b"bob's")
    refused("AccessDenied", 403, ann.s3.get_object, Bucket=bucket, Key="k")
    ann.s3.put_bucket_acl(Bucket=bucket, ACL="private")
    set_ownership(ann, bucket, "BucketOwnerEnforced")
    assert ann.s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"bob's"
    assert ann.s3.list_objects(Bucket=bucket)["Contents"][0]["Owner"]["ID"] == ann.id
    refused("AccessDenied", 403, bob.s3.get_object, Bucket=bucket, Key="k")


def test_preferred_ownership_is_handed_over(ann, bob, refused):
    bucket = make_bucket(ann, "BucketOwnerPreferred")
    ann.s3.put_bucket_acl(Bucket=bucket, GrantWrite=f'id="{bob.id}"')
    bob.s3.put_object(Bucket=bucket, Key="kept", Body=b"")
    bob.s3.put_object(Bucket=bucket, Key="given", Body=b"", ACL="bucket-owner-full-control")
    owners = {row["Key"]: row["Owner"]["ID"] for row in ann.s3.list_objects(Bucket=bucket)["Contents"]}
    assert owners == {"kept": bob.id, "given": ann.id}
    refused("AccessDenied", 403, bob.s3.get_object, Bucket=bucket, Key="given")


def test_blocking_public_acls(ann, nobody, refused):
    bucket = make_bucket(ann, "ObjectWriter")
    ann.s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="public-read")
    ann.s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    block(ann, bucket, BlockPublicAcls=True)
    nobody.get_object(Bucket=bucket, Key="k")["Body"].read()  # what is public stays
    put, group = ann.s3.put_object, 'uri="http://acs.amazonaws.com/groups/global/AuthenticatedUsers"'
    refused("AccessDenied", 403, put, Bucket=bucket, Key="k2", Body=b"", ACL="public-read")
    refused("AccessDenied", 403, put, Bucket=bucket, Key="k2", Body=b"", GrantRead=group)
    refused("AccessDenied", 403, ann.s3.put_object_acl, Bucket=bucket, Key="k", ACL="authenticated-read")
    refused("AccessDenied", 403, ann.s3.put_bucket_acl, Bucket=bucket, ACL="public-read-write")
    put(Bucket=bucket, Key="k2", Body=b"", ACL="private")
    block(ann, bucket, IgnorePublicAcls=True)
    refused("AccessDenied", 403, nobody.get_object, Bucket=bucket, Key="k")
    refused("AccessDenied", 403, nobody.list_objects_v2, Bucket=bucket)
    assert len(ann.s3.get_object_acl(Bucket=bucket, Key="k")["Grants"]) == 2
    ann.s3.delete_public_access_block(Bucket=bucket)
    nobody.list_objects_v2(Bucket=bucket)
    refused("NoSuchPublicAccessBlockConfiguration", 404, ann.s3.get_public_access_block, Bucket=bucket)


def test_blocking_public_policies(ann, bob, nobody, refused):
    bucket = make_bucket(ann)
    ann.s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    public, private = allow(bucket, "s3:GetObject"), allow(bucket, "s3:GetObject", {"AWS": bob.id})
    block(ann, bucket, BlockPublicPolicy=True)
    refused("AccessDenied", 403, ann.s3.put_bucket_policy, Bucket=bucket, Policy=policy_of(public))
    ann.s3.put_bucket_policy(Bucket=bucket, Policy=policy_of(private))
    bob.s3.get_object(Bucket=bucket, Key="k")["Body"].read()
    block(ann, bucket)
    ann.s3.put_bucket_policy(Bucket=bucket, Policy=policy_of(public, {**private, "Sid": "Bob"}))
    nobody.get_object(Bucket=bucket, Key="k")["Body"].read()
    block(ann, bucket, RestrictPublicBuckets=True)
    for who in (nobody, bob.s3):
        refused("AccessDenied", 403, who.get_object, Bucket=bucket, Key="k")
    ann.s3.get_object(Bucket=bucket, Key="k")["Body"].read()


def test_requester_pays(ann, bob, nobody, refused):
    bucket = make_bucket(ann)
    ann.s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    statements = allow(bucket, "s3:*"), {**allow(bucket, "s3:ListBucket", path=""), "Sid": "List"}
    ann.s3.put_bucket_policy(Bucket=bucket, Policy=policy_of(*statements))
    assert ann.s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    ann.s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "Requester"})
    assert ann.s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "Requester"
    for who in (bob.s3, nobody):
        refused("AccessDenied", 403, who.get_object, Bucket=bucket, Key="k")
        refused("AccessDenied", 403, who.list_objects_v2, Bucket=bucket)
    refused("AccessDenied", 403, nobody.get_object, Bucket=bucket, Key="k", RequestPayer="requester")
    for call, arguments in (
        (bob.s3.get_object, {"Key": "k"}),
        (bob.s3.head_object, {"Key": "k"}),
        (bob.s3.put_object, {"Key": "new", "Body": b""}),
        (bob.s3.list_objects_v2, {}),
    ):
        response = call(Bucket=bucket, RequestPayer="requester", **arguments)
        assert response["RequestCharged"] == "requester"
    assert "RequestCharged" not in ann.s3.head_object(Bucket=bucket, Key="k")
    put = ann.s3.put_bucket_request_payment
    refused("MalformedXML", 400, put, Bucket=bucket, RequestPaymentConfiguration={"Payer": "Me"})


def test_the_expected_owner(ann, bob, refused):
    bucket = make_bucket(ann)
    for expected in (ann.id, account_id(ann.id)):
        ann.s3.list_objects_v2(Bucket=bucket, ExpectedBucketOwner=expected)
    refused("AccessDenied", 403, ann.s3.list_objects_v2, Bucket=bucket, ExpectedBucketOwner=bob.id)
    ann.s3.put_object(Bucket=bucket, Key="k", Body=b"")
    copy = ann.s3.copy_object
    arguments = {"Bucket": bucket, "Key": "copy", "CopySource": f"{bucket}/k"}
    refused("AccessDenied", 403, copy, **arguments, ExpectedSourceBucketOwner=bob.id)
    copy(**arguments, ExpectedSourceBucketOwner=ann.id, ExpectedBucketOwner=ann.id)


def test_sites_that_begin_as_older_buckets_did(tmp_path, refused):
    settings = HttpSettings(object_ownership_default="ObjectWriter")
    with Server(opener("memory", tmp_path), settings) as server:
        ann = make_account(server, "ann")
        ann.s3.create_bucket(Bucket="older")
        refused("OwnershipControlsNotFoundError", 404, ann.s3.get_bucket_ownership_controls, Bucket="older")
        ann.s3.put_bucket_acl(Bucket="older", GrantRead=f"id={ann.id}")
        ann.s3.create_bucket(Bucket="said", ObjectOwnership="ObjectWriter")
        assert ownership_of(ann, "said") == "ObjectWriter"
        ann.s3.close()
