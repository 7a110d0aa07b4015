"""IAM's verbs about roles and their tags. Parameters in, result fields out; one view each."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import quote

import msgspec

from gateway.identity.boundaries import boundary_of, put_boundary
from gateway.identity.policy_texts import check_trust
from gateway.identity.principal_ids import bind_trust
from gateway.identity.roles import arn_of_role, create_role, delete_role, find_role, list_roles, save_role
from gateway.identity.users import new_unique_id
from gateway.operations.iam_requests import (
    Action,
    IamRequest,
    entity_values,
    read_boundary,
    read_name,
    read_path,
    read_prefix,
    read_tags,
    show_page,
    shown_boundary,
    shown_tags,
    shown_time,
    without_tags,
)
from gateway.s3.query_errors import NoSuchEntity
from gateway.s3.query_protocol import Fields, Parameters
from gateway.store.identity_format import RoleRecord
from gateway.store.ports import ReadView, WriteView

_DESCRIPTION: Final = re.compile("[\t\n\r\x20-\x7e\xa1-\xff]*")
SESSION_S_MIN: Final = 3600
SESSION_S_MAX: Final = 43_200


def find_named_role(request: IamRequest, view: ReadView, parameters: Parameters, action: str) -> RoleRecord:
    """The role that ``RoleName`` names, if the caller may do ``action`` on it; ``NoSuchEntity``."""
    name = read_name(parameters, "RoleName", 64)
    role = find_role(view, request.account, name)
    if role is None:
        request.authorize(action, request.arn(f"role/{name}"))
        raise NoSuchEntity(f"The role with name {name} cannot be found.")
    request.authorize(action, arn_of_role(role), entity_values(role.tags, boundary_of(view, role.id)))
    return role


def show_role(role: RoleRecord, *, whole: bool = True, boundary: str = "") -> Fields:
    """A role as answers show it; lists leave out tags and the ARN of its boundary."""
    fields: dict[str, Any] = {
        "Path": role.path,
        "RoleName": role.name,
        "RoleId": role.id,
        "Arn": arn_of_role(role),
        "CreateDate": shown_time(role.created_ms),
        "AssumeRolePolicyDocument": quote(role.trust, safe="-._~"),
        "Description": role.description or None,
        "MaxSessionDuration": role.session_s_max,
        "PermissionsBoundary": shown_boundary(boundary),
    }
    if whole and role.tags:
        fields["Tags"] = shown_tags(role.tags)
    return fields


def create(request: IamRequest, view: WriteView, parameters: Parameters) -> Fields:
    """CreateRole."""
    name, path, tags = read_name(parameters, "RoleName", 64), read_path(parameters), read_tags(parameters)
    boundary = read_boundary(request, parameters, needed=False)
    request.authorize("iam:CreateRole", request.arn(f"role{path}{name}"))
    role = RoleRecord(
        id=new_unique_id("AROA"),
        account=request.account,
        name=name,
        path=path,
        created_ms=view.now_ms,
        trust=parameters.text("AssumeRolePolicyDocument", size_max=131_072),
        description=_read_description(parameters, ""),
        session_s_max=_read_duration(parameters, SESSION_S_MIN),
        tags=tags,
    )
    made = create_role(view, role)
    bind_trust(view, made)
    if boundary:
        put_boundary(view, request.account, role.id, boundary)
    return {"Role": show_role(made, boundary=boundary)}


def get(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """GetRole."""
    role = find_named_role(request, view, parameters, "iam:GetRole")
    return {"Role": show_role(role, boundary=boundary_of(view, role.id))}


def list_all(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """ListRoles: by path prefix, in pages."""
    prefix = read_prefix(parameters)
    request.authorize("iam:ListRoles", request.arn(f"role{prefix}"))
    roles = [role for role in list_roles(view, request.account) if role.path.startswith(prefix)]
    return show_page(parameters, "Roles", roles, lambda role: role.name, lambda role: show_role(role, whole=False))


def update(request: IamRequest, view: WriteView, parameters: Parameters) -> Fields:
    """UpdateRole: description and how long a session may last."""
    role = find_named_role(request, view, parameters, "iam:UpdateRole")
    description = _read_description(parameters, role.description)
    duration_s = _read_duration(parameters, role.session_s_max)
    save_role(view, msgspec.structs.replace(role, description=description, session_s_max=duration_s))
    return {}


def update_description(request: IamRequest, view: WriteView, parameters: Parameters) -> Fields:
    """UpdateRoleDescription."""
    role = find_named_role(request, view, parameters, "iam:UpdateRoleDescription")
    parameters.text("Description", size_min=0)
    changed = msgspec.structs.replace(role, description=_read_description(parameters, ""))
    save_role(view, changed)
    return {"Role": show_role(changed, boundary=boundary_of(view, changed.id))}


def update_trust(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """UpdateAssumeRolePolicy: sessions that are under way go on."""
    role = find_named_role(request, view, parameters, "iam:UpdateAssumeRolePolicy")
    trust = check_trust(parameters.text("PolicyDocument", size_max=131_072))
    changed = msgspec.structs.replace(role, trust=trust)
    save_role(view, changed)
    bind_trust(view, changed)


def delete(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """DeleteRole."""
    delete_role(view, find_named_role(request, view, parameters, "iam:DeleteRole"))


def tag(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """TagRole."""
    role = find_named_role(request, view, parameters, "iam:TagRole")
    save_role(view, msgspec.structs.replace(role, tags=read_tags(parameters, role.tags)))


def untag(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """UntagRole."""
    role = find_named_role(request, view, parameters, "iam:UntagRole")
    save_role(view, msgspec.structs.replace(role, tags=without_tags(role.tags, parameters)))


def list_tags(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """ListRoleTags."""
    role = find_named_role(request, view, parameters, "iam:ListRoleTags")
    return show_page(
        parameters, "Tags", list(role.tags.items()), lambda tag: tag[0], lambda tag: {"Key": tag[0], "Value": tag[1]}
    )


def _read_description(parameters: Parameters, default: str) -> str:
    if parameters.find("Description") in (None, ""):
        return default if parameters.find("Description") is None else ""
    return parameters.matching("Description", _DESCRIPTION, 1000)


def _read_duration(parameters: Parameters, default: int) -> int:
    return parameters.number("MaxSessionDuration", default=default, minimum=SESSION_S_MIN, maximum=SESSION_S_MAX)


ACTIONS: Final[dict[str, Action]] = {
    "CreateRole": Action(create, True),
    "DeleteRole": Action(delete, True),
    "GetRole": Action(get, False),
    "ListRoles": Action(list_all, False),
    "ListRoleTags": Action(list_tags, False),
    "TagRole": Action(tag, True),
    "UntagRole": Action(untag, True),
    "UpdateAssumeRolePolicy": Action(update_trust, True),
    "UpdateRole": Action(update, True),
    "UpdateRoleDescription": Action(update_description, True),
}
"""What this file does."""
