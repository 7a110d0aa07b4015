"""One cloud for the session; a world of the island's story for each module that asks."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.story import CI, Story
from tests.support.clouds import TestCloud, start_cloud
from tests.support.fault_proxy import FaultProxy
from tests.support.zygote import Zygote


@pytest.fixture(scope="module", autouse=True)
def forked(zygote: Zygote) -> None:
    """Processes without an exec: most of what these tests would take is imports."""


@pytest.fixture(scope="session")
def cloud() -> Iterator[TestCloud]:
    cloud = start_cloud()
    print(f"cloud: {cloud.kind}")
    yield cloud
    cloud.stop()


@pytest.fixture
def proxy(cloud: TestCloud) -> Iterator[FaultProxy]:
    with FaultProxy(cloud.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def story(cloud: TestCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    seed = secrets.randbits(32)
    print(f"seed of the story: {seed}")
    directory: Path = tmp_path_factory.mktemp("story")
    with FaultProxy(cloud.port) as proxy:
        story = Story(cloud, directory, CI, print, proxy, random.Random(seed))
        try:
            yield story
        finally:
            story.close()
