"""rclone, as a provider it knows nothing of.

Up to 1.60 it sends ``x-amz-acl: private`` unless told otherwise, which buckets without ACLs refuse, here as at AWS.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compat.clients.features import ODD_KEYS, proves
from tests.compat.clients.places import Place
from tests.compat.clients.trees import Runner, read_tree
from tests.compat.clients.web import fetch

pytestmark = pytest.mark.e2e
CLIENT = "rclone"
KEYS = tuple(key for key in ODD_KEYS if "//" not in key and not key.startswith("/") and not key.endswith("/"))
"""Its paths are those of a file system: no empty segments, no dots."""


@pytest.fixture
def rclone(program: Callable[[str], Runner], place: Place) -> Runner:
    run = program("rclone")
    settings = {
        "RCLONE_CONFIG_SITE_TYPE": "s3",
        "RCLONE_CONFIG_SITE_PROVIDER": "Other",
        "RCLONE_CONFIG_SITE_ACL": "bucket-owner-full-control",
        "RCLONE_CONFIG_SITE_ENDPOINT": place.site.endpoint,
        "RCLONE_CONFIG_SITE_ACCESS_KEY_ID": place.site.access_key,
        "RCLONE_CONFIG_SITE_SECRET_ACCESS_KEY": place.site.secret_key,
        "RCLONE_LOW_LEVEL_RETRIES": "1",
        "RCLONE_RETRIES": "1",
    }
    if place.root:
        settings["RCLONE_CA_CERT"] = str(place.root)
    return lambda *arguments, **more: run(*arguments, **(settings | more))


@proves("small", "multipart", "list", "cross", "metadata")
def test_sync_check_and_copy_back(rclone: Runner, place: Place, tree: Path, tmp_path: Path) -> None:
    rclone("sync", str(tree), f"site:{place.bucket}/tree")
    rclone("check", "--download", str(tree), f"site:{place.bucket}/tree")
    rclone("check", str(tree), f"site:{place.bucket}/tree")  # by MD5: ETags, or rclone's own metadata for multipart
    rclone("copy", f"site:{place.bucket}/tree", str(tmp_path / "back"))
    assert read_tree(tmp_path / "back") == read_tree(tree)
    assert place.read("tree/plain.txt") == b"hello"


@proves("multipart", "range")
def test_multipart(rclone: Runner, place: Place, tree: Path) -> None:
    body = (tree / "large.bin").read_bytes()
    cut = ("--s3-upload-cutoff", "6M", "--s3-chunk-size", "5M")
    rclone("copyto", *cut, str(tree / "large.bin"), f"site:{place.bucket}/large")
    assert place.boto3.head_object(Bucket=place.bucket, Key="large")["ETag"].endswith('-4"')
    assert rclone("cat", f"site:{place.bucket}/large").stdout == body
    some = rclone("cat", "--offset", "6000000", "--count", "10", f"site:{place.bucket}/large").stdout
    assert some == body[6000000:6000010]


@proves("stream")
@pytest.mark.parametrize("size", [5, 12 << 20])
def test_stream(rclone: Runner, place: Place, size: int) -> None:
    body = bytes(range(251)) * (size // 251 + 1)
    rclone("rcat", f"site:{place.bucket}/streamed", given=body)
    assert place.read("streamed") == body


@proves("list", "copy", "delete_many", "no_such_key")
def test_list_move_delete(rclone: Runner, place: Place, tree: Path) -> None:
    rclone("copy", str(tree / "nested"), f"site:{place.bucket}/nested")
    assert rclone("lsf", "-R", "--files-only", f"site:{place.bucket}").stdout == b"nested/deep/er/file.bin\n"
    rclone("moveto", f"site:{place.bucket}/nested/deep/er/file.bin", f"site:{place.bucket}/moved")
    assert rclone("lsf", f"site:{place.bucket}").stdout == b"moved\n"
    assert b"not found" in rclone("cat", f"site:{place.bucket}/nested/gone", check=False).stderr
    rclone("purge", f"site:{place.bucket}")
    assert place.bucket.encode() not in rclone("lsd", "site:").stdout


@proves("keys")
def test_keys(rclone: Runner, place: Place) -> None:
    for key in KEYS:
        place.boto3.put_object(Bucket=place.bucket, Key=key, Body=key.encode())
        assert rclone("cat", f"site:{place.bucket}/{key}").stdout == key.encode()
        rclone("copyto", f"site:{place.bucket}/{key}", f"site:{place.bucket}/copied/{key}")
        assert place.read(f"copied/{key}") == key.encode()


@proves("presign_get")
def test_presigned_link(rclone: Runner, place: Place, tree: Path) -> None:
    rclone("copy", str(tree / "plain.txt"), f"site:{place.bucket}")
    url = rclone("link", f"site:{place.bucket}/plain.txt").stdout.decode().strip()
    assert fetch(url, place.root) == b"hello"


@proves("wrong_secret")
def test_wrong_secret(rclone: Runner, place: Place, tree: Path) -> None:
    wrong = {"RCLONE_CONFIG_SITE_SECRET_ACCESS_KEY": place.wrong_secret}
    done = rclone("copy", str(tree / "plain.txt"), f"site:{place.bucket}", check=False, **wrong)
    assert done.returncode
    assert b"403" in done.stderr
    assert place.keys() == []
