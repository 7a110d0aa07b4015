"""A bucket of plain objects in the same cloud: what mirrors write for others to read. Nothing reads it back.

Stands beside ``cloud_s3``, whose client and errors it uses; knows keys, bytes and headers, and nothing of the realm.
Objects are put whole, or in parts above ``PART_BYTES``; an upload that fails is aborted. Each carries ``OWNER`` in its
metadata, and only what carries the mirror's own mark is ever deleted.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from replication.cloud_s3 import UPLOAD_READ_TIMEOUT_S, mapping, new_client, read_credentials
from replication.lean_requests import trim_heads
from replication.link import UP
from replication.ports import CloudError, CloudMissing
from replication.settings import CloudSettings
from replication.throttle import HEAD_BYTES, Pacer

PART_BYTES: Final = 16 << 20
PARTS_MAX: Final = 9_000
OWNER: Final = "skerry-mirror"
"""Metadata key: which mirror wrote an object."""


@dataclass(frozen=True, slots=True)
class PlainObject:
    """What is written besides the bytes: boto's parameters (ContentType …) and user metadata."""

    size: int
    headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listed:
    """A row of a listing."""

    key: str
    size: int
    etag: str


class PlainBucket:
    """Made by ``open_plain_bucket``; close it. Raises the errors of ``ports``."""

    def __init__(self, client: Any, bucket: str, owner: str, pacer: Pacer, stack: AsyncExitStack) -> None:
        self._client, self._bucket, self._owner = client, bucket, owner
        self._pacer, self._stack = pacer, stack

    async def put(self, key: str, what: PlainObject, pieces: AsyncIterator[bytes]) -> None:
        """Write one object, replacing what has the key. Holds at most one part in memory."""
        metadata = {**what.metadata, OWNER: self._owner}
        given = {"Bucket": self._bucket, "Key": key}
        part_bytes = max(PART_BYTES, -(-what.size // PARTS_MAX))
        parts = _in_parts(pieces, part_bytes)
        if what.size <= part_bytes:
            body = await anext(parts, b"")
            with mapping("PUT", key):
                await self._send(self._client.put_object, body, **given, Metadata=metadata, **what.headers)
            return
        with mapping("POST", key):
            upload = await self._client.create_multipart_upload(**given, Metadata=metadata, **what.headers)
        given["UploadId"] = upload["UploadId"]
        try:
            done: list[dict[str, Any]] = []
            async for body in parts:
                with mapping("PUT", key):
                    number = len(done) + 1
                    reply = await self._send(self._client.upload_part, body, **given, PartNumber=number)
                done.append({"PartNumber": number, "ETag": reply["ETag"]})
            with mapping("POST", key):
                await self._client.complete_multipart_upload(**given, MultipartUpload={"Parts": done})
        except BaseException:
            with suppress(CloudError), mapping("DELETE", key):
                await self._client.abort_multipart_upload(**given)
            raise

    async def delete(self, key: str) -> None:
        """Remove an object, if this mirror wrote it."""
        with suppress(CloudMissing):
            if await self.is_ours(key):
                with mapping("DELETE", key):
                    await self._client.delete_object(Bucket=self._bucket, Key=key)

    async def is_ours(self, key: str) -> bool:
        """Whether the object there was written by this mirror; ``CloudMissing`` if there is none."""
        with mapping("HEAD", key):
            try:
                head = await self._client.head_object(Bucket=self._bucket, Key=key)
            except self._client.exceptions.ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                    raise CloudMissing(f"HEAD {key}: 404") from None
                raise
        return bool(head.get("Metadata", {}).get(OWNER) == self._owner)

    async def list(self, prefix: str) -> AsyncIterator[Listed]:
        """Everything under a prefix, ascending."""
        position: dict[str, str] = {}
        while True:
            with mapping("LIST", prefix):
                page = await self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **position)
            for row in page.get("Contents", ()):
                yield Listed(row["Key"], row["Size"], row["ETag"].strip('"'))
            if not page.get("IsTruncated"):
                return
            position = {"ContinuationToken": page["NextContinuationToken"]}

    async def close(self) -> None:
        """Release connections."""
        await self._stack.aclose()

    async def _send(self, act: Any, body: bytes, **given: Any) -> Any:
        await self._pacer.pay(UP, HEAD_BYTES + len(body))
        digest = hashlib.md5(body, usedforsecurity=False).digest()
        return await act(Body=body, ContentMD5=base64.b64encode(digest).decode(), **given)


async def open_plain_bucket(settings: CloudSettings, bucket: str, owner: str, pacer: Pacer) -> PlainBucket:
    """A bucket in the cloud of ``settings``, by the same credentials. Sends nothing yet."""
    stack = AsyncExitStack()
    client = await stack.enter_async_context(new_client(settings, read_credentials(settings), UPLOAD_READ_TIMEOUT_S))
    trim_heads(client)
    return PlainBucket(client, bucket, owner, pacer, stack)


async def _in_parts(pieces: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """The same bytes in parts of ``size``, the last one shorter."""
    held = bytearray()
    async for piece in pieces:
        held += piece
        while len(held) > size:
            yield bytes(held[:size])
            del held[:size]
    if held:
        yield bytes(held)
