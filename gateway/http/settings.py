"""What the HTTP front is told: names, limits, deadlines. Made by the composition root from the configuration.

Bytes and seconds are in the names. Every limit exists so that no client can make a worker hold more than it should.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from gateway.operations.context import OperationSettings
from gateway.s3.ownership import ENFORCED

KIB: Final = 1 << 10
MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Settings of one worker's S3 listener."""

    region: str = "us-east-1"
    domains: tuple[str, ...] = ()  # names under which the bucket is the first label of Host
    website_domains: tuple[str, ...] = ()  # as domains, but for websites; one itself: the site of the bucket so named
    custom_domains: bool = False  # any other name in Host, with a dot, is the bucket of that name
    signature_v2_presigned: bool = True  # URLs as boto3 presigns them unless told otherwise
    signature_v2_forms: bool = True  # forms whose policy is signed with HMAC-SHA1, as old upload widgets do
    connections_max: int = 4096
    requests_max: int = 1024  # being answered at a time: more are told to slow down
    line_bytes_max: int = 32 * KIB  # request line, and any one header
    headers_max: int = 512
    header_timeout_s: float = 30.0  # from a request's first byte to the end of its headers
    keepalive_timeout_s: float = 75.0
    body_idle_timeout_s: float = 60.0  # without a byte of the body, or without the client taking one of the answer
    linger_timeout_s: float = 5.0  # for what is left of a body after an early answer
    drain_timeout_s: float = 30.0  # for requests in flight at a stop
    body_rate_min_bytes_s: int = 256  # of a body, over body_idle_timeout_s; slower ones are given up
    body_budget_bytes: int = 64 * MIB  # of bodies being read, and of answers, all requests of a worker together
    unsent_bytes_max: int = 48 * MIB  # of answers that clients do not take: those who stall longest are cut off
    document_bytes_max: int = 2 * MIB  # XML bodies: DeleteObjects and Complete are the large ones
    access_log: bool = False
    log_delivery_s: float = 300.0  # how long lines of logged buckets wait to become an object
    log_delivery_bytes: int = MIB  # and how many of them do not wait
    object_ownership_default: str = ENFORCED  # of buckets whose creator does not say
    public_access_block_default: bool = True  # new buckets block public access, as AWS's do
    operations: OperationSettings = field(default_factory=OperationSettings)

    def __post_init__(self) -> None:
        """The operations answer for the same region, and know what new buckets begin with."""
        operations = self.operations._replace(
            region=self.region,
            object_ownership_default=self.object_ownership_default,
            public_access_block_default=self.public_access_block_default,
        )
        object.__setattr__(self, "operations", operations)
