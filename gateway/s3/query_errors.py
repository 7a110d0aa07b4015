"""Errors of IAM and STS: one class a code, with AWS's status, and what S3's own errors are called there. Pure.

Operations and the identity rules raise these; ``gateway/http/iam_calls`` renders them by ``query_protocol``. They are
``S3Error`` so that everything that handles those handles them too; only the document differs.
Source: "Common Errors" of the IAM and STS API references and each operation's own list.
"""

from __future__ import annotations

from typing import Final

from gateway.s3 import errors
from gateway.s3.errors import S3Error


def _define(code: str, status: int, message: str) -> type[S3Error]:
    return type(
        code,
        (S3Error,),
        {"code": code, "status": status, "message": message, "__doc__": message, "__module__": __name__},
    )


ConcurrentModification = _define("ConcurrentModification", 409, "The entity was modified meanwhile. Try again.")
DeleteConflict = _define("DeleteConflict", 409, "Cannot delete entity, must remove its subordinate entities first.")
EntityAlreadyExists = _define("EntityAlreadyExists", 409, "The entity already exists.")
ExpiredTokenException = _define("ExpiredTokenException", 400, "Token expired")
IDPCommunicationError = _define(
    "IDPCommunicationError", 400, "Couldn't retrieve verification key from your identity provider"
)
IDPRejectedClaim = _define("IDPRejectedClaim", 403, "The identity provider's claim was rejected.")
IncompleteSignature = _define("IncompleteSignature", 400, "The request signature does not conform to AWS standards.")
InternalFailure = _define("InternalFailure", 500, "The request processing has failed because of an unknown error.")
InvalidAction = _define("InvalidAction", 400, "Could not find the operation.")
InvalidClientTokenId = _define("InvalidClientTokenId", 403, "The security token included in the request is invalid.")
InvalidIdentityToken = _define("InvalidIdentityToken", 400, "The web identity token could not be validated.")
InvalidInput = _define("InvalidInput", 400, "The input is invalid.")
LimitExceeded = _define("LimitExceeded", 409, "A limit of the account is exceeded.")
MalformedInput = _define("MalformedInput", 400, "The request is not well-formed.")
MalformedPolicyDocument = _define("MalformedPolicyDocument", 400, "The policy is not well-formed.")
MissingAuthenticationToken = _define("MissingAuthenticationToken", 403, "Request is missing Authentication Token")
NoSuchEntity = _define("NoSuchEntity", 404, "The entity cannot be found.")
PackedPolicyTooLarge = _define("PackedPolicyTooLarge", 400, "The session policies are too large.")
QueryAccessDenied = _define("AccessDenied", 403, "Access Denied")
QueryExpiredToken = _define("ExpiredToken", 403, "The security token included in the request is expired")
QueryNotImplemented = _define("NotImplemented", 501, "This is not implemented.")
RequestExpired = _define("RequestExpired", 400, "The request is too old.")
ServiceFailure = _define("ServiceUnavailable", 503, "The request has failed due to a temporary failure of the server.")
SignatureMismatch = _define(
    "SignatureDoesNotMatch",
    403,
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details.",
)
UnmodifiableEntity = _define("UnmodifiableEntity", 400, "The entity cannot be modified.")
ValidationError = _define("ValidationError", 400, "The input fails to satisfy the constraints.")

_TRANSLATED: Final[dict[type[S3Error], tuple[type[S3Error], bool]]] = {
    # S3's error → the service's, and whether S3's text goes along (nothing of a signature's parts does)
    errors.AccessDenied: (QueryAccessDenied, True),
    errors.AuthorizationHeaderMalformed: (IncompleteSignature, True),
    errors.AuthorizationQueryParametersError: (IncompleteSignature, True),
    errors.ExpiredToken: (QueryExpiredToken, False),
    errors.IncompleteBody: (MalformedInput, True),
    errors.InvalidAccessKeyId: (InvalidClientTokenId, False),
    errors.InvalidArgument: (IncompleteSignature, True),
    errors.InvalidRequest: (IncompleteSignature, True),
    errors.InvalidToken: (InvalidClientTokenId, False),
    errors.InvalidURI: (MalformedInput, True),
    errors.MalformedXML: (MalformedInput, False),
    errors.MissingContentLength: (MalformedInput, True),
    errors.RequestTimeTooSkewed: (SignatureMismatch, True),
    errors.RequestTimeout: (RequestExpired, True),
    errors.S3NotImplemented: (QueryNotImplemented, True),
    errors.SignatureDoesNotMatch: (SignatureMismatch, False),
    errors.ServiceUnavailable: (ServiceFailure, True),
    errors.SlowDown: (ServiceFailure, True),
    errors.InternalError: (InternalFailure, False),
}


def translate_error(error: S3Error) -> S3Error:
    """The error as IAM and STS know it; one that is theirs (or has no counterpart) as it is."""
    found = _TRANSLATED.get(type(error))
    if found is None:
        return error
    kind, with_text = found
    return kind(error.text if with_text else None, headers=error.headers)
