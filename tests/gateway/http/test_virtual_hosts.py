"""boto3 with the bucket in the host name. The server stands in as its proxy, so that no name server is needed."""

import boto3
import pytest
import urllib3
from botocore.config import Config

from gateway.http.settings import HttpSettings
from tests.gateway.http.raw import Raw, build
from tests.gateway.http.server import ACCESS_KEY, SECRET, Server
from tests.gateway.http.stores import opener


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    settings = HttpSettings(domains=("s3.site.test",), custom_domains=True)
    with Server(opener("memory", tmp_path_factory.mktemp("data")), settings) as running:
        yield running


@pytest.fixture(params=["localhost", "s3.site.test"])
def s3(server, request):
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{request.param}:{server.port}",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "virtual"}, proxies={"http": server.endpoint}),
    )
    yield client
    client.close()


@pytest.mark.parametrize("bucket", ["virtual", "with.dots"])
def test_every_address_is_by_host(server, s3, bucket):
    seen = []
    s3.meta.events.register("before-send.s3", lambda request, **_: seen.append(request.url))
    s3.create_bucket(Bucket=bucket)
    for key in ("k", "a//b", "c/..d", "ä +&%2F", "/lead"):
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode(), Metadata={"k": "v"})
        answer = s3.get_object(Bucket=bucket, Key=key)
        assert answer["Body"].read() == key.encode()
        answer["Body"].close()
        assert s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": key})
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 6
    assert sorted(server.keys(bucket)) == sorted(["k", "a//b", "c/..d", "ä +&%2F", "/lead", "copy"])
    made = s3.generate_presigned_post(bucket, "form")
    body, content_type = urllib3.encode_multipart_formdata([*made["fields"].items(), ("file", ("f", b"x"))])
    host = made["url"].split("/")[2]
    raw = Raw(server.port)
    answer = raw.send(build("POST", "/", {"host": host, "content-type": content_type}, body), "POST")
    assert (answer.status, answer.headers["location"]) == (204, f"http://{host}/form")
    for found in s3.list_objects_v2(Bucket=bucket)["Contents"]:
        s3.delete_object(Bucket=bucket, Key=found["Key"])
    s3.delete_bucket(Bucket=bucket)
    assert all(url.startswith(f"http://{bucket}.") for url in seen)


def test_a_bucket_by_its_own_name(server):
    client = server.client()
    client.create_bucket(Bucket="cdn.example.test")
    client.put_object(Bucket="cdn.example.test", Key="k", Body=b"x")
    raw = Raw(server.port)
    raw.host = "cdn.example.test"
    answer = raw.send(build("GET", "/k?" + raw.presigned_query("GET", "/k"), {"host": raw.host}))
    assert (answer.status, answer.body) == (200, b"x")
    raw.host = "s3.site.test"  # a domain that is listed is itself path style
    path = "/cdn.example.test/k"
    answer = raw.send(build("GET", f"{path}?{raw.presigned_query('GET', path)}", {"host": raw.host}))
    assert (answer.status, answer.body) == (200, b"x")
    client.delete_object(Bucket="cdn.example.test", Key="k")
    client.delete_bucket(Bucket="cdn.example.test")
    client.close()
