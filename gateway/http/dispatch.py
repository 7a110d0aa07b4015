"""Operation → handler: what Skerry does of S3. Whatever has no line here is ``NotImplemented`` by its name."""

from __future__ import annotations

from typing import Final

from gateway.http import (
    access_calls,
    attributes_calls,
    bucket_calls,
    configuration_calls,
    cors_calls,
    encryption_calls,
    form_calls,
    lifecycle_calls,
    lock_calls,
    logging_calls,
    multipart_calls,
    notification_calls,
    object_reads,
    object_writes,
    tagging_calls,
    website_calls,
)
from gateway.http.calls import CallHandler
from gateway.s3.routing import Operation as Op

_FAMILIES: Final = (
    access_calls.HANDLERS,
    attributes_calls.HANDLERS,
    bucket_calls.HANDLERS,
    configuration_calls.HANDLERS,
    cors_calls.HANDLERS,
    encryption_calls.HANDLERS,
    form_calls.HANDLERS,
    lifecycle_calls.HANDLERS,
    lock_calls.HANDLERS,
    logging_calls.HANDLERS,
    multipart_calls.HANDLERS,
    notification_calls.HANDLERS,
    object_reads.HANDLERS,
    object_writes.HANDLERS,
    tagging_calls.HANDLERS,
    website_calls.HANDLERS,
)
HANDLERS: Final[dict[Op, CallHandler]] = {operation: call for family in _FAMILIES for operation, call in family.items()}
assert len(HANDLERS) == sum(len(family) for family in _FAMILIES), "an operation is handled twice"

OWN_DOORS: Final = frozenset({Op.PostObject, Op.PreflightRequest})
"""Requests that are signed in their body or not at all: their handlers verify them themselves, or need nobody."""
