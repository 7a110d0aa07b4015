"""URLs that boto3 presigns with its defaults (version 2) and with version 4: served, narrow, and refused where told."""

from __future__ import annotations

import urllib.error
import urllib.request
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.http.settings import HttpSettings
from tests.gateway.http.server import SECRET, Server
from tests.gateway.http.stores import opener


def fetch(url: str, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(url, data=body, method=method)
    if body is not None:
        request.add_unredirected_header("Content-Type", "text/plain")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.fixture(params=[None, "s3v4"])
def presigner(server, request):
    client = server.client(**({"signature_version": request.param} if request.param else {}))
    yield client
    client.close()


def test_a_default_client_presigns_what_is_served(server, s3, bucket, presigner):
    place = {"Bucket": bucket, "Key": "a b/\u00fc+"}
    url = presigner.generate_presigned_url("put_object", Params={**place, "ContentType": "text/plain"})
    assert fetch(url, "PUT", b"sent by url") == (200, b"")
    url = presigner.generate_presigned_url("get_object", Params=place)
    assert fetch(url) == (200, b"sent by url")
    assert fetch(url.replace("/a%20b/", "/other/"))[0] == 403
    assert fetch(url, "DELETE")[0] == 403
    named = presigner.generate_presigned_url("get_object", Params={**place, "ResponseContentType": "text/html"})
    assert fetch(named) == (200, b"sent by url")
    assert fetch(named.replace("html", "css"))[0] == 403
    gone = presigner.generate_presigned_url("delete_object", Params=place)
    assert fetch(gone, "DELETE")[0] == 204
    assert server.keys(bucket) == []


def test_boto3_presigns_with_version_2_unless_told(s3, bucket):
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    assert "Signature" in parse_qs(urlsplit(url).query)


def test_what_version_2_does_not_sign_is_refused(s3, bucket):
    url = s3.generate_presigned_url("list_objects", Params={"Bucket": bucket})
    assert "prefix" not in url
    assert fetch(url.replace("encoding-type=url&", ""))[0] == 200
    assert fetch(url + "&prefix=secret/")[0] == 400
    assert fetch(url + "&acl")[0] in (400, 403)


def test_a_site_may_refuse_version_2(tmp_path):
    settings = HttpSettings(signature_v2_presigned=False)
    with Server(opener("memory", tmp_path), settings) as running:
        client = running.client()
        client.create_bucket(Bucket="strict")
        url = client.generate_presigned_url("get_object", Params={"Bucket": "strict", "Key": "k"})
        client.close()
        status, body = fetch(url)
        assert status == 400
        assert b"AWS4-HMAC-SHA256" in body
        assert SECRET.encode() not in body
