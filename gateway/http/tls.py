"""TLS contexts, and reading certificates again without a restart.

A context is changed in place: new handshakes use the new certificate, connections that stand keep theirs. A pair that
cannot be read leaves the old one in use and is an error of the caller to tell.
"""

from __future__ import annotations

import ssl
from pathlib import Path


class BadCertificate(Exception):
    """Certificate and key cannot be used: unreadable, not PEM, or not of each other."""


def make_tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server context, TLS 1.2 or newer, HTTP/1.1, one handshake a connection. Raises ``BadCertificate``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # a client may ask for a thousand handshakes on one connection
    context.set_alpn_protocols(["http/1.1"])
    reload_certificate(context, certificate, key)
    return context


def reload_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Read certificate and key again into ``context``. Raises ``BadCertificate``; then the context is unchanged."""
    trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        trial.load_cert_chain(certificate, key)
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError, ValueError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "reason", None) or type(error).__name__
        raise BadCertificate(f"{certificate} with {key}: {reason}") from None
