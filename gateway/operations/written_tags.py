"""The tags a write gives its object: those of the request, if its sender may tag. Called by ``object_attributes``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.operations.context import Context, check_access
from gateway.s3.attributes import Attributes
from gateway.s3.tagging import encode_tags
from gateway.store.ports import Bucket, ReadView

TAGS: Final = "tags"
"""The attribute's name, in records and among version documents."""


def settle_tags(
    context: Context, view: ReadView, bucket: Bucket, key: bytes, asked: Attributes, extra: Mapping[str, bytes]
) -> Mapping[str, bytes]:
    """What the request's tags add to the record. Tagging while writing needs ``s3:PutObjectTagging``, too."""
    if not asked.tags:
        return {}
    check_access(context, view, bucket, "PutObjectTagging", key)
    return {TAGS: encode_tags(asked.tags)}
