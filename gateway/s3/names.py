"""Bucket names, keys, and where a request points: path-style or virtual-host style. Pure.

Keys are whatever 1 to 1,024 bytes of UTF-8 (without NUL) the client sent, decoded exactly once; ``//``, ``.`` and
``..`` are literal. What is parsed here is what is authorised and stored; the raw path goes to the signature check
as it came.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from gateway.s3.errors import InvalidBucketName, InvalidURI, KeyTooLongError, NoSuchBucket, S3Error
from gateway.s3.uri import decode_percent

KEY_BYTES_MAX: Final = 1024
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"  # as DNS has it; S3 refuses hyphens beside periods, too
_BUCKET: Final = re.compile(rf"(?=.{{3,63}}$){_LABEL}(?:\.{_LABEL})*")
_OLD_BUCKET: Final = re.compile(r"[A-Za-z0-9._-]{3,255}")
_IP_ADDRESS: Final = re.compile(r"\d{1,3}(\.\d{1,3}){3}")
_PORT: Final = re.compile(r":\d*$")
_LOCAL: Final = "localhost"  # *.localhost is this machine (RFC 6761): virtual hosts without a name server
_HOSTS_KNOWN_MAX: Final = 4096
_HOST_LENGTH_MAX: Final = 260  # a name of 253 (RFC 1035) and a port
_RESERVED_PREFIXES: Final = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_SUFFIXES: Final = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


class Target(NamedTuple):
    """What a request addresses. ``key`` is None for the bucket itself, both are None for the service.

    ``raw_path`` is the path as it arrived (for the signature); ``virtual_host``: whether the bucket came from Host;
    ``website``: whether it asks for the bucket's website and not for S3.
    """

    bucket: str | None
    key: str | None
    raw_path: str
    virtual_host: bool = False
    website: bool = False

    @property
    def key_bytes(self) -> bytes:
        """The key as the store has it; only for a target with a key."""
        assert self.key is not None
        return self.key.encode()


def is_valid_bucket_name(name: str) -> bool:
    """Whether AWS's rules for general purpose buckets allow ``name`` (User Guide, "Bucket naming rules")."""
    return (
        _BUCKET.fullmatch(name) is not None
        and not _IP_ADDRESS.fullmatch(name)
        and not name.startswith(_RESERVED_PREFIXES)
        and not name.endswith(_RESERVED_SUFFIXES)
    )


def check_bucket_name(name: str) -> str:
    """``name``, or ``InvalidBucketName``."""
    if not is_valid_bucket_name(name):
        raise InvalidBucketName(None, BucketName=name)
    return name


def missing_bucket(name: str) -> S3Error:
    """The error for a bucket that is not there: ``NoSuchBucket``, or ``InvalidBucketName`` for what not even the rules
    of us-east-1 before 2018 allowed, as AWS tells them apart.
    """
    return (NoSuchBucket if _OLD_BUCKET.fullmatch(name) else InvalidBucketName)(None, BucketName=name)


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


def split_host(host: str, domains: tuple[str, ...]) -> str | None:
    """The bucket a Host header names under one of ``domains`` (lower case, no port), or None for path style."""
    found = HostNames(domains).find(host)
    return found.bucket if found is not None else None


class HostTarget(NamedTuple):
    """The bucket a Host names, and whether it asks for its website."""

    bucket: str
    website: bool


class HostNames:
    """What the names in Host mean: domains whose first labels are a bucket, domains of websites, domains of clients.

    ``domains`` (and ``localhost``): ``bucket.domain``; the domain itself is path style. ``website_domains``:
    ``bucket.domain`` is the website of a bucket, the domain itself that of the bucket of this name. ``custom``: any
    other name with a dot is the bucket of that name, as with a CNAME to AWS. Of several that fit, the longest counts.
    IP addresses are never buckets. All in lower case, without ports.
    """

    __slots__ = ("_custom", "_domains", "_known")

    def __init__(
        self, domains: tuple[str, ...] = (), website_domains: tuple[str, ...] = (), *, custom: bool = False
    ) -> None:
        listed = [(domain, False) for domain in (*domains, _LOCAL)] + [(domain, True) for domain in website_domains]
        self._domains = sorted(listed, key=lambda entry: len(entry[0]), reverse=True)
        self._custom = custom
        self._known: dict[str, HostTarget | None] = {}

    def find(self, host: str) -> HostTarget | None:
        """What a Host header names; None for path style."""
        try:
            return self._known[host]
        except KeyError:
            pass
        found = self._read(host)
        if len(host) <= _HOST_LENGTH_MAX:  # else it is no host's name, and whoever invents it fills no memory
            if len(self._known) >= _HOSTS_KNOWN_MAX:
                self._known.clear()
            self._known[host] = found
        return found

    def _read(self, host: str) -> HostTarget | None:
        name = _PORT.sub("", host).lower().rstrip(".")
        if name.startswith("[") or _IP_ADDRESS.fullmatch(name):
            return None
        for domain, website in self._domains:
            if name == domain:
                return HostTarget(name, True) if website else None
            if name.endswith("." + domain):
                bucket = name[: -len(domain) - 1]
                return HostTarget(bucket, website) if bucket else None
        return HostTarget(name, False) if self._custom and "." in name and is_valid_bucket_name(name) else None


NO_DOMAINS: Final = HostNames()


def parse_target(raw_path: str, host: str, hosts: HostNames = NO_DOMAINS) -> Target:
    """Bucket and key of a raw request path (no query). Raises ``InvalidURI``, ``KeyTooLongError``.

    A bucket's name is not validated here: ``missing_bucket`` says what does not exist, and creating checks the name.
    """
    if not raw_path.startswith("/"):
        raise InvalidURI
    named = hosts.find(host)
    if named is not None:
        raw_key = raw_path[1:]
        key = check_key(decode_percent(raw_key)) if raw_key else None
        return Target(named.bucket, key, raw_path, True, named.website)
    raw_bucket, _, raw_key = raw_path[1:].partition("/")
    if not raw_bucket:
        if raw_key:
            raise InvalidBucketName(None, BucketName="")
        return Target(None, None, raw_path)
    key = check_key(decode_percent(raw_key)) if raw_key else None
    return Target(decode_percent(raw_bucket), key, raw_path)
