"""Lifecycle by boto3: rules set, told and refused; headers that tell of expiry. What rules do: test_lifecycle_pass."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest

DAY = timedelta(days=1)


def rule(**parts):
    return {"ID": "one", "Status": "Enabled", "Filter": {"Prefix": ""}, **parts}


def put(s3, bucket, *rules, **more):
    return s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)}, **more)


def get(s3, bucket):
    return s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]


EXPIRES = {"Expiration": {"Days": 1}}
MIDNIGHT = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "parts",
    [
        EXPIRES,
        {"Expiration": {"Date": MIDNIGHT}},
        {"Expiration": {"ExpiredObjectDeleteMarker": True}},
        {"Expiration": {"ExpiredObjectDeleteMarker": False}},
        {"NoncurrentVersionExpiration": {"NoncurrentDays": 2}},
        {"NoncurrentVersionExpiration": {"NoncurrentDays": 2, "NewerNoncurrentVersions": 100}},
        {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 3}},
        {"Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}, {"Days": 60, "StorageClass": "GLACIER_IR"}]},
        {"Transitions": [{"Days": 0, "StorageClass": "INTELLIGENT_TIERING"}]},
        {"Transitions": [{"Date": MIDNIGHT, "StorageClass": "ONEZONE_IA"}]},
        {"NoncurrentVersionTransitions": [{"NoncurrentDays": 30, "StorageClass": "STANDARD_IA"}]},
        {
            "NoncurrentVersionTransitions": [
                {"NoncurrentDays": 30, "NewerNoncurrentVersions": 3, "StorageClass": "ONEZONE_IA"}
            ]
        },
        {**EXPIRES, "Filter": {"Tag": {"Key": "a", "Value": "b & c"}}},
        {**EXPIRES, "Filter": {"ObjectSizeGreaterThan": 500}},
        {**EXPIRES, "Filter": {"ObjectSizeLessThan": 500}},
        {
            **EXPIRES,
            "Filter": {
                "And": {
                    "Prefix": "p<",
                    "Tags": [{"Key": "a", "Value": "b"}, {"Key": "c", "Value": ""}],
                    "ObjectSizeGreaterThan": 0,
                    "ObjectSizeLessThan": 9,
                }
            },
        },
        {**EXPIRES, "Status": "Disabled"},
        {**EXPIRES, "Filter": {}},
    ],
)
def test_what_is_put_is_got(s3, bucket, parts):
    put(s3, bucket, rule(**parts))
    assert get(s3, bucket) == [rule(**parts)]


def test_a_prefix_of_old_comes_back_as_it_was(s3, bucket):
    old = {"ID": "o", "Status": "Enabled", "Prefix": "logs/", **EXPIRES}
    put(s3, bucket, old)
    assert get(s3, bucket) == [old]


def test_rules_come_and_go(s3, bucket, refused):
    refused("NoSuchLifecycleConfiguration", 404, s3.get_bucket_lifecycle_configuration, Bucket=bucket)
    put(s3, bucket, rule(**EXPIRES), rule(ID="two", Status="Disabled", Expiration={"Days": 2}))
    assert [one["ID"] for one in get(s3, bucket)] == ["one", "two"]
    put(s3, bucket, rule(ID="three", **EXPIRES))
    assert [one["ID"] for one in get(s3, bucket)] == ["three"]
    s3.delete_bucket_lifecycle(Bucket=bucket)
    s3.delete_bucket_lifecycle(Bucket=bucket)
    refused("NoSuchLifecycleConfiguration", 404, s3.get_bucket_lifecycle_configuration, Bucket=bucket)


def test_rules_without_an_id_get_one(s3, bucket):
    nameless = {"Status": "Enabled", "Filter": {"Prefix": ""}, **EXPIRES}
    put(s3, bucket, nameless, nameless, rule(ID="", **EXPIRES))
    found = [one["ID"] for one in get(s3, bucket)]
    assert len(set(found)) == 3
    assert all(found)
    put(s3, bucket, *get(s3, bucket))
    assert [one["ID"] for one in get(s3, bucket)] == found


def test_which_small_objects_transition(s3, bucket):
    header = "TransitionDefaultMinimumObjectSize"
    assert put(s3, bucket, rule(**EXPIRES))[header] == "all_storage_classes_128K"
    assert put(s3, bucket, rule(**EXPIRES), **{header: "varies_by_storage_class"})[header] == "varies_by_storage_class"
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)[header] == "varies_by_storage_class"


@pytest.mark.parametrize(
    ("code", "parts"),
    [
        ("InvalidArgument", {"ID": "x" * 256, **EXPIRES}),
        ("MalformedXML", {"Status": "enabled", **EXPIRES}),
        ("InvalidArgument", {"Expiration": {"Days": 0}}),
        ("InvalidArgument", {"Expiration": {"Days": -1}}),
        ("InvalidArgument", {"Expiration": {"Date": MIDNIGHT + timedelta(hours=1)}}),
        ("MalformedXML", {"Expiration": {"Days": 1, "Date": MIDNIGHT}}),
        ("MalformedXML", {"Expiration": {"Days": 1, "ExpiredObjectDeleteMarker": True}}),
        ("MalformedXML", {"Expiration": {}}),
        ("InvalidRequest", {}),
        ("MalformedXML", {"Prefix": "", **EXPIRES}),
        ("MalformedXML", {"Filter": {"Prefix": "a", "ObjectSizeLessThan": 5}, **EXPIRES}),
        ("MalformedXML", {"Filter": {"And": {"Prefix": "a"}}, **EXPIRES}),
        ("MalformedXML", {"Filter": {"ObjectSizeGreaterThan": 1, "ObjectSizeLessThan": 5}, **EXPIRES}),
        ("InvalidRequest", {"Filter": {"And": {"ObjectSizeGreaterThan": 5, "ObjectSizeLessThan": 5}}, **EXPIRES}),
        (
            "InvalidRequest",
            {"Filter": {"Tag": {"Key": "a", "Value": "b"}}, "Expiration": {"ExpiredObjectDeleteMarker": True}},
        ),
        (
            "InvalidRequest",
            {
                "Filter": {"Tag": {"Key": "a", "Value": "b"}},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
            },
        ),
        ("InvalidArgument", {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 0}}),
        ("InvalidArgument", {"NoncurrentVersionExpiration": {"NoncurrentDays": 0}}),
        ("InvalidArgument", {"NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 101}}),
        ("MalformedXML", {"NoncurrentVersionExpiration": {"NewerNoncurrentVersions": 1}}),
        ("InvalidArgument", {"Transitions": [{"Days": -1, "StorageClass": "GLACIER_IR"}]}),
        ("InvalidArgument", {"Transitions": [{"Days": 29, "StorageClass": "STANDARD_IA"}]}),
        ("MalformedXML", {"Transitions": [{"Days": 30, "StorageClass": "STANDARD"}]}),
        ("MalformedXML", {"Transitions": [{"Days": 30, "StorageClass": "NONE"}]}),
        ("MalformedXML", {"Transitions": [{"StorageClass": "GLACIER_IR"}]}),
        ("MalformedXML", {"Transitions": [{"Days": 1, "Date": MIDNIGHT, "StorageClass": "GLACIER_IR"}]}),
        ("InvalidRequest", {"Filter": {"Prefix": "p" * 1025}, **EXPIRES}),
        ("InvalidArgument", {"Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}], "Expiration": {"Days": 30}}),
        (
            "InvalidRequest",
            {"Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}], "Expiration": {"Date": MIDNIGHT}},
        ),
        (
            "InvalidRequest",
            {"Transitions": [{"Days": 40, "StorageClass": "STANDARD_IA"}, {"Days": 30, "StorageClass": "STANDARD_IA"}]},
        ),
        (
            "InvalidArgument",
            {"Transitions": [{"Days": 60, "StorageClass": "STANDARD_IA"}, {"Days": 30, "StorageClass": "GLACIER_IR"}]},
        ),
    ],
)
def test_rules_that_are_none(s3, bucket, refused, code, parts):
    wrong = {"Bucket": bucket, "LifecycleConfiguration": {"Rules": [rule(**parts)]}}
    refused(code, 400, s3.put_bucket_lifecycle_configuration, **wrong)
    refused("NoSuchLifecycleConfiguration", 404, s3.get_bucket_lifecycle_configuration, Bucket=bucket)


def test_rules_that_do_not_go_together(s3, bucket, refused):
    for code, rules in (
        ("InvalidArgument", [rule(**EXPIRES)] * 2),
        ("MalformedXML", [rule(ID=str(number), **EXPIRES) for number in range(1001)]),
        ("MalformedXML", []),
    ):
        wrong = {"Bucket": bucket, "LifecycleConfiguration": {"Rules": rules}}
        refused(code, 400, s3.put_bucket_lifecycle_configuration, **wrong)
    put(s3, bucket, *[rule(ID=str(number), **EXPIRES) for number in range(1000)])
    assert len(get(s3, bucket)) == 1000


def told(response):
    """(expiry, rule) of x-amz-expiration."""
    found = re.fullmatch(r'expiry-date="([^"]+)", rule-id="([^"]+)"', response["Expiration"])
    return parsedate_to_datetime(found[1]), found[2]


def midnight_after(moment):
    return moment.replace(hour=0, minute=0, second=0, microsecond=0) + DAY


def test_expiry_is_told(s3, bucket):
    put(
        s3,
        bucket,
        rule(ID="late & long", Expiration={"Days": 10}),
        rule(ID="soon", Filter={"Prefix": "soon/"}, Expiration={"Days": 2}),
        rule(ID="tagged", Filter={"Tag": {"Key": "t", "Value": "1"}}, Expiration={"Days": 3}),
        rule(ID="off", Status="Disabled", Expiration={"Days": 1}),
    )
    for key, days, name in (("k", 10, "late%20%26%20long"), ("soon/k", 2, "soon")):
        written = s3.put_object(Bucket=bucket, Key=key, Body=b"x")
        head = s3.head_object(Bucket=bucket, Key=key)
        expected = midnight_after(head["LastModified"] + days * DAY), name
        assert told(written) == told(head) == told(s3.get_object(Bucket=bucket, Key=key)) == expected
    assert told(s3.put_object(Bucket=bucket, Key="k", Body=b"", Tagging="t=1"))[1] == "tagged"
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": []})
    assert told(s3.head_object(Bucket=bucket, Key="k"))[1] == "late%20%26%20long"
    copied = s3.copy_object(Bucket=bucket, Key="soon/copied", CopySource=f"{bucket}/k")
    assert told(copied)[1] == "soon"
    s3.delete_bucket_lifecycle(Bucket=bucket)
    assert "Expiration" not in s3.head_object(Bucket=bucket, Key="k")


def test_only_the_current_version_expires(s3, versioned):
    put(s3, versioned, rule(**EXPIRES))
    first = s3.put_object(Bucket=versioned, Key="k", Body=b"1")
    s3.put_object(Bucket=versioned, Key="k", Body=b"2")
    assert "Expiration" in s3.head_object(Bucket=versioned, Key="k")
    assert "Expiration" not in s3.head_object(Bucket=versioned, Key="k", VersionId=first["VersionId"])


def test_aborts_are_told(s3, bucket):
    plain = s3.create_multipart_upload(Bucket=bucket, Key="up/k")
    assert "AbortDate" not in plain
    put(s3, bucket, rule(Filter={"Prefix": "up/"}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 2}))
    made = s3.create_multipart_upload(Bucket=bucket, Key="up/k")
    listed = s3.list_parts(Bucket=bucket, Key="up/k", UploadId=made["UploadId"])
    assert made["AbortDate"] == listed["AbortDate"]
    assert DAY < made["AbortDate"] - datetime.now(UTC) <= 3 * DAY
    assert made["AbortRuleId"] == listed["AbortRuleId"] == "one"
    assert "AbortDate" not in s3.create_multipart_upload(Bucket=bucket, Key="k")


@pytest.mark.parametrize(
    "name", ["STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "REDUCED_REDUNDANCY"]
)
def test_storage_classes_are_kept(s3, bucket, name):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", StorageClass=name)
    assert s3.head_object(Bucket=bucket, Key="k")["StorageClass"] == name
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["StorageClass"] == name
    s3.copy_object(Bucket=bucket, Key="k", CopySource=f"{bucket}/k", StorageClass="STANDARD")
    assert "StorageClass" not in s3.head_object(Bucket=bucket, Key="k")


def test_without_a_cloud_archives_keep_their_bytes(s3, bucket, refused):
    refused("InvalidStorageClass", 400, s3.put_object, Bucket=bucket, Key="k", Body=b"", StorageClass="NONE")
    request = {"RestoreRequest": {"Days": 1}}
    for name in ("GLACIER", "DEEP_ARCHIVE"):
        s3.put_object(Bucket=bucket, Key="cold", Body=b"x", StorageClass=name)
        assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["StorageClass"] == name
        refused("InvalidObjectState", 403, s3.get_object, Bucket=bucket, Key="cold")
        s3.restore_object(Bucket=bucket, Key="cold", **request)
        assert s3.get_object(Bucket=bucket, Key="cold")["Body"].read() == b"x"
    put(s3, bucket, rule(Transitions=[{"Days": 30, "StorageClass": "GLACIER"}]))
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    refused("InvalidObjectState", 403, s3.restore_object, Bucket=bucket, Key="k", **request)
    refused("NoSuchKey", 404, s3.restore_object, Bucket=bucket, Key="missing", **request)


def test_an_empty_prefix_beside_another_condition_says_nothing(s3, bucket):
    put(s3, bucket, rule(Filter={"Prefix": "", "ObjectSizeLessThan": 5}, **EXPIRES))
    assert get(s3, bucket) == [rule(Filter={"ObjectSizeLessThan": 5}, **EXPIRES)]
