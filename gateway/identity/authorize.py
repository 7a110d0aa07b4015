"""Who may do what: the one function every operation asks, for its bucket and, in copies, for the source's bucket too.

Decided as AWS decides ("Policy evaluation logic", IAM User Guide; "How Amazon S3 authorizes a request", User Guide):

1. An explicit deny wins, in the bucket's policy, an identity's or a session's. (Account users may still read, replace
   and delete the policy of their own bucket, and admins any: nobody is locked out by a policy's mistake.)
2. A session that was narrowed must be allowed by what narrows it, who has a permissions boundary by that; but for what
   the policy of a bucket of its own account allows to a session itself, to a user or to everyone.
3. Admins may do everything in all buckets.
4. In one's own account's bucket: the account's own user may do everything; others what an identity policy, or the
   bucket's policy by naming them or everyone, allows.
5. In others' buckets both sides must allow: an identity policy (an account's own user needs none, nor does nobody),
   and the bucket's policy. A public policy gives nothing away if RestrictPublicBuckets is on.
6. Or an ACL allows it, where ACLs count. Objects that are not the bucket owner's obey their ACL alone.

Whatever is not allowed by these is ``AccessDenied``. The owner of a bucket without policy, which nearly every request
comes from, is let through before any of it: ``Bucket.is_plain`` is looked up with the bucket.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from gateway.identity.arns import account_id
from gateway.identity.bucket_access import (
    REQUEST_PAYMENT,
    REQUESTER,
    find_bucket_acl,
    find_bucket_tags,
    find_policy,
    find_public_access_block,
    has_abac,
    has_acls,
)
from gateway.identity.facts import ASKED_EXTRA, NO_FACTS, Facts, Values, recall_asked
from gateway.identity.policy_evaluation import NOTHING, Verdict, evaluate, evaluate_limits
from gateway.identity.principals import Principal
from gateway.s3.acl import BUCKET_ACTIONS, OBJECT_ACTIONS, decode_acl, default_acl, grants_permission
from gateway.s3.acl_headers import gives_only_to
from gateway.s3.errors import AccessDenied, MethodNotAllowed
from gateway.s3.policy_actions import (
    CREATING,
    ON_OWN_UPLOAD,
    OWN_ACCOUNT_ONLY,
    UNLOCKABLE,
    actions_of,
    further_actions,
)
from gateway.s3.public_access import is_public_policy
from gateway.s3.tagging import decode_tags
from gateway.store.ports import Bucket, ReadView, Version
from gateway.store.version_ids import parse_version_id

_ARN: Final = "arn:aws:s3:::"
_TAG_KEYS: Final = ("aws:resourcetag/", "s3:buckettag/", "s3:resourcetag/")
_OF_UPLOADS: Final = frozenset({"UploadPart", "UploadPartCopy", "CompleteMultipartUpload"})


def authorize(
    principal: Principal | None,
    operation: str,
    bucket: Bucket | None,
    key: bytes = b"",
    view: ReadView | None = None,
    facts: Facts = NO_FACTS,
    version_id: str | None = None,
    *,
    existing: bool = False,
    name: str = "",
) -> None:
    """Return if ``principal`` may do ``operation`` on ``bucket`` (None: the service, or bucket ``name`` to be made).

    ``operation``: S3's name of it, or an IAM action's without ``s3:``; ``version_id``: of the object ``key``, as text.
    Raises ``AccessDenied`` otherwise. ``view``: the snapshot or transaction that the bucket was read in; without one
    only owners and admins are let through. ``existing``: the operation is on an object that must be there; if it is
    not, the caller is let through (to be told so) if it may list the bucket, and denied otherwise.
    """
    if principal is None or principal.user.disabled or principal.access_key.disabled:
        raise AccessDenied
    if principal.session is None and principal.account in ("", principal.user.id) and principal.user.id:
        # An account's own user. (A role's session has its account, and the role's id as user id.)
        if bucket is None:
            return
        if (bucket.is_plain or view is None) and (principal.user.admin or bucket.record.owner == principal.user.id):
            return
    if bucket is None:
        _authorize_service(principal, operation, facts, name)
        return
    if view is None:
        raise AccessDenied
    Asker(principal, facts, view, bucket, key, version_id).check(operation, existing=existing)


def _authorize_service(principal: Principal, operation: str, facts: Facts, name: str) -> None:
    """What is about no bucket that exists: listing one's own, creating one."""
    asker = Asker(principal, facts, None, None)
    resource = f"{_ARN}{name}" if name else "*"
    for action in actions_of(operation, versioned=False):
        verdict = evaluate(principal.policies, action, resource, asker.find)
        limits = asker.ask_limits(action, resource)
        allowed = (principal.is_account and not principal.is_anonymous) or verdict.allowed
        if verdict.denied or limits.denied or not limits.allowed or not allowed:
            raise AccessDenied


class Asker:
    """One principal before one bucket, or one object in it: what it is allowed there. Lives as long as the view."""

    def __init__(
        self,
        principal: Principal,
        facts: Facts,
        view: ReadView | None,
        bucket: Bucket | None,
        key: bytes = b"",
        version_id: str | None = None,
    ) -> None:
        self._principal = principal
        self._facts = facts
        self._view = view
        self._bucket = bucket
        self._key = key
        self._version_id = version_id
        self._version: Version | None = None
        self._looked = False
        self._operation = ""

    def check(self, operation: str, *, existing: bool = False) -> None:
        """``AccessDenied`` unless the operation, and what its headers ask for besides, is allowed."""
        assert self._bucket is not None
        self._operation = operation
        actions = actions_of(operation, versioned=self._version_id is not None)
        if operation == "DeleteObjects":  # each key is asked for; nobody at all is told so at once
            if not self._could_delete():
                raise AccessDenied
            return self._charge()
        further = further_actions(operation, self._facts.headers)
        if existing and self._is_missing():
            listing = "s3:ListBucketVersions" if self._version_id is not None else "s3:ListBucket"
            if any(self._is_denied(action) for action in actions) or not self.may(listing, on_bucket=True):
                raise AccessDenied
            return self._charge()
        for action in actions:
            if not self.may(action):
                raise AccessDenied
        for action in further:
            if not self.may(action) and not (action == "s3:PutObjectAcl" and self._may_give()):
                raise AccessDenied
        if actions[0] in OWN_ACCOUNT_ONLY and not self._is_own and not self._is_admin:
            raise MethodNotAllowed
        return self._charge()

    def may(self, action: str, *, on_bucket: bool = False) -> bool:
        """Whether an action (``s3:…``) is allowed on the object, or on the bucket if there is no key."""
        bucket, view, principal = self._bucket, self._view, self._principal
        assert bucket is not None
        assert view is not None
        on_object = bool(self._key) and not on_bucket
        resource = self._resource(on_object)
        policy = find_policy(view, bucket)
        verdict = NOTHING if policy is None else evaluate((policy,), action, resource, self.find, principal)
        identity = evaluate(principal.policies, action, resource, self.find)
        limits = self.ask_limits(action, resource)
        denied = verdict.denied and not (
            action in UNLOCKABLE and principal.is_account and (self._is_own or self._is_admin)
        )
        if denied or identity.denied or limits.denied:
            return False
        is_foreign = on_object and action in OBJECT_ACTIONS and self._is_foreign()
        if not limits.allowed:
            return self._is_own and verdict.direct and not is_foreign
        if self._is_admin:
            return True
        if is_foreign:
            return self._may_by_object_acl(action, identity)
        if self._is_own:
            allowed = self._is_account or identity.allowed or verdict.direct or verdict.limited
        else:
            allowed = self._has_consent(identity) and verdict.allowed and not self._is_restricted()
        return allowed or self._may_by_acl(action, identity, on_object) or self._is_initiator(action, identity)

    def ask_limits(self, action: str, resource: str) -> Verdict:
        """What the session was narrowed with and the permissions boundary say; everything is allowed without."""
        return evaluate_limits(self._principal, action, resource, self.find)

    def find(self, key: str) -> Values | None:
        """The values of a condition key (lower case): the principal's, the bucket's, the object's, the request's."""
        principal, bucket = self._principal, self._bucket
        if key in _OF_PRINCIPAL:
            value = _OF_PRINCIPAL[key](principal)
            return value if isinstance(value, tuple) or value is None else (value,)
        if key in principal.values:
            return principal.values[key]
        if key in ("s3:resourceaccount", "aws:resourceaccount"):
            return None if bucket is None else (account_id(bucket.record.owner), bucket.record.owner)
        if key == "s3:objectcreationoperation":
            return ("true" if self._operation in CREATING else "false",)
        if key == "s3:versionid":
            return None if self._version_id is None else (self._version_id,)
        if key.startswith("s3:existingobjecttag/"):
            version = self._find_version()
            tags = {} if version is None else self._tags(version)
            value = {name.lower(): tag for name, tag in tags.items()}.get(key.partition("/")[2])
            return None if value is None else (value,)
        if key.startswith(_TAG_KEYS):
            return self._find_tag(*key.split("/", 1))
        value = self._facts.find(key)
        return self._find_asked(key) if value is None and self._operation in _OF_UPLOADS else value

    def _find_tag(self, kind: str, name: str) -> Values | None:
        """A tag of the bucket, where it lets conditions ask for them; s3:ResourceTag (which only Ceph has) is one of
        the object, too, and always there.
        """
        bucket, view = self._bucket, self._view
        if bucket is None or view is None or (kind != "s3:resourcetag" and not has_abac(view, bucket)):
            return None
        version = self._find_version() if kind == "s3:resourcetag" else None
        tags = find_bucket_tags(view, bucket) if version is None else self._tags(version)
        value = {tag.lower(): value for tag, value in tags.items()}.get(name)
        return None if value is None else (value,)

    def _find_asked(self, key: str) -> Values | None:
        """What a part's (or a completion's) request does not say itself, but the one that began its upload did."""
        upload = self._view.upload(self._facts.params.get("uploadId", "")) if self._view is not None else None
        data = upload.extra.get(ASKED_EXTRA) if upload is not None and key.startswith("s3:") else None
        return None if data is None else recall_asked(data).find(key)

    @property
    def _is_own(self) -> bool:
        assert self._bucket is not None
        return bool(self._principal.id) and self._bucket.record.owner == self._principal.id

    @property
    def _is_account(self) -> bool:
        return self._principal.is_account and not self._principal.is_anonymous

    @property
    def _is_admin(self) -> bool:
        return self._principal.user.admin and self._is_account

    def _resource(self, on_object: bool) -> str:
        assert self._bucket is not None
        name = _ARN + self._bucket.name
        return f"{name}/{self._key.decode()}" if on_object else name

    def _has_consent(self, identity: Verdict) -> bool:
        """Whether the caller's own account lets it: nobody has no account to ask."""
        return self._principal.is_anonymous or self._principal.is_account or identity.allowed

    def _is_denied(self, action: str) -> bool:
        """Whether something denies it explicitly."""
        assert self._bucket is not None
        assert self._view is not None
        policy, resource = find_policy(self._view, self._bucket), self._resource(bool(self._key))
        return (
            (policy is not None and evaluate((policy,), action, resource, self.find, self._principal).denied)
            or evaluate(self._principal.policies, action, resource, self.find).denied
            or self.ask_limits(action, resource).denied
        )

    def _is_restricted(self) -> bool:
        """Whether the bucket's policy counts for nothing outside its account: it is public, and that is restricted."""
        assert self._bucket is not None
        assert self._view is not None
        if not find_public_access_block(self._view, self._bucket).restrict_buckets:
            return False
        policy = find_policy(self._view, self._bucket)
        return policy is not None and is_public_policy(policy)

    # objects

    def _find_version(self) -> Version | None:
        """The version asked for, looked up once; None if it is not there."""
        if not self._looked and self._view is not None and self._bucket is not None and self._key:
            self._looked = True
            if self._version_id is None:
                self._version = self._view.current(self._bucket.uid, self._key)
            elif (parsed := parse_version_id(self._version_id)) is not None:
                self._version = self._view.version(self._bucket.uid, self._key, parsed)
        return self._version

    def _attribute(self, version: Version, name: str) -> bytes | None:
        assert self._bucket is not None
        assert self._view is not None
        documents = self._view.version_documents(self._bucket.uid, version)
        return (documents[name] if name in documents else version.record.extra.get(name)) or None

    def _tags(self, version: Version) -> Mapping[str, str]:
        body = self._attribute(version, "tags")
        return {} if body is None else decode_tags(body)

    def _is_missing(self) -> bool:
        version = self._find_version()
        return version is None or (version.record.marker and self._version_id is None)

    def _is_foreign(self) -> bool:
        """Whether the object is somebody else's than the bucket: only its ACL speaks then."""
        assert self._bucket is not None
        assert self._view is not None
        version = self._find_version()
        return (
            version is not None
            and has_acls(self._view, self._bucket)
            and version.record.owner not in ("", self._bucket.record.owner)
        )

    # ACLs

    def _may_by_acl(self, action: str, identity: Verdict, on_object: bool) -> bool:
        assert self._bucket is not None
        assert self._view is not None
        if not has_acls(self._view, self._bucket):
            return False
        if on_object and action in OBJECT_ACTIONS:
            return self._may_by_object_acl(action, identity)
        permission = BUCKET_ACTIONS.get(action)
        if permission is None or not self._has_consent(identity):
            return False
        acl = find_bucket_acl(self._view, self._bucket)
        return grants_permission(acl, permission, self._principal.id, ignore_public=self._ignores_public())

    def _may_by_object_acl(self, action: str, identity: Verdict) -> bool:
        version = self._find_version()
        if version is None or not self._has_consent(identity):
            return False
        owner, permission = version.record.owner, OBJECT_ACTIONS[action]
        if owner and owner == self._principal.id and permission != "READ":
            return True  # owners can always see and mend their ACL
        body = self._attribute(version, "acl")
        acl = decode_acl(body) if body else default_acl(owner)
        return grants_permission(acl, permission, self._principal.id, ignore_public=self._ignores_public())

    def _is_initiator(self, action: str, identity: Verdict) -> bool:
        """Whether an action is on an upload that the caller's account began: it may see its parts and abort it."""
        assert self._bucket is not None
        assert self._view is not None
        if action not in ON_OWN_UPLOAD or self._principal.is_anonymous or not self._has_consent(identity):
            return False
        upload = self._view.upload(self._facts.params.get("uploadId", ""))
        return upload is not None and (upload.uid, upload.key, upload.owner) == (
            self._bucket.uid,
            self._key,
            self._principal.id,
        )

    def _may_give(self) -> bool:
        """Whether a write may come with its ACL though s3:PutObjectAcl is not allowed: if that gives to the bucket's
        owner only (User Guide, "Policy examples for ACLs"), or the bucket's ACL lets the caller write.
        """
        assert self._bucket is not None
        assert self._view is not None
        if self._is_denied("s3:PutObjectAcl"):
            return False
        owner = self._view.user(self._bucket.record.owner)
        if owner is not None and gives_only_to(self._facts.headers, (owner.id, owner.canonical_id)):
            return True
        identity = evaluate(self._principal.policies, "s3:PutObjectAcl", self._resource(True), self.find)
        limits = self.ask_limits("s3:PutObjectAcl", self._resource(True))
        return limits.allowed and self._may_by_acl("s3:PutObject", identity, True)

    def _ignores_public(self) -> bool:
        assert self._bucket is not None
        assert self._view is not None
        return find_public_access_block(self._view, self._bucket).ignore_acls

    def _could_delete(self) -> bool:
        """Whether some key could be deleted: so that who may nothing at all hears it at once."""
        assert self._bucket is not None
        assert self._view is not None
        has_policy = find_policy(self._view, self._bucket) is not None
        return self._is_own or has_policy or self.may("s3:DeleteObject")

    def _charge(self) -> None:
        """Requester Pays: others than the owner must have agreed to pay, and the answer will say so."""
        assert self._bucket is not None
        assert self._view is not None
        if self._view.document(self._bucket.uid, REQUEST_PAYMENT) != REQUESTER or self._is_own or self._is_admin:
            return
        if self._principal.is_anonymous or self._facts.headers.get("x-amz-request-payer", "").lower() != "requester":
            raise AccessDenied
        self._facts.charged = True


def _principal_type(principal: Principal) -> str:
    if principal.is_anonymous:
        return "Anonymous"
    if principal.session_name:
        return "AssumedRole"
    return "Account" if principal.is_account else "User"


def _user_id(principal: Principal) -> str | Values:
    """aws:userid ("Principal key values", IAM User Guide); an account's own user's is its account."""
    if principal.is_anonymous:
        return "anonymous"
    if principal.session_name:
        return f"{principal.user.id}:{principal.session_name}"
    if principal.federated:
        return f"{account_id(principal.id)}:{principal.federated}"
    return (account_id(principal.id), principal.user.id) if principal.is_account else principal.user.id


_OF_PRINCIPAL: Final[Mapping[str, Callable[[Principal], str | Values | None]]] = {
    "aws:principalarn": lambda principal: principal.arn or None,
    "aws:principalaccount": lambda principal: (account_id(principal.id), principal.id) if principal.id else None,
    "aws:principaltype": _principal_type,
    "aws:userid": _user_id,
    "aws:username": lambda principal: (principal.user.name or None) if not principal.session_name else None,
}
