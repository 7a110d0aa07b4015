"""The users inside an account: found by name, made, renamed, deleted; and their access keys. Decisions of IAM's verbs.

An account's own user (made by ``skerry user add`` or root) is found by its name, too, but only keys are made for it
here: it is the command's to rename or delete. Names are one account's, in any case of their letters. Where two sites
made a user of one name before they met, the earlier is found by it, and the other by its id.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from gateway.identity.identity_policies import attached_policies, groups_of, inline_policies, remove_all_policies
from gateway.identity.users import new_access_key, new_unique_id
from gateway.s3.query_errors import DeleteConflict, EntityAlreadyExists, LimitExceeded, NoSuchEntity
from gateway.store.document_format import AccessKeyRecord, UserRecord
from gateway.store.ports import ReadView, WriteView

ENTITY_NAME: Final = re.compile(r"[\w+=,.@-]+", re.ASCII)
"""Names of users, groups, roles and policies."""
NAME_CHARACTERS_MAX: Final = 64
KEYS_MAX: Final = 2
USERS_MAX: Final = 5000


def list_account_users(view: ReadView, account: str) -> list[UserRecord]:
    """The users inside an account (not its own), by name."""
    return sorted([user for user in view.users() if user.account == account], key=lambda user: user.name)


def find_account_user(view: ReadView, account: str, name: str) -> UserRecord | None:
    """A user of an account by name (in any case) or id; the account's own user among them."""
    found = [user for user in list_account_users(view, account) if user.name.lower() == name.lower()]
    if found:
        return min(found, key=lambda user: (user.created_ms, user.id))
    user = view.user(name)
    if user is not None and account in (user.account, user.id):
        return user
    own = view.user(account)
    return own if own is not None and own.name.lower() == name.lower() else None


def create_account_user(view: WriteView, account: str, name: str, path: str, tags: dict[str, str]) -> UserRecord:
    """A new user without any rights. Its canonical id is the account's: what it makes is the account's."""
    if find_account_user(view, account, name) is not None:
        raise EntityAlreadyExists(f"User with name {name} already exists.")
    if len(list_account_users(view, account)) >= USERS_MAX:
        raise LimitExceeded(f"Cannot exceed quota for UsersPerAccount: {USERS_MAX}")
    owner = view.user(account)
    user = UserRecord(
        id=new_unique_id("AIDA"),
        name=name,
        canonical_id=owner.canonical_id if owner is not None else account,
        created_ms=view.now_ms,
        account=account,
        path=path,
        tags=tags,
    )
    view.put_user(user)
    return user


def rename_account_user(view: WriteView, user: UserRecord, name: str, path: str) -> None:
    """Give a user another name or path."""
    known = find_account_user(view, user.account, name)
    if known is not None and known.id != user.id:
        raise EntityAlreadyExists(f"User with name {name} already exists.")
    view.put_user(msgspec.structs.replace(user, name=name, path=path))


def set_user_tags(view: WriteView, user: UserRecord, tags: dict[str, str]) -> None:
    """Replace a user's tags."""
    view.put_user(msgspec.structs.replace(user, tags=tags))


def delete_account_user(view: WriteView, user: UserRecord) -> None:
    """Remove a user that has no keys, policies or groups left; ``DeleteConflict``."""
    if attached_policies(view, user.id):
        raise DeleteConflict("Cannot delete entity, must detach all policies first.")
    if inline_policies(view, user.id):
        raise DeleteConflict("Cannot delete entity, must delete policies first.")
    if groups_of(view, user.id):
        raise DeleteConflict("Cannot delete entity, must remove users from group first.")
    if view.access_keys(user.id):
        raise DeleteConflict("Cannot delete entity, must delete access keys first.")
    remove_all_policies(view, user.id)
    view.delete_user(user.id)


def create_key(view: WriteView, user: UserRecord) -> AccessKeyRecord:
    """A new access key; a user has at most two."""
    if len(view.access_keys(user.id)) >= KEYS_MAX:
        raise LimitExceeded(f"Cannot exceed quota for AccessKeysPerUser: {KEYS_MAX}")
    key = new_access_key(user.id, now_ms=view.now_ms)
    view.put_access_key(key)
    return key


def find_key(view: ReadView, user: UserRecord, key_id: str) -> AccessKeyRecord:
    """An access key of a user, or ``NoSuchEntity``."""
    key = view.access_key(key_id)
    if key is None or key.user != user.id:
        raise NoSuchEntity(f"The Access Key with id {key_id} cannot be found.")
    return key


def set_key_status(view: WriteView, key: AccessKeyRecord, *, disabled: bool) -> None:
    """Let a key in no more, or again."""
    view.put_access_key(msgspec.structs.replace(key, disabled=disabled))
