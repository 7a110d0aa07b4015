"""Who the grantees of an ACL are: canonical ids and e-mail addresses against the users there are, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gateway.operations.context import find_owner
from gateway.s3.acl import CANONICAL_USER, Acl
from gateway.store.ports import ReadView


class ShownAcl(NamedTuple):
    """An ACL as an answer shows it; ``names``: display names by canonical id, of those who are known."""

    acl: Acl
    names: Mapping[str, str]


def show_acl(view: ReadView, acl: Acl) -> ShownAcl:
    """``acl`` with the names of everybody in it."""
    ids = {acl.owner, *(grant.grantee for grant in acl.grants if grant.kind == CANONICAL_USER)}
    return ShownAcl(acl, {user_id: find_owner(view, user_id).name for user_id in ids})
