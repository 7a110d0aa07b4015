"""Presigned URLs, used as a browser would: with nothing but an HTTP client."""

from __future__ import annotations

import ssl
import urllib.request
from pathlib import Path


def fetch(url: str, root: Path | None, body: bytes | None = None) -> bytes:
    """GET ``url``, or PUT ``body`` to it; trusts ``root``. ``urllib.error.HTTPError`` for anything but success."""
    context = ssl.create_default_context(cafile=str(root)) if root else None
    request = urllib.request.Request(url, data=body, method="GET" if body is None else "PUT")
    if body is not None:
        request.add_header("Content-Type", "application/octet-stream")
    with urllib.request.urlopen(request, context=context, timeout=60) as answer:
        read: bytes = answer.read()
        return read
