"""Byte ranges of GET, HEAD and UploadPartCopy. Pure.

AWS answers one range (RFC 9110 §14.1.2): a header of another unit, of broken syntax or of several ranges is ignored and
the whole object goes out; one that starts behind the end is ``InvalidRange``. Ends are inclusive on the wire and here.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.s3.errors import InvalidRange, S3Error, invalid_argument
from gateway.s3.times import parse_http_date

_RANGE: Final = re.compile(r"bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*", re.ASCII | re.IGNORECASE)
_COPY_RANGE: Final = re.compile(r"bytes=(\d{1,19})-(\d{1,19})", re.ASCII)


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """(first, last) byte of the range asked of ``size`` bytes; None for the whole. ``InvalidRange`` beyond it."""
    found = _RANGE.fullmatch(header) if header else None
    if found is None:
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    if not first:
        if int(last) == 0 or size == 0:
            raise _unsatisfiable(header, size)
        return max(0, size - int(last)), size - 1
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        raise _unsatisfiable(header, size)
    return start, min(int(last), size - 1) if last else size - 1


def holds_if_range(validator: str, etag: str, modified_s: int) -> bool:
    """Whether the range still is one of what the client has: If-Range (RFC 9110 §13.1.5) names its ETag or its date.

    If not, the whole object is the answer.
    """
    date_s = parse_http_date(validator)
    return date_s == modified_s if date_s is not None else validator.strip().strip('"') == etag


def _unsatisfiable(header: str | None, size: int) -> S3Error:
    return InvalidRange(
        None, headers={"Content-Range": f"bytes */{size}"}, ActualObjectSize=size, RangeRequested=header
    )


def parse_copy_range(header: str, size: int) -> tuple[int, int]:
    """(first, last) byte of ``x-amz-copy-source-range``: both ends named and inside the source. ``InvalidArgument``."""
    found = _COPY_RANGE.fullmatch(header)
    if found is None:
        raise invalid_argument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the "
            "zero-based offsets of the first and last bytes to copy",
            "x-amz-copy-source-range",
            header,
        )
    first, last = int(found.group(1)), int(found.group(2))
    if first > last:
        raise invalid_argument("Range specified is not valid for source object", "x-amz-copy-source-range", header)
    if last >= size:
        raise invalid_argument(
            f"Range specified is not valid for source object of size: {size}", "x-amz-copy-source-range", header
        )
    return first, last
