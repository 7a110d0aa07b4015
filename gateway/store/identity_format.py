"""ON DISK and ON WIRE: what accounts hold besides users and access keys, by the names of their items.

    item name (UTF-8, parts joined by "/")    body
    role/<account>/<name, lower case>         RoleRecord
    group/<account>/<name, lower case>        GroupRecord
    policy/<account>/<name, lower case>       ManagedPolicyRecord
    provider/<account>/<host and path>        ProviderRecord
    inline/<entity id>/<policy name>          the policy as it was given: JSON
    attached/<entity id>/<policy ARN>         b"1"
    member/<user id>/<group id>               b"1"
    boundary/<entity id>/policy               the policy's ARN, or b"none"
    bound/<role id>/trust                     whom its trust policy named: ``gateway/identity/principal_ids``

An account is the user id of its owner; an entity is a user, a group or a role, by an id that is never given out again:
what hangs on a deleted role never returns with another role of its name. Items of names rather than lists in records,
so that two sites which change different policies of one user both keep what they did.

Rules among concurrent siblings of one item: deleted wins; else the greatest order. So a right taken away on one site
stays away, and the cost is that a policy changed here and deleted there is gone.

All records are MessagePack arrays whose first element is a version; fields are only ever added at the end.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from replication.change_format import ChangeInvalid, ChangeTooNew

IDENTITY_VERSION: Final = 1
NAME_BYTES_MAX: Final = 1024


class RoleRecord(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A role. ``id``: unique, ``AROA…``; ``trust``: who may assume it, JSON; ``session_s_max``: seconds."""

    version: int = IDENTITY_VERSION
    id: str = ""
    account: str = ""
    name: str = ""
    path: str = "/"
    created_ms: int = 0
    trust: str = ""
    description: str = ""
    session_s_max: int = 3600
    tags: dict[str, str] = {}


class GroupRecord(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A group of users. ``id``: unique, ``AGPA…``."""

    version: int = IDENTITY_VERSION
    id: str = ""
    account: str = ""
    name: str = ""
    path: str = "/"
    created_ms: int = 0


class PolicyVersion(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One version of a managed policy: ``number`` is n of ``vn``, never used twice."""

    number: int = 0
    document: str = ""
    created_ms: int = 0


class ManagedPolicyRecord(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A customer managed policy and up to five versions of it. ``id``: ``ANPA…``; ``highest``: number ever given."""

    version: int = IDENTITY_VERSION
    id: str = ""
    account: str = ""
    name: str = ""
    path: str = "/"
    created_ms: int = 0
    description: str = ""
    default: int = 1
    highest: int = 1
    versions: tuple[PolicyVersion, ...] = ()
    tags: dict[str, str] = {}


class ProviderRecord(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An OpenID Connect provider. ``url``: host and path without scheme; ``scheme``: ``https`` (or ``http``)."""

    version: int = IDENTITY_VERSION
    account: str = ""
    url: str = ""
    scheme: str = "https"
    created_ms: int = 0
    client_ids: tuple[str, ...] = ()
    thumbprints: tuple[str, ...] = ()
    tags: dict[str, str] = {}


IdentityRecord = TypeVar("IdentityRecord", RoleRecord, GroupRecord, ManagedPolicyRecord, ProviderRecord)
_KINDS: Final[dict[str, type | None]] = {
    "role": RoleRecord,
    "group": GroupRecord,
    "policy": ManagedPolicyRecord,
    "provider": ProviderRecord,
    "inline": None,
    "attached": None,
    "member": None,
    "boundary": None,
    "bound": None,
}
_encoder = msgspec.msgpack.Encoder()
_decoders: dict[type, msgspec.msgpack.Decoder[object]] = {
    kind: msgspec.msgpack.Decoder(kind) for kind in _KINDS.values() if kind is not None
}


def encode_identity(record: RoleRecord | GroupRecord | ManagedPolicyRecord | ProviderRecord) -> bytes:
    """Bytes of a record, current version."""
    return _encoder.encode(record)


def decode_identity(kind: type[IdentityRecord], data: bytes) -> IdentityRecord:
    """The record of ``kind`` in ``data``; ``ChangeInvalid`` or ``ChangeTooNew`` otherwise."""
    try:
        record = _decoders[kind].decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ChangeInvalid(f"not a {kind.__name__}: {error}") from error
    assert isinstance(record, kind)
    if record.version > IDENTITY_VERSION:
        raise ChangeTooNew(f"{kind.__name__} of version {record.version}: upgrade this site")
    return record


def check_identity_item(item: bytes, body: bytes, *, dead: bool) -> None:
    """Whether this site understands an item: ``ChangeInvalid``, or ``ChangeTooNew`` for a kind it does not know."""
    try:
        words = item.decode().split("/", 2)
        text = body.decode() if words[0] in ("inline", "attached", "member", "boundary", "bound") else ""
    except UnicodeDecodeError as error:
        raise ChangeInvalid("an identity item is not UTF-8") from error
    if words[0] not in _KINDS:
        raise ChangeTooNew(f"identity items of kind {words[0]!r}: upgrade this site")
    if len(words) != 3 or not all(words) or len(item) > NAME_BYTES_MAX:
        raise ChangeInvalid("the name of an identity item is cut short or too long")
    kind = _KINDS[words[0]]
    if dead:
        return
    if kind is not None:
        decode_identity(kind, body)
    elif not text:
        raise ChangeInvalid(f"an identity item of kind {words[0]!r} without body")
