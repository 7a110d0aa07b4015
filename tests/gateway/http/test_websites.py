"""Websites as a browser sees them, over every kind of store."""

import json

import pytest
from botocore.exceptions import ClientError

from gateway.http.settings import HttpSettings
from tests.gateway.http.raw import Raw, build
from tests.gateway.http.server import Server
from tests.gateway.http.stores import KINDS, opener

SITE = {
    "IndexDocument": {"Suffix": "index.html"},
    "ErrorDocument": {"Key": "error.html"},
    "RoutingRules": [
        {"Condition": {"KeyPrefixEquals": "old/"}, "Redirect": {"ReplaceKeyPrefixWith": "new/"}},
        {
            "Condition": {"KeyPrefixEquals": "else/", "HttpErrorCodeReturnedEquals": "404"},
            "Redirect": {"HostName": "else.example", "HttpRedirectCode": "302", "ReplaceKeyWith": "lost"},
        },
    ],
}
PUBLIC = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::site"},
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::site/*"},
        {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::site/secret*"},
    ],
}
PAGES = {"index.html": b"home", "docs/index.html": b"docs", "page": b"page", "error.html": b"oops", "secret": b"x"}


@pytest.fixture(scope="module", params=KINDS)
def server(request, tmp_path_factory):
    settings = HttpSettings(website_domains=("web.test",))
    with Server(opener(request.param, tmp_path_factory.mktemp("data")), settings) as running:
        client = running.client()
        client.create_bucket(Bucket="site")
        client.delete_public_access_block(Bucket="site")
        client.put_bucket_policy(Bucket="site", Policy=json.dumps(PUBLIC))
        for key, body in PAGES.items():
            client.put_object(Bucket="site", Key=key, Body=body, ContentType="text/html")
        client.put_object(Bucket="site", Key="moved", WebsiteRedirectLocation="/page", Body=b"")
        client.put_object(Bucket="site", Key="big", Body=b"b" * 3_000_000)
        client.close()
        yield running


@pytest.fixture
def s3(server):
    client = server.client()
    client.put_bucket_website(Bucket="site", WebsiteConfiguration=SITE)
    yield client
    client.close()


@pytest.fixture
def browse(server, s3):
    raw = Raw(server.port)

    def get(path, method="GET", host="site.web.test:80", **headers):
        lines = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return raw.send(build(method, path, lines), method)

    return get


def test_kept_and_removed(s3):
    assert {name: s3.get_bucket_website(Bucket="site")[name] for name in SITE} == SITE
    s3.delete_bucket_website(Bucket="site")
    with pytest.raises(ClientError) as caught:
        s3.get_bucket_website(Bucket="site")
    assert caught.value.response["Error"]["Code"] == "NoSuchWebsiteConfiguration"


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/", 200, b"home"),
        ("/?x=1", 200, b"home"),
        ("/index.html", 200, b"home"),
        ("/docs/", 200, b"docs"),
        ("/page", 200, b"page"),
        ("/p%61ge?versionId=null&acl", 200, b"page"),
        ("/absent", 404, b"oops"),
        ("/absent/", 404, b"oops"),
        ("/secret", 403, b"oops"),
        ("//", 404, b"oops"),
    ],
)
def test_pages(browse, path, status, body):
    answer = browse(path)
    assert (answer.status, answer.body) == (status, body)
    assert answer.headers["content-type"] == "text/html"
    head = browse(path, "HEAD")
    assert (head.status, head.body) == (status, b"")
    if status != 200:
        assert answer.headers["x-amz-error-code"] == ("NoSuchKey" if status == 404 else "AccessDenied")


@pytest.mark.parametrize(
    ("path", "status", "location"),
    [
        ("/docs", 302, "/docs/"),
        ("/moved", 301, "/page"),
        ("/old/a%20b", 301, "http://site.web.test:80/new/a%20b"),
        ("/else/a", 302, "http://else.example/lost"),
    ],
)
def test_redirects(browse, path, status, location):
    for method in ("GET", "HEAD"):
        answer = browse(path, method)
        assert (answer.status, answer.headers["location"], answer.body) == (status, location, b"")


def test_ranges_and_preconditions(browse):
    assert browse("/page", range="bytes=1-2").body == b"ag"
    assert browse("/page", range="bytes=9-").status == 416
    etag = browse("/page").headers["etag"]
    assert browse("/page", if_none_match=etag).status == 304
    assert browse("/page", if_match='"else"').status == 412
    assert len(browse("/big").body) == 3_000_000


def test_only_get_and_head(browse):
    for method in ("PUT", "POST", "DELETE", "PATCH"):
        answer = browse("/page", method)
        assert answer.status == 405
        assert answer.headers["content-type"].startswith("text/html")
    assert browse("/page").body == b"page"


def test_pages_of_ours(browse, s3):
    s3.put_bucket_website(Bucket="site", WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}})
    answer = browse("/a<b>")
    assert answer.status == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert b"<li>Key: a&lt;b&gt;</li>" in answer.body
    config = {"IndexDocument": {"Suffix": "index.html"}, "ErrorDocument": {"Key": "not-there"}}
    s3.put_bucket_website(Bucket="site", WebsiteConfiguration=config)
    assert b"Custom Error Document" in browse("/absent").body
    assert browse("/", host="nobody.web.test").status == 404
    s3.delete_bucket_website(Bucket="site")
    answer = browse("/")
    assert (answer.status, answer.headers["x-amz-error-code"]) == (404, "NoSuchWebsiteConfiguration")


def test_everything_elsewhere(browse, s3):
    config = {"RedirectAllRequestsTo": {"HostName": "new.example", "Protocol": "https"}}
    s3.put_bucket_website(Bucket="site", WebsiteConfiguration=config)
    answer = browse("/a/b%20c?q=1")
    assert (answer.status, answer.headers["location"]) == (301, "https://new.example/a/b%20c?q=1")


def test_cross_origin_rules_hold_for_websites(browse, s3):
    rules = [{"AllowedOrigins": ["*"], "AllowedMethods": ["GET"]}]
    s3.put_bucket_cors(Bucket="site", CORSConfiguration={"CORSRules": rules})
    for path in ("/page", "/absent", "/big", "/docs"):
        assert browse(path, origin="http://x").headers["access-control-allow-origin"] == "*"
    answer = browse("/page", "OPTIONS", origin="http://x", access_control_request_method="GET")
    assert answer.status == 200
    s3.delete_bucket_cors(Bucket="site")
