"""rclone, as a provider it knows nothing of."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.compat.clients.trees import Runner, read_tree
from tests.support.site import Site

pytestmark = pytest.mark.e2e


@pytest.fixture
def rclone(program: Callable[[str], Runner], site: Site) -> Runner:
    run = program("rclone")
    settings = {
        "RCLONE_CONFIG_SITE_TYPE": "s3",
        "RCLONE_CONFIG_SITE_PROVIDER": "Other",
        "RCLONE_CONFIG_SITE_ENDPOINT": site.endpoint,
        "RCLONE_CONFIG_SITE_ACCESS_KEY_ID": site.access_key,
        "RCLONE_CONFIG_SITE_SECRET_ACCESS_KEY": site.secret_key,
    }
    return lambda *arguments, **environment: run(*arguments, **(settings | environment))


def test_sync_check_and_copy_back(rclone: Runner, bucket: str, tree: Path, tmp_path: Path) -> None:
    rclone("sync", str(tree), f"site:{bucket}/tree")
    rclone("check", "--download", str(tree), f"site:{bucket}/tree")
    rclone("check", str(tree), f"site:{bucket}/tree")  # by MD5: ETags, or rclone's own metadata for multipart
    rclone("copy", f"site:{bucket}/tree", str(tmp_path / "back"))
    assert read_tree(tmp_path / "back") == read_tree(tree)


def test_multipart(rclone: Runner, client: Any, bucket: str, tree: Path) -> None:
    rclone(
        "copyto", "--s3-upload-cutoff", "6M", "--s3-chunk-size", "5M", str(tree / "large.bin"), f"site:{bucket}/large"
    )
    assert client.head_object(Bucket=bucket, Key="large")["ETag"].endswith('-4"')
    assert rclone("cat", f"site:{bucket}/large").stdout == (tree / "large.bin").read_bytes()
    assert (
        rclone("cat", "--offset", "6000000", "--count", "10", f"site:{bucket}/large").stdout
        == (tree / "large.bin").read_bytes()[6000000:6000010]
    )


def test_list_move_delete(rclone: Runner, bucket: str, tree: Path) -> None:
    rclone("copy", str(tree / "nested"), f"site:{bucket}/nested")
    assert rclone("lsf", "-R", "--files-only", f"site:{bucket}").stdout == b"nested/deep/er/file.bin\n"
    rclone("moveto", f"site:{bucket}/nested/deep/er/file.bin", f"site:{bucket}/moved")
    assert rclone("lsf", f"site:{bucket}").stdout == b"moved\n"
    rclone("purge", f"site:{bucket}")
    assert bucket.encode() not in rclone("lsd", "site:").stdout


def test_presigned_link(rclone: Runner, bucket: str, tree: Path) -> None:
    rclone("copy", str(tree / "plain.txt"), f"site:{bucket}")
    url = rclone("link", f"site:{bucket}/plain.txt").stdout.decode().strip()
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"hello"
