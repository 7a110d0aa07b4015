"""AWS's Query protocol, which IAM and STS speak: form-encoded parameters in, XML out. Pure.

A request is ``POST /`` with ``Action``, ``Version`` and parameters, lists as ``Name.member.N`` from 1 on, structures
as ``Name.member.N.Field``. An answer is ``<ActionResponse><ActionResult>…</ActionResult><ResponseMetadata>``, its lists
of ``<member>``. Any bytes are either parameters or a typed error; what no verb asks for is ignored, as AWS does.
Source: "Making query requests", IAM user guide; the service models' query protocol.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from gateway.s3.errors import InvalidURI, S3Error, escape_text
from gateway.s3.query_errors import InvalidAction, MalformedInput, ValidationError
from gateway.s3.uri import QUERY_PAIRS_MAX, decode_percent

FORM: Final = "application/x-www-form-urlencoded"
BODY_BYTES_MAX: Final = 1 << 20
MEMBERS_MAX: Final = 200
_NOT_XML: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_MEMBER: Final = re.compile(r"([1-9][0-9]{0,4})(?:\.(.+))?")


class Entries(NamedTuple):
    """A map from any names to numbers, which is rendered as entries of key and value."""

    values: Mapping[str, int]


Fields = Mapping[str, "Value"]
Value = str | int | bool | None | Entries | Fields | Sequence["Value"]
"""What an answer is made of: text, numbers, booleans, structures and lists of them; None leaves an element out."""


class Service(NamedTuple):
    """A service of this protocol: its name in credential scopes, API version and XML namespace."""

    name: str
    version: str
    namespace: str


IAM: Final = Service("iam", "2010-05-08", "https://iam.amazonaws.com/doc/2010-05-08/")
STS: Final = Service("sts", "2011-06-15", "https://sts.amazonaws.com/doc/2011-06-15/")
SERVICES: Final = {service.version: service for service in (IAM, STS)}


class Parameters:
    """The parameters of one request, by name, each at most once."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def find(self, name: str) -> str | None:
        """A parameter's text, None if it was not sent."""
        return self._values.get(name)

    def text(self, name: str, *, default: str | None = None, size_max: int = 1 << 20, size_min: int = 1) -> str:
        """A parameter's text; ``ValidationError`` if it is missing without default, or too short or long."""
        value = self._values.get(name)
        if value is None:
            if default is None:
                raise _violated(name, "", "Member must not be null")
            return default
        if len(value) < size_min:
            raise _violated(name, value, f"Member must have length greater than or equal to {size_min}")
        if len(value) > size_max:
            raise _violated(name, value[:64], f"Member must have length less than or equal to {size_max}")
        return value

    def matching(self, name: str, pattern: re.Pattern[str], size_max: int, *, default: str | None = None) -> str:
        """A parameter's text if all of it matches; ``ValidationError`` otherwise."""
        value = self.text(name, default=default, size_max=size_max)
        if value != default and not pattern.fullmatch(value):
            raise _violated(name, value, f"Member must satisfy regular expression pattern: {pattern.pattern}")
        return value

    def number(self, name: str, *, default: int, minimum: int, maximum: int) -> int:
        """A decimal between two bounds; ``ValidationError`` otherwise."""
        value = self._values.get(name)
        if value is None:
            return default
        if not re.fullmatch(r"-?[0-9]{1,10}", value, re.ASCII):
            raise MalformedInput(f"The value of {name} is not a number")
        if int(value) < minimum:
            raise _violated(name, value, f"Member must have value greater than or equal to {minimum}")
        if int(value) > maximum:
            raise _violated(name, value, f"Member must have value less than or equal to {maximum}")
        return int(value)

    def flag(self, name: str) -> bool:
        """``true`` or ``false`` (the default); ``MalformedInput`` otherwise."""
        value = self._values.get(name, "false").lower()
        if value not in ("true", "false"):
            raise MalformedInput(f"The value of {name} is not a boolean")
        return value == "true"

    def members(self, name: str) -> list[str]:
        """The texts of a list, in order; empty if it was not sent."""
        return [fields.get("", "") for fields in self.structures(name)]

    def structures(self, name: str) -> list[dict[str, str]]:
        """The structures of a list, each its fields by name (a plain text under ``""``)."""
        found: dict[int, dict[str, str]] = {}
        prefix = name + ".member."
        for parameter, value in self._values.items():
            if parameter.startswith(prefix):
                match = _MEMBER.fullmatch(parameter[len(prefix) :])
                if match is None:
                    raise MalformedInput(f"The parameter {parameter[:200]} is not a member of a list")
                found.setdefault(int(match[1]), {})[match[2] or ""] = value
        if len(found) > MEMBERS_MAX:
            raise _violated(name, "", f"Member must have length less than or equal to {MEMBERS_MAX}")
        return [found[number] for number in sorted(found)]


def _violated(name: str, value: str, constraint: str) -> S3Error:
    """``ValidationError`` as AWS words it."""
    shown = name[:1].lower() + name[1:]
    return ValidationError(
        f"1 validation error detected: Value '{value}' at '{shown}' failed to satisfy constraint: {constraint}"
    )


def parse_form(body: bytes) -> Parameters:
    """The parameters of a form-encoded body (or query string); ``MalformedInput`` for what is none."""
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError:
        raise MalformedInput("The body is not form-encoded") from None
    values: dict[str, str] = {}
    pieces = text.split("&") if text else []
    if len(pieces) > QUERY_PAIRS_MAX:
        raise MalformedInput("The request has too many parameters")
    for piece in pieces:
        raw_name, _, raw_value = piece.partition("=")
        if not piece:
            continue
        try:
            name = decode_percent(raw_name, plus_is_space=True)
            value = decode_percent(raw_value, plus_is_space=True)
        except InvalidURI:
            raise MalformedInput("The body is not form-encoded UTF-8") from None
        if name in values:
            raise MalformedInput(f"The parameter {name[:100]} was sent more than once")
        values[name] = value
    return Parameters(values)


def find_service(parameters: Parameters) -> Service:
    """The service whose version the request names; ``InvalidAction`` for another one."""
    version = parameters.find("Version") or ""
    service = SERVICES.get(version)
    if service is None:
        action = parameters.find("Action") or ""
        raise InvalidAction(
            f"Could not find operation {action[:100]} for version {version[:40] or 'NO_VERSION_SPECIFIED'}"
        )
    return service


def render_answer(service: Service, action: str, fields: Fields | None, request_id: str) -> bytes:
    """The document of a success; ``fields`` None: an operation without result."""
    result = "" if fields is None else f"<{action}Result>{_render_fields(fields)}</{action}Result>"
    return (
        f'<{action}Response xmlns="{service.namespace}">{result}'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>"
    ).encode()


def render_error(service: Service, error: S3Error, request_id: str) -> bytes:
    """The document of a failure."""
    side = "Sender" if error.status < 500 else "Receiver"
    return (
        f'<ErrorResponse xmlns="{service.namespace}"><Error><Type>{side}</Type><Code>{error.code}</Code>'
        f"<Message>{_escape(error.text)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    ).encode()


def _escape(text: str) -> str:
    """Text for XML content; what XML 1.0 cannot hold (only echoes of wrong requests have it) is a question mark."""
    return escape_text(_NOT_XML.sub("?", text))


def _render_fields(fields: Fields) -> str:
    return "".join(f"<{name}>{_render_value(value)}</{name}>" for name, value in fields.items() if value is not None)


def _render_value(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _escape(value)
    if value is None:
        return ""
    if isinstance(value, Entries):
        return "".join(
            f"<entry><key>{_escape(key)}</key><value>{number}</value></entry>" for key, number in value.values.items()
        )
    if isinstance(value, Mapping):
        return _render_fields(value)
    return "".join(f"<member>{_render_value(member)}</member>" for member in value)
