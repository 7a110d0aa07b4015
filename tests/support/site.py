"""A site for the tests: real ``skerry`` processes over a data directory of its own, driven from outside.

Nothing of the server is imported. A site can be started, stopped, killed (SIGKILL, every process of it) and started
again over the same data; commands run beside it. What the server says goes to ``server.log`` in the site's directory
and is quoted when something fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import boto3
from botocore.config import Config

from tests.support.net import find_free_ports, wait_until
from tests.support.zygote import ROOT, Zygote

ENTRY = ("-m", "gateway")
READY_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class CloudSettings:
    """Where a site's cloud is: usually the endpoint of a fault proxy."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str
    prefix: str = "island"


class SiteFailed(AssertionError):
    """A server that did not come up, or a command that failed: with what it said."""


@dataclass
class Site:
    """One site. ``settings`` are extra keys: {"section": {"key": value}}.

    Its processes are forked from ``zygote`` where there is one, unless ``forked`` is False: for tests of what an
    interpreter's own start or the kernel's tree of processes has to do with.
    """

    zygote: ClassVar[Zygote | None] = None
    directory: Path
    name: str
    cloud: CloudSettings | None = None
    workers: int = 1
    access_key: str = "ISLANDKEY0001"
    secret_key: str = "island-secret-for-the-tests-only-0001"
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    entry: tuple[str, ...] = ENTRY
    cpu: int | None = None
    ready_timeout_s: float = READY_TIMEOUT_S
    forked: bool = True

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.data = self.directory / "data"
        self.port = find_free_ports(2)
        self.admin_port = self.port + 1
        self.process: subprocess.Popen[bytes] | None = None
        self.write_config()

    @property
    def endpoint(self) -> str:
        """The S3 endpoint; ``https`` if the settings name a certificate."""
        scheme = "https" if "tls_certificate_file" in self.settings.get("server", {}) else "http"
        return f"{scheme}://127.0.0.1:{self.port}"

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.directory / "skerry.toml"

    @property
    def log(self) -> str:
        """The end of what the server said."""
        path = self.directory / "server.log"
        return path.read_text(errors="replace")[-6000:] if path.exists() else ""

    def write_config(self) -> None:
        """(Re)write the configuration from this object's fields."""
        sections: dict[str, dict[str, Any]] = {
            "site": {"name": self.name, "data": str(self.data)},
            "server": {
                "listen": f"127.0.0.1:{self.port}",
                "admin_listen": f"127.0.0.1:{self.admin_port}",
                "workers": self.workers,
                "drain_timeout_s": 5.0,
            },
            "replication": {"ship_interval_s": 0.2, "poll_interval_s": 0.2},
        }
        if self.cloud is not None:
            sections["cloud"] = {
                "endpoint_url": self.cloud.endpoint,
                "bucket": self.cloud.bucket,
                "prefix": self.cloud.prefix,
                "access_key": self.cloud.access_key,
                "secret_key": self.cloud.secret_key,
            }
        for section, values in self.settings.items():
            sections.setdefault(section, {}).update(values)
        lines = []
        for section, values in sections.items():
            lines.append(f"[{section}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        self.config.write_text("\n".join(lines) + "\n")
        self.config.chmod(0o600)

    def _environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SKERRY_", "AWS_"))}
        root = {"SKERRY_ROOT_ACCESS_KEY": self.access_key, "SKERRY_ROOT_SECRET_KEY": self.secret_key}
        return kept | root | {"PYTHONPATH": str(ROOT)} | self.environment

    def _its_zygote(self) -> Zygote | None:
        return self.zygote if self.forked and self.entry == ENTRY and self.cpu is None else None

    def start(self, *, wait: bool = True) -> Site:
        """Start ``skerry serve`` and, unless told not to, wait until it is ready."""
        assert self.process is None, "already running"
        with (self.directory / "server.log").open("ab") as log:
            self.process = self.spawn(log.fileno())
        if wait:
            self.wait_ready()
        return self

    def spawn(self, log: int) -> subprocess.Popen[bytes]:
        """Start the server's first process, in a group of its own; what it says goes to the descriptor ``log``."""
        if (zygote := self._its_zygote()) is not None:
            return zygote.spawn(["serve", "--config", str(self.config)], self._environment(), log)
        return self._begin(["serve"], log)

    def _begin(self, arguments: Sequence[str], log: int) -> subprocess.Popen[bytes]:
        """A ``skerry`` of its own, from an interpreter that has imported nothing, in a group of its own."""
        return subprocess.Popen(
            [sys.executable, *self.entry, *arguments, "--config", str(self.config)],
            cwd=ROOT,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=None if self.cpu is None else lambda: os.sched_setaffinity(0, {self.cpu}),
        )

    def wait_ready(self) -> None:
        """Until ``/health/ready`` says so; ``SiteFailed`` if the process ends or time runs out."""

        def is_ready() -> bool:
            assert self.process is not None
            if self.process.poll() is not None:
                raise SiteFailed(f"{self.name} ended with {self.process.returncode}:\n{self.log}")
            with contextlib.suppress(OSError, urllib.error.URLError):
                url = f"http://127.0.0.1:{self.admin_port}/health/ready"
                with urllib.request.urlopen(url, timeout=2) as answer:
                    return bool(answer.status == 200)
            return False

        try:
            wait_until(is_ready, f"{self.name} is ready", self.ready_timeout_s)
        except TimeoutError as error:
            self.kill()
            raise SiteFailed(f"{error}\n{self.log}") from None

    def stop(self) -> None:
        """SIGTERM and wait; SIGKILL if it will not go (and fail)."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise SiteFailed(f"{self.name} did not stop on SIGTERM:\n{self.log}") from None
        self.process = None

    def kill(self) -> None:
        """SIGKILL to every process of the site, at once."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(20)
            self.process = None

    def __enter__(self) -> Site:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.kill() if exc[0] else self.stop()

    def client(self, verify: str | None = None, **config: Any) -> Any:
        """A boto3 S3 client of the site's first user, SDK defaults but path addressing; ``config`` goes to botocore.

        ``verify``: a PEM file with the root to trust.
        """
        config.setdefault("s3", {"addressing_style": "path"})
        config.setdefault("retries", {"max_attempts": 1})
        config.setdefault("max_pool_connections", 64)
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            verify=verify,
            config=Config(**config),
        )

    def run(self, *arguments: str, timeout_s: float = 120.0, check: bool = True) -> subprocess.CompletedProcess[str]:
        """``skerry ARGUMENTS --config …`` beside the server; ``SiteFailed`` with its output unless it exits 0."""
        words = [*arguments, "--config", str(self.config)]
        if (zygote := self._its_zygote()) is not None:
            done = zygote.run(words, self._environment(), timeout_s)
        else:
            done = subprocess.run(
                [sys.executable, *self.entry, *words],
                cwd=ROOT,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
            )
        if check and done.returncode:
            raise SiteFailed(f"skerry {' '.join(arguments)} exited {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    def run_killed(self, *arguments: str, after_s: float) -> None:
        """Begin ``skerry ARGUMENTS`` and SIGKILL it after so many seconds (it may have ended by then)."""
        with (self.directory / "killed.log").open("ab") as log:
            process = self._begin(arguments, log.fileno())
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)

    def status(self) -> dict[str, Any]:
        """What ``skerry status --json`` says."""
        parsed = json.loads(self.run("status", "--json").stdout)
        assert isinstance(parsed, dict)
        return parsed

    def aws(
        self,
        *arguments: str,
        timeout_s: float = 600.0,
        check: bool = True,
        config: str = os.devnull,
        root: Path | None = None,
        stdin: Path = Path(os.devnull),
        secret_key: str | None = None,
        program: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """aws-cli with its default settings, or those of the file ``config``, against this site.

        ``root``: the certificate to trust; ``secret_key``: another than the site's; ``program``: another aws-cli than
        that of the tests' own environment.
        """
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PYTHONPATH"))} | {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": secret_key or self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_CONFIG_FILE": config,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        if root:
            environment["AWS_CA_BUNDLE"] = str(root)
        with stdin.open("rb") as given:
            done = subprocess.run(
                [program or str(Path(sys.executable).with_name("aws")), *arguments],
                env=environment,
                stdin=given,
                capture_output=True,
                text=True,
                timeout=timeout_s,
            )
        if check and done.returncode:
            raise SiteFailed(
                f"aws {' '.join(arguments)}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
            )
        return done
