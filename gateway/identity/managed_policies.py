"""Managed policies: those of AWS that Skerry knows by their ARN, and an account's own with their versions.

Every function is a decision inside one snapshot or commit. A policy belongs to one account and is seen and attached
only there. ``NoSuchEntity`` for what is not there, like IAM, whatever account it may be in.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from gateway.identity.arns import account_id
from gateway.identity.builtin_policies import BUILTIN
from gateway.identity.policy_texts import check_identity_policy
from gateway.identity.users import new_unique_id
from gateway.s3.query_errors import (
    DeleteConflict,
    EntityAlreadyExists,
    LimitExceeded,
    NoSuchEntity,
    QueryAccessDenied,
)
from gateway.store.identity_format import ManagedPolicyRecord, PolicyVersion, decode_identity, encode_identity
from gateway.store.ports import ReadView, WriteView

VERSIONS_MAX: Final = 5
POLICIES_MAX: Final = 1500
DOCUMENT_CHARACTERS_MAX: Final = 6144


class ManagedPolicy(NamedTuple):
    """A managed policy by its ARN. ``record``: of AWS's own ones, one made up of what is built in."""

    arn: str
    record: ManagedPolicyRecord
    builtin: bool

    @property
    def default_document(self) -> str:
        """The document that counts."""
        return self.version(self.record.default).document

    def version(self, number: int) -> PolicyVersion:
        """One version, or ``NoSuchEntity``."""
        for version in self.record.versions:
            if version.number == number:
                return version
        raise NoSuchEntity(f"Policy {self.arn} version v{number} does not exist or is not attachable.")


def policy_arn(record: ManagedPolicyRecord) -> str:
    """The ARN of an account's own policy."""
    return f"arn:aws:iam::{account_id(record.account)}:policy{record.path}{record.name}"


def find_policy(view: ReadView, account: str, arn: str) -> ManagedPolicy:
    """The managed policy with this ARN, as ``account`` sees it; ``NoSuchEntity``."""
    builtin = BUILTIN.get(arn)
    if builtin is not None:
        return ManagedPolicy(arn, builtin, True)
    body = view.identity(f"policy/{account}/{arn.rpartition('/')[2].lower()}")
    if body is not None:
        record = decode_identity(ManagedPolicyRecord, body)
        if policy_arn(record) == arn:
            return ManagedPolicy(arn, record, False)
    raise NoSuchEntity(f"Policy {arn} does not exist or is not attachable.")


def find_document(view: ReadView, account: str, arn: str) -> str | None:
    """The document that counts of a policy; None if it is gone."""
    try:
        return find_policy(view, account, arn).default_document
    except NoSuchEntity:
        return None


def list_policies(view: ReadView, account: str) -> list[ManagedPolicy]:
    """An account's own policies, by name."""
    records = [decode_identity(ManagedPolicyRecord, body) for _, body in view.identities(f"policy/{account}/")]
    return [ManagedPolicy(policy_arn(record), record, False) for record in records]


def find_attachments(view: ReadView, account: str, *, as_boundary: bool = False) -> dict[str, list[str]]:
    """Ids of the account's entities by the ARN of the policy that is attached to them (or is their boundary)."""
    ids = {user.id for user in view.users() if (user.account or user.id) == account}
    for kind in ("role", "group"):
        ids |= {msgspec.msgpack.decode(body)[1] for _, body in view.identities(f"{kind}/{account}/")}
    found: dict[str, list[str]] = {}
    for name, body in view.identities("boundary/" if as_boundary else "attached/"):
        _, entity, arn = name.split("/", 2)
        if entity in ids:
            found.setdefault(body.decode() if as_boundary else arn, []).append(entity)
    return found


def create_policy(
    view: WriteView, account: str, name: str, path: str, document: str, description: str, tags: dict[str, str]
) -> ManagedPolicy:
    """A new policy with version v1."""
    _check_document(document)
    if view.identity(f"policy/{account}/{name.lower()}") is not None:
        raise EntityAlreadyExists(f"A policy called {name} already exists. Duplicate names are not allowed.")
    if len(view.identities(f"policy/{account}/")) >= POLICIES_MAX:
        raise LimitExceeded(f"Cannot exceed quota for PoliciesPerAccount: {POLICIES_MAX}")
    record = ManagedPolicyRecord(
        id=new_unique_id("ANPA"),
        account=account,
        name=name,
        path=path,
        created_ms=view.now_ms,
        description=description,
        versions=(PolicyVersion(1, document, view.now_ms),),
        tags=tags,
    )
    _save(view, record)
    return ManagedPolicy(policy_arn(record), record, False)


def create_version(view: WriteView, policy: ManagedPolicy, document: str, *, default: bool) -> PolicyVersion:
    """A further version; ``LimitExceeded`` when there are five."""
    record = _own(policy)
    _check_document(document)
    if len(record.versions) >= VERSIONS_MAX:
        raise LimitExceeded(
            f"A managed policy can have up to {VERSIONS_MAX} versions. Before you create a new version, you must "
            "delete an existing version."
        )
    version = PolicyVersion(record.highest + 1, document, view.now_ms)
    changed = msgspec.structs.replace(
        record,
        highest=version.number,
        versions=(*record.versions, version),
        default=version.number if default else record.default,
    )
    _save(view, changed)
    return version


def delete_version(view: WriteView, policy: ManagedPolicy, number: int) -> None:
    """Remove a version that is not the default one."""
    record = _own(policy)
    policy.version(number)
    if number == record.default:
        raise DeleteConflict("Cannot delete the default version of a policy.")
    versions = tuple([version for version in record.versions if version.number != number])
    _save(view, msgspec.structs.replace(record, versions=versions))


def set_default_version(view: WriteView, policy: ManagedPolicy, number: int) -> None:
    """Let another version count."""
    policy.version(number)
    _save(view, msgspec.structs.replace(_own(policy), default=number))


def set_policy_tags(view: WriteView, policy: ManagedPolicy, tags: dict[str, str]) -> None:
    """Replace a policy's tags."""
    _save(view, msgspec.structs.replace(_own(policy), tags=tags))


def delete_policy(view: WriteView, policy: ManagedPolicy) -> None:
    """Remove a policy that is attached to nothing and has one version left."""
    record = _own(policy)
    if any(policy.arn in find_attachments(view, record.account, as_boundary=used) for used in (False, True)):
        raise DeleteConflict("Cannot delete a policy attached to entities.")
    if len(record.versions) > 1:
        raise DeleteConflict(
            "This policy has more than one version. Before you delete a policy, you must delete the "
            "policy's versions. The default version is deleted with the policy."
        )
    view.put_identity(_item(record), None)


def _own(policy: ManagedPolicy) -> ManagedPolicyRecord:
    if policy.builtin:
        raise QueryAccessDenied(f"AWS managed policy {policy.arn} cannot be changed")
    return policy.record


def _check_document(document: str) -> None:
    if len("".join(document.split())) > DOCUMENT_CHARACTERS_MAX:
        raise LimitExceeded(f"Cannot exceed quota for PolicySize: {DOCUMENT_CHARACTERS_MAX}")
    check_identity_policy(document)


def _item(record: ManagedPolicyRecord) -> str:
    return f"policy/{record.account}/{record.name.lower()}"


def _save(view: WriteView, record: ManagedPolicyRecord) -> None:
    view.put_identity(_item(record), encode_identity(record))
