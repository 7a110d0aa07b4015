"""The soak's load: writers with keys of their own, and contenders who write the same keys on both sites.

What a writer's keys may hold is known exactly, on both sites, once they agree (``tests.kill.model``). Of a contended
key it is known which values were ever sent: after all is said, both sites show the same one of them.
"""

from __future__ import annotations

import random
import threading
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from tests.e2e.contents import digest
from tests.kill.model import SHARED_BUCKET, State, Writer
from tests.support.site import Site

SIZES: Final = (10, 4096, 40_000, 300_000)
CONTENDED: Final = 20
PAUSE_S: Final = (0.02, 0.6)


class SoakWriter(Writer):
    """Writes at a pace that an hour can bear, and reads back what it knows for certain."""

    reads = 0

    def step(self) -> None:
        """One operation, a read of what is certain, and a pause."""
        super().step()
        certain = [(key, next(iter(states))) for key, states in self.allowed.items() if len(states) == 1]
        key, state = self.random.choice(certain) if certain else ("", State(None))
        if state.body is not None:
            self._read_back(key, state.body)
        self._ended.wait(self.random.uniform(*PAUSE_S))

    def _read_back(self, key: str, body: str) -> None:
        try:
            found = digest(self.client.get_object(Bucket=SHARED_BUCKET, Key=key)["Body"].read())
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
                raise
        except (BotoCoreError, OSError):
            pass
        else:
            assert found == body, f"{key} reads as something else than what was acknowledged"
            self.reads += 1

    def _make_put(self, key: str, before: State) -> tuple[int, State, Any]:
        data = self.random.randbytes(self.random.choice(SIZES))
        return (
            *(len(data), State(digest(data))),
            lambda: self.client.put_object(Bucket=SHARED_BUCKET, Key=key, Body=data),
        )


class Contender(threading.Thread):
    """Overwrites keys that a contender on the other site overwrites, too. ``sent``: key → digests of all it sent."""

    def __init__(self, site: Site, bucket: str, seed: int) -> None:
        super().__init__(daemon=True)
        self._client = site.client(read_timeout=30, connect_timeout=5, retries={"total_max_attempts": 1})
        self._bucket, self._random = bucket, random.Random(seed)
        self._ended = threading.Event()
        self.sent: dict[str, set[str]] = {}
        self.acknowledged: set[str] = set()

    def run(self) -> None:
        while not self._ended.wait(self._random.uniform(0.2, 1.0)):
            key, data = f"contended/{self._random.randrange(CONTENDED)}", self._random.randbytes(5000)
            self.sent.setdefault(key, set()).add(digest(data))
            try:
                self._client.put_object(Bucket=self._bucket, Key=key, Body=data)
                self.acknowledged.add(key)
            except (ClientError, BotoCoreError, OSError):
                continue

    def end(self) -> None:
        """Finish the present write, then stop."""
        self._ended.set()
        self.join(90)
        assert not self.is_alive(), "a contender waits for an answer that never comes"


def check_contended(clients: list[Any], bucket: str, contenders: list[Contender]) -> int:
    """Every contended key that was ever acknowledged is there, the same on all sites, and one of what was sent."""
    acknowledged = set().union(*(one.acknowledged for one in contenders))
    for key in acknowledged:
        found = {digest(client.get_object(Bucket=bucket, Key=key)["Body"].read()) for client in clients}
        assert len(found) == 1, f"{key} differs between the sites"
        sent = set().union(*(one.sent.get(key, set()) for one in contenders))
        assert found <= sent, f"{key} holds what nobody sent"
    return len(acknowledged)
