"""s3fs (fsspec over aiobotocore): files, ranges, exclusive creation, tags, versions."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.compat.clients.features import proves
from tests.compat.clients.places import Place
from tests.compat.clients.web import fetch

s3fs = pytest.importorskip("s3fs")
pytestmark = [pytest.mark.e2e, pytest.mark.compat]
CLIENT = "s3fs"
KEYS = ("with space", "plus+plus", "ümlaut/ключ/日本/🚀", "percent%2Fsigns%zz", "~tilde(),;:@=$", "a/../b", "a/./b")
"""Without what means something else to fsspec: doubled and outer slashes, and the characters of globs."""


def make_fs(place: Place, endpoint: str, secret: str, **more: Any) -> Any:
    return s3fs.S3FileSystem(
        key=place.site.access_key,
        secret=secret,
        endpoint_url=endpoint,
        client_kwargs={"verify": str(place.root)} if place.root else {},
        skip_instance_cache=True,
        use_listings_cache=False,
        **more,
    )


@pytest.fixture
def fs(place: Place) -> Any:
    return make_fs(place, place.site.endpoint, place.site.secret_key)


@proves("small", "list", "no_such_key", "cross", "delete_many", "copy")
def test_files(fs: Any, place: Place) -> None:
    root = f"{place.bucket}/dir"
    with fs.open(f"{root}/small", "wb") as file:
        file.write(b"hello")
    fs.touch(f"{root}/empty")
    assert fs.cat(f"{root}/small") == place.read("dir/small") == b"hello"
    assert sorted(fs.ls(root, detail=False)) == [f"{root}/empty", f"{root}/small"]
    assert fs.ls(place.bucket, detail=False) == [root]
    fs.mv(f"{root}/small", f"{root}/moved")
    assert fs.cat(f"{root}/moved") == b"hello"
    with pytest.raises(FileNotFoundError):
        fs.cat(f"{root}/small")
    fs.rm(root, recursive=True)
    assert place.keys() == []


@proves("stream", "multipart", "range")
def test_large_file(fs: Any, place: Place) -> None:
    body = os.urandom(17 << 20)
    with fs.open(f"{place.bucket}/large", "wb", block_size=5 << 20) as file:
        for start in range(0, len(body), 1_000_000):
            file.write(body[start : start + 1_000_000])
    with fs.open(f"{place.bucket}/large", "rb") as file:
        file.seek(6_000_000)
        assert file.read(1000) == body[6_000_000:6_001_000]
    assert fs.cat(f"{place.bucket}/large") == body
    fs.cp(f"{place.bucket}/large", f"{place.bucket}/copy")
    assert place.read("copy") == body


@proves("keys")
def test_keys(fs: Any, place: Place) -> None:
    for key in KEYS:
        fs.pipe(f"{place.bucket}/{key}", key.encode())
        assert fs.cat_file(f"{place.bucket}/{key}") == key.encode()
    assert set(place.keys()) == set(KEYS)
    assert set(fs.find(place.bucket)) == {f"{place.bucket}/{key}" for key in KEYS}


@proves("if_none_match")
def test_exclusive_creation(fs: Any, place: Place) -> None:
    fs.pipe_file(f"{place.bucket}/k", b"first", mode="create")
    with pytest.raises(FileExistsError):
        fs.pipe_file(f"{place.bucket}/k", b"second", mode="create")
    assert place.read("k") == b"first"


@proves("presign_get", "metadata", "tagging")
def test_signed_metadata_and_tags(fs: Any, place: Place) -> None:
    path = f"{place.bucket}/a b+c"
    fs.pipe(path, b"signed")
    signed = make_fs(place, place.site.endpoint, place.site.secret_key, config_kwargs={"signature_version": "s3v4"})
    assert fetch(signed.sign(path), place.root) == b"signed"
    fs.setxattr(path, attribute="value of it")
    assert fs.metadata(path)["attribute"] == "value of it"
    fs.put_tags(path, {"a b": "c+d"})
    assert fs.get_tags(path) == {"a b": "c+d"}


@proves("versioning")
def test_versions(place: Place) -> None:
    fs = make_fs(place, place.site.endpoint, place.site.secret_key, version_aware=True)
    fs.make_bucket_versioned(place.bucket, True)
    path = f"{place.bucket}/k"
    fs.pipe(path, b"one")
    first = fs.object_version_info(path)[0]["VersionId"]
    fs.pipe(path, b"two")
    assert fs.cat_file(path, version_id=first) == b"one"
    assert fs.cat(path) == b"two"


@proves("virtual_host")
def test_virtual_host(named: Place) -> None:
    style = {"s3": {"addressing_style": "virtual"}}
    fs = make_fs(named, named.named, named.site.secret_key, config_kwargs=style)
    fs.pipe(f"{named.bucket}/a b", b"by name")
    assert fs.cat(f"{named.bucket}/a b") == named.read("a b") == b"by name"


@proves("wrong_secret")
def test_wrong_secret(place: Place) -> None:
    fs = make_fs(place, place.site.endpoint, place.wrong_secret)
    with pytest.raises(PermissionError):
        fs.pipe(f"{place.bucket}/k", b"x")
    assert place.keys() == []
