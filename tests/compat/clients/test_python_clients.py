"""Python's other S3 clients: minio-py, s3fs (aiobotocore), pyarrow (the AWS SDK for C++), obstore (Rust)."""

from __future__ import annotations

import io
import os
import urllib.request
from typing import Any

import pytest

from tests.support.site import Site

pytestmark = pytest.mark.e2e
TAG = {"x": "y"}
LARGE = os.urandom(11 << 20)


def test_minio(site: Site, bucket: str) -> None:
    minio = pytest.importorskip("minio")
    client = minio.Minio(
        endpoint=f"127.0.0.1:{site.port}", access_key=site.access_key, secret_key=site.secret_key, secure=False
    )
    assert client.bucket_exists(bucket_name=bucket)
    client.put_object(
        bucket_name=bucket, object_name="a/ü+ b", data=io.BytesIO(b"hello"), length=5, metadata={"x": "y"}
    )
    client.put_object(bucket_name=bucket, object_name="large", data=io.BytesIO(LARGE), length=-1, part_size=5 << 20)
    for name, wanted in (("a/ü+ b", b"hello"), ("large", LARGE)):
        answer = client.get_object(bucket_name=bucket, object_name=name)
        assert answer.read() == wanted
        answer.close()
        answer.release_conn()
    assert client.stat_object(bucket_name=bucket, object_name="a/ü+ b").metadata["x-amz-meta-x"] == "y"
    assert [row.object_name for row in client.list_objects(bucket_name=bucket, recursive=True)] == ["a/ü+ b", "large"]
    url = client.presigned_get_object(bucket_name=bucket, object_name="a/ü+ b")
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"hello"
    for name in ("a/ü+ b", "large"):
        client.remove_object(bucket_name=bucket, object_name=name)
    client.remove_bucket(bucket_name=bucket)


def test_s3fs(site: Site, bucket: str) -> None:
    s3fs = pytest.importorskip("s3fs")
    fs = s3fs.S3FileSystem(
        key=site.access_key, secret=site.secret_key, endpoint_url=site.endpoint, skip_instance_cache=True
    )
    with fs.open(f"{bucket}/dir/small", "wb") as file:
        file.write(b"hello")
    with fs.open(f"{bucket}/dir/large", "wb", block_size=5 << 20) as file:
        file.write(LARGE)
    assert fs.cat(f"{bucket}/dir/small") == b"hello"
    with fs.open(f"{bucket}/dir/large", "rb") as file:
        file.seek(6_000_000)
        assert file.read(1000) == LARGE[6_000_000:6_001_000]
    assert sorted(fs.ls(f"{bucket}/dir", detail=False)) == [f"{bucket}/dir/large", f"{bucket}/dir/small"]
    fs.mv(f"{bucket}/dir/small", f"{bucket}/dir/moved")
    assert not fs.exists(f"{bucket}/dir/small")
    fs.rm(f"{bucket}/dir", recursive=True)
    assert fs.ls(bucket, detail=False, refresh=True) == []


def test_pyarrow(site: Site, bucket: str) -> None:
    pyarrow_fs = pytest.importorskip("pyarrow.fs")
    fs = pyarrow_fs.S3FileSystem(
        access_key=site.access_key,
        secret_key=site.secret_key,
        endpoint_override=f"127.0.0.1:{site.port}",
        scheme="http",
        region="us-east-1",
    )
    with fs.open_output_stream(f"{bucket}/dir/large") as stream:
        stream.write(LARGE)
    with fs.open_input_file(f"{bucket}/dir/large") as file:
        file.seek(6_000_000)
        assert file.read(1000) == LARGE[6_000_000:6_001_000]
        file.seek(0)
        assert file.read() == LARGE
    found = fs.get_file_info(pyarrow_fs.FileSelector(bucket, recursive=True))
    assert {info.path: info.size for info in found if info.is_file} == {f"{bucket}/dir/large": len(LARGE)}
    fs.delete_dir(f"{bucket}/dir")


def test_pyarrow_dataset(site: Site, bucket: str, client: Any) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import fs as pyarrow_fs
    from pyarrow import parquet

    fs = pyarrow_fs.S3FileSystem(
        access_key=site.access_key,
        secret_key=site.secret_key,
        endpoint_override=site.endpoint,
        scheme="http",
        region="us-east-1",
    )
    table = pyarrow.table({"n": list(range(100_000)), "s": [str(n % 7) for n in range(100_000)]})
    parquet.write_table(table, f"{bucket}/t.parquet", filesystem=fs)
    assert parquet.read_table(f"{bucket}/t.parquet", filesystem=fs, columns=["s"]).num_rows == 100_000


def test_obstore(site: Site, bucket: str) -> None:
    obstore = pytest.importorskip("obstore")
    from obstore.store import S3Store

    store = S3Store(
        bucket,
        endpoint=site.endpoint,
        access_key_id=site.access_key,
        secret_access_key=site.secret_key,
        region="us-east-1",
        client_options={"allow_http": True},
    )
    obstore.put(store, "dir/small", b"hello", mode="create")
    with pytest.raises(obstore.exceptions.AlreadyExistsError):
        obstore.put(store, "dir/small", b"again", mode="create")
    obstore.put(store, "dir/large", LARGE, use_multipart=True, chunk_size=5 << 20)
    assert bytes(obstore.get_range(store, "dir/large", start=6_000_000, end=6_001_000)) == LARGE[6_000_000:6_001_000]
    assert bytes(obstore.get(store, "dir/large").bytes()) == LARGE
    assert [row["path"] for page in obstore.list(store) for row in page] == ["dir/large", "dir/small"]
    obstore.copy(store, "dir/small", "dir/copy")
    obstore.delete(store, ["dir/small", "dir/large", "dir/copy"])
    assert [row for page in obstore.list(store) for row in page] == []
