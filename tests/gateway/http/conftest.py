"""A gateway in this process over every kind of store, and raw requests to it."""

from collections.abc import Iterator

import pytest

from gateway.http.settings import HttpSettings
from gateway.operations.context import OperationSettings
from tests.gateway.http.raw import Raw
from tests.gateway.http.server import Server
from tests.gateway.http.stores import KINDS, opener


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = HttpSettings(operations=OperationSettings(part_bytes_min=1), body_idle_timeout_s=0.5)
    with Server(opener(request.param, tmp_path_factory.mktemp("data")), settings) as running:
        client = running.client()
        client.create_bucket(Bucket="raw")
        client.close()
        yield running


@pytest.fixture
def raw(server: Server) -> Raw:
    return Raw(server.port)
