"""What an identity may by its policies: inline ones, attached managed ones, those of its groups. And how they change.

Stands between the records (``identity_format``) and ``principals``, which parses them once a generation. An *entity* is
a user, group or role by its unique id. Quotas are AWS's defaults. A policy that cannot be read any more (it was valid
when it was put) counts as one that denies everything: never as one that is not there.

Not here: managed policies themselves (``managed_policies``), what a policy means (``policy_evaluation``).
"""

from __future__ import annotations

from typing import Final

from gateway.identity.managed_policies import find_document, find_policy
from gateway.identity.policy_texts import check_identity_policy, read_identity_policy
from gateway.s3.policy_document import Policy
from gateway.s3.query_errors import LimitExceeded, NoSuchEntity
from gateway.store.identity_format import GroupRecord, decode_identity
from gateway.store.ports import ReadView, WriteView

ATTACHED_MAX: Final = 20
INLINE_CHARACTERS_MAX: Final = {"user": 2048, "group": 5120, "role": 10240}
"""Of all inline policies of one entity together, white space not counted."""
_PRESENT: Final = b"1"


def inline_policies(view: ReadView, entity: str) -> dict[str, str]:
    """An entity's inline policies: documents by name, sorted."""
    prefix = f"inline/{entity}/"
    return {name[len(prefix) :]: body.decode() for name, body in view.identities(prefix)}


def find_inline(view: ReadView, kind: str, entity: str, name: str) -> str:
    """One inline policy's document, or ``NoSuchEntity``."""
    body = view.identity(f"inline/{entity}/{name}")
    if body is None:
        raise NoSuchEntity(f"The {kind} policy with name {name} cannot be found.")
    return body.decode()


def put_inline(view: WriteView, kind: str, entity: str, name: str, document: str) -> None:
    """Set an inline policy. ``MalformedPolicyDocument``, ``LimitExceeded``."""
    sizes = [len("".join(text.split())) for other, text in inline_policies(view, entity).items() if other != name]
    if sum(sizes) + len("".join(document.split())) > INLINE_CHARACTERS_MAX[kind]:
        raise LimitExceeded(f"Maximum policy size of {INLINE_CHARACTERS_MAX[kind]} bytes exceeded for {kind} {name}")
    check_identity_policy(document)
    view.put_identity(f"inline/{entity}/{name}", document.encode())


def delete_inline(view: WriteView, kind: str, entity: str, name: str) -> None:
    """Remove an inline policy, or ``NoSuchEntity``."""
    find_inline(view, kind, entity, name)
    view.put_identity(f"inline/{entity}/{name}", None)


def attached_policies(view: ReadView, entity: str) -> list[str]:
    """ARNs of the managed policies attached to an entity, sorted."""
    prefix = f"attached/{entity}/"
    return [name[len(prefix) :] for name, _ in view.identities(prefix)]


def attach(view: WriteView, account: str, entity: str, arn: str) -> None:
    """Attach a managed policy; again is no error. ``NoSuchEntity``, ``LimitExceeded``."""
    find_policy(view, account, arn)
    attached = attached_policies(view, entity)
    if arn not in attached:
        if len(attached) >= ATTACHED_MAX:
            raise LimitExceeded(f"Cannot exceed quota for attached policies: {ATTACHED_MAX}")
        view.put_identity(f"attached/{entity}/{arn}", _PRESENT)


def detach(view: WriteView, entity: str, arn: str) -> None:
    """Detach a managed policy, or ``NoSuchEntity``."""
    if arn not in attached_policies(view, entity):
        raise NoSuchEntity(f"Policy {arn} was not found.")
    view.put_identity(f"attached/{entity}/{arn}", None)


def remove_all_policies(view: WriteView, entity: str) -> None:
    """Leave an entity without any: for one that is deleted with everything it has."""
    for prefix in [f"{kind}/{entity}/" for kind in ("inline", "attached", "member", "boundary", "bound")]:
        for name, _ in view.identities(prefix):
            view.put_identity(name, None)


def groups_of(view: ReadView, user_id: str) -> list[str]:
    """Ids of the groups a user is in."""
    prefix = f"member/{user_id}/"
    return [name[len(prefix) :] for name, _ in view.identities(prefix)]


def collect_policies(view: ReadView, account: str, *entities: str) -> tuple[Policy, ...]:
    """Everything the entities may, parsed: their inline and their attached policies.

    A managed policy that is gone (deleted on one site, attached on another meanwhile) says nothing any more.
    """
    documents: list[str | None] = []
    for entity in entities:
        documents += inline_policies(view, entity).values()
        documents += [find_document(view, account, arn) for arn in attached_policies(view, entity)]
    return tuple([read_identity_policy(document) for document in documents if document is not None])


def collect_user_policies(view: ReadView, account: str, user_id: str) -> tuple[Policy, ...]:
    """Everything a user may, its groups' policies among it.

    A group that is gone says nothing, even where another site put somebody into it or attached a policy meanwhile.
    """
    there = {decode_identity(GroupRecord, body).id for _, body in view.identities(f"group/{account}/")}
    groups = [group for group in groups_of(view, user_id) if group in there]
    return collect_policies(view, account, user_id, *groups)
