"""A request's body: from the socket through aws-chunked and checksums into a writer, verified before any commit.

Reading begins (and 100 Continue is sent) only when an operation asks for bytes, after every refusal that needs none.
The length is exact, the idle deadline is ours, large read windows come out of a byte budget that all bodies of the
process share: without one a body still goes on, through the connection's small buffer, so slow clients can starve
nobody.

Verified before ``pour`` or ``read_whole`` return: Content-Length or the decoded length, Content-MD5, the checksum of
header or trailer, x-amz-content-sha256, and the signatures of chunks and trailer. Any failure is an S3 error, and
what was written until then is the writer's to forget.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from hmac import compare_digest
from typing import Final

from gateway.http.heads import Head
from gateway.http.settings import HttpSettings
from gateway.operations.bodies import Received
from gateway.operations.digests import INLINE_MAX, Digester, Digests, digest_small, run_hashing
from gateway.s3.checksums import ALGORITHMS, decode_digest
from gateway.s3.chunked import ChunkedDecoder
from gateway.s3.errors import (
    BadDigest,
    IncompleteBody,
    InvalidRequest,
    RequestTimeout,
    S3Error,
    UnexpectedContent,
    XAmzContentSHA256Mismatch,
)
from gateway.s3.object_headers import NO_CHECKSUM, ChecksumClaim, parse_checksum, parse_content_md5
from gateway.s3.payload import Payload, PayloadMode
from gateway.s3.requests import parse_content_length
from gateway.s3.sigv4 import Verified
from gateway.store.ports import ContentWriter

DEFAULT_ALGORITHM: Final = "CRC64NVME"
_WINDOW: Final = 256 << 10  # what a reader with budget asks the stream to buffer; twice that is the most it holds
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class WindowBudget:
    """Bytes of large read windows, and of long pieces of answers, that a process has left. Never waits: who gets none
    reads through a small window, or in small pieces.
    """

    def __init__(self, bytes_max: int) -> None:
        self.left = bytes_max

    def take(self, count: int, keep: int = 0) -> bool:
        """Take ``count`` bytes if they are there and ``keep`` bytes are left for others."""
        if count + keep > self.left:
            return False
        self.left -= count
        return True

    def give(self, count: int) -> None:
        """Give them back."""
        self.left += count

    def charge(self, count: int) -> None:
        """Take them whether they are there or not: nobody gets any until enough came back."""
        self.left -= count


class RequestBody:
    """The body of one request; read once. ``headers``: folded. Implements ``gateway.operations.bodies.Body``."""

    __slots__ = (
        "_budget",
        "_bytes_max",
        "_claim",
        "_compute",
        "_content_md5",
        "_head",
        "_headers",
        "_idle_s",
        "_pace_bytes",
        "_pace_since_s",
        "_payload",
        "_rate_min_bytes_s",
        "_verified",
        "_verify_documents",
        "bytes_read",
        "continued",
    )

    def __init__(
        self,
        head: Head,
        headers: dict[str, str],
        payload: Payload,
        verified: Verified | None,
        budget: WindowBudget,
        settings: HttpSettings,
    ) -> None:
        self._head = head
        self._headers = headers
        self._payload = payload
        self._verified = verified
        self._budget = budget
        self._idle_s = settings.body_idle_timeout_s
        self._rate_min_bytes_s = settings.body_rate_min_bytes_s
        self._pace_since_s, self._pace_bytes = 0.0, 0
        self._content_md5: bytes | None = None
        self._claim = NO_CHECKSUM
        self._compute: tuple[str, ...] = ()
        self._bytes_max = 0
        self._verify_documents = True
        self.bytes_read = 0
        self.continued = False

    def expect(self, content_md5: bytes | None, claim: ChecksumClaim, bytes_max: int, *, compute: str = "") -> None:
        """Say what the client claims of the body, its greatest size, and which checksum to compute besides the claimed.

        Without claim and ``compute`` it is AWS's default, CRC64NVME.
        """
        self._content_md5 = content_md5
        self._claim = claim
        first = compute or claim.algorithm or DEFAULT_ALGORITHM
        self._compute = (first,) if claim.algorithm in ("", first) else (first, claim.algorithm)
        self._bytes_max = bytes_max

    def expect_nothing(self) -> None:
        """``UnexpectedContent`` if there is a body."""
        if self._payload.mode.is_chunked or self._headers.get("content-length", "0").strip() not in ("", "0"):
            raise UnexpectedContent
        if "transfer-encoding" in self._headers:
            raise UnexpectedContent

    def leave_checksum_to_operation(self) -> None:
        """The x-amz-checksum-* headers speak of something else than this body (CompleteMultipartUpload)."""
        self._verify_documents = False

    async def pour(self, writer: ContentWriter) -> Received:
        """Write the whole body, verified. See ``Body.pour``."""
        length = parse_content_length(self._headers, bytes_max=self._bytes_max)
        sha256 = self._payload.mode is PayloadMode.SHA256
        if length <= INLINE_MAX and not self._payload.mode.is_chunked:
            data = await self._read_small(length)
            digests = digest_small(data, self._compute, sha256=sha256)
            self._check(digests, {})
            if data:
                await writer.write(data)
            return Received(length, digests.md5, digests.checksums)
        digester = Digester(self._compute, sha256=sha256)
        trailers: dict[str, str] = {}
        total = 0
        async for piece in self._decoded(length, trailers):
            total += len(piece)
            await digester.update(piece)
            await writer.write(piece)
        digests = await digester.finish()
        if total != length:
            raise IncompleteBody
        self._check(digests, trailers)
        return Received(length, digests.md5, digests.checksums)

    async def read_whole(self, bytes_max: int, too_large: type[S3Error]) -> bytes:
        """A document: the whole body in memory, verified. ``too_large`` above ``bytes_max``, before reading."""
        if self._payload.mode.is_chunked:
            raise InvalidRequest("A document cannot be aws-chunked")
        if "content-length" not in self._headers and "transfer-encoding" not in self._headers:
            return b""
        length = parse_content_length(self._headers)
        if length > bytes_max:
            raise too_large
        claim = parse_checksum(self._headers) if self._verify_documents else NO_CHECKSUM
        self._content_md5, self._claim = parse_content_md5(self._headers), claim
        data = await self._read_small(length)
        digester = Digester((claim.algorithm,) if claim.algorithm else (), sha256=self._payload.sha256 != "")
        await digester.update(data)
        self._check(await digester.finish(), {})
        return data

    def _begin(self) -> None:
        """Ask the client for its body, if it waits to be asked."""
        if not self.continued and self._headers.get("expect", "").lower() == "100-continue":
            transport = self._head.transport
            if transport is not None and self._head.version >= (1, 1):
                transport.write(_CONTINUE)
        self.continued = True

    async def _read(self) -> bytes:
        """The next bytes of the stream, b"" at its end. ``RequestTimeout`` after a while without any, or of too few."""
        stream = self._head.content
        data: bytes = stream.read_nowait()
        if data or stream.at_eof():
            self.bytes_read += len(data)
            return data
        self._check_pace()
        try:
            async with asyncio.timeout(self._idle_s):
                data = await stream.readany()
        except TimeoutError:
            raise RequestTimeout from None
        self.bytes_read += len(data)
        return data

    def _check_pace(self) -> None:
        """``RequestTimeout`` for a client that has kept us waiting for the idle time and sent next to nothing in it."""
        now_s = asyncio.get_running_loop().time()
        if not self._pace_since_s:
            self._pace_since_s = now_s
        waited_s = now_s - self._pace_since_s
        if waited_s < self._idle_s:
            return
        if self.bytes_read - self._pace_bytes < self._rate_min_bytes_s * waited_s:
            raise RequestTimeout
        self._pace_since_s, self._pace_bytes = now_s, self.bytes_read

    async def _read_small(self, length: int) -> bytes:
        """Exactly ``length`` bytes, gathered."""
        self._begin()
        data = await self._read()
        while len(data) < length:
            more = await self._read()
            if not more:
                raise IncompleteBody
            data += more
        if len(data) != length:
            raise IncompleteBody
        return data

    async def _decoded(self, length: int, trailers: dict[str, str]) -> AsyncIterator[bytes | memoryview]:
        """Plaintext pieces of the body; ``trailers`` is filled at the end."""
        self._begin()
        decoder = ChunkedDecoder(self._payload, self._verified) if self._payload.mode.is_chunked else None
        signed = self._payload.mode.has_signed_chunks
        with self._window(length):
            while data := await self._read():
                if decoder is None:
                    yield data
                    continue
                if signed and len(data) > INLINE_MAX:
                    pieces = await run_hashing(decoder.feed, data)
                else:
                    pieces = decoder.feed(data)
                if pieces:
                    yield pieces[0] if len(pieces) == 1 else b"".join(pieces)
            if decoder is not None:
                trailers.update(decoder.finish())

    async def raw_pieces(self, bytes_max: int) -> AsyncGenerator[bytes, None]:
        """The body as it comes, for who parses it on the way. 411 without a length, ``EntityTooLarge`` above
        ``bytes_max``; nothing that is claimed of it is verified.
        """
        length = parse_content_length(self._headers, bytes_max=bytes_max)
        self._begin()
        with self._window(length):
            while data := await self._read():
                yield data

    @contextmanager
    def _window(self, length: int) -> Iterator[None]:
        """A large read window for a body of ``length`` bytes, if it is worth one and the budget has one."""
        granted = length > INLINE_MAX and self._budget.take(2 * _WINDOW)
        if granted:
            self._head.content.set_read_chunk_size(_WINDOW)
        try:
            yield
        finally:
            if granted:
                self._budget.give(2 * _WINDOW)

    def _check(self, digests: Digests, trailers: dict[str, str]) -> None:
        """Compare what was computed with everything that was claimed."""
        if self._payload.sha256 and not compare_digest(digests.sha256, self._payload.sha256):
            raise XAmzContentSHA256Mismatch(
                None,
                ClientComputedContentSHA256=self._payload.sha256,
                S3ComputedContentSHA256=digests.sha256,
            )
        claim = self._claim
        claimed = claim.value
        if claim.in_trailer:
            algorithm = ALGORITHMS[claim.algorithm]
            claimed = trailers.get(algorithm.header, "")
            if decode_digest(claimed, algorithm.size) is None:
                raise InvalidRequest(f"Value for {algorithm.header} trailing header is invalid.")
        check_claims(digests, self._content_md5, claim.algorithm, claimed)


def check_claims(digests: Digests, content_md5: bytes | None, algorithm: str, claimed: str) -> None:
    """``BadDigest`` unless what was computed is what was claimed: Content-MD5 (None: not), a checksum ("": none)."""
    if content_md5 is not None and digests.md5 != content_md5.hex():
        raise BadDigest(None, ExpectedDigest=content_md5.hex(), CalculatedDigest=digests.md5)
    if algorithm and digests.checksums[algorithm] != claimed:
        raise BadDigest(f"The {algorithm} you specified did not match the calculated checksum.")
