"""Leaves out of requests to the cloud what nothing needs: a small round is mostly heads, and may be paid by the byte.

Stands between botocore's signature and the wire, for every client that ``cloud_s3`` makes. What goes are headers that
no signature covers (botocore never signs them): the SDK's telemetry (``User-Agent`` with the releases of everything
beneath, 200 bytes; ``amz-sdk-invocation-id``, ``amz-sdk-request``: 89), and, of bodies up to ``AT_ONCE_MAX``,
``Expect: 100-continue``, which costs an answer of 25 bytes and a round trip before the body may follow.

Measured on Ceph, one change of a KiB: the heads of a round (PUT batch, PUT head, DELETE the old head) from 2,900 to
2,021 bytes up and from 665 to 615 down (``make bench-delta WIRE=1``). Digests stay: buckets with Object Lock ask for
them even of an empty body.

Source: AWS S3 API reference, "Common request headers", and "PutObject" (Expect: the bucket may refuse by the head, so
that a large body is not sent in vain).
"""

from __future__ import annotations

from typing import Any, Final

USER_AGENT: Final = "skerry"
"""Who asks, in the cloud's access logs."""
AT_ONCE_MAX: Final = 64 << 10
"""A body up to this size follows its head at once: that costs less than to ask whether it may."""
_TELEMETRY: Final = ("amz-sdk-invocation-id", "amz-sdk-request")


def trim_heads(client: Any) -> None:
    """Let a client's requests leave without what nothing needs; whatever its operation."""
    client.meta.events.register("before-send.s3", _trim)


def _trim(request: Any, **_: Any) -> None:
    """botocore's event: a request that is signed and about to be sent. Returns None: it is sent as it is now."""
    headers = request.headers
    for name in _TELEMETRY:
        headers.pop(name, None)
    headers.pop("User-Agent", None)  # or the new value is sent beside the old
    headers["User-Agent"] = USER_AGENT
    if int(headers.get("Content-Length", AT_ONCE_MAX + 1)) <= AT_ONCE_MAX:
        headers.pop("Expect", None)
