"""OpenID Connect providers: whose tokens an account takes for AssumeRoleWithWebIdentity. Decisions, nothing else.

A provider is its URL: scheme, host (and port), path. ``https`` is what AWS takes; ``http`` is taken too, for an issuer
on the site's own network, and then nothing but that network vouches for its keys. Thumbprints are SHA-1 digests of
certificates: if no certificate authority known to the machine vouches for an issuer, one of these certificates must.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

import msgspec

from gateway.identity.arns import account_id
from gateway.s3.query_errors import EntityAlreadyExists, InvalidInput, LimitExceeded, NoSuchEntity, ValidationError
from gateway.store.identity_format import ProviderRecord, decode_identity, encode_identity
from gateway.store.ports import ReadView, WriteView

PROVIDERS_MAX: Final = 100
CLIENT_IDS_MAX: Final = 100
THUMBPRINTS_MAX: Final = 5
_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?", re.ASCII)
_PATH: Final = re.compile(r"(/[A-Za-z0-9._~%@+=-]+)*", re.ASCII)
_THUMBPRINT: Final = re.compile(r"[0-9A-Fa-f]{40}", re.ASCII)


def provider_arn(provider: ProviderRecord) -> str:
    """The ARN of a provider."""
    return f"arn:aws:iam::{account_id(provider.account)}:oidc-provider/{provider.url}"


def list_providers(view: ReadView, account: str) -> list[ProviderRecord]:
    """An account's providers, by URL."""
    return [decode_identity(ProviderRecord, body) for _, body in view.identities(f"provider/{account}/")]


def find_provider(view: ReadView, account: str, url: str) -> ProviderRecord | None:
    """An account's provider by its URL without scheme."""
    body = view.identity(f"provider/{account}/{url}")
    return None if body is None else decode_identity(ProviderRecord, body)


def find_provider_by_arn(view: ReadView, account: str, arn: str) -> ProviderRecord:
    """An account's provider by its ARN; ``NoSuchEntity``."""
    found = find_provider(view, account, arn.partition(":oidc-provider/")[2] or "?")
    if found is None or provider_arn(found) != arn:
        raise NoSuchEntity(f"OpenIDConnect Provider not found for arn {arn}")
    return found


def parse_issuer(text: str) -> tuple[str, str]:
    """(scheme, host and path) of a provider's URL; ``ValidationError``, ``InvalidInput``."""
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValidationError("Invalid Open ID Connect Provider URL") from None
    if parts.scheme not in ("https", "http") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValidationError("Invalid Open ID Connect Provider URL")
    path = parts.path.rstrip("/")
    if not _HOST.fullmatch(parts.netloc) or not _PATH.fullmatch(path):
        raise ValidationError("Invalid Open ID Connect Provider URL")
    return parts.scheme, parts.netloc.lower() + path


def create_provider(view: WriteView, provider: ProviderRecord) -> ProviderRecord:
    """Store a new provider. ``EntityAlreadyExists``, ``LimitExceeded``, ``InvalidInput``."""
    if find_provider(view, provider.account, provider.url) is not None:
        raise EntityAlreadyExists(f"Provider with url {provider.scheme}://{provider.url} already exists.")
    if len(list_providers(view, provider.account)) >= PROVIDERS_MAX:
        raise LimitExceeded(f"Cannot exceed quota for OpenIdConnectProvidersPerAccount: {PROVIDERS_MAX}")
    save_provider(view, provider)
    return provider


def save_provider(view: WriteView, provider: ProviderRecord) -> None:
    """Store what changed of a provider, checked."""
    if len(provider.client_ids) > CLIENT_IDS_MAX:
        raise LimitExceeded(f"Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: {CLIENT_IDS_MAX}")
    if any(not 1 <= len(client) <= 255 for client in provider.client_ids):
        raise ValidationError("A client id has 1 to 255 characters")
    if len(provider.thumbprints) > THUMBPRINTS_MAX:
        raise InvalidInput(f"Thumbprint list must contain fewer than {THUMBPRINTS_MAX} entries.")
    if any(not _THUMBPRINT.fullmatch(print_) for print_ in provider.thumbprints):
        raise ValidationError("A thumbprint is the SHA-1 of a certificate: 40 hex digits")
    thumbprints = tuple([print_.lower() for print_ in provider.thumbprints])
    changed = msgspec.structs.replace(provider, thumbprints=thumbprints)
    view.put_identity(f"provider/{provider.account}/{provider.url}", encode_identity(changed))


def delete_provider(view: WriteView, provider: ProviderRecord) -> None:
    """Remove a provider: its tokens are taken no more."""
    view.put_identity(f"provider/{provider.account}/{provider.url}", None)
