"""Whom the ARNs of users and roles in a policy meant when it was put: their unique ids, kept beside the policy.

An ARN is a name, and a name can be given again: whoever makes a user of a deleted one's name anew must not get what was
allowed to that one, and a user that is renamed keeps it (IAM User Guide, "AWS JSON policy elements: Principal"). So a
policy that is put into force takes along

    JSON: {"policy": BLAKE3 of the policy's bytes, hex; "ids": {ARN: unique id}}

and is read with the ids in the place of those ARNs. What belongs to other bytes (two sites put policies at once) is not
used: then ARNs are names. Accounts, sessions, federated users and services have no such ids.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import blake3

from gateway.identity.arns import user_arn
from gateway.identity.policy_texts import parse_trust
from gateway.identity.roles import arn_of_role, find_role_by_arn, list_roles
from gateway.s3.policy_document import Policy, Principals
from gateway.store.identity_format import RoleRecord
from gateway.store.ports import ReadView, WriteView


def encode_ids(view: ReadView, body: bytes, policy: Policy) -> bytes | None:
    """What is kept beside a policy; None if it names nobody who has an id."""
    users: dict[str, str] | None = None
    ids: dict[str, str] = {}
    for statement in policy.statements:
        for kind, name in statement.principals.named if statement.principals is not None else ():
            if kind != "AWS" or not name.startswith("arn:"):
                continue
            resource = name.split(":", 5)[-1]
            if resource.startswith("role/") and (role := find_role_by_arn(view, name)) is not None:
                ids[name] = role.id
            elif resource.startswith("user/"):
                users = _users(view) if users is None else users
                ids |= {name: users[name]} if name in users else {}
    if not ids:
        return None
    return json.dumps({"policy": blake3.blake3(body).hexdigest(), "ids": ids}).encode()


def bind_policy(parse: Callable[[bytes], Policy], body: bytes, kept: bytes | None) -> Policy:
    """A policy as it is to be evaluated: with ids in the place of the ARNs they were found for. ``parse``'s errors."""
    return parse(body) if kept is None else _bind(parse, body, kept)


def bind_trust(view: WriteView, role: RoleRecord) -> None:
    """Keep whom a role's trust policy, just set, names."""
    ids = encode_ids(view, role.trust.encode(), parse_trust(role.trust))
    if ids != view.identity(_item(role)):
        view.put_identity(_item(role), ids)


def find_trust(view: ReadView, role: RoleRecord) -> Policy:
    """A role's trust policy as it is to be evaluated."""
    return bind_policy(_parse_trust, role.trust.encode(), view.identity(_item(role)))


def _parse_trust(body: bytes) -> Policy:
    return parse_trust(body.decode())


def _item(role: RoleRecord) -> str:
    return f"bound/{role.id}/trust"


def show_body(view: ReadView, body: bytes, kept: bytes | None) -> bytes:
    """A policy as it is told: ARNs whose holder is gone are its id, of a renamed one the new ARN."""
    ids = _read(body, kept) if kept is not None else {}
    if not ids:
        return body
    current = {user_id: arn for arn, user_id in _users(view).items()}
    current |= {role.id: arn_of_role(role) for account in _accounts(view) for role in list_roles(view, account)}
    for arn, unique_id in ids.items():
        shown = current.get(unique_id, unique_id)
        if shown != arn:
            body = body.replace(json.dumps(arn).encode(), json.dumps(shown).encode())
    return body


@lru_cache(maxsize=1024)
def _bind(parse: Callable[[bytes], Policy], body: bytes, kept: bytes) -> Policy:
    policy, ids = parse(body), _read(body, kept)
    statements = []
    for statement in policy.statements:
        principals = statement.principals
        if principals is not None and ids:
            named = tuple([(kind, ids.get(name, name)) for kind, name in principals.named])
            statement = statement._replace(principals=Principals(principals.negated, principals.everyone, named))
        statements.append(statement)
    return policy._replace(statements=tuple(statements))


def _read(body: bytes, kept: bytes) -> Mapping[str, str]:
    """ARNs and ids, if they were kept for these bytes."""
    try:
        found: dict[str, Any] = json.loads(kept)
    except ValueError:
        return {}
    return found.get("ids", {}) if found.get("policy") == blake3.blake3(body).hexdigest() else {}


def _users(view: ReadView) -> dict[str, str]:
    """Ids of the users inside accounts, by ARN."""
    return {user_arn(user): user.id for user in view.users() if user.account}


def _accounts(view: ReadView) -> list[str]:
    return [user.id for user in view.users() if not user.account]
