"""aws-cli with its default settings."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.compat.clients.trees import read_tree
from tests.support.site import Site

pytestmark = pytest.mark.e2e


def test_sync_there_and_back(site: Site, bucket: str, tree: Path, tmp_path: Path) -> None:
    site.aws("s3", "sync", "--no-progress", str(tree), f"s3://{bucket}/tree")
    site.aws("s3", "sync", "--no-progress", f"s3://{bucket}/tree", str(tmp_path / "back"))
    assert read_tree(tmp_path / "back") == read_tree(tree)
    again = site.aws("s3", "sync", "--no-progress", str(tree), f"s3://{bucket}/tree")
    assert again.stdout == ""  # nothing left to do: sizes and times were understood


def test_sync_with_delete_removes_what_is_gone(site: Site, client: Any, bucket: str, tree: Path) -> None:
    site.aws("s3", "sync", "--no-progress", str(tree), f"s3://{bucket}")
    (tree / "plain.txt").unlink()
    site.aws("s3", "sync", "--no-progress", "--delete", str(tree), f"s3://{bucket}")
    keys = {row["Key"] for row in client.list_objects_v2(Bucket=bucket)["Contents"]}
    assert keys == set(read_tree(tree))


def test_ls_cp_mv_rm(site: Site, bucket: str, tree: Path) -> None:
    site.aws("s3", "cp", "--no-progress", str(tree / "plain.txt"), f"s3://{bucket}/a/one")
    site.aws("s3", "mv", "--no-progress", f"s3://{bucket}/a/one", f"s3://{bucket}/a/two")
    listed = site.aws("s3", "ls", f"s3://{bucket}/", "--recursive").stdout
    assert [line.split()[2:] for line in listed.splitlines()] == [["5", "a/two"]]
    assert "PRE a/" in site.aws("s3", "ls", f"s3://{bucket}/").stdout
    site.aws("s3", "rm", f"s3://{bucket}", "--recursive")
    site.aws("s3", "rb", f"s3://{bucket}")


def test_multipart_upload_and_server_side_copy(
    site: Site, client: Any, bucket: str, tree: Path, tmp_path: Path
) -> None:
    site.aws("s3", "cp", "--no-progress", str(tree / "large.bin"), f"s3://{bucket}/large")
    assert client.head_object(Bucket=bucket, Key="large")["ETag"].endswith('-3"')
    site.aws("s3", "cp", "--no-progress", f"s3://{bucket}/large", f"s3://{bucket}/copy")
    site.aws("s3", "cp", "--no-progress", f"s3://{bucket}/copy", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == (tree / "large.bin").read_bytes()


def test_presigned_url_works_in_any_http_client(site: Site, bucket: str, tree: Path, tmp_path: Path) -> None:
    """aws-cli 1 signs URLs for us-east-1 with version 2 unless told not to; version 2 is refused by name."""
    site.aws("s3", "cp", "--no-progress", str(tree / "plain.txt"), f"s3://{bucket}/with space")
    url = site.aws("s3", "presign", f"s3://{bucket}/with space").stdout.strip()
    if "X-Amz-Signature" not in url:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url)
        assert b"AWS4-HMAC-SHA256" in refused.value.read()
        refused.value.close()
    config = tmp_path / "aws-config"
    config.write_text("[default]\ns3 =\n    signature_version = s3v4\n")
    url = site.aws("s3", "presign", f"s3://{bucket}/with space", config=str(config)).stdout.strip()
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"hello"


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
