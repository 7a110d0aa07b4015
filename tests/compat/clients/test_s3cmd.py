"""s3cmd: an old client with habits of its own (SigV4 by header, path style, multipart of 15 MB)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.compat.clients.trees import Runner, read_tree
from tests.support.site import Site

pytestmark = pytest.mark.e2e


@pytest.fixture
def s3cmd(program: Callable[[str], Runner], site: Site, tmp_path: Path) -> Runner:
    run = program("s3cmd")
    config = tmp_path / "s3cfg"
    host = f"127.0.0.1:{site.port}"
    config.write_text(
        f"[default]\naccess_key = {site.access_key}\nsecret_key = {site.secret_key}\nhost_base = {host}\n"
        f"host_bucket = {host}\nuse_https = False\nsignature_v2 = False\n"
    )
    return lambda *arguments, **environment: run("-c", str(config), "--no-progress", *arguments, **environment)


def test_put_get_and_delete(s3cmd: Runner, bucket: str, tree: Path, tmp_path: Path) -> None:
    s3cmd("put", str(tree / "plain.txt"), f"s3://{bucket}/a b+c")
    assert f"s3://{bucket}/a b+c".encode() in s3cmd("ls", f"s3://{bucket}").stdout
    s3cmd("get", f"s3://{bucket}/a b+c", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == b"hello"
    assert b"5d41402abc4b2a76b9719d911017c592" in s3cmd("info", f"s3://{bucket}/a b+c").stdout
    s3cmd("del", f"s3://{bucket}/a b+c")
    s3cmd("rb", f"s3://{bucket}")


def test_sync_there_and_back(s3cmd: Runner, bucket: str, tree: Path, tmp_path: Path) -> None:
    s3cmd("sync", f"{tree}/", f"s3://{bucket}/tree/")
    (tmp_path / "back").mkdir()
    s3cmd("sync", f"s3://{bucket}/tree/", f"{tmp_path}/back/")
    assert read_tree(tmp_path / "back") == read_tree(tree)


def test_multipart(s3cmd: Runner, client: Any, bucket: str, tree: Path) -> None:
    s3cmd("put", "--multipart-chunk-size-mb=5", str(tree / "large.bin"), f"s3://{bucket}/large")
    head = client.head_object(Bucket=bucket, Key="large")
    assert head["ETag"].endswith('-4"')
    assert head["ContentLength"] == 17 << 20
