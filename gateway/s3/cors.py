"""Cross-origin rules of a bucket: the CORSConfiguration document, which rule a request falls under, what is answered.

The first rule that allows origin, method and every requested header counts; none: no header tells a browser anything,
and a preflight is refused. Origins match in case, headers in any; each pattern may hold one ``*``. Stored as the
document ``render_cors`` writes, so that reading it back is sending it. Pure.

Source: "Using cross-origin resource sharing (CORS)" and "Elements of a CORS configuration", Amazon S3 User Guide;
"OPTIONS object" for preflights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element

from gateway.s3.documents import children, parse_document, parse_number, text_of
from gateway.s3.errors import AccessForbidden, BadRequest, InvalidRequest, MalformedXML, S3Error, escape_text

RULES_MAX: Final = 100
METHODS: Final = ("GET", "PUT", "POST", "DELETE", "HEAD")
VARY: Final = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"
_ID_LENGTH_MAX: Final = 255
_ASKED_MAX: Final = 200  # headers a preflight may ask for: each is compared with every pattern, for nobody's sake
_MAX_AGE_S: Final = 2**31 - 1
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110: what a header's name may be
_LISTS: Final = {
    "AllowedOrigin": "origins",
    "AllowedMethod": "methods",
    "AllowedHeader": "headers",
    "ExposeHeader": "exposed",
}


class CorsRule(NamedTuple):
    """One rule. ``max_age_s``: None if not given."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    max_age_s: int | None = None
    id: str = ""


def parse_cors(body: bytes) -> tuple[CorsRule, ...]:
    """The rules of a CORSConfiguration. Raises ``MalformedXML``, ``InvalidRequest`` with what AWS says."""
    rules = [_parse_rule(child) for _, child in children(parse_document(body, "CORSConfiguration"), "CORSRule")]
    if not rules:
        raise MalformedXML
    if len(rules) > RULES_MAX:
        raise InvalidRequest(f"The number of CORS rules should not exceed allowed limit of {RULES_MAX} rules.")
    return tuple(rules)


def _parse_rule(element: Element) -> CorsRule:
    lists: dict[str, list[str]] = {name: [] for name in _LISTS.values()}
    single: dict[str, str] = {}
    for name, child in children(element, *_LISTS, "MaxAgeSeconds", "ID"):
        text = text_of(child).strip()
        if name in _LISTS:
            lists[_LISTS[name]].append(text)
        elif name in single:
            raise MalformedXML
        else:
            single[name] = text
    if not lists["origins"] or not lists["methods"]:
        raise MalformedXML
    _check_rule(lists, single.get("ID", ""))
    age_s = single.get("MaxAgeSeconds")
    max_age_s = parse_number(age_s) if age_s is not None else None
    if max_age_s is not None and max_age_s > _MAX_AGE_S:
        raise MalformedXML
    origins, methods, headers, exposed = (tuple(lists[name]) for name in _LISTS.values())
    return CorsRule(origins, methods, headers, exposed, max_age_s, single.get("ID", ""))


def _check_rule(lists: Mapping[str, list[str]], ident: str) -> None:
    """``InvalidRequest`` for what a rule may not hold, though its XML is right."""
    for method in lists["methods"]:
        if method not in METHODS:
            raise InvalidRequest(f"Found unsupported HTTP method in CORS config. Unsupported method is {method}")
    for origin in lists["origins"]:
        if origin.count("*") > 1:
            raise InvalidRequest(f'AllowedOrigin "{origin}" can not have more than one wildcard.')
    for header in lists["headers"]:
        if header.count("*") > 1:
            raise InvalidRequest(f'AllowedHeader "{header}" can not have more than one wildcard.')
        if not _TOKEN.fullmatch(header):
            raise InvalidRequest(f'AllowedHeader "{header}" contains invalid character.')
    for header in lists["exposed"]:
        if "*" in header:
            raise InvalidRequest(
                f'ExposeHeader "{header}" contains wildcard. We currently do not support wildcard for ExposeHeader.'
            )
        if not _TOKEN.fullmatch(header):
            raise InvalidRequest(f'ExposeHeader "{header}" contains invalid character.')
    if len(ident) > _ID_LENGTH_MAX:
        raise InvalidRequest(f"The ID of a CORS rule must not be longer than {_ID_LENGTH_MAX} characters.")


def render_cors(rules: Iterable[CorsRule]) -> bytes:
    """The CORSConfiguration document, as it is stored and answered."""
    out = []
    for rule in rules:
        parts = [("ID", rule.id)] if rule.id else []
        for name, field in _LISTS.items():
            parts += [(name, text) for text in getattr(rule, field)]
        if rule.max_age_s is not None:
            parts.append(("MaxAgeSeconds", str(rule.max_age_s)))
        inner = "".join(f"<{name}>{escape_text(text)}</{name}>" for name, text in parts)
        out.append(f"<CORSRule>{inner}</CORSRule>")
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<CORSConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{"".join(out)}</CORSConfiguration>'
    ).encode()


@lru_cache(maxsize=64)
def decode_cors(document: bytes) -> tuple[CorsRule, ...]:
    """The rules of a stored document."""
    return parse_cors(document)


def matches_pattern(pattern: str, text: str) -> bool:
    """Whether ``text`` is ``pattern``, in which one ``*`` stands for anything."""
    head, star, tail = pattern.partition("*")
    if not star:
        return text == pattern
    return len(text) >= len(head) + len(tail) and text.startswith(head) and text.endswith(tail)


def find_rule(
    rules: Iterable[CorsRule], origin: str, method: str, headers: tuple[str, ...] = ()
) -> tuple[CorsRule, str] | None:
    """The first rule that allows all of it, with the origin to answer (``*`` where everyone may); ``headers``: lower
    case. None: no rule does.
    """
    for rule in rules:
        if method not in rule.methods:
            continue
        found = next((pattern for pattern in rule.origins if matches_pattern(pattern, origin)), None)
        if found is None:
            continue
        allowed = [pattern.lower() for pattern in rule.headers]
        if all(any(matches_pattern(pattern, name) for pattern in allowed) for name in headers):
            return rule, "*" if found == "*" else origin
    return None


def describe_rule(rule: CorsRule, origin: str, headers: tuple[str, ...] = ()) -> dict[str, str]:
    """The response headers of a request that ``rule`` allows; ``headers``: those a preflight asked for."""
    answer = {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Methods": ", ".join(rule.methods)}
    if headers:
        answer["Access-Control-Allow-Headers"] = ", ".join(headers)
    if rule.exposed:
        answer["Access-Control-Expose-Headers"] = ", ".join(rule.exposed)
    if rule.max_age_s is not None:
        answer["Access-Control-Max-Age"] = str(rule.max_age_s)
    if origin != "*":
        answer["Access-Control-Allow-Credentials"] = "true"
    answer["Vary"] = VARY
    return answer


def answer_origin(document: bytes | None, headers: Mapping[str, str], method: str) -> dict[str, str]:
    """What an ordinary answer to a request with an Origin carries. ``headers``: folded; ``document``: the bucket's.

    Empty without rules; only Vary if none allows it, since another origin would get another answer. As with AWS a
    request that names the method it asks for (as preflights do) is judged by that.
    """
    if document is None:
        return {}
    asked = headers.get("access-control-request-method", method)
    found = find_rule(decode_cors(document), headers["origin"], asked)
    return {"Vary": VARY} if found is None else describe_rule(*found)


class Preflight(NamedTuple):
    """What a browser asks before it asks. ``headers``: lower case."""

    origin: str
    method: str
    headers: tuple[str, ...]


def parse_preflight(headers: Mapping[str, str]) -> Preflight:
    """The question of an OPTIONS request; ``BadRequest`` if it asks nothing, or for a method that S3 has not."""
    origin = headers.get("origin")
    if not origin:
        raise BadRequest("Insufficient information. Origin request header needed.")
    method = headers.get("access-control-request-method")
    if method not in METHODS:
        raise BadRequest(f"Invalid Access-Control-Request-Method: {'null' if method is None else method}")
    names = headers.get("access-control-request-headers", "")
    listed = tuple(dict.fromkeys(name.strip().lower() for name in names.split(",") if name.strip()))
    if len(listed) > _ASKED_MAX or not all(_TOKEN.fullmatch(name) for name in listed):
        raise BadRequest(f"Invalid Access-Control-Request-Headers: {names}")
    return Preflight(origin, method, listed)


def answer_preflight(
    preflight: Preflight, document: bytes | None, *, exists: bool, resource_type: str
) -> dict[str, str]:
    """The headers of a preflight that is allowed; ``AccessForbidden`` in AWS's words if not.

    ``exists``: whether there is such a bucket; ``resource_type``: BUCKET or OBJECT.
    """
    if not exists:
        raise _forbid("Bucket not found", preflight, resource_type)
    if document is None:
        raise _forbid("CORS is not enabled for this bucket.", preflight, resource_type)
    found = find_rule(decode_cors(document), preflight.origin, preflight.method, preflight.headers)
    if found is None:
        raise _forbid(
            "This CORS request is not allowed. This is usually because the evalution of Origin, request method / "
            "Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's "
            "CORS spec.",
            preflight,
            resource_type,
        )
    return describe_rule(*found, preflight.headers)


def _forbid(why: str, preflight: Preflight, resource_type: str) -> S3Error:
    return AccessForbidden(f"CORSResponse: {why}", Method=preflight.method, ResourceType=resource_type)
