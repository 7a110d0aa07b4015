"""What a person is told when the cloud could not even be asked: which of certificate, proxy, name or port it was, and
which setting mends it.

Beside the cloud's client, which wraps what its HTTP library raised; that is looked at by its attributes, since only the
gateway imports the library. Never told: URLs (a proxy's has a password), headers, bodies. Pure.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any, Final

PROXY_REFUSAL: Final = 407
"""RFC 9110, 15.5.8: Proxy Authentication Required."""
WANTS_PASSWORD: Final = (
    'the proxy wants a name and a password, or others than these: [cloud] proxy_url = "http://name:password@host:port"'
)


def describe_failure(error: BaseException) -> str:
    """The kind of error, with what is known of its cause and what to do about it."""
    kind, inner = type(error).__name__, _cause_of(error)
    told = _describe_proxy(kind, inner) or _describe_certificate(inner) or _describe_network(inner)
    return f"{kind}: {told}" if told else kind


def _cause_of(error: BaseException) -> Any:
    wrapped = getattr(error, "kwargs", {})
    return wrapped.get("error") if isinstance(wrapped, dict) else None


def _describe_proxy(kind: str, inner: Any) -> str:
    if kind != "ProxyConnectionError":
        return ""
    status = getattr(inner, "status", None)
    if status in (PROXY_REFUSAL, 401):  # tinyproxy tells who is wrong from who is nobody
        return WANTS_PASSWORD
    if isinstance(status, int):
        return f"the proxy ([cloud] proxy_url) answers {status} when asked to connect to the cloud"
    return f"nobody answers at [cloud] proxy_url{_in_brackets(_describe_network(inner))}"


def _describe_certificate(inner: Any) -> str:
    refused = getattr(inner, "certificate_error", None)
    if isinstance(refused, ssl.SSLCertVerificationError):
        why = _in_brackets(refused.verify_message)
        return f"the cloud's certificate is not trusted here{why}: name who signed it in [cloud] ca_file"
    if isinstance(refused, ssl.CertificateError):
        return "the cloud's certificate is not for this name: see [cloud] endpoint_url"
    if isinstance(inner, FileNotFoundError | PermissionError | IsADirectoryError):
        return f"[cloud] ca_file cannot be read: {inner.strerror}"
    if isinstance(inner, ssl.SSLError) and "CERTIFICATE" in (getattr(inner, "reason", None) or ""):
        return "[cloud] ca_file holds no certificates (PEM)"
    below = getattr(inner, "os_error", None)
    if isinstance(below, ssl.SSLError):
        return f"no TLS there ({below.reason or 'it broke off'}): is [cloud] endpoint_url to begin with http:?"
    return ""


def _describe_network(inner: Any) -> str:
    below = getattr(inner, "os_error", inner)
    if isinstance(below, socket.gaierror):
        return "no such name is known here"
    if isinstance(below, ConnectionRefusedError):
        return "refused"
    return ""


def _in_brackets(text: str | None) -> str:
    return f" ({text})" if text else ""
