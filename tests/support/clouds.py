"""A cloud for the tests: one-node Ceph where Debian's packages are installed, else moto's server in a thread.

``start_cloud()`` picks; ``SKERRY_TEST_CLOUD=ceph|moto|skerry`` insists. Every test asks for buckets of its own, so one
cloud serves a whole session. Ceph is the real thing (it enforces ``If-None-Match: *``); moto is a stand-in for machines
without it.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.support.net import find_free_ports, wait_until
from tests.support.site import Site

SCRIPT = Path(__file__).with_name("ceph_cloud.sh")


@dataclass
class TestCloud:
    """A running cloud. ``port`` on loopback; credentials of a user who may create buckets."""

    __test__ = False

    kind: str
    port: int
    access_key: str
    secret_key: str
    directory: Path | None = None
    server: Any = field(default=None, repr=False)

    @property
    def endpoint(self) -> str:
        """Its URL, without a proxy in between."""
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> Any:
        """A boto3 S3 client that talks to the cloud itself."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 3}),
        )

    def create_bucket(self, stem: str = "realm") -> str:
        """A new empty bucket; its name."""
        name = f"{stem}-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name

    def stop(self) -> None:
        """Stop what was started and remove its state."""
        if self.server is not None:
            self.server.stop()
        if self.kind == "ceph":
            subprocess.run([SCRIPT, "stop", self.directory], check=False, timeout=60)
        if self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)


def is_ceph_installed() -> bool:
    """Whether the programs that ``ceph_cloud.sh`` needs are on the path."""
    return all(shutil.which(name) for name in ("radosgw", "ceph-osd", "ceph-mon", "radosgw-admin"))


def start_ceph() -> TestCloud:
    """Start a Ceph of our own, in a directory of its own."""
    directory = Path(tempfile.mkdtemp(prefix="skerry-ceph-"))
    port = find_free_ports(3)
    try:
        subprocess.run([SCRIPT, "start", directory, str(port)], check=True, timeout=120, capture_output=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        subprocess.run([SCRIPT, "stop", directory], check=False, timeout=60)
        detail = (error.stderr or b"").decode(errors="replace")[-2000:]
        raise RuntimeError(f"Ceph did not start; its logs are in {directory}/log\n{detail}") from error
    cloud = TestCloud("ceph", port, "cloudaccess", "cloudsecret", directory=directory)
    wait_until(lambda: _answers(cloud), "Ceph's gateway answers", timeout_s=60, every_s=0.2)
    return cloud


def start_moto() -> TestCloud:
    """Start moto's S3 server in a thread of this process."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    port = find_free_ports(1)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    cloud = TestCloud("moto", port, "testing", "testing", server=server)
    wait_until(lambda: _answers(cloud), "moto answers", timeout_s=30)
    return cloud


def start_skerry() -> TestCloud:
    """Start a Skerry of its own, without a cloud behind it: one site's cloud can be another site."""
    directory = Path(tempfile.mkdtemp(prefix="skerry-cloud-"))
    site = Site(directory, "cloud", workers=1).start()
    return TestCloud("skerry", site.port, site.access_key, site.secret_key, directory=directory, server=site)


def start_cloud() -> TestCloud:
    """The best cloud this machine has; ``SKERRY_TEST_CLOUD`` (``ceph``, ``moto`` or ``skerry``) overrides."""
    wanted = os.environ.get("SKERRY_TEST_CLOUD") or ("ceph" if is_ceph_installed() else "moto")
    starters = {"ceph": start_ceph, "moto": start_moto, "skerry": start_skerry}
    if wanted not in starters:
        raise ValueError(f"SKERRY_TEST_CLOUD={wanted!r}: none of {', '.join(starters)}")
    return starters[wanted]()


def _answers(cloud: TestCloud) -> bool:
    try:
        cloud.client().list_buckets()
    except (ClientError, BotoCoreError):
        return False
    return True
