"""What is asked of every client, under the names the table's columns and the drivers' JSON lines use.

A test says what it shows with ``@proves("multipart", "range")`` and, with ``CLIENT = "…"`` in its module, for whom.
"""

from __future__ import annotations

from typing import Any

import pytest

FEATURES = {
    "small": "put, get, head, delete",
    "stream": "upload of unknown length",
    "multipart": "multipart over 16 MiB",
    "range": "ranged get",
    "list": "list: delimiter, pages",
    "copy": "copy",
    "delete_many": "delete many",
    "presign_get": "presigned GET",
    "presign_put": "presigned PUT",
    "if_none_match": "If-None-Match: *",
    "if_match": "If-Match",
    "metadata": "metadata, unicode",
    "keys": "odd keys",
    "checksums": "default checksums",
    "sha256": "explicit SHA-256",
    "tagging": "tagging",
    "versioning": "versioning",
    "virtual_host": "virtual host",
    "no_such_key": "NoSuchKey",
    "wrong_secret": "wrong secret: 403",
    "cross": "reads and is read by boto3",
    "https": "https, own CA",
}
"""Name → what the column says, in the table's order."""

ODD_KEYS = (
    "with space",
    "plus+plus",
    "ümlaut/ключ/日本/🚀",
    "percent%2Fsigns%zz",
    "quote's\"and<angles>&amps;",
    "question?mark=1#hash",
    "~tilde*()!,;:@=$",
    "back\\slash|pipe^caret`tick{}[]",
    "double//slash",
    "/leading",
    "trailing/",
    " spaces around ",
)
"""Keys every client can send; dots come apart, because some clients cannot send them."""

DOT_KEYS = ("a/./b", "a/../b", "./a", "../a", "a/..", "a/.", "..", ".", "...", "a//../b")
"""Keys that a client or a server with path normalisation would ruin."""


def proves(*features: str) -> Any:
    """Mark a test with the features it shows; a name that is no column fails at import."""
    unknown = set(features) - set(FEATURES)
    assert not unknown, unknown
    return pytest.mark.proves(*features)
