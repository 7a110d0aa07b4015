"""How principals are named: account ids, ARNs, unique ids. The one scheme, for policies, IAM and answers alike. Pure.

    account   A user that lives in no other user's account is an account of its own. Its account id has 12 decimal
              digits: the user's id if that is 12 digits, else the number BLAKE3(user id) modulo 10^12.
    user      ``arn:aws:iam::<account id>:root`` for the account's own user, which may do all in it;
              ``arn:aws:iam::<account id>:user/<path><name>`` for one that lives in it (``UserRecord.account``
              is the account user's id, ``path`` its path: "/" or "/division/")
    role      ``arn:aws:iam::<account id>:role/<path><name>``
    session   ``arn:aws:sts::<account id>:assumed-role/<role name>/<session name>``

Where AWS takes an account id, a user id or canonical id is taken too: those are what
``skerry user list`` shows. For the same reason an account's own user also answers to ``user/<its name>`` and
``user/<its id>``, and a user id may stand in an ARN without account.
"""

from __future__ import annotations

from functools import lru_cache

import blake3

from gateway.store.document_format import UserRecord


@lru_cache(maxsize=4096)
def account_id(user_id: str) -> str:
    """The 12-digit account id of the account whose own user has this id; "anonymous" for nobody."""
    if not user_id:
        return "anonymous"
    if len(user_id) == 12 and user_id.isascii() and user_id.isdecimal():
        return user_id
    return f"{int.from_bytes(blake3.blake3(user_id.encode()).digest()[:16], 'big') % 10**12:012d}"


def account_of(user: UserRecord) -> str:
    """The user id of the account that ``user`` lives in: its own, unless it was made inside another's."""
    return user.account or user.id


def path_of(user: UserRecord) -> str:
    """The path of an IAM user, "/" at both ends."""
    return user.path or "/"


def user_arn(user: UserRecord) -> str:
    """The ARN of a user: its account's root, or a user in one."""
    account = account_of(user)
    if account == user.id:
        return f"arn:aws:iam::{account_id(account)}:root"
    return f"arn:aws:iam::{account_id(account)}:user{path_of(user)}{user.name}"


def role_arn(account: str, path: str, name: str) -> str:
    """The ARN of a role. ``account``: the account's user id; ``path``: "/" at both ends."""
    return f"arn:aws:iam::{account_id(account)}:role{path}{name}"


def session_arn(account: str, role: str, session: str) -> str:
    """The ARN of an assumed role's session. ``role``: its name without path."""
    return f"arn:aws:sts::{account_id(account)}:assumed-role/{role}/{session}"


def federated_arn(account: str, name: str) -> str:
    """The ARN of a session that a user of the account made for somebody else."""
    return f"arn:aws:sts::{account_id(account)}:federated-user/{name}"


def names_account(text: str, account: str) -> bool:
    """Whether ``text`` (what stands for an account in a policy or header) means the account of this user id."""
    return bool(account) and text in (account, account_id(account))
