"""Mixed load on a site whose processes die, and a model of what must be there afterwards.

Each writer has keys, and a bucket whose documents it changes, of its own. Of every name the model keeps the states that
it may have: one after an answer, several after a request that got none (it may have happened, never in part). A name
whose last request got no answer is not written again, so that a late effect cannot be taken for another one's.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from tests.e2e.contents import digest
from tests.support.site import Site

SHARED_BUCKET = "load"
KEYS = 40
PART_BYTES = 5 << 20
SIZES = (10, 4096, 40_000, 300_000, 2_000_000)


class State(NamedTuple):
    """What a key holds: its body's digest (None: nothing there), and its tags."""

    body: str | None
    tags: tuple[tuple[str, str], ...] = ()


NOTHING = State(None)


class Writer(threading.Thread):
    """Writes until told to stop. ``allowed``: key → states it may have; ``documents``: values of its bucket's tag.

    ``done``: acknowledged operations by kind; ``bytes``: acknowledged bytes; ``unanswered``: requests that failed.
    """

    def __init__(self, site: Site, number: int, seed: int) -> None:
        super().__init__(daemon=True, name=f"writer-{number}")
        self.client = site.client(read_timeout=30, connect_timeout=5, retries={"total_max_attempts": 1})
        self.number, self.random, self.bucket = number, random.Random(seed), f"own-{number}"
        self.allowed: dict[str, set[State]] = {}
        self.documents: set[str] = {""}
        self._unsure: set[str] = set()
        self.done: Counter[str] = Counter()
        self.bytes = self.unanswered = 0
        self.failure: BaseException | None = None
        self._generation: Counter[int] = Counter()
        self._ended = threading.Event()

    def run(self) -> None:
        try:
            while not self._ended.is_set():
                self.step()
        except BaseException as error:
            self.failure = error

    def end(self) -> None:
        """Finish the present operation, then stop; raises what ended the thread before."""
        self._ended.set()
        self.join(90)
        assert not self.is_alive(), f"{self.name} waits for an answer that never comes"
        if self.failure is not None:
            raise self.failure

    def step(self) -> None:
        """One operation."""
        slot = self.random.randrange(KEYS)
        key = f"w{self.number}/{slot}-{self._generation[slot]}"
        allowed = self.allowed.setdefault(key, {NOTHING})
        (before,) = allowed
        kind = self.random.choices(("put", "delete", "tag", "upload", "document"), (55, 15, 15, 5, 10))[0]
        if kind == "tag" and before.body is None:
            kind = "put"
        if kind == "document":
            self._change_document()
            return
        size, after, run = getattr(self, f"_make_{kind}")(key, before)
        allowed.add(after)
        if self._try(run):
            self.allowed[key] = {after}
            self.done[kind] += 1
            self.bytes += size
        else:
            self._generation[slot] += 1

    def _make_put(self, key: str, before: State) -> tuple[int, State, Any]:
        data = self.random.randbytes(self.random.choice(SIZES))
        return (
            *(len(data), State(digest(data))),
            lambda: self.client.put_object(Bucket=SHARED_BUCKET, Key=key, Body=data),
        )

    def _make_delete(self, key: str, before: State) -> tuple[int, State, Any]:
        return 0, NOTHING, lambda: self.client.delete_object(Bucket=SHARED_BUCKET, Key=key)

    def _make_tag(self, key: str, before: State) -> tuple[int, State, Any]:
        tags = (("mark", str(self.random.randrange(1000))),)
        tagging = {"TagSet": [{"Key": name, "Value": value} for name, value in tags]}
        return (
            *(0, State(before.body, tags)),
            lambda: self.client.put_object_tagging(Bucket=SHARED_BUCKET, Key=key, Tagging=tagging),
        )

    def _make_upload(self, key: str, before: State) -> tuple[int, State, Any]:
        bodies = (self.random.randbytes(PART_BYTES), self.random.randbytes(100_000))

        def run() -> None:
            name = {"Bucket": SHARED_BUCKET, "Key": key}
            name["UploadId"] = self.client.create_multipart_upload(**name)["UploadId"]
            parts = []
            for number, body in enumerate(bodies, start=1):
                etag = self.client.upload_part(**name, PartNumber=number, Body=body)["ETag"]
                parts.append({"PartNumber": number, "ETag": etag})
            self.client.complete_multipart_upload(**name, MultipartUpload={"Parts": parts})

        return sum(map(len, bodies)), State(digest(b"".join(bodies))), run

    def _change_document(self) -> None:
        value = str(self.random.randrange(1 << 30))
        tagging = {"TagSet": [{"Key": "value", "Value": value}]}
        if self._try(lambda: self.client.put_bucket_tagging(Bucket=self.bucket, Tagging=tagging)):
            self.documents = {value, *self._unsure}
            self.done["document"] += 1
        else:
            self._unsure.add(value)
            self.documents.add(value)

    def _try(self, run: Any) -> bool:
        """Whether there was an answer, and it was yes. A refusal that only a bug explains is raised."""
        try:
            run()
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
                raise
        except (BotoCoreError, OSError):
            pass
        else:
            return True
        self.unanswered += 1
        self._ended.wait(0.2)  # nobody listens, perhaps: no reason to ask a thousand times
        return False


def check_model(client: Any, writers: list[Writer]) -> int:
    """Compare a whole site with what its writers know: how many keys and documents were looked at."""
    listed: set[str] = set()
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=SHARED_BUCKET):
        listed |= {item["Key"] for item in page.get("Contents", ())}
    known = {key: allowed for writer in writers for key, allowed in writer.allowed.items()}
    assert listed <= known.keys(), f"nobody wrote {sorted(listed - known.keys())[:5]}"
    for key, allowed in known.items():
        found = _read_state(client, key) if key in listed else NOTHING
        assert found in allowed, f"{key} is {found}, and may be {allowed}"
    for writer in writers:
        try:
            tags = client.get_bucket_tagging(Bucket=writer.bucket)["TagSet"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchTagSet":
                raise
            tags = [{"Value": ""}]
        assert tags[0]["Value"] in writer.documents, f"{writer.bucket} has the document {tags}"
    return len(known) + len(writers)


def _read_state(client: Any, key: str) -> State:
    body = client.get_object(Bucket=SHARED_BUCKET, Key=key)["Body"].read()
    tags = client.get_object_tagging(Bucket=SHARED_BUCKET, Key=key)["TagSet"]
    return State(digest(body), tuple((tag["Key"], tag["Value"]) for tag in tags))
