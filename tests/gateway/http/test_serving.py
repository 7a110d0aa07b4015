"""Serving as such: exactly one winner among many, TLS with reload, graceful stop, metrics and the access log."""

import asyncio
import contextlib
import datetime
import json
import logging
import os
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.http.metrics import to_families
from gateway.http.settings import HttpSettings
from gateway.http.tls import BadCertificate, make_tls_context, reload_certificate
from tests.gateway.http.raw import Raw, build, read_answer
from tests.gateway.http.server import Server
from tests.gateway.http.stores import KINDS, opener


@pytest.mark.parametrize("kind", KINDS)
def test_one_winner_among_many_creators(kind, tmp_path):
    with Server(opener(kind, tmp_path)) as server:
        clients = [server.client() for _ in range(8)]
        clients[0].create_bucket(Bucket="race")
        won = []

        def create(number):
            for key in range(10):
                with contextlib.suppress(clients[number].exceptions.ClientError):
                    clients[number].put_object(Bucket="race", Key=str(key), Body=str(number).encode(), IfNoneMatch="*")
                    won.append((key, number))

        threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(key for key, _ in won) == list(range(10))
        for key, number in won:
            assert clients[0].get_object(Bucket="race", Key=str(key))["Body"].read() == str(number).encode()
        for client in clients:
            client.close()


def make_certificate(directory, name):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    paths = directory / f"{name}.crt", directory / f"{name}.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


def name_of_server(port):
    pem = ssl.get_server_certificate(("127.0.0.1", port))
    return x509.load_pem_x509_certificate(pem.encode()).subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
@pytest.mark.parametrize("size", [10, 100_000, 3 << 20])
def test_https_with_trailers(tmp_path, size):
    """Over https botocore sends its checksums as trailers of unsigned chunks."""
    context = make_tls_context(*make_certificate(tmp_path, "one"))
    data = os.urandom(size)
    with Server(opener("real", tmp_path), ssl_context=context) as server:
        client = server.client()
        client.create_bucket(Bucket="tls")
        client.put_object(Bucket="tls", Key="k", Body=data)
        assert client.get_object(Bucket="tls", Key="k")["Body"].read() == data
        client.close()


def test_a_certificate_is_read_again(tmp_path):
    one, two = make_certificate(tmp_path, "one"), make_certificate(tmp_path, "two")
    context = make_tls_context(*one)
    with Server(opener("memory", tmp_path), ssl_context=context) as server:
        assert name_of_server(server.port) == "one"
        reload_certificate(context, *two)
        assert name_of_server(server.port) == "two"
        with pytest.raises(BadCertificate):
            reload_certificate(context, one[0], two[1])
        with pytest.raises(BadCertificate):
            reload_certificate(context, tmp_path / "absent", two[1])
        assert name_of_server(server.port) == "two"


def test_a_stop_lets_requests_in_flight_finish(tmp_path):
    server = Server(opener("real", tmp_path))
    with server:
        client = server.client()
        client.create_bucket(Bucket="raw")
        client.close()
        raw = Raw(server.port)
        connection = raw.connect()
        headers = raw.signed_headers("PUT", "/raw/k", headers={"expect": "100-continue", "content-length": "4"})
        connection.sendall(build("PUT", "/raw/k", headers))
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        with raw.connect() as idle:
            idle.sendall(build("GET", "/", {"host": "a"}))
            assert read_answer(idle).status == 403  # now it is taken, and idle
            server.stop()
            assert idle.recv(1) == b""  # closed: the stop is under way, and the upload still takes its body
            connection.sendall(b"data")
            answer = read_answer(connection)
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert connection.recv(1) == b""
        connection.close()


def test_metrics_and_the_access_log(tmp_path, caplog):
    with (
        caplog.at_level(logging.INFO, "skerry.access"),
        Server(opener("memory", tmp_path), HttpSettings(access_log=True)) as server,
    ):
        client = server.client()
        client.create_bucket(Bucket="raw")
        client.put_object(Bucket="raw", Key="k", Body=b"12345")
        client.get_object(Bucket="raw", Key="k")["Body"].read()
        client.close()
        raw = Raw(server.port)
        query = raw.presigned_query("GET", "/raw/absent")
        raw.send(build("GET", f"/raw/absent?{query}", {"host": raw.host}))
        samples = {
            (sample.name, *sample.labels.values()): sample.value
            for family in to_families(server.metrics.numbers())
            for sample in family.samples
        }
    assert samples["skerry_requests_total", "GetObject", "2xx"] == 1
    assert samples["skerry_requests_total", "GetObject", "4xx"] == 1
    assert samples["skerry_received_bytes_total", "PutObject"] == 5
    lines = [json.loads(record.message) for record in caplog.records if record.name == "skerry.access"]
    assert [(line["operation"], line["status"]) for line in lines] == [
        ("CreateBucket", 200),
        ("PutObject", 200),
        ("GetObject", 200),
        ("GetObject", 404),
    ]
    assert (lines[1]["received_bytes"], lines[2]["sent_bytes"], lines[3]["path"]) == (5, 5, "/raw/absent")
    assert "Signature" not in caplog.text


def test_memory_of_a_large_upload_is_flat(tmp_path):
    """Reading is paced by writing: a writer that stalls stops the socket, not after the whole body is in memory."""
    with Server(opener("memory", tmp_path)) as server:
        client = server.client()
        client.create_bucket(Bucket="raw")
        client.close()
        gate = asyncio.Event()
        taken = 0
        first = threading.Event()

        class Stalled:
            async def __aenter__(self):
                return self

            async def __aexit__(self, *exc):
                return None

            async def write(self, data):
                nonlocal taken
                taken += len(data)
                first.set()
                await gate.wait()

            async def finish(self):
                raise RuntimeError("never")

        server.store.writer = lambda **_: Stalled()
        raw = Raw(server.port)
        total = 256 << 20
        headers = raw.signed_headers("PUT", "/raw/k", headers={"content-length": str(total)})
        with raw.connect() as connection:
            connection.sendall(build("PUT", "/raw/k", headers))
            connection.settimeout(1.0)
            sent = 0
            try:
                while sent < total:
                    sent += connection.send(b"x" * (1 << 20))
            except TimeoutError:
                pass
            assert first.wait(5)
            assert taken < 4 << 20
            assert sent < 32 << 20  # the rest waits in the client, not in the server
        server.loop.call_soon_threadsafe(gate.set)
