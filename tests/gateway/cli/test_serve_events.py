"""Notifications, access logs, KMS keys and customers' keys as an operator meets them: real processes, real webhooks."""

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.net import wait_until
from tests.support.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("zygote")]


@pytest.fixture
def hook():
    """A webhook: (its URL, the messages it took, the statuses it answers first)."""
    messages, statuses = queue.Queue(), queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = 200 if statuses.empty() else statuses.get()
            if status == 200:
                messages.put((self.headers["Authorization"], json.loads(body)))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", messages, statuses
    server.shutdown()
    thread.join()
    server.server_close()


def keys_told(messages, count):
    found = []
    while len(found) < count:
        _, message = messages.get(timeout=60)
        found += [record["s3"]["object"]["key"] for record in message.get("Records", [])]
    return found


def test_events_reach_a_webhook_and_survive_a_kill(tmp_path, hook):
    url, messages, statuses = hook
    settings = {"notifications": {"destinations": [f"orders={url}"], "authorization": ["orders=Bearer t0ken"]}}
    site = Site(tmp_path / "site", "north", settings=settings)
    with site:
        s3 = site.client()
        s3.create_bucket(Bucket="told")
        configuration = {"Id": "i", "QueueArn": "arn:aws:sqs:::orders", "Events": ["s3:ObjectCreated:*"]}
        s3.put_bucket_notification_configuration(
            Bucket="told", NotificationConfiguration={"QueueConfigurations": [configuration]}
        )
        authorization, message = messages.get(timeout=60)
        assert (authorization, message["Event"]) == ("Bearer t0ken", "s3:TestEvent")
        s3.put_object(Bucket="told", Key="one", Body=b"x")
        assert keys_told(messages, 1) == ["one"]
        statuses.put(503)
        s3.put_object(Bucket="told", Key="two", Body=b"x")
        site.kill()
    with site:
        s3 = site.client()
        s3.put_object(Bucket="told", Key="three", Body=b"x")
        told = keys_told(messages, 2)
        while told[-1] != "three":
            told += keys_told(messages, 1)
        assert set(told) >= {"two", "three"}
        assert "t0ken" not in site.log


def test_logs_are_delivered_at_a_stop(tmp_path):
    site = Site(tmp_path / "site", "north", workers=2, settings={"server": {"log_delivery_s": 3600.0}})
    with site:
        s3 = site.client()
        for name in ("logged", "logs"):
            s3.create_bucket(Bucket=name)
        enabled = {"LoggingEnabled": {"TargetBucket": "logs", "TargetPrefix": "l/"}}
        s3.put_bucket_logging(Bucket="logged", BucketLoggingStatus=enabled)
    with site:  # its workers know of the logging as soon as they run
        for number in range(20):
            site.client().put_object(Bucket="logged", Key=f"k{number}", Body=b"x")
    with site:
        s3 = site.client()
        bodies = [
            s3.get_object(Bucket="logs", Key=found["Key"])["Body"].read().decode()
            for found in s3.list_objects_v2(Bucket="logs")["Contents"]
        ]
        lines = "".join(bodies).splitlines()
        assert sum("REST.PUT.OBJECT" in line for line in lines) >= 18


def test_keys_for_kms(tmp_path):
    with Site(tmp_path / "site", "north", settings={"encryption": {"kms_create_keys": False}}) as site:
        s3 = site.client()
        s3.create_bucket(Bucket="sealed")
        sealed = {"Bucket": "sealed", "Key": "k", "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "invoices"}
        with pytest.raises(s3.exceptions.ClientError, match=r"KMS\.NotFoundException"):
            s3.put_object(**sealed, Body=b"x")
        created = json.loads(site.run("kms", "create", "invoices", "--json").stdout)
        assert (created["state"], created["arn"]) == ("Enabled", "arn:aws:kms:us-east-1:000000000000:key/invoices")
        assert s3.put_object(**sealed, Body=b"x")["SSEKMSKeyId"] == "invoices"  # as it was named
        assert s3.put_object(**sealed | {"SSEKMSKeyId": "alias/invoices"}, Body=b"x")["SSEKMSKeyId"] == created["arn"]
        site.run("kms", "disable", "alias/invoices")
        with pytest.raises(s3.exceptions.ClientError, match=r"KMS\.DisabledException"):
            s3.get_object(Bucket="sealed", Key="k")
        site.run("kms", "enable", created["arn"])
        assert s3.get_object(Bucket="sealed", Key="k")["Body"].read() == b"x"
        assert site.run("kms", "delete", "invoices", check=False).returncode == 3
        site.run("kms", "delete", "invoices", "--yes")
        assert "Deleted" in site.run("kms", "list").stdout
        with pytest.raises(s3.exceptions.ClientError, match=r"KMS\.KMSInvalidStateException"):
            s3.get_object(Bucket="sealed", Key="k")
        assert site.run("kms", "create", "invoices", check=False).returncode == 3
        assert site.run("kms", "disable", "absent", check=False).returncode == 3


def test_customers_keys_only_over_tls_where_the_site_says_so(tmp_path):
    with Site(tmp_path / "site", "north", settings={"encryption": {"customer_keys_over_http": False}}) as site:
        s3 = site.client()
        s3.create_bucket(Bucket="sealed")
        key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": bytes(32)}
        with pytest.raises(s3.exceptions.ClientError, match="secure connection"):
            s3.put_object(Bucket="sealed", Key="k", Body=b"x", **key)


def test_what_cannot_be_a_destination(tmp_path):
    site = Site(tmp_path / "site", "north", settings={"notifications": {"destinations": ["plant=amqp://host/topic"]}})
    done = site.run("config", "check", check=False)
    assert done.returncode != 0
    assert "must be a URL" in done.stdout + done.stderr
    wait_until(lambda: not site.data.exists(), "nothing was made")
