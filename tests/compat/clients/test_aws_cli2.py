"""aws-cli 2, as Debian packages it, with its default settings."""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.compat.clients.features import proves
from tests.compat.clients.places import Place
from tests.compat.clients.trees import read_tree
from tests.compat.clients.web import fetch

pytestmark = [pytest.mark.e2e, pytest.mark.compat]
CLIENT = "aws-cli 2"
KEYS = ("plus+plus %2F", "ümlaut/ключ/日本/🚀", "double//slash", "a/../b")
"""Few: every call of this client takes a second."""


@cache
def find_program() -> str:
    """The first aws on the path that is version 2; skips if none is."""
    for directory in os.get_exec_path():
        path = Path(directory) / "aws"
        if path.is_file() and os.access(path, os.X_OK):
            said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60)
            if said.stdout.startswith("aws-cli/2."):
                return str(path)
    return ""


def aws(place: Place, *arguments: str, **more: Any) -> Any:
    program = find_program()
    if not program:
        pytest.skip("aws-cli 2 is not installed")
    endpoint = ("--endpoint-url", place.site.endpoint)  # before 2.13 it knows no variable for it
    return place.site.aws(*endpoint, *arguments, root=place.root, program=program, **more)


@proves("small", "multipart", "list", "cross", "delete_many")
def test_sync_there_and_back(place: Place, tree: Path, tmp_path: Path) -> None:
    aws(place, "s3", "sync", "--no-progress", str(tree), f"s3://{place.bucket}/tree")
    aws(place, "s3", "sync", "--no-progress", f"s3://{place.bucket}/tree", str(tmp_path / "back"))
    assert read_tree(tmp_path / "back") == read_tree(tree)
    assert aws(place, "s3", "sync", "--no-progress", str(tree), f"s3://{place.bucket}/tree").stdout == ""
    assert "PRE tree/" in aws(place, "s3", "ls", f"s3://{place.bucket}/").stdout
    aws(place, "s3", "rm", "--recursive", f"s3://{place.bucket}/tree")
    assert place.keys() == []


@proves("stream", "copy", "presign_get")
def test_stream_copy_and_presign(place: Place, tree: Path) -> None:
    body = (tree / "large.bin").read_bytes()
    aws(place, "s3", "cp", "-", f"s3://{place.bucket}/streamed ü", stdin=tree / "large.bin")
    aws(place, "s3", "cp", "--no-progress", f"s3://{place.bucket}/streamed ü", f"s3://{place.bucket}/copy +")
    url = aws(place, "s3", "presign", f"s3://{place.bucket}/copy +").stdout.strip()
    assert fetch(url, place.root) == body


@proves("keys", "range")
def test_keys(place: Place, tmp_path: Path) -> None:
    body = tmp_path / "body"
    for number, key in enumerate(KEYS):
        body.write_bytes(key.encode())
        aws(place, "s3api", "put-object", "--bucket", place.bucket, "--key", key, "--body", str(body))
        back = tmp_path / f"back-{number}"
        aws(place, "s3api", "get-object", "--bucket", place.bucket, "--key", key, "--range", "bytes=0-0", str(back))
        assert back.read_bytes() == key.encode()[:1]
        assert place.read(key) == key.encode()


@proves("metadata", "tagging", "sha256", "versioning", "no_such_key")
def test_s3api(place: Place, tree: Path, tmp_path: Path) -> None:
    on = "Status=Enabled"
    aws(place, "s3api", "put-bucket-versioning", "--bucket", place.bucket, "--versioning-configuration", on)
    at = ("--bucket", place.bucket, "--key", "k")
    put = ("s3api", "put-object", *at, "--body", str(tree / "plain.txt"), "--checksum-algorithm", "SHA256")
    done = json.loads(aws(place, *put, "--metadata", "a=b c", "--tagging", "k=v").stdout)
    told = json.loads(aws(place, "s3api", "head-object", *at, "--checksum-mode", "ENABLED").stdout)
    assert (told["Metadata"], told["ChecksumSHA256"]) == ({"a": "b c"}, done["ChecksumSHA256"])
    tags = json.loads(aws(place, "s3api", "get-object-tagging", *at).stdout)["TagSet"]
    assert tags == [{"Key": "k", "Value": "v"}]
    aws(place, "s3api", "delete-object", *at)
    assert "NoSuchKey" in aws(place, "s3api", "get-object", *at, str(tmp_path / "k"), check=False).stderr
    aws(place, "s3api", "get-object", *at, "--version-id", done["VersionId"], str(tmp_path / "k"))
    assert (tmp_path / "k").read_bytes() == b"hello"


@proves("wrong_secret")
def test_wrong_secret(place: Place, tree: Path) -> None:
    put = ("s3", "cp", str(tree / "plain.txt"), f"s3://{place.bucket}/k")
    assert "SignatureDoesNotMatch" in aws(place, *put, check=False, secret_key=place.wrong_secret).stderr
    assert place.keys() == []
