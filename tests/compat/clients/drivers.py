"""Programs in other languages that drive their AWS SDK: built once, run once per endpoint, one JSON line a check.

A driver gets everything from its environment (``COMPAT_*``) and prints ``{"check": …, "ok": …, "detail": …}``. What
is built lies outside the tree, in ``$SKERRY_COMPAT_CACHE`` or ``~/.cache/skerry-compat``. A toolchain or a registry
that is not there skips the driver's tests and says why; a program that does not compile fails them.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from tests.compat.clients.features import DOT_KEYS, ODD_KEYS
from tests.support.site import Site

SOURCES = Path(__file__).resolve().parents[1] / "drivers"
BUILD_TIMEOUT_S = 1500
RUN_TIMEOUT_S = 150


@dataclass(frozen=True)
class Driver:
    """One program. ``fetch`` gets dependencies (a failure skips), ``build`` compiles (a failure fails)."""

    name: str
    tools: tuple[str, ...]
    fetch: tuple[str, ...]
    build: tuple[str, ...]
    command: Callable[[Path], tuple[str, ...]]
    environment: Callable[[Path], dict[str, str]] = lambda _: {}
    keys: tuple[str, ...] = ODD_KEYS + DOT_KEYS


def cache_directory(name: str) -> Path:
    """Where the driver called ``name`` is built; kept between runs."""
    root = Path(os.environ.get("SKERRY_COMPAT_CACHE") or Path.home() / ".cache" / "skerry-compat")
    made = root / name
    made.mkdir(parents=True, exist_ok=True)
    return made


def built(driver: Driver) -> tuple[str, ...]:
    """The command line of the driver, built from its locked sources; skips if it cannot be."""
    missing = _build(replace(driver, command=_no_command, keys=()))
    if missing:
        pytest.skip(missing)
    return driver.command(cache_directory(driver.name))


def _no_command(place: Path) -> tuple[str, ...]:
    raise NotImplementedError


@cache
def _build(driver: Driver) -> str:
    """Build it, once a session however many command lines it has; what is missing for that, if anything."""
    absent = [tool for tool in driver.tools if shutil.which(tool) is None]
    if absent:
        return f"{' and '.join(absent)} not installed"
    place, wanted = cache_directory(driver.name), _fingerprint(driver)
    stamp = place / "built"
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:  # another process may be running it just now
            return ""
        stamp.unlink(missing_ok=True)
        source = place / "source"
        shutil.copytree(SOURCES / driver.name, source, dirs_exist_ok=True)
        environment = os.environ | driver.environment(place)
        for words in (driver.fetch, driver.build):
            if not words:
                continue
            done = subprocess.run(
                words, cwd=source, env=environment, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S
            )
            said = f"{' '.join(words)} exited {done.returncode}: {(done.stdout + done.stderr).strip()[-3000:]}"
            if done.returncode and words == driver.fetch:
                return f"dependencies of the {driver.name} driver cannot be had: {said}"
            assert done.returncode == 0, said
        stamp.write_text(wanted)
    return ""


def _fingerprint(driver: Driver) -> str:
    """Of what is built: the sources and how; a program built from the same is not built again."""
    sources = SOURCES / driver.name
    digest = blake3(repr((driver.fetch, driver.build)).encode())
    for path in sorted(path for path in sources.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(sources)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def run_driver(driver: Driver, site: Site, vhost_endpoint: str, trusted: Path | None) -> dict[str, dict[str, Any]]:
    """Run every check of the driver against ``site``: check → its JSON line. ``trusted``: the root to trust."""
    command = built(driver)
    client = site.client(**({"verify": str(trusted)} if trusted else {}))
    bucket, versioned = (f"{driver.name}-{uuid.uuid4().hex[:10]}" for _ in range(2))
    client.create_bucket(Bucket=bucket)
    client.create_bucket(Bucket=versioned)
    client.put_object(Bucket=bucket, Key="from-boto3", Body=b"written by boto3")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_") and not k.upper().endswith("_PROXY")}
    environment |= driver.environment(cache_directory(driver.name)) | {
        "COMPAT_ENDPOINT": site.endpoint,
        "COMPAT_VHOST_ENDPOINT": vhost_endpoint,
        "COMPAT_ACCESS_KEY": site.access_key,
        "COMPAT_SECRET_KEY": site.secret_key,
        "COMPAT_BUCKET": bucket,
        "COMPAT_VERSIONED_BUCKET": versioned,
        "COMPAT_KEYS": json.dumps(driver.keys),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    if trusted:  # each runtime has a variable of its own for roots to trust
        environment |= {"SSL_CERT_FILE": str(trusted), "NODE_EXTRA_CA_CERTS": str(trusted), "COMPAT_ROOT": str(trusted)}
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=RUN_TIMEOUT_S
        )
        ended, out, complaints = str(done.returncode), done.stdout, done.stderr
    except subprocess.TimeoutExpired as hung:
        ended, out, complaints = f"hung for {RUN_TIMEOUT_S} s", hung.stdout or b"", hung.stderr or b""
    lines = [json.loads(line) for line in out.decode().splitlines() if line.startswith("{")]
    results = {line["check"]: line for line in lines}
    results["exit"] = {"ok": ended == "0", "detail": f"{ended}\n{complaints.decode(errors='replace')[-4000:]}"}
    if results.get("cross", {}).get("ok"):
        body = client.get_object(Bucket=bucket, Key="for-boto3")["Body"].read()
        assert body == b"written by the driver"
    return results
