"""aws-chunked bodies, sans-IO: bytes in, verified pieces of plaintext out. Pure.

    chunk      = hex-size [";chunk-signature=" 64-hex] CRLF data CRLF        data only if size > 0
    body       = *chunk last-chunk(size 0) trailer
    trailer    = CRLF | *(name ":" value CRLF) ["x-amz-trailer-signature:" 64-hex CRLF] CRLF

Each signed chunk is checked when its last byte arrived: ``feed`` raises then, and pieces already handed out must not
count until ``finish`` returned. Lengths, lines, trailers and the number of tiny chunks are bounded, so that no body
costs more than a constant times its size. Pieces are views of what was fed, not copies.

Source: "Signature calculations for the authorization header: transferring payload in multiple chunks" and "...
including trailing headers", Amazon S3 API reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Final

from gateway.s3.errors import (
    IncompleteBody,
    InvalidChunkSizeError,
    MalformedTrailerError,
    S3Error,
    SignatureDoesNotMatch,
)
from gateway.s3.payload import Payload, PayloadMode
from gateway.s3.sigv4 import EMPTY_SHA256, Verified, sign_string

LINE_BYTES_MAX: Final = 512
TRAILER_LINES_MAX: Final = 8
CHUNK_BYTES_MIN: Final = 8192
SMALL_CHUNKS_MAX: Final = 1024
"""Chunks under 8 KiB before the last: AWS allows none, some clients send a few; a million of them is an attack."""
_SIGNED_HEADER: Final = re.compile(rb"([0-9a-fA-F]{1,16});chunk-signature=([0-9a-f]{64})")
_UNSIGNED_HEADER: Final = re.compile(rb"([0-9a-fA-F]{1,16})")
_TRAILER: Final = re.compile(rb"([!-9;-~]{1,64}):[ \t]*([ -~]*?)[ \t]*")
_TRAILER_SIGNATURE: Final = "x-amz-trailer-signature"


class _State(Enum):
    HEADER = 1
    DATA = 2
    DATA_END = 3
    LAST_END = 4
    TRAILER = 5
    DONE = 6


class _Signatures:
    """The chain of signatures: each covers the one before it."""

    __slots__ = ("_key", "_prefix", "_previous")

    def __init__(self, verified: Verified) -> None:
        self._key = verified.signing_key
        self._prefix = f"{verified.claim.timestamp}\n{verified.claim.scope}\n"
        self._previous = verified.claim.signature

    def sign_chunk(self, digest: str) -> str:
        """The signature of the next chunk, whose data hash to ``digest`` (hex)."""
        return self._next(f"AWS4-HMAC-SHA256-PAYLOAD\n{self._prefix}{self._previous}\n{EMPTY_SHA256}\n{digest}")

    def sign_trailer(self, text: str) -> str:
        """The signature of the trailer, given as ``name:value`` lines each ended by a newline."""
        digest = sha256(text.encode()).hexdigest()
        return self._next(f"AWS4-HMAC-SHA256-TRAILER\n{self._prefix}{self._previous}\n{digest}")

    def _next(self, text: str) -> str:
        self._previous = sign_string(self._key, text)
        return self._previous


class ChunkedDecoder:
    """Decodes one aws-chunked body. ``feed`` bytes as they come, then ``finish``."""

    __slots__ = (
        "_chunk_size",
        "_declared",
        "_expected",
        "_hash",
        "_left",
        "_length",
        "_line",
        "_received",
        "_signatures",
        "_small",
        "_state",
        "_trailer_lines",
        "_trailer_signed",
        "_trailers",
        "_with_trailer",
    )

    def __init__(self, payload: Payload, verified: Verified | None) -> None:
        assert payload.mode.is_chunked
        assert payload.decoded_length is not None
        self._signatures: _Signatures | None = None
        if payload.mode.has_signed_chunks:
            assert verified is not None, "signed chunks go on from a verified signature"
            self._signatures = _Signatures(verified)
        self._with_trailer = payload.mode.has_trailer
        self._declared = payload.trailers
        self._length = payload.decoded_length
        self._received = 0
        self._state = _State.HEADER
        self._line = bytearray()
        self._left = 0
        self._chunk_size = CHUNK_BYTES_MIN
        self._small = 0
        self._expected = ""
        self._hash: Any = None
        self._trailers: dict[str, str] = {}
        self._trailer_lines = 0
        self._trailer_signed = False

    def feed(self, data: bytes | bytearray | memoryview) -> list[memoryview]:
        """Take bytes as they arrive; return the plaintext in them as views of ``data``. Raises typed S3 errors."""
        view = memoryview(data)
        pieces: list[memoryview] = []
        at, end = 0, len(view)
        while at < end:
            if self._state is not _State.DATA:
                at = self._take_line(view, at)
                continue
            piece = view[at : at + self._left]
            at += len(piece)
            self._left -= len(piece)
            self._received += len(piece)
            if self._hash is not None:
                self._hash.update(piece)
            pieces.append(piece)
            if not self._left:
                if self._hash is not None:
                    self._check_chunk(self._hash.hexdigest())
                self._state = _State.DATA_END
        return pieces

    def finish(self) -> dict[str, str]:
        """The trailers, lower case name to value, once the body has ended. ``IncompleteBody`` if it is not whole."""
        if self._state is _State.LAST_END and not self._line:
            self._state = _State.DONE  # some clients leave out the very last CRLF
        if self._state is _State.TRAILER and not self._line and self._is_trailer_whole():
            self._state = _State.DONE
        if self._state is not _State.DONE or self._received != self._length:
            raise IncompleteBody
        return self._trailers

    def _take_line(self, view: memoryview, at: int) -> int:
        """Collect one line; act on it when it is whole; return where to go on."""
        if self._state is _State.DONE:
            raise IncompleteBody("The request body goes on after its last chunk")
        window = bytes(view[at : at + LINE_BYTES_MAX - len(self._line)])
        newline = window.find(b"\n")
        if newline < 0:
            self._line += window
            if len(self._line) >= LINE_BYTES_MAX:
                raise _malformed(self._state)
            return at + len(window)
        line = bytes(self._line) + window[:newline]
        self._line.clear()
        if line.endswith(b"\r"):
            line = line[:-1]
        elif self._state is not _State.TRAILER:
            raise _malformed(self._state)
        self._act_on(line)
        return at + newline + 1

    def _act_on(self, line: bytes) -> None:
        """One line without its end, in the present state."""
        if self._state is _State.HEADER:
            self._start_chunk(line)
        elif self._state is _State.TRAILER:
            self._take_trailer(line)
        elif line:
            raise _malformed(self._state)
        else:
            self._state = _State.HEADER if self._state is _State.DATA_END else _State.DONE

    def _start_chunk(self, line: bytes) -> None:
        """A chunk's header."""
        found = (_SIGNED_HEADER if self._signatures else _UNSIGNED_HEADER).fullmatch(line)
        if found is None:
            raise _malformed(_State.HEADER)
        size = int(found.group(1), 16)
        if self._signatures:
            self._expected = found.group(2).decode()
        if not size:
            if self._received != self._length:
                raise IncompleteBody
            if self._signatures:
                self._check_chunk(EMPTY_SHA256)
            self._state = _State.TRAILER if self._with_trailer else _State.LAST_END
            return
        if self._received + size > self._length:
            raise IncompleteBody("The chunks are longer than x-amz-decoded-content-length says")
        if self._chunk_size < CHUNK_BYTES_MIN:
            self._small += 1
            if self._small > SMALL_CHUNKS_MAX:
                raise InvalidChunkSizeError(None, BadChunkSize=self._chunk_size)
        self._chunk_size = self._left = size
        self._hash = sha256() if self._signatures else None
        self._state = _State.DATA

    def _check_chunk(self, digest: str) -> None:
        assert self._signatures is not None
        if not compare_digest(self._signatures.sign_chunk(digest), self._expected):
            raise SignatureDoesNotMatch

    def _take_trailer(self, line: bytes) -> None:
        """One line of the trailer; an empty one ends it (or, in one documented form, comes before the signature)."""
        self._trailer_lines += 1
        if self._trailer_lines > TRAILER_LINES_MAX:
            raise MalformedTrailerError
        if not line:
            if self._is_trailer_whole():
                self._state = _State.DONE
            elif not (self._signatures and self._trailers):
                raise MalformedTrailerError
            return
        found = _TRAILER.fullmatch(line)
        if found is None or self._trailer_signed:
            raise MalformedTrailerError
        name, value = found.group(1).decode().lower(), found.group(2).decode()
        if name == _TRAILER_SIGNATURE and self._signatures:
            text = "".join(f"{known}:{self._trailers[known]}\n" for known in self._trailers)
            if not compare_digest(self._signatures.sign_trailer(text), value):
                raise SignatureDoesNotMatch
            self._trailer_signed = True
        elif name in self._declared and name not in self._trailers:
            self._trailers[name] = value
        else:
            raise MalformedTrailerError

    def _is_trailer_whole(self) -> bool:
        """Whether all that was announced has come, and is signed if it must be."""
        complete = all(name in self._trailers for name in self._declared)
        return complete and (self._trailer_signed or self._signatures is None)


def _malformed(state: _State) -> S3Error:
    return MalformedTrailerError() if state is _State.TRAILER else IncompleteBody("The chunked body is malformed")


def encode_chunked(
    mode: PayloadMode, pieces: Iterable[bytes], verified: Verified | None, trailers: Mapping[str, str] | None = None
) -> bytes:
    """An aws-chunked body of non-empty pieces: what a client would send. For tests and benchmarks."""
    signatures = _Signatures(verified) if mode.has_signed_chunks and verified is not None else None
    out = bytearray()
    for piece in (*pieces, b""):
        header = f"{len(piece):x}"
        if signatures:
            header += f";chunk-signature={signatures.sign_chunk(sha256(piece).hexdigest())}"
        out += header.encode() + b"\r\n"
        if piece:
            out += piece + b"\r\n"
    text = "".join(f"{name}:{value}\n" for name, value in (trailers or {}).items())
    if mode.has_trailer:
        out += text.replace("\n", "\r\n").encode()
        if signatures:
            out += f"{_TRAILER_SIGNATURE}:{signatures.sign_trailer(text)}\r\n".encode()
    return bytes(out + b"\r\n")
