"""What an operation knows of a request's body: something that pours itself into a writer and vouches for its bytes.

``gateway/http/body.py`` implements ``Body`` over the socket (aws-chunked, budgets, 100 Continue), ``multipart`` over
stored bytes. Whoever implements it verifies everything the client claimed (length, Content-MD5, checksums, signatures
of chunks and trailers, x-amz-content-sha256) *before* ``pour`` returns: who has a ``Received`` may commit.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from gateway.store.ports import ContentWriter


class Received(NamedTuple):
    """A body that was taken in whole and is what was claimed: plaintext size, MD5 (hex), checksums (base64)."""

    size: int
    md5: str
    checksums: dict[str, str]


class Body(Protocol):
    """One request body, not yet read. Reading starts (and 100 Continue is sent) only in ``pour``."""

    async def pour(self, writer: ContentWriter) -> Received:
        """Write all of it to ``writer``. Raises S3 errors (BadDigest, IncompleteBody, …): then commit nothing."""
