"""restic: a repository in a bucket, backed up, checked (every byte read) and restored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compat.clients.features import proves
from tests.compat.clients.places import Place
from tests.compat.clients.trees import Runner, read_tree

pytestmark = pytest.mark.e2e
CLIENT = "restic"


def settings(place: Place, secret: str) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": place.site.access_key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "RESTIC_REPOSITORY": f"s3:{place.site.endpoint}/{place.bucket}",
        "RESTIC_PASSWORD": "not a secret",
    } | ({"RESTIC_CACERT": str(place.root)} if place.root else {})


@proves("small", "multipart", "range", "list", "no_such_key")
def test_backup_check_restore(program: Callable[[str], Runner], place: Place, tree: Path, tmp_path: Path) -> None:
    run = program("restic")
    environment = settings(place, place.site.secret_key)
    trust = ("--cacert", str(place.root)) if place.root else ()
    run("init", *trust, **environment)
    run("backup", *trust, str(tree), **environment)
    (tree / "plain.txt").write_bytes(b"changed")
    run("backup", *trust, str(tree), **environment)
    run("check", *trust, "--read-data", **environment)
    run("restore", *trust, "latest", "--target", str(tmp_path / "back"), **environment)
    assert read_tree(tmp_path / "back" / tree.relative_to("/")) == read_tree(tree)
    run("forget", *trust, "--keep-last", "1", "--prune", **environment)
    run("check", *trust, **environment)


@proves("wrong_secret")
def test_wrong_secret(program: Callable[[str], Runner], place: Place) -> None:
    trust = ("--cacert", str(place.root)) if place.root else ()
    done = program("restic")("init", *trust, check=False, **settings(place, place.wrong_secret))
    assert done.returncode
    assert b"signature" in done.stderr.lower()
    assert place.keys() == []
