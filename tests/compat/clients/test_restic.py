"""restic: a repository in a bucket, backed up, checked (every byte read) and restored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compat.clients.trees import Runner, read_tree
from tests.support.site import Site

pytestmark = pytest.mark.e2e


def test_backup_check_restore(
    program: Callable[[str], Runner], site: Site, bucket: str, tree: Path, tmp_path: Path
) -> None:
    run = program("restic")
    environment = {
        "AWS_ACCESS_KEY_ID": site.access_key,
        "AWS_SECRET_ACCESS_KEY": site.secret_key,
        "RESTIC_REPOSITORY": f"s3:{site.endpoint}/{bucket}",
        "RESTIC_PASSWORD": "not a secret",
    }
    run("init", **environment)
    run("backup", str(tree), **environment)
    (tree / "plain.txt").write_bytes(b"changed")
    run("backup", str(tree), **environment)
    run("check", "--read-data", **environment)
    run("restore", "latest", "--target", str(tmp_path / "back"), **environment)
    assert read_tree(tmp_path / "back" / tree.relative_to("/")) == read_tree(tree)
    run("forget", "--keep-last", "1", "--prune", **environment)
    run("check", **environment)
