"""The policy language as a value: JSON in, a frozen ``Policy`` or AWS's ``MalformedPolicy`` out. Pure.

What a policy says is told here, whether a given request meets it in ``gateway/identity/policy_evaluation``. Both kinds
are read: a bucket's policy (statements name a principal) and an identity's or a session's (they must not). What only a
bucket's policy must be besides (its own resources, S3's actions) is ``bucket_policies``.

Parsed policies are cached by their text, so that asking again costs one dictionary lookup. Nothing is normalised: what
was put is what is returned by Get. Source: IAM User Guide, "Grammar of the IAM JSON policy language".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple, NoReturn

from gateway.s3.errors import MalformedPolicy
from gateway.s3.policy_conditions import Condition, ConditionInvalid, parse_conditions

VERSIONS: Final = ("2008-10-17", "2012-10-17")
PRINCIPAL_KINDS: Final = ("AWS", "CanonicalUser", "Federated", "Service")
_TOP: Final = frozenset({"Version", "Id", "Statement"})
_STATEMENT: Final = frozenset(
    {
        *("Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction"),
        *("Resource", "NotResource", "Condition"),
    }
)
_ANY_ACCOUNT: Final = re.compile(r"^arn:aws:s3:\*?:\*:")
"""A bucket's ARN with any account (and region) in it, as some write it: one without says the same."""
_ACTION: Final = re.compile(r"\*|[A-Za-z0-9-]+:[A-Za-z0-9*?-]+")
_DEPTH_MAX: Final = 20


class Principals(NamedTuple):
    """Who a statement is about: the ids and ARNs named, by kind; ``everyone``: "*" or {"AWS": "*"}."""

    negated: bool
    everyone: bool
    named: tuple[tuple[str, str], ...]  # (kind, id or ARN)


class Statement(NamedTuple):
    """One statement. ``principals`` None: of an identity's policy. Actions are in lower case."""

    sid: str
    allow: bool
    principals: Principals | None
    actions: tuple[str, ...]
    not_actions: bool
    resources: tuple[str, ...]
    not_resources: bool
    conditions: tuple[Condition, ...]


class Policy(NamedTuple):
    """A policy. ``variables``: whether ${…} is one (version 2012-10-17) or plain text (2008-10-17, the default)."""

    variables: bool
    statements: tuple[Statement, ...]


def _refuse(message: str, detail: object = None) -> NoReturn:
    raise MalformedPolicy(message, Detail=detail)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field is given twice")
    return found


def _load(body: bytes) -> dict[str, Any]:
    """The JSON object in ``body``."""
    if not body.lstrip().startswith(b"{"):
        _refuse("Policies must be valid JSON and the first byte must be '{'")
    try:
        found = json.loads(body, object_pairs_hook=_no_duplicates, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        _refuse("This policy contains invalid Json")
    assert isinstance(found, dict)
    if not _is_shallow(found, _DEPTH_MAX):
        _refuse("This policy contains invalid Json")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _is_shallow(value: object, depth: int) -> bool:
    if isinstance(value, dict):
        return depth > 0 and all(_is_shallow(child, depth - 1) for child in value.values())
    if isinstance(value, list):
        return depth > 0 and all(_is_shallow(child, depth - 1) for child in value)
    return True


@lru_cache(maxsize=1024)
def parse_policy(body: bytes, *, with_principal: bool = True) -> Policy:
    """The policy in ``body``. ``with_principal``: a resource's policy; False: an identity's or a session's.

    Raises ``MalformedPolicy`` with AWS's words for whatever is no policy.
    """
    top = _load(body)
    if unknown := sorted(set(top) - _TOP):
        _refuse(f"Unknown field {unknown[0]}")
    version = top.get("Version", VERSIONS[0])
    if version not in VERSIONS:
        _refuse("The policy must contain a valid version string")
    if not isinstance(top.get("Id", ""), str):
        _refuse("Invalid policy syntax.")
    if "Statement" not in top:
        _refuse("Missing required field Statement")
    statements = top["Statement"]
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        _refuse("Could not parse the policy: Statement is empty!")
    parsed = tuple([_parse_statement(statement, with_principal) for statement in statements])
    sids = [statement.sid for statement in parsed if statement.sid]
    if len(sids) != len(set(sids)):
        _refuse("Policy has duplicate statement ids")
    return Policy(version == VERSIONS[1], parsed)


def _parse_statement(raw: object, with_principal: bool) -> Statement:
    if not isinstance(raw, dict):
        _refuse("Invalid policy syntax.")
    if unknown := sorted(set(raw) - _STATEMENT):
        _refuse(f"Unknown field {unknown[0]}")
    if "Effect" not in raw:
        _refuse("Missing required field Effect")
    effect = raw["Effect"]
    if effect not in ("Allow", "Deny"):
        _refuse(f"Invalid effect: {effect}")
    sid = raw.get("Sid", "")
    if not isinstance(sid, str):
        _refuse("Invalid policy syntax.")
    principals = _parse_principals(raw) if with_principal else None
    if not with_principal and ("Principal" in raw or "NotPrincipal" in raw):
        _refuse("Policy document should not specify a principal.")
    if principals is not None and principals.negated and effect == "Allow":
        _refuse("Allow with NotPrincipal is not allowed.")
    actions, not_actions = _parse_texts(raw, "Action")
    if not all(_ACTION.fullmatch(action) for action in actions):
        _refuse("Policy has invalid action")
    resources, not_resources = _parse_texts(raw, "Resource")
    resources = tuple([_ANY_ACCOUNT.sub("arn:aws:s3:::", resource) for resource in resources])
    try:
        conditions = parse_conditions(raw.get("Condition", {}))
    except ConditionInvalid as error:
        _refuse(str(error))
    lowered = tuple([action.lower() for action in actions])
    return Statement(sid, effect == "Allow", principals, lowered, not_actions, resources, not_resources, conditions)


def _parse_texts(raw: Mapping[str, object], name: str) -> tuple[tuple[str, ...], bool]:
    """The texts of an element or of its negation, exactly one of which must be there."""
    negated = f"Not{name}" in raw
    if negated == (name in raw):
        _refuse("Invalid policy syntax." if negated else f"Missing required field {name}")
    value = raw[f"Not{name}" if negated else name]
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        _refuse(f"Policy has invalid {name.lower()}")
    return tuple(texts), negated


def _parse_principals(raw: Mapping[str, object]) -> Principals:
    negated = "NotPrincipal" in raw
    if negated == ("Principal" in raw):
        _refuse("Invalid policy syntax." if negated else "Missing required field Principal")
    value = raw["NotPrincipal" if negated else "Principal"]
    if value == "*":
        return Principals(negated, True, ())
    if not isinstance(value, dict) or not value:
        _refuse("Invalid principal in policy", value if isinstance(value, str) else None)
    everyone = False
    named: list[tuple[str, str]] = []
    for kind, ids in value.items():
        listed = [ids] if isinstance(ids, str) else ids
        if kind not in PRINCIPAL_KINDS or not isinstance(listed, list) or not listed:
            _refuse("Invalid principal in policy", kind)
        for name in listed:
            if not isinstance(name, str) or not name or ("*" in name and (name != "*" or kind == "CanonicalUser")):
                _refuse("Invalid principal in policy", name if isinstance(name, str) else None)
            if name == "*" and kind == "AWS":
                everyone = True
            else:
                named.append((kind, name))
    return Principals(negated, everyone, tuple(named))
