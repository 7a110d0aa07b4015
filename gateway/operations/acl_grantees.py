"""Who the grantees of an ACL are: canonical ids, e-mail addresses and groups against the users there are, both ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gateway.identity.arns import account_id, account_of
from gateway.identity.principals import ANONYMOUS_ID
from gateway.operations.context import find_owner
from gateway.s3.acl import CANONICAL_USER, EC2_ID, GROUP, GROUPS, Acl, Grant, canned_acl
from gateway.s3.acl_headers import AclRequest
from gateway.s3.acl_xml import BY_EMAIL, AclBody
from gateway.s3.errors import (
    AccessDenied,
    AmbiguousGrantByEmailAddress,
    MalformedACLError,
    UnresolvableGrantByEmailAddress,
    invalid_argument,
)
from gateway.store.ports import ReadView


class ShownAcl(NamedTuple):
    """An ACL as an answer shows it; ``names``: display names by canonical id, of those who are known."""

    acl: Acl
    names: Mapping[str, str]


def show_acl(view: ReadView, acl: Acl) -> ShownAcl:
    """``acl`` with the names of everybody in it."""
    ids = {acl.owner, *(grant.grantee for grant in acl.grants if grant.kind == CANONICAL_USER)}
    return ShownAcl(acl, {user_id: find_owner(view, user_id).name for user_id in ids})


def resolve_acl(view: ReadView, asked: AclRequest | AclBody, owner: str, bucket_owner: str) -> Acl:
    """The ACL asked for, for something of ``owner`` in a bucket of ``bucket_owner`` (user ids of accounts).

    Raises ``InvalidArgument`` for an unknown id or group, ``UnresolvableGrantByEmailAddress``, and for a document that
    names no owner ``MalformedACLError``, another one ``AccessDenied``.
    """
    if isinstance(asked, AclBody):
        if not asked.owner:
            raise MalformedACLError
        if asked.owner not in (owner, find_owner(view, owner).id):
            raise AccessDenied
    elif asked.canned:
        return canned_acl(asked.canned, owner, bucket_owner)
    return Acl(owner, resolve_grants(view, asked.grants))


def resolve_grants(view: ReadView, grants: Sequence[Grant]) -> tuple[Grant, ...]:
    """``grants`` with accounts for whom they name; errors as ``resolve_acl``."""
    return tuple([_resolve_grant(view, grant) for grant in grants])


def _resolve_grant(view: ReadView, grant: Grant) -> Grant:
    if grant.kind == GROUP:
        if grant.grantee not in GROUPS:
            raise invalid_argument("Invalid group uri", "Group/URI", grant.grantee)
        return grant
    if grant.kind == BY_EMAIL:
        return Grant(CANONICAL_USER, _find_by_email(view, grant.grantee), grant.permission)
    return Grant(CANONICAL_USER, _find_by_id(view, grant.grantee), grant.permission)


def _find_by_id(view: ReadView, text: str) -> str:
    """The account of this canonical id (or account id)."""
    if text in (EC2_ID, ANONYMOUS_ID):
        return text
    user = view.user(text)
    if user is not None and account_of(user) == user.id:
        return user.id
    for user in view.users():
        if account_of(user) == user.id and text in (user.canonical_id, account_id(user.id)):
            return user.id
    raise invalid_argument("Invalid id", "CanonicalUser/ID", text)


def _find_by_email(view: ReadView, email: str) -> str:
    """The account of this e-mail address."""
    found = {account_of(user) for user in view.users() if user.email and user.email.lower() == email.lower()}
    if len(found) > 1:
        raise AmbiguousGrantByEmailAddress
    for account in found:
        return account
    raise UnresolvableGrantByEmailAddress(None, EmailAddress=email)
