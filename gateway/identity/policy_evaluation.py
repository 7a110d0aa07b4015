"""Do policies allow or deny one action on one resource to one principal? What ``authorize`` puts together.

An explicit deny wins over everything; that is ``authorize``'s to apply, since it may stand in any of several policies.
A resource's policy can name a principal itself (or everyone), the role or user that its session is of, or only the
account it lives in. The last delegates, and needs an identity policy of that account besides. What is allowed to a role
adds to the role's own policies, and is limited by what limits those (permissions boundary, session policies); what is
allowed to the session itself, to a user or to everyone is not (IAM User Guide, "Policy evaluation logic").
A statement's principals, actions, resources and conditions must all match; conditions are evaluated last and only for
what matched so far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from gateway.identity.arns import names_account, path_of
from gateway.identity.principals import Principal
from gateway.s3.policy_conditions import holds
from gateway.s3.policy_document import Policy, Principals, Statement
from gateway.s3.policy_patterns import Lookup, match_pattern

NOT_NAMED: Final = 0
BY_ACCOUNT: Final = 1
AS_ROLE: Final = 2
DIRECTLY: Final = 3
Find = Callable[[str], tuple[str, ...] | None]
"""From a condition key (lower case) to the values the request has for it."""


class Verdict(NamedTuple):
    """What some policies say. ``direct``: allowed to the principal itself; ``limited``: to the role (or user) that its
    session is of; ``delegated``: to its account only.
    """

    denied: bool = False
    direct: bool = False
    delegated: bool = False
    limited: bool = False

    @property
    def allowed(self) -> bool:
        """Whether anything allows it."""
        return self.direct or self.limited or self.delegated


NOTHING: Final = Verdict()
_ALIASED: Final = frozenset(
    {"aws:principalaccount", "aws:resourceaccount", "aws:userid", "s3:resourceaccount", "s3:x-amz-copy-source"}
)
"""Keys whose values all say the same thing: conditions may name any, a variable stands for the first."""


def evaluate(
    policies: Iterable[Policy], action: str, resource: str, find: Find, principal: Principal | None = None
) -> Verdict:
    """What ``policies`` say of ``action`` on the ARN ``resource``. ``principal``: for resource policies only."""
    denied = direct = delegated = limited = False
    action = action.lower()
    for policy in policies:
        lookup = _lookup(find) if policy.variables else None
        for statement in policy.statements:
            named = DIRECTLY
            if statement.principals is not None:
                assert principal is not None
                named = match_principals(statement.principals, principal)
                if not named:
                    continue
            if not _is_about(statement, action, resource, lookup):
                continue
            if not all(holds(condition, find(condition.key), lookup) for condition in statement.conditions):
                continue
            if not statement.allow:
                denied = True
            elif named == DIRECTLY:
                direct = True
            elif named == AS_ROLE:
                limited = True
            else:
                delegated = True
    return Verdict(denied, direct, delegated, limited)


def evaluate_limits(principal: Principal, action: str, resource: str, find: Find) -> Verdict:
    """What session policies and the permissions boundary say: each there is must allow; none allows everything."""
    limits = [limit for limit in (principal.session, principal.boundary) if limit is not None]
    found = [evaluate(limit, action, resource, find) for limit in limits]
    return Verdict(any(one.denied for one in found), all(one.allowed for one in found))


def _lookup(find: Find) -> Lookup:
    """Policy variables: keys of one value, or of one that can be written in several ways."""

    def lookup(key: str) -> str | None:
        values = find(key)
        return values[0] if values is not None and (len(values) == 1 or key in _ALIASED) else None

    return lookup


def _is_about(statement: Statement, action: str, resource: str, lookup: Lookup | None) -> bool:
    actions = any(match_pattern(pattern, action) for pattern in statement.actions)
    if actions == statement.not_actions:
        return False
    resources = any(match_pattern(pattern, resource, lookup) for pattern in statement.resources)
    return resources != statement.not_resources


def match_principals(principals: Principals, principal: Principal) -> int:
    """Whether a statement is about ``principal``: ``NOT_NAMED``, ``BY_ACCOUNT``, ``AS_ROLE`` or ``DIRECTLY``."""
    if principals.everyone:
        found = DIRECTLY
    else:
        found = max([_match_name(kind, name, principal) for kind, name in principals.named], default=NOT_NAMED)
    if principals.negated:
        return NOT_NAMED if found else DIRECTLY
    return found


def _match_name(kind: str, name: str, principal: Principal) -> int:
    """Whether ``name`` means ``principal``. The schemes are those of ``arns``."""
    if principal.is_anonymous or kind not in ("AWS", "CanonicalUser"):
        return NOT_NAMED
    itself = AS_ROLE if principal.session_name or principal.federated else DIRECTLY
    of_account = itself if principal.is_account else BY_ACCOUNT
    if not name.startswith("arn:"):
        if name == principal.user.id:
            return itself
        return of_account if names_account(name, principal.id) else NOT_NAMED
    parts = name.split(":", 5)
    if len(parts) != 6 or kind != "AWS":
        return NOT_NAMED
    account, resource = parts[4:]
    if account and not names_account(account, principal.id):
        return NOT_NAMED
    if resource == "root":
        return of_account if account else NOT_NAMED
    if account and resource == _session_resource(principal):
        return DIRECTLY
    return itself if resource in _resources(principal, with_account=bool(account)) else NOT_NAMED


def _session_resource(principal: Principal) -> str | None:
    """What stands behind the account in the ARN of a session itself; None for who is no session with a name."""
    if principal.session_name:
        return f"assumed-role/{principal.user.name}/{principal.session_name}"
    return f"federated-user/{principal.federated}" if principal.federated else None


def _resources(principal: Principal, *, with_account: bool) -> tuple[str, ...]:
    """What may stand behind the account in an ARN that means the user, or the role that the session is of."""
    user = principal.user
    if principal.session_name:
        return (f"role{principal.role_path or '/'}{user.name}",) if with_account else ()
    if not with_account:
        return (f"user/{user.id}",)
    return f"user{path_of(user)}{user.name}", f"user/{user.id}"
