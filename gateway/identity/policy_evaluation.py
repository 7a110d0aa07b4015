"""Do policies allow or deny one action on one resource to one principal? What ``authorize`` puts together.

An explicit deny wins over everything; that is ``authorize``'s to apply, since it may stand in any of several policies.
A resource's policy can name a principal itself (or everyone), or only the account it lives in: the second delegates,
and needs an identity policy of that account besides. A statement's principals, actions, resources and conditions must
all match; conditions are evaluated last and only for what matched so far.
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
DIRECTLY: Final = 2
Find = Callable[[str], tuple[str, ...] | None]
"""From a condition key (lower case) to the values the request has for it."""


class Verdict(NamedTuple):
    """What some policies say. ``direct``: allowed to the principal itself; ``delegated``: to its account only."""

    denied: bool = False
    direct: bool = False
    delegated: bool = False

    @property
    def allowed(self) -> bool:
        """Whether anything allows it."""
        return self.direct or self.delegated


NOTHING: Final = Verdict()
_ALIASED: Final = frozenset(
    {"aws:principalaccount", "aws:resourceaccount", "aws:userid", "s3:resourceaccount", "s3:x-amz-copy-source"}
)
"""Keys whose values all say the same thing: conditions may name any, a variable stands for the first."""


def evaluate(
    policies: Iterable[Policy], action: str, resource: str, find: Find, principal: Principal | None = None
) -> Verdict:
    """What ``policies`` say of ``action`` on the ARN ``resource``. ``principal``: for resource policies only."""
    denied = direct = delegated = False
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
            else:
                delegated = True
    return Verdict(denied, direct, delegated)


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
    """Whether a statement is about ``principal``: ``NOT_NAMED``, ``BY_ACCOUNT`` or ``DIRECTLY``."""
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
    of_account = DIRECTLY if principal.is_account else BY_ACCOUNT
    if not name.startswith("arn:"):
        if name == principal.user.id:
            return DIRECTLY
        return of_account if names_account(name, principal.id) else NOT_NAMED
    parts = name.split(":", 5)
    if len(parts) != 6 or kind != "AWS":
        return NOT_NAMED
    account, resource = parts[4:]
    if account and not names_account(account, principal.id):
        return NOT_NAMED
    if resource == "root":
        return of_account if account else NOT_NAMED
    return DIRECTLY if resource in _resources(principal, with_account=bool(account)) else NOT_NAMED


def _resources(principal: Principal, *, with_account: bool) -> tuple[str, ...]:
    """What may stand behind the account in an ARN that means this principal."""
    user = principal.user
    if principal.session_name:
        session = f"assumed-role/{user.name}/{principal.session_name}"
        return (f"role{principal.role_path or '/'}{user.name}", session) if with_account else ()
    if not with_account:
        return (f"user/{user.id}",)
    return f"user{path_of(user)}{user.name}", f"user/{user.id}"
