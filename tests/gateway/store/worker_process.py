"""A second process of a site for tests: opens the same store, puts and deletes on command, and dies when told to.

It talks over a pipe of pickled tuples. ``die_in_commit`` ends it by SIGKILL when its batch is durable in the log and
not yet in the index; ``die_in_body`` when a body is half written.
"""

from __future__ import annotations

import asyncio
import faulthandler
import multiprocessing
import os
import signal
from pathlib import Path

from gateway.store.apply import Applier
from gateway.store.item_format import bucket_uid
from gateway.store.version_ids import NULL
from tests.gateway.store.store_site import StoreSite

UID = bucket_uid("bucket", "me")
STUCK_S = 40.0


def _die(*args: object, **more: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def _serve(pipe) -> None:
    site: StoreSite | None = None
    while True:
        faulthandler.cancel_dump_traceback_later()
        verb, *arguments = pipe.recv()
        faulthandler.dump_traceback_later(STUCK_S, exit=True)  # the test then sees a death, and says where it stood
        if verb == "open":
            site = StoreSite(Path(arguments[0]), segment_size=arguments[1])
            site.uid = UID
        elif verb == "close":
            if site is not None:
                site.store.close()
            site = None
        elif verb == "end":
            return
        else:
            assert site is not None
            if verb == "put":
                key, data, versioned = arguments
                version = await site.put(key, data, versioned=versioned)
                pipe.send(version.id)
                continue
            if verb == "delete":
                await site.delete(arguments[0], NULL)
            elif verb == "die_in_commit":
                key, data = arguments
                Applier.finish_batch = _die
                await site.put(key, data)
            elif verb == "die_in_body":
                async with site.store.writer() as writer:
                    await writer.write(arguments[0])
                    await asyncio.sleep(0)
                    _die()
        pipe.send("done")


def _main(pipe) -> None:
    asyncio.run(_serve(pipe))


class Worker:
    """The other process, seen from the test. Started when first needed, again after it died."""

    def __init__(self) -> None:
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe = None
        self.is_open = False

    def ask(self, *command: object) -> object:
        """Run one command and wait for its answer; None if it died of it."""
        if self._process is None:
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=_main, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
        assert self._pipe is not None
        self._pipe.send(command)
        try:
            return self._pipe.recv()
        except EOFError:
            self._forget()
            return None

    def open(self, path: Path, segment_size: int) -> None:
        if not self.is_open:
            assert self.ask("open", str(path), segment_size) == "done"
            self.is_open = True

    def close(self) -> None:
        if self.is_open:
            self.ask("close")
            self.is_open = False

    def end(self) -> None:
        if self._process is not None:
            assert self._pipe is not None
            self._pipe.send(("end",))
            self._forget()

    def _forget(self) -> None:
        assert self._process is not None
        assert self._pipe is not None
        self._process.join()
        self._process.close()
        self._pipe.close()
        self._process = self._pipe = None
        self.is_open = False
