"""Bucket policies end to end: two accounts and nobody. The language itself: tests/gateway/identity."""

import datetime
import json
import urllib.error
import urllib.request

import pytest

from gateway.identity.arns import account_id
from tests.compat.access_clients import allow, make_bucket, policy_of


@pytest.fixture
def shared(ann):
    """A bucket of ann's with an object; public access is not blocked."""
    bucket = make_bucket(ann)
    ann.s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    return bucket


def put(account, bucket, *statements):
    account.s3.put_bucket_policy(Bucket=bucket, Policy=policy_of(*statements))


def deny(bucket, action, principal="*", path="/*", **more):
    return {**allow(bucket, action, principal, path, **more), "Effect": "Deny"}


def test_put_get_delete(ann, bob, shared, refused):
    refused("NoSuchBucketPolicy", 404, ann.s3.get_bucket_policy, Bucket=shared)
    refused("NoSuchBucketPolicy", 404, ann.s3.get_bucket_policy_status, Bucket=shared)
    text = (
        '  {"Statement":[ '
        + json.dumps(allow(shared, "s3:GetObject", {"AWS": bob.id}))
        + ' ], "Version" : "2012-10-17"}'
    )
    ann.s3.put_bucket_policy(Bucket=shared, Policy=text)
    assert ann.s3.get_bucket_policy(Bucket=shared)["Policy"] == text
    assert ann.s3.get_bucket_policy_status(Bucket=shared)["PolicyStatus"] == {"IsPublic": False}
    put(ann, shared, allow(shared, "s3:GetObject"))
    assert ann.s3.get_bucket_policy_status(Bucket=shared)["PolicyStatus"] == {"IsPublic": True}
    for call in (bob.s3.get_bucket_policy, bob.s3.get_bucket_policy_status, bob.s3.delete_bucket_policy):
        refused("AccessDenied", 403, call, Bucket=shared)
    response = ann.s3.delete_bucket_policy(Bucket=shared)
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 204
    ann.s3.delete_bucket_policy(Bucket=shared)


@pytest.mark.parametrize("form", ["id", "account", "root", "root by id", "user", "canonical", "list"])
def test_principals(ann, bob, shared, nobody, refused, server, form):
    async def name_of():
        with server.store.view() as view:
            return view.user(bob.id).name

    account = account_id(bob.id)
    principal = {
        "id": {"AWS": bob.id},
        "account": {"AWS": account},
        "root": {"AWS": f"arn:aws:iam::{account}:root"},
        "root by id": {"AWS": [f"arn:aws:iam::{bob.id}:root"]},
        "user": {"AWS": f"arn:aws:iam::{account}:user/{server.call(name_of)}"},
        "canonical": {"CanonicalUser": bob.id},
        "list": {"AWS": [ann.id, bob.id]},
    }[form]
    put(ann, shared, allow(shared, "s3:GetObject", principal))
    assert bob.s3.get_object(Bucket=shared, Key="k")["Body"].read() == b"x"
    refused("AccessDenied", 403, bob.s3.put_object, Bucket=shared, Key="k", Body=b"")
    refused("AccessDenied", 403, nobody.get_object, Bucket=shared, Key="k")


def test_nobody_may_what_everyone_may(ann, nobody, shared, refused):
    put(ann, shared, allow(shared, ["s3:GetObject", "s3:PutObject"]))
    assert nobody.get_object(Bucket=shared, Key="k")["Body"].read() == b"x"
    nobody.put_object(Bucket=shared, Key="new", Body=b"by nobody")
    assert ann.s3.get_object(Bucket=shared, Key="new")["Body"].read() == b"by nobody"
    refused("AccessDenied", 403, nobody.delete_object, Bucket=shared, Key="k")
    refused("AccessDenied", 403, nobody.list_objects_v2, Bucket=shared)


def test_an_explicit_deny_wins(ann, bob, shared, refused):
    put(ann, shared, allow(shared, "s3:*"), deny(shared, "s3:GetObject", {"AWS": bob.id}))
    refused("AccessDenied", 403, bob.s3.get_object, Bucket=shared, Key="k")
    bob.s3.put_object(Bucket=shared, Key="by-bob", Body=b"")
    put(ann, shared, deny(shared, "s3:*"), {**deny(shared, "s3:*", path=""), "Sid": "bucket"})
    refused("AccessDenied", 403, ann.s3.get_object, Bucket=shared, Key="k")
    refused("AccessDenied", 403, ann.s3.list_objects_v2, Bucket=shared)
    ann.s3.get_bucket_policy(Bucket=shared)  # nobody is locked out for good
    ann.s3.delete_bucket_policy(Bucket=shared)
    ann.s3.get_object(Bucket=shared, Key="k")["Body"].read()


def test_other_accounts_cannot_have_the_policy(ann, bob, shared, refused):
    put(ann, shared, allow(shared, ["s3:GetBucketPolicy", "s3:PutBucketPolicy"], {"AWS": bob.id}, path=""))
    refused("MethodNotAllowed", 405, bob.s3.get_bucket_policy, Bucket=shared)
    policy = policy_of(allow(shared, "s3:GetObject"))
    refused("MethodNotAllowed", 405, bob.s3.put_bucket_policy, Bucket=shared, Policy=policy)
    refused("AccessDenied", 403, bob.s3.delete_bucket_policy, Bucket=shared)


def test_conditions_on_listings(ann, bob, shared, refused):
    condition = {"StringLike": {"s3:prefix": ["home/*"]}, "NumericLessThanEquals": {"s3:max-keys": "10"}}
    put(ann, shared, allow(shared, "s3:ListBucket", {"AWS": bob.id}, path="", Condition=condition))
    bob.s3.list_objects_v2(Bucket=shared, Prefix="home/bob/", MaxKeys=5)
    refused("AccessDenied", 403, bob.s3.list_objects_v2, Bucket=shared, Prefix="home/bob/", MaxKeys=11)
    refused("AccessDenied", 403, bob.s3.list_objects_v2, Bucket=shared, Prefix="home/bob/")
    refused("AccessDenied", 403, bob.s3.list_objects_v2, Bucket=shared, Prefix="other/", MaxKeys=5)
    refused("AccessDenied", 403, bob.s3.list_objects_v2, Bucket=shared)


def test_principals_that_are_named_but_not_here(ann, bob, shared, refused):
    number = account_id(ann.id)
    for here in (f"arn:aws:sts::{number}:federated-user/anybody", "arn:aws:iam::another-site:root"):
        put(ann, shared, allow(shared, "s3:GetObject", {"AWS": here}))
        assert not ann.s3.get_bucket_policy_status(Bucket=shared)["PolicyStatus"]["IsPublic"]
        refused("AccessDenied", 403, bob.s3.get_object, Bucket=shared, Key="k")
    for nowhere in ("arn:aws:iam::999999999999:root", "arn:aws:iam::another-site:user/x", "arn:aws:iam:::root"):
        text = policy_of(allow(shared, "s3:GetObject", {"AWS": nowhere}))
        refused("MalformedPolicy", 400, ann.s3.put_bucket_policy, Bucket=shared, Policy=text)


def test_parts_are_written_as_their_upload_was_begun(ann, bob, shared, refused):
    deny_others = [
        deny(shared, "s3:PutObject", Condition={"StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}}),
        deny(shared, "s3:PutObject", Condition={"Null": {"s3:RequestObjectTag/team": "true"}}),
    ]
    put(ann, shared, allow(shared, ["s3:PutObject", "s3:PutObjectTagging"], {"AWS": bob.id}), *deny_others)
    begin = bob.s3.create_multipart_upload
    refused("AccessDenied", 403, begin, Bucket=shared, Key="m")
    refused("AccessDenied", 403, begin, Bucket=shared, Key="m", ServerSideEncryption="aws:kms")
    upload = begin(Bucket=shared, Key="m", ServerSideEncryption="aws:kms", Tagging="team=blue")
    name = {"Bucket": shared, "Key": "m", "UploadId": upload["UploadId"]}
    etag = bob.s3.upload_part(**name, PartNumber=1, Body=b"x")["ETag"]
    bob.s3.complete_multipart_upload(**name, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    assert ann.s3.get_object_tagging(Bucket=shared, Key="m")["TagSet"] == [{"Key": "team", "Value": "blue"}]
    plain = ann.s3.create_bucket  # an upload that was begun before the policy said so is held to it
    plain(Bucket=f"{shared}-plain")
    name = {"Bucket": f"{shared}-plain", "Key": "m"}
    name["UploadId"] = ann.s3.create_multipart_upload(**name)["UploadId"]
    put(ann, f"{shared}-plain", deny(f"{shared}-plain", "s3:PutObject", Condition=deny_others[0]["Condition"]))
    refused("AccessDenied", 403, ann.s3.upload_part, **name, PartNumber=1, Body=b"x")


def test_variables(ann, bob, shared, refused):
    resource = f"arn:aws:s3:::{shared}/${{aws:userid}}/*"
    put(ann, shared, {**allow(shared, "s3:PutObject"), "Resource": resource})
    bob.s3.put_object(Bucket=shared, Key=f"{account_id(bob.id)}/k", Body=b"")
    refused("AccessDenied", 403, bob.s3.put_object, Bucket=shared, Key=f"{account_id(ann.id)}/k", Body=b"")


def test_conditions_on_the_request(ann, bob, shared, nobody, refused):
    put(
        ann,
        shared,
        allow(shared, "s3:GetObject", Condition={"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}),
        deny(shared, "s3:GetObject", Condition={"Bool": {"aws:SecureTransport": "true"}}),
        deny(shared, "s3:GetObject", Condition={"StringNotLike": {"aws:UserAgent": "*Boto*"}}),
    )
    nobody.get_object(Bucket=shared, Key="k")["Body"].read()
    for operator, values in (("IpAddress", "10.0.0.0/8"), ("NotIpAddress", "127.0.0.1/32")):
        put(ann, shared, allow(shared, "s3:GetObject", Condition={operator: {"aws:SourceIp": values}}))
        refused("AccessDenied", 403, nobody.get_object, Bucket=shared, Key="k")
    put(ann, shared, allow(shared, "s3:GetObject", Condition={"StringLike": {"aws:Referer": "https://shop.example/*"}}))
    refused("AccessDenied", 403, nobody.get_object, Bucket=shared, Key="k")
    put(ann, shared, allow(shared, "s3:GetObject", Condition={"StringEquals": {"s3:authType": "REST-HEADER"}}))
    refused("AccessDenied", 403, nobody.get_object, Bucket=shared, Key="k")
    bob.s3.get_object(Bucket=shared, Key="k")["Body"].read()


def test_conditions_on_what_is_written(ann, bob, shared, refused):
    put(
        ann,
        shared,
        allow(shared, ["s3:PutObject", "s3:PutObjectTagging", "s3:PutObjectAcl"], {"AWS": bob.id}),
        deny(shared, "s3:PutObject", Condition={"StringNotEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}}),
        {
            **deny(shared, "s3:PutObject", Condition={"StringNotEquals": {"s3:RequestObjectTag/team": "blue"}}),
            "Sid": "tags",
        },
    )
    good = {"ACL": "bucket-owner-full-control", "Tagging": "team=blue&other=1"}
    bob.s3.put_object(Bucket=shared, Key="new", Body=b"", **good)
    for wrong in ({}, {**good, "Tagging": "team=red"}, {"Tagging": good["Tagging"]}, {"ACL": good["ACL"]}):
        refused("AccessDenied", 403, bob.s3.put_object, Bucket=shared, Key="new", Body=b"", **wrong)


def test_only_conditional_writes(ann, bob, shared, refused):
    """AWS's example: objects are made only where none is, and uploads in parts are let pass until they complete."""
    condition = {"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}}
    put(
        ann,
        shared,
        allow(shared, "s3:PutObject", {"AWS": bob.id}),
        deny(shared, "s3:PutObject", Condition=condition),
    )
    refused("AccessDenied", 403, bob.s3.put_object, Bucket=shared, Key="new", Body=b"")
    bob.s3.put_object(Bucket=shared, Key="new", Body=b"", IfNoneMatch="*")
    refused("PreconditionFailed", 412, bob.s3.put_object, Bucket=shared, Key="new", Body=b"", IfNoneMatch="*")
    upload = bob.s3.create_multipart_upload(Bucket=shared, Key="parts")["UploadId"]
    part = bob.s3.upload_part(Bucket=shared, Key="parts", UploadId=upload, PartNumber=1, Body=b"x")
    arguments = {"Bucket": shared, "Key": "parts", "UploadId": upload}
    arguments["MultipartUpload"] = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    refused("AccessDenied", 403, bob.s3.complete_multipart_upload, **arguments)
    bob.s3.complete_multipart_upload(**arguments, IfNoneMatch="*")


def test_how_long_a_lock_may_last(ann, bob, refused):
    bucket = f"locked-{ann.id[:12]}"
    ann.s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    version = ann.s3.put_object(Bucket=bucket, Key="k", Body=b"")["VersionId"]
    condition = {"NumericLessThanEquals": {"s3:object-lock-remaining-retention-days": "10"}}
    put(ann, bucket, allow(bucket, "s3:PutObjectRetention", {"AWS": bob.id}, Condition=condition))
    now = datetime.datetime.now(datetime.UTC)
    for days, is_allowed in ((5, True), (9, True), (11, False)):
        until = now + datetime.timedelta(days=days)
        arguments = {"Bucket": bucket, "Key": "k", "VersionId": version}
        arguments["Retention"] = {"Mode": "GOVERNANCE", "RetainUntilDate": until}
        if is_allowed:
            bob.s3.put_object_retention(**arguments)
        else:
            refused("AccessDenied", 403, bob.s3.put_object_retention, **arguments)
    ann.s3.delete_object(Bucket=bucket, Key="k", VersionId=version, BypassGovernanceRetention=True)


def test_existing_tags(ann, nobody, shared, refused):
    put(
        ann,
        shared,
        allow(shared, "s3:GetObject", Condition={"StringEquals": {"s3:ExistingObjectTag/public": "yes"}}),
    )
    refused("AccessDenied", 403, nobody.get_object, Bucket=shared, Key="k")
    ann.s3.put_object_tagging(Bucket=shared, Key="k", Tagging={"TagSet": [{"Key": "public", "Value": "yes"}]})
    nobody.get_object(Bucket=shared, Key="k")["Body"].read()
    ann.s3.put_object(Bucket=shared, Key="k", Body=b"x", Tagging="public=no")
    refused("AccessDenied", 403, nobody.get_object, Bucket=shared, Key="k")


def test_writing_with_tags_and_acls_needs_more(ann, bob, shared, refused):
    put(ann, shared, allow(shared, "s3:PutObject", {"AWS": bob.id}))
    write = bob.s3.put_object
    write(Bucket=shared, Key="new", Body=b"")
    refused("AccessDenied", 403, write, Bucket=shared, Key="new", Body=b"", Tagging="a=b")
    refused("AccessDenied", 403, write, Bucket=shared, Key="new", Body=b"", ACL="public-read")
    create = bob.s3.create_multipart_upload
    refused("AccessDenied", 403, create, Bucket=shared, Key="new", Tagging="a=b")
    upload = create(Bucket=shared, Key="new")["UploadId"]
    part = bob.s3.upload_part(Bucket=shared, Key="new", UploadId=upload, PartNumber=1, Body=b"x")
    assert len(bob.s3.list_parts(Bucket=shared, Key="new", UploadId=upload)["Parts"]) == 1  # its own upload
    anns = ann.s3.create_multipart_upload(Bucket=shared, Key="new")["UploadId"]
    refused("AccessDenied", 403, bob.s3.list_parts, Bucket=shared, Key="new", UploadId=anns)
    refused("AccessDenied", 403, bob.s3.abort_multipart_upload, Bucket=shared, Key="new", UploadId=anns)
    doomed = create(Bucket=shared, Key="new")["UploadId"]
    bob.s3.abort_multipart_upload(Bucket=shared, Key="new", UploadId=doomed)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    bob.s3.complete_multipart_upload(Bucket=shared, Key="new", UploadId=upload, MultipartUpload=parts)


def test_versions_need_their_own_actions(ann, bob, shared, refused):
    ann.s3.put_bucket_versioning(Bucket=shared, VersioningConfiguration={"Status": "Enabled"})
    version = ann.s3.put_object(Bucket=shared, Key="k", Body=b"v")["VersionId"]
    put(ann, shared, allow(shared, ["s3:GetObject", "s3:DeleteObject"], {"AWS": bob.id}))
    bob.s3.get_object(Bucket=shared, Key="k")["Body"].read()
    refused("AccessDenied", 403, bob.s3.get_object, Bucket=shared, Key="k", VersionId=version)
    refused("AccessDenied", 403, bob.s3.delete_object, Bucket=shared, Key="k", VersionId=version)
    put(ann, shared, allow(shared, ["s3:GetObjectVersion", "s3:DeleteObjectVersion"], {"AWS": bob.id}))
    bob.s3.get_object(Bucket=shared, Key="k", VersionId=version)["Body"].read()
    refused("AccessDenied", 403, bob.s3.get_object, Bucket=shared, Key="k")
    bob.s3.delete_object(Bucket=shared, Key="k", VersionId=version)
    put(
        ann,
        shared,
        allow(shared, "s3:GetObjectVersion", {"AWS": bob.id}, Condition={"StringEquals": {"s3:VersionId": version}}),
    )
    refused("AccessDenied", 403, bob.s3.get_object, Bucket=shared, Key="k", VersionId=version)  # it is gone


def test_what_is_missing_is_told_to_who_may_list(ann, bob, shared, refused):
    put(ann, shared, allow(shared, "s3:GetObject*", {"AWS": bob.id}))
    refused("AccessDenied", 403, bob.s3.get_object, Bucket=shared, Key="missing")
    refused("403", 403, bob.s3.head_object, Bucket=shared, Key="missing")
    listing = {**allow(shared, "s3:ListBucket", {"AWS": bob.id}, path=""), "Sid": "list"}
    put(ann, shared, allow(shared, "s3:GetObject*", {"AWS": bob.id}), listing)
    refused("NoSuchKey", 404, bob.s3.get_object, Bucket=shared, Key="missing")
    refused("404", 404, bob.s3.head_object, Bucket=shared, Key="missing")
    bob.s3.head_bucket(Bucket=shared)


def test_copies_ask_both_ends(ann, bob, shared, refused):
    bobs = make_bucket(bob)
    arguments = {"Bucket": bobs, "Key": "copy", "CopySource": f"{shared}/k"}
    refused("AccessDenied", 403, bob.s3.copy_object, **arguments)
    put(ann, shared, allow(shared, "s3:GetObject", {"AWS": bob.id}))
    bob.s3.copy_object(**arguments)
    upload = bob.s3.create_multipart_upload(Bucket=bobs, Key="parts")["UploadId"]
    part = {"Bucket": bobs, "Key": "parts", "UploadId": upload, "PartNumber": 1, "CopySource": f"{shared}/k"}
    bob.s3.upload_part_copy(**part)
    refused("AccessDenied", 403, ann.s3.copy_object, **arguments)
    put(ann, shared, allow(shared, "s3:ListBucket", {"AWS": bob.id}, path=""))
    refused("AccessDenied", 403, bob.s3.copy_object, **arguments)
    refused("AccessDenied", 403, bob.s3.upload_part_copy, **part)
    condition = {"StringLike": {"s3:x-amz-copy-source": f"{bobs}/public/*"}}
    put(ann, shared, allow(shared, "s3:PutObject", {"AWS": bob.id}, Condition=condition))
    bob.s3.put_object(Bucket=bobs, Key="public/k", Body=b"")
    bob.s3.copy_object(Bucket=shared, Key="taken", CopySource=f"{bobs}/public/k")
    refused("AccessDenied", 403, bob.s3.copy_object, Bucket=shared, Key="taken", CopySource=f"{bobs}/copy")


def test_copies_of_tagged_objects_ask_for_the_tags(ann, bob, shared, refused):
    bobs = make_bucket(bob)
    ann.s3.put_bucket_versioning(Bucket=shared, VersioningConfiguration={"Status": "Enabled"})
    version = ann.s3.put_object(Bucket=shared, Key="k", Body=b"x", Tagging="a=b")["VersionId"]
    source = {"Bucket": shared, "Key": "k"}
    put(ann, shared, allow(shared, ["s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectTagging"], {"AWS": bob.id}))
    bob.s3.copy_object(Bucket=bobs, Key="k", CopySource=source)
    named = {**source, "VersionId": version}
    refused("AccessDenied", 403, bob.s3.copy_object, Bucket=bobs, Key="k", CopySource=named)
    put(ann, shared, allow(shared, ["s3:GetObject", "s3:GetObjectVersion*"], {"AWS": bob.id}))
    bob.s3.copy_object(Bucket=bobs, Key="k", CopySource=named)
    refused("AccessDenied", 403, bob.s3.copy_object, Bucket=bobs, Key="k", CopySource=source)
    bob.s3.copy_object(Bucket=bobs, Key="k", CopySource=source, TaggingDirective="REPLACE")


def test_deleting_many_asks_for_each(ann, bob, nobody, shared, refused):
    ann.s3.put_object(Bucket=shared, Key="mine/k", Body=b"")
    objects = {"Objects": [{"Key": "k"}, {"Key": "mine/k"}]}
    refused("AccessDenied", 403, bob.s3.delete_objects, Bucket=shared, Delete=objects)
    refused("AccessDenied", 403, nobody.delete_objects, Bucket=shared, Delete=objects)
    put(ann, shared, allow(shared, "s3:DeleteObject", {"AWS": bob.id}, path="/mine/*"))
    response = bob.s3.delete_objects(Bucket=shared, Delete=objects)
    assert [one["Key"] for one in response["Deleted"]] == ["mine/k"]
    assert [(one["Key"], one["Code"]) for one in response["Errors"]] == [("k", "AccessDenied")]


def test_buckets_of_others(ann, bob, shared, refused):
    put(ann, shared, allow(shared, "s3:GetBucketLocation", {"AWS": bob.id}, path=""))
    bob.s3.get_bucket_location(Bucket=shared)
    refused("403", 403, bob.s3.head_bucket, Bucket=shared)
    refused("AccessDenied", 403, bob.s3.delete_bucket, Bucket=shared)
    assert shared not in [bucket["Name"] for bucket in bob.s3.list_buckets()["Buckets"]]
    refused("BucketAlreadyExists", 409, bob.s3.create_bucket, Bucket=shared)


def test_presigned_urls_are_who_signed_them(ann, bob, shared, server):
    url = bob.s3.generate_presigned_url("get_object", Params={"Bucket": shared, "Key": "k"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url)
    caught.value.close()
    assert caught.value.code == 403
    condition = {"StringEquals": {"s3:authType": "REST-QUERY-STRING"}, "NumericLessThan": {"s3:signatureAge": "600000"}}
    put(ann, shared, allow(shared, "s3:GetObject", {"AWS": bob.id}, Condition=condition))
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"x"
