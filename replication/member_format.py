"""ON DISK and ON WIRE: what is said of the realm's sites, as items of a family of their own. Any site may say it.

    item name (ASCII, parts joined by "/")        body
    name/<site 32 hex>                            NameRecord: what the site is called, whatever it calls itself
    retired/<site 32 hex>/<by 32 hex>             RetiredRecord: it is to end its log, or did
    forgotten/<site 32 hex>/<by 32 hex>           ForgottenRecord: it is out; how far its logs count, who inherits

Rules: of a name the greatest order. What is said of a site by different sites adds up: retired if anybody says so;
forgotten for good if anybody says so (such an item is never removed, and one that is, is not heard), its **cut** for
each of its logs the greatest that anybody names, revoked if anybody says so, its heir the one named first (by time,
then by who said it). Site ids are never used again, so nothing has to be taken back.

All records are MessagePack arrays whose first element is a version; fields are only ever added at the end. A kind or
version that is not known here is ``ChangeTooNew``: membership decides what may be deleted, so nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec

from replication.change_format import ChangeInvalid, ChangeTooNew
from replication.crdt import INCARNATION_SIZE, SITE_SIZE, Dot
from replication.ports import Statement

MEMBER_VERSION: Final = 1
NAME_CHARACTERS_MAX: Final = 200
_ITEM: Final = re.compile(rb"(?:(name)/([0-9a-f]{32})|(retired|forgotten)/([0-9a-f]{32})/([0-9a-f]{32}))")


class NameRecord(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a site is called."""

    version: int = MEMBER_VERSION
    name: str = ""


class RetiredRecord(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """That a site is to end its log, said at ``at_ms``."""

    version: int = MEMBER_VERSION
    at_ms: int = 0


class ForgottenRecord(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """That a site is out. ``cut``: (incarnation, last batch that counts) of its logs; ``heir``: a site, 16 bytes."""

    version: int = MEMBER_VERSION
    at_ms: int = 0
    cut: tuple[tuple[bytes, int], ...] = ()
    heir: bytes = b""
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class Removal:
    """That a site was forgotten: how far each of its logs counts (incarnation → batch; one not named: not at all), who
    inherits its packs, and the changes that say so. ``revoked``: it is in the wrong hands.
    """

    cut: Mapping[bytes, int]
    heir: bytes
    dots: frozenset[Dot]
    revoked: bool = False
    at_ms: int = 0

    def counts(self, incarnation: bytes) -> int:
        """The last batch of one of its logs that is taken in."""
        return self.cut.get(incarnation, 0)


@dataclass(frozen=True, slots=True)
class Register:
    """What all statements together say: names, when sites were told to retire, and who was forgotten."""

    names: Mapping[bytes, str] = field(default_factory=dict)
    retired: Mapping[bytes, int] = field(default_factory=dict)
    removed: Mapping[bytes, Removal] = field(default_factory=dict)


Record = TypeVar("Record", NameRecord, RetiredRecord, ForgottenRecord)
_KINDS: Final = (b"name", b"retired", b"forgotten")
_encoder = msgspec.msgpack.Encoder()
_decoders: dict[type, msgspec.msgpack.Decoder[object]] = {
    kind: msgspec.msgpack.Decoder(kind) for kind in (NameRecord, RetiredRecord, ForgottenRecord)
}


def name_item(site: bytes) -> bytes:
    """The item of a site's name."""
    return b"name/" + site.hex().encode()


def retired_item(site: bytes, by: bytes) -> bytes:
    """The item by which ``by`` says that ``site`` retires."""
    return b"retired/" + site.hex().encode() + b"/" + by.hex().encode()


def forgotten_item(site: bytes, by: bytes) -> bytes:
    """The item by which ``by`` says that ``site`` is out."""
    return b"forgotten/" + site.hex().encode() + b"/" + by.hex().encode()


def encode_member(record: NameRecord | RetiredRecord | ForgottenRecord) -> bytes:
    """Bytes of a record, current version."""
    return _encoder.encode(record)


def decode_member(kind: type[Record], data: bytes) -> Record:
    """The record of ``kind`` in ``data``; ``ChangeInvalid`` or ``ChangeTooNew`` otherwise."""
    try:
        record = _decoders[kind].decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ChangeInvalid(f"not a {kind.__name__}: {error}") from error
    assert isinstance(record, kind)
    if record.version > MEMBER_VERSION:
        raise ChangeTooNew(f"{kind.__name__} of version {record.version}: upgrade this site")
    if isinstance(record, NameRecord) and not 0 < len(record.name) <= NAME_CHARACTERS_MAX:
        raise ChangeInvalid("the name of a site is empty or too long")
    if isinstance(record, ForgottenRecord) and (
        len(record.heir) != SITE_SIZE
        or any(len(incarnation) != INCARNATION_SIZE or n < 0 for incarnation, n in record.cut)
    ):
        raise ChangeInvalid("a cut or an heir is out of range")
    return record


def check_member_item(item: bytes, body: bytes, *, dead: bool) -> None:
    """Whether this site understands an item: ``ChangeInvalid``, or ``ChangeTooNew`` for a kind it does not know."""
    if item.split(b"/", 1)[0] not in _KINDS:
        raise ChangeTooNew("a statement on a site of a kind that is not known here: upgrade this site")
    match = _ITEM.fullmatch(item)
    if match is None:
        raise ChangeInvalid("the item of a statement on a site is not of the form")
    if dead:
        return
    if match[1]:
        decode_member(NameRecord, body)
    elif match[3] == b"retired":
        decode_member(RetiredRecord, body)
    else:
        decode_member(ForgottenRecord, body)


def read_register(statements: Iterable[Statement]) -> Register:
    """What the unreplaced statements say together. Pure, whatever their order."""
    names: dict[bytes, tuple[tuple[int, Dot], str]] = {}
    retired: dict[bytes, int] = {}
    forgotten: dict[bytes, list[tuple[bytes, Dot, ForgottenRecord]]] = {}
    for said in statements:
        match = _ITEM.fullmatch(said.item)
        if match is None or said.dead:
            continue
        site = bytes.fromhex((match[2] or match[4]).decode())
        if match[1]:
            claim = ((said.hlc, said.dot), decode_member(NameRecord, said.body).name)
            names[site] = max(claim, names.get(site, claim))
        elif match[3] == b"retired":
            at_ms = decode_member(RetiredRecord, said.body).at_ms
            retired[site] = min(at_ms, retired.get(site, at_ms))
        else:
            record = decode_member(ForgottenRecord, said.body)
            forgotten.setdefault(site, []).append((match[5], said.dot, record))
    removed = {site: _join(claims) for site, claims in forgotten.items()}
    return Register({site: name for site, (_, name) in names.items()}, retired, removed)


def _join(claims: list[tuple[bytes, Dot, ForgottenRecord]]) -> Removal:
    cut: dict[bytes, int] = {}
    for _, _, record in claims:
        for incarnation, n in record.cut:
            cut[incarnation] = max(n, cut.get(incarnation, 0))
    first = min(claims, key=lambda claim: (claim[2].at_ms, claim[0], claim[2].heir))[2]
    dots = frozenset(dot for _, dot, _ in claims)
    return Removal(cut, first.heir, dots, any(record.revoked for _, _, record in claims), first.at_ms)
