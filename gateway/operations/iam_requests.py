"""What every verb of IAM and STS gets, how it is authorised, and how its answers name things.

A verb is a function of the request, a view and the parameters, and decides in one snapshot or commit: who may do it is
asked there, with what is there then. An account's own user may do everything in its account; the users and sessions of
an account what their policies allow (``evaluate``); nobody reaches into another account.

Not here: the protocol (``gateway.s3.query_protocol``), what things are (``gateway.identity``).
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from gateway.identity.account_users import ENTITY_NAME
from gateway.identity.arns import account_id
from gateway.identity.authorize import Asker
from gateway.identity.facts import Facts
from gateway.identity.policy_evaluation import evaluate, evaluate_limits
from gateway.identity.principals import Principal
from gateway.identity.sessions import SessionMaker
from gateway.s3.query_errors import InvalidInput, LimitExceeded, QueryAccessDenied, ValidationError
from gateway.s3.query_protocol import Fields, Parameters
from gateway.s3.times import format_iso
from gateway.store.ports import WriteView

PATH: Final = re.compile(r"/|/[\x21-\x7e]+/", re.ASCII)
_PATH_PREFIX: Final = re.compile(r"/[\x21-\x7e]*", re.ASCII)
_TAG_TEXT: Final = re.compile(r"[\w\s.:/=+\-@]*")
ARN: Final = re.compile(r"arn:aws:iam::(aws|[0-9]{12}):[\x21-\x7e]{1,1500}", re.ASCII)
TAGS_MAX: Final = 50
Item = TypeVar("Item")


class IamRequest(NamedTuple):
    """One verified request. ``facts``: what conditions may ask of it; ``maker``: makes temporary credentials."""

    principal: Principal
    facts: Facts
    now_s: int
    maker: SessionMaker

    @property
    def account(self) -> str:
        """The user id of the account that the request acts in: the caller's."""
        return self.principal.id

    def arn(self, resource: str) -> str:
        """The ARN of an IAM resource of the account."""
        return f"arn:aws:iam::{account_id(self.account)}:{resource}"

    def authorize(self, action: str, resource: str, values: Mapping[str, tuple[str, ...]] | None = None) -> None:
        """Return if the caller may do ``action`` on the ARN; ``AccessDenied`` otherwise.

        ``values``: of condition keys (lower case) that the resource has (``entity_values``).
        """
        principal = self.principal
        if not may(self, action, resource, values):
            raise QueryAccessDenied(
                f"User: {principal.caller_arn} is not authorized to perform: {action} on resource: {resource}"
            )


Verb = Callable[[IamRequest, WriteView, Parameters], Fields | None]
"""What an action does: its result's fields, None if the action has no result."""


class Action(NamedTuple):
    """One action of a service. ``writes``: whether it needs a commit; else its view must only be read."""

    run: Verb
    writes: bool


def may(request: IamRequest, action: str, resource: str, values: Mapping[str, tuple[str, ...]] | None = None) -> bool:
    """Whether the caller's own policies (and what limits them) allow ``action``; ``values``: see ``authorize``."""
    principal = request.principal
    if principal.is_anonymous or principal.user.disabled or principal.access_key.disabled:
        return False
    if is_user_session(principal) and action.startswith("iam:"):
        return False  # as AWS has it: credentials of GetSessionToken administrate nothing
    find = make_find(request, values)
    own = evaluate(principal.policies, action, resource, find)
    limits = evaluate_limits(principal, action, resource, find)
    return (principal.is_account or own.allowed) and limits.allowed and not (own.denied or limits.denied)


def is_user_session(principal: Principal) -> bool:
    """Whether these are temporary credentials of a user, not of a role."""
    return principal.access_key.id.startswith("ASIA") and not principal.session_name


def make_find(
    request: IamRequest, more: Mapping[str, tuple[str, ...]] | None = None
) -> Callable[[str], tuple[str, ...] | None]:
    """The values of condition keys: the caller's, the request's and ``more`` (keys in lower case)."""
    asker, own = Asker(request.principal, request.facts, None, None), more or {}

    def find(key: str) -> tuple[str, ...] | None:
        return own[key] if key in own else asker.find(key)

    return find


def entity_values(tags: Mapping[str, str], boundary: str = "") -> dict[str, tuple[str, ...]]:
    """What conditions may ask of a user or role that a request is about: its tags, its permissions boundary."""
    found: dict[str, tuple[str, ...]] = {
        f"{service}:resourcetag/{name.lower()}": (value,) for name, value in tags.items() for service in ("aws", "iam")
    }
    return {**found, "iam:permissionsboundary": (boundary,)} if boundary else found


def request_tag_values(tags: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """What conditions may ask of the tags in a request."""
    found: dict[str, tuple[str, ...]] = {f"aws:requesttag/{name.lower()}": (value,) for name, value in tags.items()}
    return {**found, "aws:tagkeys": tuple(tags)} if tags else found


def caller_id(principal: Principal) -> str:
    """The unique id that GetCallerIdentity shows, of a session with its name; an account's own user is its account."""
    if principal.session_name:
        return f"{principal.user.id}:{principal.session_name}"
    if principal.federated:
        return f"{account_id(principal.id)}:{principal.federated}"
    return account_id(principal.id) if principal.is_account else principal.user.id


def shown_time(unix_ms: int) -> str:
    """A time as answers show it."""
    return format_iso(unix_ms)


def shown_tags(tags: Mapping[str, str]) -> list[Fields]:
    """Tags as answers show them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def read_name(parameters: Parameters, name: str, size_max: int, default: str | None = None) -> str:
    """The name of a user, group, role or policy."""
    return parameters.matching(name, ENTITY_NAME, size_max, default=default)


def read_path(parameters: Parameters, name: str = "Path", default: str = "/") -> str:
    """A path, "/" at both ends."""
    return parameters.matching(name, PATH, 512, default=default)


def read_prefix(parameters: Parameters) -> str:
    """A PathPrefix; everything begins with "/"."""
    return parameters.matching("PathPrefix", _PATH_PREFIX, 512, default="/")


def read_boundary(request: IamRequest, parameters: Parameters, *, needed: bool = True) -> str:
    """PermissionsBoundary, the ARN of a policy, told to conditions; empty if it is not there and not needed."""
    if not needed and parameters.find("PermissionsBoundary") is None:
        return ""
    parameters.text("PermissionsBoundary", size_min=20, size_max=2048)
    arn = parameters.matching("PermissionsBoundary", ARN, 2048)
    request.facts.tell({"iam:permissionsboundary": (arn,)})
    return arn


def shown_boundary(arn: str) -> Fields | None:
    """A permissions boundary as answers show it."""
    return {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn} if arn else None


def read_tags(parameters: Parameters, present: Mapping[str, str] | None = None) -> dict[str, str]:
    """The Tags of a request, upon those that are present. ``InvalidInput``, ``LimitExceeded``."""
    tags: dict[str, str] = {}
    for fields in parameters.structures("Tags"):
        key, value = fields.get("Key", ""), fields.get("Value", "")
        if not 1 <= len(key) <= 128 or len(value) > 256:
            raise ValidationError("1 validation error detected: a tag's key has 1 to 128 characters, its value to 256")
        if not _TAG_TEXT.fullmatch(key) or not _TAG_TEXT.fullmatch(value) or key.lower().startswith("aws:"):
            raise InvalidInput(f"The tag {key[:128]!r} is not valid")
        if key.lower() in {other.lower() for other in tags}:
            raise InvalidInput("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
        tags[key] = value
    replaced = {key.lower() for key in tags}
    merged = {key: value for key, value in (present or {}).items() if key.lower() not in replaced} | tags
    if len(merged) > TAGS_MAX:
        raise LimitExceeded(f"The number of tags has exceeded the maximum limit: {TAGS_MAX}")
    return merged


def without_tags(present: Mapping[str, str], parameters: Parameters) -> dict[str, str]:
    """The tags left when those that ``TagKeys`` names are gone."""
    gone = {key.lower() for key in parameters.members("TagKeys")}
    return {key: value for key, value in present.items() if key.lower() not in gone}


def show_page(
    parameters: Parameters,
    element: str,
    items: Sequence[Item],
    name_of: Callable[[Item], str],
    show: Callable[[Item], Fields | str],
) -> dict[str, Any]:
    """One page of a list: items behind ``Marker``, at most ``MaxItems`` (100), and how to go on."""
    count_max = parameters.number("MaxItems", default=100, minimum=1, maximum=1000)
    marker = parameters.find("Marker")
    ordered = sorted(items, key=name_of)
    if marker is not None:
        after = _decode_marker(marker)
        ordered = [item for item in ordered if name_of(item) > after]
    page = ordered[:count_max]
    fields: dict[str, Any] = {element: [show(item) for item in page], "IsTruncated": len(ordered) > len(page)}
    if len(ordered) > len(page):
        fields["Marker"] = urlsafe_b64encode(name_of(page[-1]).encode()).decode()
    return fields


def _decode_marker(marker: str) -> str:
    try:
        return urlsafe_b64decode(marker.encode()).decode()
    except (ValueError, UnicodeEncodeError):
        raise ValidationError("Invalid Marker.") from None
