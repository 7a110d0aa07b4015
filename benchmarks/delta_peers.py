"""The stores that ``benchmarks.delta`` compares: each takes a content, and says what that put on the wire and keeps.

Skerry is a real server over a real cloud, and is given the content by boto3 as by any application (8 MiB parts). restic
backs the same file up into the same cloud, through the same counting line. borg has no S3: what its repository grew by
is taken for both figures, which flatters it (no HTTP, no retries, no listing).
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from benchmarks.wire import Line, list_lines
from replication.realm_access import open_local
from replication.root_keys import FileRootKey
from tests.support.clouds import TestCloud
from tests.support.fault_proxy import FaultProxy
from tests.support.net import wait_until
from tests.support.site import CloudSettings, Site


class Peer(Protocol):
    """A store under comparison."""

    name: str

    def store(self, content: bytes) -> int:
        """Take a content as the newest version of the one file; bytes that went over the wire for it, both ways."""

    def kept(self) -> int:
        """Bytes it keeps in its cloud now."""

    def close(self) -> None:
        """Stop what was started."""


def bucket_bytes(cloud: TestCloud, bucket: str) -> int:
    """The sum of the sizes of everything in a bucket."""
    pages = cloud.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return sum(row["Size"] for page in pages for row in page.get("Contents", ()))


class SkerryPeer:
    """A site with a cloud behind a counting line. ``tape``: the line keeps what passes after the first content."""

    def __init__(self, cloud: TestCloud, directory: Path, *, tape: bool = False) -> None:
        self.name = "skerry"
        self._tape, self._prefix = tape, CloudSettings.prefix
        self._cloud, self._bucket = cloud, cloud.create_bucket("delta")
        self._line = FaultProxy(cloud.port).__enter__()
        settings = CloudSettings(self._line.endpoint, self._bucket, cloud.access_key, cloud.secret_key)
        # Idle polling is told apart from the edit: it is as often as the default.
        cadence = {"replication": {"ship_interval_s": 1.0, "poll_interval_s": 600.0}}
        self._site = Site(directory / "skerry", "delta", cloud=settings, settings=cadence).start()
        self._client: Any = self._site.client()
        self._client.create_bucket(Bucket="box")
        self._settle()

    def store(self, content: bytes) -> int:
        """Upload as boto3's defaults do, and wait until the cloud has it."""
        before = self._line.bytes_up + self._line.bytes_down
        self._client.upload_fileobj(io.BytesIO(content), "box", "content")
        self._settle()
        wire = self._line.bytes_up + self._line.bytes_down - before
        if self._tape and self._line.tape is None:
            self._line.tape = []
        return wire

    def list_wire(self) -> list[Line]:
        """What the tape has, by name."""
        keys = self._site.data / "keys"
        realm = open_local(keys, FileRootKey(keys / "realm.key"))
        return list_lines(self._line.tape or [], self._prefix, realm.keyring())

    def kept(self) -> int:
        """What the bucket holds."""
        return bucket_bytes(self._cloud, self._bucket)

    def close(self) -> None:
        """Stop the site and the line."""
        self._site.stop()
        self._line.__exit__(None, None, None)

    def _settle(self) -> None:
        """Everything is in the cloud, and what a round does behind that (an old head goes) is done and answered."""
        wait_until(lambda: self._site.status()["safe_to_lose"], "everything is in the cloud", 600)
        looks: list[int] = []

        def is_still() -> bool:
            looks.append(self._line.bytes_up + self._line.bytes_down)
            return len(looks) > 3 and looks[-1] == looks[-4]

        wait_until(is_still, "the line is still", 600, every_s=0.2)


class ResticPeer:
    """restic with its S3 backend and default settings."""

    def __init__(self, cloud: TestCloud, directory: Path) -> None:
        self.name = "restic"
        self._cloud, self._bucket = cloud, cloud.create_bucket("restic")
        self._line = FaultProxy(cloud.port).__enter__()
        self._place = directory / "restic"
        self._place.mkdir()
        self._environment = os.environ | {
            "AWS_ACCESS_KEY_ID": cloud.access_key,
            "AWS_SECRET_ACCESS_KEY": cloud.secret_key,
            "RESTIC_REPOSITORY": f"s3:{self._line.endpoint}/{self._bucket}",
            "RESTIC_PASSWORD": "only for this benchmark",
            "RESTIC_CACHE_DIR": str(directory / "restic-cache"),
        }
        self._run("init")

    def store(self, content: bytes) -> int:
        """``restic backup`` of the one file."""
        (self._place / "content").write_bytes(content)
        before = self._line.bytes_up + self._line.bytes_down
        self._run("backup", str(self._place))
        return self._line.bytes_up + self._line.bytes_down - before

    def kept(self) -> int:
        """What the bucket holds."""
        return bucket_bytes(self._cloud, self._bucket)

    def close(self) -> None:
        """Stop the line."""
        self._line.__exit__(None, None, None)

    def _run(self, *words: str) -> None:
        subprocess.run(("restic", "--quiet", *words), env=self._environment, check=True, stdout=subprocess.DEVNULL)


class BorgPeer:
    """borg with a repository on this disk and its default compression."""

    def __init__(self, cloud: TestCloud, directory: Path) -> None:
        self.name = "borg"
        self._place, self._repository = directory / "borg", directory / "borg-repository"
        self._place.mkdir()
        self._number = 0
        self._environment = os.environ | {
            "BORG_PASSPHRASE": "only for this benchmark",
            "BORG_BASE_DIR": str(directory / "borg-home"),
        }
        self._run("init", "--encryption=repokey-blake2", str(self._repository))

    def store(self, content: bytes) -> int:
        """``borg create``: what the repository grew by."""
        (self._place / "content").write_bytes(content)
        before = self.kept()
        self._number += 1
        self._run("create", f"{self._repository}::{self._number}", str(self._place))
        return self.kept() - before

    def kept(self) -> int:
        """Bytes of the repository's data files."""
        return sum(path.stat().st_size for path in (self._repository / "data").rglob("*") if path.is_file())

    def close(self) -> None:
        """Nothing runs."""

    def _run(self, *words: str) -> None:
        subprocess.run(("borg", *words), env=self._environment, check=True, capture_output=True)


OpenPeer = Callable[[TestCloud, Path], Peer]


def list_others() -> list[OpenPeer]:
    """Of the other stores, those that are installed."""
    return [peer for name, peer in (("restic", ResticPeer), ("borg", BorgPeer)) if shutil.which(name)]
