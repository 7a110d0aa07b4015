"""What happens to a user after it was made: found by name or id, disabled, enabled, given new keys, deleted.

Each function is a decision inside one commit: what it reads is what it changes. The root user can neither be disabled
nor deleted, and a user that owns buckets or has users in its account cannot be deleted: they would be nobody's. Users
that live in an account are ``account_users``' and found here, too: disabled, given keys or deleted by the operator.
"""

from __future__ import annotations

import msgspec

from gateway.identity.identity_policies import remove_all_policies
from gateway.identity.users import ROOT_ID, BadIdentity, Issued, new_access_key
from gateway.store.document_format import UserRecord
from gateway.store.ports import ReadView, WriteView


class NoSuchUser(BadIdentity):
    """Nobody has this name, id or access key."""


def find_user(view: ReadView, text: str) -> UserRecord:
    """The user with this id, name, e-mail or access key id, in that order; ``NoSuchUser``, or ``BadIdentity``.

    A name means an account rather than a user inside one.
    """
    if (user := view.user(text)) is not None:
        return user
    users = view.users()
    of_accounts = [user for user in users if user.name == text and not user.account]
    for found in (of_accounts, [user for user in users if user.name == text], [u for u in users if u.email == text]):
        if len(found) > 1:  # made on two sites before they met
            raise BadIdentity(f"{len(found)} users are called {text!r}: name one by its id")
        if found and text:
            return found[0]
    key = view.access_key(text)
    owner = view.user(key.user) if key else None
    if owner is None:
        raise NoSuchUser(f"no user, e-mail or access key {text!r}")
    return owner


def set_disabled(view: WriteView, text: str, *, disabled: bool) -> UserRecord:
    """Let a user in no more (or again); its keys and buckets stay."""
    user = find_user(view, text)
    if user.id == ROOT_ID:
        if not disabled:
            return user  # it always is
        raise BadIdentity("the root user cannot be disabled: rotate its keys instead")
    changed = msgspec.structs.replace(user, disabled=disabled)
    view.put_user(changed)
    return changed


def delete_user(view: WriteView, text: str) -> UserRecord:
    """Remove a user and its keys for good; ids are not given out again."""
    user = find_user(view, text)
    if user.id == ROOT_ID:
        raise BadIdentity("the root user cannot be deleted")
    if owned := view.buckets(user.id):
        raise BadIdentity(f"{user.name} owns {len(owned)} buckets (the first is {owned[0].name}): delete those first")
    inside = [other for other in view.users() if other.account == user.id]
    if inside:
        raise BadIdentity(f"{user.name} has {len(inside)} users (the first is {inside[0].name}): delete those first")
    for kind in ("role", "group", "policy", "provider"):
        for name, _ in view.identities(f"{kind}/{user.id}/"):
            view.put_identity(name, None)
    remove_all_policies(view, user.id)
    for key in view.access_keys(user.id):
        view.delete_access_key(key.id)
    view.delete_user(user.id)
    return user


def rotate_keys(view: WriteView, text: str, *, access_key_id: str = "", secret: str = "", keep: bool = False) -> Issued:
    """Give a user a new key; its old ones end with the same commit unless ``keep``."""
    user = find_user(view, text)
    if access_key_id and view.access_key(access_key_id) is not None:
        raise BadIdentity(f"the access key id {access_key_id} exists already")
    if not keep:
        for old in view.access_keys(user.id):
            view.delete_access_key(old.id)
    key = new_access_key(user.id, now_ms=view.now_ms, access_key_id=access_key_id, secret=secret)
    view.put_access_key(key)
    return Issued(user, key)
