"""Every parser of bytes from outside, found by itself: any input gives a value or a typed error, never anything else.

``find_targets`` walks the packages below and takes each public ``parse_*``, ``decode_*``, ``split_*`` and ``fold_*``
function whose parameters can be made of bytes (text, numbers, mappings of headers or query parameters).
What cannot be made is in ``BY_HAND``, with how, or in ``EXEMPT``, with why: a new parser is fuzzed from the day it is
written, or a test asks for a line here.
"""

import importlib
import inspect
import json
import pkgutil
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import gateway.identity
import gateway.s3
import gateway.store
import replication
from gateway.s3 import configurations, event_messages, names, notification, policy_conditions
from gateway.s3 import headers as known_headers
from gateway.s3.operations_table import ROWS
from gateway.s3.uri import parse_query
from gateway.store import document_format, identity_format
from replication import member_format, padded_format

VERBS = ("parse_", "decode_", "split_", "fold_")
PACKAGES = {
    gateway.s3: lambda name: True,
    gateway.identity: lambda name: "policy" in name or "token" in name or "web_identity" in name,
    # Not index_format: its rows never leave the site, and a checksum of ours is checked before they are decoded.
    gateway.store: lambda name: name.endswith(("_format", "version_ids")) and not name.endswith("index_format"),
    replication: lambda name: name.endswith("_format"),
}
HEADER_NAMES = sorted(
    set().union(*known_headers._KNOWN.values())
    | known_headers._ALWAYS
    | {"content-length", "content-md5", "content-type", "content-encoding", "expires", "range", "if-match", "date"}
    | {"if-none-match", "if-modified-since", "if-unmodified-since", "x-amz-meta-a", "authorization", "origin", "host"}
)
QUERY_NAMES = sorted({name for row in ROWS.values() for name in (*row.query, row.subresource) if name} | {"uploadId"})
_SEALED = "opens only what the realm sealed; damage to it is tests/replication/test_cloud_formats.py's"
EXEMPT = {
    "replication.batch_format.decode_batch": _SEALED,
    "replication.cloud_index_format.decode_index": _SEALED,
    "replication.pack_format.decode_pack": _SEALED,
    "replication.checkpoint_format.decode_manifest": _SEALED,
    "replication.checkpoint_format.decode_part": _SEALED,
    "gateway.s3.acl_xml.parse_grant": "is given an element of a document that is fuzzed whole (ACLs, logging)",
}


class Feed:
    """Turns one byte string into the arguments of one call, deterministically."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def number(self) -> int:
        """0 to 65,535, or now and then something huge or negative."""
        raw = self._data[self._at : self._at + 2]
        self._at += 2
        value = int.from_bytes(raw, "big")
        return {7: -1, 9: 2**63}.get(value & 0xF, value >> 4) if raw else 0

    def flag(self) -> bool:
        return bool(self.number() & 16)

    def line(self) -> bytes:
        """Up to the next NUL."""
        end = self._data.find(b"\0", self._at)
        end = len(self._data) if end < 0 else end
        line, self._at = self._data[self._at : end], end + 1
        return line

    def text(self) -> str:
        return self.line().decode("utf-8", "surrogateescape")

    def rest(self) -> bytes:
        data, self._at = self._data[self._at :], len(self._data)
        return data

    def mapping(self, names: list[str], *, strict: bool = False) -> dict[str, str]:
        """Up to eight pairs; names mostly from the vocabulary. ``strict``: all UTF-8, as decoded queries are."""
        pairs = {}
        for _ in range(min(self.number() % 9, 8)):
            pick = self.number()
            pairs[names[pick % len(names)] if pick % 8 else self.text()] = self.text()
        if strict:
            return {_as_utf8(name): _as_utf8(value) for name, value in pairs.items()}
        return pairs


def _as_utf8(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _headers(feed: Feed) -> dict[str, str]:
    return feed.mapping(HEADER_NAMES)


MAKERS: dict[str, Callable[[Feed], object]] = {
    "str": Feed.text,
    "str | None": lambda feed: feed.text() if feed.flag() else None,
    "int": Feed.number,
    "int | None": lambda feed: feed.number() if feed.flag() else None,
    "bool": Feed.flag,
    "Query": lambda feed: parse_query(feed.text()),
    "Iterable[tuple[bytes, bytes]]": lambda feed: [(feed.line(), feed.line()) for _ in range(feed.number() % 9)],
    "Iterable[tuple[str, str]]": lambda feed: [(feed.text(), feed.text()) for _ in range(feed.number() % 60)],
}


def _make(name: str, annotation: str) -> Callable[[Feed], object] | None:
    """How a parameter is made; bytes come last of all and take the rest."""
    if annotation in ("Mapping[str, str]", "dict[str, str]"):
        return (lambda feed: feed.mapping(QUERY_NAMES, strict=True)) if "query" in name else _headers
    return MAKERS.get(annotation)


class Target(NamedTuple):
    """A parser: ``run`` calls it with what a byte string makes; raises what no parser may raise."""

    name: str
    run: Callable[[bytes], None]
    words: tuple[bytes, ...]


def words_of(function: types.FunctionType) -> tuple[bytes, ...]:
    """The strings a parser's module and the parser itself speak of: what a fuzzer cannot guess."""
    found: set[str] = set()
    codes = [
        function.__code__,
        *(f.__code__ for f in vars(inspect.getmodule(function)).values() if inspect.isfunction(f)),
    ]
    while codes:
        for constant in codes.pop().co_consts:
            if isinstance(constant, str) and len(constant) <= 40:
                found.add(constant)
            elif isinstance(constant, tuple):
                found.update(one for one in constant if isinstance(one, str))
            elif isinstance(constant, types.CodeType):
                codes.append(constant)
    return tuple(sorted(word.encode("utf-8", "surrogateescape") for word in found if word.strip()))


def is_typed(error: Exception) -> bool:
    """Whether an exception is one of ours: it says what is wrong with the input."""
    return type(error).__module__.partition(".")[0] in ("gateway", "replication")


@contextmanager
def suppress_typed() -> Iterator[None]:
    """Let typed errors pass."""
    try:
        yield
    except Exception as error:
        if not is_typed(error):
            raise


def _runner(parser: Callable[..., object]) -> Callable[[bytes], None] | None:
    makers: list[tuple[str, Callable[[Feed], object]]] = []
    body: str | None = None
    for parameter in inspect.signature(parser).parameters.values():
        if parameter.annotation in ("bytes", "bytes | memoryview") and body is None:
            body = parameter.name
            continue
        maker = _make(parameter.name, parameter.annotation)
        if maker is not None:
            makers.append((parameter.name, maker))
        elif parameter.default is inspect.Parameter.empty:
            return None

    leads = body == next(iter(inspect.signature(parser).parameters), None)

    def run(data: bytes) -> None:
        feed = Feed(data)
        with suppress_typed():
            arguments = {name: maker(feed) for name, maker in makers}
            first = [feed.rest()] if leads else []
            if body is not None and not leads:
                arguments[body] = feed.rest()
            parser(*first, **arguments)

    return run


def find_parsers() -> Iterator[tuple[str, Callable[..., object]]]:
    """(qualified name, parser) of everything that looks like one, as its callers have it (wrapped and cached)."""
    for package, wanted in PACKAGES.items():
        for info in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            if not wanted(info.name):
                continue
            module = importlib.import_module(info.name)
            for name, member in vars(module).items():
                function = inspect.unwrap(member) if callable(member) else member
                if inspect.isfunction(function) and name.startswith(VERBS) and function.__module__ == module.__name__:
                    yield f"{info.name}.{name}", member


def find_targets() -> dict[str, Target]:
    """Every parser that can be called with what bytes make."""
    targets = {}
    for name, parser in find_parsers():
        run = BY_HAND.get(name) or _runner(parser)
        if run is not None and name not in EXEMPT:
            targets[name] = Target(name, run, words_of(inspect.unwrap(parser)))
    return targets


def _each_kind(decode: Callable[..., object], kinds: tuple[type, ...]) -> Callable[[bytes], None]:
    """For decoders that are told which record to expect."""

    def run(data: bytes) -> None:
        for kind in kinds:
            with suppress_typed():
                decode(kind, data)

    return run


def _calls(decode: Callable[[bytes], object]) -> Callable[[bytes], None]:
    """For decoders of bytes that may also be None."""

    def run(data: bytes) -> None:
        with suppress_typed():
            decode(data)

    return run


def _read_conditions(data: bytes) -> None:
    with suppress(ValueError, RecursionError):
        value = json.loads(data)
        with suppress_typed():
            policy_conditions.parse_conditions(value)


def _split_host(data: bytes) -> None:
    names.split_host(data.decode("utf-8", "surrogateescape"), ("s3.example", "localhost"))


def _read_padded(data: bytes) -> None:
    with suppress_typed():
        padded_format.decode_padded(data[:4], 1, data)


def _read_configuration(data: bytes) -> None:
    for kind in (
        configurations.ANALYTICS,
        configurations.INTELLIGENT_TIERING,
        configurations.INVENTORY,
        configurations.METRICS,
    ):
        with suppress_typed():
            configurations.parse_named(kind, "a", data)


def _read_notification(data: bytes) -> None:
    for destinations in (None, ("orders",)):
        with suppress_typed():
            notification.parse_notification(data, destinations)


BY_HAND: dict[str, Callable[[bytes], None]] = {
    "replication.member_format.decode_member": _each_kind(member_format.decode_member, tuple(member_format._decoders)),
    "gateway.s3.configurations.parse_named": _read_configuration,
    "gateway.s3.event_messages.decode_facts": _calls(event_messages.decode_facts),
    "gateway.s3.notification.parse_notification": _read_notification,
    "gateway.s3.names.split_host": _split_host,
    "gateway.s3.policy_conditions.parse_conditions": _read_conditions,
    "gateway.store.document_format.decode_record": _each_kind(
        document_format.decode_record, tuple(document_format._decoders)
    ),
    "gateway.store.identity_format.decode_identity": _each_kind(
        identity_format.decode_identity, tuple(identity_format._decoders)
    ),
    "replication.padded_format.decode_padded": _read_padded,
}
