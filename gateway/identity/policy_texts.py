"""Policies as IAM takes them: checked for what they hang on, an identity or a role's trust. Pure.

``gateway.s3.policy_document`` knows the language; here is what IAM asks besides, and its name for what is wrong. A
role's trust policy has principals and no resources: it is read as one whose resource is anything.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, Final

from gateway.s3.errors import MalformedPolicy, S3Error
from gateway.s3.policy_document import Policy, parse_policy
from gateway.s3.query_errors import LimitExceeded, MalformedPolicyDocument

TRUST_CHARACTERS_MAX: Final = 4096
_TRUST_ACTIONS: Final = ("sts:",)
_DENY_ALL: Final = b'{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}'


def check_identity_policy(document: str) -> Policy:
    """The policy of a user, group, role or session; ``MalformedPolicyDocument`` if it is none."""
    try:
        return parse_policy(document.encode(), with_principal=False)
    except (MalformedPolicy, UnicodeEncodeError) as error:
        raise MalformedPolicyDocument(_text_of(error)) from None


def read_identity_policy(document: str) -> Policy:
    """A policy as it was once taken. One that cannot be read any more denies everything, never nothing."""
    try:
        return parse_policy(document.encode(), with_principal=False)
    except S3Error:
        return parse_policy(_DENY_ALL, with_principal=False)


@lru_cache(maxsize=1024)
def parse_trust(document: str) -> Policy:
    """A role's trust policy; ``MalformedPolicyDocument`` if it is none."""
    try:
        found = json.loads(document, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError):
        raise MalformedPolicyDocument("This policy contains invalid Json") from None
    statements = found.get("Statement") if isinstance(found, dict) else None
    if isinstance(statements, dict):
        statements = [statements]
    for statement in statements if isinstance(statements, list) else []:
        if isinstance(statement, dict):
            if "Resource" in statement or "NotResource" in statement:
                raise MalformedPolicyDocument("Has prohibited field Resource")
            statement["Resource"] = "*"
    try:
        policy = parse_policy(json.dumps(found).encode(), with_principal=True)
    except (MalformedPolicy, UnicodeEncodeError) as error:
        raise MalformedPolicyDocument(_text_of(error)) from None
    for one in policy.statements:
        if one.not_actions or not all(action.startswith(_TRUST_ACTIONS) for action in one.actions):
            raise MalformedPolicyDocument("AssumeRole policy may only specify STS AssumeRole actions.")
    return policy


def check_trust(document: str) -> str:
    """``document`` if it is a trust policy of a length IAM takes."""
    if len("".join(document.split())) > TRUST_CHARACTERS_MAX:
        raise LimitExceeded(f"Cannot exceed quota for ACLSizePerRole: {TRUST_CHARACTERS_MAX}")
    parse_trust(document)
    return document


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field is given twice")
    return found


def _text_of(error: Exception) -> str:
    return error.text if isinstance(error, MalformedPolicy) else "The policy is not UTF-8"
