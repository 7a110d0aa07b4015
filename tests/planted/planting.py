"""Plants the faults of ``faults``: in a copy of the tree, never in the tree itself, and runs there what must notice.

Invariants: the copy without a fault passes every named test before any fault is planted (else nothing is proven); a
fault counts as caught only if pytest itself says that tests failed, not if it could not run them; compiled files of an
edited module never outlive the edit (their stamps have a resolution of a second).
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.planted.fault import Fault

ROOT: Final = Path(__file__).resolve().parents[2]
_COPIED: Final = ("gateway", "replication", "tests", "deploy", "benchmarks", "pyproject.toml")
_FAILED: Final = 1
"""pytest's exit code for: tests ran, and some failed."""
_TIMEOUT_S: Final = 900
"""For the tests of one fault: whole sites beside other work take minutes."""
_SOUND_S: Final = 60
"""The same for each of many tests in a row."""


class Verdict(NamedTuple):
    """What became of one fault. ``said``: the end of what pytest printed, where it was not caught."""

    fault: Fault
    caught: bool
    seconds: float
    said: str


class CannotPlant(AssertionError):
    """The table or the tree is not what it should be: nothing can be proven."""


def check_text(fault: Fault, root: Path = ROOT) -> str | None:
    """What is wrong with a fault's edit: its text must occur exactly once and leave valid Python. None: nothing."""
    path = root / fault.file
    if not path.exists():
        return f"{fault.file} is gone"
    source = path.read_text()
    if (count := source.count(fault.text)) != 1:
        return f"its text occurs {count} times in {fault.file}"
    if fault.text == fault.replacement:
        return "it changes nothing"
    try:
        ast.parse(source.replace(fault.text, fault.replacement))
    except SyntaxError as error:
        return f"it leaves no valid Python: {error}"
    return None


class Copy:
    """A copy of the tree in an empty directory, in which one fault at a time is planted."""

    def __init__(self, directory: Path, source: Path = ROOT) -> None:
        self.root = directory
        directory.mkdir(parents=True, exist_ok=True)
        for name in _COPIED:
            path = source / name
            if path.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.md", "findings")
                shutil.copytree(path, directory / name, ignore=ignored)
            elif path.exists():
                shutil.copy2(path, directory / name)

    def check_sound(self, faults: Iterable[Fault]) -> float:
        """Run everything the faults name, unharmed: seconds taken. ``CannotPlant`` if it does not pass."""
        tests = sorted({test for fault in faults for test in fault.tests})
        code, said, seconds = self._run(tests, timeout_s=_TIMEOUT_S + _SOUND_S * len(tests))
        if code:
            raise CannotPlant(f"the unharmed copy does not pass its tests:\n{said}")
        return seconds

    def try_fault(self, fault: Fault) -> Verdict:
        """Plant, run, take back. ``CannotPlant`` if the tests could not be run."""
        if wrong := check_text(fault, self.root):
            raise CannotPlant(f"{fault.name}: {wrong}")
        path = self.root / fault.file
        source = path.read_text()
        try:
            self._write(path, source.replace(fault.text, fault.replacement))
            code, said, seconds = self._run(fault.tests, "-x")
        finally:
            self._write(path, source)
        if code not in (0, _FAILED):
            raise CannotPlant(f"{fault.name}: pytest exited {code}:\n{said}")
        return Verdict(fault, code == _FAILED, seconds, said)

    def _write(self, path: Path, source: str) -> None:
        path.write_text(source)
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()

    def _run(self, tests: Sequence[str], *options: str, timeout_s: float = _TIMEOUT_S) -> tuple[int, str, float]:
        """pytest in the copy: exit code, the end of its output, seconds."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        environment["PYTHONPATH"] = str(self.root)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line", *options, *tests]
        started = time.monotonic()
        try:
            done = subprocess.run(
                command, cwd=self.root, env=environment, capture_output=True, text=True, timeout=timeout_s
            )
        except subprocess.TimeoutExpired:
            return -1, f"not done within {timeout_s} s", time.monotonic() - started
        return done.returncode, (done.stdout + done.stderr)[-3000:], time.monotonic() - started
