"""The S3 client against servers that are not what they should be: each answer is mapped to the error it means."""

import asyncio
import hashlib
import re
import zlib
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from replication.cloud_s3 import open_s3
from replication.lean_requests import AT_ONCE_MAX
from replication.ports import CloudError, CloudExists, CloudMissing, CloudRefused, CloudUnreachable
from replication.settings import CloudSettings
from replication.trusted_time import SkewMeter

SECRET = "wJalrXUtnFEMI-K7MDENG-never-shown"
PORTAL = b"<html><body>Welcome to the harbour's wifi</body></html>"


def answer(status, body=b"", **headers):
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {headers.pop('length', len(body))}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def fault(status, code):
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    return answer(status, body, Content_Type="application/xml")


def etag(data):
    return f'"{hashlib.md5(data).hexdigest()}"'


class OddServer:
    """Answers every request with the same bytes, then closes."""

    def __init__(self, reply):
        self.reply = reply
        self.requests = []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc):
        self.server.close()
        await self.server.wait_closed()

    async def serve(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head)
            if b"100-continue" in head.lower():
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            size = next(
                (
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length")
                ),
                0,
            )
            await reader.readexactly(size)
            if self.reply is None:
                await reader.read()
            else:
                writer.write(self.reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def ask(url, act, **settings):
    cloud = await open_s3(
        CloudSettings(
            bucket="b",
            endpoint_url=url,
            addressing="path",
            access_key="AKIDEXAMPLE",
            secret_key=SECRET,
            **settings,
        )
    )
    try:
        return await act(cloud)
    finally:
        await cloud.close()


ACTS = {
    "put": lambda cloud: cloud.put("x", b"data"),
    "create": lambda cloud: cloud.put("x", b"data", if_absent=True),
    "get": lambda cloud: cloud.get("x"),
    "range": lambda cloud: cloud.get("x", offset=2, length=3),
    "list": lambda cloud: cloud.list("x"),
}
ALL = list(ACTS)

CASES = [
    (ALL, answer(200, PORTAL, Content_Type="text/html"), CloudUnreachable),
    (ALL, answer(403, PORTAL, Content_Type="text/html"), CloudUnreachable),
    (ALL, answer(404, PORTAL, Content_Type="text/html"), CloudUnreachable),
    (ALL, fault(503, "SlowDown"), CloudUnreachable),
    (ALL, fault(500, "InternalError"), CloudUnreachable),
    (ALL, answer(502), CloudUnreachable),
    (ALL, answer(429), CloudUnreachable),
    (ALL, b"", CloudUnreachable),
    (ALL, b"not http at all\r\n\r\n", CloudUnreachable),
    (ALL, fault(403, "AccessDenied"), CloudRefused),
    (ALL, fault(403, "SignatureDoesNotMatch"), CloudRefused),
    (ALL, fault(404, "NoSuchBucket"), CloudRefused),
    (ALL, fault(400, "AuthorizationHeaderMalformed"), CloudRefused),
    (["get", "range"], fault(404, "NoSuchKey"), CloudMissing),
    (["create"], fault(412, "PreconditionFailed"), CloudExists),
    (["create"], fault(409, "ConditionalRequestConflict"), CloudExists),
    (["create"], fault(501, "NotImplemented"), CloudRefused),
    (["put"], fault(400, "BadDigest"), CloudUnreachable),
    (["put"], answer(200, ETag=etag(b"other")), CloudUnreachable),
    (["put"], answer(200, ETag='"opaque"', x_amz_checksum_crc32="AAAAAA=="), CloudUnreachable),
    (["get"], answer(200, b"tampered", ETag=etag(b"original")), CloudUnreachable),
    (["get"], answer(200, b"half of it", ETag='"x"', length=100), CloudUnreachable),
    (["range"], answer(206, b"abc", ETag='"x"', Content_Range="bytes 0-2/10"), CloudUnreachable),
    (["range"], answer(200, b"abcdefghij", ETag='"x"'), CloudUnreachable),
    (["range"], answer(206, b"ab", ETag='"x"', Content_Range="bytes 2-3/4"), CloudError),
    (["range"], fault(416, "InvalidRange"), CloudError),
    (["list"], answer(200, b"<ListBucketResult><Name>other</Name></ListBucketResult>"), CloudUnreachable),
]


@pytest.mark.parametrize(
    ("acts", "reply", "error"),
    CASES,
    ids=lambda value: value[-40:].decode() if isinstance(value, bytes) else getattr(value, "__name__", "of"),
)
async def test_answers_are_mapped(acts, reply, error):
    async def each(cloud):
        for act in acts:
            with pytest.raises(CloudError) as caught:
                await ACTS[act](cloud)
            assert type(caught.value) is error, act
            assert SECRET not in repr(caught.value)

    async with OddServer(reply) as server:
        await ask(server.url, each)
    tries = 1 if reply else 2  # aiohttp asks a connection's end for the idempotent once more
    assert len(server.requests) == len(acts) * tries, "retrying is not the client's business"


async def test_refused_connection_is_unreachable():
    async with OddServer(b"") as server:
        pass
    for act in ACTS.values():
        with pytest.raises(CloudUnreachable):
            await ask(server.url, act)


async def test_black_hole_is_unreachable():
    async with OddServer(None) as server:
        for act in ACTS.values():
            with pytest.raises(CloudUnreachable):
                await ask(server.url, act, read_timeout_s=0.05)


async def test_upload_carries_digests_and_condition():
    async with OddServer(answer(200, ETag=etag(b"data"))) as server:
        await ask(server.url, ACTS["create"])
    head = server.requests[0].decode()
    assert b64encode(hashlib.md5(b"data").digest()).decode() in head
    assert b64encode(zlib.crc32(b"data").to_bytes(4, "big")).decode() in head
    assert "if-none-match: *" in head.lower()


async def test_kms_etag_is_not_taken_for_an_md5():
    async with OddServer(answer(200, ETag=etag(b"?"), x_amz_server_side_encryption="aws:kms")) as server:
        await ask(server.url, ACTS["put"])


async def test_object_larger_than_ever_written_is_not_read():
    async with OddServer(answer(200, b"x", ETag='"x"', length=1 << 40)) as server:
        with pytest.raises(CloudError, match="more than is ever written"):
            await ask(server.url, ACTS["get"])


async def test_credentials_from_a_file(tmp_path):
    path = tmp_path / "credentials"
    path.write_text(f"[edge]\naws_access_key_id = AKIDFILE\naws_secret_access_key = {SECRET}\n")
    path.chmod(0o600)
    async with OddServer(answer(200, ETag=etag(b"data"))) as server:
        settings = {"credentials_file": path, "profile": "edge"}
        await ask(server.url, ACTS["put"], **settings)
        assert b"AKIDFILE" in server.requests[0]
        path.chmod(0o644)
        with pytest.raises(CloudRefused, match="only its owner") as caught:
            await ask(server.url, ACTS["put"], **settings)
        assert SECRET not in str(caught.value)
        path.chmod(0o600)
        with pytest.raises(CloudRefused, match="no profile"):
            await ask(server.url, ACTS["put"], credentials_file=path, profile="other")


async def test_rotated_credentials_need_no_restart(tmp_path):
    path = tmp_path / "credentials"

    def write(key):
        path.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {SECRET}\n")
        path.chmod(0o600)

    async def act(cloud):
        with pytest.raises(CloudRefused):
            await cloud.put("x", b"data")
        with pytest.raises(CloudRefused):
            await cloud.put("x", b"data")
        write("AKIDSECOND")
        server.reply = answer(200, ETag=etag(b"data"))
        await cloud.put("x", b"data")

    write("AKIDFIRST")
    async with OddServer(fault(403, "ExpiredToken")) as server:
        cloud = await open_s3(CloudSettings("b", endpoint_url=server.url, addressing="path", credentials_file=path))
        try:
            await act(cloud)
        finally:
            await cloud.close()
    keys = [b"AKIDSECOND" in head for head in server.requests]
    assert keys == [False, False, True]


def signed_at(head):
    stamp = re.search(rb"x-amz-date: (\d{8}T\d{6}Z)", head, re.IGNORECASE)[1].decode()
    return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_cloud_whose_clock_is_off_is_signed_for_by_its_own(hours):
    theirs = datetime.now(UTC) + timedelta(hours=hours)
    skewed = fault(403, "RequestTimeTooSkewed").replace(b"\r\n", f"\r\nDate: {format_datetime(theirs)}\r\n".encode(), 1)

    async def act(cloud):
        with pytest.raises(CloudUnreachable, match=r"clock is [+-]3[56]"):
            await cloud.put("x", b"data")
        server.reply = answer(200, ETag=etag(b"data"))
        await cloud.put("x", b"data")

    async with OddServer(skewed) as server:
        await ask(server.url, act)
    first, second = map(signed_at, server.requests)
    assert timedelta(minutes=59) < (second - first) * hours < timedelta(minutes=61)
    assert b"AKIDEXAMPLE/" + f"{second:%Y%m%d}".encode() in server.requests[1]


def test_settings_do_not_show_secrets():
    settings = CloudSettings("b", secret_key=SECRET, session_token=SECRET, proxy_url=f"http://u:{SECRET}@p")
    assert SECRET not in repr(settings)


@pytest.mark.parametrize("reply", [fault(404, "NoSuchKey"), fault(403, "RequestTimeTooSkewed")])
async def test_every_answer_tells_how_far_the_clock_is_off(reply):
    began = datetime.now(UTC)
    behind = format_datetime(began - timedelta(hours=1), usegmt=True)
    dated = reply.replace(b"\r\n", f"\r\nDate: {behind}\r\n".encode(), 1)
    async with OddServer(dated) as server:
        skew_ms = await measure(server.url)
    took_ms = (datetime.now(UTC) - began) / timedelta(milliseconds=1)
    assert -1_000 <= skew_ms - 3_600_000 <= took_ms + 1_000, "a Date has whole seconds"


async def test_a_captive_portal_tells_no_time():
    async with OddServer(answer(200, PORTAL, Content_Type="text/html", Date="Thu, 01 Jan 1970 00:00:00 GMT")) as server:
        assert await measure(server.url) is None


async def measure(url):
    meter = SkewMeter()
    settings = CloudSettings("b", endpoint_url=url, addressing="path", access_key="AKIA", secret_key=SECRET)
    cloud = await open_s3(settings, meter)
    try:
        with pytest.raises(CloudError):
            await cloud.get("x")
    finally:
        await cloud.close()
    return meter.skew_ms


async def test_the_head_of_a_request_has_only_what_the_bucket_needs():
    """Heads are most of a small round's bytes; and what the cloud is not told, it cannot keep."""
    async with OddServer(answer(200, ETag=etag(b""), length=0)) as server:
        await ask(server.url, lambda cloud: cloud.put("x", b""))
        server.reply = answer(200, ETag=etag(b"data"))
        await ask(server.url, lambda cloud: cloud.put("x", b"data", if_absent=True))
        await ask(server.url, lambda cloud: cloud.delete("x"))
    wanted = {"host", "authorization", "x-amz-date", "x-amz-content-sha256", "user-agent", "accept-encoding", "accept"}
    wanted |= {"content-length"}
    put = wanted | {"content-type", "content-md5", "x-amz-checksum-crc32"}
    sent = [dict(line.split(": ", 1) for line in head.decode().splitlines()[1:-1]) for head in server.requests]
    found = [{name.lower() for name in headers} for headers in sent]
    assert found == [put, put | {"if-none-match"}, wanted]
    assert {headers["User-Agent"] for headers in sent} == {"skerry"}, "no releases, no kernel"


async def test_only_what_is_large_asks_before_it_is_sent():
    for size, asks in ((AT_ONCE_MAX, False), (AT_ONCE_MAX + 1, True)):
        body = bytes(size)
        async with OddServer(answer(200, ETag=etag(body))) as server:
            await ask(server.url, lambda cloud, body=body: cloud.put("x", body))
        assert (b"100-continue" in server.requests[0]) is asks
