"""Access control lists as XML: AccessControlPolicy, out and in. Pure.

What comes in names grantees as the client knows them (a canonical id, an e-mail address, a group's URI); whose they
are is resolved where users are known. Source: Amazon S3 API reference, PutBucketAcl and GetBucketAcl.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from xml.etree.ElementTree import Element

from gateway.s3.acl import CANONICAL_USER, GRANTS_MAX, GROUP, PERMISSIONS, Acl, Grant
from gateway.s3.documents import children, fields_of, parse_document, tag_of, text_of
from gateway.s3.errors import MalformedACLError, MalformedXML, MissingRequestBodyError, escape_text

BY_EMAIL = "AmazonCustomerByEmail"
_XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_XSI = "http://www.w3.org/2001/XMLSchema-instance"


class AclBody(NamedTuple):
    """An ACL as a client wrote it. ``owner`` empty: not given. Grantees by e-mail have kind ``BY_EMAIL``."""

    owner: str
    grants: tuple[Grant, ...]


def render_acl(acl: Acl, name_of: Callable[[str], str]) -> bytes:
    """AccessControlPolicy. ``name_of``: a canonical id's display name, empty if unknown."""

    def who(canonical_id: str) -> str:
        name = name_of(canonical_id)
        shown = f"<DisplayName>{escape_text(name)}</DisplayName>" if name else ""
        return f"<ID>{escape_text(canonical_id)}</ID>{shown}"

    grants = "".join([render_grant(grant, who) for grant in acl.grants])
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<AccessControlPolicy {_XMLNS}><Owner>{who(acl.owner)}</Owner>'
        f"<AccessControlList>{grants}</AccessControlList></AccessControlPolicy>"
    ).encode()


def render_grant(grant: Grant, who: Callable[[str], str]) -> str:
    """One Grant; ``who``: the elements that name a canonical id."""
    named = f"<URI>{escape_text(grant.grantee)}</URI>" if grant.kind == GROUP else who(grant.grantee)
    return (
        f'<Grant><Grantee xmlns:xsi="{_XSI}" xsi:type="{grant.kind}">{named}</Grantee>'
        f"<Permission>{grant.permission}</Permission></Grant>"
    )


def parse_acl(body: bytes) -> AclBody:
    """The AccessControlPolicy in ``body``; ``MalformedACLError`` for anything else."""
    try:
        return _parse_acl(parse_document(body, "AccessControlPolicy"))
    except (MalformedXML, MissingRequestBodyError):
        raise MalformedACLError from None


def _parse_acl(document: Element) -> AclBody:
    owner = ""
    grants: list[Grant] | None = None
    for name, child in children(document, "Owner", "AccessControlList"):
        if name == "Owner":
            owner = fields_of(child, "ID", "DisplayName").get("ID", "").strip()
        elif grants is not None:
            raise MalformedXML
        else:
            grants = [parse_grant(grant) for _, grant in children(child, "Grant")]
    if grants is None or len(grants) > GRANTS_MAX:
        raise MalformedXML
    return AclBody(owner, tuple(grants))


def parse_grant(element: Element) -> Grant:
    """One Grant; ``MalformedXML`` for anything else."""
    found = dict(children(element, "Grantee", "Permission"))
    if len(found) != 2 or len(element) != 2:
        raise MalformedXML
    permission = text_of(found["Permission"]).strip()
    if permission not in PERMISSIONS:
        raise MalformedXML
    grantee = found["Grantee"]
    kind = grantee.get(f"{{{_XSI}}}type", "").rpartition(":")[2]
    texts = {tag_of(child): text_of(child).strip() for child in grantee}
    wanted = {CANONICAL_USER: "ID", GROUP: "URI", BY_EMAIL: "EmailAddress"}
    if not kind:  # clients that leave the attribute out
        kind = next((name for name, field in wanted.items() if field in texts), "")
    if not texts.get(wanted.get(kind, "")):
        raise MalformedXML
    return Grant(kind, texts[wanted[kind]], permission)
