"""aws-cli with its default settings."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.compat.clients.features import proves
from tests.compat.clients.places import Place
from tests.compat.clients.trees import read_tree
from tests.support.site import Site

pytestmark = pytest.mark.e2e
CLIENT = "aws-cli 1"
KEYS = ("plus+plus %2F", "ümlaut/ключ/日本/🚀", "double//slash", "a/../b")
"""Few: every call of this client takes a second."""


@proves("small", "multipart", "list", "cross")
def test_sync_there_and_back(site: Site, bucket: str, tree: Path, tmp_path: Path) -> None:
    site.aws("s3", "sync", "--no-progress", str(tree), f"s3://{bucket}/tree")
    site.aws("s3", "sync", "--no-progress", f"s3://{bucket}/tree", str(tmp_path / "back"))
    assert read_tree(tmp_path / "back") == read_tree(tree)
    again = site.aws("s3", "sync", "--no-progress", str(tree), f"s3://{bucket}/tree")
    assert again.stdout == ""  # nothing left to do: sizes and times were understood


@proves("delete_many")
def test_sync_with_delete_removes_what_is_gone(site: Site, client: Any, bucket: str, tree: Path) -> None:
    site.aws("s3", "sync", "--no-progress", str(tree), f"s3://{bucket}")
    (tree / "plain.txt").unlink()
    site.aws("s3", "sync", "--no-progress", "--delete", str(tree), f"s3://{bucket}")
    keys = {row["Key"] for row in client.list_objects_v2(Bucket=bucket)["Contents"]}
    assert keys == set(read_tree(tree))


@proves("list", "copy", "delete_many")
def test_ls_cp_mv_rm(site: Site, bucket: str, tree: Path) -> None:
    site.aws("s3", "cp", "--no-progress", str(tree / "plain.txt"), f"s3://{bucket}/a/one")
    site.aws("s3", "mv", "--no-progress", f"s3://{bucket}/a/one", f"s3://{bucket}/a/two")
    listed = site.aws("s3", "ls", f"s3://{bucket}/", "--recursive").stdout
    assert [line.split()[2:] for line in listed.splitlines()] == [["5", "a/two"]]
    assert "PRE a/" in site.aws("s3", "ls", f"s3://{bucket}/").stdout
    site.aws("s3", "rm", f"s3://{bucket}", "--recursive")
    site.aws("s3", "rb", f"s3://{bucket}")


@proves("multipart", "copy")
def test_multipart_upload_and_server_side_copy(
    site: Site, client: Any, bucket: str, tree: Path, tmp_path: Path
) -> None:
    site.aws("s3", "cp", "--no-progress", str(tree / "large.bin"), f"s3://{bucket}/large")
    assert client.head_object(Bucket=bucket, Key="large")["ETag"].endswith('-3"')
    site.aws("s3", "cp", "--no-progress", f"s3://{bucket}/large", f"s3://{bucket}/copy")
    site.aws("s3", "cp", "--no-progress", f"s3://{bucket}/copy", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == (tree / "large.bin").read_bytes()


@proves("presign_get")
def test_presigned_url_works_in_any_http_client(site: Site, bucket: str, tree: Path, tmp_path: Path) -> None:
    """aws-cli 1 presigns with version 2 for us-east-1 unless told otherwise; both versions are read."""
    site.aws("s3", "cp", "--no-progress", str(tree / "plain.txt"), f"s3://{bucket}/with space")
    config = tmp_path / "aws-config"
    config.write_text("[default]\ns3 =\n    signature_version = s3v4\n")
    for settings in (os.devnull, str(config)):
        url = site.aws("s3", "presign", f"s3://{bucket}/with space", config=settings).stdout.strip()
        with urllib.request.urlopen(url) as answer:
            assert answer.read() == b"hello"
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(url.replace("with", "without"))


@proves("if_none_match")
def test_s3api_conditional_put(site: Site, bucket: str, tree: Path) -> None:
    put = (
        "s3api",
        "put-object",
        "--bucket",
        bucket,
        "--key",
        "k",
        "--body",
        str(tree / "plain.txt"),
        "--if-none-match",
        "*",
    )
    assert json.loads(site.aws(*put).stdout)["ETag"] == '"5d41402abc4b2a76b9719d911017c592"'
    refused = site.aws(*put, check=False)
    assert refused.returncode
    assert "PreconditionFailed" in refused.stderr


def aws(place: Place, *arguments: str, **more: Any) -> Any:
    return place.site.aws(*arguments, root=place.root, **more)


@pytest.mark.compat  # slow to start; the plain suite has the others
@proves("small", "multipart", "cross")
def test_copies_over_either_scheme(place: Place, tree: Path, tmp_path: Path) -> None:
    aws(place, "s3", "cp", "--no-progress", "--recursive", str(tree), f"s3://{place.bucket}/tree")
    aws(place, "s3", "cp", "--no-progress", "--recursive", f"s3://{place.bucket}/tree", str(tmp_path / "back"))
    assert read_tree(tmp_path / "back") == read_tree(tree)


@pytest.mark.compat  # slow to start; the plain suite has the others
@proves("keys", "small", "range")
def test_keys(place: Place, tmp_path: Path) -> None:
    body = tmp_path / "body"
    for number, key in enumerate(KEYS):
        body.write_bytes(key.encode())
        aws(place, "s3api", "put-object", "--bucket", place.bucket, "--key", key, "--body", str(body))
        back = tmp_path / f"back-{number}"
        aws(place, "s3api", "get-object", "--bucket", place.bucket, "--key", key, "--range", "bytes=0-0", str(back))
        assert back.read_bytes() == key.encode()[:1]
        assert place.read(key) == key.encode()


@proves("stream")
def test_stream(place: Place, tree: Path) -> None:
    aws(place, "s3", "cp", "-", f"s3://{place.bucket}/streamed", stdin=tree / "large.bin")
    assert place.read("streamed") == (tree / "large.bin").read_bytes()


@proves("metadata", "tagging", "sha256", "checksums", "if_match")
def test_s3api(place: Place, tree: Path) -> None:
    put = ("s3api", "put-object", "--bucket", place.bucket, "--key", "k", "--body", str(tree / "plain.txt"))
    done = json.loads(
        aws(place, *put, "--metadata", "a=b c", "--tagging", "k=v", "--checksum-algorithm", "SHA256").stdout
    )
    head = ("s3api", "head-object", "--bucket", place.bucket, "--key", "k", "--checksum-mode", "ENABLED")
    told = json.loads(aws(place, *head).stdout)
    assert (told["Metadata"], told["ChecksumSHA256"]) == ({"a": "b c"}, done["ChecksumSHA256"])
    tags = json.loads(aws(place, "s3api", "get-object-tagging", "--bucket", place.bucket, "--key", "k").stdout)
    assert tags["TagSet"] == [{"Key": "k", "Value": "v"}]
    assert "PreconditionFailed" in aws(place, *put, "--if-match", '"0"', check=False).stderr
    assert json.loads(aws(place, *put, "--if-match", done["ETag"]).stdout)["ChecksumCRC32"]


@pytest.mark.compat  # slow to start; the plain suite has the others
@proves("versioning", "no_such_key")
def test_versions(place: Place, tree: Path, tmp_path: Path) -> None:
    on = "Status=Enabled"
    aws(place, "s3api", "put-bucket-versioning", "--bucket", place.bucket, "--versioning-configuration", on)
    aws(place, "s3", "cp", "--no-progress", str(tree / "plain.txt"), f"s3://{place.bucket}/k")
    aws(place, "s3", "rm", f"s3://{place.bucket}/k")
    get = ("s3api", "get-object", "--bucket", place.bucket, "--key", "k")
    assert "NoSuchKey" in aws(place, *get, str(tmp_path / "k"), check=False).stderr
    rows = json.loads(aws(place, "s3api", "list-object-versions", "--bucket", place.bucket).stdout)
    aws(place, *get, "--version-id", rows["Versions"][0]["VersionId"], str(tmp_path / "k"))
    assert (tmp_path / "k").read_bytes() == b"hello"


@proves("wrong_secret")
def test_wrong_secret(place: Place, tree: Path) -> None:
    put = ("s3", "cp", str(tree / "plain.txt"), f"s3://{place.bucket}/k")
    assert "SignatureDoesNotMatch" in aws(place, *put, check=False, secret_key=place.wrong_secret).stderr
    assert place.keys() == []
