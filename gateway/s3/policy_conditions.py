"""Condition blocks of the policy language: parsed, and evaluated against the values of one request. Pure.

    {"StringLike": {"s3:prefix": ["home/*"]}}      operator → key → values; all conditions must hold, one value must

An operator may be qualified (``ForAllValues:``, ``ForAnyValue:``) for keys with several values, and end in
``IfExists``. A key that a request has no value for fails an operator, holds for its negation (``…Not…``) and for
``…IfExists``. A negated operator holds if *none* of its values matches. Values may hold policy variables; what they
stand for is literal (``patterns``).

Source: IAM User Guide, "IAM JSON policy elements: Condition operators" and "… Multivalued context keys".
"""

from __future__ import annotations

import binascii
import ipaddress
from base64 import b64decode
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Final, NamedTuple

from gateway.s3.policy_patterns import Lookup, expand_text, match_pattern, split_outside_variables
from gateway.s3.times import parse_iso_ms

FOR_ALL: Final = "ForAllValues"
FOR_ANY: Final = "ForAnyValue"
_IF_EXISTS: Final = "IfExists"


class ConditionInvalid(ValueError):
    """Not a condition block; the message is AWS's."""


class Condition(NamedTuple):
    """One operator applied to one key (lower case) with the values it may have. ``negated``: none of them."""

    operator: str  # without Not, qualifier and IfExists
    negated: bool
    qualifier: str
    if_exists: bool
    key: str
    values: tuple[str, ...]


_POSITIVE: Final = frozenset(
    {
        *("StringEquals", "StringEqualsIgnoreCase", "StringLike"),
        *("NumericEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan"),
        *("NumericGreaterThanEquals", "DateEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan"),
        *("DateGreaterThanEquals", "Bool", "BinaryEquals", "IpAddress", "ArnEquals", "ArnLike", "Null"),
    }
)
_NEGATED: Final = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
    "NotIpAddress": "IpAddress",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
}
_BY_LOWER: Final = {name.lower(): name for name in (*_POSITIVE, *_NEGATED)}


def parse_conditions(raw: object) -> tuple[Condition, ...]:
    """The conditions of a Condition element. ``ConditionInvalid`` if it is none."""
    if not isinstance(raw, dict):
        raise ConditionInvalid("Invalid policy syntax.")
    found = []
    for operator, keys in raw.items():
        qualifier, name, if_exists = _parse_operator(operator)
        if not isinstance(keys, dict) or not keys:
            raise ConditionInvalid("Invalid policy syntax.")
        base = _NEGATED.get(name, name)
        for key, given in keys.items():
            values = tuple([_parse_value(value) for value in (given if isinstance(given, list) else [given])])
            if not key or not values:
                raise ConditionInvalid("Invalid policy syntax.")
            for value in values:
                _check_value(base, value)
            found.append(Condition(base, name in _NEGATED, qualifier, if_exists, key.lower(), values))
    return tuple(found)


def _parse_operator(text: str) -> tuple[str, str, bool]:
    """(qualifier, operator, whether it ends in IfExists)."""
    qualifier, colon, name = text.rpartition(":")
    if_exists = name.lower().endswith(_IF_EXISTS.lower())
    known = _BY_LOWER.get((name[: -len(_IF_EXISTS)] if if_exists else name).lower())
    qualifiers = {FOR_ALL.lower(): FOR_ALL, FOR_ANY.lower(): FOR_ANY, "": ""}
    if known is None or qualifier.lower() not in qualifiers or (colon and not qualifier):
        raise ConditionInvalid(f"Invalid Condition type : {text}")
    if known == "Null" and if_exists:
        raise ConditionInvalid(f"Invalid Condition type : {text}")
    return qualifiers[qualifier.lower()], known, if_exists


def _parse_value(value: object) -> str:
    """A JSON scalar as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if not isinstance(value, str):
        raise ConditionInvalid("Invalid policy syntax.")
    return value


def _check_value(operator: str, value: str) -> None:
    """Refuse what an operator could never compare; variables are not known yet."""
    if "${" in value:
        return
    if operator.startswith("Numeric") and _number(value) is None:
        raise ConditionInvalid(f"Invalid value for numeric condition: {value}")
    if operator.startswith("Date") and _date_ms(value) is None:
        raise ConditionInvalid(f"Invalid value for date condition: {value}")
    if operator in ("Bool", "Null") and value.lower() not in ("true", "false"):
        raise ConditionInvalid(f"Invalid value for boolean condition: {value}")
    if operator == "IpAddress" and _network(value) is None:
        raise ConditionInvalid(f"Invalid IP address in Conditions: {value}")
    if operator == "BinaryEquals" and _binary(value) is None:
        raise ConditionInvalid(f"Invalid value for binary condition: {value}")


def holds(condition: Condition, actual: Sequence[str] | None, lookup: Lookup | None) -> bool:
    """Whether a condition holds for a request whose key has ``actual`` values (None: no such key).

    ``lookup``: what policy variables stand for; None: the policy knows none.
    """
    if condition.operator == "Null":
        absent = not actual
        return any((value.lower() == "true") == absent for value in condition.values)
    if not actual:
        if condition.if_exists or condition.qualifier == FOR_ALL:
            return True
        return condition.negated and condition.qualifier != FOR_ANY
    match = _MATCHERS[condition.operator]

    def satisfied(value: str) -> bool:
        return any(match(wanted, value, lookup) for wanted in condition.values) != condition.negated

    if condition.qualifier == FOR_ALL:
        return all(satisfied(value) for value in actual)
    if condition.qualifier == FOR_ANY or not condition.negated:
        return any(satisfied(value) for value in actual)
    return all(satisfied(value) for value in actual)


Matcher = Callable[[str, str, Lookup | None], bool]


def _with_text(compare: Callable[[str, str], bool]) -> Matcher:
    """A matcher on the wanted value with its variables filled in; an unknown variable matches nothing."""

    def match(wanted: str, actual: str, lookup: Lookup | None) -> bool:
        text = expand_text(wanted, lookup)
        return text is not None and compare(text, actual)

    return match


@lru_cache(maxsize=1024)
def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < 100 else None


@lru_cache(maxsize=1024)
def _date_ms(text: str) -> int | None:
    """Unix ms of an ISO 8601 date (a day, too) or of epoch seconds."""
    stripped = text.strip()
    if stripped.isascii() and stripped.isdecimal() and len(stripped) < 14 and len(stripped) != 8:
        return int(stripped) * 1000
    if len(stripped) == 10:
        stripped += "T00:00:00Z"
    return parse_iso_ms(stripped)


@lru_cache(maxsize=1024)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return None


@lru_cache(maxsize=256)
def _binary(text: str) -> bytes | None:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _compare_numbers(compare: Callable[[Decimal, Decimal], bool]) -> Matcher:
    def match(wanted: str, actual: str) -> bool:
        one, other = _number(actual), _number(wanted)
        return one is not None and other is not None and compare(one, other)

    return _with_text(match)


def _compare_dates(compare: Callable[[int, int], bool]) -> Matcher:
    def match(wanted: str, actual: str) -> bool:
        one, other = _date_ms(actual), _date_ms(wanted)
        return one is not None and other is not None and compare(one, other)

    return _with_text(match)


def _match_address(wanted: str, actual: str) -> bool:
    network = _network(wanted)
    try:
        address = ipaddress.ip_address(actual)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return network is not None and address.version == network.version and address in network


def _match_binary(wanted: str, actual: str) -> bool:
    one, other = _binary(wanted), _binary(actual)
    return one is not None and one == other


def _match_arn(wanted: str, actual: str, lookup: Lookup | None) -> bool:
    """Six parts between colons, each matched on its own; the last may hold colons."""
    patterns, parts = split_outside_variables(wanted, 6), actual.split(":", 5)
    if len(patterns) != 6 or len(parts) != 6:
        # A variable can stand for a whole ARN, or for several of its parts.
        return wanted == "*" or ("${" in wanted and match_pattern(wanted, actual, lookup))
    return all(match_pattern(pattern, part, lookup) for pattern, part in zip(patterns, parts, strict=True))


_MATCHERS: Final[dict[str, Matcher]] = {
    "StringEquals": _with_text(lambda wanted, actual: wanted == actual),
    "StringEqualsIgnoreCase": _with_text(lambda wanted, actual: wanted.lower() == actual.lower()),
    "StringLike": match_pattern,
    "NumericEquals": _compare_numbers(lambda actual, wanted: actual == wanted),
    "NumericLessThan": _compare_numbers(lambda actual, wanted: actual < wanted),
    "NumericLessThanEquals": _compare_numbers(lambda actual, wanted: actual <= wanted),
    "NumericGreaterThan": _compare_numbers(lambda actual, wanted: actual > wanted),
    "NumericGreaterThanEquals": _compare_numbers(lambda actual, wanted: actual >= wanted),
    "DateEquals": _compare_dates(lambda actual, wanted: actual == wanted),
    "DateLessThan": _compare_dates(lambda actual, wanted: actual < wanted),
    "DateLessThanEquals": _compare_dates(lambda actual, wanted: actual <= wanted),
    "DateGreaterThan": _compare_dates(lambda actual, wanted: actual > wanted),
    "DateGreaterThanEquals": _compare_dates(lambda actual, wanted: actual >= wanted),
    "Bool": _with_text(lambda wanted, actual: wanted.lower() == actual.lower()),
    "BinaryEquals": _with_text(_match_binary),
    "IpAddress": _with_text(_match_address),
    "ArnEquals": _match_arn,
    "ArnLike": _match_arn,
}
