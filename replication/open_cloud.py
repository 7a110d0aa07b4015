"""Builds the cloud of a configuration: client, what the link may carry, single-writer rule, retries, one around the
other.

The client's library is imported with the first cloud: it takes longer than all else, and a site without a cloud needs
none of it.
"""

from __future__ import annotations

from replication.conditional import SingleWriterCloud
from replication.link import Debts, Link, configured_link
from replication.ports import Cloud
from replication.retry import RetryingCloud
from replication.settings import CloudSettings, LinkSettings
from replication.throttle import Pacer, ThrottledCloud
from replication.trusted_time import SkewMeter


async def open_cloud(
    settings: CloudSettings, link: Link | None = None, debts: Debts | None = None, meter: SkewMeter | None = None
) -> RetryingCloud:
    """The cloud, ready to use; close it. Sends nothing yet. ``CloudRefused`` if the settings cannot work at all.

    ``link``: what it may carry (else what ``settings`` says); ``debts``: shared with the site's other processes;
    ``meter``: told the cloud's time with every answer.
    """
    from replication.cloud_s3 import open_s3

    link = link or configured_link(settings, LinkSettings())
    client = await open_s3(settings, meter)
    throttled = ThrottledCloud(client, Pacer(link, debts), least_s=settings.read_timeout_s)
    cloud: Cloud = SingleWriterCloud(throttled) if settings.single_writer else throttled
    return RetryingCloud(cloud, settings.retry, goodput=throttled.goodput)
