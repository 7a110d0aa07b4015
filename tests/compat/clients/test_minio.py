"""minio-py: signed chunks over http, unsigned payloads over https, streams of unknown length in parts."""

from __future__ import annotations

import io
import os
from typing import Any

import pytest

from tests.compat.clients.features import ODD_KEYS, proves
from tests.compat.clients.places import Place
from tests.compat.clients.web import fetch

minio = pytest.importorskip("minio")
urllib3 = pytest.importorskip("urllib3")
pytestmark = [pytest.mark.e2e, pytest.mark.compat]
CLIENT = "minio-py"


def make_client(place: Place, address: str, secret: str) -> Any:
    pool = urllib3.PoolManager(ca_certs=str(place.root)) if place.root else None
    return minio.Minio(
        endpoint=address,
        access_key=place.site.access_key,
        secret_key=secret,
        secure=place.root is not None,
        http_client=pool,
    )


@pytest.fixture
def client(place: Place) -> Any:
    return make_client(place, place.address, place.site.secret_key)


def put(client: Any, place: Place, key: str, body: bytes, **more: Any) -> None:
    client.put_object(bucket_name=place.bucket, object_name=key, data=io.BytesIO(body), length=len(body), **more)


def get(client: Any, place: Place, key: str, **more: Any) -> bytes:
    answer = client.get_object(bucket_name=place.bucket, object_name=key, **more)
    try:
        body: bytes = answer.read()
        return body
    finally:
        answer.close()
        answer.release_conn()


@proves("small", "metadata", "no_such_key", "cross")
def test_small(client: Any, place: Place) -> None:
    assert client.bucket_exists(bucket_name=place.bucket)
    put(client, place, "k", b"hello", metadata={"x": "y z"})
    stat = client.stat_object(bucket_name=place.bucket, object_name="k")
    assert (stat.size, stat.metadata["x-amz-meta-x"]) == (5, "y z")
    assert get(client, place, "k") == place.read("k") == b"hello"
    client.remove_object(bucket_name=place.bucket, object_name="k")
    with pytest.raises(minio.error.S3Error, match="NoSuchKey"):
        get(client, place, "k")


@proves("stream", "multipart", "range")
def test_stream_of_unknown_length(client: Any, place: Place) -> None:
    body = os.urandom(17 << 20)
    client.put_object(
        bucket_name=place.bucket, object_name="large", data=io.BytesIO(body), length=-1, part_size=5 << 20
    )
    assert get(client, place, "large") == body
    assert get(client, place, "large", offset=6_000_000, length=1000) == body[6_000_000:6_001_000]
    assert place.boto3.head_object(Bucket=place.bucket, Key="large")["ETag"].endswith('-4"')


@proves("list", "keys", "delete_many")
def test_keys(client: Any, place: Place) -> None:
    for key in ODD_KEYS:
        put(client, place, key, key.encode())
        assert get(client, place, key) == key.encode()
    assert {row.object_name for row in client.list_objects(bucket_name=place.bucket, recursive=True)} == set(ODD_KEYS)
    top = [row.object_name for row in client.list_objects(bucket_name=place.bucket) if row.is_dir]
    assert top == ["/", "double/", "percent%2Fsigns%zz"] or {"/", "double/", "trailing/", "ümlaut/"} == set(top)
    doomed = [minio.deleteobjects.DeleteObject(key) for key in ODD_KEYS]
    assert list(client.remove_objects(bucket_name=place.bucket, delete_object_list=doomed)) == []
    assert place.keys() == []


@proves("copy")
def test_copy(client: Any, place: Place) -> None:
    put(client, place, "from ü+", b"copied")
    source = minio.commonconfig.CopySource(place.bucket, "from ü+")
    client.copy_object(bucket_name=place.bucket, object_name="to", source=source)
    assert get(client, place, "to") == b"copied"


@proves("presign_get", "presign_put")
def test_presigned(client: Any, place: Place) -> None:
    fetch(client.presigned_put_object(bucket_name=place.bucket, object_name="ü + b"), place.root, b"by url")
    assert fetch(client.presigned_get_object(bucket_name=place.bucket, object_name="ü + b"), place.root) == b"by url"


@proves("tagging", "versioning")
def test_tags_and_versions(client: Any, place: Place) -> None:
    enabled = minio.versioningconfig.VersioningConfig(minio.commonconfig.ENABLED)
    client.set_bucket_versioning(bucket_name=place.bucket, config=enabled)
    tags = minio.commonconfig.Tags.new_object_tags()
    tags["a b"] = "c+d"
    put(client, place, "k", b"one", tags=tags)
    put(client, place, "k", b"two")
    rows = list(client.list_objects(bucket_name=place.bucket, include_version=True))
    assert len(rows) == 2
    old = next(row.version_id for row in rows if row.is_latest != "true")
    assert get(client, place, "k", version_id=old) == b"one"
    assert client.get_object_tags(bucket_name=place.bucket, object_name="k", version_id=old) == tags


@proves("virtual_host")
def test_virtual_host(named: Place) -> None:
    client = make_client(named, named.named.split("//")[1], named.site.secret_key)
    client.enable_virtual_style_endpoint()
    put(client, named, "a b", b"by name")
    assert get(client, named, "a b") == named.read("a b") == b"by name"


@proves("wrong_secret")
def test_wrong_secret(place: Place) -> None:
    client = make_client(place, place.address, place.wrong_secret)
    with pytest.raises(minio.error.S3Error, match="SignatureDoesNotMatch"):
        put(client, place, "k", b"x")
    assert place.keys() == []
