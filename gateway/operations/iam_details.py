"""GetAccountAuthorizationDetails: every user, group, role and policy of an account with what hangs on it, in pages."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from gateway.identity.account_users import list_account_users
from gateway.identity.boundaries import boundary_of
from gateway.identity.groups import list_groups
from gateway.identity.identity_policies import attached_policies, groups_of, inline_policies
from gateway.identity.managed_policies import ManagedPolicy, find_attachments, find_policy, list_policies
from gateway.identity.roles import list_roles
from gateway.operations.iam_groups import show_group
from gateway.operations.iam_policies import show_whole_policy
from gateway.operations.iam_requests import Action, IamRequest, show_page
from gateway.operations.iam_roles import show_role
from gateway.operations.iam_users import show_user
from gateway.s3.query_errors import ValidationError
from gateway.s3.query_protocol import Fields, Parameters
from gateway.store.document_format import UserRecord
from gateway.store.identity_format import GroupRecord, RoleRecord
from gateway.store.ports import ReadView

_KINDS: Final = ("User", "Group", "Role", "LocalManagedPolicy", "AWSManagedPolicy")
_LISTS: Final = {"User": "UserDetailList", "Group": "GroupDetailList", "Role": "RoleDetailList"}
_POLICIES: Final = "Policies"
_AWS: Final = "arn:aws:iam::aws:"
_Entry = tuple[str, UserRecord | GroupRecord | RoleRecord | ManagedPolicy]
"""(its kind and name, which is its place in the order; what is shown)"""


def get_account_authorization_details(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """GetAccountAuthorizationDetails: of the kinds that Filter names, or all. Of AWS's own policies those attached."""
    request.authorize("iam:GetAccountAuthorizationDetails", "*")
    kinds = parameters.members("Filter") or list(_KINDS)
    for kind in kinds:
        if kind not in _KINDS:
            raise ValidationError(f"Value '{kind[:32]}' at 'filter' is none of {', '.join(_KINDS)}")
    entries = [entry for entry in _collect(view, request.account) if entry[0].partition("/")[0] in kinds]
    page = show_page(
        parameters, "Shown", entries, lambda entry: entry[0], lambda entry: _show(view, request.account, entry)
    )
    fields: dict[str, Any] = {name: [] for name in (*_LISTS.values(), _POLICIES)}
    for shown in page.pop("Shown"):
        for name, value in shown.items():
            fields[name].append(value)
    return {**fields, **page}


def _collect(view: ReadView, account: str) -> list[_Entry]:
    used = [find_policy(view, account, arn) for arn in find_attachments(view, account) if arn.startswith(_AWS)]
    return [
        *[(f"User/{user.name}", user) for user in list_account_users(view, account)],
        *[(f"Group/{group.name}", group) for group in list_groups(view, account)],
        *[(f"Role/{role.name}", role) for role in list_roles(view, account)],
        *[(f"LocalManagedPolicy/{policy.arn}", policy) for policy in list_policies(view, account)],
        *[(f"AWSManagedPolicy/{policy.arn}", policy) for policy in used],
    ]


def _show(view: ReadView, account: str, entry: _Entry) -> Fields:
    """One entry under the name of its list."""
    kind, found = entry[0].partition("/")[0], entry[1]
    if isinstance(found, ManagedPolicy):
        return {_POLICIES: show_whole_policy(found, view, account)}
    hanging = {
        f"{kind}PolicyList": [
            {"PolicyName": name, "PolicyDocument": quote(document, safe="-._~")}
            for name, document in inline_policies(view, found.id).items()
        ],
        "AttachedManagedPolicies": [
            {"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn} for arn in attached_policies(view, found.id)
        ],
    }
    if isinstance(found, GroupRecord):
        return {_LISTS[kind]: {**show_group(found), **hanging}}
    boundary = boundary_of(view, found.id)
    if isinstance(found, RoleRecord):
        shown = show_role(found, boundary=boundary)
        return {_LISTS[kind]: {**shown, **hanging, "InstanceProfileList": []}}
    ids = set(groups_of(view, found.id))
    member_of = [group.name for group in list_groups(view, account) if group.id in ids]
    shown = show_user(found, with_tags=True, boundary=boundary)
    return {_LISTS[kind]: {**shown, **hanging, "GroupList": member_of}}


ACTIONS: Final[dict[str, Action]] = {
    "GetAccountAuthorizationDetails": Action(get_account_authorization_details, False),
}
"""What this file does."""
