"""Forms and websites out of nonsense, against a running gateway: the answer is never a 500, and bodies are as told."""

import json
import os
import random

import pytest

from gateway.http.settings import HttpSettings
from tests.gateway.http.raw import Raw, build
from tests.gateway.http.server import Server
from tests.gateway.http.stores import opener
from tests.gateway.http.test_form_uploads import encode_form, sign_v2, sign_v4

REQUESTS = int(os.environ.get("SKERRY_FUZZ_REQUESTS", "400"))
NAMES = ["key", "acl", "tagging", "Content-Type", "Cache-Control", "Expires", "content-md5", "success_action_status"]
NAMES += [
    "success_action_redirect",
    "redirect",
    "x-amz-meta-a",
    "x-amz-storage-class",
    "x-amz-checksum-crc32",
    "bucket",
]
NAMES += [
    "x-amz-checksum-algorithm",
    "x-amz-object-lock-mode",
    "x-amz-server-side-encryption",
    "x-ignore-a",
    "If-Match",
]
NAMES += ["x-amz-website-redirect-location", "x-amz-server-side-encryption-customer-key", "x-amz-security-token"]
VALUES = [
    "",
    "k",
    "a/${filename}",
    "private",
    "bucket-owner-full-control",
    "201",
    "http://h/?a#b",
    "<Tagging/>",
    "ü\n",
    "*",
]
VALUES += [
    "SHA256",
    "AES256",
    "AAAAAA==",
    "GOVERNANCE",
    "x" * 1030,
    "\0",
    "/x",
    "http://[",
    "Mon, 01 Jan 2035 00:00:00 GMT",
]
PATHS = [
    "/",
    "/k",
    "/k/",
    "//",
    "/%ff",
    "/%00",
    "/..",
    "/a?b",
    "/old/x",
    "/%0d%0a",
    "/" + "x" * 1100,
    "/%E4%B8%AD",
    "/moved",
]
HEADERS = [
    ("range", "bytes=0-"),
    ("range", "bytes=9-1"),
    ("if-match", "*"),
    ("if-none-match", "*"),
    ("origin", "http://x"),
]
HEADERS += [
    ("x-amz-copy-source", "/a"),
    ("authorization", "x"),
    ("x-amz-checksum-mode", "ENABLED"),
    ("expect", "100-continue"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    settings = HttpSettings(website_domains=("web.test",), body_idle_timeout_s=0.2)
    with Server(opener("real", tmp_path_factory.mktemp("data")), settings) as running:
        client = running.client()
        client.create_bucket(Bucket="raw")
        rules = [{"Condition": {"KeyPrefixEquals": "old/"}, "Redirect": {"ReplaceKeyWith": "ü"}}]
        site = {"IndexDocument": {"Suffix": "k"}, "ErrorDocument": {"Key": "e"}, "RoutingRules": rules}
        client.put_bucket_website(Bucket="raw", WebsiteConfiguration=site)
        rule = {"AllowedOrigins": ["*"], "AllowedMethods": ["GET", "POST"]}
        client.put_bucket_cors(Bucket="raw", CORSConfiguration={"CORSRules": [rule]})
        client.delete_public_access_block(Bucket="raw")
        allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:*Object", "Resource": "arn:aws:s3:::raw/*"}
        client.put_bucket_policy(Bucket="raw", Policy=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
        client.put_object(Bucket="raw", Key="moved", Body=b"", WebsiteRedirectLocation="/ü k")
        client.close()
        yield running


def make_form(pick):
    fields = {pick.choice(NAMES): pick.choice(VALUES) for _ in range(pick.randrange(5))}
    if pick.random() < 0.8:
        fields.setdefault("key", pick.choice(VALUES[1:3]))
    conditions = [["starts-with", f"${name}", ""] for name in {*fields, "key", "bucket"}]
    if pick.random() < 0.2:
        conditions.append(pick.choice([["content-length-range", 0, 3], {"key": "k"}, ["x"], {}, None, []]))
    sign = pick.choice([sign_v4, sign_v4, sign_v2, lambda policy: []])
    pairs = [*fields.items(), *sign({"expiration": "2099-01-01T00:00:00Z", "conditions": conditions})]
    content_type, body = encode_form(pairs, (pick.choice(["f", "a/b", 'q"ü', ""]), b"x" * pick.choice([0, 5, 70_000])))
    if pick.random() < 0.2:
        at = pick.randrange(len(body))
        body = body[:at] + pick.choice([b"", b"\r\n", b"--", b"\xff"]) + body[at + pick.randrange(20) :]
    return content_type, body


def test_forms_and_pages_of_nonsense_never_break_the_server(server):
    pick = random.Random(20260)
    raw = Raw(server.port)
    statuses = set()
    for _ in range(REQUESTS):
        content_type, body = make_form(pick)
        head = {"host": raw.host, "content-type": content_type, **dict(pick.sample(HEADERS[2:5], 1))}
        answer = raw.send(build("POST", "/raw", head, body), "POST")
        statuses.add(answer.status)
        assert answer.status < 500 or answer.code == "NotImplemented", (body[:2000], answer)
        method, path = pick.choice(["GET", "GET", "HEAD", "PUT", "OPTIONS"]), pick.choice(PATHS)
        head = {"host": "raw.web.test", **dict(pick.sample(HEADERS, 2))}
        answer = raw.send(build(method, path, head), method)
        statuses.add(answer.status)
        assert answer.status < 500, (method, path, head, answer)
    assert statuses >= {200, 201, 204, 301, 303, 400, 403, 404, 405}
