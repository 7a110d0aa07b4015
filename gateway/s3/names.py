"""Bucket names, keys, and where a request points: path-style or virtual-host style. Pure.

Keys are whatever 1 to 1,024 bytes of UTF-8 (without NUL) the client sent, decoded exactly once; ``//``, ``.`` and
``..`` are literal. What is parsed here is what is authorised and stored; the raw path goes to the signature check
as it came.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from gateway.s3.errors import InvalidBucketName, InvalidURI, KeyTooLongError
from gateway.s3.uri import decode_percent

KEY_BYTES_MAX: Final = 1024
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_IP_ADDRESS: Final = re.compile(r"\d{1,3}(\.\d{1,3}){3}")
_RESERVED_PREFIXES: Final = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_SUFFIXES: Final = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


class Target(NamedTuple):
    """What a request addresses. ``key`` is None for the bucket itself, both are None for the service.

    ``raw_path`` is the path as it arrived (for the signature); ``virtual_host``: whether the bucket came from Host.
    """

    bucket: str | None
    key: str | None
    raw_path: str
    virtual_host: bool = False

    @property
    def key_bytes(self) -> bytes:
        """The key as the store has it; only for a target with a key."""
        assert self.key is not None
        return self.key.encode()


def is_valid_bucket_name(name: str) -> bool:
    """Whether AWS's rules for general purpose buckets allow ``name`` (User Guide, "Bucket naming rules")."""
    return (
        _BUCKET.fullmatch(name) is not None
        and ".." not in name
        and not _IP_ADDRESS.fullmatch(name)
        and not name.startswith(_RESERVED_PREFIXES)
        and not name.endswith(_RESERVED_SUFFIXES)
    )


def check_bucket_name(name: str) -> str:
    """``name``, or ``InvalidBucketName``."""
    if not is_valid_bucket_name(name):
        raise InvalidBucketName(None, BucketName=name)
    return name


def check_key(key: str) -> str:
    """``key`` if it is 1 to 1,024 bytes of UTF-8 without NUL; ``KeyTooLongError`` or ``InvalidURI`` otherwise."""
    try:
        size = len(key) if key.isascii() else len(key.encode())
    except UnicodeEncodeError:
        raise InvalidURI from None
    if size > KEY_BYTES_MAX:
        raise KeyTooLongError(None, Size=size, MaxSizeAllowed=KEY_BYTES_MAX)
    if not size or "\0" in key:
        raise InvalidURI
    return key


@lru_cache(maxsize=4096)
def split_host(host: str, domains: tuple[str, ...]) -> str | None:
    """The bucket a Host header names under one of ``domains`` (lower case, no port), or None for path style."""
    name = host.rpartition(":")[0] if re.search(r":\d*$", host) else host
    name = name.lower().rstrip(".")
    for domain in domains:
        if name.endswith("." + domain):
            return name[: -len(domain) - 1]
    return None


def parse_target(raw_path: str, host: str, domains: tuple[str, ...] = ()) -> Target:
    """Bucket and key of a raw request path (no query). Raises ``InvalidURI``, ``KeyTooLongError``.

    A bucket's name is not validated here: what does not exist is NoSuchBucket, and creating checks the name.
    """
    if not raw_path.startswith("/"):
        raise InvalidURI
    bucket = split_host(host, domains) if domains else None
    if bucket:
        raw_key = raw_path[1:]
        return Target(bucket, check_key(decode_percent(raw_key)) if raw_key else None, raw_path, True)
    raw_bucket, _, raw_key = raw_path[1:].partition("/")
    if not raw_bucket:
        if raw_key:
            raise InvalidBucketName(None, BucketName="")
        return Target(None, None, raw_path)
    key = check_key(decode_percent(raw_key)) if raw_key else None
    return Target(decode_percent(raw_bucket), key, raw_path)
