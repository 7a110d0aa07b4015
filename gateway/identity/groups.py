"""Groups of users: found, made, left empty, deleted. Each function is a decision inside one snapshot or commit."""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.identity.arns import account_id
from gateway.identity.identity_policies import attached_policies, groups_of, inline_policies, remove_all_policies
from gateway.identity.users import new_unique_id
from gateway.s3.query_errors import DeleteConflict, EntityAlreadyExists, LimitExceeded, NoSuchEntity
from gateway.store.document_format import UserRecord
from gateway.store.identity_format import GroupRecord, decode_identity, encode_identity
from gateway.store.ports import ReadView, WriteView

GROUPS_PER_USER_MAX: Final = 10
GROUPS_MAX: Final = 300
_PRESENT: Final = b"1"


def group_arn(group: GroupRecord) -> str:
    """The ARN of a group."""
    return f"arn:aws:iam::{account_id(group.account)}:group{group.path}{group.name}"


def list_groups(view: ReadView, account: str) -> list[GroupRecord]:
    """An account's groups, by name."""
    return [decode_identity(GroupRecord, body) for _, body in view.identities(f"group/{account}/")]


def find_group(view: ReadView, account: str, name: str) -> GroupRecord | None:
    """A group by name, in any case."""
    body = view.identity(f"group/{account}/{name.lower()}")
    return None if body is None else decode_identity(GroupRecord, body)


def create_group(view: WriteView, account: str, name: str, path: str) -> GroupRecord:
    """A new group. ``EntityAlreadyExists``, ``LimitExceeded``."""
    if find_group(view, account, name) is not None:
        raise EntityAlreadyExists(f"Group with name {name} already exists.")
    if len(view.identities(f"group/{account}/")) >= GROUPS_MAX:
        raise LimitExceeded(f"Cannot exceed quota for GroupsPerAccount: {GROUPS_MAX}")
    group = GroupRecord(id=new_unique_id("AGPA"), account=account, name=name, path=path, created_ms=view.now_ms)
    _save(view, group)
    return group


def update_group(view: WriteView, group: GroupRecord, name: str, path: str) -> None:
    """Give a group another name or path."""
    if name.lower() != group.name.lower():
        if find_group(view, group.account, name) is not None:
            raise EntityAlreadyExists(f"Group with name {name} already exists.")
        view.put_identity(_item(group), None)
    _save(view, msgspec.structs.replace(group, name=name, path=path))


def delete_group(view: WriteView, group: GroupRecord) -> None:
    """Remove a group that nobody is in and that has no policies; ``DeleteConflict``."""
    if members_of(view, group):
        raise DeleteConflict("Cannot delete entity, must remove users from group first.")
    if attached_policies(view, group.id):
        raise DeleteConflict("Cannot delete entity, must detach all policies first.")
    if inline_policies(view, group.id):
        raise DeleteConflict("Cannot delete entity, must delete policies first.")
    remove_all_policies(view, group.id)
    view.put_identity(_item(group), None)


def members_of(view: ReadView, group: GroupRecord) -> list[UserRecord]:
    """The users in a group, by name."""
    found = [name.split("/", 2) for name, _ in view.identities("member/")]
    users = [view.user(user_id) for _, user_id, group_id in found if group_id == group.id]
    return sorted([user for user in users if user is not None], key=lambda user: user.name)


def add_member(view: WriteView, group: GroupRecord, user: UserRecord) -> None:
    """Put a user into a group; again is no error."""
    present = groups_of(view, user.id)
    if group.id not in present:
        if len(present) >= GROUPS_PER_USER_MAX:
            raise LimitExceeded(f"Cannot exceed quota for GroupsPerUser: {GROUPS_PER_USER_MAX}")
        view.put_identity(f"member/{user.id}/{group.id}", _PRESENT)


def remove_member(view: WriteView, group: GroupRecord, user: UserRecord) -> None:
    """Take a user out of a group; ``NoSuchEntity`` if it is not in it."""
    if group.id not in groups_of(view, user.id):
        raise NoSuchEntity(f"User {user.name} is not in group {group.name}.")
    view.put_identity(f"member/{user.id}/{group.id}", None)


def _item(group: GroupRecord) -> str:
    return f"group/{group.account}/{group.name.lower()}"


def _save(view: WriteView, group: GroupRecord) -> None:
    view.put_identity(_item(group), encode_identity(group))
