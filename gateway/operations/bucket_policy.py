"""The policy of a bucket: put, get, delete, and whether it is public. One snapshot or one commit each.

Principals must exist when a policy is put, as AWS demands (but for accounts by name, which AWS does not have); one that
goes later matches nobody. Who may replace a policy is told by the policy that stands, and in the commit.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway.identity.arns import account_of, names_account
from gateway.identity.bucket_access import POLICY, POLICY_IDS, find_policy, find_public_access_block
from gateway.identity.policy_evaluation import match_principals
from gateway.identity.principal_ids import encode_ids, show_body
from gateway.identity.principals import Principal
from gateway.identity.roles import find_role
from gateway.operations.context import Context, find_bucket
from gateway.s3.bucket_policies import parse_bucket_policy
from gateway.s3.errors import AccessDenied, MalformedPolicy, NoSuchBucketPolicy
from gateway.s3.policy_document import Policy, Principals
from gateway.s3.public_access import is_public_policy
from gateway.store.document_format import AccessKeyRecord, UserRecord
from gateway.store.ports import ReadView, WriteView


def get_policy(context: Context, name: str) -> bytes:
    """The policy as it was put, but for users and roles that are gone. ``NoSuchBucketPolicy`` without one."""
    with context.store.view() as view:
        bucket = find_bucket(context, view, name, "GetBucketPolicy")
        body = view.document(bucket.uid, POLICY)
        if body is None:
            raise NoSuchBucketPolicy(None, BucketName=name)
        return show_body(view, body, view.document(bucket.uid, POLICY_IDS))


def is_policy_public(context: Context, name: str) -> bool:
    """GetBucketPolicyStatus. ``NoSuchBucketPolicy`` without one."""
    with context.store.view() as view:
        bucket = find_bucket(context, view, name, "GetBucketPolicyStatus")
        policy = find_policy(view, bucket)
    if policy is None:
        raise NoSuchBucketPolicy(None, BucketName=name)
    return is_public_policy(policy)


async def put_policy(context: Context, name: str, body: bytes) -> None:
    """Replace the policy. Raises ``MalformedPolicy``, and ``AccessDenied`` for a public one where those are blocked.

    Nobody has to confirm that it locks the caller out: an account can always mend the policy of its bucket.
    """

    def decide(view: WriteView) -> None:
        bucket = find_bucket(context, view, name, "PutBucketPolicy")
        policy = parse_bucket_policy(body, bucket.name)
        _check_principals(view, policy)
        if find_public_access_block(view, bucket).block_policy and is_public_policy(policy):
            raise AccessDenied("Public policies are blocked by the BlockPublicPolicy setting of the bucket")
        view.put_document(bucket.uid, POLICY, body)
        ids = encode_ids(view, body, policy)
        if ids != view.document(bucket.uid, POLICY_IDS):
            view.put_document(bucket.uid, POLICY_IDS, ids)

    await context.store.commit(decide)


async def delete_policy(context: Context, name: str) -> None:
    """Remove the policy; also if there is none."""

    def decide(view: WriteView) -> None:
        bucket = find_bucket(context, view, name, "DeleteBucketPolicy")
        for document in (POLICY, POLICY_IDS):
            if view.document(bucket.uid, document) is not None:
                view.put_document(bucket.uid, document, None)

    await context.store.commit(decide)


def _check_principals(view: ReadView, policy: Policy) -> None:
    """``MalformedPolicy`` if a statement names somebody who does not exist."""
    users: list[UserRecord] | None = None
    for statement in policy.statements:
        for kind, name in statement.principals.named if statement.principals is not None else ():
            if kind in ("Federated", "Service"):
                continue
            users = view.users() if users is None else users
            if not _exists(view, users, kind, name):
                raise MalformedPolicy("Invalid principal in policy", Detail=f'"{kind}" : "{name}"')


def _exists(view: ReadView, users: Iterable[UserRecord], kind: str, name: str) -> bool:
    """Whether ``name`` means a user, an account or a role (whatever the session of it)."""
    parts = name.split(":", 5)
    kind_of, _, rest = parts[5].partition("/") if len(parts) == 6 else ("", "", "")
    if kind_of in ("role", "assumed-role"):
        role = rest.rpartition("/")[2] if kind_of == "role" else rest.partition("/")[0]
        accounts = {account_of(user) for user in users}
        return any(names_account(parts[4], account) and find_role(view, account, role) for account in accounts)
    if kind_of == "federated-user":  # whoever an account lets in under that name
        return any(names_account(parts[4], account_of(user)) for user in users)
    if rest == "" and kind_of == "root" and not parts[4].isdecimal():
        return bool(parts[4])  # an account by its name, which another site may have made and not told yet
    wanted = Principals(False, False, ((kind, name),))
    return any(match_principals(wanted, Principal(user, AccessKeyRecord(), account_of(user))) for user in users)
