"""An ACL asked for by headers: a canned one, or grants in ``x-amz-grant-*``, never both. Pure.

    x-amz-grant-read: id="79a5…", uri="http://acs.amazonaws.com/groups/global/AllUsers", emailAddress="a@example.com"

Grantees are as the client names them. Source: Amazon S3 User Guide, "Access control list (ACL) overview".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from gateway.s3.acl import (
    CANNED,
    CANONICAL_USER,
    FULL_CONTROL,
    GRANTS_MAX,
    GROUP,
    READ,
    READ_ACP,
    WRITE,
    WRITE_ACP,
    Grant,
)
from gateway.s3.acl_xml import BY_EMAIL
from gateway.s3.errors import InvalidRequest, invalid_argument

_GRANTS: Final = {
    "x-amz-grant-full-control": FULL_CONTROL,
    "x-amz-grant-read": READ,
    "x-amz-grant-write": WRITE,
    "x-amz-grant-read-acp": READ_ACP,
    "x-amz-grant-write-acp": WRITE_ACP,
}
ACL_HEADERS: Final = frozenset({"x-amz-acl", *_GRANTS})
_FOR_BUCKET_OWNER: Final = frozenset({"private", "bucket-owner-read", "bucket-owner-full-control"})
_KINDS: Final = {"id": CANONICAL_USER, "uri": GROUP, "emailaddress": BY_EMAIL}
_GRANTEE: Final = re.compile(r'\s*(id|uri|emailAddress)\s*=\s*(?:"([^"]*)"|([^",\s]+))\s*', re.IGNORECASE)


class AclRequest(NamedTuple):
    """An ACL by headers: a canned one's name, or grants whose grantees are not resolved yet; never both."""

    canned: str = ""
    grants: tuple[Grant, ...] = ()


def parse_acl_headers(headers: Mapping[str, str]) -> AclRequest | None:
    """The ACL that ``headers`` (folded) ask for; None if they do not. ``InvalidArgument``, ``InvalidRequest``."""
    if ACL_HEADERS.isdisjoint(headers):
        return None
    canned = headers.get("x-amz-acl")
    grants = [
        grant
        for name, permission in _GRANTS.items()
        if name in headers
        for grant in _parse_grants(name, headers[name], permission)
    ]
    if canned is None:
        if len(grants) > GRANTS_MAX:
            raise InvalidRequest(f"The request exceeds the maximum of {GRANTS_MAX} grants")
        return AclRequest("", tuple(grants))
    if not _GRANTS.keys().isdisjoint(headers):
        raise InvalidRequest("Specifying both Canned ACLs and Header Grants is not allowed")
    if canned not in CANNED:
        raise invalid_argument("Argument x-amz-acl is not a canned ACL", "x-amz-acl", canned)
    return AclRequest(canned)


def gives_only_to(headers: Mapping[str, str], ids: Collection[str]) -> bool:
    """Whether the ACL by ``headers`` gives nothing to anybody but the writer and the bucket's owner, who is ``ids``."""
    asked = parse_acl_headers(headers)
    if asked is None or asked.canned:
        return asked is None or asked.canned in _FOR_BUCKET_OWNER
    return all(grant.kind == CANONICAL_USER and grant.grantee in ids for grant in asked.grants)


def _parse_grants(name: str, value: str, permission: str) -> list[Grant]:
    """The grantees in one header, each given ``permission``."""
    found = []
    at = 0
    while True:
        match = _GRANTEE.match(value, at)
        if match is None or (match.end() < len(value) and value[match.end()] != ","):
            raise invalid_argument("Argument format not recognized", name, value)
        quoted, plain = match[2], match[3]
        found.append(Grant(_KINDS[match[1].lower()], quoted if quoted is not None else plain, permission))
        at = match.end() + 1
        if at > len(value):
            return found
