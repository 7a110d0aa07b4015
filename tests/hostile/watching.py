"""What is watched while somebody attacks: that a well-behaved client is served, and what the server's memory does.

An attack is a function of the place attacked and an event; it tells the place when it is in full swing, goes on until
the event is set, and returns what it counted. It fails by raising.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import ClientError, ConnectionClosedError, SSLError

from tests.gateway.http.raw import Raw
from tests.kill.processes import WORKER, list_children
from tests.support.net import wait_until
from tests.support.site import Site

MEMORY_MAX_BYTES: Final = 200 << 20
"""Anonymous memory of a worker, whatever comes (DESIGN §8)."""
SERVED_MIN: Final = 20
"""Requests of the good client, each of a PUT and a GET, that must succeed while an attack is in full swing."""
_SERVED_TIMEOUT_S: Final = 90.0
_ATTEMPTS: Final = 3
_WAITS_S: Final = (1, 2, 4, 8)
"""Before one more attempt of who was cut off: botocore's by default, without its chance of less."""
_LOOK_EVERY_S: Final = 0.1
_BODY: Final = b"good" * 1024


class MemoryUnbounded(AssertionError):
    """A worker's memory went beyond ``MEMORY_MAX_BYTES``."""


@dataclass
class Place:
    """The server attacked."""

    site: Site
    raw: Raw
    begun: threading.Event = field(default_factory=threading.Event)
    root: str | None = None
    """A PEM file with the root to trust, if it is attacked over TLS."""
    served_min: int = SERVED_MIN
    may_cut: bool = False
    """Whether a handshake of the good client's may be ended for the sake of others': it comes back then, as SDKs do."""


Attack = Callable[[Place, threading.Event], str]


class GoodClient(threading.Thread):
    """Puts and gets small objects, one after the other, and takes note of how it goes."""

    def __init__(self, place: Place) -> None:
        super().__init__(daemon=True)
        self._waits_s = _WAITS_S if place.may_cut else ()
        self._client = place.site.client(place.root, read_timeout=30, retries={"total_max_attempts": 1})
        if place.root is not None:  # each request its own handshake: that is what is in the way there
            self._client.meta.events.register("before-send.s3", _close_behind)
        self._ended = threading.Event()
        self.served, self.refused, self.cut, self.slowest_s = 0, 0, 0, 0.0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._ended.is_set():
                started = time.monotonic()
                self._insist(lambda: self._client.put_object(Bucket="good", Key="k", Body=_BODY))
                assert self._insist(lambda: self._client.get_object(Bucket="good", Key="k"))["Body"].read() == _BODY
                self.slowest_s = max(self.slowest_s, time.monotonic() - started)
                self.served += 1
        except BaseException as error:
            self.failure = error

    def _insist(self, call: Callable[[], Any]) -> Any:
        """The answer; who may be cut off comes back as often, and after as long, as SDKs do by default, no more."""
        for wait_s in self._waits_s:
            try:
                return self._ask(call)
            except (ConnectionClosedError, SSLError):
                self.cut += 1
                self._ended.wait(wait_s)
        return self._ask(call)

    def _ask(self, call: Callable[[], Any]) -> Any:
        """The answer; who is told to slow down comes back when it was told to, as often as SDKs do by default."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return call()
            except ClientError as error:
                if error.response["Error"]["Code"] != "SlowDown":
                    raise
                self.refused += 1
                self._ended.wait(int(error.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"]))
        return call()

    def wait_served(self, count: int, attacker: threading.Thread) -> None:
        """Until it was served so many more times; raises what it met, at once if the attack ended by itself."""
        wanted = self.served + count
        wait_until(
            lambda: self.served >= wanted or self.failure is not None or not attacker.is_alive(),
            "the good client is served",
            _SERVED_TIMEOUT_S,
        )
        if self.failure is not None:
            raise self.failure

    def end(self) -> None:
        """Stop, and give its connections back."""
        self._ended.set()
        self.join(60)
        self._client.close()


def _close_behind(request: Any, **_: Any) -> None:
    request.headers["Connection"] = "close"


def read_memory(site: Site) -> int:
    """Anonymous bytes of the site's largest worker."""
    sizes = [0]
    for pid in list_children(site, WORKER):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                sizes.append(int(line.split()[1]) * 1024)
    return max(sizes)


def endure(place: Place, attack: Attack) -> None:
    """Run the attack until the good client was served often enough, and check what is promised meanwhile."""
    place.begun.clear()
    ended, told, failures, peak = threading.Event(), [], [], [read_memory(place.site)]

    def watch() -> None:
        while not ended.wait(_LOOK_EVERY_S):
            peak.append(read_memory(place.site))

    def run() -> None:
        try:
            told.append(attack(place, ended))
        except BaseException as error:
            failures.append(error)

    before, workers = peak[0], list_children(place.site, WORKER)
    attacker, good = threading.Thread(target=run, daemon=True), GoodClient(place)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    attacker.start()
    good.start()
    try:
        wait_until(lambda: place.begun.is_set() or bool(failures), "the attack is in full swing", _SERVED_TIMEOUT_S)
        good.wait_served(place.served_min, attacker)
    finally:
        ended.set()
        attacker.join(60)
        watcher.join(10)
        good.end()
    if failures:
        raise failures[0]
    assert not attacker.is_alive(), "the attack does not end"
    assert good.failure is None, good.failure
    print(
        f"{attack.__name__}: {told[0]}; {good.served} good requests served, the slowest in {good.slowest_s:.2f} s, "
        f"{good.refused} told to come back, {good.cut} cut off; "
        f"memory {before >> 20} MiB before, {max(peak) >> 20} MiB at most"
    )
    assert good.served >= place.served_min
    assert list_children(place.site, WORKER) == workers, "a worker died"
    if max(peak) > MEMORY_MAX_BYTES:
        raise MemoryUnbounded(f"{max(peak) >> 20} MiB")
