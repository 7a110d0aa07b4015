"""S3's errors as a table: one class a code, with AWS's status and message, and their XML.

Every layer raises these; only ``gateway/http`` turns them into answers, by ``status``, ``headers`` and ``to_xml``.
Codes, statuses and messages are AWS's (API reference, "Error responses"). Nothing secret goes into an error: a
signature mismatch shows the string that was signed, never a key. This module does not log and does not know requests.
"""

from __future__ import annotations

from html import escape
from typing import ClassVar

_ELEMENTS = {"XAmzExpires": "X-Amz-Expires", "ContentMD5": "Content-MD5"}  # element names that are no Python names


class S3Error(Exception):
    """An S3 error answer. ``extra`` names further XML elements (``BucketName="b"``); ``headers`` go out with it."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "InternalError"
    message: ClassVar[str] = "We encountered an internal error. Please try again."

    def __init__(
        self, message: str | None = None, /, *, headers: dict[str, str] | None = None, **extra: object
    ) -> None:
        self.text = message if message is not None else self.message
        self.extra = {_ELEMENTS.get(name, name): str(value) for name, value in extra.items() if value is not None}
        self.headers = headers or {}
        super().__init__(f"{self.code}: {self.text}")


class InternalError(S3Error):
    """Something of ours went wrong."""


def _define(code: str, status: int, message: str, name: str | None = None) -> type[S3Error]:
    """A subclass for one code; ``name`` where the code is not a usable Python name of its own."""
    return type(
        name or code,
        (S3Error,),
        {"code": code, "status": status, "message": message, "__doc__": message, "__module__": __name__},
    )


# --- access and signatures
AccessDenied = _define("AccessDenied", 403, "Access Denied")
AccessForbidden = _define("AccessForbidden", 403, "CORSResponse: This CORS request is not allowed.")
AccountProblem = _define("AccountProblem", 403, "There is a problem with your account.")
AllAccessDisabled = _define("AllAccessDisabled", 403, "All access to this object has been disabled.")
AuthorizationHeaderMalformed = _define(
    "AuthorizationHeaderMalformed", 400, "The authorization header that you provided is not valid."
)
AuthorizationQueryParametersError = _define(
    "AuthorizationQueryParametersError", 400, "The authorization query parameters that you provided are not valid."
)
CredentialsNotSupported = _define("CredentialsNotSupported", 400, "This request does not support credentials.")
CrossLocationLoggingProhibited = _define("CrossLocationLoggingProhibited", 403, "Cross-location logging not allowed.")
ExpiredToken = _define("ExpiredToken", 400, "The provided token has expired.")
InvalidAccessKeyId = _define(
    "InvalidAccessKeyId", 403, "The AWS Access Key Id you provided does not exist in our records."
)
InvalidSecurity = _define("InvalidSecurity", 403, "The provided security credentials are not valid.")
InvalidToken = _define("InvalidToken", 400, "The provided token is malformed or otherwise invalid.")
NotSignedUp = _define("NotSignedUp", 403, "Your account is not signed up for the S3 service.")
RequestExpired = _define("RequestExpired", 400, "Request has expired")
RequestTimeTooSkewed = _define(
    "RequestTimeTooSkewed", 403, "The difference between the request time and the current time is too large."
)
SignatureDoesNotMatch = _define(
    "SignatureDoesNotMatch",
    403,
    "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
)
UnsupportedSignature = _define(
    "UnsupportedSignature",
    400,
    "The provided request is signed with an unsupported STS Token version or the signature version is not supported.",
)

# --- what is not there, what is there already
BucketAlreadyExists = _define(
    "BucketAlreadyExists",
    409,
    "The requested bucket name is not available. The bucket namespace is shared by all users of the system. "
    "Please select a different name and try again.",
)
BucketAlreadyOwnedByYou = _define(
    "BucketAlreadyOwnedByYou",
    409,
    "Your previous request to create the named bucket succeeded and you already own it.",
)
BucketNotEmpty = _define("BucketNotEmpty", 409, "The bucket you tried to delete is not empty")
IllegalLocationConstraintException = _define(
    "IllegalLocationConstraintException",
    400,
    "The specified location constraint is incompatible for the region specific endpoint this request was sent to.",
)
IllegalVersioningConfigurationException = _define(
    "IllegalVersioningConfigurationException",
    400,
    "The versioning configuration specified in the request is invalid.",
)
InvalidBucketState = _define("InvalidBucketState", 409, "The request is not valid for the current state of the bucket.")
InvalidObjectState = _define("InvalidObjectState", 403, "The operation is not valid for the object's storage class")
NoSuchBucket = _define("NoSuchBucket", 404, "The specified bucket does not exist")
NoSuchBucketPolicy = _define("NoSuchBucketPolicy", 404, "The bucket policy does not exist")
NoSuchConfiguration = _define("NoSuchConfiguration", 404, "The specified configuration does not exist.")
NoSuchCORSConfiguration = _define("NoSuchCORSConfiguration", 404, "The CORS configuration does not exist")
NoSuchKey = _define("NoSuchKey", 404, "The specified key does not exist.")
NoSuchLifecycleConfiguration = _define(
    "NoSuchLifecycleConfiguration", 404, "The lifecycle configuration does not exist"
)
NoSuchObjectLockConfiguration = _define(
    "NoSuchObjectLockConfiguration", 404, "The specified object does not have a ObjectLock configuration"
)
NoSuchPublicAccessBlockConfiguration = _define(
    "NoSuchPublicAccessBlockConfiguration", 404, "The public access block configuration was not found"
)
NoSuchTagSet = _define("NoSuchTagSet", 404, "The TagSet does not exist")
NoSuchUpload = _define(
    "NoSuchUpload",
    404,
    "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or "
    "completed.",
)
NoSuchVersion = _define("NoSuchVersion", 404, "The specified version does not exist.")
NoSuchWebsiteConfiguration = _define(
    "NoSuchWebsiteConfiguration", 404, "The specified bucket does not have a website configuration"
)
ObjectAlreadyInActiveTierError = _define(
    "ObjectAlreadyInActiveTierError", 403, "This object is already in active tier, restore is not allowed."
)
ObjectLockConfigurationNotFoundError = _define(
    "ObjectLockConfigurationNotFoundError", 404, "Object Lock configuration does not exist for this bucket"
)
OwnershipControlsNotFoundError = _define(
    "OwnershipControlsNotFoundError", 404, "The bucket ownership controls were not found"
)
ReplicationConfigurationNotFoundError = _define(
    "ReplicationConfigurationNotFoundError", 404, "The replication configuration was not found"
)
RestoreAlreadyInProgress = _define("RestoreAlreadyInProgress", 409, "Object restore is already in progress.")
ServerSideEncryptionConfigurationNotFoundError = _define(
    "ServerSideEncryptionConfigurationNotFoundError", 404, "The server side encryption configuration was not found"
)
TooManyConfigurations = _define(
    "TooManyConfigurations", 400, "You are attempting to create a new configuration but have already reached the limit."
)
TooManyBuckets = _define("TooManyBuckets", 400, "You have attempted to create more buckets than allowed")

# --- names, arguments, documents
AmbiguousGrantByEmailAddress = _define(
    "AmbiguousGrantByEmailAddress", 400, "The email address you provided is associated with more than one account."
)
AccessControlListNotSupported = _define("AccessControlListNotSupported", 400, "The bucket does not allow ACLs")
BadRequest = _define("BadRequest", 400, "Bad Request")
InvalidArgument = _define("InvalidArgument", 400, "Invalid Argument")
InvalidConfigurationId = _define("InvalidConfigurationId", 400, "The specified configuration id is invalid.")
InvalidBucketAclWithObjectOwnership = _define(
    "InvalidBucketAclWithObjectOwnership", 400, "Bucket cannot have ACLs set with ObjectOwnership's setting"
)
InvalidBucketName = _define("InvalidBucketName", 400, "The specified bucket is not valid.")
InvalidEncryptionAlgorithmError = _define(
    "InvalidEncryptionAlgorithmError", 400, "The encryption request you specified is not valid."
)
InvalidLocationConstraint = _define("InvalidLocationConstraint", 400, "The specified location-constraint is not valid")
InvalidPolicyDocument = _define("InvalidPolicyDocument", 400, "The content of the form does not meet the conditions.")
InvalidRequest = _define("InvalidRequest", 400, "Invalid Request")
InvalidStorageClass = _define("InvalidStorageClass", 400, "The storage class you specified is not valid")
InvalidTag = _define("InvalidTag", 400, "The tag provided was not a valid tag.")
InvalidRedirectLocation = _define(
    "InvalidRedirectLocation",
    400,
    "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
)
InvalidTargetBucketForLogging = _define(
    "InvalidTargetBucketForLogging", 400, "The target bucket for logging does not exist"
)
InvalidURI = _define("InvalidURI", 400, "Couldn't parse the specified URI.")
KeyTooLongError = _define("KeyTooLongError", 400, "Your key is too long")
KMSDisabledException = _define("KMS.DisabledException", 400, "The KMS key is disabled.", "KMSDisabledException")
KMSInvalidStateException = _define(
    "KMS.KMSInvalidStateException", 400, "The KMS key is not in a state for this.", "KMSInvalidStateException"
)
KMSNotFoundException = _define("KMS.NotFoundException", 400, "The KMS key does not exist.", "KMSNotFoundException")
MalformedACLError = _define(
    "MalformedACLError",
    400,
    "The XML you provided was not well-formed or did not validate against our published schema",
)
MalformedPolicy = _define("MalformedPolicy", 400, "Policy has invalid resource")
MalformedPOSTRequest = _define(
    "MalformedPOSTRequest", 400, "The body of your POST request is not well-formed multipart/form-data."
)
MalformedXML = _define(
    "MalformedXML",
    400,
    "The XML you provided was not well-formed or did not validate against our published schema",
)
MaxMessageLengthExceeded = _define("MaxMessageLengthExceeded", 400, "Your request was too big.")
MaxPostPreDataLengthExceeded = _define(
    "MaxPostPreDataLengthExceeded",  # as AWS answers; its table of errors has it with "Error"
    400,
    "Your POST request fields preceding the upload file were too large.",
)
MetadataTooLarge = _define("MetadataTooLarge", 400, "Your metadata headers exceed the maximum allowed metadata size")
MissingContentLength = _define("MissingContentLength", 411, "You must provide the Content-Length HTTP header.")
MissingRequestBodyError = _define("MissingRequestBodyError", 400, "Request Body is empty")
MissingSecurityHeader = _define("MissingSecurityHeader", 400, "Your request was missing a required header")
RequestHeaderSectionTooLarge = _define(
    "RequestHeaderSectionTooLarge", 400, "Your request header section exceeds the maximum allowed size."
)
UnexpectedContent = _define("UnexpectedContent", 400, "This request does not support content")
UnresolvableGrantByEmailAddress = _define(
    "UnresolvableGrantByEmailAddress", 400, "The email address you provided does not match any account on record."
)

# --- bodies
BadDigest = _define("BadDigest", 400, "The Content-MD5 you specified did not match what we received.")
EntityTooLarge = _define("EntityTooLarge", 400, "Your proposed upload exceeds the maximum allowed size")
EntityTooSmall = _define("EntityTooSmall", 400, "Your proposed upload is smaller than the minimum allowed size")
IncompleteBody = _define(
    "IncompleteBody", 400, "You did not provide the number of bytes specified by the Content-Length HTTP header"
)
InvalidChunkSizeError = _define(
    "InvalidChunkSizeError", 403, "Only the last chunk is allowed to have a size less than 8192 bytes"
)
InvalidDigest = _define("InvalidDigest", 400, "The Content-MD5 you specified was invalid.")
InvalidPart = _define(
    "InvalidPart",
    400,
    "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified "
    "entity tag may not match the part's entity tag.",
)
InvalidPartNumber = _define("InvalidPartNumber", 416, "The requested partnumber is not satisfiable")
InvalidPartOrder = _define(
    "InvalidPartOrder",
    400,
    "The list of parts was not in ascending order. Parts must be ordered by part number.",
)
MalformedTrailerError = _define(
    "MalformedTrailerError",
    400,
    "The request contained trailing data that was not well-formed or did not conform to our published schema.",
)
RequestTimeout = _define(
    "RequestTimeout",
    400,
    "Your socket connection to the server was not read from or written to within the timeout period. "
    "Idle connections will be closed.",
)
XAmzContentChecksumMismatch = _define(
    "XAmzContentChecksumMismatch", 400, "The provided 'x-amz-checksum' header does not match what was computed."
)
XAmzContentSHA256Mismatch = _define(
    "XAmzContentSHA256Mismatch", 400, "The provided 'x-amz-content-sha256' header does not match what was computed."
)

# --- conditions, ranges, methods
ConditionalRequestConflict = _define(
    "ConditionalRequestConflict",
    409,
    "The conditional request cannot succeed due to a conflicting operation against this resource.",
)
InvalidRange = _define("InvalidRange", 416, "The requested range is not satisfiable")
MethodNotAllowed = _define("MethodNotAllowed", 405, "The specified method is not allowed against this resource.")
NotModified = _define("NotModified", 304, "Not Modified")
OperationAborted = _define(
    "OperationAborted",
    409,
    "A conflicting conditional operation is currently in progress against this resource. Please try again.",
)
PreconditionFailed = _define("PreconditionFailed", 412, "At least one of the pre-conditions you specified did not hold")
S3NotImplemented = _define(
    "NotImplemented", 501, "A header you provided implies functionality that is not implemented", "S3NotImplemented"
)

# --- annotations, appends and renames: newer parts of the model
AnnotationLimitExceeded = _define(
    "AnnotationLimitExceeded", 400, "The request would exceed the maximum number of annotations allowed per object."
)
AnnotationNameTooLong = _define("AnnotationNameTooLong", 400, "The annotation name exceeds 512 bytes.")
EncryptionTypeMismatch = _define(
    "EncryptionTypeMismatch", 400, "The existing object was created with a different encryption type."
)
IdempotencyParameterMismatch = _define(
    "IdempotencyParameterMismatch", 400, "Parameters on this idempotent request are inconsistent with previous ones."
)
InvalidAnnotationName = _define("InvalidAnnotationName", 400, "The annotation name you provided is invalid.")
InvalidPrefix = _define("InvalidPrefix", 400, "The annotation prefix you provided is invalid.")
InvalidWriteOffset = _define(
    "InvalidWriteOffset", 400, "The write offset value that you specified does not match the current object size."
)
NoSuchAnnotation = _define("NoSuchAnnotation", 404, "The specified annotation does not exist on this object.")
ObjectNotInActiveTierError = _define(
    "ObjectNotInActiveTierError", 403, "The source object of the COPY action is not in the active tier."
)
TooManyParts = _define("TooManyParts", 400, "The object cannot take more than 10000 parts.")
UnsupportedMediaType = _define("UnsupportedMediaType", 415, "The annotation payload is not valid UTF-8 encoded text.")

# --- the server's state
PermanentRedirect = _define(
    "PermanentRedirect", 301, "The bucket you are attempting to access must be addressed using the specified endpoint."
)
ServiceUnavailable = _define("ServiceUnavailable", 503, "Please reduce your request rate.")
SlowDown = _define("SlowDown", 503, "Please reduce your request rate.")
StorageFull = _define(
    "InsufficientStorage", 507, "The site has no room for this write. Reads and deletes go on.", "StorageFull"
)


def not_implemented_operation(name: str) -> S3Error:
    """The error for an operation of S3 that Skerry does not do, by its name."""
    return S3NotImplemented(f"The operation {name} is not implemented", Operation=name)


def not_implemented_header(name: str, value: str | None = None) -> S3Error:
    """The error for a header (or its value) that asks for something Skerry does not do."""
    return S3NotImplemented(None, Header=name, Value=value)


def invalid_argument(message: str, name: str, value: object) -> S3Error:
    """InvalidArgument as AWS shapes it, with the argument's name and value."""
    return InvalidArgument(message, ArgumentName=name, ArgumentValue=value)


_CONTROL = {code: f"&#x{code:X};" for code in range(32) if code not in (9, 10)} | {ord('"'): "&quot;"}


def escape_text(text: str) -> str:
    """Text for XML element content; control characters as references, as AWS writes them; lone surrogates replaced."""
    if not text.isprintable():
        text = text.encode("utf-8", "replace").decode()
    return escape(text, quote=False).translate(_CONTROL)


def to_xml(error: S3Error, resource: str, request_id: str, host_id: str) -> bytes:
    """The error document; empty for 304, which has no body."""
    if error.status == 304:
        return b""
    elements = [("Code", error.code), ("Message", error.text), *error.extra.items()]
    if resource:
        elements.append(("Resource", resource))
    elements += [("RequestId", request_id), ("HostId", host_id)]
    body = "".join(f"<{name}>{escape_text(value)}</{name}>" for name, value in elements)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{body}</Error>'.encode()
