"""The LifecycleConfiguration document: XML → ``Lifecycle`` with AWS's checks, back to XML, and its stored form. Pure.

Source: API reference of PutBucketLifecycleConfiguration, "Lifecycle configuration elements". A rule without an ID gets
one made of what it says, so that all sites give it the same. Stored as JSON of the values (``lifecycle_rules``), fields
only ever added at the end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Final
from xml.etree.ElementTree import Element

import msgspec

from gateway.s3.documents import children, fields_of, parse_boolean, parse_document, text_of
from gateway.s3.errors import InvalidArgument, InvalidRequest, MalformedXML, S3Error, escape_text
from gateway.s3.lifecycle_rules import (
    ALL_128K,
    BY_CLASS,
    DAY_MS,
    TRANSITION_CLASSES,
    Filter,
    Lifecycle,
    Rule,
    Transition,
)
from gateway.s3.names import KEY_BYTES_MAX
from gateway.s3.stored import stored
from gateway.s3.times import format_iso, parse_iso_ms

SMALL_HEADER: Final = "x-amz-transition-default-minimum-object-size"
RULES_MAX: Final = 1000
ID_LENGTH_MAX: Final = 255
NEWER_MAX: Final = 100
_DAYS_MAX: Final = 2**31 - 1
_IA_DAYS_MIN: Final = 30
_HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
_XMLNS: Final = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Lifecycle)


def encode_lifecycle(lifecycle: Lifecycle) -> bytes:
    """The stored form."""
    return _encoder.encode(lifecycle)


@lru_cache(maxsize=1024)
@stored
def decode_lifecycle(body: bytes) -> Lifecycle:
    """What ``encode_lifecycle`` was given; ``ValueError`` for anything else."""
    return _decoder.decode(body)


def parse_small(header: str | None) -> str:
    """The header that says which small objects transition; ``InvalidRequest`` for a word it does not know."""
    if header is None:
        return ALL_128K
    if header not in (ALL_128K, BY_CLASS):
        raise InvalidRequest(f"Invalid {SMALL_HEADER} value")
    return header


def parse_lifecycle(body: bytes, small: str = ALL_128K, *, short_days: bool = False) -> Lifecycle:
    """The rules of a document, checked. ``short_days``: days are for tests, so AWS's 30 days before a transition to an
    infrequent-access class are not demanded.
    """
    elements = [child for _, child in children(parse_document(body, "LifecycleConfiguration"), "Rule")]
    if not 1 <= len(elements) <= RULES_MAX:
        raise MalformedXML
    rules = []
    for number, element in enumerate(elements):
        rule = _parse_rule(element)
        _check_together(rule, short_days=short_days)
        if not rule.id:
            digest = hashlib.blake2b(b"%d" % number + _encoder.encode(rule), digest_size=18)
            rule = msgspec.structs.replace(rule, id=digest.hexdigest())
        rules.append(rule)
    if len({rule.id for rule in rules}) != len(rules):
        raise InvalidArgument("Rule ID must be unique. Found same ID for more than one rule")
    return Lifecycle(tuple(rules), small)


# --- reading


def _parse_rule(element: Element) -> Rule:
    found: dict[str, list[Element]] = {}
    many = ("Transition", "NoncurrentVersionTransition")
    once = ("ID", "Prefix", "Filter", "Status", "Expiration", "NoncurrentVersionExpiration")
    for name, child in children(element, *once, "AbortIncompleteMultipartUpload", *many):
        found.setdefault(name, []).append(child)
    if any(len(elements) > 1 and name not in many for name, elements in found.items()):
        raise MalformedXML
    identity = text_of(found["ID"][0]) if "ID" in found else ""
    if len(identity) > ID_LENGTH_MAX:
        raise InvalidArgument(f"ID length should not exceed allowed limit of {ID_LENGTH_MAX}")
    status = text_of(found["Status"][0]).strip() if "Status" in found else ""
    if status not in ("Enabled", "Disabled") or ("Filter" in found) == ("Prefix" in found):
        raise MalformedXML
    days, date_ms, markers = _parse_expiration(found["Expiration"][0]) if "Expiration" in found else (None, None, None)
    noncurrent_days, newer = None, 0
    if "NoncurrentVersionExpiration" in found:
        noncurrent_days, newer = _parse_noncurrent(found["NoncurrentVersionExpiration"][0])
    abort_days = None
    if "AbortIncompleteMultipartUpload" in found:
        abort_days = _parse_abort(found["AbortIncompleteMultipartUpload"][0])
    return Rule(
        id=identity,
        enabled=status == "Enabled",
        filter=_parse_filter(found["Filter"][0])
        if "Filter" in found
        else _filter_of("", [("Prefix", found["Prefix"][0])]),
        expire_days=days,
        expire_date_ms=date_ms,
        expire_markers=markers,
        noncurrent_days=noncurrent_days,
        noncurrent_newer=newer,
        abort_days=abort_days,
        transitions=tuple([_parse_transition(child) for child in found.get(many[0], [])]),
        noncurrent_transitions=tuple([_parse_noncurrent_transition(child) for child in found.get(many[1], [])]),
    )


def _parse_filter(element: Element) -> Filter:
    parts = list(children(element, "Prefix", "Tag", "ObjectSizeGreaterThan", "ObjectSizeLessThan", "And"))
    if not parts:
        return Filter("Filter")
    if len(parts) == 2:  # clients write an empty prefix beside what they mean; it says nothing
        parts = [(name, child) for name, child in parts if name != "Prefix" or len(child) or child.text]
    if len(parts) > 1:
        raise MalformedXML
    name, child = parts[0]
    if name != "And":
        return _filter_of(name, [(name, child)])
    inner = list(children(child, "Prefix", "Tag", "ObjectSizeGreaterThan", "ObjectSizeLessThan"))
    if len(inner) < 2:
        raise MalformedXML
    return _filter_of("And", inner)


def _filter_of(shape: str, parts: list[tuple[str, Element]]) -> Filter:
    prefix, tags, sizes, seen = "", [], {}, set()
    for name, child in parts:
        if name == "Tag":
            fields = fields_of(child, "Key", "Value")
            if not fields.get("Key") or "Value" not in fields:
                raise MalformedXML
            tags.append((fields["Key"], fields["Value"]))
            continue
        if name in seen:
            raise MalformedXML
        seen.add(name)
        if name == "Prefix":
            prefix = text_of(child)
        else:
            sizes[name] = _parse_size(text_of(child), name)
    if len(prefix.encode("utf-8", "replace")) > KEY_BYTES_MAX:
        raise InvalidRequest(f"The maximum size of a prefix is {KEY_BYTES_MAX}.")
    if len({key for key, _ in tags}) != len(tags):
        raise InvalidRequest("Duplicate Tag Keys are not allowed.")
    above, below = sizes.get("ObjectSizeGreaterThan"), sizes.get("ObjectSizeLessThan")
    if above is not None and below is not None and above >= below:
        raise InvalidRequest("'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'")
    return Filter(shape, prefix, tuple(tags), above, below)


def _parse_number(text: str) -> int:
    """A decimal, negative ones too, so that they get AWS's own error and not ``MalformedXML``."""
    text = text.strip()
    if not (text.isascii() and text.removeprefix("-").isdecimal()) or len(text) > 19:
        raise MalformedXML
    return int(text)


def _parse_size(text: str, name: str) -> int:
    number = _parse_number(text)
    if number < 0 or (name == "ObjectSizeLessThan" and number == 0):
        raise InvalidRequest(f"'{name}' should be a positive integer")
    return number


def _parse_days(text: str, complaint: str, least: int = 1) -> int:
    days = _parse_number(text)
    if not least <= days <= _DAYS_MAX:
        raise InvalidArgument(complaint)
    return days


def _parse_date_ms(text: str) -> int:
    text = text.strip()
    date_ms = parse_iso_ms(text if "T" in text else text + "T00:00:00Z")
    if date_ms is None:
        raise MalformedXML
    if date_ms % DAY_MS:
        raise InvalidArgument("'Date' must be at midnight GMT")
    return date_ms


def _parse_expiration(element: Element) -> tuple[int | None, int | None, bool | None]:
    fields = fields_of(element, "Days", "Date", "ExpiredObjectDeleteMarker")
    if len(fields) != 1:
        raise MalformedXML
    if "Days" in fields:
        return _parse_days(fields["Days"], "'Days' for Expiration action must be a positive integer"), None, None
    if "Date" in fields:
        return None, _parse_date_ms(fields["Date"]), None
    return None, None, _parse_flag(fields["ExpiredObjectDeleteMarker"])


def _parse_flag(text: str) -> bool:
    if not text.strip():
        raise MalformedXML
    return parse_boolean(text)


def _parse_newer(fields: dict[str, str], action: str) -> int:
    if "NewerNoncurrentVersions" not in fields:
        return 0
    newer = _parse_number(fields["NewerNoncurrentVersions"])
    if not 1 <= newer <= NEWER_MAX:
        raise InvalidArgument(f"'NewerNoncurrentVersions' for {action} action must be between 1 and {NEWER_MAX}")
    return newer


def _parse_noncurrent(element: Element) -> tuple[int, int]:
    fields = fields_of(element, "NoncurrentDays", "NewerNoncurrentVersions")
    action = "NoncurrentVersionExpiration"
    if "NoncurrentDays" not in fields:
        raise MalformedXML
    days = _parse_days(fields["NoncurrentDays"], f"'NoncurrentDays' for {action} action must be a positive integer")
    return days, _parse_newer(fields, action)


def _parse_abort(element: Element) -> int:
    fields = fields_of(element, "DaysAfterInitiation")
    if not fields:
        raise MalformedXML
    return _parse_days(
        fields["DaysAfterInitiation"],
        "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer",
    )


def _parse_class(fields: dict[str, str]) -> str:
    name = fields.get("StorageClass", "").strip()
    if name not in TRANSITION_CLASSES:
        raise MalformedXML
    return name


def _parse_transition(element: Element) -> Transition:
    fields = fields_of(element, "Days", "Date", "StorageClass")
    if ("Days" in fields) == ("Date" in fields):
        raise MalformedXML
    storage_class = _parse_class(fields)
    if "Date" in fields:
        return Transition(storage_class, date_ms=_parse_date_ms(fields["Date"]))
    return Transition(storage_class, _parse_days(fields["Days"], "'Days' in Transition action must be nonnegative", 0))


def _parse_noncurrent_transition(element: Element) -> Transition:
    fields = fields_of(element, "NoncurrentDays", "NewerNoncurrentVersions", "StorageClass")
    action = "NoncurrentVersionTransition"
    if "NoncurrentDays" not in fields:
        raise MalformedXML
    complaint = f"'NoncurrentDays' in {action} action must be nonnegative"
    days = _parse_days(fields["NoncurrentDays"], complaint, 0)
    return Transition(_parse_class(fields), days, newer=_parse_newer(fields, action))


# --- what must agree within a rule


def _check_together(rule: Rule, *, short_days: bool) -> None:
    expires = rule.expire_days is not None or rule.expire_date_ms is not None or rule.expire_markers is not None
    moves = rule.transitions or rule.noncurrent_transitions
    if not (expires or moves or rule.noncurrent_days is not None or rule.abort_days is not None):
        raise InvalidRequest("At least one action needs to be specified in a rule")
    sized = rule.filter.size_above is not None or rule.filter.size_below is not None
    for given, name in ((rule.expire_markers, "ExpiredObjectDeleteMarker"), (rule.abort_days, _ABORT)):
        if given is not None and given is not False and (rule.filter.tags or sized):
            raise InvalidRequest(f"{name} cannot be specified with {'Tags' if rule.filter.tags else 'Object Size'}.")
    _check_moves(rule.transitions, "Transition", "Days", short_days=short_days)
    _check_moves(rule.noncurrent_transitions, "NoncurrentVersionTransition", "NoncurrentDays", short_days=short_days)
    _check_order(rule)


_ABORT: Final = "AbortIncompleteMultipartUpload"


def _check_moves(moves: tuple[Transition, ...], action: str, unit: str, *, short_days: bool) -> None:
    classes = [move.storage_class for move in moves]
    if len(set(classes)) != len(classes):
        raise InvalidRequest(f"'StorageClass' must be different for '{action}' actions in same 'Rule'")
    if len({move.date_ms is None for move in moves}) > 1:
        raise InvalidRequest(f"Found mixed 'Date' and 'Days' based {action} actions in lifecycle rule")
    for move in moves:
        needs = _IA_DAYS_MIN if move.storage_class in ("STANDARD_IA", "ONEZONE_IA") and not short_days else 0
        if move.days is not None and move.days < needs:
            raise InvalidArgument(
                f"'{unit}' in {action} action must be greater than or equal to {needs} for storageClass "
                f"'{move.storage_class}'"
            )
    ordered = sorted(moves, key=lambda move: TRANSITION_CLASSES.index(move.storage_class))
    for warmer, colder in pairwise(ordered):
        if _time_of(colder) <= _time_of(warmer) and not short_days:
            raise InvalidArgument(
                f"'{unit}' in the '{action}' action for StorageClass '{colder.storage_class}' must be greater than "
                f"that for StorageClass '{warmer.storage_class}'"
            )


def _time_of(move: Transition) -> int:
    return move.date_ms if move.date_ms is not None else move.days or 0


def _check_order(rule: Rule) -> None:
    """Nothing may be moved after it expired."""
    where = f"filter '(prefix={rule.filter.prefix})'"
    for move in rule.transitions:
        if (move.days is None) if rule.expire_days is not None else (rule.expire_date_ms and move.date_ms is None):
            raise InvalidRequest(
                f"Found mixed 'Date' and 'Days' based Expiration and Transition actions in lifecycle rule for {where}"
            )
        ends = rule.expire_days if rule.expire_days is not None else rule.expire_date_ms
        if ends is not None and ends <= _time_of(move):
            raise _too_soon("Days" if rule.expire_days is not None else "Date", "Expiration", "Transition", where)
    for move in rule.noncurrent_transitions:
        if rule.noncurrent_days is not None and rule.noncurrent_days <= _time_of(move):
            raise _too_soon("NoncurrentDays", "NoncurrentVersionExpiration", "NoncurrentVersionTransition", where)


def _too_soon(unit: str, ending: str, moving: str, where: str) -> S3Error:
    return InvalidArgument(
        f"'{unit}' in the {ending} action for {where} must be greater than '{unit}' in the {moving} action"
    )


# --- writing


def render_lifecycle(lifecycle: Lifecycle) -> bytes:
    """The document of a bucket's rules."""
    rules = "".join(_render_rule(rule) for rule in lifecycle.rules)
    return f"{_HEAD}<LifecycleConfiguration{_XMLNS}>{rules}</LifecycleConfiguration>".encode()


def _element(name: str, value: object, show: Callable[[object], str] = str) -> str:
    return "" if value is None else f"<{name}>{escape_text(show(value))}</{name}>"


def _render_rule(rule: Rule) -> str:
    parts = [_element("ID", rule.id), _render_filter(rule.filter)]
    parts.append(_element("Status", "Enabled" if rule.enabled else "Disabled"))
    parts += [_render_transition(move) for move in rule.transitions]
    parts += [_render_noncurrent_transition(move) for move in rule.noncurrent_transitions]
    expiration = _element("Days", rule.expire_days) + _render_date(rule.expire_date_ms)
    if rule.expire_markers is not None:
        expiration += _element("ExpiredObjectDeleteMarker", "true" if rule.expire_markers else "false")
    if expiration:
        parts.append(f"<Expiration>{expiration}</Expiration>")
    if rule.noncurrent_days is not None:
        inner = _element("NoncurrentDays", rule.noncurrent_days)
        inner += _element("NewerNoncurrentVersions", rule.noncurrent_newer or None)
        parts.append(f"<NoncurrentVersionExpiration>{inner}</NoncurrentVersionExpiration>")
    if rule.abort_days is not None:
        parts.append(f"<{_ABORT}>{_element('DaysAfterInitiation', rule.abort_days)}</{_ABORT}>")
    return f"<Rule>{''.join(parts)}</Rule>"


def _render_date(date_ms: int | None) -> str:
    return "" if date_ms is None else _element("Date", format_iso(date_ms))


def _render_transition(move: Transition) -> str:
    when = _element("Days", move.days) + _render_date(move.date_ms)
    return f"<Transition>{when}{_element('StorageClass', move.storage_class)}</Transition>"


def _render_noncurrent_transition(move: Transition) -> str:
    inner = _element("NoncurrentDays", move.days) + _element("NewerNoncurrentVersions", move.newer or None)
    return (
        f"<NoncurrentVersionTransition>{inner}{_element('StorageClass', move.storage_class)}"
        "</NoncurrentVersionTransition>"
    )


def _render_filter(filter: Filter) -> str:
    if not filter.shape:
        return f"<Prefix>{escape_text(filter.prefix)}</Prefix>"
    inner = ""
    if filter.prefix or filter.shape == "Prefix":
        inner += f"<Prefix>{escape_text(filter.prefix)}</Prefix>"
    for key, value in filter.tags:
        inner += f"<Tag><Key>{escape_text(key)}</Key><Value>{escape_text(value)}</Value></Tag>"
    inner += _element("ObjectSizeGreaterThan", filter.size_above) + _element("ObjectSizeLessThan", filter.size_below)
    return f"<Filter><And>{inner}</And></Filter>" if filter.shape == "And" else f"<Filter>{inner}</Filter>"
