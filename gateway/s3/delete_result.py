"""DeleteResult: what DeleteObjects answers, key by key. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from gateway.s3.errors import S3Error, escape_text

_HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'


class Deleted(NamedTuple):
    """One deleted entry of DeleteObjects. ``version_id``: as asked; ``marker_id``: of the marker made or removed."""

    key: str
    version_id: str | None = None
    marker_id: str | None = None


def _version(version_id: str | None) -> str:
    return f"<VersionId>{escape_text(version_id)}</VersionId>" if version_id else ""


def render_delete_objects(
    deleted: Iterable[Deleted], failed: Iterable[tuple[str, str | None, S3Error]], *, quiet: bool
) -> bytes:
    """DeleteResult; ``failed``: key, version id as asked, error. Quiet leaves out what went well."""
    out = []
    for entry in () if quiet else deleted:
        marker = ""
        if entry.marker_id is not None:
            marker = (
                "<DeleteMarker>true</DeleteMarker>"
                f"<DeleteMarkerVersionId>{escape_text(entry.marker_id)}</DeleteMarkerVersionId>"
            )
        out.append(f"<Deleted><Key>{escape_text(entry.key)}</Key>{_version(entry.version_id)}{marker}</Deleted>")
    for key, version_id, error in failed:
        out.append(
            f"<Error><Key>{escape_text(key)}</Key>{_version(version_id)}"
            f"<Code>{error.code}</Code><Message>{escape_text(error.text)}</Message></Error>"
        )
    return f"{_HEAD}{''.join(out)}</DeleteResult>".encode()
