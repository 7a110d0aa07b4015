"""Takes TLS connections off the listener, so that how many handshakes are under way is bounded.

    listener → TlsDoor: accept, handshake (the loop's own TLS) → S3Connection

A connection reaches ``protocol`` only when its handshake is done, so whoever opens one and says nothing, or a byte now
and then, would be in no cap and in no row there. Here the oldest handshake gives way to a new one: a client in earnest
needs two turns of its line, one that wastes our time has had more than that.

Invariant: at most ``HANDSHAKES_MAX`` handshakes at a time, each for at most its timeout, beside the connections that
stand; one too many of those is told so in ``protocol``, when it can be told. Failed handshakes are counted, not logged:
whoever wants could fill a disk with them.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from typing import Final

from gateway.http.protocol import S3Server

HANDSHAKES_MAX: Final = 256
GIVES_WAY_AFTER_S: Final = 0.5
"""How long nobody takes a handshake's place."""
_ACCEPTED_AT_ONCE: Final = 16  # of a turn of the loop: each costs a good part of a millisecond
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_RETRY_S: Final = 0.2  # when the system has no descriptor or buffer left
_BACKLOG: Final = 1024


class TlsDoor:
    """One worker's. Lives on its event loop."""

    def __init__(self, server: S3Server, listener: socket.socket, context: ssl.SSLContext, timeout_s: float) -> None:
        self._server, self._listener, self._context, self._timeout_s = server, listener, context, timeout_s
        self._loop = asyncio.get_running_loop()
        self._shaking: dict[asyncio.Task[None], float] = {}  # since when, the oldest first
        self._is_open = False
        self.failed = 0
        """Handshakes that came to nothing."""
        self.refused = 0
        """Connections closed before their handshake began."""

    def open(self) -> None:
        """Take connections from now on."""
        self._listener.setblocking(False)
        self._listener.listen(_BACKLOG)
        self._is_open = True
        self._watch()

    def close(self) -> None:
        """Take no more, and end handshakes under way."""
        self._is_open = False
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()
        for task in list(self._shaking):
            task.cancel()

    @property
    def under_way(self) -> int:
        """Handshakes at this moment."""
        return len(self._shaking)

    def _watch(self) -> None:
        if self._is_open:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                taken, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return  # another worker was faster
            except OSError as error:
                if error.errno in _EXHAUSTED:  # the row stays ready: looking at it again at once would be all we do
                    self._loop.remove_reader(self._listener.fileno())
                    self._loop.call_later(_RETRY_S, self._watch)
                    return
                continue  # this one is gone already
            if self._make_room():
                taken.setblocking(False)
                self._shaking[self._loop.create_task(self._shake(taken))] = self._loop.time()
            else:
                self.refused += 1
                taken.close()

    def _make_room(self) -> bool:
        """Whether one more may begin; the oldest may have had to go for it."""
        return len(self._shaking) < HANDSHAKES_MAX or self._end_oldest()

    def _end_oldest(self) -> bool:
        for task, since_s in self._shaking.items():
            if since_s > self._loop.time() - GIVES_WAY_AFTER_S:
                return False
            del self._shaking[task]
            task.cancel()
            return True
        return False

    async def _shake(self, taken: socket.socket) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            await self._loop.connect_accepted_socket(
                self._server, taken, ssl=self._context, ssl_handshake_timeout=self._timeout_s
            )
        except (OSError, asyncio.CancelledError):  # ssl.SSLError is an OSError
            self.failed += 1
        finally:
            self._shaking.pop(task, None)
