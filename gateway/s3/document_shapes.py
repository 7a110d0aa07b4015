"""Shapes of configuration documents as data, the one check of an element against one, and its canonical XML. Pure.

A configuration that is kept and given back whole needs no class of its own: its shape says which elements it has, how
often, and what their texts may be. ``check_shape`` raises ``MalformedXML`` for whatever is not of the shape, as AWS
does for what its schema refuses; ``render_shape`` writes what was checked, without namespaces or white space between
elements, in the shape's order. Rules that a schema cannot say (ids that must be unique) stand with each configuration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element

from gateway.s3.documents import tag_of
from gateway.s3.errors import MalformedXML, escape_text

XMLNS: Final = "http://s3.amazonaws.com/doc/2006-03-01/"


class Text(NamedTuple):
    """Text: one of ``choices`` (any if empty), of ``low`` to ``high`` characters, wholly matching ``pattern``."""

    choices: tuple[str, ...] = ()
    low: int = 0
    high: int = 1024
    pattern: str = ""


class Whole(NamedTuple):
    """A whole number from ``low`` to ``high``."""

    low: int = 0
    high: int = 2**31 - 1


class Flag(NamedTuple):
    """``true`` or ``false``."""


class Shape(NamedTuple):
    """Elements by name: (their kind, how often: ``1``, ``?``, ``*``, ``+``). ``one_of``: at most one of these names;
    ``some_of``: at least one of these.
    """

    members: Mapping[str, tuple[Kind, str]]
    one_of: tuple[str, ...] = ()
    some_of: tuple[str, ...] = ()


Kind = Text | Whole | Flag | Shape


def one(kind: Kind) -> tuple[Kind, str]:
    """Exactly once."""
    return kind, "1"


def maybe(kind: Kind) -> tuple[Kind, str]:
    """Once or not."""
    return kind, "?"


def many(kind: Kind) -> tuple[Kind, str]:
    """Any number of times."""
    return kind, "*"


def some(kind: Kind) -> tuple[Kind, str]:
    """Once or more."""
    return kind, "+"


def check_shape(element: Element, kind: Kind) -> None:
    """``MalformedXML`` unless ``element`` is of ``kind``."""
    if isinstance(kind, Shape):
        _check_members(element, kind)
        return
    if len(element):
        raise MalformedXML
    text = element.text or ""
    if isinstance(kind, Flag):
        if text.strip() not in ("true", "false"):
            raise MalformedXML
    elif isinstance(kind, Whole):
        digits = text.strip()
        if (
            not (digits.isascii() and digits.isdecimal())
            or len(digits) > 10
            or not kind.low <= int(digits) <= kind.high
        ):
            raise MalformedXML
    elif (
        (kind.choices and text not in kind.choices)
        or not kind.low <= len(text) <= kind.high
        or (kind.pattern and not re.fullmatch(kind.pattern, text))
    ):
        raise MalformedXML


def _check_members(element: Element, shape: Shape) -> None:
    counts = dict.fromkeys(shape.members, 0)
    if (element.text or "").strip():
        raise MalformedXML
    for child in element:
        name = tag_of(child)
        if name not in shape.members:
            raise MalformedXML
        counts[name] += 1
        check_shape(child, shape.members[name][0])
    for name, (_, often) in shape.members.items():
        if (often in "1+" and not counts[name]) or (often in "1?" and counts[name] > 1):
            raise MalformedXML
    if sum(counts[name] > 0 for name in shape.one_of) > 1:
        raise MalformedXML
    if shape.some_of and not any(counts[name] for name in shape.some_of):
        raise MalformedXML


def render_shape(element: Element, kind: Kind, *, root: bool = False) -> str:
    """Canonical XML of an element that was checked; ``root``: with the namespace."""
    name = tag_of(element)
    opening = f'{name} xmlns="{XMLNS}"' if root else name
    if not isinstance(kind, Shape):
        text = element.text or ""
        return f"<{opening}>{escape_text(text if isinstance(kind, Text) else text.strip())}</{name}>"
    inner = "".join(
        render_shape(child, shape)
        for member, (shape, _) in kind.members.items()
        for child in element
        if tag_of(child) == member
    )
    return f"<{opening}>{inner}</{name}>" if inner else f"<{opening}/>"


def find_text(element: Element, *path: str) -> str:
    """The text of the first element at a path of names; empty if there is none."""
    for name in path:
        found = next((child for child in element if tag_of(child) == name), None)
        if found is None:
            return ""
        element = found
    return (element.text or "").strip()


def find_all(element: Element, name: str) -> list[Element]:
    """The children of a name."""
    return [child for child in element if tag_of(child) == name]
