"""SigV4 for the load generator: whole HTTP/1.1 requests as bytes, signed in the Authorization header.

Written apart from the server's verifier, so that a shared mistake cannot make a benchmark pass. Signing is done before
the clock starts. Source: AWS, "Signature Calculations for the Authorization Header".
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass, field
from urllib.parse import quote

UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


@dataclass
class Signer:
    """Signs for one access key, region us-east-1, as of the moment it is made (good for 15 minutes)."""

    host: str
    access_key: str
    secret_key: str
    date: str = field(default_factory=lambda: time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))

    def __post_init__(self) -> None:
        self.scope = f"{self.date[:8]}/us-east-1/s3/aws4_request"
        key = ("AWS4" + self.secret_key).encode()
        for part in (self.date[:8], "us-east-1", "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        self._key = key

    def sign(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        *,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        length: int | None = None,
        payload: str | None = None,
    ) -> bytes:
        """A whole request: with ``body``, else announcing ``length``; ``payload`` stands for the body's hash."""
        if payload is None:
            payload = EMPTY_SHA256 if body is None else hashlib.sha256(body).hexdigest()
        length = len(body) if body is not None else length
        signed = {"host": self.host, "x-amz-content-sha256": payload, "x-amz-date": self.date} | (headers or {})
        names = ";".join(sorted(signed))
        query_text = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in sorted((query or {}).items()))
        path = quote(path, safe="/-_.~")
        lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        canonical = f"{method}\n{path}\n{query_text}\n{lines}\n{names}\n{payload}"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = f"AWS4-HMAC-SHA256\n{self.date}\n{self.scope}\n{digest}"
        signature = hmac.digest(self._key, to_sign.encode(), "sha256").hex()
        target = f"{path}?{query_text}" if query_text else path
        text = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in signed.items())
        text += f"Authorization: AWS4-HMAC-SHA256 Credential={self.access_key}/{self.scope},"
        text += f"SignedHeaders={names},Signature={signature}\r\n"
        if length is not None:
            text += f"Content-Length: {length}\r\n"
        return (text + "\r\n").encode() + (body or b"")
