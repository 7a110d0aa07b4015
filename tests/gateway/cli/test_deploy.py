"""What stands in ``deploy/`` fits the code: commands, options, variables, metrics. (The sample has its own test.)"""

import asyncio
import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.cli.admin_status import SiteStatus
from gateway.cli.command import build_parser
from gateway.cli.opening import opened_site
from gateway.cli.site import create_site
from gateway.config import Overrides, load_config

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"


def read_unit():
    unit = configparser.RawConfigParser(strict=False, comment_prefixes=("#",))
    unit.optionxform = str
    unit.read_string((DEPLOY / "skerry.service").read_text())
    return unit


def test_the_unit_starts_a_command_that_exists():
    program, *arguments = shlex.split(read_unit()["Service"]["ExecStart"])
    assert program.endswith("/skerry")
    assert build_parser(arguments[0]).parse_args(arguments).command == "serve"


def test_the_unit_waits_longer_than_the_server_drains(tmp_path):
    config = load_config(DEPLOY / "skerry.toml", {})
    assert int(read_unit()["Service"]["TimeoutStopSec"]) > config.server.drain_timeout_s + 5


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_the_unit_is_understood(tmp_path):
    text = (DEPLOY / "skerry.service").read_text().replace("/opt/skerry/bin/skerry", "/bin/true")
    (tmp_path / "skerry.service").write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "skerry.service")], capture_output=True, text=True, timeout=60
    )
    complaints = [line for line in done.stderr.splitlines() if "skerry.service" in line and "Unknown" in line]
    assert complaints == []


def test_the_image_sets_variables_that_exist():
    text = (DEPLOY / "Dockerfile").read_text()
    variables = dict(re.findall(r"(SKERRY_[A-Z]+_[A-Z_]+)=(\S+)", text))
    config = load_config(None, variables)
    assert config.data == Path("/data")
    assert config.server.listen.startswith("0.0.0.0:")


def test_the_image_copies_what_exists():
    root = DEPLOY.parent
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    assert "requirements.lock" in names
    ignored = (root / ".dockerignore").read_text().splitlines()
    for name in names:
        assert (root / name).exists()
        assert f"!{name}" in ignored


def test_alerts_ask_for_metrics_that_exist(tmp_path):
    config = load_config(None, {}, Overrides(data=tmp_path / "data"))
    create_site(config)

    async def read():
        async with opened_site(config) as site:
            return SiteStatus(site, lambda: True).gauges()

    told = {f"skerry_{name}" for name in asyncio.run(read())}
    expressions = re.findall(r"expr: (.*)", (DEPLOY / "alerts.yaml").read_text())
    asked = {name for expression in expressions for name in re.findall(r"skerry_\w+", expression)}
    assert len(asked) > 4
    assert asked <= told
