"""boto3 against a gateway in this process, over the real store, and where stores differ over every kind of them."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from gateway.http.settings import HttpSettings
from gateway.operations.context import OperationSettings
from tests.compat.access_clients import Account, anonymous_client, make_account
from tests.compat.aws_clients import connecting
from tests.gateway.http.server import OTHER_KEY, OTHER_SECRET, Server
from tests.gateway.http.stores import KINDS, opener

PART_MIN = 64 << 10  # instead of 5 MiB, so that multipart tests need not move much
_names = (f"bucket-{number}" for number in itertools.count())
_identities = (f"name-{number}" for number in itertools.count())


OVER_EVERY_STORE = {
    "test_boto3_buckets",
    "test_boto3_edges",
    "test_boto3_lifecycle_pass",
    "test_boto3_listings",
    "test_boto3_multipart",
    "test_boto3_object_lock",
    "test_boto3_objects",
    "test_boto3_rename_append",
    "test_boto3_tagging",
    "test_boto3_versions",
}
"""What a store decides: shown of the one in memory, too, on which the tests of operations stand."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``server`` is over the real store, and over every kind where the module is about stores."""
    if "server" in metafunc.fixturenames and not hasattr(metafunc.module, "server"):
        kinds = KINDS if metafunc.module.__name__.rpartition(".")[2] in OVER_EVERY_STORE else ("real",)
        metafunc.parametrize("server", kinds, indirect=True, scope="module")


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = HttpSettings(operations=OperationSettings(part_bytes_min=PART_MIN))
    with Server(opener(request.param, tmp_path_factory.mktemp("data")), settings) as running:
        yield running


@pytest.fixture
def s3(server: Server) -> Iterator[Any]:
    client = server.client()
    yield client
    client.close()


@pytest.fixture
def other(server: Server) -> Iterator[Any]:
    client = server.client(OTHER_KEY, OTHER_SECRET)
    yield client
    client.close()


@pytest.fixture
def bucket(s3: Any) -> str:
    name = next(_names)
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def versioned(s3: Any, bucket: str) -> str:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


@pytest.fixture
def refused() -> Any:
    """``refused("NoSuchKey", 404, call, **arguments)``: the call fails so; returns the error's response."""

    def check(code: str, status: int, call: Any, **arguments: Any) -> dict[str, Any]:
        with pytest.raises(ClientError) as caught:
            call(**arguments)
        response = caught.value.response
        assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
        return response

    return check


@pytest.fixture(scope="module")
def ann(server: Server) -> Iterator[Account]:
    """An account: the owner of buckets in the tests of access."""
    account = make_account(server, "ann")
    yield account
    account.s3.close()


@pytest.fixture(scope="module")
def bob(server: Server) -> Iterator[Account]:
    """Another account."""
    account = make_account(server, "bob")
    yield account
    account.s3.close()


@pytest.fixture(scope="module")
def nobody(server: Server) -> Iterator[Any]:
    """A client without credentials."""
    client = anonymous_client(server)
    yield client
    client.close()


@pytest.fixture
def connect(server: Server) -> Iterator[Any]:
    """``connect("iam", key)``: a client of a service with a key (root's if none is given)."""
    with connecting(server) as connect:
        yield connect


@pytest.fixture
def iam(connect: Any) -> Any:
    """IAM, with the root's key."""
    return connect("iam")


@pytest.fixture
def account(connect: Any) -> str:
    """The id of the root's account."""
    return str(connect("sts").get_caller_identity()["Account"])


@pytest.fixture
def name() -> str:
    """A name for a user or a role, like no other."""
    return next(_identities)
