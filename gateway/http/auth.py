"""From a request to a verified principal: the only door. Whatever is not shown to be signed is nobody's.

claim (parsed, believed nothing) → access key → secret → ``sigv4.verify`` (dates, scope, every ``x-amz-*`` header
signed, signature) → ``payload.plan_payload`` (the fail-closed table of how signed × payload mode × operation). An
unknown, a disabled and a deleted key are alike. A request without any claim is ``ANONYMOUS``: it may what is granted to
everyone. Any region is accepted in the credential scope: what is signed is
checked with it.
"""

from __future__ import annotations

import msgspec

from gateway.identity.principals import ANONYMOUS, Principal, PrincipalCache
from gateway.s3.errors import InvalidAccessKeyId
from gateway.s3.names import Target
from gateway.s3.payload import Payload, plan_payload
from gateway.s3.routing import Operation
from gateway.s3.sigv2 import is_version_2, parse_presigned, verify_presigned
from gateway.s3.sigv4 import Verified, parse_claim, verify
from gateway.s3.uri import Query
from gateway.store.ports import ReadView


class Admitted(msgspec.Struct, frozen=True, gc=False):
    """Who a request is from, what its signature covers (None: it has none), and how its body is protected."""

    principal: Principal
    verified: Verified | None
    payload: Payload


def admit(
    view: ReadView,
    principals: PrincipalCache,
    operation: Operation,
    method: str,
    raw_path: str,
    query: Query,
    headers: dict[str, str],
    now_s: int,
    *,
    target: Target | None = None,
) -> Admitted:
    """Verify a request. ``headers``: folded, as they came. ``target``: where URLs presigned with version 2 are taken,
    what it addresses. Raises S3 errors.
    """
    by_version_2 = target is not None and is_version_2(query)
    claim = parse_presigned(query, headers) if by_version_2 else parse_claim(headers, query)
    if claim is None:
        return Admitted(ANONYMOUS, None, plan_payload(None, operation, headers))
    principal = principals.find(view, claim.access_key, claim.session_token, now_s)
    if principal is None:
        raise InvalidAccessKeyId(None, AWSAccessKeyId=claim.access_key)
    token = claim.session_token  # the one the principal was found by
    secret = principal.access_key.secret
    if by_version_2 and target is not None:
        verified = verify_presigned(claim, secret, method, target, query, headers, now_s, session_token=token)
    else:
        verified = verify(claim, secret, method, raw_path, query, headers, now_s, session_token=token)
    return Admitted(principal, verified, plan_payload(verified, operation, headers))
