"""Archives and RestoreObject by boto3, over a store in memory that says what its cloud has. With a cloud: e2e."""

import time

import pytest

from gateway.http.settings import HttpSettings
from gateway.operations.context import OperationSettings
from gateway.operations.lifecycle_pass import LifecyclePass
from tests.gateway.http.server import Server
from tests.gateway.http.stores import opener

DAY_MS = 86_400_000
NAME = {"Bucket": "archive", "Key": "k"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    settings = HttpSettings(operations=OperationSettings(part_bytes_min=1))
    with Server(opener("memory", tmp_path_factory.mktemp("data")), settings) as running:
        client = running.client()
        client.create_bucket(Bucket="archive")
        client.put_bucket_versioning(Bucket="archive", VersioningConfiguration={"Status": "Enabled"})
        client.close()
        yield running


@pytest.fixture
def run(server):
    """``run(days)``: one pass as if it were so many days later, on a site with a cloud."""

    def make(days=0.0):
        at_ms = time.time_ns() // 1_000_000 + int(days * DAY_MS)
        return server.call(lambda: LifecyclePass(server.store, at_ms, archive=True).run())

    return make


@pytest.fixture
def ship(server):
    """The cloud has everything that is there now."""

    def make():
        async def mark():
            with server.store.view() as view:
                rows = list(view.scan_versions(view.bucket("archive").uid))
            server.store.replicated.update(row.order for row in rows)

        server.call(mark)

    return make


def test_an_archived_object_is_read_only_while_restored(s3, run, ship, refused):
    s3.put_object(**NAME, Body=b"cold", StorageClass="GLACIER")
    response = refused("InvalidObjectState", 403, s3.get_object, **NAME)
    assert response["Error"]["StorageClass"] == "GLACIER"
    head = s3.head_object(**NAME)
    assert (head["StorageClass"], head["ContentLength"]) == ("GLACIER", 4)
    refused("InvalidObjectState", 403, s3.get_object, **NAME, Range="bytes=0-1")
    source = {"CopySource": "archive/k"}
    refused("ObjectNotInActiveTierError", 403, s3.copy_object, Bucket="archive", Key="copy", **source)
    upload = s3.create_multipart_upload(Bucket="archive", Key="up")["UploadId"]
    part = {"Bucket": "archive", "Key": "up", "UploadId": upload, "PartNumber": 1, **source}
    refused("ObjectNotInActiveTierError", 403, s3.upload_part_copy, **part)
    assert run().evicted_bytes == 0  # not in the cloud yet
    ship()
    assert run().evicted_bytes > 0
    assert s3.restore_object(**NAME, RestoreRequest={"Days": 1})["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert s3.get_object(**NAME)["Body"].read() == b"cold"
    assert 'ongoing-request="false"' in s3.head_object(**NAME)["Restore"]
    assert s3.restore_object(**NAME, RestoreRequest={"Days": 2})["ResponseMetadata"]["HTTPStatusCode"] == 200
    s3.copy_object(Bucket="archive", Key="copy", **source)
    assert "StorageClass" not in s3.head_object(Bucket="archive", Key="copy")
    assert run(1).restores_ended == 0
    assert run(4).restores_ended == 1
    refused("InvalidObjectState", 403, s3.get_object, **NAME)
    assert "Restore" not in s3.head_object(**NAME)


def test_a_copy_onto_itself_brings_a_restored_object_back_for_good(s3, refused):
    s3.put_object(**NAME, Body=b"cold", StorageClass="DEEP_ARCHIVE")
    s3.restore_object(**NAME, RestoreRequest={"Days": 1, "Tier": "Bulk"})
    s3.copy_object(**NAME, CopySource="archive/k", StorageClass="STANDARD")
    assert s3.get_object(**NAME)["Body"].read() == b"cold"
    refused("InvalidObjectState", 403, s3.restore_object, **NAME, RestoreRequest={"Days": 1})


def test_an_upload_into_the_archive(s3, refused):
    upload = s3.create_multipart_upload(**NAME, StorageClass="GLACIER")["UploadId"]
    etag = s3.upload_part(**NAME, UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    s3.complete_multipart_upload(**NAME, UploadId=upload, MultipartUpload=parts)
    refused("InvalidObjectState", 403, s3.get_object, **NAME)
    refused("InvalidObjectState", 403, s3.get_object, **NAME, PartNumber=1)


@pytest.mark.parametrize(
    ("code", "request_"),
    [
        ("MalformedXML", {}),
        ("InvalidArgument", {"Days": 0}),
        ("InvalidArgument", {"Days": -1}),
        ("MalformedXML", {"Days": 1, "Tier": "Fast"}),
        ("MalformedXML", {"Days": 1, "GlacierJobParameters": {"Tier": "Fast"}}),
    ],
)
def test_requests_that_are_none(s3, refused, code, request_):
    s3.put_object(**NAME, Body=b"cold", StorageClass="GLACIER")
    refused(code, 400, s3.restore_object, **NAME, RestoreRequest=request_)
    refused("InvalidObjectState", 403, s3.get_object, **NAME)


def test_what_cannot_be_restored(s3, refused):
    request = {"RestoreRequest": {"Days": 1}}
    s3.put_object(Bucket="archive", Key="warm", Body=b"", StorageClass="STANDARD_IA")
    refused("InvalidObjectState", 403, s3.restore_object, Bucket="archive", Key="warm", **request)
    s3.put_object(Bucket="archive", Key="tiered", Body=b"", StorageClass="INTELLIGENT_TIERING")
    refused("ObjectAlreadyInActiveTierError", 403, s3.restore_object, Bucket="archive", Key="tiered", **request)
    refused("NoSuchKey", 404, s3.restore_object, Bucket="archive", Key="missing", **request)
    select = {"Type": "SELECT", "Days": 1}
    refused("NotImplemented", 501, s3.restore_object, **NAME, RestoreRequest=select)
    marker = s3.delete_object(Bucket="archive", Key="warm")["VersionId"]
    refused("MethodNotAllowed", 405, s3.restore_object, Bucket="archive", Key="warm", VersionId=marker, **request)


def test_a_rule_archives_what_the_cloud_has(s3, run, ship, refused):
    first = s3.put_object(Bucket="archive", Key="r/k", Body=b"x" * 1000)["VersionId"]
    rules = [
        {
            "ID": "t",
            "Status": "Enabled",
            "Filter": {"And": {"Prefix": "r/", "ObjectSizeGreaterThan": 0}},
            "Transitions": [{"Days": 5, "StorageClass": "GLACIER"}],
            "Expiration": {"Days": 50},
        }
    ]
    s3.put_bucket_lifecycle_configuration(Bucket="archive", LifecycleConfiguration={"Rules": rules})
    assert run(6).waiting == 1
    assert s3.get_object(Bucket="archive", Key="r/k")["Body"].read() == b"x" * 1000
    ship()
    assert run(6).transitioned == 1
    refused("InvalidObjectState", 403, s3.get_object, Bucket="archive", Key="r/k")
    assert run(51).expired == 1
    refused("NoSuchKey", 404, s3.get_object, Bucket="archive", Key="r/k")
    refused("InvalidObjectState", 403, s3.get_object, Bucket="archive", Key="r/k", VersionId=first)
    s3.delete_bucket_lifecycle(Bucket="archive")


def test_listings_tell_of_restores_when_asked(s3, ship):
    name = {"Bucket": "archive", "Key": "listed"}
    version = s3.put_object(**name, Body=b"cold", StorageClass="DEEP_ARCHIVE")["VersionId"]
    s3.put_object(Bucket="archive", Key="listed-2", Body=b"cold", StorageClass="GLACIER")
    ship()
    s3.restore_object(**name, RestoreRequest={"Days": 2})
    asked = {"Bucket": "archive", "Prefix": "listed", "OptionalObjectAttributes": ["RestoreStatus"]}
    for call, entries in (
        (s3.list_objects, "Contents"),
        (s3.list_objects_v2, "Contents"),
        (s3.list_object_versions, "Versions"),
    ):
        first, second = call(**asked)[entries]
        status = first["RestoreStatus"]
        assert status["IsRestoreInProgress"] is False
        assert status["RestoreExpiryDate"].timestamp() > time.time() + DAY_MS / 1000
        assert "RestoreStatus" not in second
        plain = call(Bucket="archive", Prefix="listed")[entries]
        assert not any("RestoreStatus" in entry for entry in plain)
    assert first["VersionId"] == version
