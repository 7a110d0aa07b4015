"""IAM's verbs about users, their tags and their access keys. Parameters in, result fields out; one view each."""

from __future__ import annotations

from typing import Final

from gateway.identity.account_users import (
    create_account_user,
    create_key,
    delete_account_user,
    find_account_user,
    find_key,
    list_account_users,
    rename_account_user,
    set_key_status,
    set_user_tags,
)
from gateway.identity.arns import account_id, user_arn
from gateway.identity.boundaries import boundary_of, put_boundary
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
from gateway.s3.query_errors import NoSuchEntity, QueryNotImplemented, UnmodifiableEntity, ValidationError
from gateway.s3.query_protocol import Fields, Parameters
from gateway.store.document_format import AccessKeyRecord, UserRecord
from gateway.store.ports import ReadView, WriteView


def find_user(request: IamRequest, view: ReadView, parameters: Parameters, action: str) -> UserRecord:
    """The user that ``UserName`` names (default: the caller), if the caller may do ``action`` on it.

    Raises ``AccessDenied`` before ``NoSuchEntity``: who may not ask is not told.
    """
    name = read_name(parameters, "UserName", 128, default="")
    if not name and request.principal.session_name:
        raise ValidationError("Must specify userName when calling with non-User credentials")
    found = find_account_user(view, request.account, name) if name else view.user(request.principal.user.id)
    if found is not None and not found.account and not request.principal.is_account:
        found = None  # whoever made keys for the account's own user would be it
    if found is None:
        request.authorize(action, request.arn(f"user/{name}"))
        raise NoSuchEntity(f"The user with name {name} cannot be found.")
    request.authorize(action, user_arn(found), entity_values(found.tags, boundary_of(view, found.id)))
    return found


def find_inner_user(request: IamRequest, view: ReadView, parameters: Parameters, action: str) -> UserRecord:
    """As ``find_user``, but not the account's own user, which is the command's to change."""
    parameters.text("UserName")
    user = find_user(request, view, parameters, action)
    if not user.account:
        raise UnmodifiableEntity(f"{user.name} is the account's own user: the server's operator changes it")
    return user


def show_user(user: UserRecord, *, with_tags: bool = False, boundary: str = "") -> Fields:
    """A user as answers show it; lists leave out tags and the ARN of its boundary."""
    return {
        "Path": user.path or "/",
        "UserName": user.name,
        "UserId": user.id if user.account else account_id(user.id),
        "Arn": user_arn(user),
        "CreateDate": shown_time(user.created_ms),
        "PermissionsBoundary": shown_boundary(boundary),
        "Tags": shown_tags(user.tags) if with_tags and user.tags else None,
    }


def create_user(request: IamRequest, view: WriteView, parameters: Parameters) -> Fields:
    """CreateUser."""
    name, path, tags = read_name(parameters, "UserName", 64), read_path(parameters), read_tags(parameters)
    boundary = read_boundary(request, parameters, needed=False)
    request.authorize("iam:CreateUser", request.arn(f"user{path}{name}"))
    user = create_account_user(view, request.account, name, path, tags)
    if boundary:
        put_boundary(view, request.account, user.id, boundary)
    return {"User": show_user(user, with_tags=True, boundary=boundary)}


def get_user(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """GetUser: the caller, if no name is given."""
    user = find_user(request, view, parameters, "iam:GetUser")
    return {"User": show_user(user, with_tags=True, boundary=boundary_of(view, user.id))}


def list_users(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """ListUsers: by path prefix, in pages."""
    prefix = read_prefix(parameters)
    request.authorize("iam:ListUsers", request.arn(f"user{prefix}"))
    users = [user for user in list_account_users(view, request.account) if user.path.startswith(prefix)]
    return show_page(parameters, "Users", users, lambda user: user.name, show_user)


def update_user(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """UpdateUser: another name, another path. The caller must be allowed it on both ARNs."""
    user = find_inner_user(request, view, parameters, "iam:UpdateUser")
    name = read_name(parameters, "NewUserName", 64, default=user.name)
    path = read_path(parameters, "NewPath", user.path)
    request.authorize("iam:UpdateUser", request.arn(f"user{path}{name}"))
    rename_account_user(view, user, name, path)


def delete_user(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """DeleteUser."""
    delete_account_user(view, find_inner_user(request, view, parameters, "iam:DeleteUser"))


def tag_user(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """TagUser."""
    user = find_inner_user(request, view, parameters, "iam:TagUser")
    set_user_tags(view, user, read_tags(parameters, user.tags))


def untag_user(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """UntagUser."""
    user = find_inner_user(request, view, parameters, "iam:UntagUser")
    set_user_tags(view, user, without_tags(user.tags, parameters))


def list_user_tags(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """ListUserTags."""
    user = find_user(request, view, parameters, "iam:ListUserTags")
    return show_page(
        parameters, "Tags", list(user.tags.items()), lambda tag: tag[0], lambda tag: {"Key": tag[0], "Value": tag[1]}
    )


def create_access_key(request: IamRequest, view: WriteView, parameters: Parameters) -> Fields:
    """CreateAccessKey: its secret is told this once."""
    user = find_user(request, view, parameters, "iam:CreateAccessKey")
    key = create_key(view, user)
    return {"AccessKey": {**_show_key(user, key), "SecretAccessKey": key.secret}}


def list_access_keys(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """ListAccessKeys."""
    user = find_user(request, view, parameters, "iam:ListAccessKeys")
    keys = view.access_keys(user.id)
    return show_page(parameters, "AccessKeyMetadata", keys, lambda key: key.id, lambda key: _show_key(user, key))


def update_access_key(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """UpdateAccessKey: Active or Inactive."""
    user = find_user(request, view, parameters, "iam:UpdateAccessKey")
    key = find_key(view, user, _read_key_id(parameters))
    status = parameters.text("Status")
    if status not in ("Active", "Inactive"):
        raise ValidationError(
            f"1 validation error detected: Value '{status[:32]}' at 'status' failed to satisfy constraint: Member must "
            "satisfy enum value set: [Active, Inactive]"
        )
    set_key_status(view, key, disabled=status == "Inactive")


def delete_access_key(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """DeleteAccessKey."""
    user = find_user(request, view, parameters, "iam:DeleteAccessKey")
    view.delete_access_key(find_key(view, user, _read_key_id(parameters)).id)


def get_access_key_last_used(request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    """GetAccessKeyLastUsed: uses are not recorded, and an invented answer would let a key in use be deleted."""
    raise QueryNotImplemented("Skerry does not record when an access key was last used")


def _read_key_id(parameters: Parameters) -> str:
    return parameters.text("AccessKeyId", size_max=128)


def _show_key(user: UserRecord, key: AccessKeyRecord) -> dict[str, str]:
    return {
        "UserName": user.name,
        "AccessKeyId": key.id,
        "Status": "Inactive" if key.disabled else "Active",
        "CreateDate": shown_time(key.created_ms),
    }


ACTIONS: Final[dict[str, Action]] = {
    "CreateAccessKey": Action(create_access_key, True),
    "CreateUser": Action(create_user, True),
    "DeleteAccessKey": Action(delete_access_key, True),
    "DeleteUser": Action(delete_user, True),
    "GetAccessKeyLastUsed": Action(get_access_key_last_used, False),
    "GetUser": Action(get_user, False),
    "ListAccessKeys": Action(list_access_keys, False),
    "ListUsers": Action(list_users, False),
    "ListUserTags": Action(list_user_tags, False),
    "TagUser": Action(tag_user, True),
    "UntagUser": Action(untag_user, True),
    "UpdateAccessKey": Action(update_access_key, True),
    "UpdateUser": Action(update_user, True),
}
"""What this file does."""
