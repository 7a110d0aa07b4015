"""A real server for real clients: one site for the session, two workers, no cloud; a fresh bucket for each test.

The same again over TLS, with a root that no machine trusts. Outcomes of tests that say what they show (``proves``) make
the table, see ``table.py``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compat.clients.drivers import Driver, run_driver
from tests.compat.clients.features import proves
from tests.compat.clients.places import DOMAIN, Place, resolve_domain
from tests.compat.clients.sdk import Checked, SdkRun
from tests.compat.clients.table import Table
from tests.compat.clients.trees import Runner
from tests.support.authority import Authority, make_authority
from tests.support.site import Site

WRITTEN_S = 1_700_000_000
"""Long ago: S3 tells times in whole seconds, and a sync within the second of writing would see newer files."""
TABLE = Table()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = {"server": {"domains": [DOMAIN]}}
    with Site(tmp_path_factory.mktemp("compat"), "compat", workers=2, settings=settings) as site:
        yield site


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"), DOMAIN)


@pytest.fixture(scope="session")
def tls_site(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Site]:
    files = {"tls_certificate_file": str(authority.chain), "tls_key_file": str(authority.key)}
    settings = {"server": {"domains": [DOMAIN], **files}}
    with Site(tmp_path_factory.mktemp("compat-tls"), "compat-tls", workers=2, settings=settings) as site:
        yield site


@pytest.fixture(scope="session")
def sdk_run(request: pytest.FixtureRequest) -> SdkRun:
    """Runs a driver at most once over each scheme; which sites are started depends on the schemes asked for."""
    done: dict[tuple[Driver, str], Checked] = {}

    def run(driver: Driver, scheme: str) -> Checked:
        if (driver, scheme) not in done:
            site: Site = request.getfixturevalue("tls_site" if scheme == "https" else "site")
            trusted = request.getfixturevalue("authority").root if scheme == "https" else None
            vhost = f"{scheme}://{DOMAIN}:{site.port}"
            done[driver, scheme] = Checked(run_driver(driver, site, vhost, trusted))
        return done[driver, scheme]

    return run


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[None]:
    """Note the outcome for the table: of the test itself, or of the preparation it could not do without."""
    outcome = yield
    report = outcome.get_result()
    shown = tuple(feature for mark in item.iter_markers("proves") for feature in mark.args)
    client = getattr(getattr(item, "module", None), "CLIENT", None)
    if shown and client and (report.when == "call" or not report.passed):
        TABLE.add(client, shown, report.outcome)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table, and write it where asked."""
    paths = os.environ.get("SKERRY_COMPAT_TABLE", "").split()
    if paths and TABLE.cells:
        for path in paths:
            TABLE.write(Path(path))
        terminalreporter.section("client × feature")
        terminalreporter.write(TABLE.render())


@pytest.fixture(scope="session")
def client(site: Site) -> Any:
    """boto3, to prepare and to check what the client under test did."""
    return site.client()


@pytest.fixture
def bucket(client: Any) -> str:
    name = f"compat-{uuid.uuid4().hex[:10]}"
    client.create_bucket(Bucket=name)
    return name


@pytest.fixture(params=["http", pytest.param("https", marks=proves("https"))])
def place(request: pytest.FixtureRequest) -> Place:
    """A fresh bucket, over http and over https."""
    if request.param == "http":
        return make_place(request.getfixturevalue("site"), None)
    return make_place(request.getfixturevalue("tls_site"), request.getfixturevalue("authority").root)


@pytest.fixture
def plain_place(site: Site) -> Place:
    """A fresh bucket over http, for clients that cannot be told of a root to trust."""
    return make_place(site, None)


def make_place(site: Site, root: Path | None) -> Place:
    """A fresh bucket of ``site``."""
    boto3 = site.client(verify=str(root) if root else None, signature_version="s3v4")
    name = f"compat-{uuid.uuid4().hex[:10]}"
    boto3.create_bucket(Bucket=name)
    return Place(site, root, boto3, name)


@pytest.fixture
def named(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place whose buckets can be reached as subdomains from this process."""
    resolve_domain(monkeypatch)
    return place


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

        def run(
            *arguments: str, check: bool = True, given: bytes = b"", **environment: str
        ) -> subprocess.CompletedProcess[bytes]:
            kept = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
            done = subprocess.run(
                [path, *arguments],
                env=kept | environment,
                input=given,
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
