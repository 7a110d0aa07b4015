"""Requests that nobody signed: they may what everyone may, and nothing else."""

from tests.compat.access_clients import allow, make_bucket, policy_of


def test_nothing_by_default(ann, nobody, refused):
    bucket = make_bucket(ann)
    ann.s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    refused("AccessDenied", 403, nobody.list_buckets)
    refused("AccessDenied", 403, nobody.create_bucket, Bucket="by-nobody")
    refused("AccessDenied", 403, nobody.delete_bucket, Bucket=bucket)
    refused("AccessDenied", 403, nobody.get_object, Bucket=bucket, Key="k")
    refused("AccessDenied", 403, nobody.get_object, Bucket=bucket, Key="missing")
    refused("AccessDenied", 403, nobody.copy_object, Bucket=bucket, Key="c", CopySource=f"{bucket}/k")
    refused("AccessDenied", 403, nobody.create_multipart_upload, Bucket=bucket, Key="k")
    refused("AccessDenied", 403, nobody.put_bucket_policy, Bucket=bucket, Policy=policy_of(allow(bucket, "s3:*")))
    refused("NoSuchBucket", 404, nobody.list_objects_v2, Bucket="no-such-bucket-at-all")
    refused("AccessDenied", 403, nobody.put_object, Bucket=bucket, Key="k", Body=b"y" * 100_000)
    assert ann.s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_a_public_bucket_is_read_and_written_by_nobody(ann, nobody):
    bucket = make_bucket(ann)
    statement = allow(bucket, ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"])
    ann.s3.put_bucket_policy(
        Bucket=bucket, Policy=policy_of(statement, allow(bucket, "s3:ListBucket", path="", Sid="list"))
    )
    large = b"0123456789" * 100_000
    nobody.put_object(Bucket=bucket, Key="large", Body=large)  # with a checksum in an unsigned trailer, as SDKs do
    assert nobody.get_object(Bucket=bucket, Key="large")["Body"].read() == large
    assert nobody.get_object(Bucket=bucket, Key="large", Range="bytes=10-19")["Body"].read() == b"0123456789"
    upload = nobody.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    part = nobody.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"part")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    nobody.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload=parts)
    assert [row["Key"] for row in nobody.list_objects_v2(Bucket=bucket)["Contents"]] == ["large", "parts"]
    owners = {row["Owner"]["ID"] for row in ann.s3.list_objects(Bucket=bucket)["Contents"]}
    assert owners == {ann.id}
    nobody.delete_object(Bucket=bucket, Key="large")
    second = nobody.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    assert ann.s3.list_multipart_uploads(Bucket=bucket)["Uploads"][0]["UploadId"] == second
    nobody.abort_multipart_upload(Bucket=bucket, Key="parts", UploadId=second)


def test_what_nobody_wrote_is_nobodys_where_acls_count(ann, nobody, refused):
    bucket = make_bucket(ann, "ObjectWriter")
    ann.s3.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    nobody.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="bucket-owner-full-control")
    assert ann.s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    assert ann.s3.get_object_acl(Bucket=bucket, Key="k")["Owner"]["ID"] == "65a011a29cdf8ec533ec3d1ccaae921c"
    nobody.put_object(Bucket=bucket, Key="k2", Body=b"x")
    refused("AccessDenied", 403, ann.s3.get_object, Bucket=bucket, Key="k2")
    ann.s3.delete_object(Bucket=bucket, Key="k2")


def test_who_claims_to_be_somebody_is_never_nobody(ann, server, refused):
    """A public bucket does not make a wrong signature right."""
    bucket = make_bucket(ann)
    ann.s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    ann.s3.put_bucket_policy(Bucket=bucket, Policy=policy_of(allow(bucket, "s3:GetObject")))
    for key in ("AKIAOTHEROTHEROTHERX", "AKIANOSUCHKEY"):
        wrong = server.client(key, "wrong-secret-wrong-secret-wrong-secret-x")
        code = "SignatureDoesNotMatch" if key.endswith("X") else "InvalidAccessKeyId"
        refused(code, 403, wrong.get_object, Bucket=bucket, Key="k")
        wrong.close()
