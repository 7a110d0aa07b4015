"""Websites of buckets: the WebsiteConfiguration document, where a request is sent, pages for errors. Pure.

A site redirects everything, or has an index document, perhaps an error document, and routing rules: those that name no
error are asked before the object is looked for, those that do once the error is known; the first that fits counts.
Stored as the document ``render_website`` writes. What is where is for the caller to look up (``http/website_calls``).

Source: "Hosting a static website using Amazon S3", "Configuring advanced conditional redirects" (User Guide), and
PutBucketWebsite (API reference).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from html import escape
from http import HTTPStatus
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element

from gateway.s3.documents import children, fields_of, parse_document
from gateway.s3.errors import InvalidRequest, MalformedXML, S3Error, escape_text, invalid_argument
from gateway.s3.uri import encode_path

RULES_MAX: Final = 50
_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,253}(:\d{1,5})?")
_CODES: Final = frozenset({301, 302, 303, 304, 305, 307, 308})


class Redirect(NamedTuple):
    """Where to. Empty: as the request has it. ``key``, ``key_prefix``: what replaces it; None: nothing does."""

    host: str = ""
    protocol: str = ""
    status: int = 301
    key: str | None = None
    key_prefix: str | None = None


class RoutingRule(NamedTuple):
    """A redirect and when: ``prefix`` of the key (empty: any), ``error`` status (0: before any error)."""

    redirect: Redirect
    prefix: str = ""
    error: int = 0


class Website(NamedTuple):
    """A configuration. ``everything``: the redirect of all requests, then nothing else is set."""

    suffix: str = ""
    error_key: str = ""
    rules: tuple[RoutingRule, ...] = ()
    everything: Redirect | None = None


def parse_website(body: bytes) -> Website:
    """The configuration in a WebsiteConfiguration. ``MalformedXML``, ``InvalidArgument``, ``InvalidRequest``."""
    found: dict[str, Element] = {}
    root = parse_document(body, "WebsiteConfiguration")
    for name, child in children(root, "IndexDocument", "ErrorDocument", "RedirectAllRequestsTo", "RoutingRules"):
        if name in found:
            raise MalformedXML
        found[name] = child
    if "RedirectAllRequestsTo" in found:
        if len(found) > 1:
            raise InvalidRequest("RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.")
        fields = fields_of(found["RedirectAllRequestsTo"], "HostName", "Protocol")
        if not fields.get("HostName"):
            raise MalformedXML
        return Website(everything=_parse_redirect(fields))
    suffix = fields_of(found["IndexDocument"], "Suffix").get("Suffix") if "IndexDocument" in found else None
    if suffix is None:
        raise invalid_argument(
            "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty",
            "IndexDocument",
            "null",
        )
    if not suffix or "/" in suffix:
        raise invalid_argument("The IndexDocument Suffix is not well formed", "IndexDocument", suffix)
    error_key = ""
    if "ErrorDocument" in found:
        error_key = fields_of(found["ErrorDocument"], "Key").get("Key", "")
        if not error_key:
            raise invalid_argument("The ErrorDocument Key is not well formed", "ErrorDocument", "")
    return Website(suffix, error_key, _parse_rules(found["RoutingRules"]) if "RoutingRules" in found else ())


def _parse_rules(element: Element) -> tuple[RoutingRule, ...]:
    rules = [_parse_rule(child) for _, child in children(element, "RoutingRule")]
    if len(rules) > RULES_MAX:
        raise InvalidRequest(
            f"{len(rules)} routing rules provided, the number of routing rules in a website configuration is limited "
            f"to {RULES_MAX}."
        )
    return tuple(rules)


def _parse_rule(element: Element) -> RoutingRule:
    redirect: Redirect | None = None
    prefix, error = "", 0
    for name, child in children(element, "Condition", "Redirect"):
        if name == "Redirect":
            if redirect is not None:
                raise MalformedXML
            names = ("HostName", "Protocol", "HttpRedirectCode", "ReplaceKeyWith", "ReplaceKeyPrefixWith")
            redirect = _parse_redirect(fields_of(child, *names))
            continue
        fields = fields_of(child, "KeyPrefixEquals", "HttpErrorCodeReturnedEquals")
        if not fields:
            raise InvalidRequest(
                "Condition cannot be empty. To redirect all requests without a condition, the condition element "
                "shouldn't be present."
            )
        prefix, code = fields.get("KeyPrefixEquals", ""), fields.get("HttpErrorCodeReturnedEquals")
        if code is not None:
            error = _parse_code(code)
            if not 400 <= error <= 599:
                raise InvalidRequest(f"The provided HTTP error code ({code}) is not valid. Valid codes are 4XX or 5XX.")
    if redirect is None:
        raise MalformedXML
    return RoutingRule(redirect, prefix, error)


def _parse_redirect(fields: Mapping[str, str]) -> Redirect:
    """A redirect out of its elements' texts."""
    if not fields:
        raise InvalidRequest("A redirect must say at least where it differs from the request.")
    host, protocol = fields.get("HostName", "").strip(), fields.get("Protocol", "").strip()
    if host and not _HOST.fullmatch(host):
        raise invalid_argument("The HostName is not well formed", "HostName", host)
    if protocol not in ("", "http", "https"):
        raise InvalidRequest(
            "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected "
            "automatically."
        )
    code = fields.get("HttpRedirectCode")
    status = 301 if code is None else _parse_code(code)
    if status not in _CODES:
        raise InvalidRequest(f"The provided HTTP redirect code ({code}) is not valid. Valid codes are 3XX except 300.")
    if "ReplaceKeyWith" in fields and "ReplaceKeyPrefixWith" in fields:
        raise InvalidRequest("You can only define ReplaceKeyPrefix or ReplaceKey but not both.")
    return Redirect(host, protocol, status, fields.get("ReplaceKeyWith"), fields.get("ReplaceKeyPrefixWith"))


def _parse_code(text: str) -> int:
    """A status code, 0 if it is none."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) == 3 else 0


def render_website(website: Website) -> bytes:
    """The WebsiteConfiguration document, as it is stored and answered."""
    out = ""
    if website.everything is not None:
        out = f"<RedirectAllRequestsTo>{_render_redirect(website.everything)}</RedirectAllRequestsTo>"
    if website.suffix:
        out += f"<IndexDocument><Suffix>{escape_text(website.suffix)}</Suffix></IndexDocument>"
    if website.error_key:
        out += f"<ErrorDocument><Key>{escape_text(website.error_key)}</Key></ErrorDocument>"
    if website.rules:
        out += f"<RoutingRules>{''.join(map(_render_rule, website.rules))}</RoutingRules>"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<WebsiteConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{out}</WebsiteConfiguration>'
    ).encode()


def _render_rule(rule: RoutingRule) -> str:
    condition = f"<KeyPrefixEquals>{escape_text(rule.prefix)}</KeyPrefixEquals>" if rule.prefix else ""
    if rule.error:
        condition += f"<HttpErrorCodeReturnedEquals>{rule.error}</HttpErrorCodeReturnedEquals>"
    condition = f"<Condition>{condition}</Condition>" if condition else ""
    status = f"<HttpRedirectCode>{rule.redirect.status}</HttpRedirectCode>" if rule.redirect.status != 301 else ""
    return f"<RoutingRule>{condition}<Redirect>{_render_redirect(rule.redirect)}{status}</Redirect></RoutingRule>"


def _render_redirect(redirect: Redirect) -> str:
    elements = (
        ("HostName", redirect.host or None),
        ("Protocol", redirect.protocol or None),
        ("ReplaceKeyWith", redirect.key),
        ("ReplaceKeyPrefixWith", redirect.key_prefix),
    )
    return "".join(f"<{name}>{escape_text(text)}</{name}>" for name, text in elements if text is not None)


@lru_cache(maxsize=64)
def decode_website(document: bytes) -> Website:
    """The configuration of a stored document."""
    return parse_website(document)


def find_route(website: Website, key: str, error: int = 0) -> tuple[int, Redirect, str] | None:
    """(status, redirect, the key it leads to) of the first routing rule that fits; ``error``: the status of what went
    wrong, 0 before anything did.
    """
    for rule in website.rules:
        if rule.error == error and key.startswith(rule.prefix):
            redirect = rule.redirect
            if redirect.key is not None:
                key = redirect.key
            elif redirect.key_prefix is not None:
                key = redirect.key_prefix + key[len(rule.prefix) :]
            return redirect.status, redirect, key
    return None


def render_location(redirect: Redirect, key: str, *, host: str, protocol: str) -> str:
    """The Location of a redirect to ``key``; host and protocol are the request's, where it names none."""
    return f"{redirect.protocol or protocol}://{redirect.host or host}/{encode_path(key)}"


def _shown(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"


def _list_error(error: S3Error) -> str:
    entries = [("Code", error.code), ("Message", error.text), *error.extra.items()]
    return "".join(f"<li>{escape(name)}: {escape(_printable(value))}</li>\n" for name, value in entries)


def _printable(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode()


def render_error_page(error: S3Error, request_id: str, host_id: str, nested: S3Error | None = None) -> bytes:
    """The page a browser gets where there is no error document; ``nested``: why that could not be had."""
    title = _shown(error.status)
    rest = ""
    if nested is not None:
        rest = (
            "<h3>An Error Occurred While Attempting to Retrieve a Custom Error Document</h3>\n"
            f"<ul>\n{_list_error(nested)}</ul>\n"
        )
    return (
        f"<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n<ul>\n{_list_error(error)}"
        f"<li>RequestId: {escape(request_id)}</li>\n<li>HostId: {escape(host_id)}</li>\n</ul>\n{rest}<hr/>\n</body>\n"
        "</html>\n"
    ).encode()


def error_headers(error: S3Error) -> dict[str, str]:
    """What the answer with such a page says of the error besides."""
    headers = {"x-amz-error-code": error.code, "x-amz-error-message": error.text}
    key = error.extra.get("Key", "")
    if key:
        headers["x-amz-error-detail-Key"] = encode_path(_printable(key))
    return headers
