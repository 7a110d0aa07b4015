"""Listening sockets: bound once by the parent, inherited by every worker; and the certificate they answer with.

Bound before anything else of a start is done, so that a taken port is told while nothing was made yet; not listening
until a worker is there to accept.
"""

from __future__ import annotations

import socket
import ssl

from gateway.config import Address, ServerConfig
from gateway.http.tls import make_tls_context


class CannotBind(Exception):
    """An address that cannot be listened on; the message says why."""


def bind_listener(address: Address) -> socket.socket:
    """A bound, inheritable TCP socket; raises ``CannotBind``."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise CannotBind(f"{address.host} is no address of this machine: {error.strerror}") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.setblocking(False)
        listener.set_inheritable(True)
    except OSError as error:
        listener.close()
        raise CannotBind(f"cannot listen on {address}: {error.strerror}") from None
    return listener


def bound_address(listener: socket.socket) -> Address:
    """Where it is bound, with the real port."""
    host, port = listener.getsockname()[:2]
    return Address(host, port)


def make_server_context(server: ServerConfig) -> ssl.SSLContext | None:
    """The TLS context of a configuration, None for plain HTTP; ``BadCertificate``."""
    if server.tls_certificate_file is None or server.tls_key_file is None:
        return None
    return make_tls_context(server.tls_certificate_file, server.tls_key_file)
