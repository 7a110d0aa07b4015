"""IAM's verbs about managed policies and their versions, and the account's summary. One view each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from gateway.identity.account_users import list_account_users
from gateway.identity.builtin_policies import BUILTIN
from gateway.identity.groups import GROUPS_MAX, list_groups
from gateway.identity.managed_policies import (
    POLICIES_MAX,
    ManagedPolicy,
    create_policy,
    create_version,
    delete_policy,
    delete_version,
    find_attachments,
    find_policy,
    list_policies,
    set_default_version,
    set_policy_tags,
)
from gateway.identity.providers import list_providers
from gateway.identity.roles import ROLES_MAX, list_roles
from gateway.operations.iam_requests import (
    ARN,
    Action,
    IamRequest,
    read_name,
    read_path,
    read_prefix,
    read_tags,
    show_page,
    shown_tags,
    shown_time,
    without_tags,
)
from gateway.s3.query_errors import ValidationError
from gateway.s3.query_protocol import Entries, Fields, Parameters
from gateway.store.identity_format import PolicyVersion
from gateway.store.ports import ReadView, WriteView

_VERSION_ID: Final = re.compile(r"v([1-9][0-9]{0,8})(\.[A-Za-z0-9-]*)?", re.ASCII)
_SCOPES: Final = ("All", "AWS", "Local")
_AS_PERMISSIONS: Final = "PermissionsPolicy"
_AS_BOUNDARY: Final = "PermissionsBoundary"


def find_named_policy(request: IamRequest, view: ReadView, parameters: Parameters, action: str) -> ManagedPolicy:
    """The policy that ``PolicyArn`` names, if the caller may do ``action`` on it; ``NoSuchEntity``."""
    parameters.text("PolicyArn", size_min=20, size_max=2048)
    arn = parameters.matching("PolicyArn", ARN, 2048)
    request.authorize(action, arn)
    return find_policy(view, request.account, arn)


class _Uses(NamedTuple):
    """Ids of entities by the ARN of the policy that is attached to them, or is their boundary."""

    attached: Mapping[str, list[str]] = {}
    boundaries: Mapping[str, list[str]] = {}


def _find_uses(view: ReadView, account: str) -> _Uses:
    return _Uses(find_attachments(view, account), find_attachments(view, account, as_boundary=True))


def _show_policy(policy: ManagedPolicy, uses: _Uses, *, whole: bool = True) -> Fields:
    """A policy as answers show it; lists leave out description and tags."""
    record = policy.record
    fields: dict[str, Any] = {
        "PolicyName": record.name,
        "PolicyId": record.id,
        "Arn": policy.arn,
        "Path": record.path,
        "DefaultVersionId": f"v{record.default}",
        "AttachmentCount": len(uses.attached.get(policy.arn, ())),
        "PermissionsBoundaryUsageCount": len(uses.boundaries.get(policy.arn, ())),
        "IsAttachable": True,
        "CreateDate": shown_time(record.created_ms),
        "UpdateDate": shown_time(max(version.created_ms for version in record.versions)),
    }
    if whole:
        fields["Description"] = record.description or None
        fields["Tags"] = shown_tags(record.tags) if record.tags else None
    return fields


def show_whole_policy(policy: ManagedPolicy, view: ReadView, account: str) -> Fields:
    """A policy with the documents of all its versions."""
    versions = [_show_version(policy, version, document=True) for version in policy.record.versions]
    return {**_show_policy(policy, _find_uses(view, account)), "PolicyVersionList": versions}


def _show_version(policy: ManagedPolicy, version: PolicyVersion, *, document: bool) -> Fields:
    return {
        "Document": quote(version.document, safe="-._~") if document else None,
        "VersionId": f"v{version.number}",
        "IsDefaultVersion": version.number == policy.record.default,
        "CreateDate": shown_time(version.created_ms),
    }


def create(request: IamRequest, view: WriteView, parameters: Parameters) -> Fields:
    """CreatePolicy."""
    name, path, tags = read_name(parameters, "PolicyName", 128), read_path(parameters), read_tags(parameters)
    request.authorize("iam:CreatePolicy", request.arn(f"policy{path}{name}"))
    description = parameters.text("Description", default="", size_min=0, size_max=1000)
    document = parameters.text("PolicyDocument", size_max=131_072)
    made = create_policy(view, request.account, name, path, document, description, tags)
    return {"Policy": _show_policy(made, _Uses())}


def get(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """GetPolicy."""
    policy = find_named_policy(request, view, parameters, "iam:GetPolicy")
    return {"Policy": _show_policy(policy, _find_uses(view, request.account))}


def list_all(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """ListPolicies: AWS's that are known here, the account's own, or both; by path prefix; only attached ones."""
    prefix, scope = read_prefix(parameters), parameters.text("Scope", default="All")
    if scope not in _SCOPES:
        raise ValidationError(f"Value '{scope[:32]}' at 'scope' failed to satisfy constraint: one of {_SCOPES}")
    request.authorize("iam:ListPolicies", request.arn(f"policy{prefix}"))
    found = [] if scope == "AWS" else list_policies(view, request.account)
    if scope != "Local":
        found += [ManagedPolicy(arn, record, True) for arn, record in BUILTIN.items()]
    found = [policy for policy in found if policy.record.path.startswith(prefix)]
    uses = _find_uses(view, request.account)
    if _read_usage(parameters) == _AS_BOUNDARY:
        found = [policy for policy in found if policy.arn in uses.boundaries]
    elif parameters.flag("OnlyAttached"):
        found = [policy for policy in found if policy.arn in uses.attached]
    return show_page(
        parameters,
        "Policies",
        found,
        lambda policy: policy.arn,
        lambda policy: _show_policy(policy, uses, whole=False),
    )


def delete(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """DeletePolicy."""
    delete_policy(view, find_named_policy(request, view, parameters, "iam:DeletePolicy"))


def create_policy_version(request: IamRequest, view: WriteView, parameters: Parameters) -> Fields:
    """CreatePolicyVersion."""
    policy = find_named_policy(request, view, parameters, "iam:CreatePolicyVersion")
    document = parameters.text("PolicyDocument", size_max=131_072)
    version = create_version(view, policy, document, default=parameters.flag("SetAsDefault"))
    changed = find_policy(view, request.account, policy.arn)
    return {"PolicyVersion": _show_version(changed, version, document=False)}


def get_policy_version(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """GetPolicyVersion."""
    policy = find_named_policy(request, view, parameters, "iam:GetPolicyVersion")
    version = policy.version(_read_version(parameters))
    return {"PolicyVersion": _show_version(policy, version, document=True)}


def list_policy_versions(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """ListPolicyVersions."""
    policy = find_named_policy(request, view, parameters, "iam:ListPolicyVersions")
    return show_page(
        parameters,
        "Versions",
        policy.record.versions,
        lambda version: f"{999_999_999 - version.number:09d}",  # newest first
        lambda version: _show_version(policy, version, document=False),
    )


def delete_policy_version(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """DeletePolicyVersion."""
    policy = find_named_policy(request, view, parameters, "iam:DeletePolicyVersion")
    delete_version(view, policy, _read_version(parameters))


def set_default_policy_version(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """SetDefaultPolicyVersion."""
    policy = find_named_policy(request, view, parameters, "iam:SetDefaultPolicyVersion")
    set_default_version(view, policy, _read_version(parameters))


def list_entities(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """ListEntitiesForPolicy: users, groups and roles it is attached to, or whose boundary it is. All on one page."""
    policy = find_named_policy(request, view, parameters, "iam:ListEntitiesForPolicy")
    wanted = parameters.text("EntityFilter", default="")
    uses, usage = _find_uses(view, request.account), _read_usage(parameters)
    ids: set[str] = set()
    if usage != _AS_BOUNDARY:
        ids.update(uses.attached.get(policy.arn, ()))
    if usage != _AS_PERMISSIONS:
        ids.update(uses.boundaries.get(policy.arn, ()))
    users = [user for user in list_account_users(view, request.account) if user.id in ids]
    groups = [group for group in list_groups(view, request.account) if group.id in ids]
    roles = [role for role in list_roles(view, request.account) if role.id in ids]
    return {
        "PolicyUsers": [{"UserName": u.name, "UserId": u.id} for u in users if wanted in ("", "User")],
        "PolicyGroups": [{"GroupName": g.name, "GroupId": g.id} for g in groups if wanted in ("", "Group")],
        "PolicyRoles": [{"RoleName": r.name, "RoleId": r.id} for r in roles if wanted in ("", "Role")],
        "IsTruncated": False,
    }


def tag(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """TagPolicy."""
    policy = find_named_policy(request, view, parameters, "iam:TagPolicy")
    set_policy_tags(view, policy, read_tags(parameters, policy.record.tags))


def untag(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """UntagPolicy."""
    policy = find_named_policy(request, view, parameters, "iam:UntagPolicy")
    set_policy_tags(view, policy, without_tags(policy.record.tags, parameters))


def list_tags(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """ListPolicyTags."""
    policy = find_named_policy(request, view, parameters, "iam:ListPolicyTags")
    tags = list(policy.record.tags.items())
    return show_page(parameters, "Tags", tags, lambda tag: tag[0], lambda tag: {"Key": tag[0], "Value": tag[1]})


def get_account_summary(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """GetAccountSummary: what there is, and the quotas that are kept."""
    request.authorize("iam:GetAccountSummary", "*")
    account = request.account
    numbers = {
        "Users": len(list_account_users(view, account)),
        "UsersQuota": 5000,
        "Groups": len(list_groups(view, account)),
        "GroupsQuota": GROUPS_MAX,
        "Roles": len(list_roles(view, account)),
        "RolesQuota": ROLES_MAX,
        "Policies": len(list_policies(view, account)),
        "PoliciesQuota": POLICIES_MAX,
        "Providers": len(list_providers(view, account)),
        "AccessKeysPerUserQuota": 2,
        "AttachedPoliciesPerUserQuota": 20,
        "AttachedPoliciesPerGroupQuota": 20,
        "AttachedPoliciesPerRoleQuota": 20,
        "GroupsPerUserQuota": 10,
        "PolicySizeQuota": 6144,
        "VersionsPerPolicyQuota": 5,
        "UserPolicySizeQuota": 2048,
        "GroupPolicySizeQuota": 5120,
        "RolePolicySizeQuota": 10240,
        "AssumeRolePolicySizeQuota": 4096,
        "AccountAccessKeysPresent": int(bool(view.access_keys(account))),
        "AccountMFAEnabled": 0,
        "MFADevices": 0,
        "MFADevicesInUse": 0,
    }
    return {"SummaryMap": Entries(numbers)}


def list_account_aliases(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """ListAccountAliases: accounts have none."""
    request.authorize("iam:ListAccountAliases", "*")
    return {"AccountAliases": [], "IsTruncated": False}


def _read_usage(parameters: Parameters) -> str:
    """PolicyUsageFilter; empty: however a policy is used."""
    usage = parameters.text("PolicyUsageFilter", default="")
    if usage not in ("", _AS_PERMISSIONS, _AS_BOUNDARY):
        raise ValidationError(f"Value '{usage[:32]}' at 'policyUsageFilter' is not a way to use a policy")
    return usage


def _read_version(parameters: Parameters) -> int:
    text = parameters.matching("VersionId", _VERSION_ID, 64)
    return int(text.partition(".")[0][1:])


ACTIONS: Final[dict[str, Action]] = {
    "CreatePolicy": Action(create, True),
    "CreatePolicyVersion": Action(create_policy_version, True),
    "DeletePolicy": Action(delete, True),
    "DeletePolicyVersion": Action(delete_policy_version, True),
    "GetAccountSummary": Action(get_account_summary, False),
    "GetPolicy": Action(get, False),
    "GetPolicyVersion": Action(get_policy_version, False),
    "ListAccountAliases": Action(list_account_aliases, False),
    "ListEntitiesForPolicy": Action(list_entities, False),
    "ListPolicies": Action(list_all, False),
    "ListPolicyTags": Action(list_tags, False),
    "ListPolicyVersions": Action(list_policy_versions, False),
    "SetDefaultPolicyVersion": Action(set_default_policy_version, True),
    "TagPolicy": Action(tag, True),
    "UntagPolicy": Action(untag, True),
}
"""What this file does."""
