"""Public access: the four switches against it, and what AWS calls public of a policy. Pure.

ON DISK: the bucket document ``public-access-block`` is the names of the switches that are on, joined with commas.
Source: Amazon S3 User Guide, "Blocking public access to your Amazon S3 storage".
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final, NamedTuple

from gateway.s3.documents import fields_of, parse_boolean, parse_document
from gateway.s3.policy_conditions import FOR_ALL, Condition
from gateway.s3.policy_document import Policy, Statement
from gateway.s3.stored import stored


class PublicAccessBlock(NamedTuple):
    """Which switches are on. AWS's names: BlockPublicAcls and so on."""

    block_acls: bool = False
    ignore_acls: bool = False
    block_policy: bool = False
    restrict_buckets: bool = False


NOTHING_BLOCKED: Final = PublicAccessBlock()
ALL_BLOCKED: Final = PublicAccessBlock(True, True, True, True)
_NAMES: Final = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


def encode_public_access_block(block: PublicAccessBlock) -> bytes:
    """Bytes of the bucket document."""
    return ",".join(name for name, is_on in zip(_NAMES, block, strict=True) if is_on).encode()


@lru_cache(maxsize=64)
@stored
def decode_public_access_block(body: bytes) -> PublicAccessBlock:
    """The switches in a bucket document."""
    found = body.decode().split(",")
    return PublicAccessBlock(*[name in found for name in _NAMES])


def parse_public_access_block(body: bytes) -> PublicAccessBlock:
    """The PublicAccessBlockConfiguration in ``body``; what is left out is off."""
    fields = fields_of(parse_document(body, "PublicAccessBlockConfiguration"), *_NAMES)
    return PublicAccessBlock(*[parse_boolean(fields.get(name, "")) for name in _NAMES])


def render_public_access_block(block: PublicAccessBlock) -> bytes:
    """PublicAccessBlockConfiguration."""
    switches = "".join(
        f"<{name}>{'true' if is_on else 'false'}</{name}>" for name, is_on in zip(_NAMES, block, strict=True)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<PublicAccessBlockConfiguration '
        f'xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{switches}</PublicAccessBlockConfiguration>'
    ).encode()


# Keys whose fixed values narrow "everyone" to somebody in particular.
_NARROWING: Final = frozenset(
    {
        *("aws:principalorgid", "aws:principalarn", "aws:principalaccount", "aws:sourcearn", "aws:sourcevpc"),
        *("aws:sourcevpce", "aws:sourceowner", "aws:sourceaccount", "aws:userid"),
        *("s3:x-amz-server-side-encryption-aws-kms-key-id", "s3:dataaccesspointarn", "s3:dataaccesspointaccount"),
    }
)
_POSITIVE: Final = frozenset({"StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike"})
_WIDEST_PREFIX: Final = {4: 8, 6: 32}


def is_public_policy(policy: Policy) -> bool:
    """Whether some statement allows something to everyone without narrowing who that is ("The meaning of public")."""
    return any(_is_public(statement) for statement in policy.statements)


def _is_public(statement: Statement) -> bool:
    principals = statement.principals
    if not statement.allow or principals is None or not (principals.everyone or principals.negated):
        return False
    return not any(_narrows(condition) for condition in statement.conditions)


def _narrows(condition: Condition) -> bool:
    """Whether a condition admits only fixed, known requesters."""
    if condition.negated or condition.if_exists or condition.qualifier == FOR_ALL:
        return False
    if condition.key == "aws:sourceip":
        return condition.operator == "IpAddress" and all(_is_narrow(value) for value in condition.values)
    if condition.key not in _NARROWING or condition.operator not in _POSITIVE:
        return False
    return all(_is_fixed(condition.key, value) for value in condition.values)


def _is_fixed(key: str, value: str) -> bool:
    if key == "aws:sourcearn":  # a service's name with wildcards behind a fixed account is AWS's exception
        return "${" not in value and "*" not in "".join(value.split(":", 5)[:5])
    return not any(mark in value for mark in ("*", "?", "${"))


def _is_narrow(cidr: str) -> bool:
    try:
        network = ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        return False
    return network.is_private or network.prefixlen >= _WIDEST_PREFIX[network.version]
