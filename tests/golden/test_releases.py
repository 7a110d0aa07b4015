"""Everything that a released version wrote opens for ever: its data directories, its buckets.

Each archive of ``releases`` is opened as a site and restored as a new one, by real processes: every version of every
key, its bytes, metadata and tags, every document of a bucket; ``verify`` is clean, and so is the rebuilt index.
"""

from __future__ import annotations

import json
import shutil
import tarfile
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from tests.golden.freeze import PREFIX, RELEASES, describe_content
from tests.support.clouds import start_skerry
from tests.support.site import CloudSettings, Site

ARCHIVES = sorted(RELEASES.glob("*.tar.xz"))
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.xz")),
]


def unpack(archive: Path, target: Path) -> dict[str, Any]:
    """Unpack; what the manifest says is there."""
    with tarfile.open(archive) as opened:
        opened.extractall(target, filter="data")
    for path in target.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    content = json.loads((target / "manifest.json").read_text())["content"]
    assert len(content) > 10
    return content


def test_its_data_directory_opens_serves_and_verifies(archive: Path, tmp_path: Path) -> None:
    content = unpack(archive, tmp_path / "golden")
    site = Site(tmp_path / "site", "golden")
    shutil.copytree(tmp_path / "golden" / "data", site.data)
    site.data.chmod(0o700)
    for _ in ("as it is", "its index deleted"):
        with site:
            assert describe_content(site.client()) == content
            site.client().put_object(Bucket="plain", Key="since", Body=b"written by this version")
            site.client().delete_object(Bucket="plain", Key="since")
        site.run("verify")
        shutil.rmtree(site.data / "index")


def test_its_bucket_gives_the_site_back(archive: Path, tmp_path: Path) -> None:
    content = unpack(archive, tmp_path / "golden")
    cloud = start_skerry()
    try:
        bucket = cloud.create_bucket("golden")
        for path in (tmp_path / "golden" / "bucket").iterdir():
            cloud.client().put_object(Bucket=bucket, Key=urllib.parse.unquote(path.name), Body=path.read_bytes())
        settings = CloudSettings(cloud.endpoint, bucket, cloud.access_key, cloud.secret_key, PREFIX)
        key = tmp_path / "realm.key"
        shutil.copy(tmp_path / "golden" / "data" / "keys" / "realm.key", key)
        key.chmod(0o600)
        site = Site(tmp_path / "site", "restored", cloud=settings, settings={"realm": {"key_file": str(key)}})
        site.run("restore")
        with site:
            assert describe_content(site.client()) == content
        site.run("verify")
    finally:
        cloud.stop()
