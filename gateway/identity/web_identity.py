"""OpenID Connect ID tokens: read, verified by the issuer's keys, and what they say to a role's trust policy. Pure.

    text → ``parse_token`` (form, sizes, algorithm) → ``verify_signature`` (a key of the issuer) → ``check_claims``

Nothing of a token is believed before its signature holds, but who to ask for the keys, which only a provider that the
account registered can be. Algorithms with a shared secret, and none at all, are refused by name. Fetching keys is not
here. Source: RFC 7515, 7517, 7518, 7519; OpenID Connect Core 1.0, 3.1.3.7; IAM User Guide, "Available keys for OIDC".
"""

from __future__ import annotations

import json
import math
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

from gateway.identity.policy_texts import parse_trust
from gateway.s3.policy_document import Policy, Statement
from gateway.s3.query_errors import ExpiredTokenException, InvalidIdentityToken
from gateway.store.identity_format import ProviderRecord

TOKEN_CHARACTERS_MAX: Final = 20_000
KEYS_MAX: Final = 100
RSA_BITS_MIN: Final = 2048
RSA_BITS_MAX: Final = 8192
CLOCK_LEEWAY_S: Final = 60
"""How far an issuer's clock may be ahead: for nbf and iat. Expiry has none."""
_BASE64: Final = re.compile(r"[A-Za-z0-9_-]*")
_RSA: Final[dict[str, HashAlgorithm]] = {"RS256": SHA256(), "RS384": SHA384(), "RS512": SHA512()}
_EC: Final[dict[str, tuple[HashAlgorithm, ec.EllipticCurve, str, int]]] = {
    "ES256": (SHA256(), ec.SECP256R1(), "P-256", 32),
    "ES384": (SHA384(), ec.SECP384R1(), "P-384", 48),
    "ES512": (SHA512(), ec.SECP521R1(), "P-521", 66),
}
ALGORITHMS: Final = (*_RSA, *_EC)


class Token(NamedTuple):
    """A token as it was read; nothing of it is verified."""

    algorithm: str
    key_id: str | None
    claims: dict[str, Any]
    signed: bytes
    signature: bytes

    @property
    def issuer(self) -> str:
        """Who says to have issued it."""
        return _text(self.claims, "iss")

    @property
    def subject(self) -> str:
        """Whom it is about."""
        return _text(self.claims, "sub")

    @property
    def audiences(self) -> tuple[str, ...]:
        """Whom it is for."""
        found = self.claims.get("aud")
        listed = [found] if isinstance(found, str) else found
        if not isinstance(listed, list) or not listed or not all(isinstance(one, str) and one for one in listed):
            raise InvalidIdentityToken("Missing a required claim: aud")
        return tuple(listed)

    @property
    def authorized_party(self) -> str | None:
        """azp: which client got it, if it says so."""
        return _text(self.claims, "azp") if "azp" in self.claims else None


def parse_token(text: str) -> Token:
    """A token's parts; ``InvalidIdentityToken`` for anything that is no signed JWT of a known algorithm."""
    parts = text.split(".")
    if len(text) > TOKEN_CHARACTERS_MAX or len(parts) != 3:
        raise InvalidIdentityToken(
            "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"
        )
    header, claims = _parse_json(parts[0]), _parse_json(parts[1])
    algorithm, key_id = header.get("alg"), header.get("kid")
    if algorithm not in ALGORITHMS:
        raise InvalidIdentityToken(f"The token's algorithm must be one of {', '.join(ALGORITHMS)}")
    if "crit" in header or (key_id is not None and not isinstance(key_id, str)):
        raise InvalidIdentityToken("The token's header asks for what is not known")
    return Token(algorithm, key_id, claims, f"{parts[0]}.{parts[1]}".encode(), _decode(parts[2]))


def verify_signature(token: Token, keys: Sequence[Mapping[str, object]]) -> None:
    """Return if one of the issuer's keys (JWKs) made the signature; ``InvalidIdentityToken`` otherwise."""
    for key in keys[:KEYS_MAX]:
        if token.key_id is not None and key.get("kid") != token.key_id:
            continue
        if key.get("use", "sig") != "sig" or key.get("alg", token.algorithm) != token.algorithm:
            continue
        try:
            if token.algorithm in _RSA:
                _verify_rsa(token, key)
            else:
                _verify_ec(token, key)
        except (InvalidSignature, ValueError, TypeError, KeyError):
            continue
        return
    raise InvalidIdentityToken("Couldn't verify the token's signature with the keys of its identity provider")


def has_key_for(token: Token, keys: Sequence[Mapping[str, object]]) -> bool:
    """Whether the keys could be current for this token: they hold the one it names."""
    return bool(keys) and (token.key_id is None or any(key.get("kid") == token.key_id for key in keys))


def check_claims(token: Token, provider: ProviderRecord, now_s: int) -> None:
    """Issuer, audience and times; ``InvalidIdentityToken``, ``ExpiredTokenException``."""
    if token.issuer.rstrip("/") != f"{provider.scheme}://{provider.url}":
        raise InvalidIdentityToken("The token was issued by another provider")
    client = token.authorized_party
    clients = (client,) if client is not None else token.audiences
    if not any(one in provider.client_ids for one in clients):
        raise InvalidIdentityToken("Incorrect token audience")
    if not token.subject:
        raise InvalidIdentityToken("Missing a required claim: sub")
    if now_s >= _number(token.claims, "exp"):
        raise ExpiredTokenException("Token expired: current date/time must be before the expiration date/time")
    for name in ("nbf", "iat"):
        if name in token.claims and _number(token.claims, name) > now_s + CLOCK_LEEWAY_S:
            raise InvalidIdentityToken(f"The token is not valid yet: {name}")
    if "iat" not in token.claims:
        raise InvalidIdentityToken("Missing a required claim: iat")


def condition_values(token: Token, provider: ProviderRecord) -> dict[str, tuple[str, ...]]:
    """What trust policies may ask of a verified token: ``<issuer>:sub``, ``:aud`` … (keys in lower case).

    With azp, ``aud`` is that and ``oaud`` the token's own audience, as AWS has it.
    """
    client = token.authorized_party
    prefix = provider.url.lower()
    values: dict[str, tuple[str, ...]] = {
        f"{prefix}:sub": (token.subject,),
        f"{prefix}:aud": token.audiences if client is None else (client,),
        f"{prefix}:app_id": (client or token.audiences[0],),
    }
    if client is not None:
        values[f"{prefix}:oaud"] = token.audiences
    for name in ("amr", "groups"):
        found = token.claims.get(name)
        listed = [found] if isinstance(found, str) else found
        if isinstance(listed, list) and listed and all(isinstance(one, str) for one in listed):
            values[f"{prefix}:{name}"] = tuple(listed)
    if isinstance(token.claims.get("email"), str):
        values[f"{prefix}:email"] = (token.claims["email"],)
    return values


def trust_of_federated(document: str, provider: str) -> Policy:
    """A role's trust policy as it concerns a web identity: the statements about this provider (an ARN), and denials of
    everyone. What allows everyone means those who sign, and does not let a token in.
    """
    trust = parse_trust(document)
    kept = [one._replace(principals=None) for one in trust.statements if _concerns(one, provider)]
    return trust._replace(statements=tuple(kept))


def _concerns(statement: Statement, provider: str) -> bool:
    principals = statement.principals
    assert principals is not None
    named = ("Federated", provider) in principals.named
    if principals.negated:
        return not statement.allow and not named and not principals.everyone
    return named or (principals.everyone and not statement.allow)


def _verify_rsa(token: Token, key: Mapping[str, object]) -> None:
    if key["kty"] != "RSA":
        raise ValueError("not an RSA key")
    public = rsa.RSAPublicNumbers(_integer(key["e"]), _integer(key["n"])).public_key()
    if not RSA_BITS_MIN <= public.key_size <= RSA_BITS_MAX:
        raise ValueError("an RSA key of this size is not taken")
    public.verify(token.signature, token.signed, padding.PKCS1v15(), _RSA[token.algorithm])


def _verify_ec(token: Token, key: Mapping[str, object]) -> None:
    digest, curve, name, size = _EC[token.algorithm]
    if key["kty"] != "EC" or key["crv"] != name or len(token.signature) != 2 * size:
        raise ValueError("not a key or signature of this curve")
    public = ec.EllipticCurvePublicNumbers(_integer(key["x"]), _integer(key["y"]), curve).public_key()
    r, s = (int.from_bytes(half, "big") for half in (token.signature[:size], token.signature[size:]))
    public.verify(encode_dss_signature(r, s), token.signed, ec.ECDSA(digest))


def _integer(value: object) -> int:
    if not isinstance(value, str) or len(value) > 2048:
        raise ValueError("not a number")
    return int.from_bytes(_decode(value), "big")


def _decode(text: str) -> bytes:
    """Base64url without padding, strictly."""
    if not _BASE64.fullmatch(text) or len(text) % 4 == 1:
        raise InvalidIdentityToken("The token is not base64url")
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _parse_json(part: str) -> dict[str, Any]:
    try:
        found = json.loads(_decode(part))
    except (ValueError, RecursionError):
        raise InvalidIdentityToken("The token is not a JWT") from None
    if not isinstance(found, dict):
        raise InvalidIdentityToken("The token is not a JWT")
    return found


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidIdentityToken(f"Missing a required claim: {name}")
    return value


def _number(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or (isinstance(value, float) and not math.isfinite(value))
    ):
        raise InvalidIdentityToken(f"Missing a required claim: {name}")
    return value
