"""IAM's simulation of policies: what they would say of actions on resources, without asking for anything real.

SimulateCustomPolicy is about the policies of the request, SimulatePrincipalPolicy about those of a user, group or role
of the account, its permissions boundary, and those of the request besides. GetContextKeysFor… says which condition keys
the policies name. A condition key that the request gives no value for has none. Which statements matched is not told.
The work of one request is bounded, since nothing else of the worker runs meanwhile.
Source: IAM API reference, SimulateCustomPolicy and SimulatePrincipalPolicy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from gateway.identity.account_users import list_account_users
from gateway.identity.arns import user_arn
from gateway.identity.boundaries import find_boundary
from gateway.identity.groups import group_arn, list_groups
from gateway.identity.identity_policies import collect_policies, collect_user_policies
from gateway.identity.policy_evaluation import Verdict, evaluate
from gateway.identity.policy_texts import check_identity_policy
from gateway.identity.principals import tag_values
from gateway.identity.roles import arn_of_role, list_roles
from gateway.operations.iam_requests import Action, IamRequest
from gateway.s3.policy_document import Policy
from gateway.s3.query_errors import InvalidInput, LimitExceeded, NoSuchEntity, QueryNotImplemented, ValidationError
from gateway.s3.query_protocol import Fields, Parameters, Value
from gateway.store.ports import ReadView

ACTIONS_MAX: Final = 200
DECISIONS_MAX: Final = 1000
COMPARISONS_MAX: Final = 100_000
Values = Mapping[str, tuple[str, ...]]


class _Simulated(NamedTuple):
    """Whose policies are tried, what limits them, and condition keys (lower case) that the principal brings along."""

    policies: tuple[Policy, ...]
    boundary: tuple[Policy, ...] | None = None
    values: Values = {}


def simulate_custom(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """SimulateCustomPolicy."""
    request.authorize("iam:SimulateCustomPolicy", "*")
    policies = _read_policies(parameters, "PolicyInputList")
    if not policies:
        raise ValidationError("1 validation error detected: Value at 'policyInputList' must not be null")
    return _simulate(parameters, _Simulated(policies, _read_boundary(parameters)))


def simulate_principal(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """SimulatePrincipalPolicy."""
    found = _find_source(request, view, parameters, "iam:SimulatePrincipalPolicy")
    policies = (*found.policies, *_read_policies(parameters, "PolicyInputList"))
    return _simulate(parameters, found._replace(policies=policies, boundary=_read_boundary(parameters, found.boundary)))


def context_keys_of_custom(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """GetContextKeysForCustomPolicy."""
    request.authorize("iam:GetContextKeysForCustomPolicy", "*")
    return _show_keys(_read_policies(parameters, "PolicyInputList"))


def context_keys_of_principal(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """GetContextKeysForPrincipalPolicy."""
    found = _find_source(request, view, parameters, "iam:GetContextKeysForPrincipalPolicy")
    return _show_keys((*found.policies, *_read_policies(parameters, "PolicyInputList")))


def _find_source(request: IamRequest, view: ReadView, parameters: Parameters, action: str) -> _Simulated:
    """The user, group or role that ``PolicySourceArn`` names; ``NoSuchEntity``."""
    arn = parameters.text("PolicySourceArn", size_min=20, size_max=2048)
    request.authorize(action, arn)
    account = request.account
    for user in list_account_users(view, account):
        if user_arn(user) == arn:
            policies = collect_user_policies(view, account, user.id)
            values = {**tag_values(user.tags), "aws:username": (user.name,), "aws:principalarn": (arn,)}
            return _Simulated(policies, find_boundary(view, account, user.id), values)
    for role in list_roles(view, account):
        if arn_of_role(role) == arn:
            values = {**tag_values(role.tags), "aws:principalarn": (arn,)}
            return _Simulated(collect_policies(view, account, role.id), find_boundary(view, account, role.id), values)
    for group in list_groups(view, account):
        if group_arn(group) == arn:
            return _Simulated(collect_policies(view, account, group.id))
    raise NoSuchEntity(f"The user, group or role {arn[:512]} cannot be found.")


def _read_policies(parameters: Parameters, name: str) -> tuple[Policy, ...]:
    return tuple([check_identity_policy(document) for document in parameters.members(name)])


def _read_boundary(parameters: Parameters, own: tuple[Policy, ...] | None = None) -> tuple[Policy, ...] | None:
    """The boundary that the request puts in the place of the principal's own."""
    return _read_policies(parameters, "PermissionsBoundaryPolicyInputList") or own


def _read_context(parameters: Parameters) -> dict[str, tuple[str, ...]]:
    """Values of condition keys (lower case) that the request gives."""
    found = {}
    for fields in parameters.structures("ContextEntries"):
        prefix = "ContextKeyValues.member."
        numbered = {name.removeprefix(prefix): value for name, value in fields.items() if name.startswith(prefix)}
        if not all(number.isascii() and number.isdecimal() for number in numbered):
            raise InvalidInput("ContextKeyValues is not a list")
        found[fields.get("ContextKeyName", "").lower()] = tuple([numbered[n] for n in sorted(numbered, key=int)])
    return found


def _simulate(parameters: Parameters, simulated: _Simulated) -> Fields:
    if parameters.find("ResourcePolicy") is not None:
        raise QueryNotImplemented("Simulating a resource's policy is not implemented")
    actions, resources = parameters.members("ActionNames"), parameters.members("ResourceArns") or ["*"]
    if not 1 <= len(actions) <= ACTIONS_MAX or len(actions) * len(resources) > DECISIONS_MAX:
        raise ValidationError(
            "1 validation error detected: 'actionNames' or 'resourceArns' has too few or many members"
        )
    limits = simulated.boundary or ()
    if len(actions) * len(resources) * _count_patterns((*simulated.policies, *limits)) > COMPARISONS_MAX:
        raise LimitExceeded("The policies are too long to be tried with so many actions and resources")
    if any(":" not in action for action in actions):
        raise InvalidInput("Invalid Entity Action: an action is service:name")
    values = {**simulated.values, **_read_context(parameters)}
    shown = [_try(simulated, action, resource, values.get) for action in actions for resource in resources]
    return {"EvaluationResults": shown, "IsTruncated": False}


def _try(simulated: _Simulated, action: str, resource: str, find: Callable[[str], tuple[str, ...] | None]) -> Fields:
    own = evaluate(simulated.policies, action, resource, find)
    limit = Verdict(direct=True)
    if simulated.boundary is not None:
        limit = evaluate(simulated.boundary, action, resource, find)
    decision = "allowed" if own.allowed and limit.allowed else "implicitDeny"
    if own.denied or limit.denied:
        decision = "explicitDeny"
    named = _keys_of(simulated.policies)
    fields: dict[str, Value] = {
        "EvalActionName": action,
        "EvalResourceName": resource,
        "EvalDecision": decision,
        "MatchedStatements": [],
        "MissingContextValues": [key for key in named if find(key) is None],
    }
    if simulated.boundary is not None:
        within = limit.allowed and not limit.denied
        fields["PermissionsBoundaryDecisionDetail"] = {"AllowedByPermissionsBoundary": within}
    return fields


def _count_patterns(policies: Iterable[Policy]) -> int:
    """What is compared for one action on one resource, at most."""
    return sum(
        len(one.actions) + len(one.resources) + sum(len(condition.values) for condition in one.conditions)
        for policy in policies
        for one in policy.statements
    )


def _keys_of(policies: Iterable[Policy]) -> list[str]:
    """The condition keys that policies name."""
    return sorted(
        {condition.key for policy in policies for statement in policy.statements for condition in statement.conditions}
    )


def _show_keys(policies: Iterable[Policy]) -> Fields:
    return {"ContextKeyNames": _keys_of(policies)}


ACTIONS: Final[dict[str, Action]] = {
    "GetContextKeysForCustomPolicy": Action(context_keys_of_custom, False),
    "GetContextKeysForPrincipalPolicy": Action(context_keys_of_principal, False),
    "SimulateCustomPolicy": Action(simulate_custom, False),
    "SimulatePrincipalPolicy": Action(simulate_principal, False),
}
"""What this file does."""
