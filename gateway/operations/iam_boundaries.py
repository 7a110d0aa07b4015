"""IAM's verbs about permissions boundaries of users and roles. Parameters in, nothing out; one commit each."""

from __future__ import annotations

from typing import Final

from gateway.identity.boundaries import delete_boundary, put_boundary
from gateway.operations.iam_requests import Action, IamRequest, read_boundary
from gateway.operations.iam_roles import find_named_role
from gateway.operations.iam_users import find_inner_user
from gateway.s3.query_protocol import Parameters
from gateway.store.ports import WriteView


def put_user_boundary(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """PutUserPermissionsBoundary."""
    arn = read_boundary(request, parameters)
    user = find_inner_user(request, view, parameters, "iam:PutUserPermissionsBoundary")
    put_boundary(view, request.account, user.id, arn)


def delete_user_boundary(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """DeleteUserPermissionsBoundary."""
    delete_boundary(view, find_inner_user(request, view, parameters, "iam:DeleteUserPermissionsBoundary").id)


def put_role_boundary(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """PutRolePermissionsBoundary."""
    arn = read_boundary(request, parameters)
    role = find_named_role(request, view, parameters, "iam:PutRolePermissionsBoundary")
    put_boundary(view, request.account, role.id, arn)


def delete_role_boundary(request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    """DeleteRolePermissionsBoundary."""
    delete_boundary(view, find_named_role(request, view, parameters, "iam:DeleteRolePermissionsBoundary").id)


ACTIONS: Final[dict[str, Action]] = {
    "DeleteRolePermissionsBoundary": Action(delete_role_boundary, True),
    "DeleteUserPermissionsBoundary": Action(delete_user_boundary, True),
    "PutRolePermissionsBoundary": Action(put_role_boundary, True),
    "PutUserPermissionsBoundary": Action(put_user_boundary, True),
}
"""What this file does."""
