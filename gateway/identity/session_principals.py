"""From an access key id and a session token to who that is: ``principals`` with temporary credentials. Fails closed.

A token that does not open is ``InvalidToken``, one past its time ``ExpiredToken``. A session of a role that was deleted
(or deleted and made anew), of a user or account that was disabled or deleted, or of a key that is no longer active, is
None: as if the key did not exist. Opened sessions are remembered like keys, until the configuration's generation
changes; expiry is looked at every time.
"""

from __future__ import annotations

from typing import Final

from gateway.identity.arns import account_of
from gateway.identity.boundaries import find_boundary
from gateway.identity.identity_policies import collect_policies
from gateway.identity.managed_policies import find_document
from gateway.identity.policy_texts import check_identity_policy
from gateway.identity.principals import (
    Principal,
    PrincipalCache,
    find_account,
    find_principal,
    limit_of,
    policies_of,
    tag_values,
)
from gateway.identity.roles import find_role
from gateway.identity.sessions import OF_FEDERATED, OF_ROLE, Session, SessionMaker
from gateway.s3.errors import ExpiredToken
from gateway.s3.policy_document import Policy
from gateway.s3.times import format_iso
from gateway.store.document_format import AccessKeyRecord, UserRecord
from gateway.store.ports import ReadView

SESSIONS_MAX: Final = 4096
"""Opened sessions a process remembers; above it, all are forgotten and opened again."""


def find_session_principal(view: ReadView, session: Session, access_key: AccessKeyRecord) -> Principal | None:
    """Who a session is of, if that is still there; None otherwise. No cache; expiry is the caller's to check."""
    owner = find_account(view, session.account)
    if owner is None:
        return None
    narrowed = _session_policies(view, session)
    if session.kind != OF_ROLE:
        user, issuer = view.user(session.subject), view.access_key(session.issuer_key)
        if user is None or user.disabled or issuer is None or issuer.disabled or issuer.user != user.id:
            return None
        values = {**tag_values(user.tags), **_session_values(session)}
        principal = Principal(user, access_key, account_of(user), policies_of(view, user), narrowed, values=values)
        principal = principal._replace(boundary=limit_of(view, user))
        if session.kind == OF_FEDERATED:
            return principal._replace(session=narrowed or (), federated=session.name)
        return principal
    role = find_role(view, session.account, session.role)
    if role is None or role.id != session.subject:
        return None
    acting = UserRecord(
        id=role.id,
        name=role.name,
        canonical_id=owner.canonical_id,
        account=role.account,
        path=role.path,
        tags=role.tags,
    )
    policies = collect_policies(view, role.account, role.id)
    values = {**tag_values(role.tags), **_session_values(session)}
    return Principal(
        *(acting, access_key, role.account, policies, narrowed, role.path, session.name, values),
        boundary=find_boundary(view, role.account, role.id),
        transitive=session.transitive,
    )


def _session_values(session: Session) -> dict[str, tuple[str, ...]]:
    """What conditions may ask of a session: what it brings along, and when it began (how AWS revokes older ones)."""
    return {
        **{key: (value,) for key, value in session.values.items()},
        "aws:tokenissuetime": (format_iso(session.issued_s * 1000),),
        "aws:multifactorauthpresent": ("false",),
    }


def _session_policies(view: ReadView, session: Session) -> tuple[Policy, ...] | None:
    """What a session was narrowed with; None if it was not. A managed policy that is gone allows nothing."""
    if not session.policies and not session.policy_arns:
        return None
    documents = list(session.policies)
    documents += [found for arn in session.policy_arns if (found := find_document(view, session.account, arn))]
    return tuple([check_identity_policy(document) for document in documents])


class SessionPrincipals(PrincipalCache):
    """``PrincipalCache`` that knows temporary credentials, too."""

    def __init__(self, maker: SessionMaker) -> None:
        super().__init__()
        self.maker = maker
        self._sessions: dict[tuple[str, str], tuple[Session, Principal]] = {}
        self._sessions_generation = -1

    def find_now(self, view: ReadView, access_key_id: str, session_token: str | None, now_s: int) -> Principal | None:
        """As ``find``, but remembering nothing: for a transaction, whose view may show what is only staged."""
        if session_token is None:
            return find_principal(view, access_key_id)
        session, secret = self.maker.open(access_key_id, session_token)
        if now_s >= session.expires_s:
            raise ExpiredToken
        key = AccessKeyRecord(id=access_key_id, secret=secret, user=session.subject)
        return find_session_principal(view, session, key)

    def find_session(self, view: ReadView, access_key_id: str, session_token: str, now_s: int) -> Principal | None:
        """The live principal of temporary credentials; ``InvalidToken``, ``ExpiredToken``."""
        if view.generation != self._sessions_generation or len(self._sessions) >= SESSIONS_MAX:
            self._sessions.clear()
            self._sessions_generation = view.generation
        found = self._sessions.get((access_key_id, session_token))
        if found is None:
            session, secret = self.maker.open(access_key_id, session_token)
            key = AccessKeyRecord(id=access_key_id, secret=secret, user=session.subject)
            principal = find_session_principal(view, session, key)
            if principal is None:
                return None
            found = self._sessions[access_key_id, session_token] = session, principal
        if now_s >= found[0].expires_s:
            raise ExpiredToken
        return found[1]
