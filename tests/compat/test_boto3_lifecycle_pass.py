"""What lifecycle rules do, seen by boto3: passes at times of the test's choosing over a running gateway's store."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from gateway.operations.lifecycle_pass import SCAN_VERSIONS, LifecyclePass

DAY_MS = 86_400_000


def rule(**parts):
    return {"ID": "one", "Status": "Enabled", "Filter": {"Prefix": ""}, **parts}


@pytest.fixture
def ruled(s3):
    def put(bucket, *rules):
        s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)})

    return put


@pytest.fixture
def run(server, s3):
    """``run(days)``: one pass as if it were so many days later (and the midnight after)."""

    def make(days):
        at_ms = time.time_ns() // 1_000_000 + days * DAY_MS
        return server.call(lambda: LifecyclePass(server.store, at_ms).run())

    yield make
    for bucket in s3.list_buckets()["Buckets"]:  # so that no other test's pass walks these
        s3.delete_bucket_lifecycle(Bucket=bucket["Name"])


def keys(s3, bucket):
    return [one["Key"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def versions(s3, bucket):
    """(key, id, latest) of versions, and of markers."""
    listing = s3.list_object_versions(Bucket=bucket)
    return tuple(
        [(one["Key"], one["VersionId"], one["IsLatest"]) for one in listing.get(kind, [])]
        for kind in ("Versions", "DeleteMarkers")
    )


def test_expiration_waits_for_its_day(s3, bucket, ruled, run):
    ruled(
        bucket,
        rule(ID="short", Filter={"Prefix": "short/"}, Expiration={"Days": 1}),
        rule(ID="long", Filter={"Prefix": "long/"}, Expiration={"Days": 5}),
        rule(ID="off", Status="Disabled", Filter={"Prefix": "kept/"}, Expiration={"Days": 1}),
    )
    for key in ("short/a", "short/b", "long/a", "kept/a"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert run(0).expired == run(0.9).expired == 0
    assert len(keys(s3, bucket)) == 4
    assert run(2).expired == 2
    assert keys(s3, bucket) == ["kept/a", "long/a"]
    assert run(6).expired == 1
    assert keys(s3, bucket) == ["kept/a"]


def test_dates_tags_and_sizes(s3, bucket, ruled, run):
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    tagged = {"And": {"Prefix": "t", "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]}}
    ruled(
        bucket,
        rule(ID="past", Filter={"Prefix": "past/"}, Expiration={"Date": midnight}),
        rule(ID="coming", Filter={"Prefix": "coming/"}, Expiration={"Date": midnight + timedelta(days=3)}),
        rule(ID="tags", Filter=tagged, Expiration={"Days": 1}),
        rule(ID="large", Filter={"ObjectSizeGreaterThan": 100}, Expiration={"Days": 1}),
        rule(ID="small", Filter={"And": {"Prefix": "s", "ObjectSizeLessThan": 2}}, Expiration={"Days": 1}),
    )
    for key, size, tags in (
        ("past/a", 10, ""),
        ("coming/a", 10, ""),
        ("t-both", 10, "a=1&b=2&c=3"),
        ("t-one", 10, "a=1"),
        ("t-later", 10, ""),
        ("x-100", 100, ""),
        ("x-101", 101, ""),
        ("s-1", 1, ""),
        ("s-2", 2, ""),
    ):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x" * size, Tagging=tags)
    tags = [{"Key": key, "Value": value} for key, value in (("a", "1"), ("b", "2"))]
    s3.put_object_tagging(Bucket=bucket, Key="t-later", Tagging={"TagSet": tags})
    assert run(0).expired == 1
    run(2)
    assert keys(s3, bucket) == ["coming/a", "s-2", "t-one", "x-100"]
    run(4)
    assert keys(s3, bucket) == ["s-2", "t-one", "x-100"]


def test_in_a_versioned_bucket_expiry_leaves_a_marker_and_then_the_marker_goes(s3, versioned, ruled, run):
    ruled(
        versioned,
        rule(ID="e", Expiration={"Days": 1}),
        rule(ID="n", NoncurrentVersionExpiration={"NoncurrentDays": 3}),
    )
    version = s3.put_object(Bucket=versioned, Key="k", Body=b"x")["VersionId"]
    assert run(2).expired == 1
    found, markers = versions(s3, versioned)
    assert found == [("k", version, False)]
    assert [(key, latest) for key, _, latest in markers] == [("k", True)]
    assert run(2).expired == 0
    assert s3.get_object(Bucket=versioned, Key="k", VersionId=version)["Body"].read() == b"x"
    assert run(5).removed == 1
    assert run(5).markers_removed == 1
    assert versions(s3, versioned) == ([], [])


def test_markers_that_hide_nothing_go_where_a_rule_says_so(s3, versioned, ruled, run):
    ruled(versioned, rule(Expiration={"ExpiredObjectDeleteMarker": True}))
    kept = s3.put_object(Bucket=versioned, Key="hidden", Body=b"x")["VersionId"]
    s3.delete_object(Bucket=versioned, Key="hidden")
    gone = s3.put_object(Bucket=versioned, Key="alone", Body=b"x")["VersionId"]
    s3.delete_object(Bucket=versioned, Key="alone")
    s3.delete_object(Bucket=versioned, Key="alone", VersionId=gone)
    assert run(0).markers_removed == 1
    found, markers = versions(s3, versioned)
    assert found == [("hidden", kept, False)]
    assert [key for key, _, _ in markers] == ["hidden"]


def test_noncurrent_versions_are_removed_but_the_newest(s3, versioned, ruled, run):
    ids = [s3.put_object(Bucket=versioned, Key="k", Body=b"%d" % number)["VersionId"] for number in range(6)]
    s3.put_object(Bucket=versioned, Key="l", Body=b"x")
    ruled(versioned, rule(NoncurrentVersionExpiration={"NoncurrentDays": 2, "NewerNoncurrentVersions": 2}))
    assert run(1).removed == 0
    assert run(3).removed == 3
    found, _ = versions(s3, versioned)
    assert [ident for key, ident, _ in found if key == "k"] == ids[:2:-1]
    assert run(30).removed == 0
    ruled(versioned, rule(NoncurrentVersionExpiration={"NoncurrentDays": 2}))
    assert run(3).removed == 2
    assert [key for key, _, _ in versions(s3, versioned)[0]] == ["k", "l"]


def test_locked_versions_stay(s3, bucket, ruled, run):
    name = bucket + "-locked"
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    until = datetime.now(UTC) + timedelta(days=1)
    locks = (
        {"ObjectLockLegalHoldStatus": "ON"},
        {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until},
        {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until},
        {},
    )
    for number, lock in enumerate(locks):
        s3.put_object(Bucket=name, Key=str(number), Body=b"x", **lock)
    ruled(name, rule(Expiration={"Days": 1}, NoncurrentVersionExpiration={"NoncurrentDays": 1}))
    assert run(2).expired == 4  # markers hide, and delete nothing
    summary = run(400)  # whatever the pass takes the time to be, locks go by the clock
    assert (summary.removed, summary.locked) == (1, 3)
    assert [key for key, _, _ in versions(s3, name)[0]] == ["0", "1", "2"]


def test_uploads_are_aborted(s3, bucket, ruled, run):
    ruled(bucket, rule(Filter={"Prefix": "up/"}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 2}))
    old = s3.create_multipart_upload(Bucket=bucket, Key="up/k")["UploadId"]
    other = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="up/k", UploadId=old, PartNumber=1, Body=b"x")
    assert run(1).aborted == 0
    assert run(3).aborted == 1
    assert [one["UploadId"] for one in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [other]


def test_transitions_change_the_class_and_nothing_else(s3, versioned, ruled, run):
    large = {"ObjectSizeGreaterThan": 0}
    old = s3.put_object(Bucket=versioned, Key="k", Body=b"old")["VersionId"]
    s3.put_object(Bucket=versioned, Key="k", Body=b"new", Metadata={"m": "1"})
    s3.put_object(Bucket=versioned, Key="cold", Body=b"x", StorageClass="GLACIER_IR")
    before = s3.head_object(Bucket=versioned, Key="k")
    ruled(
        versioned,
        rule(ID="t", Filter=large, Transitions=[{"Days": 30, "StorageClass": "STANDARD_IA"}]),
        rule(ID="u", Filter=large, Transitions=[{"Days": 60, "StorageClass": "GLACIER_IR"}]),
        rule(ID="n", Filter=large, NoncurrentVersionTransitions=[{"NoncurrentDays": 30, "StorageClass": "ONEZONE_IA"}]),
        rule(ID="all", Transitions=[{"Days": 0, "StorageClass": "INTELLIGENT_TIERING"}]),  # not for small ones
    )
    assert run(3).transitioned == 0
    assert run(31).transitioned == 2
    head = s3.head_object(Bucket=versioned, Key="k")
    assert head["StorageClass"] == "STANDARD_IA"
    assert (head["LastModified"], head["VersionId"], head["Metadata"]) == (
        before["LastModified"],
        before["VersionId"],
        {"m": "1"},
    )
    assert s3.head_object(Bucket=versioned, Key="k", VersionId=old)["StorageClass"] == "ONEZONE_IA"
    assert s3.get_object(Bucket=versioned, Key="k")["Body"].read() == b"new"
    listed = {one["Key"]: one["StorageClass"] for one in s3.list_objects_v2(Bucket=versioned)["Contents"]}
    assert listed == {"k": "STANDARD_IA", "cold": "GLACIER_IR"}
    listed = {one["VersionId"]: one["StorageClass"] for one in s3.list_object_versions(Bucket=versioned)["Versions"]}
    assert (listed[head["VersionId"]], listed[old]) == ("STANDARD_IA", "ONEZONE_IA")
    assert run(61).transitioned == 1
    assert s3.head_object(Bucket=versioned, Key="k")["StorageClass"] == "GLACIER_IR"
    s3.put_object(Bucket=versioned, Key="k", Body=b"newest")
    assert "StorageClass" not in s3.head_object(Bucket=versioned, Key="k")


def test_a_pass_goes_through_more_than_one_page(s3, versioned, ruled, run):
    count = SCAN_VERSIONS // 100 + 2
    for number in range(count):
        for _ in range(100):
            s3.put_object(Bucket=versioned, Key=f"k{number}", Body=b"x")
    ruled(versioned, rule(Expiration={"Days": 1}, NoncurrentVersionExpiration={"NoncurrentDays": 1}))
    summary = run(3)
    assert (summary.versions, summary.expired, summary.removed) == (count * 100, count, count * 99)
    assert [key for key, _, _ in versions(s3, versioned)[0]] == [f"k{number}" for number in range(count)]


def test_suspended_versioning(s3, versioned, ruled, run):
    s3.put_bucket_versioning(Bucket=versioned, VersioningConfiguration={"Status": "Suspended"})
    s3.put_object(Bucket=versioned, Key="k", Body=b"null")
    ruled(versioned, rule(Expiration={"Days": 1}, NoncurrentVersionExpiration={"NoncurrentDays": 1}))
    assert run(2).expired == 1
    assert keys(s3, versioned) == []
    assert len(versions(s3, versioned)[1]) == 1
    assert run(4).removed == 1
    assert run(4).markers_removed == 1
    assert versions(s3, versioned) == ([], [])


def test_buckets_without_rules_are_left_alone(s3, bucket, ruled, run):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert run(1000).buckets == 0
    ruled(bucket, rule(Expiration={"Days": 1}))
    s3.delete_bucket_lifecycle(Bucket=bucket)
    assert run(1000).expired == 0
    assert keys(s3, bucket) == ["k"]
