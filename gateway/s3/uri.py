"""Percent-encoding and query strings, strict and once. Pure; used by names, sigv4 and requests.

Bytes that came in are decoded exactly once; what is not valid percent-encoding or not UTF-8 is ``InvalidURI``, so that
the bytes that are authorised are the bytes that are stored. Nothing is normalised here.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from gateway.s3.errors import InvalidURI

QUERY_PAIRS_MAX: Final = 1000
_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CANONICAL_PATH: Final = re.compile(r"[A-Za-z0-9\-._~/]*")
_QUERY_CHARACTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%=&"
# A percent sign that SigV4 would not have written: lower case, incomplete, or before what needs no encoding.
_ODD_PERCENT: Final = re.compile(r"%(?!(?:[0189A-F][0-9A-F]|2[0-9A-CF]|3[A-F]|40|5[B-E]|60|7[B-DF]))")


def decode_percent(text: str, *, plus_is_space: bool = False) -> str:
    """The characters behind ``text``; ``InvalidURI`` unless it is valid percent-encoded UTF-8 without NUL."""
    if plus_is_space:
        text = text.replace("+", " ")
    if "%" in text:
        if _BAD_PERCENT.search(text):
            raise InvalidURI
        raw = unquote_to_bytes(text.encode("utf-8", "surrogateescape"))
    elif text.isascii():
        raw = text.encode()
    else:
        raw = text.encode("utf-8", "surrogateescape")
    try:
        decoded = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidURI from None
    if "\0" in decoded:
        raise InvalidURI
    return decoded


def encode_component(text: str) -> str:
    """RFC 3986 encoding of everything but unreserved characters: SigV4's UriEncode with slashes encoded."""
    return quote(text, safe="-._~")


def encode_path(text: str) -> str:
    """SigV4's UriEncode of a decoded path: slashes stay."""
    return quote(text, safe="/-._~")


def canonicalise_path(raw_path: str) -> str:
    """SigV4's canonical URI of a path as it arrived: decoded once and encoded the one way; S3 does not normalise it."""
    if _CANONICAL_PATH.fullmatch(raw_path):
        return raw_path or "/"
    return encode_path(decode_percent(raw_path))


class Query(NamedTuple):
    """A query string: ``raw`` as it arrived, ``pairs`` decoded in order, ``params`` the first value of every name."""

    raw: str
    pairs: tuple[tuple[str, str], ...]
    params: dict[str, str]


EMPTY_QUERY: Final = Query("", (), {})


def parse_query(raw: str) -> Query:
    """Decode a raw query string; ``+`` is a space, no ``=`` means an empty value. ``InvalidURI`` if invalid."""
    if not raw:
        return EMPTY_QUERY
    pieces = raw.split("&")
    if len(pieces) > QUERY_PAIRS_MAX:
        raise InvalidURI
    plain = raw.isascii() and "\0" not in raw
    pairs = []
    for piece in pieces:
        if piece:
            name, _, value = piece.partition("=")
            if "%" in name or "+" in name or not plain:
                name = decode_percent(name, plus_is_space=True)
            if "%" in value or "+" in value or not plain:
                value = decode_percent(value, plus_is_space=True)
            pairs.append((name, value))
    params: dict[str, str] = {}
    for name, value in pairs:
        params.setdefault(name, value)
    return Query(raw, tuple(pairs), params)


def canonicalise_query(query: Query, *, without: str = "") -> str:
    """SigV4's canonical query string: pairs encoded, sorted; ``without``: an unreserved name to leave out."""
    raw = query.raw
    if not raw:
        return ""
    if raw.isascii() and not raw.encode().translate(None, _QUERY_CHARACTERS) and not _ODD_PERCENT.search(raw):
        # Most clients send what they sign: then it only wants sorting.
        pieces = [piece.partition("=") for piece in raw.split("&")]
        if raw.count("=") == len(pieces) and all(equals for _, equals, _ in pieces):
            pieces.sort()
            return "&".join([f"{name}={value}" for name, _, value in pieces if name != without])
    encoded = sorted(
        (encode_component(name), encode_component(value)) for name, value in query.pairs if name != without
    )
    return "&".join([f"{name}={value}" for name, value in encoded])


def split_target(target: str, host: str | None = None) -> tuple[str, str]:
    """(raw path, raw query) of an HTTP request target in origin form; an absolute form loses scheme and authority.

    ``host``: what the Host header says, which an absolute form must not contradict: it names the bucket, and the
    signature is over it. ``InvalidURI`` otherwise.
    """
    if not target.startswith("/"):
        scheme, separator, rest = target.partition("://")
        if not separator or scheme.lower() not in ("http", "https"):
            raise InvalidURI
        slash = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
        if host is not None and rest[:slash].lower() != host.lower():
            raise InvalidURI
        target = rest[slash:] if rest[slash : slash + 1] == "/" else "/" + rest[slash:]
    path, _, query = target.partition("?")
    return path, query
