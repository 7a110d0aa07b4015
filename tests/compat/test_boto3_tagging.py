"""Tags of objects and buckets by boto3: the verbs, the headers, copies, versions, and what may not be a tag."""

import json

import pytest

from tests.gateway.http.raw import Raw, build


def tags_of(s3, bucket, key, **more):
    return {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(Bucket=bucket, Key=key, **more)["TagSet"]}


def tag_set(tags):
    return {"TagSet": [{"Key": key, "Value": value} for key, value in tags.items()]}


def test_tags_are_put_got_counted_and_deleted(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"v")["ETag"]
    before = s3.head_object(Bucket=bucket, Key="k")
    assert tags_of(s3, bucket, "k") == {}
    assert "TagCount" not in before
    tags = {"Colour": "blue and green", "größe": "ünì+=._:/@-", "empty": "", "漢字": "値"}
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set(tags))
    assert tags_of(s3, bucket, "k") == tags
    head = s3.head_object(Bucket=bucket, Key="k")
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (head["ResponseMetadata"]["HTTPHeaders"]["x-amz-tagging-count"], got["TagCount"]) == ("4", 4)
    assert (head["ETag"], head["LastModified"]) == (etag, before["LastModified"])
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set({"only": "this"}))
    assert tags_of(s3, bucket, "k") == {"only": "this"}
    deleted = s3.delete_object_tagging(Bucket=bucket, Key="k")
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert tags_of(s3, bucket, "k") == {}
    assert "x-amz-tagging-count" not in s3.head_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPHeaders"]


def test_tags_come_with_a_put_and_go_with_it(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"v", Tagging="a=1&b=two%20words&c=&%C3%BC=%C3%A4+%C3%B6")
    assert tags_of(s3, bucket, "k") == {"a": "1", "b": "two words", "c": "", "ü": "ä ö"}
    s3.delete_object_tagging(Bucket=bucket, Key="k")
    assert tags_of(s3, bucket, "k") == {}
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set({"a": "2"}))
    s3.put_object(Bucket=bucket, Key="k", Body=b"v")
    assert tags_of(s3, bucket, "k") == {}


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("&".join(f"k{number}=v" for number in range(11)), "InvalidTag"),
        ("k" * 129 + "=v", "InvalidTag"),
        ("k=" + "v" * 257, "InvalidTag"),
        ("a*b=v", "InvalidTag"),
        ("k=v;w", "InvalidTag"),
        ("=v", "InvalidTag"),
        ("aws:k=v", "InvalidTag"),
        ("k=1&k=2", "InvalidArgument"),
        ("k=%zz", "InvalidArgument"),
        ("k=%FF", "InvalidArgument"),
    ],
)
def test_what_no_tagging_header_may_say(server, s3, bucket, refused, header, code):
    refused(code, 400, s3.put_object, Bucket=bucket, Key="k", Body=b"v", Tagging=header)
    refused(code, 400, s3.create_multipart_upload, Bucket=bucket, Key="k", Tagging=header)
    assert server.keys(bucket) == []


def test_the_longest_tags_there_may_be(s3, bucket):
    tags = {f"{number}" + "k" * 127: "v" * 256 for number in range(10)}
    s3.put_object(Bucket=bucket, Key="k", Body=b"v")
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tag_set(tags))
    assert tags_of(s3, bucket, "k") == tags


@pytest.mark.parametrize(
    "tags",
    [
        [(f"k{number}", "v") for number in range(11)],
        [(f"k{number}", "v") for number in range(500)],
        [("k" * 129, "v")],
        [("k", "v" * 257)],
        [("k", "semi;colon")],
        [("k", "v"), ("k", "w")],
        [("aws:k", "v")],
    ],
)
def test_what_no_tag_set_may_be(s3, bucket, refused, tags):
    s3.put_object(Bucket=bucket, Key="k", Body=b"v", Tagging="kept=yes")
    tagging = {"TagSet": [{"Key": key, "Value": value} for key, value in tags]}
    refused("InvalidTag", 400, s3.put_object_tagging, Bucket=bucket, Key="k", Tagging=tagging)
    assert tags_of(s3, bucket, "k") == {"kept": "yes"}


def test_tags_of_versions(s3, versioned, refused):
    first = s3.put_object(Bucket=versioned, Key="k", Body=b"1", Tagging="n=1")["VersionId"]
    second = s3.put_object(Bucket=versioned, Key="k", Body=b"2")["VersionId"]
    assert s3.put_object_tagging(Bucket=versioned, Key="k", Tagging=tag_set({"n": "2"}))["VersionId"] == second
    s3.put_object_tagging(Bucket=versioned, Key="k", VersionId=first, Tagging=tag_set({"n": "1a"}))
    assert tags_of(s3, versioned, "k") == {"n": "2"}
    found = s3.get_object_tagging(Bucket=versioned, Key="k", VersionId=first)
    assert (found["VersionId"], found["TagSet"]) == (first, [{"Key": "n", "Value": "1a"}])
    assert s3.delete_object_tagging(Bucket=versioned, Key="k", VersionId=first)["VersionId"] == first
    assert tags_of(s3, versioned, "k", VersionId=first) == {}
    marker = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
    for call, more in (
        (s3.get_object_tagging, {}),
        (s3.put_object_tagging, {"Tagging": tag_set({})}),
        (s3.delete_object_tagging, {}),
    ):
        refused("NoSuchKey", 404, call, Bucket=versioned, Key="k", **more)
        refused("MethodNotAllowed", 405, call, Bucket=versioned, Key="k", VersionId=marker, **more)
        refused("NoSuchVersion", 404, call, Bucket=versioned, Key="k", VersionId="0" * 31 + "1", **more)
    refused("NoSuchKey", 404, s3.get_object_tagging, Bucket=versioned, Key="never")
    refused("NoSuchBucket", 404, s3.get_object_tagging, Bucket="never-there", Key="k")


def test_copies_take_tags_along_or_replace_them(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"v", Tagging="from=put")
    s3.put_object_tagging(Bucket=bucket, Key="a", Tagging=tag_set({"from": "later"}))
    source = {"Bucket": bucket, "Key": "a"}
    s3.copy_object(Bucket=bucket, Key="b", CopySource=source)
    assert tags_of(s3, bucket, "b") == {"from": "later"}
    s3.copy_object(Bucket=bucket, Key="b", CopySource=source, Tagging="not=taken")
    assert tags_of(s3, bucket, "b") == {"from": "later"}
    s3.copy_object(Bucket=bucket, Key="b", CopySource=source, TaggingDirective="REPLACE", Tagging="new=1")
    assert tags_of(s3, bucket, "b") == {"new": "1"}
    s3.copy_object(Bucket=bucket, Key="b", CopySource=source, TaggingDirective="REPLACE")
    assert tags_of(s3, bucket, "b") == {}
    s3.delete_object_tagging(Bucket=bucket, Key="a")
    s3.copy_object(Bucket=bucket, Key="c", CopySource=source)
    assert tags_of(s3, bucket, "c") == {}


def test_tags_come_with_a_multipart_upload(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", Tagging="a=1&b=2")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"v")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload=parts)
    assert tags_of(s3, bucket, "k") == {"a": "1", "b": "2"}


def test_tags_of_a_bucket(s3, bucket, refused):
    refused("NoSuchTagSet", 404, s3.get_bucket_tagging, Bucket=bucket)
    tags = {f"k{number}": "v" * 256 for number in range(50)}
    put = s3.put_bucket_tagging(Bucket=bucket, Tagging=tag_set(tags))
    assert put["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=bucket)["TagSet"]} == tags
    refused("InvalidTag", 400, s3.put_bucket_tagging, Bucket=bucket, Tagging=tag_set({**tags, "one": "more"}))
    deleted = s3.delete_bucket_tagging(Bucket=bucket)
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204
    refused("NoSuchTagSet", 404, s3.get_bucket_tagging, Bucket=bucket)


def test_others_may_not_look_at_tags(s3, other, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"v", Tagging="a=1")
    refused("AccessDenied", 403, other.get_object_tagging, Bucket=bucket, Key="k")
    refused("AccessDenied", 403, other.put_object_tagging, Bucket=bucket, Key="k", Tagging=tag_set({}))
    refused("AccessDenied", 403, other.delete_object_tagging, Bucket=bucket, Key="k")
    refused("AccessDenied", 403, other.get_bucket_tagging, Bucket=bucket)


def test_a_bucket_is_created_with_tags(s3, refused):
    tags = [{"Key": "team", "Value": "a b"}]
    s3.create_bucket(Bucket="made-with-tags", CreateBucketConfiguration={"Tags": tags})
    assert s3.get_bucket_tagging(Bucket="made-with-tags")["TagSet"] == tags
    bad = {"Tags": [{"Key": "aws:x", "Value": ""}]}
    refused("InvalidTag", 400, s3.create_bucket, Bucket="never-made", CreateBucketConfiguration=bad)
    refused("404", 404, s3.head_bucket, Bucket="never-made")


def allow(s3, bucket, actions, condition=None):
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": actions,
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
    }
    if condition:
        statement["Condition"] = condition
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


def test_policies_may_ask_for_the_tags_of_a_body(s3, other, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"v")
    s3.delete_public_access_block(Bucket=bucket)
    only_open = {"StringEquals": {"s3:RequestObjectTag/access": "open"}}
    allow(s3, bucket, ["s3:PutObjectTagging", "s3:ListBucket"], only_open)
    call = {"Bucket": bucket, "Key": "k"}
    refused("AccessDenied", 403, other.put_object_tagging, **call, Tagging=tag_set({"access": "closed"}))
    other.put_object_tagging(**call, Tagging=tag_set({"access": "open"}))
    assert tags_of(s3, bucket, "k") == {"access": "open"}


def test_a_count_of_tags_is_told_to_who_may_read_them(s3, other, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"v", Tagging="a=1")
    s3.delete_public_access_block(Bucket=bucket)
    allow(s3, bucket, ["s3:GetObject"])
    assert "TagCount" not in other.get_object(Bucket=bucket, Key="k")
    allow(s3, bucket, ["s3:GetObject", "s3:GetObjectTagging"])
    assert other.get_object(Bucket=bucket, Key="k")["TagCount"] == 1


def test_response_overrides_need_a_signature(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"v")
    s3.delete_public_access_block(Bucket=bucket)
    allow(s3, bucket, ["s3:GetObject"])
    raw = Raw(server.port)
    plain = raw.send(build("GET", f"/{bucket}/k", {"host": raw.host}))
    assert (plain.status, plain.body) == (200, b"v")
    answer = raw.send(build("GET", f"/{bucket}/k?response-content-type=text%2Fhtml", {"host": raw.host}))
    assert (answer.status, answer.code) == (400, "InvalidRequest")
