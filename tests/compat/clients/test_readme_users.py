"""The README's lines about users and permissions, run as they stand by a shell with aws-cli and skerry in its path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.site import ROOT, Site

pytestmark = pytest.mark.e2e


def readme_lines(heading: str) -> str:
    """The indented lines of a section."""
    section = (ROOT / "README.md").read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return "\n".join(line[4:] for line in section.splitlines() if line.startswith("    "))


def run_lines(site: Site, lines: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {"HOME": str(site.directory), "LC_ALL": "C.UTF-8", "AWS_EC2_METADATA_DISABLED": "true"}
    kept |= {"AWS_ACCESS_KEY_ID": site.access_key, "AWS_SECRET_ACCESS_KEY": site.secret_key}
    kept |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_CONFIG_FILE": os.devnull, "PYTHONPATH": str(ROOT)}
    kept |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **environment}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines],
        stdin=subprocess.DEVNULL,
        cwd=site.directory,
        env=kept,
        capture_output=True,
        text=True,
        timeout=300,
    )


def documents(text: str) -> list[dict[str, Any]]:
    """The JSON documents in what the commands printed, one after the other."""
    found, decoder, at = [], json.JSONDecoder(), text.find("{")
    while at >= 0:
        document, end = decoder.raw_decode(text, at)
        found.append(document)
        at = text.find("{", end)
    return found


def test_the_lines_of_the_readme_do_what_they_say(site: Site, bucket: str) -> None:
    lines = readme_lines("Users and permissions").replace("http://127.0.0.1:9000", site.endpoint)
    assert lines.count("aws ") >= 8
    done = run_lines(site, lines)
    assert done.returncode == 0, done.stderr
    answers = documents(done.stdout.partition("user carol")[0])
    key = next(answer["AccessKey"] for answer in answers if "AccessKey" in answer)
    session = next(answer["Credentials"] for answer in answers if "Credentials" in answer)
    assert "carol" in done.stdout
    put = f"echo x | aws s3 cp - s3://{bucket}/home"
    as_bob = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    as_bob["AWS_ENDPOINT_URL"] = site.endpoint
    assert run_lines(site, f"{put}/bob/a; aws s3 ls s3://{bucket}", **as_bob).returncode == 0
    refused = run_lines(site, f"{put}/eve/a", **as_bob)
    assert "AccessDenied" in refused.stderr
    as_role = {
        "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
        "AWS_SESSION_TOKEN": session["SessionToken"],
        "AWS_ENDPOINT_URL": site.endpoint,
    }
    done = run_lines(site, f"{put}/eve/a; aws sts get-caller-identity", **as_role)
    assert done.returncode == 0, done.stderr
    assert "assumed-role/nightly/backup" in done.stdout
