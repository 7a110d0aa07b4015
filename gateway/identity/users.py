"""Creating users and access keys, and the root user of a site: what the command and the first start use.

Pure, but for ``secrets`` and the commit of ``ensure_root``. Ids are never reused: a user's id is its canonical id, 64
random hex digits (or what the operator asked for). The root user has the *same* id on every site of a realm, so that a
bucket that two islands created as root before they met is one bucket; its access keys are each site's own.

Not here: who may do what (``authorize``), and looking a key up for a request (``principals``).
"""

from __future__ import annotations

import re
import secrets
import string
from typing import Final, NamedTuple

import blake3

from gateway.store.document_format import AccessKeyRecord, UserRecord
from gateway.store.ports import Store, WriteView

ROOT_NAME: Final = "root"
ROOT_ID: Final = blake3.blake3(b"skerry: the root user of a realm").hexdigest()

_KEY_ALPHABET: Final = string.ascii_uppercase + "234567"
_SECRET_ALPHABET: Final = string.ascii_letters + string.digits
_KEY_ID: Final = re.compile(r"[A-Za-z0-9_.=@+-]{3,128}")
_SECRET: Final = re.compile(r"[\x21-\x7e]{8,256}")
_USER_ID: Final = re.compile(r"[A-Za-z0-9_.=@+$:-]{1,64}")
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,64}")


class BadIdentity(ValueError):
    """A name, id, access key or secret that cannot be used; the message says which and why, never the secret."""


class Issued(NamedTuple):
    """A user with the access key just made for it."""

    user: UserRecord
    key: AccessKeyRecord


def new_access_key_id() -> str:
    """20 characters of the form AWS uses: ``AKIA`` and 16 of base32 (80 random bits)."""
    return "AKIA" + "".join(secrets.choice(_KEY_ALPHABET) for _ in range(16))


def new_unique_id(prefix: str) -> str:
    """An id of the form of AWS's unique ids: ``prefix`` (``AIDA`` a user …) and 17 of base32 (85 random bits)."""
    return prefix + "".join(secrets.choice(_KEY_ALPHABET) for _ in range(17))


def new_secret() -> str:
    """40 letters and digits, 238 random bits."""
    return "".join(secrets.choice(_SECRET_ALPHABET) for _ in range(40))


def new_user(name: str, *, now_ms: int, user_id: str = "", email: str = "", admin: bool = False) -> UserRecord:
    """A new user that is an account of its own. ``user_id`` (default: 64 random hex digits) is also its canonical id.
    Raises ``BadIdentity``.
    """
    if not _NAME.fullmatch(name):
        raise BadIdentity("a user's name has 1 to 64 characters and no control characters")
    if user_id and not _USER_ID.fullmatch(user_id):
        raise BadIdentity("a user id has 1 to 64 of A-Z a-z 0-9 _ . = @ + $ : -")
    ident = user_id or secrets.token_hex(32)
    return UserRecord(id=ident, name=name, canonical_id=ident, email=email, admin=admin, created_ms=now_ms)


def new_access_key(user_id: str, *, now_ms: int, access_key_id: str = "", secret: str = "") -> AccessKeyRecord:
    """A new access key of a user; id and secret are generated unless given. Raises ``BadIdentity``."""
    if access_key_id and not _KEY_ID.fullmatch(access_key_id):
        raise BadIdentity("an access key id has 3 to 128 of A-Z a-z 0-9 _ . = @ + -")
    if secret and not _SECRET.fullmatch(secret):
        raise BadIdentity("a secret key has 8 to 256 printable characters and no spaces")
    return AccessKeyRecord(
        id=access_key_id or new_access_key_id(), secret=secret or new_secret(), user=user_id, created_ms=now_ms
    )


def add_user(view: WriteView, user: UserRecord, key: AccessKeyRecord) -> Issued:
    """Store a new user with its first key, inside a commit. ``BadIdentity`` if the id, name or key id is taken."""
    if view.user(user.id) is not None:
        raise BadIdentity(f"the user id {user.id} exists already")
    if any(other.name == user.name and other.account == user.account for other in view.users()):
        raise BadIdentity(f"a user named {user.name!r} exists already")
    if view.access_key(key.id) is not None:
        raise BadIdentity(f"the access key id {key.id} exists already")
    view.put_user(user)
    view.put_access_key(key)
    return Issued(user, key)


async def ensure_root(store: Store, *, access_key_id: str = "", secret: str = "") -> AccessKeyRecord | None:
    """See to it that the root user exists and has a key: with the given credentials if any, else generated once.

    Returns the key if this call made or changed it (to be shown once), None if all was there. A given access key id
    that belongs to another user is ``BadIdentity``: no fallback, no silent take-over.
    """
    if bool(access_key_id) != bool(secret):
        raise BadIdentity("the root access key and its secret are given together or not at all")

    def decide(view: WriteView) -> AccessKeyRecord | None:
        if view.user(ROOT_ID) is None:
            view.put_user(new_user(ROOT_NAME, now_ms=view.now_ms, user_id=ROOT_ID, admin=True))
        if not access_key_id:
            if any(not key.disabled for key in view.access_keys(ROOT_ID)):
                return None
        else:
            known = view.access_key(access_key_id)
            if known is not None and known.user != ROOT_ID:
                raise BadIdentity(f"the access key id {access_key_id} belongs to another user")
            if known is not None and not known.disabled and secrets.compare_digest(known.secret, secret):
                return None
        key = new_access_key(ROOT_ID, now_ms=view.now_ms, access_key_id=access_key_id, secret=secret)
        view.put_access_key(key)
        return key

    return await store.commit(decide)
