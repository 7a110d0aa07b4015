"""A bucket of any S3 cloud, by aiobotocore: the only module that imports it.

Every upload carries Content-MD5 and a CRC-32, so that the cloud verifies what it stores, and what it returns is
compared: an upload counts only if the reply names the bytes that were sent. Every answer is mapped to the four errors
of ``ports``:

    definite no of the bucket (403 with an S3 code, NoSuchBucket, wrong region)   CloudRefused
    NoSuchKey                                                                     CloudMissing
    412, or 409 ConditionalRequestConflict, to a conditional create               CloudExists
    timeouts, resets, TLS failures, 5xx, 429, SlowDown, digests that did not
    arrive intact, an error without an S3 code, a 200 that is no S3 answer
    (captive portal: HTML, no ETag, another bucket's name, wrong length)          CloudUnreachable
    416, an object shorter than asked, one above ``object_bytes_max``             CloudError
    RequestTimeTooSkewed: from then on the cloud's clock signs (cloud_clock)      CloudUnreachable

A refusal makes the next request look whether the credentials file has changed since: rotated keys need no restart.
Nothing is retried here (retry does that), no message repeats a credential. Not here: encryption, names.
"""

from __future__ import annotations

import asyncio
import base64
import configparser
import hashlib
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from botocore.parsers import ResponseParserError

from replication.cancellation import is_stopping
from replication.cloud_clock import measure_by, seconds_ahead, sign_by
from replication.cloud_requests import OwnTally, RequestTally, count_by
from replication.connection_failures import PROXY_REFUSAL, WANTS_PASSWORD, describe_failure
from replication.lean_requests import trim_heads
from replication.ports import CloudError, CloudExists, CloudMissing, CloudRefused, CloudUnreachable
from replication.root_keys import RootKeyUnusable, read_secret
from replication.settings import CloudSettings
from replication.trusted_time import SkewMeter

LIST_COUNT_MAX: Final = 1000
HASH_INLINE_MAX: Final = 64 << 10
UPLOAD_READ_TIMEOUT_S: Final = 86_400.0
SLOWEST_BYTES_PER_S: Final = 1 << 10
"""No line is waited for that carries less than this of an upload."""
CONTENT_TYPE: Final = "application/octet-stream"

_LATER: Final = frozenset(
    {
        "SlowDown",
        "RequestTimeout",
        "InternalError",
        "ServiceUnavailable",
        "OperationAborted",
        "BadDigest",
        "InvalidDigest",
        "IncompleteBody",
        "XAmzContentSHA256Mismatch",
        "Throttling",
        "TooManyRequests",
    }
)
_EXISTS: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})


class S3Cloud:
    """See ``ports.Cloud``. Made by ``open_s3``; close it."""

    def __init__(self, settings: CloudSettings, stack: AsyncExitStack, meter: SkewMeter, tally: RequestTally) -> None:
        self._meter, self._tally = meter, tally
        prefix = settings.prefix.strip("/")
        self._settings = settings
        self._client: Any = None
        self._uploads: Any = None
        """A client of its own: its answers may take as long as the kernel's buffers take to drain on a slow line."""
        self._keys: Mapping[str, str] = {}
        self._refused = False
        self._ahead_s = 0.0
        self._bucket = settings.bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._object_bytes_max = settings.object_bytes_max
        self._stack = stack

    async def connect(self) -> None:
        """Make the client, or make it anew if the credentials were refused and are others by now."""
        keys = read_credentials(self._settings)
        if self._client is not None and keys == self._keys:
            return
        clients, session = [], get_session()  # one reads botocore's model of S3 once for both
        for read_timeout_s in (self._settings.read_timeout_s, UPLOAD_READ_TIMEOUT_S):
            client = await self._stack.enter_async_context(new_client(self._settings, keys, read_timeout_s, session))
            sign_by(client, lambda: self._ahead_s)
            measure_by(client, self._meter)
            trim_heads(client)
            count_by(client, self._tally)
            clients.append(client)
        self._keys = keys
        self._client, self._uploads = clients  # those before are closed with the rest: requests may be on their way

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        """Create or replace; confirmed by the digest that the bucket returns."""
        md5, crc = await _digests(data)
        condition = {"IfNoneMatch": "*"} if if_absent else {}
        limit_s = self._settings.read_timeout_s + len(data) / SLOWEST_BYTES_PER_S
        async with self._mapped("PUT", name), asyncio.timeout(limit_s):
            reply = await self._uploads.put_object(
                Bucket=self._bucket,
                Key=self._prefix + name,
                Body=data,
                ContentType=CONTENT_TYPE,
                ContentMD5=base64.b64encode(md5).decode(),
                ChecksumCRC32=base64.b64encode(crc).decode(),
                **condition,
            )
        _check_stored(name, reply, md5, base64.b64encode(crc).decode())

    async def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of an object or a range, exactly as many as the bucket announced and as were asked for."""
        ranged = offset > 0 or length is not None
        wanted = {"Range": f"bytes={offset}-{'' if length is None else offset + length - 1}"} if ranged else {}
        async with self._mapped("GET", name):
            reply = await self._client.get_object(Bucket=self._bucket, Key=self._prefix + name, **wanted)
            body = reply["Body"]
            try:
                _check_announced(name, reply, offset if ranged else None)
                announced = int(reply["ContentLength"])
                if announced > self._object_bytes_max:
                    raise CloudError(f"{name} has {announced} bytes, more than is ever written")
                data = bytes(await _read_body(name, body))
            finally:
                body.close()
        if len(data) != announced:
            raise CloudUnreachable(f"GET {name}: {len(data)} of {announced} bytes arrived")
        if length is not None and len(data) != length:
            raise CloudError(f"{name} has only {len(data)} of {length} bytes from offset {offset}")
        if not ranged and _etag_is_md5(reply) and _etag(reply) != hashlib.md5(data, usedforsecurity=False).hexdigest():
            raise CloudUnreachable(f"GET {name}: the bytes that arrived are not those its ETag names")
        return data

    async def list(self, prefix: str, *, after: str = "", count_max: int = LIST_COUNT_MAX) -> list[str]:
        """Names under a prefix, ascending: ``count_max`` of them unless there are no more."""
        position = {"StartAfter": self._prefix + after} if after else {}
        names: list[str] = []
        while True:
            async with self._mapped("LIST", prefix):
                reply = await self._client.list_objects_v2(
                    Bucket=self._bucket,
                    Prefix=self._prefix + prefix,
                    MaxKeys=min(count_max, LIST_COUNT_MAX) - len(names),
                    **position,
                )
            if reply.get("Name") != self._bucket:
                raise CloudUnreachable(f"LIST {prefix}: the answer is not this bucket's: a captive portal?")
            names += [entry["Key"].removeprefix(self._prefix) for entry in reply.get("Contents", ())]
            if not reply.get("IsTruncated") or len(names) >= min(count_max, LIST_COUNT_MAX):
                return names
            position = {"ContinuationToken": reply["NextContinuationToken"]}

    async def delete(self, name: str) -> None:
        """Remove an object."""
        async with self._mapped("DELETE", name):
            await self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)

    async def close(self) -> None:
        """Release connections."""
        await self._stack.aclose()

    @asynccontextmanager
    async def _mapped(self, verb: str, name: str) -> AsyncIterator[None]:
        """Turns what botocore raises into the errors of the port; see the module's table."""
        if self._refused:
            await self.connect()
            self._refused = False
        try:
            with mapping(verb, name):
                yield
        except ClockRefused as error:
            self._ahead_s = error.ahead_s
            raise
        except CloudRefused:
            self._refused = True
            raise


class ClockRefused(CloudUnreachable):
    """The cloud's clock and ours are too far apart for a signature; the next request is signed by the cloud's."""

    def __init__(self, said: str, ahead_s: float) -> None:
        super().__init__(f"{said}: the cloud's clock is {ahead_s:+.0f} s from this machine's; signing by the cloud's")
        self.ahead_s = ahead_s


async def open_s3(
    settings: CloudSettings, meter: SkewMeter | None = None, tally: RequestTally | None = None
) -> S3Cloud:
    """A client for the bucket. Sends nothing yet; ``CloudRefused`` if the settings cannot work at all.

    ``meter``: told the cloud's time with every answer; ``tally``: told every request.
    """
    stack = AsyncExitStack()
    cloud = S3Cloud(settings, stack, meter or SkewMeter(), tally or OwnTally())
    try:
        await cloud.connect()
    except (BotoCoreError, ValueError) as error:
        await stack.aclose()
        raise CloudRefused(f"the cloud's settings cannot be used: {type(error).__name__}") from None
    except BaseException:
        await stack.aclose()
        raise
    return cloud


def new_client(
    settings: CloudSettings, keys: Mapping[str, str], read_timeout_s: float, session: AioSession | None = None
) -> Any:
    """An S3 client of aiobotocore for these settings, not entered yet; it sends nothing, and never tries again."""
    config = AioConfig(
        s3={"addressing_style": settings.addressing},
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=settings.connect_timeout_s,
        read_timeout=read_timeout_s,
        max_pool_connections=settings.connections_max,
        proxies={"http": settings.proxy_url, "https": settings.proxy_url} if settings.proxy_url else None,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        tcp_keepalive=True,
    )
    return (session or get_session()).create_client(
        "s3",
        region_name=settings.region,
        endpoint_url=settings.endpoint_url or None,
        verify=str(settings.ca_file) if settings.ca_file else None,
        config=config,
        **keys,
    )


def read_credentials(settings: CloudSettings) -> dict[str, str]:
    """Static keys, those in a file (AWS format, readable by its owner only), or nothing: botocore's default chain."""
    found: Mapping[str, str] = {
        "aws_access_key_id": settings.access_key,
        "aws_secret_access_key": settings.secret_key,
        "aws_session_token": settings.session_token,
    }
    if settings.credentials_file is not None:
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read_string(read_secret(settings.credentials_file))
            found = dict(parser[settings.profile])
        except (RootKeyUnusable, KeyError, configparser.Error) as error:
            reason = str(error) if isinstance(error, RootKeyUnusable) else f"no profile [{settings.profile}]"
            raise CloudRefused(f"cloud credentials file {settings.credentials_file}: {reason}") from None
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    return {name: found[name] for name in names if found.get(name)}


@contextmanager
def mapping(verb: str, name: str) -> Iterator[None]:
    """Turns what botocore raises into the errors of ``ports``."""
    try:
        yield
    except ClientError as error:
        raise _map_client_error(verb, name, error) from None
    except (NoCredentialsError, PartialCredentialsError, ParamValidationError) as error:
        raise CloudRefused(f"{verb} {name}: {type(error).__name__}") from None
    except (HTTPClientError, IncompleteReadError, ResponseParserError, BotoCoreError, OSError) as error:
        raise CloudUnreachable(f"{verb} {name}: {describe_failure(error)}") from None
    except asyncio.CancelledError:
        if is_stopping():
            raise
        raise CloudUnreachable(f"{verb} {name}: given up by the HTTP client") from None


def _map_client_error(verb: str, name: str, error: ClientError) -> CloudError:
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = str(error.response.get("Error", {}).get("Code", ""))
    said = f"{verb} {name}: {status} {code}"
    if code == "RequestTimeTooSkewed":
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        ahead_s = seconds_ahead(headers, datetime.now(UTC))
        return CloudRefused(said) if ahead_s is None else ClockRefused(said, ahead_s)
    if status == PROXY_REFUSAL:
        return CloudUnreachable(f"{said}: {WANTS_PASSWORD}")
    if status == 412 or code in _EXISTS:
        return CloudExists(said)
    if code == "NoSuchKey":
        return CloudMissing(said)
    if code == "InvalidRange":
        return CloudError(said)
    if code == "NotImplemented":
        return CloudRefused(said)
    if status >= 500 or status in (408, 429) or code in _LATER or not code or code.isdigit():
        return CloudUnreachable(said)
    return CloudRefused(said)


async def _digests(data: bytes) -> tuple[bytes, bytes]:
    """MD5 and big-endian CRC-32, off the loop for large bodies."""

    def compute() -> tuple[bytes, bytes]:
        return hashlib.md5(data, usedforsecurity=False).digest(), zlib.crc32(data).to_bytes(4, "big")

    return compute() if len(data) <= HASH_INLINE_MAX else await asyncio.to_thread(compute)


async def _read_body(name: str, body: Any) -> bytes:
    """The whole body; whatever breaks while it streams is a broken link."""
    try:
        data: bytes = await body.read()
    except Exception as error:
        raise CloudUnreachable(f"GET {name}: broken off, {type(error).__name__}") from None
    except asyncio.CancelledError:
        if is_stopping():
            raise
        raise CloudUnreachable(f"GET {name}: given up by the HTTP client") from None
    return data


def _check_stored(name: str, reply: Mapping[str, Any], md5: bytes, crc: str) -> None:
    """An upload is confirmed only by an answer that names its bytes."""
    if not _etag(reply):
        raise CloudUnreachable(f"PUT {name}: the answer carries no ETag: a captive portal?")
    if reply.get("ChecksumCRC32", crc) != crc:
        raise CloudUnreachable(f"PUT {name}: the bucket confirmed other bytes than were sent")
    if "ChecksumCRC32" not in reply and _etag_is_md5(reply) and _etag(reply) != md5.hex():
        raise CloudUnreachable(f"PUT {name}: the bucket confirmed other bytes than were sent")


def _check_announced(name: str, reply: Mapping[str, Any], offset: int | None) -> None:
    if not _etag(reply) or str(reply.get("ContentType", "")).startswith("text/html"):
        raise CloudUnreachable(f"GET {name}: the answer is not the bucket's: a captive portal?")
    if offset is not None and not str(reply.get("ContentRange", "")).startswith(f"bytes {offset}-"):
        raise CloudUnreachable(f"GET {name}: the answer is not the range that was asked for")


def _etag(reply: Mapping[str, Any]) -> str:
    return str(reply.get("ETag", "")).strip('"')


def _etag_is_md5(reply: Mapping[str, Any]) -> bool:
    """Whether the ETag is the MD5 of the bytes: not for multipart uploads, nor under a key service's encryption."""
    kms = str(reply.get("ServerSideEncryption", "")).startswith("aws:kms") or "SSECustomerAlgorithm" in reply
    return len(_etag(reply)) == 32 and not kms
