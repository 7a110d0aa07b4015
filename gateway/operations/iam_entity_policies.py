"""IAM's verbs about the policies of users, groups and roles: seven each, which differ in nothing but the entity.

Put, Get, List, Delete of inline policies; Attach, Detach, List of managed ones. An account's own user has none: it may
do everything, and a policy that changes nothing would only pretend to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple
from urllib.parse import quote

from gateway.identity.identity_policies import (
    attach,
    attached_policies,
    delete_inline,
    detach,
    find_inline,
    inline_policies,
    put_inline,
)
from gateway.operations.iam_groups import find_named_group
from gateway.operations.iam_requests import ARN, Action, IamRequest, Verb, read_name, read_prefix, show_page
from gateway.operations.iam_roles import find_named_role
from gateway.operations.iam_users import find_user
from gateway.s3.query_errors import UnmodifiableEntity
from gateway.s3.query_protocol import Fields, Parameters
from gateway.store.ports import ReadView, WriteView

Find = Callable[[IamRequest, ReadView, Parameters, str], tuple[str, str]]
"""(unique id, name) of the entity that a request names, if the caller may do the action on it."""


class _Kind(NamedTuple):
    """One kind of entity: its word in actions and parameters (``User``), and how it is found."""

    word: str
    find: Find

    def verbs(self) -> dict[str, Action]:
        """The seven actions."""
        word = self.word
        return {
            f"Put{word}Policy": Action(self._bind(_put, f"Put{word}Policy"), True),
            f"Get{word}Policy": Action(self._bind(_get, f"Get{word}Policy"), False),
            f"Delete{word}Policy": Action(self._bind(_delete, f"Delete{word}Policy"), True),
            f"List{word}Policies": Action(self._bind(_list_inline, f"List{word}Policies"), False),
            f"Attach{word}Policy": Action(self._bind(_attach, f"Attach{word}Policy"), True),
            f"Detach{word}Policy": Action(self._bind(_detach, f"Detach{word}Policy"), True),
            f"ListAttached{word}Policies": Action(self._bind(_list_attached, f"ListAttached{word}Policies"), False),
        }

    def _bind(self, verb: Callable[..., Fields | None], action: str) -> Verb:
        def run(request: IamRequest, view: WriteView, parameters: Parameters) -> Fields | None:
            entity, name = self.find(request, view, parameters, f"iam:{action}")
            return verb(self.word, entity, name, request, view, parameters)

        return run


def _put(word: str, entity: str, name: str, request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    policy = read_name(parameters, "PolicyName", 128)
    put_inline(view, word.lower(), entity, policy, parameters.text("PolicyDocument", size_max=131_072))


def _get(word: str, entity: str, name: str, request: IamRequest, view: ReadView, parameters: Parameters) -> Fields:
    policy = read_name(parameters, "PolicyName", 128)
    document = find_inline(view, word.lower(), entity, policy)
    return {f"{word}Name": name, "PolicyName": policy, "PolicyDocument": quote(document, safe="-._~")}


def _delete(word: str, entity: str, name: str, request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    delete_inline(view, word.lower(), entity, read_name(parameters, "PolicyName", 128))


def _list_inline(
    word: str, entity: str, name: str, request: IamRequest, view: ReadView, parameters: Parameters
) -> Fields:
    return show_page(parameters, "PolicyNames", list(inline_policies(view, entity)), str, str)


def _attach(word: str, entity: str, name: str, request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    attach(view, request.account, entity, _read_arn(parameters))


def _detach(word: str, entity: str, name: str, request: IamRequest, view: WriteView, parameters: Parameters) -> None:
    detach(view, entity, _read_arn(parameters))


def _list_attached(
    word: str, entity: str, name: str, request: IamRequest, view: ReadView, parameters: Parameters
) -> Fields:
    prefix = read_prefix(parameters)
    found = [arn for arn in attached_policies(view, entity) if _path_of(arn).startswith(prefix)]
    return show_page(
        parameters,
        "AttachedPolicies",
        found,
        str,
        lambda arn: {"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn},
    )


def _path_of(arn: str) -> str:
    """The path of a policy's ARN."""
    return "/" + arn.partition(":policy/")[2].rpartition("/")[0]


def _read_arn(parameters: Parameters) -> str:
    parameters.text("PolicyArn", size_min=20, size_max=2048)
    return parameters.matching("PolicyArn", ARN, 2048)


def _find_user(request: IamRequest, view: ReadView, parameters: Parameters, action: str) -> tuple[str, str]:
    parameters.text("UserName")
    user = find_user(request, view, parameters, action)
    if not user.account:
        raise UnmodifiableEntity(f"{user.name} is the account's own user: it may do everything and has no policies")
    return user.id, user.name


def _find_group(request: IamRequest, view: ReadView, parameters: Parameters, action: str) -> tuple[str, str]:
    group = find_named_group(request, view, parameters, action)
    return group.id, group.name


def _find_role(request: IamRequest, view: ReadView, parameters: Parameters, action: str) -> tuple[str, str]:
    role = find_named_role(request, view, parameters, action)
    return role.id, role.name


ACTIONS: Final[dict[str, Action]] = {
    **_Kind("User", _find_user).verbs(),
    **_Kind("Group", _find_group).verbs(),
    **_Kind("Role", _find_role).verbs(),
}
"""What this file does."""
