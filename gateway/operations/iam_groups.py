"""IAM's verbs about groups and who is in them. Parameters in, result fields out; one view each."""

from __future__ import annotations

from typing import Final

from gateway.identity.account_users import find_account_user
from gateway.identity.groups import (
    add_member,
    create_group,
    delete_group,
    find_group,
    group_arn,
    list_groups,
    members_of,
    remove_member,
    update_group,
)
from gateway.identity.identity_policies import groups_of
from gateway.operations.iam_requests import (
    Action,
    IamRequest,
    read_name,
    read_path,
    read_prefix,
    show_page,
    shown_time,
)
from gateway.operations.iam_users import find_user, show_user
from gateway.s3.query_errors import InvalidInput, NoSuchEntity
from gateway.s3.query_protocol import Fields, Parameters
from gateway.store.document_format import UserRecord
from gateway.store.identity_format import GroupRecord
from gateway.store.ports import ReadView, WriteView


def find_named_group(request: IamRequest, view: ReadView, parameters: Parameters, action: str) -> GroupRecord:
    """The group that ``GroupName`` names, if the caller may do ``action`` on it; ``NoSuchEntity``."""
    name = read_name(parameters, "GroupName", 128)
    group = find_group(view, request.account, name)
    request.authorize(action, group_arn(group) if group is not None else request.arn(f"group/{name}"))
    if group is None:
        raise NoSuchEntity(f"The group with name {name} cannot be found.")
    return group


def show_group(group: GroupRecord) -> Fields:
    """A group as answers show it."""
    return {
        "Path": group.path,
        "GroupName": group.name,
        "GroupId": group.id,
        "Arn": group_arn(group),
        "CreateDate": shown_time(group.created_ms),
    }


def create(request: IamRequest, view: WriteView, parameters: Parameters) -> Fields:
    """CreateGroup."""
    name, path = read_name(parameters, "GroupName", 128), read_path(parameters)
    request.authorize("iam:CreateGroup", request.arn(f"group{path}{name}"))
    return {"Group": show_group(create_group(view, request.account, name, path))}


def get(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """GetGroup: the group and who is in it, in pages."""
    group = find_named_group(request, view, parameters, "iam:GetGroup")
    page = show_page(parameters, "Users", members_of(view, group), lambda user: user.name, show_user)
    return {"Group": show_group(group), **page}


def list_all(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """ListGroups: by path prefix, in pages."""
    prefix = read_prefix(parameters)
    request.authorize("iam:ListGroups", request.arn(f"group{prefix}"))
    groups = [group for group in list_groups(view, request.account) if group.path.startswith(prefix)]
    return show_page(parameters, "Groups", groups, lambda group: group.name, show_group)


def update(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """UpdateGroup: another name, another path."""
    group = find_named_group(request, view, parameters, "iam:UpdateGroup")
    name = read_name(parameters, "NewGroupName", 128, default=group.name)
    path = read_path(parameters, "NewPath", group.path)
    request.authorize("iam:UpdateGroup", request.arn(f"group{path}{name}"))
    update_group(view, group, name, path)


def delete(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """DeleteGroup."""
    delete_group(view, find_named_group(request, view, parameters, "iam:DeleteGroup"))


def _find_member(request: IamRequest, view: ReadView, parameters: Parameters) -> UserRecord:
    """The user to be put in or out: who may do that is a matter of the group alone, as AWS has it."""
    name = read_name(parameters, "UserName", 128)
    user = find_account_user(view, request.account, name)
    if user is None:
        raise NoSuchEntity(f"The user with name {name} cannot be found.")
    if not user.account:
        raise InvalidInput(f"{user.name} is the account's own user, which is in no group")
    return user


def add_user(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """AddUserToGroup."""
    group = find_named_group(request, view, parameters, "iam:AddUserToGroup")
    add_member(view, group, _find_member(request, view, parameters))


def remove_user(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """RemoveUserFromGroup."""
    group = find_named_group(request, view, parameters, "iam:RemoveUserFromGroup")
    remove_member(view, group, _find_member(request, view, parameters))


def list_for_user(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """ListGroupsForUser."""
    parameters.text("UserName")
    user = find_user(request, view, parameters, "iam:ListGroupsForUser")
    ids = set(groups_of(view, user.id))
    groups = [group for group in list_groups(view, request.account) if group.id in ids]
    return show_page(parameters, "Groups", groups, lambda group: group.name, show_group)


ACTIONS: Final[dict[str, Action]] = {
    "AddUserToGroup": Action(add_user, True),
    "CreateGroup": Action(create, True),
    "DeleteGroup": Action(delete, True),
    "GetGroup": Action(get, False),
    "ListGroups": Action(list_all, False),
    "ListGroupsForUser": Action(list_for_user, False),
    "RemoveUserFromGroup": Action(remove_user, True),
    "UpdateGroup": Action(update, True),
}
"""What this file does."""
