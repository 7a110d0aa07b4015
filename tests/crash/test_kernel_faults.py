"""Calls of a real server fail in the kernel, while real requests run: every client is told, nothing told is untrue.

For each fault: every answer is a yes, or an error with a code of S3's; what got a yes is there with its bytes after the
server was started anew, what got none is there whole or not at all. Behind a failed sync of bytes or names, and behind
an index that failed behind its log, the site takes no more writes, says so to clients, in ``/health/ready`` and in
``status``, and goes on answering reads. A server that cannot start says why and leaves what was there.

The short form takes a few of the faults by chance; ``SKERRY_FAULTS=all`` takes all, ``SKERRY_FAULTS_SEED`` repeats.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from tests.crash.kernel_faults import Fault, injected, start_injected
from tests.crash.traced_files import STRACE, WHY_NOT
from tests.kill.processes import WORKER, list_children
from tests.support.net import wait_until
from tests.support.site import Site

ALL = os.environ.get("SKERRY_FAULTS") == "all"
SHORT_FORM, SHORT_FORM_STARTS = 3, 1
BUCKET = "faults"
INDEX = "index/data.mdb"
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(3600 if ALL else 300),
    pytest.mark.skipif(STRACE is None, reason=WHY_NOT),
]

# What a running worker does with files: appends (pwritev), syncs, new segments (openat, fsync of the directory), and
# the index' pages (pwrite64, writev; its syncs are told apart by the file).
RUNNING = [
    *[
        Fault("pwritev", error, at, lasting)
        for error in ("EIO", "ENOSPC", "EDQUOT", "short")
        for at, lasting in ((1, False), (2, False), (3, False), (1, True))
    ],
    *[
        Fault("fdatasync", error, at, lasting)
        for error in ("EIO", "ENOSPC", "EDQUOT")
        for at, lasting in ((1, False), (2, False), (4, False), (1, True))
    ],
    *[Fault("fdatasync", error, at, False, INDEX) for error in ("EIO", "ENOSPC") for at in (1, 3)],
    *[Fault("pwrite64", error, at, False, INDEX) for error in ("EIO", "ENOSPC", "short") for at in (1, 2, 5)],
    *[Fault("pwrite64", "ENOSPC", 1, True, INDEX), Fault("writev", "short", 1, False, INDEX)],
    *[Fault("writev", error, 1, lasting, INDEX) for error in ("EIO", "ENOSPC") for lasting in (False, True)],
    *[Fault(call, "EROFS", 1, True) for call in ("pwritev", "fdatasync", "openat")],  # a disk remounted read-only
    *[Fault("fsync", error, 1, lasting) for error in ("EIO", "ENOSPC") for lasting in (False, True)],
    *[
        Fault("openat", error, at, lasting)
        for error in ("EMFILE", "EIO", "ENOSPC")
        for at, lasting in ((1, False), (2, False), (3, False), (1, True))
    ],
]
# What starting does: the stamp (rename), shared memory (ftruncate, fallocate), the index' map, keys.
STARTING = [
    *[Fault("mmap", "ENOMEM", 1, lasting, INDEX) for lasting in (False, True)],
    *[Fault("openat", error, 1, True, INDEX) for error in ("EMFILE", "EIO", "EROFS")],
    *[Fault("ftruncate", "ENOSPC", 1, True), Fault("fallocate", "ENOSPC", 1, True)],
    *[Fault(call, error, 1, True) for call in ("fsync", "fdatasync") for error in ("EIO", "ENOSPC")],
    *[Fault("pwritev", error, 1, True) for error in ("EIO", "ENOSPC", "short")],
    *[Fault("pwrite64", error, 1, True, INDEX) for error in ("EIO", "ENOSPC")],
    *[Fault("rename", error, 1, True) for error in ("EIO", "ENOSPC")],
    *[Fault("unlink", "EIO", 1, True), Fault("mkdir", "ENOSPC", 1, True), Fault("fsync", "EIO", 3, True)],
]


class Model:
    """What each key may hold (None: nothing), as the answers tell; and what was answered."""

    def __init__(self, site: Site, seed: int) -> None:
        self.client = site.client(retries={"total_max_attempts": 1}, read_timeout=30)
        self.random = random.Random(seed)
        self.allowed: dict[str, set[bytes | None]] = {}
        self.answers: Counter[str] = Counter()

    def put(self, key: str, size: int) -> bool:
        """Put new bytes: whether the answer was yes."""
        data = self.random.randbytes(size)
        return self._try(key, data, lambda: self.client.put_object(Bucket=BUCKET, Key=key, Body=data))

    def delete(self, key: str) -> bool:
        """Delete: whether the answer was yes."""
        return self._try(key, None, lambda: self.client.delete_object(Bucket=BUCKET, Key=key))

    def upload(self, key: str) -> bool:
        """A multipart upload of one part: whether Complete said yes."""
        data = self.random.randbytes(300_000)
        name = {"Bucket": BUCKET, "Key": key}

        def run() -> None:
            upload = {**name, "UploadId": self.client.create_multipart_upload(**name)["UploadId"]}
            etag = self.client.upload_part(**upload, PartNumber=1, Body=data)["ETag"]
            parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
            self.client.complete_multipart_upload(**upload, MultipartUpload=parts)

        return self._try(key, data, run)

    def _try(self, key: str, value: bytes | None, run: Any) -> bool:
        before = self.allowed.setdefault(key, {None})
        before.add(value)
        try:
            run()
        except ClientError as error:
            status, told = error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]
        else:
            self.allowed[key] = {value}
            self.answers["yes"] += 1
            return True
        assert status >= 500, told
        assert told["Message"], f"no words for {told}"
        self.answers[f"{status} {told['Code']}"] += 1
        return False

    def write_all(self) -> None:
        """One of each kind of write, twice over."""
        for key, size in (("small", 100), ("medium", 60_000), ("large", 700_000), ("other", 9000)):
            self.put(key, size)
        self.upload("uploaded")
        self.delete("medium")
        self.put("small", 200)

    def check(self) -> None:
        """Everything is as it may be."""
        for key, allowed in self.allowed.items():
            found: bytes | None = None
            with contextlib.suppress(self.client.exceptions.NoSuchKey):
                found = self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
            assert found in allowed, f"{key} has {len(found or b'')} bytes that nobody was promised"


def choose(faults: list[Fault], count: int, seed: int) -> list[Fault]:
    return faults if ALL else random.Random(seed).sample(faults, count)


def readiness(site: Site) -> str:
    """What ``/health/ready`` says; empty if the site is ready."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{site.admin_port}/health/ready", timeout=5):
            return ""
    except urllib.error.HTTPError as error:
        return error.read().decode()


def check_read_only(site: Site, model: Model, fault: Fault) -> None:
    """The whole site takes no writes, whatever succeeds now; it says so, and reads go on."""
    assert not model.put("behind", 100), f"{fault}: acknowledged behind a failed sync"
    assert not model.delete("small"), f"{fault}: acknowledged behind a failed sync"
    assert "no writes" in readiness(site), fault
    assert site.status()["read_only"], fault
    wait_until(lambda: can_read(model), "reads go on, in another worker where the index' engine gave up", 30)


def can_read(model: Model) -> bool:
    try:
        model.client.list_objects_v2(Bucket=BUCKET)
    except (ClientError, EndpointConnectionError):
        return False
    return True


def is_read_only(site: Site) -> bool:
    return bool(json.loads(site.run("status", "--json").stdout)["read_only"])


def test_calls_of_a_serving_worker_fail(tmp_path: Path) -> None:
    seed = int(os.environ.get("SKERRY_FAULTS_SEED") or secrets.randbits(32))
    tried: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    with Site(tmp_path, "faults") as site:
        site.client().create_bucket(Bucket=BUCKET)
        model = Model(site, seed)
        model.write_all()
        assert set(model.answers) == {"yes"}
        for fault in choose(RUNNING, SHORT_FORM, seed):
            before = model.answers.total() - model.answers["yes"]
            (worker,) = list_children(site, WORKER)
            with injected(worker, fault, site.data, tmp_path / "strace") as injection:
                model.write_all()
                failed = injection.failed()
            refused = model.answers.total() - model.answers["yes"] - before
            read_only = is_read_only(site)
            if any(call in ("fdatasync", "fsync") for call in failed):
                assert read_only, f"{fault}: writes go on"
            assert refused or not failed or fault.call == "openat", f"{fault}: {failed}, and nobody was told"
            if read_only:
                check_read_only(site, model, fault)
            else:
                assert list_children(site, WORKER) == [worker], f"{fault}: the worker died"
            model.check()
            site.stop()
            site.start()
            model.check()
            assert model.put("small", 300), f"{fault}: no writes after a restart"
            tried[f"{fault.call} {fault.error}"] += bool(failed)
            ended["read-only" if read_only else "refused" if refused else "not met"] += 1
        site.stop()
        site.run("verify")
    print(f"{tried.total()} faults met {dict(tried)}, {dict(ended)}; answers {dict(model.answers)}; seed {seed}")
    assert tried


def test_calls_of_a_starting_server_fail(tmp_path: Path) -> None:
    """On an empty data directory, and on one that has something to lose."""
    seed = int(os.environ.get("SKERRY_FAULTS_SEED") or secrets.randbits(32))
    ended: Counter[str] = Counter()
    for number, fault in enumerate(choose(STARTING, SHORT_FORM_STARTS, seed)):
        site = Site(tmp_path / f"{number}", "faults")
        allowed: dict[str, set[bytes | None]] = {}
        for _ in ("nothing there", "something there"):
            injection, ready = start_injected(site, fault, tmp_path / "strace")
            failed = injection.failed()
            if not ready:
                assert failed, f"{fault}: it did not start although nothing failed:\n{site.log}"
                assert "Traceback" not in site.log, f"{fault}: told in no words of ours:\n{site.log}"
            site.kill()
            with site:
                model = Model(site, seed)
                if not allowed:
                    model.client.create_bucket(Bucket=BUCKET)
                model.allowed = allowed
                model.check()
                model.write_all()
                assert set(model.answers) == {"yes"}, f"{fault}: {model.answers}"
            ended["started" if ready else "refused to start"] += 1
            ended["met"] += bool(failed)
        site.run("verify")
    print(f"{dict(ended)}; seed {seed}")
