"""Secrets stay where they belong: a site is driven through what it does and what fails, then everything it says and
leaves behind is searched for every secret that was in play.

Searched: its log at level debug with the access log on, /metrics, ``status``, error bodies, argument lists, the
environment of its children, and every file of its data directory but those that keep secrets (which are 0600).
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import socket
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from gateway.cli.core_dumps import forbid_core_dumps
from tests.support.net import wait_until
from tests.support.site import CloudSettings, Site

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
CUSTOMER_KEY = bytes(range(100, 132))
CLOUD_SECRET = "cloud-secret-that-nobody-may-see-0001"
LOGGED = {"server": {"access_log": True}, "log": {"level": "debug"}}
KEEPERS = {"keys/realm.key", "root.credentials"}


class Play:
    """A site and its cloud, and every secret that came up."""

    def __init__(self, directory: Path) -> None:
        self.far = Site(directory / "far", "far", access_key="CLOUDKEY0001", secret_key=CLOUD_SECRET)
        self.directory = directory
        self.secrets: dict[str, bytes] = {}
        self.errors: list[bytes] = []

    def keep(self, name: str, secret: str | bytes) -> None:
        """A secret to search for."""
        self.secrets[name] = secret.encode() if isinstance(secret, str) else secret

    def ask(self, call: Any) -> Any:
        """What may be refused; the refusal is searched, too."""
        try:
            return call()
        except ClientError as error:
            self.errors.append(repr(error.response).encode())
        except BotoCoreError:
            pass
        return None

    def fetch(self, url: str, headers: dict[str, str] | None = None) -> bytes:
        """A plain request; its body, whatever the status."""
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=20) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            self.errors.append(error.read())
            return b""


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Play, Site]]:
    play = Play(tmp_path_factory.mktemp("secrets"))
    with play.far:
        play.far.client().create_bucket(Bucket="realm")
        cloud = CloudSettings(play.far.endpoint, "realm", play.far.access_key, CLOUD_SECRET)
        site = Site(play.directory / "site", "north", cloud, settings=LOGGED, forked=False)
        site.process = None
        previous = os.umask(0o022)  # what an operator's shell has
        try:
            site.start()
        finally:
            os.umask(previous)
        try:
            do_everything(play, site)
            yield play, site
        finally:
            site.stop()


def do_everything(play: Play, site: Site) -> None:
    """Requests that work, requests that do not, commands, a cloud that goes away."""
    play.keep("root secret", site.secret_key)
    play.keep("cloud secret", CLOUD_SECRET)
    play.keep("realm key", max((site.data / "keys" / "realm.key").read_text().split(), key=len))
    client = site.client()
    client.create_bucket(Bucket="box")
    client.put_object(Bucket="box", Key="k", Body=b"x" * 300_000)
    _use_sessions(play, site)
    _use_customer_keys(play, client)
    _use_presigned(play, site, client)
    _be_refused(play, site)
    site.run("user", "add", "somebody", "--access-key", "SOMEBODY0001", "--secret-key", "somebodys-secret-00000001")
    play.keep("secret given to a command", "somebodys-secret-00000001")
    wait_until(lambda: site.status()["backlog_changes"] == 0, "all is in the cloud", 60)
    play.far.stop()
    client.put_object(Bucket="box", Key="behind", Body=b"y" * 100_000)
    wait_until(lambda: not site.status()["safe_to_lose"], "the cloud is missed", 60)
    play.far.start()
    client.close()


def _use_sessions(play: Play, site: Site) -> None:
    common: dict[str, Any] = {
        "endpoint_url": site.endpoint,
        "aws_access_key_id": site.access_key,
        "aws_secret_access_key": site.secret_key,
        "region_name": "us-east-1",
    }
    given = boto3.client("sts", **common).get_session_token()["Credentials"]
    play.keep("session secret", given["SecretAccessKey"])
    play.keep("session token", given["SessionToken"])
    iam = boto3.client("iam", **common)
    iam.create_user(UserName="user")
    made = iam.create_access_key(UserName="user")["AccessKey"]
    play.keep("secret of a user", made["SecretAccessKey"])
    for token in (given["SessionToken"], given["SessionToken"][:-4] + "AAAA"):
        session = boto3.client(
            "s3",
            endpoint_url=site.endpoint,
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=token,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )
        play.ask(lambda session=session: session.list_objects_v2(Bucket="box"))
        play.ask(lambda session=session: session.get_object(Bucket="box", Key="nothing"))


def _use_customer_keys(play: Play, client: Any) -> None:
    play.keep("customer's key", CUSTOMER_KEY)
    play.keep("customer's key, as sent", base64.b64encode(CUSTOMER_KEY))
    play.keep("customer's key, in hex", CUSTOMER_KEY.hex())
    mine = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": CUSTOMER_KEY}
    client.put_object(Bucket="box", Key="sealed", Body=b"z" * 200_000, **mine)
    assert client.get_object(Bucket="box", Key="sealed", **mine)["Body"].read() == b"z" * 200_000
    wrong = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": bytes(32)}
    play.ask(lambda: client.get_object(Bucket="box", Key="sealed", **wrong))
    play.ask(lambda: client.get_object(Bucket="box", Key="sealed"))
    play.ask(lambda: client.get_object(Bucket="box", Key="absent", **mine))


def _use_presigned(play: Play, site: Site, client: Any) -> None:
    signer = boto3.client(
        "s3",
        endpoint_url=site.endpoint,
        aws_access_key_id=site.access_key,
        aws_secret_access_key=site.secret_key,
        region_name="us-east-1",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    for key in ("k", "absent"):
        url = signer.generate_presigned_url("get_object", Params={"Bucket": "box", "Key": key})
        signature = re.search("X-Amz-Signature=([0-9a-f]{64})", url)
        assert signature is not None
        play.keep(f"presigned signature of {key}", signature[1])
        play.fetch(url)
        place = ("127.0.0.1", site.port)
        with contextlib.suppress(ConnectionError), socket.create_connection(place, 20) as connection:
            connection.sendall(f"GET {url}&{'x' * 70_000} HTTP/1.1\r\nhost: a\r\n\r\n".encode())  # no parser takes it
            connection.recv(10_000)
    old = client.generate_presigned_url("get_object", Params={"Bucket": "box", "Key": "k"})
    signature = re.search("Signature=([^&]+)", old)
    assert signature is not None
    play.keep("presigned signature, old kind", signature[1])
    play.fetch(old)


def _be_refused(play: Play, site: Site) -> None:
    wrong = boto3.client(
        "s3",
        endpoint_url=site.endpoint,
        aws_access_key_id=site.access_key,
        aws_secret_access_key="not-the-secret-that-is-right-0001",
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )
    play.keep("wrong secret", "not-the-secret-that-is-right-0001")
    play.ask(lambda: wrong.put_object(Bucket="box", Key="k", Body=b"x"))
    play.ask(lambda: site.client().put_object(Bucket="box", Key="k", Body=b"x", ContentMD5="AAAA"))
    play.fetch(f"{site.endpoint}/box/%zz")


def family(site: Site) -> list[int]:
    """The supervisor and its children."""
    assert site.process is not None
    pid = site.process.pid
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def find_in(play: Play, data: bytes, but: tuple[str, ...] = ()) -> list[str]:
    """Names of the secrets that occur."""
    return [name for name, secret in play.secrets.items() if secret in data and name not in but]


def test_no_secret_is_logged_counted_told_or_answered(play: tuple[Play, Site]) -> None:
    told, site = play
    assert len(told.secrets) >= 12
    assert min(map(len, told.secrets.values())) >= 20
    said = (site.directory / "server.log").read_bytes()
    assert b'"operation": "GetObject"' in said, "the access log is on"
    assert find_in(told, said) == []
    assert find_in(told, told.fetch(f"http://127.0.0.1:{site.admin_port}/metrics")) == []
    assert find_in(told, site.run("status").stdout.encode() + site.run("status", "--json").stdout.encode()) == []
    assert len(told.errors) >= 8
    sent = tuple(name for name in told.secrets if "signature" in name)  # AWS shows a refused client its own, too
    assert find_in(told, b"".join(told.errors), sent) == []


def test_no_secret_is_an_argument_or_a_childs_variable(play: tuple[Play, Site]) -> None:
    told, site = play
    supervisor, *children = family(site)
    assert len(children) >= 2
    for pid in (supervisor, *children):
        for name in ("cmdline", "comm"):
            assert find_in(told, Path(f"/proc/{pid}/{name}").read_bytes()) == []
    for pid in children:
        if os.access(f"/proc/{pid}/environ", os.R_OK):  # not even readable, but for root
            assert find_in(told, Path(f"/proc/{pid}/environ").read_bytes()) == []


def test_files_are_their_owners_alone_and_only_two_keep_secrets(play: tuple[Play, Site]) -> None:
    told, site = play
    count = 0
    for path in [site.data, *site.data.rglob("*")]:
        with contextlib.suppress(FileNotFoundError):
            mode = stat.S_IMODE(path.lstat().st_mode)
            assert mode == (0o700 if path.is_dir() else 0o600), (str(path.relative_to(site.data)), oct(mode))
            name = str(path.relative_to(site.data))
            if path.is_file() and name not in KEEPERS and not name.startswith("index/"):
                assert find_in(told, path.read_bytes()) == [], name
                count += 1
    assert count >= 8


def test_no_process_leaves_a_core_file(play: tuple[Play, Site]) -> None:
    _, site = play
    for pid in family(site):
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"Max core file size +0 ", limits), limits
        # Of an undumpable process /proc shows root as the owner, and of a dumpable one its user.
        status = Path(f"/proc/{pid}/environ").stat()
        assert os.getuid() == 0 or status.st_uid == 0


def test_undumpable_is_what_it_says(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        import ctypes

        forbid_core_dumps()
        os.write(writing, b"%d" % ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))  # PR_GET_DUMPABLE
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "0"
    os.waitpid(child, 0)
