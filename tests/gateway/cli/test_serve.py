"""``skerry serve`` as an operator meets it: first start, health, signals, dying workers, a taken port, certificates."""

import contextlib
import datetime
import os
import signal
import socket
import ssl
import urllib.request
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.net import wait_until
from tests.support.site import Site, SiteFailed

pytestmark = pytest.mark.e2e


def processes_below(pid):
    """(pid, command line) of the children of a process."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [(int(child), Path(f"/proc/{child}/cmdline").read_bytes().decode()) for child in children]


def worker_pids(site):
    return [pid for pid, command in processes_below(site.process.pid) if "gateway.cli.worker" in command]


def fetch(site, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{site.admin_port}{path}", timeout=5) as answer:
        return answer.read().decode()


@pytest.fixture
def site(tmp_path):
    with Site(tmp_path / "site", "north", workers=2) as running:
        yield running


def test_the_first_start_shows_what_is_shown_once(tmp_path):
    site = Site(tmp_path / "site", "north")
    plain = {"SKERRY_ROOT_ACCESS_KEY": "", "SKERRY_ROOT_SECRET_KEY": ""}
    site.environment = plain
    with site:
        first = site.log
    assert first.count("Recovery key") == 1
    kept = (site.data / "root.credentials").read_text()
    secret = kept.split("aws_secret_access_key = ")[1].strip()
    assert secret in first
    (site.directory / "server.log").unlink()
    with site:
        second = site.log
    assert "is ready on" in second
    assert secret not in second
    assert "Recovery key" not in second


def test_nothing_secret_is_in_arguments_or_the_log(tmp_path):
    with Site(tmp_path / "site", "north") as site:
        commands = [command for _, command in processes_below(site.process.pid)]
        assert len(commands) == 2
        assert not any(site.secret_key in command for command in commands)
        assert site.secret_key not in site.log


def test_health_metrics_and_status(site):
    client = site.client()
    client.create_bucket(Bucket="bucket")
    client.put_object(Bucket="bucket", Key="k", Body=b"x" * 1000)
    assert fetch(site, "/health/live")
    assert '"ready": true' in fetch(site, "/health/ready")
    metrics = fetch(site, "/metrics")
    assert 'skerry_requests_total{operation="PutObject",status="2xx"} 1.0' in metrics
    status = site.status()
    assert f"skerry_backlog_changes {float(status['backlog_changes'])}" in metrics
    assert "skerry_safe_to_lose 0.0" in metrics


def test_a_user_added_beside_the_server_may_come_in_at_once(site):
    site.run("user", "add", "ada", "--access-key", "ADAKEY", "--secret-key", "ada-secret-1")
    root, ada = site.client(), Site.client(with_keys(site, "ADAKEY", "ada-secret-1"))
    root.create_bucket(Bucket="roots")
    ada.create_bucket(Bucket="adas")
    assert [bucket["Name"] for bucket in ada.list_buckets()["Buckets"]] == ["adas"]
    with pytest.raises(ada.exceptions.ClientError, match="AccessDenied"):
        ada.list_objects_v2(Bucket="roots")
    site.run("user", "disable", "ada")
    with pytest.raises(ada.exceptions.ClientError, match="InvalidAccessKeyId"):
        ada.list_buckets()


def with_keys(site, access_key, secret_key):
    other = object.__new__(Site)
    other.__dict__.update(site.__dict__, access_key=access_key, secret_key=secret_key)
    return other


def test_a_killed_worker_is_replaced_and_the_port_never_refuses(site):
    before = set(worker_pids(site))
    assert len(before) == 2
    os.kill(before.pop(), signal.SIGKILL)
    client = site.client(retries={"max_attempts": 3})
    client.create_bucket(Bucket="bucket")
    wait_until(lambda: len(worker_pids(site)) == 2, "two workers again")
    client.head_bucket(Bucket="bucket")


def test_a_killed_parent_takes_its_children_along(site):
    pids = [pid for pid, _ in processes_below(site.process.pid)]
    site.process.kill()
    site.process.wait()

    def all_gone():
        return not any(is_running(pid) for pid in pids)

    wait_until(all_gone, "no orphan is left")
    site.process = None
    site.start()


def is_running(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_cleanly(tmp_path, number):
    site = Site(tmp_path / "site", "north").start()
    process = site.process
    process.send_signal(number)
    assert process.wait(20) == 0
    site.process = None


def test_a_taken_port_is_told_and_nothing_is_made(tmp_path):
    site = Site(tmp_path / "site", "north")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", site.port))
        taken.listen()
        with pytest.raises(SiteFailed, match="cannot listen on"):
            site.start()
    assert not site.data.exists()


def test_unusable_root_credentials_are_told(tmp_path):
    site = Site(tmp_path / "site", "north", secret_key="short")
    with pytest.raises(SiteFailed, match="secret key has 8 to 256"):
        site.start()


def make_certificate(directory, name):
    """A self-signed pair of files; the certificate's serial number."""
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
    pem = serialization.Encoding.PEM
    (directory / "tls.crt").write_bytes(certificate.public_bytes(pem))
    (directory / "tls.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate.serial_number


def served_serial(site):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as plain, context.wrap_socket(plain) as tls:
        return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True)).serial_number


def test_certificates_are_read_again_without_a_restart(tmp_path):
    first = make_certificate(tmp_path, "first")
    files = {"tls_certificate_file": str(tmp_path / "tls.crt"), "tls_key_file": str(tmp_path / "tls.key")}
    with Site(tmp_path / "site", "north", settings={"server": files}) as site:
        assert served_serial(site) == first
        second = make_certificate(tmp_path, "second")
        site.process.send_signal(signal.SIGHUP)
        wait_until(lambda: served_serial(site) == second, "the new certificate is served")
        (tmp_path / "tls.crt").write_text("nonsense")
        site.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the old certificate stays in use" in site.log, "the bad certificate is told")
        assert served_serial(site) == second


def test_a_bad_certificate_is_told_before_anything_is_made(tmp_path):
    (tmp_path / "tls").write_text("nonsense")
    files = {"tls_certificate_file": str(tmp_path / "tls"), "tls_key_file": str(tmp_path / "tls")}
    site = Site(tmp_path / "site", "north", settings={"server": files})
    with pytest.raises(SiteFailed, match="certificate: "):
        site.start()
    assert not site.data.exists()
