"""A cloud's client is made with its first request, and what cannot be used is told then, until it is mended."""

import pytest

from replication.open_cloud import DeferredCloud, open_cloud
from replication.ports import CloudRefused, CloudUnreachable
from replication.settings import CloudSettings


@pytest.fixture
def settings(tmp_path):
    return CloudSettings("b", endpoint_url="http://127.0.0.1:9", credentials_file=tmp_path / "credentials")


async def test_settings_that_cannot_work_are_told_by_the_first_request_or_at_once(settings):
    cloud = await open_cloud(settings)
    with pytest.raises(CloudRefused, match="credentials"):
        await cloud.get("x")
    await cloud.close()
    with pytest.raises(CloudRefused, match="credentials"):
        await open_cloud(settings, at_once=True)


async def test_it_connects_once_what_is_right_by_then(settings):
    cloud = DeferredCloud(settings)
    with pytest.raises(CloudRefused):
        await cloud.list("")
    settings.credentials_file.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    settings.credentials_file.chmod(0o600)
    with pytest.raises(CloudUnreachable):
        await cloud.list("")
    assert await cloud.connect() is await cloud.connect()
    await cloud.close()
