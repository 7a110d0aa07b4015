"""ACLs of buckets and objects, with two accounts and nobody."""

import pytest

from tests.compat.access_clients import make_bucket

ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"


@pytest.fixture
def open_bucket(ann):
    """A bucket in which ACLs count and nothing public is blocked."""
    return make_bucket(ann, "ObjectWriter")


def grants_of(acl):
    return sorted(
        (grant["Grantee"].get("ID") or grant["Grantee"]["URI"], grant["Permission"]) for grant in acl["Grants"]
    )


def test_a_private_bucket_is_its_owners(ann, bob, nobody, open_bucket, refused):
    ann.s3.put_object(Bucket=open_bucket, Key="k", Body=b"x")
    acl = ann.s3.get_bucket_acl(Bucket=open_bucket)
    assert acl["Owner"]["ID"] == ann.id
    assert grants_of(acl) == [(ann.id, "FULL_CONTROL")]
    for who in (bob.s3, nobody):
        refused("AccessDenied", 403, who.get_object, Bucket=open_bucket, Key="k")
        refused("AccessDenied", 403, who.put_object, Bucket=open_bucket, Key="k", Body=b"y")
        refused("AccessDenied", 403, who.list_objects_v2, Bucket=open_bucket)
        refused("AccessDenied", 403, who.get_bucket_acl, Bucket=open_bucket)
        refused("AccessDenied", 403, who.delete_object, Bucket=open_bucket, Key="k")
        refused("403", 403, who.head_object, Bucket=open_bucket, Key="k")
        refused("403", 403, who.head_bucket, Bucket=open_bucket)


def test_canned_bucket_acls(ann, bob, nobody, open_bucket, refused):
    ann.s3.put_bucket_acl(Bucket=open_bucket, ACL="public-read")
    nobody.list_objects_v2(Bucket=open_bucket)
    bob.s3.list_object_versions(Bucket=open_bucket)
    refused("NoSuchKey", 404, nobody.get_object, Bucket=open_bucket, Key="missing")
    refused("AccessDenied", 403, nobody.put_object, Bucket=open_bucket, Key="k", Body=b"")
    ann.s3.put_bucket_acl(Bucket=open_bucket, ACL="public-read-write")
    nobody.put_object(Bucket=open_bucket, Key="k", Body=b"nobody's")
    bob.s3.put_object(Bucket=open_bucket, Key="k", Body=b"bob's")
    refused("AccessDenied", 403, nobody.get_object, Bucket=open_bucket, Key="k")
    assert bob.s3.get_object(Bucket=open_bucket, Key="k")["Body"].read() == b"bob's"
    nobody.delete_object(Bucket=open_bucket, Key="k")
    ann.s3.put_bucket_acl(Bucket=open_bucket, ACL="authenticated-read")
    bob.s3.list_objects(Bucket=open_bucket)
    refused("AccessDenied", 403, nobody.list_objects, Bucket=open_bucket)
    assert (AUTHENTICATED, "READ") in grants_of(ann.s3.get_bucket_acl(Bucket=open_bucket))
    ann.s3.put_bucket_acl(Bucket=open_bucket, ACL="private")
    refused("AccessDenied", 403, bob.s3.list_objects, Bucket=open_bucket)


def test_each_bucket_permission(ann, bob, open_bucket, refused):
    calls = {
        "READ": lambda: bob.s3.list_objects_v2(Bucket=open_bucket),
        "WRITE": lambda: bob.s3.put_object(Bucket=open_bucket, Key="k", Body=b""),
        "READ_ACP": lambda: bob.s3.get_bucket_acl(Bucket=open_bucket),
        "WRITE_ACP": lambda: bob.s3.put_bucket_acl(
            Bucket=open_bucket, GrantWriteACP=f'id="{bob.id}"', GrantFullControl=f'id="{ann.id}"'
        ),
    }
    for given in ("READ", "WRITE", "READ_ACP", "WRITE_ACP", "FULL_CONTROL"):
        policy = {
            "Owner": {"ID": ann.id},
            "Grants": [{"Grantee": {"Type": "CanonicalUser", "ID": bob.id}, "Permission": given}],
        }
        ann.s3.put_bucket_acl(Bucket=open_bucket, AccessControlPolicy=policy)
        for permission, call in calls.items():
            if given in (permission, "FULL_CONTROL"):
                call()
            else:
                refused("AccessDenied", 403, call)


def test_object_acls(ann, bob, nobody, open_bucket, refused):
    ann.s3.put_object(Bucket=open_bucket, Key="k", Body=b"x", ACL="public-read")
    assert nobody.get_object(Bucket=open_bucket, Key="k")["Body"].read() == b"x"
    refused("AccessDenied", 403, nobody.get_object_acl, Bucket=open_bucket, Key="k")
    ann.s3.put_object_acl(Bucket=open_bucket, Key="k", ACL="authenticated-read")
    refused("AccessDenied", 403, nobody.get_object, Bucket=open_bucket, Key="k")
    assert bob.s3.head_object(Bucket=open_bucket, Key="k")["ContentLength"] == 1
    ann.s3.put_object_acl(Bucket=open_bucket, Key="k", GrantReadACP=f"id={bob.id}")
    refused("AccessDenied", 403, bob.s3.get_object, Bucket=open_bucket, Key="k")
    assert grants_of(bob.s3.get_object_acl(Bucket=open_bucket, Key="k")) == [(bob.id, "READ_ACP")]
    ann.s3.put_object_acl(Bucket=open_bucket, Key="k", GrantWriteACP=f'id="{bob.id}"')
    bob.s3.put_object_acl(Bucket=open_bucket, Key="k", ACL="public-read")
    assert grants_of(ann.s3.get_object_acl(Bucket=open_bucket, Key="k")) == sorted(
        [(ann.id, "FULL_CONTROL"), (ALL_USERS, "READ")]
    )
    refused("NoSuchKey", 404, ann.s3.get_object_acl, Bucket=open_bucket, Key="missing")
    refused("NoSuchKey", 404, ann.s3.put_object_acl, Bucket=open_bucket, Key="missing", ACL="private")


def test_acls_are_of_versions(ann, nobody, open_bucket, refused):
    ann.s3.put_bucket_versioning(Bucket=open_bucket, VersioningConfiguration={"Status": "Enabled"})
    old = ann.s3.put_object(Bucket=open_bucket, Key="k", Body=b"old")["VersionId"]
    new = ann.s3.put_object(Bucket=open_bucket, Key="k", Body=b"new")["VersionId"]
    modified = ann.s3.head_object(Bucket=open_bucket, Key="k")["LastModified"]
    ann.s3.put_object_acl(Bucket=open_bucket, Key="k", VersionId=old, ACL="public-read")
    assert nobody.get_object(Bucket=open_bucket, Key="k", VersionId=old)["Body"].read() == b"old"
    refused("AccessDenied", 403, nobody.get_object, Bucket=open_bucket, Key="k")
    refused("AccessDenied", 403, nobody.get_object, Bucket=open_bucket, Key="k", VersionId=new)
    assert len(ann.s3.get_object_acl(Bucket=open_bucket, Key="k", VersionId=old)["Grants"]) == 2
    assert len(ann.s3.get_object_acl(Bucket=open_bucket, Key="k")["Grants"]) == 1
    assert ann.s3.head_object(Bucket=open_bucket, Key="k")["LastModified"] == modified


def test_grants_by_email_and_by_header(ann, bob, server, open_bucket, refused):
    async def email_of():
        with server.store.view() as view:
            return view.user(bob.id).email

    email = server.call(email_of)
    ann.s3.put_object(Bucket=open_bucket, Key="k", Body=b"", GrantRead=f'emailAddress="{email}", uri="{AUTHENTICATED}"')
    assert grants_of(ann.s3.get_object_acl(Bucket=open_bucket, Key="k")) == sorted(
        [(bob.id, "READ"), (AUTHENTICATED, "READ")]
    )
    put = ann.s3.put_object_acl
    refused(
        "UnresolvableGrantByEmailAddress",
        400,
        put,
        Bucket=open_bucket,
        Key="k",
        GrantRead='emailAddress="no@example.com"',
    )
    refused("InvalidArgument", 400, put, Bucket=open_bucket, Key="k", GrantRead='id="no such id"')
    refused("InvalidArgument", 400, put, Bucket=open_bucket, Key="k", GrantRead='uri="http://example.com/all"')
    refused("InvalidArgument", 400, put, Bucket=open_bucket, Key="k", GrantRead="whoever")
    refused("InvalidArgument", 400, put, Bucket=open_bucket, Key="k", ACL="public-everything")
    refused("InvalidRequest", 400, put, Bucket=open_bucket, Key="k", ACL="private", GrantRead=f'id="{bob.id}"')
    refused("MissingSecurityHeader", 400, put, Bucket=open_bucket, Key="k")


def test_acl_documents(ann, bob, open_bucket, refused):
    grant = {"Grantee": {"Type": "CanonicalUser", "ID": bob.id}, "Permission": "READ"}
    put = ann.s3.put_bucket_acl

    def policy(owner, *grants):
        return {"Owner": {"ID": owner}, "Grants": list(grants)}

    refused("AccessDenied", 403, put, Bucket=open_bucket, AccessControlPolicy=policy(bob.id, grant))
    refused("MalformedACLError", 400, put, Bucket=open_bucket, AccessControlPolicy={"Grants": [grant]})
    wrong = {**grant, "Permission": "EVERYTHING"}
    refused("MalformedACLError", 400, put, Bucket=open_bucket, AccessControlPolicy=policy(ann.id, wrong))
    unknown = {"Grantee": {"Type": "CanonicalUser", "ID": "f" * 64}, "Permission": "READ"}
    response = refused("InvalidArgument", 400, put, Bucket=open_bucket, AccessControlPolicy=policy(ann.id, unknown))
    assert response["Error"]["Message"] == "Invalid id"
    many = [grant] * 101
    refused("MalformedACLError", 400, put, Bucket=open_bucket, AccessControlPolicy=policy(ann.id, *many))
    put(Bucket=open_bucket, AccessControlPolicy=policy(ann.id))
    assert ann.s3.get_bucket_acl(Bucket=open_bucket)["Grants"] == []
    ann.s3.put_object(Bucket=open_bucket, Key="k", Body=b"")  # an account's own user needs no grant


def test_a_writer_owns_what_it_writes(ann, bob, open_bucket, refused):
    ann.s3.put_bucket_acl(Bucket=open_bucket, GrantWrite=f'id="{bob.id}"', GrantRead=f'id="{bob.id}"')
    bob.s3.put_object(Bucket=open_bucket, Key="plain", Body=b"bob's")
    refused("AccessDenied", 403, ann.s3.get_object, Bucket=open_bucket, Key="plain")
    refused("AccessDenied", 403, ann.s3.get_object_acl, Bucket=open_bucket, Key="plain")
    owners = {row["Key"]: row["Owner"]["ID"] for row in ann.s3.list_objects(Bucket=open_bucket)["Contents"]}
    assert owners == {"plain": bob.id}
    bob.s3.put_object(Bucket=open_bucket, Key="shared", Body=b"ours", ACL="bucket-owner-full-control")
    assert ann.s3.get_object(Bucket=open_bucket, Key="shared")["Body"].read() == b"ours"
    bob.s3.put_object(Bucket=open_bucket, Key="read", Body=b"ours", ACL="bucket-owner-read")
    ann.s3.get_object(Bucket=open_bucket, Key="read")["Body"].read()
    refused("AccessDenied", 403, ann.s3.get_object_acl, Bucket=open_bucket, Key="read")
    assert grants_of(bob.s3.get_object_acl(Bucket=open_bucket, Key="read")) == sorted(
        [(bob.id, "FULL_CONTROL"), (ann.id, "READ")]
    )
    bob.s3.put_object_acl(Bucket=open_bucket, Key="plain", GrantReadACP=f'id="{ann.id}"')
    assert ann.s3.get_object_acl(Bucket=open_bucket, Key="plain")["Owner"]["ID"] == bob.id
    ann.s3.delete_object(Bucket=open_bucket, Key="plain")  # the bucket's owner may delete anything in it


def test_uploads_keep_the_acl_and_the_owner_they_began_with(ann, bob, nobody, open_bucket):
    ann.s3.put_bucket_acl(Bucket=open_bucket, GrantWrite=f'id="{bob.id}"')
    upload = bob.s3.create_multipart_upload(Bucket=open_bucket, Key="k", ACL="public-read")["UploadId"]
    part = bob.s3.upload_part(Bucket=open_bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"part")
    bob.s3.complete_multipart_upload(
        Bucket=open_bucket,
        Key="k",
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    assert nobody.get_object(Bucket=open_bucket, Key="k")["Body"].read() == b"part"
    assert bob.s3.get_object_acl(Bucket=open_bucket, Key="k")["Owner"]["ID"] == bob.id


def test_copies_do_not_take_the_acl_along(ann, nobody, open_bucket, refused):
    ann.s3.put_object(Bucket=open_bucket, Key="k", Body=b"x", ACL="public-read")
    ann.s3.copy_object(Bucket=open_bucket, Key="copy", CopySource=f"{open_bucket}/k")
    refused("AccessDenied", 403, nobody.get_object, Bucket=open_bucket, Key="copy")
    ann.s3.copy_object(Bucket=open_bucket, Key="copy", CopySource=f"{open_bucket}/k", ACL="public-read")
    assert nobody.get_object(Bucket=open_bucket, Key="copy")["Body"].read() == b"x"


def test_buckets_created_with_an_acl(ann, bob, nobody, refused):
    create = ann.s3.create_bucket
    refused("InvalidBucketAclWithObjectOwnership", 400, create, Bucket="made-public", ACL="public-read")
    create(Bucket="made-private", ACL="private")
    refused(
        "AccessDenied", 403, create, Bucket="made-public", ACL="public-read", ObjectOwnership="ObjectWriter"
    )  # blocked by the default
    create(Bucket="made-shared", GrantRead=f'id="{bob.id}"', ObjectOwnership="BucketOwnerPreferred")
    bob.s3.list_objects_v2(Bucket="made-shared")
    refused("AccessDenied", 403, nobody.list_objects_v2, Bucket="made-shared")
    assert [bucket["Name"] for bucket in ann.s3.list_buckets(Prefix="made-")["Buckets"]] == [
        "made-private",
        "made-shared",
    ]
    for name in ("made-private", "made-shared"):
        ann.s3.delete_bucket(Bucket=name)
