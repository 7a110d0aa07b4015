"""Whole requests, well signed and otherwise nonsense, against a running gateway: the answer is never a 500.

Every operation of S3 with its own query parameters, known headers and documents of known tags, filled with words that
mean something somewhere and with bytes that mean nothing. The store is real, and the same buckets and keys are used
again and again, so that one request's leftovers are the next one's surprise. ``SKERRY_FUZZ_REQUESTS=n`` for more.
"""

import json
import os
import random
from urllib.parse import quote as percent

import pytest

from gateway.http.dispatch import HANDLERS
from gateway.http.settings import HttpSettings
from gateway.s3.headers import _KNOWN
from gateway.s3.operations_table import ROWS, Scope
from gateway.s3.routing import Operation
from tests.fuzz.targets import HEADER_NAMES, QUERY_NAMES, find_targets
from tests.gateway.http.raw import Raw, build, read_answer
from tests.gateway.http.server import Server
from tests.gateway.http.stores import opener

REQUESTS = int(os.environ.get("SKERRY_FUZZ_REQUESTS", "1500"))
WORDS = sorted(
    {
        word.decode("utf-8", "replace")
        for target in find_targets().values()
        for word in target.words
        if b"\0" not in word
    }
)
TAGS = [word for word in WORDS if word.isalnum() and word[0].isupper()]
VALUES = ["", "0", "1", "-1", "true", "false", "*", "null", "Enabled", "k", "raw", "raw/k", "/raw/k", "bytes=0-1"]
VALUES += ["2030-01-01T00:00:00Z", "Mon, 01 Jan 2035 00:00:00 GMT", "ü", "%00", "&&", "id=x", "STANDARD", "AES256"]
VALUES += ["ON", "a" * 300]
PLAIN_HEADERS = {name for name in HEADER_NAMES if not name.startswith("x-amz-") or name.startswith("x-amz-meta-")}
UNTOUCHED = {"host", "content-length", "authorization", "date"}
BUCKETS = ["raw", "raw", "other-one", "absent", "Bad_Name"]
KEYS = ["k", "k", "dir/", "a//b", "..", "ü", "x" * 1024]


class Fuzzer:
    """Makes requests of one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def value(self) -> str:
        kind = self.random.random()
        if kind < 0.5:
            return self.random.choice(VALUES)
        if kind < 0.85:
            return self.random.choice(WORDS)
        return "".join(chr(self.random.randrange(32, 400)) for _ in range(self.random.randrange(12)))

    def document(self, depth: int = 0) -> str:
        if depth > 4 or self.random.random() < 0.3:
            text = self.value()
            return text.replace("&", "&amp;").replace("<", "&lt;")
        tag = self.random.choice(TAGS)
        return "".join(f"<{tag}>{self.document(depth + 1)}</{tag}>" for _ in range(self.random.randrange(1, 4)))

    def body(self, operation: Operation) -> bytes:
        kind = self.random.random()
        if kind < 0.15:
            return b""
        if kind < 0.3:
            return self.random.randbytes(self.random.randrange(200))
        if kind < 0.45:
            statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", self.value(): self.value()}
            return json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode()
        root = operation.value.removeprefix("Put").removeprefix("Bucket")
        root = self.random.choice([root, root + "Configuration", self.random.choice(TAGS), *TAGS[:3]])
        return f"<{root}>{self.document()}</{root}>".encode()

    def request(self, operation: Operation, raw: Raw) -> tuple[str, bytes]:
        """(method, bytes) of one request."""
        row, pick = ROWS[operation.value], self.random
        path = "/"
        if row.scope is not Scope.SERVICE:
            path += pick.choice(BUCKETS)
        if row.scope is Scope.OBJECT:
            path += "/" + pick.choice(KEYS)
        names = {name for name in row.query if pick.random() < 0.4}
        names |= {pick.choice(QUERY_NAMES)} if pick.random() < 0.05 else set()
        if row.subresource:
            names.add(row.subresource)
        quoted = "&".join(f"{name}={quote(self.value())}" for name in sorted(names))
        known = HEADER_NAMES if pick.random() < 0.1 else sorted(_KNOWN.get(operation, frozenset()) | PLAIN_HEADERS)
        chosen = {pick.choice(known) for _ in range(pick.choice((0, 0, 1, 2, 4)))} - UNTOUCHED
        if operation.value.endswith("Copy") or operation is Operation.CopyObject:
            chosen.add("x-amz-copy-source")
        headers = {name: self.value().strip() for name in sorted(chosen) if not name.startswith("x-amz-content-sha")}
        headers.pop("x-amz-date", None)
        headers.pop("x-amz-security-token", None)
        target = quote(path, safe="/")
        body = self.body(operation) if row.method in ("PUT", "POST") else b""
        signed = raw.signed_headers(row.method, target, query=quoted, headers={k: latin(v) for k, v in headers.items()})
        return row.method, build(row.method, target + ("?" + quoted if quoted else ""), signed, body)


def quote(text: str, safe: str = "") -> str:
    return percent(text, safe=safe)


def latin(text: str) -> str:
    """A header's value on the wire: no control characters; bytes above ASCII as UTF-8."""
    return "".join(character for character in text if character.isprintable())


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    with Server(opener("real", tmp_path_factory.mktemp("data")), HttpSettings(body_idle_timeout_s=0.5)) as running:
        client = running.client()
        for bucket in ("raw", "other-one"):
            client.create_bucket(Bucket=bucket)
        client.put_bucket_versioning(Bucket="raw", VersioningConfiguration={"Status": "Enabled"})
        client.close()
        yield Raw(running.port)


def test_no_request_is_answered_with_500(raw):
    seed = int(os.environ.get("SKERRY_FUZZ_SEED", random.randrange(1 << 32)))
    print(f"SKERRY_FUZZ_SEED={seed}, {REQUESTS} requests")
    fuzzer = Fuzzer(seed)
    operations = list(HANDLERS)
    counts: dict[int, int] = {}
    for number in range(REQUESTS):
        if number % 25 == 0:  # what was deleted on the way is there again
            for path in ("/raw", "/raw/k"):
                raw.send(build("PUT", path, raw.signed_headers("PUT", path), b"" if path == "/raw" else b"content"))
        operation = fuzzer.random.choice(operations)
        method, data = fuzzer.request(operation, raw)
        try:
            with raw.connect() as connection:
                connection.sendall(data)
                answer = read_answer(connection, method)
        except (TimeoutError, ConnectionError, ValueError, IndexError) as error:
            pytest.fail(f"{operation}: {error!r} for {data!r} (seed {seed})")
        counts[answer.status] = counts.get(answer.status, 0) + 1
        assert answer.status != 500, f"{operation}: {data!r} → {answer} (seed {seed})"
    print(dict(sorted(counts.items())))
    assert counts.get(200, 0) > REQUESTS // 50, "nothing got through: this tests only the refusals"
