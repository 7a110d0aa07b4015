"""Answers as XML, by string assembly: listings, buckets, uploads, copies, deletes. Pure; errors' XML is in ``errors``.

A listing of 1,000 keys is the hot path: one f-string an entry, escaping only what needs it, timestamps and owners
cached. Keys are bytes from the store (valid UTF-8). With ``encoding-type=url`` they are encoded as AWS does (form
encoding with slashes kept); without, control characters become references as AWS writes them, though XML 1.0 forbids
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol
from urllib.parse import quote_plus

from gateway.s3.checksums import ALGORITHMS
from gateway.s3.errors import escape_text
from gateway.s3.list_requests import ListParameters, ListUploadsParameters, ListVersionsParameters
from gateway.s3.listing import Listing, VersionListing, encode_token
from gateway.s3.times import format_iso, format_iso_second

_HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
_XMLNS: Final = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
# What needs no escaping, for bytes.translate: one C call tells whether anything else is in a key.
_PLAIN: Final = bytes(set(range(32, 127)) - set(b'&<>"'))
_PLAIN_URL: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/*"
_PLAIN_OF_ALL: Final = _PLAIN_URL + b"\0"  # what neither way of writing keys changes


class Owner(NamedTuple):
    """Whom a listing names: canonical id (64 hex digits) and display name."""

    id: str
    display_name: str


class HeadFields(Protocol):
    """What a listing shows of an object."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def modified_ms(self) -> int:
        """Unix milliseconds."""

    @property
    def etag(self) -> str:
        """No quotes."""

    @property
    def owner(self) -> str:
        """User id."""

    @property
    def checksum(self) -> str:
        """``ALGORITHM:TYPE`` or empty."""

    @property
    def storage_class(self) -> str:
        """STANDARD and so on."""


class RecordFields(Protocol):
    """What a listing shows of a version's record."""

    @property
    def marker(self) -> bool:
        """A delete marker."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def modified_ms(self) -> int:
        """Unix milliseconds."""

    @property
    def etag(self) -> str:
        """No quotes."""

    @property
    def owner(self) -> str:
        """User id."""

    @property
    def checksums(self) -> Mapping[str, str]:
        """Algorithm to base64."""

    @property
    def checksum_type(self) -> str:
        """FULL_OBJECT, COMPOSITE or empty."""

    @property
    def storage_class(self) -> str:
        """STANDARD and so on."""


class IdText(Protocol):
    """A version id."""

    @property
    def text(self) -> str:
        """As clients see it."""


class VersionFields(Protocol):
    """A version in a listing."""

    @property
    def key(self) -> bytes:
        """UTF-8."""

    @property
    def id(self) -> IdText:
        """Its version id."""

    @property
    def is_latest(self) -> bool:
        """Whether it is the key's current version."""

    @property
    def record(self) -> RecordFields:
        """Its record."""


Owners = Callable[[str], Owner]
"""Finds the owner to show for a user id."""
Extras = Mapping[tuple[bytes, str], str]
"""Further elements (XML) of entries of a listing, by key and version id ("" for current objects)."""
NO_EXTRAS: Final[Extras] = {}


def encode_url(text: str) -> str:
    """``encoding-type=url`` as AWS does it: form encoding, slashes and asterisks kept."""
    return quote_plus(text, safe="/*")


def _namer(encoding: bool) -> Callable[[bytes], str]:
    """How keys are written in one answer."""
    return _write_key_url if encoding else _write_key


def _write_key(key: bytes) -> str:
    return escape_text(key.decode()) if key.translate(None, _PLAIN) else key.decode()


def _write_key_url(key: bytes) -> str:
    return quote_plus(key, safe="/*") if key.translate(None, _PLAIN_URL) else key.decode()


def _write_keys(keys: Sequence[bytes], name: Callable[[bytes], str]) -> list[str]:
    """``name`` of each key: in one go where none of them has anything to escape. (No key has a NUL: ``names``.)"""
    joined = b"\0".join(keys)
    if keys and not joined.translate(None, _PLAIN_OF_ALL):
        return joined.decode().split("\0")
    return [name(key) for key in keys]


def _texter(encoding: bool) -> Callable[[str], str]:
    return encode_url if encoding else escape_text


def _write_owner(owners: Owners, cache: dict[str, str], user: str, tag: str = "Owner") -> str:
    """An owner element, once per user and answer."""
    found = cache.get(user)
    if found is None:
        owner = owners(user)
        found = (
            f"<{tag}><ID>{escape_text(owner.id)}</ID>"
            f"<DisplayName>{escape_text(owner.display_name)}</DisplayName></{tag}>"
        )
        cache[user] = found
    return found


def _write_checksum_kind(cache: dict[str, str], checksum: str) -> str:
    """ChecksumAlgorithm and ChecksumType of ``ALGORITHM:TYPE``."""
    found = cache.get(checksum)
    if found is None:
        algorithm, _, kind = checksum.partition(":")
        found = f"<ChecksumAlgorithm>{algorithm}</ChecksumAlgorithm>" if algorithm else ""
        if algorithm and kind:
            found += f"<ChecksumType>{kind}</ChecksumType>"
        cache[checksum] = found
    return found


def _write_prefixes(prefixes: Iterable[bytes], name: Callable[[bytes], str]) -> str:
    return "".join([f"<CommonPrefixes><Prefix>{name(prefix)}</Prefix></CommonPrefixes>" for prefix in prefixes])


def _optional(tag: str, text: str) -> str:
    return f"<{tag}>{text}</{tag}>" if text else ""


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _write_contents(
    contents: Sequence[tuple[bytes, HeadFields]],
    name: Callable[[bytes], str],
    write_owner: Callable[[str], str] | None,
    more: Extras,
) -> str:
    """The Contents elements of a listing."""
    tails: dict[tuple[str, str], str] = {}
    kinds: dict[str, str] = {}
    out = []
    for (key, head), shown in zip(contents, _write_keys([key for key, _ in contents], name), strict=True):
        # Owner and storage class repeat: their text is made once.
        group = (head.owner, head.storage_class)
        tail = tails.get(group)
        if tail is None:
            owner = write_owner(head.owner) if write_owner else ""
            tail = f"{owner}<StorageClass>{head.storage_class}</StorageClass></Contents>"
            tails[group] = tail
        kind = kinds.get(head.checksum)
        if kind is None:
            kind = _write_checksum_kind(kinds, head.checksum)
        if more:
            kind += more.get((key, ""), "")
        out.append(
            f"<Contents><Key>{shown}</Key><LastModified>{format_iso_second(head.modified_ms // 1000)}</LastModified>"
            f"<ETag>&quot;{head.etag}&quot;</ETag>{kind}<Size>{head.size}</Size>{tail}"
        )
    return "".join(out)


def render_list_v1(
    bucket: str, parameters: ListParameters, listing: Listing[HeadFields], owners: Owners, more: Extras = NO_EXTRAS
) -> bytes:
    """ListBucketResult of ListObjects. NextMarker comes only with a delimiter, as documented."""
    name, text = _namer(parameters.encoding), _texter(parameters.encoding)
    next_marker = name(listing.last) if listing.truncated and parameters.delimiter else ""
    write_owner = partial(_write_owner, owners, {})
    return (
        f"{_HEAD}<ListBucketResult{_XMLNS}><Name>{escape_text(bucket)}</Name>"
        f"<Prefix>{text(parameters.prefix)}</Prefix><Marker>{text(parameters.marker)}</Marker>"
        f"{_optional('NextMarker', next_marker)}<MaxKeys>{parameters.page.keys_max}</MaxKeys>"
        f"{_optional('Delimiter', text(parameters.delimiter))}"
        f"{_optional('EncodingType', 'url' if parameters.encoding else '')}"
        f"<IsTruncated>{_flag(listing.truncated)}</IsTruncated>"
        f"{_write_contents(listing.contents, name, write_owner, more)}"
        f"{_write_prefixes(listing.prefixes, name)}</ListBucketResult>"
    ).encode()


def render_list_v2(
    bucket: str, parameters: ListParameters, listing: Listing[HeadFields], owners: Owners, more: Extras = NO_EXTRAS
) -> bytes:
    """ListBucketResult of ListObjectsV2. Owners only if fetch-owner asked for them."""
    name, text = _namer(parameters.encoding), _texter(parameters.encoding)
    token = encode_token(listing.last, is_prefix=listing.last_is_prefix) if listing.truncated else ""
    write_owner = partial(_write_owner, owners, {}) if parameters.fetch_owner else None
    return (
        f"{_HEAD}<ListBucketResult{_XMLNS}><Name>{escape_text(bucket)}</Name>"
        f"<Prefix>{text(parameters.prefix)}</Prefix>"
        f"{_optional('StartAfter', text(parameters.start_after))}"
        f"{_optional('ContinuationToken', escape_text(parameters.token or ''))}"
        f"{_optional('NextContinuationToken', token)}"
        f"<KeyCount>{len(listing.contents) + len(listing.prefixes)}</KeyCount>"
        f"<MaxKeys>{parameters.page.keys_max}</MaxKeys>"
        f"{_optional('Delimiter', text(parameters.delimiter))}"
        f"{_optional('EncodingType', 'url' if parameters.encoding else '')}"
        f"<IsTruncated>{_flag(listing.truncated)}</IsTruncated>"
        f"{_write_contents(listing.contents, name, write_owner, more)}"
        f"{_write_prefixes(listing.prefixes, name)}</ListBucketResult>"
    ).encode()


def _write_version(
    version: VersionFields,
    name: Callable[[bytes], str],
    kinds: dict[str, str],
    write_owner: Callable[[str], str],
    more: Extras,
) -> str:
    """A Version or DeleteMarker element."""
    record = version.record
    tag = "DeleteMarker" if record.marker else "Version"
    shared = (
        f"<{tag}><Key>{name(version.key)}</Key><VersionId>{version.id.text}</VersionId>"
        f"<IsLatest>{_flag(version.is_latest)}</IsLatest>"
        f"<LastModified>{format_iso(record.modified_ms)}</LastModified>"
    )
    owner = write_owner(record.owner)
    if record.marker:
        return f"{shared}{owner}</{tag}>"
    algorithm = next(iter(record.checksums), "")
    kind = _write_checksum_kind(kinds, f"{algorithm}:{record.checksum_type}" if algorithm else "")
    return (
        f"{shared}<ETag>&quot;{record.etag}&quot;</ETag>{kind}{more.get((version.key, version.id.text), '')}"
        f"<Size>{record.size}</Size>{owner}"
        f"<StorageClass>{record.storage_class}</StorageClass></{tag}>"
    )


def render_list_versions(
    bucket: str,
    parameters: ListVersionsParameters,
    listing: VersionListing[VersionFields],
    owners: Owners,
    more: Extras = NO_EXTRAS,
) -> bytes:
    """ListVersionsResult."""
    name, text = _namer(parameters.encoding), _texter(parameters.encoding)
    write_owner = partial(_write_owner, owners, {})
    following = ""
    if listing.truncated and listing.last is not None:
        following = (
            f"<NextKeyMarker>{name(listing.last.key)}</NextKeyMarker>"
            f"<NextVersionIdMarker>{listing.last.id.text}</NextVersionIdMarker>"
        )
    elif listing.truncated:
        following = f"<NextKeyMarker>{name(listing.last_prefix)}</NextKeyMarker>"
    kinds: dict[str, str] = {}
    versions = "".join([_write_version(version, name, kinds, write_owner, more) for version in listing.versions])
    return (
        f"{_HEAD}<ListVersionsResult{_XMLNS}><Name>{escape_text(bucket)}</Name>"
        f"<Prefix>{text(parameters.prefix)}</Prefix><KeyMarker>{text(parameters.key_marker)}</KeyMarker>"
        f"<VersionIdMarker>{escape_text(parameters.version_id_marker or '')}</VersionIdMarker>{following}"
        f"<MaxKeys>{parameters.page.keys_max}</MaxKeys>"
        f"{_optional('Delimiter', text(parameters.delimiter))}"
        f"{_optional('EncodingType', 'url' if parameters.encoding else '')}"
        f"<IsTruncated>{_flag(listing.truncated)}</IsTruncated>"
        f"{versions}{_write_prefixes(listing.prefixes, name)}</ListVersionsResult>"
    ).encode()


def render_list_buckets(
    owner: Owner, buckets: Iterable[tuple[str, int, str]], *, prefix: str = "", token: str = ""
) -> bytes:
    """ListAllMyBucketsResult of (name, created unix ms, region or empty); ``token`` continues the list."""
    entries = "".join(
        [
            f"<Bucket><Name>{escape_text(name)}</Name><CreationDate>{format_iso(created_ms)}</CreationDate>"
            f"{_optional('BucketRegion', escape_text(region))}</Bucket>"
            for name, created_ms, region in buckets
        ]
    )
    return (
        f"{_HEAD}<ListAllMyBucketsResult{_XMLNS}>{_write_owner(lambda _: owner, {}, '')}<Buckets>{entries}</Buckets>"
        f"{_optional('ContinuationToken', token)}{_optional('Prefix', escape_text(prefix))}</ListAllMyBucketsResult>"
    ).encode()


def render_location(region: str) -> bytes:
    """LocationConstraint; empty for us-east-1, as AWS has it."""
    text = "" if region == "us-east-1" else escape_text(region)
    return f"{_HEAD}<LocationConstraint{_XMLNS}>{text}</LocationConstraint>".encode()


def render_versioning(status: str) -> bytes:
    """VersioningConfiguration; ``status`` "", "Enabled" or "Suspended"."""
    return f"{_HEAD}<VersioningConfiguration{_XMLNS}>{_optional('Status', status)}</VersioningConfiguration>".encode()


def _write_checksums(checksums: Mapping[str, str], kind: str = "") -> str:
    """Checksum elements of an answer about one object or part."""
    values = [f"<{ALGORITHMS[name].element}>{text}</{ALGORITHMS[name].element}>" for name, text in checksums.items()]
    return "".join(values) + (_optional("ChecksumType", kind) if checksums else "")


def render_copy(etag: str, modified_ms: int, checksums: Mapping[str, str], kind: str, *, part: bool = False) -> bytes:
    """CopyObjectResult, or CopyPartResult."""
    tag = "CopyPartResult" if part else "CopyObjectResult"
    return (
        f"{_HEAD}<{tag}{_XMLNS}><LastModified>{format_iso(modified_ms)}</LastModified>"
        f"<ETag>&quot;{etag}&quot;</ETag>{_write_checksums(checksums, '' if part else kind)}</{tag}>"
    ).encode()


def render_create_upload(bucket: str, key: bytes, upload_id: str) -> bytes:
    """InitiateMultipartUploadResult."""
    return (
        f"{_HEAD}<InitiateMultipartUploadResult{_XMLNS}><Bucket>{escape_text(bucket)}</Bucket>"
        f"<Key>{_write_key(key)}</Key><UploadId>{escape_text(upload_id)}</UploadId></InitiateMultipartUploadResult>"
    ).encode()


def render_complete_upload(
    location: str, bucket: str, key: bytes, etag: str, checksums: Mapping[str, str], kind: str
) -> bytes:
    """CompleteMultipartUploadResult."""
    return (
        f"{_HEAD}<CompleteMultipartUploadResult{_XMLNS}><Location>{escape_text(location)}</Location>"
        f"<Bucket>{escape_text(bucket)}</Bucket><Key>{_write_key(key)}</Key><ETag>&quot;{etag}&quot;</ETag>"
        f"{_write_checksums(checksums, kind)}</CompleteMultipartUploadResult>"
    ).encode()


class PartFields(NamedTuple):
    """A part in ListParts."""

    number: int
    size: int
    etag: str
    modified_ms: int
    checksums: Mapping[str, str]


class UploadFields(NamedTuple):
    """An open upload in ListMultipartUploads and ListParts; ``owner`` is a user id."""

    key: bytes
    id: str
    owner: str
    initiated_ms: int
    storage_class: str = "STANDARD"
    checksum_algorithm: str = ""
    checksum_type: str = ""


def _write_people(upload: UploadFields, owners: Owners, initiators: dict[str, str], owned: dict[str, str]) -> str:
    """Initiator and Owner: with Skerry always the same user."""
    return _write_owner(owners, initiators, upload.owner, "Initiator") + _write_owner(owners, owned, upload.owner)


def render_list_parts(
    bucket: str,
    upload: UploadFields,
    parts: list[PartFields],
    owners: Owners,
    *,
    after: int,
    parts_max: int,
    truncated: bool,
    encoding: bool = False,
) -> bytes:
    """ListPartsResult."""
    kinds = f"{upload.checksum_algorithm}:{upload.checksum_type}" if upload.checksum_algorithm else ""
    entries = "".join(
        [
            f"<Part><PartNumber>{part.number}</PartNumber><LastModified>{format_iso(part.modified_ms)}</LastModified>"
            f"<ETag>&quot;{part.etag}&quot;</ETag><Size>{part.size}</Size>{_write_checksums(part.checksums)}</Part>"
            for part in parts
        ]
    )
    return (
        f"{_HEAD}<ListPartsResult{_XMLNS}><Bucket>{escape_text(bucket)}</Bucket>"
        f"<Key>{_namer(encoding)(upload.key)}</Key><UploadId>{escape_text(upload.id)}</UploadId>"
        f"{_write_people(upload, owners, {}, {})}<StorageClass>{upload.storage_class}</StorageClass>"
        f"{_write_checksum_kind({}, kinds)}<PartNumberMarker>{after}</PartNumberMarker>"
        f"<NextPartNumberMarker>{parts[-1].number if parts else 0}</NextPartNumberMarker>"
        f"<MaxParts>{parts_max}</MaxParts>{_optional('EncodingType', 'url' if encoding else '')}"
        f"<IsTruncated>{_flag(truncated)}</IsTruncated>{entries}</ListPartsResult>"
    ).encode()


def render_list_uploads(
    bucket: str,
    parameters: ListUploadsParameters,
    uploads: list[UploadFields],
    prefixes: list[bytes],
    owners: Owners,
    *,
    truncated: bool,
    next_key: bytes = b"",
    next_id: str = "",
) -> bytes:
    """ListMultipartUploadsResult."""
    name, text = _namer(parameters.encoding), _texter(parameters.encoding)
    initiators: dict[str, str] = {}
    owned: dict[str, str] = {}
    entries = []
    for upload in uploads:
        kinds = f"{upload.checksum_algorithm}:{upload.checksum_type}" if upload.checksum_algorithm else ""
        entries.append(
            f"<Upload><Key>{name(upload.key)}</Key><UploadId>{escape_text(upload.id)}</UploadId>"
            f"{_write_people(upload, owners, initiators, owned)}<StorageClass>{upload.storage_class}</StorageClass>"
            f"<Initiated>{format_iso(upload.initiated_ms)}</Initiated>{_write_checksum_kind({}, kinds)}</Upload>"
        )
    return (
        f"{_HEAD}<ListMultipartUploadsResult{_XMLNS}><Bucket>{escape_text(bucket)}</Bucket>"
        f"<KeyMarker>{text(parameters.key_marker)}</KeyMarker>"
        f"<UploadIdMarker>{escape_text(parameters.upload_id_marker)}</UploadIdMarker>"
        f"<NextKeyMarker>{name(next_key)}</NextKeyMarker>"
        f"<NextUploadIdMarker>{escape_text(next_id)}</NextUploadIdMarker>"
        f"<Prefix>{text(parameters.prefix)}</Prefix>{_optional('Delimiter', text(parameters.delimiter))}"
        f"<MaxUploads>{parameters.uploads_max}</MaxUploads>"
        f"{_optional('EncodingType', 'url' if parameters.encoding else '')}"
        f"<IsTruncated>{_flag(truncated)}</IsTruncated>{''.join(entries)}"
        f"{_write_prefixes(prefixes, name)}</ListMultipartUploadsResult>"
    ).encode()
