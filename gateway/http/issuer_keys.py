"""Keys of OpenID Connect issuers: discovered, fetched, remembered for an hour. The only thing a request can make a
worker ask of another server, and only of those that an account registered.

    https://HOST/PATH/.well-known/openid-configuration → ``jwks_uri`` → keys

An operator's (admin's) account may name issuers of the site's own network. Others would make the site ask its own
services for them: their issuers must be https, and at addresses of the Internet. Bounded in time and size, no
redirects, no proxy. A key that is not among the remembered ones is looked for anew, at most once in ``RETRY_S``, so
that invented key ids cost an issuer nothing. Of https, the machine's certificate authorities vouch for the issuer;
failing these, a certificate whose SHA-1 the account registered, as the only one.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import json
import logging
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver

from gateway.identity.web_identity import KEYS_MAX, Token, has_key_for
from gateway.s3.query_errors import IDPCommunicationError, InvalidIdentityToken
from gateway.store.identity_format import ProviderRecord

log: Final = logging.getLogger("skerry.http")
TIMEOUT_S: Final = 5.0
DOCUMENT_BYTES_MAX: Final = 256 << 10
KEEP_S: Final = 3600.0
RETRY_S: Final = 10.0
ISSUERS_MAX: Final = 1000
Key = Mapping[str, object]


@dataclass(slots=True)
class _Known:
    """What is remembered of one provider as it is registered."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    keys: list[Key] = field(default_factory=list)
    fetched_s: float = float("-inf")
    tried_s: float = float("-inf")


class IssuerKeys:
    """The keys of issuers, for one worker."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], _Known] = {}

    async def find(self, provider: ProviderRecord, token: Token, *, internal: bool) -> list[Key]:
        """The provider's keys as they are now, or were within the hour if they hold the token's.

        ``internal``: whether they may come from the site's own network.
        ``IDPCommunicationError`` if they cannot be had.
        """
        if len(self._known) >= ISSUERS_MAX:
            self._known.clear()
        registered = (provider.account, provider.scheme, provider.url, provider.thumbprints, internal)
        known = self._known.setdefault(registered, _Known())
        async with known.lock:
            now_s = time.monotonic()
            if now_s - known.fetched_s < KEEP_S and has_key_for(token, known.keys):
                return known.keys
            if now_s - known.tried_s < RETRY_S:
                if not known.keys:
                    raise IDPCommunicationError
                return known.keys
            known.tried_s = now_s
            known.keys = await _fetch_keys(provider, internal)
            known.fetched_s = now_s
            return known.keys


async def _fetch_keys(provider: ProviderRecord, internal: bool) -> list[Key]:
    issuer = f"{provider.scheme}://{provider.url}"
    try:
        async with asyncio.timeout(2 * TIMEOUT_S):
            document = await _fetch(f"{issuer}/.well-known/openid-configuration", provider, internal)
            place = document.get("jwks_uri")
            said = document.get("issuer")
            if not isinstance(said, str) or said.rstrip("/") != issuer:
                raise InvalidIdentityToken("The identity provider calls itself by another name than it has here")
            if not isinstance(place, str) or urlsplit(place).scheme not in ("https", provider.scheme):
                raise IDPCommunicationError
            found = (await _fetch(place, provider, internal)).get("keys")
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        log.warning("keys of %s: %s: %s", issuer, type(error).__name__, error)
        raise IDPCommunicationError from None
    if not isinstance(found, list):
        raise IDPCommunicationError
    return [key for key in found[:KEYS_MAX] if isinstance(key, dict)]


async def _fetch(url: str, provider: ProviderRecord, internal: bool) -> dict[str, Any]:
    """A JSON object; with a thumbprint's certificate as authority if the machine's do not vouch for the server."""
    if not internal:
        _check_public(url)
    try:
        return await _get(url, True, internal)
    except aiohttp.ClientConnectorCertificateError:
        if not provider.thumbprints:
            raise
    context = await asyncio.to_thread(_pin, url, provider.thumbprints, internal)
    return await _get(url, context, internal)


def is_public_address(text: str) -> bool:
    """Whether an IP address is one of the Internet: not of this machine, this network or its services."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_global and not address.is_multicast


def _check_public(url: str) -> None:
    """``OSError`` for what is not https, and for an address that is not public (names are looked at when resolved)."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    is_address = ":" in host or host.replace(".", "").isdecimal()
    if parts.scheme != "https" or (is_address and not is_public_address(host)):
        raise OSError("an issuer that is not the operator's must be https, and on the Internet")


class _PublicResolver(ThreadedResolver):
    """Names as the machine resolves them, but for addresses that are not public."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = [one for one in await super().resolve(host, port, family) if is_public_address(one["host"])]
        if not found:
            raise OSError(f"{host} has no address on the Internet")
        return found


async def _get(url: str, tls: ssl.SSLContext | bool, internal: bool) -> dict[str, Any]:
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    connector = None if internal else aiohttp.TCPConnector(resolver=_PublicResolver())
    async with (
        aiohttp.ClientSession(timeout=timeout, connector=connector) as session,
        session.get(url, ssl=tls, allow_redirects=False, headers={"Accept": "application/json"}) as response,
    ):
        if response.status != 200:
            raise IDPCommunicationError
        data = await response.content.read(DOCUMENT_BYTES_MAX + 1)
        while len(data) <= DOCUMENT_BYTES_MAX and (more := await response.content.read(DOCUMENT_BYTES_MAX)):
            data += more
    if len(data) > DOCUMENT_BYTES_MAX:
        raise IDPCommunicationError
    try:
        found = json.loads(data)
    except RecursionError:
        raise IDPCommunicationError from None
    if not isinstance(found, dict):
        raise IDPCommunicationError
    return found


def _pin(url: str, thumbprints: tuple[str, ...], internal: bool) -> ssl.SSLContext:
    """A context that trusts only the certificate of the server's chain that one of the thumbprints names. Blocking."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    addresses = [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    address = next((one for one in addresses if internal or is_public_address(one)), None)
    if address is None:
        raise OSError(f"{host} has no address on the Internet")
    looking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    looking.check_hostname, looking.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((address, port), TIMEOUT_S) as connection,
        looking.wrap_socket(connection, server_hostname=host) as secured,
    ):
        chain = _presented_chain(secured)
    for certificate in chain:
        # SHA-1 is what thumbprints are; the certificate found must then really vouch for the server.
        if hashlib.sha1(certificate, usedforsecurity=False).hexdigest() in thumbprints:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(cadata=ssl.DER_cert_to_PEM_cert(certificate))
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            return context
    raise IDPCommunicationError("The identity provider's certificate has none of the registered thumbprints")


def _presented_chain(secured: ssl.SSLSocket) -> list[bytes]:
    """The certificates a server presented, DER, its own first; only that one where Python cannot tell the others."""
    of_socket = getattr(secured, "get_unverified_chain", None)  # public from Python 3.13 on
    if of_socket is not None:
        return list(of_socket())
    of_object = getattr(secured._sslobj, "get_unverified_chain", None)  # type: ignore[attr-defined]
    if of_object is not None:
        return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in of_object()]
    leaf = secured.getpeercert(binary_form=True)
    return [leaf] if leaf else []
