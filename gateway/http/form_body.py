"""The file inside a posted form as a body: streamed out of the form into a writer, verified before any commit.

    RequestBody.raw_pieces → FormParser → fields first, then the file's bytes → writer

``read_fields`` reads no more than the form's head (20 KB) and what came with it; whoever calls it decides, from the
fields, whether the file is wanted. ``pour`` then takes the file to the form's end. The read window is given back by
``close``, which must be called whatever happens.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Final

from gateway.http.body import DEFAULT_ALGORITHM, RequestBody, check_claims
from gateway.operations.bodies import Received
from gateway.operations.digests import Digester
from gateway.s3.form import FIELDS_BYTES_MAX, FormParser
from gateway.s3.object_headers import ChecksumClaim
from gateway.store.ports import ContentWriter

_EPILOGUE_BYTES_MAX: Final = 64 << 10  # behind the file: fields that are ignored, the last boundary


class FormBody:
    """One form, read once. Implements ``gateway.operations.bodies.Body``."""

    def __init__(self, body: RequestBody, boundary: bytes, put_bytes_max: int) -> None:
        bytes_max = put_bytes_max + FIELDS_BYTES_MAX + _EPILOGUE_BYTES_MAX
        self._pieces: AsyncGenerator[bytes, None] = body.raw_pieces(bytes_max)
        self._parser = FormParser(boundary)
        self._waiting: list[bytes] = []  # the file's first bytes, which came with the last field
        self._content_md5: bytes | None = None
        self._algorithm = DEFAULT_ALGORITHM
        self._claimed = ""
        self._check_size: Callable[[int], None] = lambda size: None
        self._bytes_max = 0

    async def read_fields(self) -> tuple[dict[str, str], str]:
        """The fields before the file, and the file's name as the client gave it. Raises S3 errors."""
        while not self._parser.has_file:
            data = await anext(self._pieces, b"")
            if not data:
                self._parser.finish()
            self._waiting = self._parser.feed(data)
        return self._parser.fields, self._parser.filename

    def expect(
        self,
        content_md5: bytes | None,
        claim: ChecksumClaim,
        bytes_max: int,
        check_size: Callable[[int], None],
    ) -> None:
        """Say what the form claims of its file. ``check_size`` raises unless that many bytes are permitted.

        It is asked whenever there are more than ``bytes_max``, and at the end.
        """
        self._content_md5 = content_md5
        self._algorithm = claim.algorithm or DEFAULT_ALGORITHM
        self._claimed = claim.value
        self._check_size = check_size
        self._bytes_max = bytes_max

    async def pour(self, writer: ContentWriter) -> Received:
        """Write the whole file, verified. See ``Body.pour``."""
        digester = Digester((self._algorithm,))
        total = 0
        pieces = self._waiting
        while True:
            for piece in pieces:
                total += len(piece)
                if total > self._bytes_max:
                    self._check_size(total)
                await digester.update(piece)
                await writer.write(piece)
            data = await anext(self._pieces, b"")
            if not data:
                break
            pieces = self._parser.feed(data)
        digests = await digester.finish()
        self._parser.finish()
        self._check_size(total)
        claimed = self._claimed
        check_claims(digests, self._content_md5, self._algorithm if claimed else "", claimed)
        return Received(total, digests.md5, digests.checksums)

    async def close(self) -> None:
        """Let go of the request's read window."""
        await self._pieces.aclose()
