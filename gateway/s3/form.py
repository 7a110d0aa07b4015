"""multipart/form-data as browsers post it to S3, sans-IO: bytes in; fields, then the file's bytes out. Pure.

    body      = [preamble CRLF] "--" boundary part *( CRLF "--" boundary part ) CRLF "--" boundary "--" epilogue
    part      = *pad CRLF *( header CRLF ) CRLF content

Fields are collected until the part named ``file`` begins; everything before the file's first byte together may hold
20 KB (AWS's limit), which bounds all work and memory. The file is never held: ``feed`` returns its bytes as they come,
keeping back only what may be the start of the delimiter. What follows the file is ignored, as AWS documents. A form
that ends before the file's delimiter is malformed: what was handed out must not count until ``finish`` returned.

What fields mean is told by ``form_fields`` and ``post_policy``. Source: RFC 7578, RFC 2046 §5.1, and "POST Object",
Amazon S3 API reference.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from gateway.s3.errors import (
    MalformedPOSTRequest,
    MaxPostPreDataLengthExceeded,
    invalid_argument,
)

FIELDS_BYTES_MAX: Final = 20 * 1024
_PADDING_MAX: Final = 256  # blanks behind a boundary
_BOUNDARY: Final = re.compile(r';[ \t]*boundary=(?:"([^"\\]{1,70})"|([^\s";,]{1,70}))[ \t]*(?=;|$)', re.IGNORECASE)
_PARAMETER: Final = re.compile(r';[ \t]*([A-Za-z*]{1,32})=("(?:[^"\\]|\\.)*"|[^\s";]*)[ \t]*', re.DOTALL)
# Old browsers send whole Windows paths: a backslash escapes nothing but a quote or itself.
_ESCAPED: Final = re.compile(r'\\(["\\])')
_PLAIN_ENCODINGS: Final = frozenset({"", "7bit", "8bit", "binary"})


def parse_boundary(content_type: str) -> bytes:
    """The boundary a Content-Type names; ``MalformedPOSTRequest`` if it is none of multipart/form-data."""
    kind = content_type.partition(";")[0].strip().lower()
    found = _BOUNDARY.search(content_type)
    if kind != "multipart/form-data" or found is None:
        raise MalformedPOSTRequest
    try:
        return (found.group(1) or found.group(2)).encode()
    except UnicodeEncodeError:
        raise MalformedPOSTRequest from None


class _State(Enum):
    PREAMBLE = 1
    BOUNDARY_END = 2  # behind a delimiter: "--", or the end of its line
    HEADERS = 3
    FIELD = 4
    FILE = 5
    FILE_END = 6  # behind the file's delimiter
    EPILOGUE = 7


class FormParser:
    """Parses one form. ``feed`` bytes as they come, then ``finish``. Names of fields are in lower case.

    ``fields``: values by name; ``filename``: the client's name of the file, as sent. Both are whole once ``has_file``
    is true, which is before the file's first byte is handed out.
    """

    __slots__ = ("_at", "_boundary", "_head", "_name", "_state", "_taken", "fields", "filename", "has_file")

    def __init__(self, boundary: bytes) -> None:
        self._boundary = b"\r\n--" + boundary
        # What is not acted upon yet. A line end of our own, so that a form that begins with its boundary is no
        # special case.
        self._head = bytearray(b"\r\n")
        self._at = 0  # up to here the head was searched
        self._taken = 0
        self._state = _State.PREAMBLE
        self._name = ""
        self.fields: dict[str, str] = {}
        self.filename = ""
        self.has_file = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes as they arrive; return the file's bytes in them. Raises typed S3 errors."""
        if self._state is _State.EPILOGUE:
            return []
        if not self.has_file:
            # One byte beyond the limit tells that it is passed, and a file that begins within it has no limit here.
            room = FIELDS_BYTES_MAX + 1 - self._taken
            self._head += data[:room]
            self._taken += min(len(data), room)
            while self._advance():
                pass
            of_file = len(self._head) if self.has_file else 0
            if self._taken - of_file > FIELDS_BYTES_MAX:
                raise MaxPostPreDataLengthExceeded(None, MaxPostPreDataLengthBytes=FIELDS_BYTES_MAX)
            if not self.has_file:
                return []
            data = data[room:]
        return self._feed_file(data)

    def finish(self) -> None:
        """The body has ended: returns if the form is whole. ``MalformedPOSTRequest`` if not."""
        if self._state is not _State.EPILOGUE:
            raise MalformedPOSTRequest

    def _advance(self) -> bool:
        """Take one step over the head; whether there may be another."""
        if self._state is _State.HEADERS:
            return self._take_headers()
        if self._state is _State.BOUNDARY_END:
            return self._take_boundary_end()
        if self._state not in (_State.PREAMBLE, _State.FIELD):
            return False
        found = self._head.find(self._boundary, self._at)
        if found < 0:
            self._at = max(0, len(self._head) - len(self._boundary) + 1)
            return False
        if self._state is _State.FIELD:
            self.fields[self._name] = _decode(bytes(self._head[:found]))
        self._drop(found + len(self._boundary))
        self._state = _State.BOUNDARY_END
        return True

    def _take_boundary_end(self) -> bool:
        """What follows a delimiter: ``--`` ends the form, else only blanks may stand before the line's end."""
        if self._head.startswith(b"--"):
            if not self.has_file:
                raise invalid_argument("POST requires exactly one file upload per request.", "file", 0)
            self._state = _State.EPILOGUE
            return False
        newline = self._head.find(b"\n", 0, _PADDING_MAX)
        line = bytes(self._head[:newline] if newline >= 0 else self._head[:_PADDING_MAX])
        if newline >= 0 or len(line) == _PADDING_MAX:
            if not line.endswith(b"\r") or line.strip(b" \t") != b"\r":
                raise MalformedPOSTRequest
        elif line.strip(b" \t") not in (b"", b"\r", b"-"):
            raise MalformedPOSTRequest
        if newline < 0:
            return False
        if self.has_file:
            self._state = _State.EPILOGUE
            return False
        self._drop(newline - 1)  # the line end stays: the headers end with an empty line, also where there are none
        self._state = _State.HEADERS
        return True

    def _take_headers(self) -> bool:
        """The headers of a part, once they are whole."""
        end = self._head.find(b"\r\n\r\n", self._at)
        if end < 0:
            self._at = max(0, len(self._head) - 3)
            return False
        name, filename = _parse_headers(bytes(self._head[2:end]) if end else b"")
        self._drop(end + 4)
        if name == "file":
            self.filename = filename
            self.has_file = True
            self._state = _State.FILE
            return False
        if name in self.fields:
            raise invalid_argument("A field may be given only once", name, self.fields[name])
        self._name = name
        self._state = _State.FIELD
        return True

    def _feed_file(self, data: bytes) -> list[bytes]:
        """The file's bytes in what the head kept back and ``data``."""
        if self._state is _State.FILE_END:
            self._head += data
            return self._end_file([])
        if self._head:
            data = bytes(self._head) + data
            self._head.clear()
        found = data.find(self._boundary)
        if found >= 0:
            self._head += data[found + len(self._boundary) :]
            self._at = 0
            self._state = _State.FILE_END
            return self._end_file([data[:found]] if found else [])
        # Keep back what may be the delimiter's beginning.
        start = data.find(b"\r", max(0, len(data) - len(self._boundary) + 1))
        if start < 0:
            return [data] if data else []
        self._head += data[start:]
        return [data[:start]] if start else []

    def _end_file(self, pieces: list[bytes]) -> list[bytes]:
        """Look at what follows the file's delimiter; ``pieces``: what is to be handed out meanwhile."""
        self._take_boundary_end()
        if self._state is _State.EPILOGUE:
            self._head.clear()
        return pieces

    def _drop(self, count: int) -> None:
        del self._head[:count]
        self._at = 0


def _decode(value: bytes) -> str:
    """A field's text, which must be UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise MalformedPOSTRequest from None


def _parse_headers(block: bytes) -> tuple[str, str]:
    """(field name in lower case, file name or empty) of a part's headers. Folded lines do not exist (RFC 7578)."""
    disposition = ""
    for line in _decode(block).split("\r\n"):
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if not colon or not name:
            raise MalformedPOSTRequest
        if name == "content-disposition":
            if disposition:
                raise MalformedPOSTRequest
            disposition = value.strip()
        elif name == "content-transfer-encoding" and value.strip().lower() not in _PLAIN_ENCODINGS:
            raise MalformedPOSTRequest(f"The content-transfer-encoding {value.strip()} is not supported")
    kind, _, _ = disposition.partition(";")
    parameters: dict[str, str] = {}
    for found in _PARAMETER.finditer(disposition, len(kind)):
        value = found.group(2)
        if value.startswith('"'):
            value = _ESCAPED.sub(r"\1", value[1:-1])
        parameters.setdefault(found.group(1).lower(), value)
    if kind.strip().lower() != "form-data" or not parameters.get("name"):
        raise MalformedPOSTRequest
    return parameters["name"].lower(), parameters.get("filename", "")
