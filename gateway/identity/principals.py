"""From an access key id to who that is: the lookup every signed request makes, cached by the store's generation.

Fails closed: an unknown key, a disabled key, a key whose user is gone or disabled are all None, and the caller answers
as if the key did not exist. The cache holds only keys that exist, so nobody can fill it with invented ones.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.store.document_format import AccessKeyRecord, UserRecord
from gateway.store.ports import ReadView


class Principal(NamedTuple):
    """Who a verified request comes from."""

    user: UserRecord
    access_key: AccessKeyRecord

    @property
    def id(self) -> str:
        """The user id: what buckets and objects name as their owner."""
        return self.user.id

    @property
    def is_anonymous(self) -> bool:
        """Whether nobody signed."""
        return not self.user.id


ANONYMOUS: Final = Principal(UserRecord(), AccessKeyRecord())
"""Whoever signs nothing: has no id, owns nothing, and may only what is granted to everyone."""


def find_principal(view: ReadView, access_key_id: str) -> Principal | None:
    """The live principal of an access key, or None. No cache."""
    key = view.access_key(access_key_id)
    if key is None or key.disabled or not key.secret:
        return None
    user = view.user(key.user)
    return None if user is None or user.disabled else Principal(user, key)


class PrincipalCache:
    """``find_principal`` remembered until the configuration generation changes. One per process, not thread safe."""

    def __init__(self) -> None:
        self._generation = -1
        self._known: dict[str, Principal] = {}

    def find(self, view: ReadView, access_key_id: str) -> Principal | None:
        """As ``find_principal``; the view decides, so that a disabled key stops working with the next request."""
        if view.generation != self._generation:
            self._known.clear()
            self._generation = view.generation
        found = self._known.get(access_key_id)
        if found is None:
            found = find_principal(view, access_key_id)
            if found is not None:
                self._known[access_key_id] = found
        return found
