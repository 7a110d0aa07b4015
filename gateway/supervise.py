"""Keeps the processes of a site running: starts them, restarts the dead with backoff, passes signals on, ends them.

Knows processes, not what they do: a ``Role`` is a Python module to run, its orders (bytes on standard input, so that no
secret is ever an argument or a variable) and the descriptors it inherits, the listening socket above all: bound once by
the parent, shared by every worker, so that a worker's death refuses no connection.

The pipe on a child's standard input stays open for as long as the parent lives: its end tells the child to finish, so
that a killed parent leaves no orphan. A child says ``ready`` on its standard output; its log goes to the parent's
standard error. Invariants: a child is started by spawn (exec), never by forking a process with threads; the parent does
no work of the site that could make it fail.

It deliberately does not decide why a child died; it only tells it, with the exit code.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

READY_LINE: Final = b"ready\n"
BACKOFF_BASE_S: Final = 0.2
BACKOFF_MAX_S: Final = 15.0
STEADY_AFTER_S: Final = 30.0
"""A child that lived this long starts with the smallest backoff again."""
KILL_GRACE_S: Final = 5.0
"""How much longer than the drain timeout a child may take before it is killed."""

log = logging.getLogger("skerry.supervise")


class CannotStart(Exception):
    """A vital child ended before it was ever ready; ``exit_code`` is its own."""

    def __init__(self, name: str, exit_code: int) -> None:
        super().__init__(f"{name} ended with {exit_code} before it was ready")
        self.exit_code = exit_code


@dataclass(frozen=True, repr=False)
class Role:
    """What a child is: ``python -m module``, given ``orders`` on standard input and ``descriptors`` to inherit.

    ``environment`` is all it has of one (None: the parent's). ``vital``: if it ends before it was ever ready, so does
    the whole server (a broken configuration must not loop).
    """

    name: str
    module: str
    orders: bytes
    descriptors: Sequence[int] = ()
    vital: bool = False
    environment: Mapping[str, str] | None = None


class Child:
    """One role, kept running until ``stop``."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self.ready = asyncio.Event()
        """Set while the child says it is serving."""
        self.restarts = 0
        self._was_ready = False
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The running process, if there is one."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def keep(self) -> None:
        """Run it, again and again, until ``stop``; ``CannotStart`` for a vital one that never gets ready."""
        failures = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            code = await self._run_once()
            if self._stopping.is_set():
                return
            if self.role.vital and not self._was_ready:
                raise CannotStart(self.role.name, code)
            failures = 0 if time.monotonic() - started > STEADY_AFTER_S else failures + 1
            pause_s = min(BACKOFF_BASE_S * 2**failures, BACKOFF_MAX_S)
            self.restarts += 1
            log.error("%s ended with %d; starting it again in %.1f s", self.role.name, code, pause_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()

    async def stop(self, timeout_s: float) -> None:
        """Ask it to finish (end of its standard input, and SIGTERM); kill it if it takes longer."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        self.signal(signal.SIGTERM)
        if process.stdin:
            process.stdin.close()
        try:
            async with asyncio.timeout(timeout_s):
                await process.wait()
        except TimeoutError:
            log.error("%s did not finish within %.0f s: killing it", self.role.name, timeout_s)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Pass a signal on, if the child is there."""
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _run_once(self) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            self.role.module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=tuple(self.role.descriptors),
            env=self.role.environment,
        )
        self._process = process
        if self._stopping.is_set():  # asked to stop while it was being started
            process.terminate()
        assert process.stdin
        assert process.stdout
        with contextlib.suppress(ConnectionError):
            process.stdin.write(len(self.role.orders).to_bytes(4, "little") + self.role.orders)
            await process.stdin.drain()
        while line := await process.stdout.readline():
            if line == READY_LINE:
                self._was_ready = True
                self.ready.set()
        self.ready.clear()
        return await process.wait()


class Supervisor:
    """Keeps all children of a server, and ends them together."""

    def __init__(self, roles: Sequence[Role], drain_timeout_s: float) -> None:
        self.children = [Child(role) for role in roles]
        self._drain_timeout_s = drain_timeout_s
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start every child; returns once all vital ones are ready. ``CannotStart`` if one ends before."""
        self._tasks = [asyncio.create_task(child.keep(), name=child.role.name) for child in self.children]
        vital = [asyncio.create_task(child.ready.wait()) for child in self.children if child.role.vital]
        pending: set[asyncio.Task[object]] = {*vital}
        try:
            while pending:
                done, _ = await asyncio.wait({*pending, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
                for task in done & {*self._tasks}:
                    task.result()
                pending -= done
        except BaseException:
            await self.stop()
            raise
        finally:
            for waiter in vital:
                waiter.cancel()

    def is_ready(self) -> bool:
        """Whether every vital child is serving now."""
        return all(child.ready.is_set() for child in self.children if child.role.vital)

    async def wait_failed(self) -> None:
        """Return only by raising what ended one of the keepers."""
        await asyncio.gather(*self._tasks)

    def reload(self) -> None:
        """SIGHUP to every child: certificates are read again."""
        for child in self.children:
            child.signal(signal.SIGHUP)

    async def stop(self) -> None:
        """End all children: at once asked, each given the drain timeout, then killed."""
        grace_s = self._drain_timeout_s + KILL_GRACE_S
        await asyncio.gather(*(child.stop(grace_s) for child in self.children))
        await asyncio.gather(*self._tasks, return_exceptions=True)
