"""What every operation gets besides its own arguments, and how it finds the bucket it works in.

A ``Context`` is made once a request, after its signature was verified. Operations take the store by its ports only and
raise S3 errors; they never see a header, a socket or XML.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.identity.arns import names_account
from gateway.identity.authorize import authorize
from gateway.identity.facts import NO_FACTS, Facts
from gateway.identity.principals import Principal
from gateway.s3.errors import AccessDenied, InvalidBucketState, invalid_argument
from gateway.s3.names import missing_bucket
from gateway.s3.ownership import ENFORCED
from gateway.store.ports import Bucket, ReadView, Store
from gateway.store.version_ids import VersionId, parse_version_id

MIB: Final = 1 << 20


class OperationSettings(NamedTuple):
    """Limits and names the operations go by. The defaults are AWS's."""

    region: str = "us-east-1"
    part_bytes_min: int = 5 * MIB
    part_bytes_max: int = 5 << 30
    put_bytes_max: int = 5 << 30
    object_bytes_max: int = 50 << 40
    parts_max: int = 10_000
    buckets_per_user_max: int = 1000
    delete_keys_max: int = 1000
    list_keys_max: int = 1000
    kms_create_keys: bool = True  # a KMS key that is named and does not exist is made
    object_ownership_default: str = ENFORCED  # of new buckets whose creator does not say
    public_access_block_default: bool = True  # new buckets block public access
    customer_keys: bool = True  # SSE-C is taken on this listener
    destinations: tuple[str, ...] = ()  # of events, by name
    lifecycle_day_ms: int = 86_400_000  # shorter in tests
    has_cloud: bool = False  # there is something to replicate to


class Context(NamedTuple):
    """One request: who asks (verified), its id, the store and the limits."""

    principal: Principal
    request_id: str
    store: Store
    settings: OperationSettings
    expected_owner: str = ""  # x-amz-expected-bucket-owner
    facts: Facts = NO_FACTS  # what policies may ask of the request


class Owner(NamedTuple):
    """An owner as S3's answers show it."""

    id: str
    name: str


def find_bucket(
    context: Context,
    view: ReadView,
    name: str,
    operation: str,
    key: bytes = b"",
    version_id: str | None = None,
    *,
    existing: bool = False,
) -> Bucket:
    """The bucket ``name``, if the principal may do ``operation`` in it; else ``NoSuchBucket`` (``InvalidBucketName``
    where none can have such a name) or ``AccessDenied``.

    ``version_id``: of ``key``, as text; ``existing``: the object must be there (see ``authorize``).
    """
    bucket = view.bucket(name)
    if bucket is None:
        check_not_elsewhere(view, name)
        raise missing_bucket(name)
    authorize(context.principal, operation, bucket, key, view, context.facts, version_id, existing=existing)
    if context.expected_owner:
        check_owner(view, bucket, context.expected_owner)
    return bucket


def check_not_elsewhere(view: ReadView, name: str) -> None:
    """``InvalidBucketState`` for a bucket of the realm that this site does not show: it is not absent."""
    if view.is_elsewhere(name):
        raise InvalidBucketState(
            "The bucket exists, and this site does not subscribe to it, or not yet: ask another site of the realm.",
            BucketName=name,
        )


def check_access(
    context: Context,
    view: ReadView,
    bucket: Bucket,
    operation: str,
    key: bytes = b"",
    version_id: str | None = None,
    *,
    existing: bool = False,
) -> None:
    """``AccessDenied`` unless the principal may do ``operation`` in a bucket at hand, in the view it was found in."""
    authorize(context.principal, operation, bucket, key, view, context.facts, version_id, existing=existing)


def may_access(
    context: Context, view: ReadView, bucket: Bucket, operation: str, key: bytes = b"", version_id: str | None = None
) -> bool:
    """Whether ``check_access`` would let it pass."""
    try:
        check_access(context, view, bucket, operation, key, version_id)
    except AccessDenied:
        return False
    return True


def check_owner(view: ReadView, bucket: Bucket, expected: str) -> None:
    """The bucket-owner condition: ``AccessDenied`` unless ``expected`` is the owner's account, user or canonical id."""
    owner = bucket.record.owner
    if not names_account(expected, owner) and expected != find_owner(view, owner).id:
        raise AccessDenied


def find_owner(view: ReadView, user_id: str) -> Owner:
    """The user as an answer names it; a user that is gone keeps its id."""
    user = view.user(user_id)
    return Owner(user_id, "") if user is None else Owner(user.canonical_id, user.name)


def read_version_id(text: str) -> VersionId:
    """The version id a client named; ``InvalidArgument`` for what no version could have."""
    found = parse_version_id(text)
    if found is None:
        raise invalid_argument("Invalid version id specified", "versionId", text)
    return found


def shown_version_id(bucket: Bucket, version_id: VersionId) -> str:
    """``x-amz-version-id`` of an answer: empty where the bucket never had versioning (AWS sends none there)."""
    return version_id.text if bucket.versioning or version_id.order else ""
