"""Buckets on S3 servers, for tests: made with a plain client, outside the event loop."""

import botocore.session
from botocore.config import Config


def make_bucket(settings):
    client = botocore.session.get_session().create_client(
        "s3",
        region_name=settings.region,
        endpoint_url=settings.endpoint_url,
        aws_access_key_id=settings.access_key,
        aws_secret_access_key=settings.secret_key,
        config=Config(s3={"addressing_style": "path"}),
    )
    client.create_bucket(Bucket=settings.bucket)
    client.close()
