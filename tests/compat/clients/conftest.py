"""A real server for real clients: one site for the session, two workers, no cloud; a fresh bucket for each test."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compat.clients.trees import Runner
from tests.support.site import Site

WRITTEN_S = 1_700_000_000
"""Long ago: S3 tells times in whole seconds, and a sync within the second of writing would see newer files."""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("compat"), "compat", workers=2) as site:
        yield site


@pytest.fixture(scope="session")
def client(site: Site) -> Any:
    """boto3, to prepare and to check what the client under test did."""
    return site.client()


@pytest.fixture
def bucket(client: Any) -> str:
    name = f"compat-{uuid.uuid4().hex[:10]}"
    client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small directory tree: nested names, an empty file, odd characters, one file large enough for multipart."""
    root = tmp_path / "tree"
    for name, data in {
        "plain.txt": b"hello",
        "empty": b"",
        "nested/deep/er/file.bin": bytes(range(256)) * 100,
        "with space & plus+.txt": b"odd",
        "ümlaut/ключ.txt": "value of ключ".encode(),
        "large.bin": os.urandom(17 << 20),
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (WRITTEN_S, WRITTEN_S))
    return root


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], Runner]:
    """``program("rclone")`` runs it, with an environment that knows nothing of this machine; skips if not installed."""

    def find(name: str) -> Runner:
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"{name} is not installed")

        def run(*arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[bytes]:
            kept = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
            done = subprocess.run(
                [path, *arguments],
                env=kept | environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=90,
                cwd=tmp_path,
            )
            if check:
                said = (done.stdout + done.stderr).decode(errors="replace")[-3000:]
                assert done.returncode == 0, f"{name} {' '.join(arguments)}: {done.returncode}\n{said}"
            return done

        return run

    return find
