"""``python -m tests.audit PIP_AUDIT [LOCK]``: asks PyPI whether what is locked has known vulnerabilities, and says so.

Stands outside the product: ``make audit`` and CI run it. Three answers, never mixed up: vulnerable (exit code 1),
clean (0), and not known, because PyPI could not be asked about some or all (0, in plain words; 3 with ``--strict``). A
machine without a network, or behind a package mirror that does not serve PyPI's JSON API, gets the third.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

EXIT_CLEAN: Final = 0
EXIT_VULNERABLE: Final = 1
EXIT_UNKNOWN: Final = 3
_TIMEOUT_S: Final = 300


class Verdict(NamedTuple):
    """What to say, and the exit code of a strict run."""

    text: str
    exit_code: int


def judge(report: dict[str, Any] | None, problem: str = "") -> Verdict:
    """The verdict of pip-audit's JSON report; ``None`` and what it said instead if there is none."""
    dependencies = report["dependencies"] if report else []
    found = [
        f"{each['name']} {each['version']}: {flaw['id']}"
        + (f", mended in {', '.join(flaw['fix_versions'])}" if flaw.get("fix_versions") else "")
        for each in dependencies
        for flaw in each.get("vulns", ())
    ]
    unknown = [each["name"] for each in dependencies if "skip_reason" in each]
    if found:
        return Verdict("audit: VULNERABLE\n  " + "\n  ".join(found), EXIT_VULNERABLE)
    if not dependencies:
        return Verdict(f"audit: NOT KNOWN, PyPI could not be asked: {problem or 'nothing is locked'}", EXIT_UNKNOWN)
    if unknown:
        text = f"audit: NOT KNOWN for {len(unknown)} of {len(dependencies)}: PyPI has no answer about them here"
        return Verdict(text if len(unknown) == len(dependencies) else f"{text}: {', '.join(unknown)}", EXIT_UNKNOWN)
    return Verdict(f"audit: clean, {len(dependencies)} dependencies", EXIT_CLEAN)


def ask(program: str, lock: Path) -> Verdict:
    """Run pip-audit over a lock file with hashes."""
    options = ("--require-hashes", "--disable-pip", "--vulnerability-service", "pypi", "--progress-spinner", "off")
    command = [program, "--requirement", str(lock), *options, "--format", "json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return judge(None, f"{type(error).__name__}: {error}")
    try:
        return judge(json.loads(done.stdout))
    except ValueError:
        return judge(None, (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])


def main() -> int:
    """Say it; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.audit", description=__doc__)
    parser.add_argument("program", help="pip-audit")
    parser.add_argument("lock", nargs="?", type=Path, default=Path("requirements.lock"))
    parser.add_argument("--strict", action="store_true", help="not to know is a failure, too")
    arguments = parser.parse_args()
    verdict = ask(arguments.program, arguments.lock)
    print(verdict.text)
    return EXIT_CLEAN if verdict.exit_code == EXIT_UNKNOWN and not arguments.strict else verdict.exit_code


if __name__ == "__main__":
    sys.exit(main())
