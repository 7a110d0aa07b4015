"""PostObject: the upload of a browser's form. Its own door: the form says who signed it.

    fields (at most 20 KB) → claim → access key → signature over the policy → policy over the fields → as PutObject

Nothing of the file is kept before all of that holds. A form without policy is nobody's and may write where everyone
may. What a PUT would say by headers a form says by fields: the request's own ``x-amz-*`` headers, which nobody signs,
are refused, its preconditions hold.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.http.calls import Call, CallHandler
from gateway.http.form_body import FormBody
from gateway.http.object_writes import written_headers
from gateway.identity.facts import Facts
from gateway.operations.objects_put import PutRequest, Written, put_object
from gateway.s3.checksums import BY_HEADER
from gateway.s3.errors import EntityTooLarge, InvalidAccessKeyId, invalid_argument, not_implemented_header
from gateway.s3.form import parse_boundary
from gateway.s3.form_fields import (
    FormClaim,
    FormUpload,
    expand_fields,
    parse_form,
    parse_form_claim,
    parse_form_key,
    render_post_response,
    render_redirect,
    verify_form,
)
from gateway.s3.headers import refuse_unknown
from gateway.s3.object_headers import NO_CHECKSUM, ChecksumClaim, parse_upload_checksum
from gateway.s3.post_policy import NO_POLICY, PostPolicy, check_policy, parse_policy
from gateway.s3.requests import parse_put
from gateway.s3.routing import Operation
from gateway.s3.sigv4 import parse_claim
from gateway.s3.tagging import OBJECT_TAGS_MAX, encode_tags, parse_tagging
from gateway.s3.uri import encode_component

_PRECONDITIONS: Final = ("if-match", "if-none-match", "if-unmodified-since", "if-modified-since")


async def post_object(call: Call) -> web.StreamResponse:
    """PostObject."""
    if parse_claim(call.raw_headers, call.query) is not None:
        raise invalid_argument("Only one auth mechanism allowed: a form is signed by its policy", "Authorization", "")
    refuse_unknown(Operation.PostObject, call.headers)
    if "content-md5" in call.headers:
        raise not_implemented_header("Content-MD5", call.headers["content-md5"])
    boundary = parse_boundary(call.raw_headers.get("content-type", ""))
    body = FormBody(call.body, boundary, call.context.settings.put_bytes_max)
    try:
        raw_fields, filename = await body.read_fields()
        fields = expand_fields(raw_fields, filename)
        parse_form_key(fields)
        claim = parse_form_claim(fields)
        policy = NO_POLICY if claim is None else _admit_form(call, fields, claim)
        return await _store_file(call, body, parse_form(fields), policy, 0 if claim is None else claim.version)
    finally:
        await body.close()


def _admit_form(call: Call, fields: dict[str, str], claim: FormClaim) -> PostPolicy:
    """Let the call be its signer's; return the policy its fields satisfy. Raises S3 errors."""
    with call.context.store.view() as view:
        principal = call.principals.find(view, claim.access_key, claim.session_token, call.now_s)
    if principal is None:
        raise InvalidAccessKeyId(None, AWSAccessKeyId=claim.access_key)
    verify_form(claim, principal.access_key.secret, version_2=call.settings.signature_v2_forms)
    policy = parse_policy(claim.policy)
    check_policy(policy, fields, call.bucket, call.now_s * 1000)
    call.context = call.context._replace(principal=principal)
    return policy


async def _store_file(
    call: Call, body: FormBody, upload: FormUpload, policy: PostPolicy, version: int
) -> web.StreamResponse:
    """Put the form's file, and answer as the form asks. ``version``: of the signature, 0 for nobody's."""
    headers = {name: call.raw_headers[name] for name in _PRECONDITIONS if name in call.raw_headers} | upload.headers
    if upload.tagging:
        tags = parse_tagging(upload.tagging.encode(), OBJECT_TAGS_MAX)
        headers["x-amz-tagging"] = encode_tags(tags).decode()
    asked = _pop_algorithm(headers)
    refuse_unknown(Operation.PutObject, headers)
    _tell_policies(call, headers, version)
    parameters = parse_put(headers)
    claim = parameters.checksum if asked is NO_CHECKSUM or parameters.checksum.value else asked
    bytes_max = call.context.settings.put_bytes_max

    def check_size(size: int) -> None:
        policy.check_size(size)
        if size > bytes_max:
            raise EntityTooLarge(None, ProposedSize=size, MaxSizeAllowed=bytes_max)

    body.expect(parameters.content_md5, claim, min(bytes_max, policy.bytes_max), check_size)
    stored = parameters.stored
    request = PutRequest(
        call.bucket,
        upload.key.encode(),
        stored.headers,
        stored.metadata,
        stored.storage_class,
        parameters.conditions,
        stored.attributes,
    )
    written = await put_object(call.context, request, body)
    return _answer(call, upload, written)


def _pop_algorithm(headers: dict[str, str]) -> ChecksumClaim:
    """Which checksum a form wants to be computed, and taken out of ``headers``: PutObject has no such header.

    A value that comes with it must be of that algorithm, as it must with x-amz-sdk-checksum-algorithm.
    """
    asked = parse_upload_checksum(headers)
    name = headers.pop("x-amz-checksum-algorithm", "")
    if any(header in BY_HEADER for header in headers):
        headers.setdefault("x-amz-sdk-checksum-algorithm", name)
    return asked


def _tell_policies(call: Call, headers: dict[str, str], version: int) -> None:
    """Let policies with conditions see the fields as the headers they stand for; ``version``: of the signature."""
    told = dict(headers)
    told.update({name: call.raw_headers[name] for name in ("referer", "user-agent") if name in call.raw_headers})
    facts = Facts(told, {}, call.head, call.now_s, None, call.settings.region)
    if version:
        facts.signed_by = "POST"
    if version == 2:
        facts.more["s3:signatureversion"] = ("AWS",)
    call.context = call.context._replace(facts=facts)


def _answer(call: Call, upload: FormUpload, written: Written) -> web.StreamResponse:
    """303 to where the form wants its browser to go, else the status it asks for (201 with a document)."""
    headers, etag = written_headers(written), written.record.etag
    if upload.redirect:
        headers["Location"] = render_redirect(upload.redirect, call.bucket, upload.key, etag)
        return call.answer(303, headers)
    bucket = "" if call.target.virtual_host else f"/{encode_component(call.bucket)}"
    host = call.raw_headers.get("host", "")
    location = f"{'https' if call.head.secure else 'http'}://{host}{bucket}/{encode_component(upload.key)}"
    headers["Location"] = location
    if upload.status != 201:
        return call.answer(upload.status, headers)
    return call.answer(201, headers, render_post_response(location, call.bucket, upload.key, etag))


HANDLERS: Final[dict[Operation, CallHandler]] = {Operation.PostObject: post_object}
"""What this file answers."""
