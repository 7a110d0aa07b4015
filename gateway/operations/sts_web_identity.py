"""AssumeRoleWithWebIdentity: a role for who has a token of a registered OpenID Connect provider. Nobody signs it.

Two halves, since the issuer's keys are fetched between them: ``find_claim`` says which provider to ask, ``assume``
verifies the token and asks the role's trust policy, in one view, with what is there then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gateway.identity.policy_evaluation import evaluate
from gateway.identity.providers import find_provider, provider_arn
from gateway.identity.roles import arn_of_role, find_role_by_arn
from gateway.identity.web_identity import (
    TOKEN_CHARACTERS_MAX,
    Token,
    check_claims,
    condition_values,
    parse_token,
    trust_of_federated,
    verify_signature,
)
from gateway.operations.iam_requests import IamRequest, entity_values, make_find
from gateway.operations.sts_sessions import (
    issue_role_session,
    read_duration,
    read_role_arn,
    read_session_name,
)
from gateway.operations.sts_tags import tags_of_token
from gateway.s3.errors import S3Error
from gateway.s3.query_errors import InvalidIdentityToken, QueryAccessDenied, QueryNotImplemented
from gateway.s3.query_protocol import Fields, Parameters
from gateway.store.identity_format import ProviderRecord, RoleRecord
from gateway.store.ports import ReadView

ACTION = "AssumeRoleWithWebIdentity"


class WebClaim(NamedTuple):
    """Which role is asked for with which token, and the provider that must vouch for it. Nothing is verified.

    ``internal``: its keys may be fetched from the site's own network, since the operator's account registered it.
    """

    role: RoleRecord
    token: Token
    provider: ProviderRecord
    internal: bool


def find_claim(view: ReadView, parameters: Parameters) -> WebClaim:
    """What a request claims; ``InvalidIdentityToken``, ``AccessDenied`` if no such role or provider can be meant."""
    arn = read_role_arn(parameters)
    read_session_name(parameters)
    if parameters.find("ProviderId") is not None:
        raise QueryNotImplemented("OAuth 2.0 access tokens are not implemented: send an OpenID Connect ID token")
    text = parameters.text("WebIdentityToken", size_min=4, size_max=TOKEN_CHARACTERS_MAX)
    token = parse_token(text)
    role = find_role_by_arn(view, arn)
    if role is None:
        raise _denied()
    scheme, _, url = token.issuer.rstrip("/").partition("://")
    provider = find_provider(view, role.account, url) if url else None
    if provider is None or provider.scheme != scheme:
        raise InvalidIdentityToken(f"No OpenIDConnect provider found in your account for {token.issuer[:255]}")
    owner = view.user(role.account)
    return WebClaim(role, token, provider, owner is not None and owner.admin)


def assume(
    request: IamRequest, view: ReadView, parameters: Parameters, claim: WebClaim, keys: Sequence[Mapping[str, object]]
) -> Fields:
    """Credentials of the role, if the provider's ``keys`` and the role's trust policy say so."""
    current = find_claim(view, parameters)
    if current.provider != claim.provider or current.role.id != claim.role.id:
        raise _denied()  # changed while its keys were fetched
    role, token, provider, _ = current
    verify_signature(token, keys)
    check_claims(token, provider, request.now_s)
    name = read_session_name(parameters)
    values, tags = condition_values(token, provider), tags_of_token(token.claims)
    about = {**tags.request_values, **entity_values(role.tags), "sts:rolesessionname": (name,)}
    find = make_find(request, {**about, **values})
    trust = trust_of_federated(role.trust, provider_arn(provider))
    for action in (f"sts:{ACTION}", *tags.needed):
        verdict = evaluate((trust,), action, arn_of_role(role), find)
        if verdict.denied or not verdict.allowed:
            raise _denied(action)
    duration_s = read_duration(parameters, role, role.session_s_max)
    brought = {key: value[0] for key, value in values.items() if len(value) == 1}
    brought["aws:federatedprovider"] = provider_arn(provider)
    fields = issue_role_session(request, view, parameters, role, name, duration_s, tags, brought)
    return {
        **fields,
        "SubjectFromWebIdentityToken": token.subject,
        "Provider": provider_arn(provider),
        "Audience": token.authorized_party or token.audiences[0],
    }


def _denied(action: str = f"sts:{ACTION}") -> S3Error:
    return QueryAccessDenied(f"Not authorized to perform {action}")
