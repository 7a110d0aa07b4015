"""Who may do what: the one function every operation asks, for its bucket and, in copies, for the source's bucket too.

For now the rule is small: a bucket belongs to its owner; the owner and admins may do everything in it, others nothing,
and nobody does anything anonymously. Policies and ACLs will be evaluated here, which is why operation and key are
already arguments. Fails closed: whatever is not allowed by a line below is ``AccessDenied``.
"""

from __future__ import annotations

from gateway.identity.principals import Principal
from gateway.s3.errors import AccessDenied
from gateway.store.ports import Bucket


def authorize(principal: Principal | None, operation: str, bucket: Bucket | None, key: bytes = b"") -> None:
    """Return if ``principal`` may do ``operation`` on ``bucket`` (None: the service, or a bucket to be made).

    Raises ``AccessDenied`` otherwise. ``key`` is the object's, for the policies to come. Call it in the snapshot or
    transaction that the bucket was read in.
    """
    if principal is None or principal.is_anonymous or principal.user.disabled or principal.access_key.disabled:
        raise AccessDenied
    if bucket is None or principal.user.admin or bucket.record.owner == principal.user.id:
        return
    raise AccessDenied
