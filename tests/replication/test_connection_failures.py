"""A cloud that cannot even be asked is told of by its cause, and by the setting that mends it; never with a secret."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from replication.cloud_s3 import open_s3
from replication.connection_failures import describe_failure
from replication.ports import CloudUnreachable
from replication.settings import CloudSettings
from tests.replication.test_cloud_s3 import OddServer, answer
from tests.support.authority import Authority, make_authority

SECRET = "the-proxys-password"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("ca"), "s3.test")


async def complaint(url: str, **settings: Any) -> str:
    """What is said of a request to there."""
    keys = {"access_key": "AK", "secret_key": "s", "addressing": "path", "connect_timeout_s": 5.0}
    cloud = await open_s3(CloudSettings("b", endpoint_url=url, **keys, **settings))
    try:
        with pytest.raises(CloudUnreachable) as failed:
            await cloud.get("x")
    finally:
        await cloud.close()
    for secret in (SECRET, base64.b64encode(f"skerry:{SECRET}".encode()).decode()):
        assert secret not in str(failed.value)
    return str(failed.value)


class TlsServer:
    """Shakes hands with the authority's certificate, and says nothing more."""

    def __init__(self, authority: Authority) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(authority.chain, authority.key)

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(
            lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=self._context
        )
        return f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()


async def test_a_certificate_of_a_private_authority_names_the_setting(authority: Authority) -> None:
    async with TlsServer(authority) as url:
        assert "not trusted here (unable to get local issuer certificate): name who signed it in [cloud] ca_file" in (
            await complaint(url)
        )
        assert "trusted" not in await complaint(url, ca_file=authority.root)


async def test_a_file_of_authorities_that_is_none(authority: Authority, tmp_path: Path) -> None:
    async with TlsServer(authority) as url:
        assert "ca_file cannot be read: No such file" in await complaint(url, ca_file=tmp_path / "nothing.pem")
        assert "ca_file holds no certificates" in await complaint(url, ca_file=authority.key)


async def test_tls_where_there_is_none() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(400))
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        assert "to begin with http:" in await complaint(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (answer(407), 'proxy_url = "http://name:password@host:port"'),
        (answer(403), "answers 403 when asked to connect"),
    ],
)
async def test_a_proxy_that_refuses(scheme: str, reply: bytes, says: str) -> None:
    async with OddServer(reply) as proxy:
        proxy_url = proxy.url.replace("//", f"//skerry:{SECRET}@")
        said = await complaint(f"{scheme}://s3.test:1", proxy_url=proxy_url)
    assert says in said or (scheme == "http" and "403" in said)


async def test_nobody_at_the_address_of_proxy_or_cloud() -> None:
    proxy_url = f"http://skerry:{SECRET}@127.0.0.1:9"
    assert "nobody answers at [cloud] proxy_url (refused)" in await complaint("https://s3.test", proxy_url=proxy_url)
    assert "refused" in await complaint("http://127.0.0.1:9")


def test_a_name_that_is_not_known_and_what_nothing_is_known_of() -> None:
    unknown = EndpointConnectionError(endpoint_url="http://x", error=socket.gaierror(-2, "Name or service not known"))
    assert describe_failure(unknown) == "EndpointConnectionError: no such name is known here"
    assert describe_failure(OSError(5, "as it is")) == "OSError"
