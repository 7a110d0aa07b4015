"""System calls that fail in the kernel, as far as a process can tell: strace changes what a call returns.

Stands around a real server: ``injected`` attaches to one process while requests run and lets its calls fail;
``start_injected`` starts a whole server under it. Counts are strace's: each thread counts its own calls, so "the n-th"
is the n-th of every thread. A call that is made to fail is not made at all.
"""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.crash.traced_files import STRACE
from tests.support.net import wait_until
from tests.support.site import ROOT, Site

_ATTACHED: Final = re.compile(r"Process \d+ attached")
_INJECTED: Final = re.compile(r"(\w+)\(.*\(INJECTED\)|<\.\.\. (\w+) resumed.*\(INJECTED\)")
_ALIASES: Final = {"pwritev": ("pwritev", "pwritev2")}
"""Calls that the C library may make as another."""


@dataclass(frozen=True)
class Fault:
    """``error``: an errno's name, or ``short`` (the call says that it wrote one byte). ``lasting``: all from the n-th
    on. ``only``: a file below the data directory, if no other is to be touched.
    """

    call: str
    error: str
    at: int = 1
    lasting: bool = False
    only: str = ""

    @property
    def options(self) -> list[str]:
        """strace's options."""
        outcome = "retval=1" if self.error == "short" else f"error={self.error}"
        when = f"{self.at}+" if self.lasting else str(self.at)
        calls = ",".join(_ALIASES.get(self.call, (self.call,)))
        return ["-e", f"trace={calls}", "-e", f"inject={calls}:{outcome}:when={when}"]

    def __str__(self) -> str:
        where = f" of {self.only}" if self.only else ""
        return f"{self.call} {self.error}{where}, {'all from' if self.lasting else 'only'} the {self.at}. on"


class Injection:
    """What strace wrote of the calls it let fail."""

    def __init__(self, output: Path) -> None:
        self._output = output

    def failed(self) -> list[str]:
        """The calls that failed so far, by name."""
        text = self._output.read_text(errors="replace") if self._output.exists() else ""
        return [found[1] or found[2] for found in _INJECTED.finditer(text)]


@contextlib.contextmanager
def injected(pid: int, fault: Fault, data: Path, output: Path) -> Iterator[Injection]:
    """While it lasts, calls of this process (all its threads) fail."""
    assert STRACE is not None
    output.unlink(missing_ok=True)
    only = ["-P", str(data / fault.only)] if fault.only else []
    with output.with_suffix(".said").open("wb") as said:
        tracer = subprocess.Popen(
            [STRACE, "-f", "-s", "8", *fault.options, *only, "-o", str(output), "-p", str(pid)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
    threads = len(list(Path(f"/proc/{pid}/task").iterdir()))

    def is_attached() -> bool:
        assert tracer.poll() is None, output.with_suffix(".said").read_text()
        attached = _ATTACHED.findall(output.with_suffix(".said").read_text())
        return len(attached) >= 1 and _traced_threads(pid) >= threads

    wait_until(is_attached, "strace is attached", 20)
    try:
        yield Injection(output)
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(20)


def _traced_threads(pid: int) -> int:
    """How many threads of a process have a tracer."""
    count = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        with contextlib.suppress(OSError):
            count += "TracerPid:\t0\n" not in status.read_text()
    return count


def start_injected(site: Site, fault: Fault, output: Path) -> tuple[Injection, bool]:
    """Start a server under strace and wait until it is ready or has ended: whether it is ready."""
    assert STRACE is not None
    only = ["-P", str(site.data / fault.only)] if fault.only else []
    with (site.directory / "server.log").open("ab") as log:
        site.process = subprocess.Popen(
            [
                *(STRACE, "-f", "-s", "8", "-qq", *fault.options, *only, "-o", str(output)),
                *(sys.executable, *site.entry, "serve", "--config", str(site.config)),
            ],
            cwd=ROOT,
            env=site._environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        site.wait_ready()
    except AssertionError:
        site.kill()
        return Injection(output), False
    return Injection(output), True
