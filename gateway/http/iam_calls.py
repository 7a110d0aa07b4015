"""The door of IAM and STS: ``POST /`` with a form, verified by the hash of its body, run, answered in their XML.
Parameters may stand in the query string instead, as presigned calls have them.

Stands beside the S3 handlers: ``app`` hands over what ``is_query_call`` says is one, before it is routed as S3. The
order is: body (bounded) → parameters → service and action → credential scope of that service, principal, signature →
the verb, in one view or commit. What asks for credentials by a web identity is unsigned and verified by its token. All
failures leave here as the service's own errors; nothing secret is logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from hmac import compare_digest
from typing import Final, cast

from aiohttp import web

from gateway.http.answers import ReadyAnswer
from gateway.http.calls import Call
from gateway.http.failures import to_s3_error
from gateway.http.issuer_keys import IssuerKeys
from gateway.identity.facts import Facts
from gateway.identity.principals import ANONYMOUS, Principal
from gateway.identity.session_principals import SessionPrincipals
from gateway.operations import (
    iam_absent,
    iam_boundaries,
    iam_details,
    iam_entity_policies,
    iam_groups,
    iam_policies,
    iam_providers,
    iam_roles,
    iam_simulation,
    iam_users,
    sts_sessions,
    sts_web_identity,
)
from gateway.operations.iam_requests import Action, IamRequest, request_tag_values
from gateway.s3.errors import S3Error
from gateway.s3.query_errors import (
    InvalidAction,
    InvalidClientTokenId,
    MalformedInput,
    MissingAuthenticationToken,
    translate_error,
)
from gateway.s3.query_protocol import (
    BODY_BYTES_MAX,
    FORM,
    IAM,
    SERVICES,
    STS,
    Fields,
    Parameters,
    Service,
    find_service,
    parse_form,
    render_answer,
    render_error,
)
from gateway.s3.sigv4 import Verified, parse_claim, verify
from gateway.s3.uri import Query
from gateway.store.ports import Store, WriteView

_XML: Final = "text/xml"
_STRANGERS_BYTES_MAX: Final = 64 << 10  # of who may be nobody: a web identity's token, a session's policy
_IAM_FAMILIES: Final = (
    iam_absent.ACTIONS,
    iam_boundaries.ACTIONS,
    iam_details.ACTIONS,
    iam_entity_policies.ACTIONS,
    iam_groups.ACTIONS,
    iam_policies.ACTIONS,
    iam_providers.ACTIONS,
    iam_roles.ACTIONS,
    iam_simulation.ACTIONS,
    iam_users.ACTIONS,
)
ACTIONS: Final[dict[str, dict[str, Action]]] = {
    IAM.name: {name: action for family in _IAM_FAMILIES for name, action in family.items()},
    STS.name: sts_sessions.ACTIONS,
}
"""Service → action → what it does."""
assert len(ACTIONS[IAM.name]) == sum(len(family) for family in _IAM_FAMILIES), "an action is done twice"


def is_query_call(method: str, headers: Mapping[str, str], query: Query) -> bool:
    """Whether a request to the service's root speaks the Query protocol, by a form or (GET, too) by its query string.

    ``headers``: folded.
    """
    if query.params and method in ("GET", "POST") and query.params.get("Version") in SERVICES:
        return "Action" in query.params
    return method == "POST" and headers.get("content-type", "").partition(";")[0].strip().lower() == FORM


class IamDoor:
    """Answers IAM and STS for one worker."""

    def __init__(self, store: Store, principals: SessionPrincipals, region: str) -> None:
        self._store = store
        self._principals = principals
        self._region = region
        self._keys = IssuerKeys()

    async def handle(self, call: Call) -> web.StreamResponse:
        """Answer a call of which nothing is known yet: its body must be read first."""
        service = IAM
        try:
            bytes_max = BODY_BYTES_MAX if self._is_known(call) else _STRANGERS_BYTES_MAX
            body = await call.body.read_whole(bytes_max, MalformedInput)
            parameters = parse_form(body or call.query.raw.encode("utf-8", "surrogateescape"))
            service = find_service(parameters)
            name = parameters.find("Action") or ""
            fields = await self._answer(call, service, name, parameters, body)
            return _make_answer(call, 200, {}, render_answer(service, name, fields, call.request_id))
        except ConnectionError:
            raise
        except Exception as failure:
            error = translate_error(to_s3_error(failure, call.request_id))
            document = render_error(service, error, call.request_id)
            response = _make_answer(call, error.status, error.headers, document)
            if not call.request.content.is_eof():
                response.force_close()
            return response

    def _is_known(self, call: Call) -> bool:
        """Whether a call names a key that is there: what it says is verified once its body is read."""
        for service in SERVICES.values():
            try:
                claim = parse_claim(call.raw_headers, call.query, service.name)
                if claim is None:
                    return False
                with self._store.view() as view:
                    return self._principals.find(view, claim.access_key, claim.session_token, call.now_s) is not None
            except S3Error:
                continue  # of the other service, or to be refused in a moment
        return False

    async def _answer(
        self, call: Call, service: Service, name: str, parameters: Parameters, body: bytes
    ) -> Fields | None:
        if service is STS and name == sts_web_identity.ACTION:
            return await self._assume_with_web_identity(call, parameters)
        action = ACTIONS[service.name].get(name)
        if action is None:
            raise InvalidAction(f"Could not find operation {name[:100]} for version {service.version}")
        principal, verified = self._verify(call, service, body)
        call.verified = verified
        facts = Facts(call.raw_headers, {}, call.head, call.now_s, verified, self._region)
        if service is IAM:
            facts.tell(
                request_tag_values({one.get("Key", ""): one.get("Value", "") for one in parameters.structures("Tags")})
            )
        request = IamRequest(principal, facts, call.now_s, self._principals.maker)
        claim = verified.claim

        def decide(view: WriteView) -> Fields | None:
            current = self._principals.find_now(view, claim.access_key, claim.session_token, call.now_s)
            if current is None or not compare_digest(current.access_key.secret, principal.access_key.secret):
                raise InvalidClientTokenId  # ended while the request was under way
            return action.run(request._replace(principal=current), view, parameters)

        if action.writes:
            return await self._store.commit(decide)
        with self._store.view() as view:
            return action.run(request, cast("WriteView", view), parameters)

    async def _assume_with_web_identity(self, call: Call, parameters: Parameters) -> Fields:
        """Unsigned: the token is what is verified, between two views, since its keys may have to be fetched."""
        facts = Facts(call.raw_headers, {}, call.head, call.now_s, None, self._region)
        request = IamRequest(ANONYMOUS, facts, call.now_s, self._principals.maker)
        with self._store.view() as view:
            claim = sts_web_identity.find_claim(view, parameters)
        keys = await self._keys.find(claim.provider, claim.token, internal=claim.internal)
        with self._store.view() as view:
            return sts_web_identity.assume(request, view, parameters, claim, keys)

    def _verify(self, call: Call, service: Service, body: bytes) -> tuple[Principal, Verified]:
        """Who signed a request; raises S3 errors and the service's."""
        headers = call.raw_headers
        claim = parse_claim(headers, call.query, service.name)
        if claim is None:
            raise MissingAuthenticationToken
        with self._store.view() as view:
            principal = self._principals.find(view, claim.access_key, claim.session_token, call.now_s)
        if principal is None:
            raise InvalidClientTokenId
        verified = verify(
            *(claim, principal.access_key.secret, call.head.method, call.target.raw_path),
            *(call.query, headers, call.now_s),
            session_token=claim.session_token,
            payload_hash=sha256(body).hexdigest(),
        )
        return principal, verified


def _make_answer(call: Call, status: int, headers: Mapping[str, str], document: bytes) -> web.StreamResponse:
    lines = [f"x-amzn-RequestId: {call.request_id}", f"Content-Type: {_XML}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ReadyAnswer(status, call.base_head, lines, document)
