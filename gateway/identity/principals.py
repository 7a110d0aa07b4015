"""From an access key id to who that is: the lookup every signed request makes, cached by the store's generation.

Fails closed: an unknown key, a disabled key, a key whose user is gone or disabled are all None, and the caller answers
as if the key did not exist. The cache holds only keys that exist, so nobody can fill it with invented ones.

What authorization needs of a principal is in it, filled here once a generation (``find_principal``), never per request:

* ``user`` the user, or for a role's session a ``UserRecord`` made of the role (id: the role's unique id, and its name);
* ``account`` the user id of the account it lives in (``arns.account_of``): what buckets and objects name as owner;
* ``policies`` the identity's policies, parsed (``policy_document.parse_policy(text, with_principal=False)``): its own,
  its groups', its role's. They count only for principals that are not an account's own user, which may do all;
* ``session`` the policies a session was narrowed with (None: it was not; all of them are one set, of which one must
  allow). They also narrow an account's own user;
* ``boundary`` what it may at most (None: it has no permissions boundary);
* ``transitive`` names (lower case) of session tags that the sessions it takes on inherit;
* ``role_path``, ``session_name`` of an assumed role's session, else empty;
* ``federated`` what a user called the session it made of itself for somebody else (GetFederationToken), else empty;
* ``values`` further condition keys (lower case) and what they are for it: its tags, who a web identity is.

Whoever makes temporary credentials builds a ``Principal`` with these; ``access_key`` is then one with their secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from gateway.identity.arns import account_of, federated_arn, role_arn, session_arn, user_arn
from gateway.identity.boundaries import find_boundary
from gateway.identity.identity_policies import collect_user_policies
from gateway.s3.errors import InvalidToken
from gateway.s3.policy_document import Policy
from gateway.store.document_format import AccessKeyRecord, UserRecord
from gateway.store.ports import ReadView

ANONYMOUS_ID: Final = "65a011a29cdf8ec533ec3d1ccaae921c"
"""The canonical id under which AWS shows what nobody signed for: the owner of objects written anonymously."""


class Principal(NamedTuple):
    """Who a verified request comes from. Fields: this module's docstring. Defaults: a user that is its own account."""

    user: UserRecord
    access_key: AccessKeyRecord
    account: str = ""  # empty: the user is the account
    policies: tuple[Policy, ...] = ()
    session: tuple[Policy, ...] | None = None
    role_path: str = ""
    session_name: str = ""
    values: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    federated: str = ""
    boundary: tuple[Policy, ...] | None = None
    transitive: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The user id of the account: what buckets and objects name as their owner. Empty for nobody."""
        return self.account or self.user.id

    @property
    def is_anonymous(self) -> bool:
        """Whether nobody signed."""
        return not self.user.id

    @property
    def is_account(self) -> bool:
        """Whether this is an account's own user (its root), whatever a session may narrow it to."""
        return not self.session_name and self.account in ("", self.user.id)

    @property
    def arn(self) -> str:
        """Its ARN, as aws:PrincipalArn has it: a session counts as its role. Empty for nobody."""
        if self.session_name:
            return role_arn(self.id, self.role_path or "/", self.user.name)
        return user_arn(self.user) if self.user.id else ""

    @property
    def caller_arn(self) -> str:
        """Its ARN, as GetCallerIdentity has it."""
        if self.federated:
            return federated_arn(self.id, self.federated)
        return session_arn(self.id, self.user.name, self.session_name) if self.session_name else self.arn


ANONYMOUS: Final = Principal(UserRecord(), AccessKeyRecord())
"""Whoever signs nothing: has no id, owns nothing, and may only what is granted to everyone."""


def find_principal(view: ReadView, access_key_id: str) -> Principal | None:
    """The live principal of an access key, or None. No cache."""
    key = view.access_key(access_key_id)
    if key is None or key.disabled or not key.secret:
        return None
    user = view.user(key.user)
    if user is None or user.disabled or find_account(view, account_of(user)) is None:
        return None
    policies, boundary = policies_of(view, user), limit_of(view, user)
    return Principal(user, key, account_of(user), policies, values=tag_values(user.tags), boundary=boundary)


def find_account(view: ReadView, account: str) -> UserRecord | None:
    """The own user of an account, if it is there and not disabled: with it, everyone in the account is out."""
    owner = view.user(account)
    return None if owner is None or owner.disabled else owner


def tag_values(tags: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """A principal's tags as condition values: aws:PrincipalTag/…."""
    return {f"aws:principaltag/{name.lower()}": (value,) for name, value in tags.items()}


def policies_of(view: ReadView, user: UserRecord) -> tuple[Policy, ...]:
    """What a user may by its own and its groups' policies; an account's own user has none and needs none."""
    return collect_user_policies(view, user.account, user.id) if user.account else ()


def limit_of(view: ReadView, user: UserRecord) -> tuple[Policy, ...] | None:
    """A user's permissions boundary, if it has one."""
    return find_boundary(view, user.account, user.id) if user.account else None


class PrincipalCache:
    """``find_principal`` remembered until the configuration generation changes. One per process, not thread safe."""

    def __init__(self) -> None:
        self._generation = -1
        self._known: dict[str, Principal] = {}

    def find(
        self, view: ReadView, access_key_id: str, session_token: str | None = None, now_s: int = 0
    ) -> Principal | None:
        """As ``find_principal``; the view decides, so that a disabled key stops working with the next request.

        ``session_token``: as the request has it; ``now_s``: unix seconds, for sessions.
        """
        if session_token is not None:
            return self.find_session(view, access_key_id, session_token, now_s)
        if view.generation != self._generation:
            self._known.clear()
            self._generation = view.generation
        found = self._known.get(access_key_id)
        if found is None:
            found = find_principal(view, access_key_id)
            if found is not None:
                self._known[access_key_id] = found
        return found

    def find_session(self, view: ReadView, access_key_id: str, session_token: str, now_s: int) -> Principal | None:
        """The live principal of temporary credentials: here ``InvalidToken`` (``session_principals`` knows them)."""
        raise InvalidToken
