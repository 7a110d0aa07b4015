"""Permissions boundaries: the most a user or role may do, whatever its policies allow. A managed policy, by its ARN.

Stands between the items (``boundary/<entity id>/policy``) and ``principals``, which parses the boundary once a
generation. A boundary that was taken back is an item that says so, not one that is gone: where one site takes a
boundary back and another sets one at once, the later of the two counts, as for AWS's last writer. Where the managed
policy is gone, the boundary allows nothing. Accounts' own users and groups have none.
"""

from __future__ import annotations

from typing import Final

from gateway.identity.managed_policies import find_document, find_policy
from gateway.identity.policy_texts import read_identity_policy
from gateway.s3.policy_document import Policy
from gateway.store.ports import ReadView, WriteView

_TAKEN_BACK: Final = b"none"


def boundary_of(view: ReadView, entity: str) -> str:
    """The ARN of an entity's boundary; empty without one."""
    body = view.identity(_item(entity))
    return "" if body is None or body == _TAKEN_BACK else body.decode()


def find_boundary(view: ReadView, account: str, entity: str) -> tuple[Policy, ...] | None:
    """What an entity may at most; None: it has no boundary."""
    arn = boundary_of(view, entity)
    if not arn:
        return None
    document = find_document(view, account, arn)
    return () if document is None else (read_identity_policy(document),)


def put_boundary(view: WriteView, account: str, entity: str, arn: str) -> None:
    """Set an entity's boundary. ``NoSuchEntity`` if the account knows no such policy."""
    find_policy(view, account, arn)
    view.put_identity(_item(entity), arn.encode())


def delete_boundary(view: WriteView, entity: str) -> None:
    """Take an entity's boundary back, if it has one."""
    if boundary_of(view, entity):
        view.put_identity(_item(entity), _TAKEN_BACK)


def _item(entity: str) -> str:
    return f"boundary/{entity}/policy"
