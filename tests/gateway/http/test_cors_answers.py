"""Cross-origin rules at work: kept by boto3, asked for by browsers, on answers of every kind."""

import pytest
from botocore.exceptions import ClientError

from tests.gateway.http.raw import build

RULES = [
    {
        "AllowedOrigins": ["http://app.example"],
        "AllowedMethods": ["GET", "PUT"],
        "AllowedHeaders": ["x-amz-*"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 60,
    },
    {"ID": "all", "AllowedOrigins": ["*"], "AllowedMethods": ["GET"]},
]


@pytest.fixture
def s3(server):
    client = server.client()
    client.put_bucket_cors(Bucket="raw", CORSConfiguration={"CORSRules": RULES})
    yield client
    client.delete_bucket_cors(Bucket="raw")
    client.close()


def test_kept_and_removed(s3):
    assert s3.get_bucket_cors(Bucket="raw")["CORSRules"] == RULES
    s3.delete_bucket_cors(Bucket="raw")
    s3.delete_bucket_cors(Bucket="raw")
    with pytest.raises(ClientError) as caught:
        s3.get_bucket_cors(Bucket="raw")
    assert caught.value.response["Error"]["Code"] == "NoSuchCORSConfiguration"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    with pytest.raises(ClientError) as caught:
        s3.put_bucket_cors(Bucket="raw", CORSConfiguration={"CORSRules": [{**RULES[0], "AllowedMethods": ["PATCH"]}]})
    assert caught.value.response["Error"]["Code"] == "InvalidRequest"


@pytest.mark.parametrize("size", [0, 10, 100_000, 3 << 20])
def test_answers_to_an_origin_carry_the_rule(s3, raw, size):
    s3.put_object(Bucket="raw", Key="cors", Body=b"x" * size)
    headers = raw.signed_headers("GET", "/raw/cors")
    answer = raw.send(build("GET", "/raw/cors", {**headers, "origin": "http://app.example"}))
    assert (answer.status, len(answer.body)) == (200, size)
    assert answer.headers["access-control-allow-origin"] == "http://app.example"
    assert answer.headers["access-control-allow-methods"] == "GET, PUT"
    assert answer.headers["access-control-expose-headers"] == "ETag"
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "Origin" in answer.headers["vary"]
    answer = raw.send(build("GET", "/raw/cors", {**headers, "origin": "http://else"}))
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    answer = raw.send(build("GET", "/raw/cors", headers))
    assert not [name for name in answer.headers if name.startswith("access-control") or name == "vary"]
    s3.delete_object(Bucket="raw", Key="cors")


def test_errors_and_nobodys_requests_carry_it_too(s3, raw):
    head = {"host": raw.host, "origin": "http://app.example"}
    answer = raw.send(build("GET", "/raw/absent", head))
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (403, "http://app.example")
    query = raw.presigned_query("PUT", "/raw/absent")
    answer = raw.send(build("PUT", f"/raw/absent?{query}&x=1", head, b"x"))
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (403, "http://app.example")
    answer = raw.send(build("PATCH", "/raw/absent", {**head, "origin": "http://else"}))
    assert "access-control-allow-origin" not in answer.headers
    assert "Origin" in answer.headers["vary"]
    assert "vary" not in raw.send(build("GET", "/absent/absent", head)).headers


def test_preflights(s3, raw):
    head = {"host": raw.host, "origin": "http://app.example", "access-control-request-method": "PUT"}
    answer = raw.send(build("OPTIONS", "/raw/any", {**head, "access-control-request-headers": "X-Amz-Date"}))
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["access-control-allow-headers"] == "x-amz-date"
    assert answer.headers["access-control-max-age"] == "60"
    for path, change, status, code in (
        ("/raw/any", {"access-control-request-headers": "range"}, 403, "AccessForbidden"),
        ("/raw/any", {"origin": "http://else"}, 403, "AccessForbidden"),
        ("/raw", {"origin": "http://else"}, 403, "AccessForbidden"),
        ("/absent/any", {}, 403, "AccessForbidden"),
        ("/", {}, 403, "AccessForbidden"),
        ("/raw/any", {"access-control-request-method": "OPTIONS"}, 400, "BadRequest"),
        ("/raw/any", {"access-control-request-method": None}, 400, "BadRequest"),
        ("/raw/any", {"origin": None}, 400, "BadRequest"),
    ):
        lines = {name: value for name, value in {**head, **change}.items() if value is not None}
        answer = raw.send(build("OPTIONS", path, lines))
        assert (answer.status, answer.code) == (status, code), (path, change)
        assert "access-control-allow-origin" not in answer.headers
    s3.delete_bucket_cors(Bucket="raw")
    answer = raw.send(build("OPTIONS", "/raw/any", head))
    assert (answer.status, answer.code) == (403, "AccessForbidden")
    assert b"CORS is not enabled for this bucket." in answer.body
