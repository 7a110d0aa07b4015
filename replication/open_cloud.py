"""Builds the cloud of a configuration: client, bandwidth limits, single-writer rule, retries, one around the other."""

from __future__ import annotations

from replication.cloud_s3 import open_s3
from replication.conditional import SingleWriterCloud
from replication.ports import Cloud
from replication.retry import RetryingCloud
from replication.settings import CloudSettings
from replication.throttle import ByteRate, ThrottledCloud


async def open_cloud(settings: CloudSettings) -> RetryingCloud:
    """The cloud, ready to use; close it. Sends nothing yet. ``CloudRefused`` if the settings cannot work at all."""
    cloud: Cloud = await open_s3(settings)
    if settings.upload_bytes_per_s or settings.download_bytes_per_s:
        cloud = ThrottledCloud(cloud, ByteRate(settings.upload_bytes_per_s), ByteRate(settings.download_bytes_per_s))
    if settings.single_writer:
        cloud = SingleWriterCloud(cloud)
    return RetryingCloud(cloud, settings.retry)
