"""What a request says of itself that policies may ask about: address, time, headers, parameters, how it was signed.

Made once a request and read only where a policy has conditions: nothing is computed before it is asked for. What the
headers do not tell (tags in a document, a location constraint) is put into ``more`` by whoever read it, before it asks.
``charged`` is the one thing that comes back: the requester pays, and the answer has to say so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl

from gateway.s3.sigv4 import ALGORITHM, Verified
from gateway.s3.times import format_iso, parse_iso_ms
from gateway.s3.uri import decode_percent

DAY_MS: Final = 86_400_000
_PARAMETERS: Final = {"s3:prefix": "prefix", "s3:delimiter": "delimiter", "s3:max-keys": "max-keys"}
_LOCK: Final = {
    "s3:object-lock-mode": "x-amz-object-lock-mode",
    "s3:object-lock-retain-until-date": "x-amz-object-lock-retain-until-date",
    "s3:object-lock-legal-hold": "x-amz-object-lock-legal-hold",
}
_HEADERS: Final = {
    "s3:if-match": "if-match",
    "s3:if-none-match": "if-none-match",
    "aws:useragent": "user-agent",
    "aws:referer": "referer",
    **_LOCK,
}
_LENGTH_MAX: Final = 2048
_ASKED: Final = (
    *("x-amz-acl", "x-amz-grant-", "x-amz-server-side-encryption", "x-amz-storage-class", "x-amz-tagging"),
    *("x-amz-object-lock-", "x-amz-website-redirect-location"),
)
ASKED_EXTRA: Final = "asked"
"""The name of ``remember_asked``'s bytes among an upload's extras; no object has them."""
Values = tuple[str, ...]


class Connection(Protocol):
    """How the request came (aiohttp's request is one)."""

    @property
    def remote(self) -> str | None:
        """The address of the peer itself: what a proxy's header says is nobody's word."""

    @property
    def secure(self) -> bool:
        """Whether it came over TLS."""

    @property
    def transport(self) -> Any:
        """The transport it came over, or None."""


class Facts:
    """``headers``: folded and merged; ``params``: the query's; ``verified`` None: not signed by header or query.

    ``signed_by``: overrides how it was signed ("POST").
    """

    __slots__ = ("_more", "charged", "connection", "headers", "now_s", "params", "region", "signed_by", "verified")

    def __init__(
        self,
        headers: Mapping[str, str],
        params: Mapping[str, str],
        connection: Connection | None = None,
        now_s: int = 0,
        verified: Verified | None = None,
        region: str = "us-east-1",
    ) -> None:
        self.headers = headers
        self.params = params
        self.connection = connection
        self.now_s = now_s
        self.verified = verified
        self.region = region
        self.signed_by = ""
        self.charged = False
        self._more: dict[str, Values] | None = None

    @property
    def more(self) -> dict[str, Values]:
        """Further values by condition key (lower case), to be added to; they count before what headers say."""
        if self._more is None:
            self._more = {}
        return self._more

    def tell(self, values: Mapping[str, Values]) -> None:
        """Add values by condition key (lower case)."""
        self.more.update(values)

    def tell_lock(self, mode: str, until_ms: int, hold: str = "") -> None:
        """Say what a document locks an object by; empty and 0: it says nothing of that."""
        told = (mode, format_iso(until_ms) if until_ms else "", hold)
        self.tell({key: (value,) for key, value in zip(_LOCK, told, strict=True) if value})

    def find(self, key: str) -> Values | None:
        """The values of a condition key (lower case) that are the request's own; None if it has none."""
        if self._more is not None and key in self._more:
            return self._more[key]
        if key in _PARAMETERS:
            return _bounded(self.params.get(_PARAMETERS[key]))
        if key in _HEADERS:
            return _bounded(self.headers.get(_HEADERS[key]))
        if key == "s3:x-amz-copy-source":
            return self._copy_source()
        if key == "s3:x-amz-content-sha256":
            return _one(self.verified.payload_hash if self.verified else self.headers.get("x-amz-content-sha256"))
        if key.startswith("s3:x-amz-"):
            return _one(self.headers.get(key[3:]))
        if key.startswith(("s3:requestobjecttag/", "aws:requesttag/")):
            name = key.partition("/")[2]
            return _one({tag.lower(): value for tag, value in self._tags().items()}.get(name))
        if key in ("s3:requestobjecttagkeys", "aws:tagkeys"):
            return tuple(self._tags()) or None
        find = _COMPUTED.get(key)
        return _one(find(self)) if find is not None else None

    def _tags(self) -> dict[str, str]:
        """Tags of an x-amz-tagging header."""
        return dict(parse_qsl(self.headers.get("x-amz-tagging", ""), keep_blank_values=True))

    def _copy_source(self) -> Values | None:
        raw = self.headers.get("x-amz-copy-source")
        if raw is None:
            return None
        path = decode_percent(raw.partition("?")[0]).removeprefix("/")
        return path, "/" + path  # policies write either

    def signature_version(self) -> str | None:
        """s3:signatureversion; a claim of version 2 names no signed headers, one of version 4 at least Host."""
        if self.verified is not None:
            return ALGORITHM if self.verified.claim.signed_headers else "AWS"
        return ALGORITHM if self.signed_by else None

    def _auth_type(self) -> str | None:
        if self.signed_by or self.verified is None:
            return self.signed_by or None
        return "REST-QUERY-STRING" if self.verified.claim.presigned else "REST-HEADER"

    def _remaining_days(self) -> str | None:
        until = self.find("s3:object-lock-retain-until-date")
        until_ms = parse_iso_ms(until[0]) if until else None
        return None if until_ms is None else str(-(-(until_ms - self.now_s * 1000) // DAY_MS))

    def _tls_version(self) -> str | None:
        transport = self.connection.transport if self.connection is not None else None
        tls = transport.get_extra_info("ssl_object") if transport is not None else None
        return tls.version().removeprefix("TLSv") if tls is not None else None


def remember_asked(headers: Mapping[str, str]) -> bytes:
    """What conditions on the parts of an upload, and on its end, must know of the request that began it.

    Those name neither ACL nor encryption, and are the same write. Empty if it asked for nothing of the kind.
    """
    asked = {
        name: value
        for name, value in headers.items()
        if name.startswith(_ASKED) and not name.startswith("x-amz-server-side-encryption-customer-key")
    }
    return json.dumps(asked).encode() if asked else b""


def recall_asked(data: bytes) -> Facts:
    """What ``remember_asked`` kept, to be asked for condition keys."""
    return Facts(json.loads(data), {})


def _one(value: str | None) -> Values | None:
    return None if value is None else (value,)


def _bounded(value: str | None) -> Values | None:
    """What a client may say or leave out as it likes counts as left out if it is long: each pattern is tried on it."""
    return None if value is None or len(value) > _LENGTH_MAX else (value,)


_COMPUTED: Final = {
    "aws:sourceip": lambda facts: facts.connection.remote if facts.connection is not None else None,
    "aws:securetransport": lambda facts: (
        "true" if facts.connection is not None and facts.connection.secure else "false"
    ),
    "aws:currenttime": lambda facts: format_iso(facts.now_s * 1000),
    "aws:epochtime": lambda facts: str(facts.now_s),
    "aws:requestedregion": lambda facts: facts.region,
    "aws:principalisawsservice": lambda _: "false",
    "aws:viaawsservice": lambda _: "false",
    "s3:signatureversion": lambda facts: facts.signature_version(),
    "s3:authtype": Facts._auth_type,
    "s3:signatureage": lambda facts: (
        str(max(facts.now_s - facts.verified.claim.time_s, 0) * 1000) if facts.verified is not None else None
    ),
    "s3:object-lock-remaining-retention-days": Facts._remaining_days,
    "s3:tlsversion": Facts._tls_version,
}

NO_FACTS: Final = Facts({}, {})
"""Of something that is no request. Never changed."""
