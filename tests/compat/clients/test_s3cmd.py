"""s3cmd: an old client with habits of its own (SigV4 by header, its own escapes, multipart of 15 MB)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compat.clients.features import proves
from tests.compat.clients.places import Place
from tests.compat.clients.trees import Runner, read_tree
from tests.compat.clients.web import fetch

pytestmark = pytest.mark.e2e
CLIENT = "s3cmd"
KEYS = (
    "with space",
    "plus+plus",
    "ümlaut/ключ/日本",
    "quote's\"and<angles>&amps;",
    "~tilde()!,;:@=$",
    "a//b",
    "a/../b",
)


def write_config(place: Place, path: Path, secret: str) -> Path:
    trust = f"ca_certs_file = {place.root}\n" if place.root else ""
    path.write_text(
        f"[default]\naccess_key = {place.site.access_key}\nsecret_key = {secret}\nhost_base = {place.address}\n"
        f"host_bucket = {place.address}\nuse_https = {place.root is not None}\nsignature_v2 = False\n"
        f"signurl_use_https = {place.root is not None}\n{trust}"
    )
    return path


@pytest.fixture
def s3cmd(program: Callable[[str], Runner], place: Place, tmp_path: Path) -> Runner:
    run = program("s3cmd")
    config = write_config(place, tmp_path / "s3cfg", place.site.secret_key)
    return lambda *arguments, **more: run("-c", str(config), "--no-progress", *arguments, **more)


@proves("small", "list", "metadata", "no_such_key")
def test_put_get_and_delete(s3cmd: Runner, place: Place, tree: Path, tmp_path: Path) -> None:
    at = f"s3://{place.bucket}"
    s3cmd("put", "--add-header=x-amz-meta-mine:value", str(tree / "plain.txt"), f"{at}/a b+c")
    assert f"{at}/a b+c".encode() in s3cmd("ls", at).stdout
    s3cmd("get", f"{at}/a b+c", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == b"hello"
    told = s3cmd("info", f"{at}/a b+c").stdout
    assert b"5d41402abc4b2a76b9719d911017c592" in told
    assert b"x-amz-meta-mine: value" in told
    s3cmd("del", f"{at}/a b+c")
    assert b"does not exist" in s3cmd("get", f"{at}/a b+c", str(tmp_path / "none"), check=False).stderr
    s3cmd("rb", at)


@proves("small", "cross", "delete_many")
def test_sync_there_and_back(s3cmd: Runner, place: Place, tree: Path, tmp_path: Path) -> None:
    s3cmd("sync", f"{tree}/", f"s3://{place.bucket}/tree/")
    (tmp_path / "back").mkdir()
    s3cmd("sync", f"s3://{place.bucket}/tree/", f"{tmp_path}/back/")
    assert read_tree(tmp_path / "back") == read_tree(tree)
    assert place.read("tree/plain.txt") == b"hello"
    s3cmd("del", "--recursive", f"s3://{place.bucket}/tree/")
    assert place.keys() == []


@proves("multipart", "range")
def test_multipart(s3cmd: Runner, place: Place, tree: Path, tmp_path: Path) -> None:
    s3cmd("put", "--multipart-chunk-size-mb=5", str(tree / "large.bin"), f"s3://{place.bucket}/large")
    assert place.boto3.head_object(Bucket=place.bucket, Key="large")["ETag"].endswith('-4"')
    body = (tree / "large.bin").read_bytes()
    (tmp_path / "back").write_bytes(body[:5_000_000])
    s3cmd("get", "--continue", f"s3://{place.bucket}/large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == body


@proves("stream")
def test_stream(s3cmd: Runner, place: Place) -> None:
    body = os.urandom(16 << 20)
    s3cmd("put", "--multipart-chunk-size-mb=5", "-", f"s3://{place.bucket}/streamed", given=body)
    assert place.read("streamed") == body


@proves("keys")
def test_keys(s3cmd: Runner, place: Place, tmp_path: Path) -> None:
    for number, key in enumerate(KEYS):
        (tmp_path / "body").write_bytes(key.encode())
        s3cmd("put", str(tmp_path / "body"), f"s3://{place.bucket}/{key}")
        s3cmd("get", f"s3://{place.bucket}/{key}", str(tmp_path / f"back-{number}"))
        assert (tmp_path / f"back-{number}").read_bytes() == place.read(key) == key.encode()
    assert set(place.keys()) == set(KEYS)


@proves("presign_get")
def test_signed_url(s3cmd: Runner, place: Place, tree: Path) -> None:
    """By signature version 2, or 4, as this s3cmd does it."""
    s3cmd("put", str(tree / "plain.txt"), f"s3://{place.bucket}/k")
    url = s3cmd("signurl", f"s3://{place.bucket}/k", "+60").stdout.decode().strip()
    assert fetch(url, place.root) == b"hello"


@proves("copy")
def test_copy(s3cmd: Runner, place: Place, tree: Path) -> None:
    """It copies with ``x-amz-acl: private``, which only buckets with ACLs take, here as at AWS."""
    controls = {"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
    place.boto3.put_bucket_ownership_controls(Bucket=place.bucket, OwnershipControls=controls)
    s3cmd("put", str(tree / "plain.txt"), f"s3://{place.bucket}/a b+c")
    s3cmd("cp", f"s3://{place.bucket}/a b+c", f"s3://{place.bucket}/ü")
    assert place.read("ü") == b"hello"


@proves("wrong_secret")
def test_wrong_secret(program: Callable[[str], Runner], place: Place, tree: Path, tmp_path: Path) -> None:
    config = write_config(place, tmp_path / "wrong", place.wrong_secret)
    put = ("put", str(tree / "plain.txt"), f"s3://{place.bucket}/k")
    done = program("s3cmd")("-c", str(config), "--no-progress", *put, check=False)
    assert done.returncode
    assert b"SignatureDoesNotMatch" in done.stderr
    assert place.keys() == []
