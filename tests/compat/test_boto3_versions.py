"""Versioning by boto3: versions, delete markers, the null version, suspension, kept losers, listing."""

import pytest

from gateway.store.object_format import ObjectRecord


def test_versions_and_markers(s3, versioned, refused):
    first = s3.put_object(Bucket=versioned, Key="k", Body=b"1")["VersionId"]
    second = s3.put_object(Bucket=versioned, Key="k", Body=b"2")["VersionId"]
    assert first != second
    assert s3.get_object(Bucket=versioned, Key="k")["VersionId"] == second
    assert s3.get_object(Bucket=versioned, Key="k", VersionId=first)["Body"].read() == b"1"
    deleted = s3.delete_object(Bucket=versioned, Key="k")
    assert deleted["DeleteMarker"] is True
    response = refused("NoSuchKey", 404, s3.get_object, Bucket=versioned, Key="k")
    headers = response["ResponseMetadata"]["HTTPHeaders"]
    assert (headers["x-amz-delete-marker"], headers["x-amz-version-id"]) == ("true", deleted["VersionId"])
    refused("404", 404, s3.head_object, Bucket=versioned, Key="k")
    marker = {"Bucket": versioned, "Key": "k", "VersionId": deleted["VersionId"]}
    response = refused("MethodNotAllowed", 405, s3.get_object, **marker)
    headers = response["ResponseMetadata"]["HTTPHeaders"]
    assert (headers["allow"], headers["x-amz-delete-marker"]) == ("DELETE", "true")
    assert "last-modified" in headers
    refused("405", 405, s3.head_object, **marker)
    removed = s3.delete_object(**marker)
    assert (removed["DeleteMarker"], removed["VersionId"]) == (True, deleted["VersionId"])
    assert s3.get_object(Bucket=versioned, Key="k")["Body"].read() == b"2"
    assert "DeleteMarker" not in s3.delete_object(Bucket=versioned, Key="k", VersionId=second)
    assert s3.get_object(Bucket=versioned, Key="k")["Body"].read() == b"1"


def test_versions_are_listed_newest_first(s3, versioned):
    ids = [s3.put_object(Bucket=versioned, Key="k", Body=b"x" * n)["VersionId"] for n in range(3)]
    marker = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
    s3.put_object(Bucket=versioned, Key="a", Body=b"")
    listing = s3.list_object_versions(Bucket=versioned)
    assert [(v["Key"], v["IsLatest"]) for v in listing["Versions"]][:2] == [("a", True), ("k", False)]
    assert [v["VersionId"] for v in listing["Versions"] if v["Key"] == "k"] == ids[::-1]
    assert [(m["VersionId"], m["IsLatest"]) for m in listing["DeleteMarkers"]] == [(marker, True)]
    found, extra = [], {}
    while True:
        page = s3.list_object_versions(Bucket=versioned, MaxKeys=2, **extra)
        found += [v["VersionId"] for v in page.get("Versions", [])] + [
            m["VersionId"] for m in page.get("DeleteMarkers", [])
        ]
        if not page["IsTruncated"]:
            break
        extra = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
    assert sorted(found[1:]) == sorted([*ids, marker])


def test_suspended_versioning_uses_the_null_version(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"before")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_object(Bucket=bucket, Key="k")["VersionId"] == "null"
    kept = s3.put_object(Bucket=bucket, Key="k", Body=b"kept")["VersionId"]
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Suspended"
    assert s3.put_object(Bucket=bucket, Key="k", Body=b"null 2")["VersionId"] == "null"
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"null 2"
    assert s3.get_object(Bucket=bucket, Key="k", VersionId="null")["Body"].read() == b"null 2"
    marker = s3.delete_object(Bucket=bucket, Key="k")
    assert (marker["VersionId"], marker["DeleteMarker"]) == ("null", True)
    refused("NoSuchKey", 404, s3.get_object, Bucket=bucket, Key="k")
    versions = s3.list_object_versions(Bucket=bucket)
    assert [v["VersionId"] for v in versions["Versions"]] == [kept]
    assert [m["VersionId"] for m in versions["DeleteMarkers"]] == ["null"]
    s3.delete_object(Bucket=bucket, Key="k", VersionId="null")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"


def test_version_ids_that_are_none(s3, versioned, refused):
    s3.put_object(Bucket=versioned, Key="k", Body=b"")
    refused("NoSuchVersion", 404, s3.get_object, Bucket=versioned, Key="k", VersionId="ab" * 16)
    refused("InvalidArgument", 400, s3.get_object, Bucket=versioned, Key="k", VersionId="nonsense")
    assert s3.delete_object(Bucket=versioned, Key="k", VersionId="ab" * 16)["VersionId"] == "ab" * 16


def test_delete_objects_with_versions(s3, versioned):
    first = s3.put_object(Bucket=versioned, Key="k", Body=b"1")["VersionId"]
    result = s3.delete_objects(Bucket=versioned, Delete={"Objects": [{"Key": "k"}, {"Key": "k", "VersionId": first}]})
    made = next(entry for entry in result["Deleted"] if entry.get("DeleteMarker"))
    assert made["DeleteMarkerVersionId"]
    assert "VersionId" not in made
    gone = next(entry for entry in result["Deleted"] if "VersionId" in entry)
    assert gone["VersionId"] == first
    assert "Versions" not in s3.list_object_versions(Bucket=versioned)


def test_conditional_put_over_a_marker(s3, versioned, refused):
    s3.put_object(Bucket=versioned, Key="k", Body=b"1")
    s3.delete_object(Bucket=versioned, Key="k")
    refused("NoSuchKey", 404, s3.put_object, Bucket=versioned, Key="k", Body=b"", IfMatch="*")
    s3.put_object(Bucket=versioned, Key="k", Body=b"2", IfNoneMatch="*")
    assert s3.get_object(Bucket=versioned, Key="k")["Body"].read() == b"2"


def test_a_kept_loser_is_a_version_of_an_unversioned_bucket(server, s3, bucket):
    if not hasattr(server.store, "state"):
        pytest.skip("only the memory store can be given a loser by hand; merges are tested with the real one")
    s3.put_object(Bucket=bucket, Key="k", Body=b"winner")

    def lose(view):
        uid = view.bucket(bucket).uid
        record = ObjectRecord(size=5, etag="e", modified_ms=1, content=(server.store.keep(b"loser"),))
        return view.plant_conflict(uid, b"k", record).id.text

    name = server.call(lambda: server.store.commit(lose))
    assert name.startswith("conflict-")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"winner"
    lost = s3.get_object(Bucket=bucket, Key="k", VersionId=name)
    assert (lost["Body"].read(), lost["VersionId"]) == (b"loser", name)
    listed = s3.list_object_versions(Bucket=bucket)["Versions"]
    assert [(v["VersionId"], v["IsLatest"]) for v in listed] == [("null", True), (name, False)]
    s3.delete_object(Bucket=bucket, Key="k", VersionId=name)
    assert len(s3.list_object_versions(Bucket=bucket)["Versions"]) == 1
