"""A process that has imported all of Skerry, and forks a site's processes and commands when asked: a start costs a few
hundredths of a second, where the interpreter and its imports cost a half or more.

    test ── zygote ── supervisor, workers, background, commands: processes of their own, a server's in the supervisor's
                      group, run as `python -m` would run them: own memory, descriptors, locks, signals, environment;
                      only `exec` is missing

``Site.zygote`` names the one that a site's processes come from. What differs from life: nobody dies while the
interpreter starts (``test_kill_one.py`` has rounds with real starts for that), a server's processes are no children of
its supervisor to the kernel, and the pause before a restart is short.
A request is one connection: JSON and the descriptors to hand on; the answer is a process id and a pidfd.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import gc
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

ROOT = Path(__file__).resolve().parents[2]
PRELOADED: Final = ("worker", "background", "events", "replicator", "mirror_runner")
SUPERVISOR_MODULE: Final = "gateway.__main__"
RESTART_PAUSE_MAX_S: Final = 0.2
SOCKET_VARIABLE: Final = "TEST_ZYGOTE_SOCKET"
FIRST_VARIABLE: Final = "TEST_ZYGOTE_FIRST"
"""In a process' environment: a module to import before anything runs; ``sitecustomize`` for those without an exec."""
CODE_FILE: Final = 3
"""The descriptor on which a command leaves its exit code."""
_MESSAGE_MAX: Final = 1 << 18
_FILES_MAX: Final = 8


class ForkedProcess:
    """What of ``subprocess.Popen`` the tests use, for a process that is another one's child."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid, self._pidfd = pid, pidfd
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """None while it lives; how it ended is not known here."""
        if self.returncode is None and select.select([self._pidfd], [], [], 0)[0]:
            self._end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Until it has ended; ``subprocess.TimeoutExpired``."""
        if self.returncode is None:
            if not select.select([self._pidfd], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a forked process", timeout or 0)
            self._end()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """To this process alone."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._pidfd, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _end(self) -> None:
        self.returncode = 0
        os.close(self._pidfd)


class Zygote:
    """The zygote's life, from the test's side: a context manager."""

    def __enter__(self) -> Zygote:
        self._directory = Path(tempfile.mkdtemp(prefix="skerry-zygote-"))  # a socket's path must be short
        self.socket = self._directory / "socket"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.zygote", str(self.socket)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(20)
        shutil.rmtree(self._directory)

    def spawn(self, arguments: Sequence[str], environment: Mapping[str, str], log: int) -> subprocess.Popen[bytes]:
        """Begin ``skerry ARGUMENTS``, a server; its children come from the zygote, too. ``log``: for all it says."""
        with open(os.devnull, "rb") as nothing:
            process = self._fork(arguments, environment, {0: nothing.fileno(), 1: log, 2: log})
        return cast("subprocess.Popen[bytes]", process)

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        """``skerry ARGUMENTS`` to its end; ``subprocess.TimeoutExpired``."""
        with contextlib.ExitStack() as stack:
            nothing = stack.enter_context(open(os.devnull, "rb"))
            out, err, code = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
            files = {0: nothing.fileno(), 1: out.fileno(), 2: err.fileno(), CODE_FILE: code.fileno()}
            process = self._fork(arguments, environment, files)
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            for file in (out, err, code):
                file.seek(0)
            returncode = int(code.read() or -signal.SIGKILL)  # none was left: it was killed
            return subprocess.CompletedProcess(list(arguments), returncode, out.read().decode(), err.read().decode())

    def _fork(
        self, arguments: Sequence[str], environment: Mapping[str, str], files: Mapping[int, int]
    ) -> ForkedProcess:
        named = {**environment, SOCKET_VARIABLE: str(self.socket)}
        return ForkedProcess(*_ask_for(self.socket, SUPERVISOR_MODULE, arguments, named, 0, files))


def _ask_for(
    place: Path,
    module: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    group: int,
    files: Mapping[int, int],
) -> tuple[int, int]:
    """A new process: its id, and a pidfd of it. ``files``: its descriptor → ours; ``group`` 0: one of its own."""
    wanted = {"module": module, "arguments": list(arguments), "environment": dict(environment), "group": group}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(str(place))
        message = json.dumps(wanted | {"files": list(files)}).encode()
        socket.send_fds(connection, [message], list(files.values()))
        answer, (pidfd,), _, _ = socket.recv_fds(connection, 64, 1)
    return int(answer), pidfd


class _ForkedChild:
    """What of ``asyncio.subprocess.Process`` the supervisor uses, for a child that the zygote forks."""

    @classmethod
    async def start(cls, _python: str, _m: str, module: str, **options: Any) -> _ForkedChild:
        """In the place of ``asyncio.create_subprocess_exec``."""
        child, loop = cls(), asyncio.get_running_loop()
        stdin, parents_stdin = os.pipe()
        parents_stdout, stdout = os.pipe()
        files = {0: stdin, 1: stdout, 2: 2} | {number: number for number in options["pass_fds"]}
        place = Path(os.environ[SOCKET_VARIABLE])
        child.pid, pidfd = _ask_for(place, module, [], options["env"], os.getpgrp(), files)
        os.close(stdin)
        os.close(stdout)
        child.process = ForkedProcess(child.pid, pidfd)
        child.stdout = asyncio.StreamReader()
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(child.stdout), os.fdopen(parents_stdout, "rb", 0)
        )
        transport, protocol = await loop.connect_write_pipe(
            asyncio.streams.FlowControlMixin, os.fdopen(parents_stdin, "wb", 0)
        )
        child.stdin = asyncio.StreamWriter(transport, protocol, None, loop)
        child.send_signal, child.terminate = child.process.send_signal, child.process.terminate
        child.kill = child.process.kill
        return child

    @property
    def returncode(self) -> int | None:
        return self.process.poll()

    async def wait(self) -> int:
        while (code := self.process.poll()) is None:
            await asyncio.sleep(0.01)
        self.stdin.close()
        return code

    pid: int
    process: ForkedProcess
    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader
    send_signal: Any
    terminate: Any
    kill: Any


def main() -> None:
    """Fork whatever is asked for, until standard input ends."""
    from gateway.cli.command import COMMANDS

    for module in (*PRELOADED, *(command.module for command in COMMANDS.values())):
        __import__(f"gateway.cli.{module}")
    __import__("replication.cloud_s3")
    assert len(os.listdir("/proc/self/task")) == 1, "an import starts a thread: what is forked here would lack it"
    gc.collect()
    gc.freeze()  # no child's collector touches, and so copies, what all of them share
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(sys.argv[1])
        listener.listen(64)
        print("ready", flush=True)
        while True:
            readable, _, _ = select.select([listener, sys.stdin], [], [], 0.05)
            if sys.stdin in readable:
                return
            if listener in readable:
                _answer(listener)
            _reap()


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _answer(listener: socket.socket) -> None:
    with listener.accept()[0] as connection:
        message, ours, _, _ = socket.recv_fds(connection, _MESSAGE_MAX, _FILES_MAX)
        if not message:
            return  # who asked was killed before it could say what for
        wanted = json.loads(message)
        pid = os.fork()
        if pid == 0:
            _become(wanted, dict(zip(wanted["files"], ours, strict=True)))
        for number in ours:
            os.close(number)
        pidfd = os.pidfd_open(pid)
        try:
            socket.send_fds(connection, [str(pid).encode()], [pidfd])
        except BrokenPipeError:
            pass  # likewise; the child notices
        finally:
            os.close(pidfd)


def _become(wanted: dict[str, Any], files: dict[int, int]) -> None:
    """In the child: be what ``python -m module`` is; never returns."""
    code = 70
    try:
        try:
            os.setpgid(0, wanted["group"])
        except (ProcessLookupError, PermissionError):
            os._exit(0)  # who asked is gone with its whole group
        _take_files(files)
        os.environ.clear()
        os.environ.update(wanted["environment"])
        Path("/proc/self/comm").write_text(wanted["module"].removeprefix("gateway."))
        sys.argv = [wanted["module"], *wanted["arguments"]]
        if wanted["module"] == SUPERVISOR_MODULE:
            _let_children_fork()
        if first := os.environ.get(FIRST_VARIABLE):
            __import__(first)
        sys.modules.pop(wanted["module"], None)
        runpy.run_module(wanted["module"], run_name="__main__", alter_sys=False)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1 if ended.code else 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if CODE_FILE in files and wanted["module"] == SUPERVISOR_MODULE:
            os.write(CODE_FILE, b"%d" % code)
        os._exit(code)


def _take_files(files: dict[int, int]) -> None:
    """``files`` and nothing else is open then."""
    above = max(max(files), *files.values(), 64) + 1
    moved = {}
    for offset, (wanted, ours) in enumerate(files.items()):
        moved[wanted] = above + offset
        os.dup2(ours, above + offset)
    for wanted, ours in moved.items():
        os.dup2(ours, wanted)
    for name in array.array("i", map(int, os.listdir("/proc/self/fd"))):
        if name not in files:
            try:
                os.close(name)
            except OSError:
                continue  # that of the listing itself


def _let_children_fork() -> None:
    from gateway import supervise

    supervise.BACKOFF_MAX_S = RESTART_PAUSE_MAX_S  # type: ignore[misc]
    supervise.asyncio.create_subprocess_exec = _ForkedChild.start  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
