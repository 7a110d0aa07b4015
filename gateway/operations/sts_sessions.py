"""STS's verbs for those who sign: who am I, credentials for a while, another role. Each in one view; nothing is stored.

AssumeRole asks the role's trust policy (which may name the caller itself, or only its account, and then the caller's
own policies must allow it, too; across accounts always both) and narrows what comes out by the session policies given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from gateway.identity.arns import account_id, account_of, federated_arn, session_arn
from gateway.identity.managed_policies import find_policy
from gateway.identity.policy_evaluation import evaluate, evaluate_limits
from gateway.identity.policy_texts import check_identity_policy
from gateway.identity.principal_ids import find_trust
from gateway.identity.roles import arn_of_role, find_role_by_arn
from gateway.identity.sessions import OF_FEDERATED, OF_ROLE, OF_USER, Credentials, Session
from gateway.operations.iam_requests import (
    ARN,
    Action,
    IamRequest,
    caller_id,
    entity_values,
    is_user_session,
    make_find,
    may,
    shown_time,
)
from gateway.operations.sts_tags import SessionTags, inherit, read_session_tags
from gateway.s3.query_errors import (
    PackedPolicyTooLarge,
    QueryAccessDenied,
    QueryNotImplemented,
    ValidationError,
)
from gateway.s3.query_protocol import Fields, Parameters
from gateway.store.identity_format import RoleRecord
from gateway.store.ports import ReadView

SESSION_NAME: Final = re.compile(r"[\w+=,.@-]*", re.ASCII)
_EXTERNAL_ID: Final = re.compile(r"[\w+=,.@:/-]*", re.ASCII)
SESSION_S_MIN: Final = 900
ROLE_CHAINED_S_MAX: Final = 3600
USER_SESSION_S_MAX: Final = 129_600
POLICY_CHARACTERS_MAX: Final = 2048
POLICY_ARNS_MAX: Final = 10
NO_VALUES: Final[Mapping[str, str]] = MappingProxyType({})


def get_caller_identity(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """GetCallerIdentity: needs no right."""
    principal = request.principal
    return {
        "UserId": caller_id(principal),
        "Account": account_id(principal.id),
        "Arn": principal.caller_arn,
    }


def get_access_key_info(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """GetAccessKeyInfo: the account of a key of one's own; of others' keys nothing is told."""
    request.authorize("sts:GetAccessKeyInfo", "*")
    text = parameters.text("AccessKeyId", size_min=16, size_max=128)
    key = view.access_key(text)
    user = view.user(key.user) if key is not None else None
    if user is None or account_of(user) != request.account:
        raise ValidationError("The access key is not one of this account")
    return {"Account": account_id(request.account)}


def get_session_token(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """GetSessionToken: the caller's own rights for a while. Not for those who have temporary credentials already."""
    principal = request.principal
    if principal.session_name or is_user_session(principal):
        raise QueryAccessDenied("Cannot call GetSessionToken with session credentials")
    _refuse_mfa(parameters)
    session = _make_user_session(request, parameters, OF_USER)
    return {"Credentials": show_credentials(request.maker.issue(session))}


def get_federation_token(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """GetFederationToken: what both the caller's own policies and those of the request allow, for somebody else."""
    principal = request.principal
    if principal.session_name or is_user_session(principal):
        raise QueryAccessDenied("Cannot call GetFederationToken with session credentials")
    parameters.text("Name", size_min=2, size_max=32)
    name = parameters.matching("Name", SESSION_NAME, 32)
    tags = read_session_tags(parameters)
    arn = federated_arn(request.account, name)
    for action in ("sts:GetFederationToken", *tags.needed):
        request.authorize(action, arn, tags.request_values)
    policies, arns = _read_session_policies(view, parameters, request.account)
    made = _make_user_session(request, parameters, OF_FEDERATED)
    session = msgspec.structs.replace(
        made, name=name, policies=policies, policy_arns=arns, values=tags.session_values, transitive=tags.transitive
    )
    return {
        "Credentials": show_credentials(request.maker.issue(session)),
        "FederatedUser": {"FederatedUserId": f"{account_id(request.account)}:{name}", "Arn": arn},
        "PackedPolicySize": _packed_percent(policies) if policies or arns else None,
    }


def _make_user_session(request: IamRequest, parameters: Parameters, kind: str) -> Session:
    """A session of the calling user: 12 hours unless asked; an account's own user gets an hour, as AWS has it."""
    principal = request.principal
    duration_s = parameters.number("DurationSeconds", default=43_200, minimum=SESSION_S_MIN, maximum=USER_SESSION_S_MAX)
    if principal.is_account:
        duration_s = min(duration_s, ROLE_CHAINED_S_MAX)
    return Session(
        kind=kind,
        account=request.account,
        subject=principal.user.id,
        issued_s=request.now_s,
        expires_s=request.now_s + duration_s,
        issuer_key=principal.access_key.id,
    )


def assume_role(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """AssumeRole."""
    arn, name = read_role_arn(parameters), read_session_name(parameters)
    _refuse_mfa(parameters)
    if parameters.structures("ProvidedContexts"):
        raise QueryNotImplemented("ProvidedContexts of a session are not implemented")
    asked = read_session_tags(parameters)
    role = find_role_by_arn(view, arn)
    more = {**asked.request_values, "sts:rolesessionname": (name,)}
    if parameters.find("ExternalId") is not None:
        parameters.text("ExternalId", size_min=2, size_max=1224)
        more["sts:externalid"] = (parameters.matching("ExternalId", _EXTERNAL_ID, 1224),)
    for action in ("sts:AssumeRole", *asked.needed):
        if role is None or request.principal.federated or not _is_trusted(request, view, role, action, more):
            raise QueryAccessDenied(
                f"User: {request.principal.caller_arn} is not authorized to perform: {action} on resource: {arn}"
            )
    assert role is not None
    chained = bool(request.principal.session_name)
    duration_s = read_duration(parameters, role, ROLE_CHAINED_S_MAX if chained else role.session_s_max)
    return issue_role_session(request, view, parameters, role, name, duration_s, inherit(asked, request.principal))


def _is_trusted(
    request: IamRequest, view: ReadView, role: RoleRecord, action: str, more: dict[str, tuple[str, ...]]
) -> bool:
    """Whether the caller may become the role: its trust policy's and the caller's own policies' verdicts together."""
    values = {**more, **entity_values(role.tags)}
    find, resource = make_find(request, values), arn_of_role(role)
    trust = evaluate((find_trust(view, role),), action, resource, find, request.principal)
    own = evaluate(request.principal.policies, action, resource, find)
    limits = evaluate_limits(request.principal, action, resource, find)
    if trust.denied or own.denied or limits.denied or not trust.allowed:
        return False
    if role.account == request.account and (trust.direct or (trust.limited and limits.allowed)):
        return True
    return may(request, action, resource, values)


def issue_role_session(
    request: IamRequest,
    view: ReadView,
    parameters: Parameters,
    role: RoleRecord,
    name: str,
    duration_s: int,
    tags: SessionTags,
    values: Mapping[str, str] = NO_VALUES,
) -> dict[str, Any]:
    """Credentials of a role, narrowed by the ``Policy`` and ``PolicyArns`` of the request; what the answer shows."""
    policies, arns = _read_session_policies(view, parameters, role.account)
    session = Session(
        kind=OF_ROLE,
        account=role.account,
        subject=role.id,
        role=role.name,
        name=name,
        issued_s=request.now_s,
        expires_s=request.now_s + duration_s,
        policies=policies,
        policy_arns=arns,
        values={**values, **tags.session_values},
        transitive=tags.transitive,
    )
    return {
        "Credentials": show_credentials(request.maker.issue(session)),
        "AssumedRoleUser": {
            "AssumedRoleId": f"{role.id}:{name}",
            "Arn": session_arn(role.account, role.name, name),
        },
        "PackedPolicySize": _packed_percent(policies) if policies or arns or tags.tags else None,
        "SourceIdentity": tags.source or None,
    }


def _packed_percent(policies: tuple[str, ...]) -> int:
    """How much of what session policies may be these are, percent."""
    return sum(map(len, policies)) * 100 // POLICY_CHARACTERS_MAX


def read_role_arn(parameters: Parameters) -> str:
    """RoleArn, checked."""
    parameters.text("RoleArn", size_min=20, size_max=2048)
    return parameters.matching("RoleArn", ARN, 2048)


def read_session_name(parameters: Parameters) -> str:
    """RoleSessionName, checked."""
    parameters.text("RoleSessionName", size_min=2, size_max=64)
    return parameters.matching("RoleSessionName", SESSION_NAME, 64)


def read_duration(parameters: Parameters, role: RoleRecord, maximum_s: int) -> int:
    """DurationSeconds: an hour unless asked; ``ValidationError`` outside what STS and the role allow."""
    asked = parameters.number("DurationSeconds", default=3600, minimum=SESSION_S_MIN, maximum=43_200)
    if asked > maximum_s:
        raise ValidationError(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
            if maximum_s < role.session_s_max
            else "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        )
    return asked


def show_credentials(issued: Credentials) -> Fields:
    """Temporary credentials as answers show them."""
    return {
        "AccessKeyId": issued.access_key,
        "SecretAccessKey": issued.secret,
        "SessionToken": issued.token,
        "Expiration": shown_time(issued.expires_s * 1000),
    }


def _read_session_policies(
    view: ReadView, parameters: Parameters, account: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(documents, ARNs) that a session is narrowed with; ``MalformedPolicyDocument``, ``PackedPolicyTooLarge``."""
    documents: tuple[str, ...] = ()
    if parameters.find("Policy") is not None:
        document = parameters.text("Policy")
        check_identity_policy(document)
        if len(document) > POLICY_CHARACTERS_MAX:
            raise PackedPolicyTooLarge(f"A session policy has at most {POLICY_CHARACTERS_MAX} characters")
        documents = (document,)
    arns = tuple([fields.get("arn", "") for fields in parameters.structures("PolicyArns")])
    if len(arns) > POLICY_ARNS_MAX:
        raise ValidationError(f"1 validation error detected: 'policyArns' has at most {POLICY_ARNS_MAX} members")
    for arn in arns:
        find_policy(view, account, arn)
    return documents, arns


def _refuse_mfa(parameters: Parameters) -> None:
    if parameters.find("SerialNumber") is not None or parameters.find("TokenCode") is not None:
        raise QueryNotImplemented("Multi-factor authentication is not implemented")


ACTIONS: Final[dict[str, Action]] = {
    "AssumeRole": Action(assume_role, False),
    "GetAccessKeyInfo": Action(get_access_key_info, False),
    "GetCallerIdentity": Action(get_caller_identity, False),
    "GetFederationToken": Action(get_federation_token, False),
    "GetSessionToken": Action(get_session_token, False),
}
"""What this file does."""
