"""The policy of a form upload: JSON in base64 → conditions → whether the form's fields satisfy every one. Pure.

Fails closed: a policy that is not understood whole is ``InvalidPolicyDocument``; a field that no condition speaks of,
and a condition that no field meets, are ``AccessDenied`` with AWS's words. Field names match in any case, values
exactly. The bucket counts as a field; so does every field but the signature, the policy, the file, AWSAccessKeyId and
``x-ignore-*``.

Source: "POST Policy", Amazon S3 API reference; escapes from "Creating an HTML Form (Using AWS Signature Version 2)".
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from gateway.s3.errors import AccessDenied, EntityTooLarge, EntityTooSmall, InvalidPolicyDocument, S3Error
from gateway.s3.times import parse_iso_ms

_EXEMPT: Final = frozenset({"x-amz-signature", "signature", "awsaccesskeyid", "policy", "file"})
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ELEMENTS: Final = frozenset({"expiration", "conditions"})
_BYTES_MAX: Final = 1 << 62


class Condition(NamedTuple):
    """One condition on a field. ``operator``: eq or starts-with; ``field``: lower case; ``shown``: as the policy has
    it, for the error.
    """

    operator: str
    field: str
    value: str
    shown: str


class PostPolicy(NamedTuple):
    """A policy. ``expires_ms``: unix ms; ``bytes_min``, ``bytes_max``: what the file may hold."""

    expires_ms: int
    conditions: tuple[Condition, ...]
    bytes_min: int = 0
    bytes_max: int = _BYTES_MAX

    def check_size(self, size: int) -> None:
        """``EntityTooSmall`` or ``EntityTooLarge`` unless a file of ``size`` bytes is permitted."""
        if size > self.bytes_max:
            raise EntityTooLarge(None, ProposedSize=size, MaxSizeAllowed=self.bytes_max)
        if size < self.bytes_min:
            raise EntityTooSmall(None, ProposedSize=size, MinSizeAllowed=self.bytes_min)


NO_POLICY: Final = PostPolicy(0, ())
"""What an anonymous form has: nothing is demanded of it."""


def parse_policy(encoded: str) -> PostPolicy:
    """The policy in base64 as a form carries it; ``InvalidPolicyDocument`` for whatever is not one."""
    document = _parse_json(encoded)
    if not isinstance(document, dict):
        raise _invalid("Invalid JSON: the policy must be an object.")
    unexpected = sorted(set(document) - _ELEMENTS)
    if unexpected:
        raise _invalid(f"Unexpected: '{unexpected[0]}'")
    if "expiration" not in document:
        raise _invalid("Policy missing expiration.")
    if "conditions" not in document:
        raise _invalid("Policy missing conditions.")
    expiration, listed = document["expiration"], document["conditions"]
    expires_ms = parse_iso_ms(expiration) if isinstance(expiration, str) else None
    if expires_ms is None:
        raise _invalid(f"Invalid 'expiration' value: '{expiration}'")
    if not isinstance(listed, list):
        raise _invalid("Invalid 'conditions' value: must be a List.")
    conditions = []
    bytes_min, bytes_max = 0, _BYTES_MAX
    for one in listed:
        if isinstance(one, list) and one and isinstance(one[0], str) and one[0].lower() == "content-length-range":
            low, high = _parse_range(one)
            bytes_min, bytes_max = max(bytes_min, low), min(bytes_max, high)
        else:
            conditions.append(_parse_condition(one))
    return PostPolicy(expires_ms, tuple(conditions), bytes_min, bytes_max)


def _parse_json(encoded: str) -> Any:
    try:
        text = b64decode("".join(encoded.split()), validate=True).decode()
    except (binascii.Error, ValueError):
        raise _invalid("Invalid Base64 encoding.") from None
    # The policy language has two escapes that JSON has not.
    text = _ESCAPE.sub(lambda found: {"$": "$", "v": "\\u000b"}.get(found.group(1), found.group(0)), text)
    try:
        return json.loads(text, object_pairs_hook=_read_object)
    except (ValueError, RecursionError):
        raise _invalid("Invalid JSON.") from None


def _read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a name given twice would mean one thing to its signer and another here."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _parse_condition(one: Any) -> Condition:
    """``{"field": "value"}`` or ``["eq" | "starts-with", "$field", "value"]``."""
    if isinstance(one, dict):
        if len(one) != 1:
            raise _invalid("Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.")
        ((name, value),) = one.items()
        operator = "eq"
    elif isinstance(one, list):
        if len(one) != 3 or not isinstance(one[0], str) or not isinstance(one[1], str):
            raise _invalid("Invalid Condition: wrong number or type of arguments.")
        operator, name, value = one[0].lower(), one[1], one[2]
        if operator not in ("eq", "starts-with"):
            raise _invalid(f"Invalid Condition: unknown operation '{one[0]}'.")
        if not name.startswith("$"):
            raise _invalid(f"Invalid Condition: '{name}' must begin with '$'.")
        name = name[1:]
    else:
        raise _invalid("Invalid Condition: must be an Object or a List.")
    if not isinstance(value, str) or not name:
        raise _invalid("Invalid Simple-Condition: value must be a string.")
    return Condition(operator, name.lower(), value, json.dumps([operator, "$" + name, value], ensure_ascii=False))


def _parse_range(one: list[Any]) -> tuple[int, int]:
    """The bounds of a content-length-range, bytes."""
    bounds = []
    for bound in one[1:]:
        text = bound if isinstance(bound, str) else str(bound) if type(bound) is int else ""
        if not (text.isascii() and text.isdecimal()) or len(text) > 18:
            raise _invalid("Invalid content-length-range: bounds must be non-negative integers.")
        bounds.append(int(text))
    if len(bounds) != 2:
        raise _invalid("Invalid content-length-range: wrong number of arguments.")
    return bounds[0], bounds[1]


def _invalid(why: str) -> S3Error:
    return InvalidPolicyDocument(f"Invalid Policy: {why}")


def check_policy(policy: PostPolicy, fields: Mapping[str, str], bucket: str, now_ms: int) -> None:
    """``AccessDenied`` unless the policy is in force and speaks of every field, and every condition holds.

    ``fields``: expanded, lower case names. The file's size is checked by ``PostPolicy.check_size``, while it comes.
    """
    if now_ms > policy.expires_ms:
        raise _denied("Policy expired.")
    known = {**fields, "bucket": bucket}
    for condition in policy.conditions:
        value = known.get(condition.field)
        if value is None or not _holds(condition, value):
            raise _denied(f"Policy Condition failed: {condition.shown}")
    covered = {condition.field for condition in policy.conditions} | _EXEMPT
    extra = [name for name in known if name not in covered and not name.startswith("x-ignore-")]
    if extra:
        raise _denied(f"Extra input fields: {', '.join(sorted(extra))}")


def _holds(condition: Condition, value: str) -> bool:
    if condition.operator == "eq":
        return value == condition.value
    if condition.field == "content-type" and "," in value:
        # A list of types: each must meet the condition.
        return all(one.strip().startswith(condition.value) for one in value.split(","))
    return value.startswith(condition.value)


def _denied(why: str) -> S3Error:
    return AccessDenied(f"Invalid according to Policy: {why}")
