"""Roles: who may assume them is their trust policy, what they may are their policies. Decisions, nothing else.

A role is found by its name in its account; its unique id is new with every role, so that sessions of a deleted role do
not live on in another of its name.
"""

from __future__ import annotations

from typing import Final

from gateway.identity.arns import account_id, role_arn
from gateway.identity.identity_policies import attached_policies, inline_policies, remove_all_policies
from gateway.identity.policy_texts import check_trust
from gateway.s3.query_errors import DeleteConflict, EntityAlreadyExists, LimitExceeded
from gateway.store.identity_format import RoleRecord, decode_identity, encode_identity
from gateway.store.ports import ReadView, WriteView

ROLES_MAX: Final = 1000


def arn_of_role(role: RoleRecord) -> str:
    """The ARN of a role."""
    return role_arn(role.account, role.path, role.name)


def list_roles(view: ReadView, account: str) -> list[RoleRecord]:
    """An account's roles, by name."""
    return [decode_identity(RoleRecord, body) for _, body in view.identities(f"role/{account}/")]


def find_role(view: ReadView, account: str, name: str) -> RoleRecord | None:
    """A role by name, in any case."""
    body = view.identity(f"role/{account}/{name.lower()}")
    return None if body is None else decode_identity(RoleRecord, body)


def find_role_by_arn(view: ReadView, arn: str) -> RoleRecord | None:
    """The role with exactly this ARN, in whichever account."""
    number, _, resource = arn.removeprefix("arn:aws:iam::").partition(":")
    for user in view.users():
        if not user.account and account_id(user.id) == number:
            role = find_role(view, user.id, resource.rpartition("/")[2])
            if role is not None and arn_of_role(role) == arn:
                return role
    return None


def create_role(view: WriteView, role: RoleRecord) -> RoleRecord:
    """Store a new role. ``EntityAlreadyExists``, ``LimitExceeded``, ``MalformedPolicyDocument``."""
    check_trust(role.trust)
    if find_role(view, role.account, role.name) is not None:
        raise EntityAlreadyExists(f"Role with name {role.name} already exists.")
    if len(view.identities(f"role/{role.account}/")) >= ROLES_MAX:
        raise LimitExceeded(f"Cannot exceed quota for RolesPerAccount: {ROLES_MAX}")
    save_role(view, role)
    return role


def save_role(view: WriteView, role: RoleRecord) -> None:
    """Store what changed of a role."""
    view.put_identity(f"role/{role.account}/{role.name.lower()}", encode_identity(role))


def delete_role(view: WriteView, role: RoleRecord) -> None:
    """Remove a role without policies; ``DeleteConflict``. Its sessions end with it."""
    if attached_policies(view, role.id):
        raise DeleteConflict("Cannot delete entity, must detach all policies first.")
    if inline_policies(view, role.id):
        raise DeleteConflict("Cannot delete entity, must delete policies first.")
    remove_all_policies(view, role.id)
    view.put_identity(f"role/{role.account}/{role.name.lower()}", None)
