"""pyarrow's S3 file system: the AWS SDK for C++ with its own checksums, streams and multipart."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.compat.clients.features import proves
from tests.compat.clients.places import Place

pyarrow = pytest.importorskip("pyarrow")
pyarrow_fs = pytest.importorskip("pyarrow.fs")
parquet = pytest.importorskip("pyarrow.parquet")
pytestmark = [pytest.mark.e2e, pytest.mark.compat]
CLIENT = "pyarrow (AWS SDK for C++)"
KEYS = (
    "with space",
    "plus+plus",
    "ümlaut/ключ/日本/🚀",
    "percent%2Fsigns%zz",
    "quote's\"and<angles>&amps;",
    "~()!,;:@=$",
)
"""Without doubled and outer slashes and dots, which pyarrow's paths refuse."""


def make_fs(place: Place, secret: str, address: str = "", **more: Any) -> Any:
    return pyarrow_fs.S3FileSystem(
        access_key=place.site.access_key,
        secret_key=secret,
        endpoint_override=address or place.address,
        scheme=place.scheme,
        region="us-east-1",
        tls_ca_file_path=str(place.root) if place.root else None,
        retry_strategy=pyarrow_fs.AwsStandardS3RetryStrategy(max_attempts=1),
        **more,
    )


@pytest.fixture
def fs(place: Place) -> Any:
    return make_fs(place, place.site.secret_key)


@proves("small", "cross", "copy", "list", "delete_many", "no_such_key", "metadata")
def test_files(fs: Any, place: Place) -> None:
    root = f"{place.bucket}/dir"
    with fs.open_output_stream(f"{root}/small", metadata={"Content-Type": "text/x-thing"}) as stream:
        stream.write(b"hello")
    assert place.read("dir/small") == b"hello"
    with fs.open_input_stream(f"{root}/small") as stream:
        assert stream.read() == b"hello"
    assert place.boto3.head_object(Bucket=place.bucket, Key="dir/small")["ContentType"] == "text/x-thing"
    fs.copy_file(f"{root}/small", f"{root}/deep/copy")
    found = fs.get_file_info(pyarrow_fs.FileSelector(place.bucket, recursive=True))
    assert {info.path: info.size for info in found if info.is_file} == {f"{root}/small": 5, f"{root}/deep/copy": 5}
    fs.delete_dir(root)
    assert place.keys() == []
    with pytest.raises(FileNotFoundError):
        fs.open_input_file(f"{root}/small")


@proves("stream", "multipart", "range", "checksums")
def test_large_file(fs: Any, place: Place) -> None:
    body = os.urandom(17 << 20)
    with fs.open_output_stream(f"{place.bucket}/large") as stream:
        for start in range(0, len(body), 1_000_000):
            stream.write(body[start : start + 1_000_000])
    with fs.open_input_file(f"{place.bucket}/large") as file:
        file.seek(6_000_000)
        assert file.read(1000) == body[6_000_000:6_001_000]
    assert place.read("large") == body


@proves("range", "multipart")
def test_parquet(fs: Any, place: Place) -> None:
    table = pyarrow.table({"n": list(range(100_000)), "s": [str(n % 7) for n in range(100_000)]})
    parquet.write_table(table, f"{place.bucket}/t.parquet", filesystem=fs)
    assert parquet.read_table(f"{place.bucket}/t.parquet", filesystem=fs, columns=["s"]).num_rows == 100_000


@proves("keys")
def test_keys(fs: Any, place: Place) -> None:
    for key in KEYS:
        with fs.open_output_stream(f"{place.bucket}/{key}") as stream:
            stream.write(key.encode())
        with fs.open_input_stream(f"{place.bucket}/{key}") as stream:
            assert stream.read() == key.encode()
    assert set(place.keys()) - {"ümlaut/", "ümlaut/ключ/", "ümlaut/ключ/日本/"} == set(KEYS)


@proves("virtual_host")
def test_virtual_host(place: Place) -> None:
    """Its HTTP library takes every name under localhost for loopback."""
    address = place.named.split("//")[1]
    fs = make_fs(place, place.site.secret_key, address, force_virtual_addressing=True)
    with fs.open_output_stream(f"{place.bucket}/a b") as stream:
        stream.write(b"by name")
    assert place.read("a b") == b"by name"


@proves("wrong_secret")
def test_wrong_secret(place: Place) -> None:
    with pytest.raises(OSError, match=r"SIGNATURE_DOES_NOT_MATCH|403|ACCESS_DENIED"):
        make_fs(place, place.wrong_secret).open_output_stream(f"{place.bucket}/k").close()
    assert place.keys() == []
