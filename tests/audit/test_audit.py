"""The audit's three answers are told apart: vulnerable, clean, not known."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.audit.__main__ import EXIT_CLEAN, EXIT_UNKNOWN, EXIT_VULNERABLE, judge

GOOD = {"name": "good", "version": "1.0", "vulns": []}
BAD = {"name": "bad", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"], "aliases": []}]}
UNKNOWN = {"name": "far", "skip_reason": "Dependency not found on PyPI and could not be audited: far (3.0)"}


@pytest.mark.parametrize(
    ("dependencies", "exit_code", "says"),
    [
        ([GOOD], EXIT_CLEAN, "clean, 1 dependencies"),
        ([GOOD, BAD, UNKNOWN], EXIT_VULNERABLE, "bad 2.0: PYSEC-1, mended in 2.1"),
        ([GOOD, UNKNOWN], EXIT_UNKNOWN, "1 of 2: PyPI has no answer about them here: far"),
        ([UNKNOWN], EXIT_UNKNOWN, "NOT KNOWN for 1 of 1"),
        ([], EXIT_UNKNOWN, "could not be asked"),
    ],
)
def test_verdicts(dependencies: list[dict[str, Any]], exit_code: int, says: str) -> None:
    verdict = judge({"dependencies": dependencies})
    assert verdict.exit_code == exit_code
    assert says in verdict.text


def run(program: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.audit", str(program), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("option", "exit_code"), [((), 0), (("--strict",), EXIT_UNKNOWN)])
def test_who_cannot_be_asked_is_not_clean(tmp_path: Path, option: tuple[str, ...], exit_code: int) -> None:
    done = run(tmp_path / "absent", *option)
    assert done.returncode == exit_code
    assert "NOT KNOWN" in done.stdout


def test_what_is_vulnerable_fails(tmp_path: Path) -> None:
    program = tmp_path / "auditor"
    program.write_text(f"#!/bin/sh\ncat <<'X'\n{json.dumps({'dependencies': [GOOD, BAD]})}\nX\nexit 1\n")
    program.chmod(0o700)
    done = run(program)
    assert done.returncode == EXIT_VULNERABLE
    assert "PYSEC-1" in done.stdout
