"""Forms as a browser posts them, against a gateway: signed by boto3 or by hand, right, wrong and hostile."""

import base64
import hashlib
import hmac
import json
import time
import zlib

import boto3
import pytest
import urllib3
from botocore.exceptions import ClientError

from gateway.http.settings import HttpSettings
from gateway.s3.sigv4 import derive_signing_key, sign_string
from gateway.s3.times import format_basic
from tests.gateway.http.raw import Raw, build, read_answer
from tests.gateway.http.server import ACCESS_KEY, OTHER_KEY, OTHER_SECRET, SECRET, Server
from tests.gateway.http.stores import opener

SOON = "2099-01-01T00:00:00Z"


@pytest.fixture
def s3(server):
    client = server.client()
    yield client
    for version in client.list_object_versions(Bucket="raw").get("Versions", []):
        client.delete_object(Bucket="raw", Key=version["Key"], VersionId=version["VersionId"])
    client.close()


def encode_form(fields, file=("f.txt", b"contents"), *, name="file", after=()):
    """(Content-Type, body) of a form: ``fields`` as pairs, then the file."""
    pairs = [*fields, (name, file)] if file is not None else list(fields)
    body, content_type = urllib3.encode_multipart_formdata([*pairs, *after])
    return content_type, body


def sign_v4(policy, *, secret=SECRET, access_key=ACCESS_KEY, token=None):
    """The fields that sign ``policy`` (a dict without the conditions on them) with version 4."""
    timestamp = format_basic(int(time.time()))
    credential = f"{access_key}/{timestamp[:8]}/us-east-1/s3/aws4_request"
    fields = {"x-amz-algorithm": "AWS4-HMAC-SHA256", "x-amz-credential": credential, "x-amz-date": timestamp}
    policy = {**policy, "conditions": [*policy.get("conditions", []), *({name: fields[name]} for name in fields)]}
    encoded = base64.b64encode(json.dumps(policy).encode()).decode()
    key = derive_signing_key(secret, timestamp[:8], "us-east-1")
    return [*fields.items(), ("policy", encoded), ("x-amz-signature", sign_string(key, encoded))]


def sign_v2(policy, *, secret=SECRET, access_key=ACCESS_KEY):
    """The fields that sign ``policy`` with version 2, as old upload widgets do."""
    encoded = base64.b64encode(json.dumps(policy).encode())
    signature = base64.b64encode(hmac.digest(secret.encode(), encoded, "sha1")).decode()
    return [("AWSAccessKeyId", access_key), ("policy", encoded.decode()), ("signature", signature)]


def policy_of(*conditions, expiration=SOON):
    return {"expiration": expiration, "conditions": [{"bucket": "raw"}, ["starts-with", "$key", ""], *conditions]}


@pytest.fixture
def post(raw):
    """Post a form to the bucket ``raw``; the answer."""

    def send(fields, file=("f.txt", b"contents"), *, headers=None, path="/raw", **options):
        content_type, body = encode_form(fields, file, **options)
        lines = {"host": raw.host, "content-type": content_type, **(headers or {})}
        return raw.send(build("POST", path, lines, body), "POST")

    return send


def get(s3, key):
    answer = s3.get_object(Bucket="raw", Key=key)
    return answer, answer["Body"].read()


def test_boto3_presigned_post(s3, post):
    made = s3.generate_presigned_post(
        "raw",
        "up/${filename}",
        Fields={"acl": "bucket-owner-full-control", "Content-Type": "text/plain", "x-amz-meta-colour": "blau"},
        Conditions=[
            {"acl": "bucket-owner-full-control"},
            ["starts-with", "$Content-Type", "text/"],
            {"x-amz-meta-colour": "blau"},
            ["content-length-range", 1, 100],
        ],
    )
    answer = post(made["fields"].items(), ("dir/käse.txt", b"contents"))
    assert (answer.status, answer.body) == (204, b"")
    found, body = get(s3, "up/käse.txt")
    assert body == b"contents"
    assert (found["ContentType"], found["Metadata"]) == ("text/plain", {"colour": "blau"})
    assert answer.headers["etag"] == found["ETag"]


@pytest.mark.parametrize("sign", [sign_v4, sign_v2])
def test_right_and_wrong_signatures(server, s3, post, sign):
    fields = [("key", "k"), *sign(policy_of(), secret="wrong-wrong-wrong-wrong-wrong-wrong-wron")]
    assert (post(fields).status, post(fields).code) == (403, "SignatureDoesNotMatch")
    fields = [("key", "k"), *sign(policy_of(), access_key="AKIANOBODYNOBODYNOBO")]
    assert (post(fields).status, post(fields).code) == (403, "InvalidAccessKeyId")
    fields = [("key", "k"), *sign(policy_of(), access_key=OTHER_KEY, secret=OTHER_SECRET)]
    assert (post(fields).status, post(fields).code) == (403, "AccessDenied")
    assert post([("key", "k")]).status == 403
    assert server.keys("raw") == []
    assert post([("key", "k"), *sign(policy_of())]).status == 204
    assert get(s3, "k")[1] == b"contents"


@pytest.mark.parametrize("size", [0, 1, 16 << 10, 70_000, 3 << 20])
def test_files_of_every_size_arrive_whole(s3, post, size):
    data = (bytes(range(256)) + b"\r\n--\r\n") * (size // 256 + 1)
    data = data[:size]
    answer = post([("key", "big"), *sign_v4(policy_of())], ("f", data))
    assert answer.status == 204
    assert get(s3, "big")[1] == data
    assert answer.headers["etag"] == f'"{hashlib.md5(data).hexdigest()}"'


def test_how_a_success_is_answered(s3, post, raw):
    key = "a b/ü"
    shown = "a%20b%2F%C3%BC"
    signed = sign_v4(policy_of(["starts-with", "$success_action_status", ""]))
    for status, expected in (("200", 200), ("201", 201), ("204", 204), ("404", 204), ("", 204)):
        answer = post([("key", key), ("success_action_status", status), *signed])
        assert answer.status == expected
        assert answer.headers["location"] == f"http://{raw.host}/raw/{shown}"
    answer = post([("key", key), ("success_action_status", "201"), *signed])
    etag = hashlib.md5(b"contents").hexdigest()
    for text in (
        f"<Key>{key}</Key>",
        "<Bucket>raw</Bucket>",
        f"<ETag>&quot;{etag}&quot;</ETag>",
        f"/raw/{shown}</Location>",
    ):
        assert text in answer.body.decode()
    redirect = policy_of(["starts-with", "$success_action_redirect", ""], ["eq", "$redirect", "http://old/"])
    for url, where in (("http://home/done", "http://home/done?"), ("https://home/?x=1#top", "https://home/?x=1&")):
        answer = post([("key", key), ("success_action_redirect", url), ("redirect", "http://old/"), *sign_v4(redirect)])
        assert answer.status == 303
        rest = "#top" if "#" in url else ""
        assert answer.headers["location"] == f"{where}bucket=raw&key={shown}&etag=%22{etag}%22{rest}"
    redirect = policy_of(["starts-with", "$success_action_redirect", ""])
    for url in ("nowhere", "javascript:alert(1)", "http://a b/", "http://[/", "http://x/\r\nx: y"):
        assert post([("key", key), ("success_action_redirect", url), *sign_v4(redirect)]).status == 204


def test_a_policy_is_enforced(server, s3, post):
    signed = sign_v4(policy_of(["eq", "$x-amz-meta-a", "b"], ["content-length-range", 4, 8]))
    right = [("key", "k"), ("x-amz-meta-a", "b")]
    wrong = {
        "field": [("key", "k"), ("x-amz-meta-a", "c")],
        "missing": [("key", "k")],
        "extra": [*right, ("x-amz-meta-more", "d")],
    }
    for fields in wrong.values():
        answer = post([*fields, *signed])
        assert (answer.status, answer.code) == (403, "AccessDenied")
        assert b"Invalid according to Policy: " in answer.body
    assert post([*right, *signed], ("f", b"123")).code == "EntityTooSmall"
    assert post([*right, *signed], ("f", b"123456789")).code == "EntityTooLarge"
    assert post([*right, *signed], ("f", b"1" * 500_000)).code == "EntityTooLarge"
    expired = sign_v4(policy_of({"x-amz-meta-a": "b"}, expiration="2020-01-01T00:00:00Z"))
    assert b"Policy expired" in post([*right, *expired]).body
    other = sign_v4({"expiration": SOON, "conditions": [{"bucket": "else"}, {"key": "k"}]})
    assert post([("key", "k"), *other]).code == "AccessDenied"
    assert server.keys("raw") == []
    assert post([*right, ("x-ignore-this", "y"), *signed], ("f", b"12345678")).status == 204


def test_broken_forms(server, post, raw):
    signed = sign_v4(policy_of())
    assert (post(signed).status, post(signed).code) == (400, "InvalidArgument")
    answer = post([("key", "k"), *signed], None)
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    answer = post([("key", "k"), ("x-ignore-me", "x" * 20_480), *signed])
    assert (answer.status, answer.code) == (400, "MaxPostPreDataLengthExceeded")
    without = [pair for pair in signed if pair[0] != "policy"]
    assert (post([("key", "k"), *without]).status, post([("key", "k"), *without]).code) == (400, "InvalidArgument")
    answer = post([("key", "k"), *signed, *sign_v2(policy_of())][:-2])
    assert answer.status == 400
    content_type, body = encode_form([("key", "k"), *signed])
    head = {"host": raw.host, "content-type": content_type}
    answer = raw.send(build("POST", "/raw", head, body[: body.rindex(b"\r\n--")]), "POST")
    assert (answer.status, answer.code) == (400, "MalformedPOSTRequest")
    answer = raw.send(build("POST", "/raw", {**head, "content-type": "multipart/form-data"}, body), "POST")
    assert (answer.status, answer.code) == (400, "MalformedPOSTRequest")
    for name in ("x-amz-acl", "x-amz-meta-a", "content-md5"):
        answer = raw.send(build("POST", "/raw", {**head, name: "private"}, body), "POST")
        assert (answer.status, answer.code) == (501, "NotImplemented")
    signed_head = raw.signed_headers("POST", "/raw", headers={"content-type": content_type})
    assert raw.send(build("POST", "/raw", signed_head, body), "POST").code == "InvalidArgument"
    chunked = build("POST", "/raw", {**head, "transfer-encoding": "chunked"})
    data = chunked.replace(b"content-length: 0\r\n", b"") + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    assert (raw.send(data, "POST").status, raw.send(data, "POST").code) == (411, "MissingContentLength")
    assert post([("key", "k"), *signed], path="/absent").status == 403
    assert server.keys("raw") == []


def test_what_follows_the_file_is_ignored(s3, post):
    fields = [("key", "k"), *sign_v4(policy_of())]
    assert post(fields, after=[("x-amz-meta-late", "1"), ("file", ("g", b"other"))]).status == 204
    found, body = get(s3, "k")
    assert (body, found["Metadata"]) == (b"contents", {})


def test_claims_of_the_content_are_checked(server, s3, post):
    md5, crc = base64.b64encode(hashlib.md5(b"contents").digest()).decode(), zlib.crc32(b"contents")
    shown = base64.b64encode(crc.to_bytes(4, "big")).decode()
    signed = sign_v4(policy_of(["starts-with", "$Content-MD5", ""], ["starts-with", "$x-amz-checksum-crc32", ""]))
    for wrong in ({"content-md5": "A" * 22 + "=="}, {"x-amz-checksum-crc32": "AAAAAA=="}):
        fields = {"Content-MD5": md5, "x-amz-checksum-crc32": shown}
        fields = {name: wrong.get(name.lower(), value) for name, value in fields.items()}
        answer = post([("key", "k"), *fields.items(), *signed])
        assert (answer.status, answer.code) == (400, "BadDigest")
    assert server.keys("raw") == []
    assert post([("key", "k"), ("content-md5", md5), ("x-amz-checksum-crc32", shown), *signed]).status == 204
    head = s3.head_object(Bucket="raw", Key="k", ChecksumMode="ENABLED")
    assert head["ChecksumCRC32"] == shown


def test_preconditions_hold(s3, post):
    fields = [("key", "once"), *sign_v4(policy_of())]
    assert post(fields, headers={"if-none-match": "*"}).status == 204
    answer = post(fields, ("f", b"second"), headers={"if-none-match": "*"})
    assert (answer.status, answer.code) == (412, "PreconditionFailed")
    assert get(s3, "once")[1] == b"contents"


def test_the_body_is_asked_for_and_may_come_byte_by_byte(server, s3, raw):
    content_type, body = encode_form([("key", "slow"), *sign_v4(policy_of())])
    head = {"host": raw.host, "content-type": content_type, "expect": "100-continue", "content-length": str(len(body))}
    with raw.connect() as connection:
        connection.sendall(build("POST", "/raw", head))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        for at in range(len(body)):
            connection.sendall(body[at : at + 1])
        assert read_answer(connection, "POST").status == 204
    assert get(s3, "slow")[1] == b"contents"


def allowing(*names):
    return policy_of(*(["starts-with", f"${name}", ""] for name in names))


def test_tags_lock_and_checksum_of_a_form(server, post):
    client = server.client()
    client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    tags = "<Tagging><TagSet><Tag><Key>a b</Key><Value>c=d</Value></Tag></TagSet></Tagging>"
    fields = {
        "tagging": tags,
        "x-amz-object-lock-mode": "GOVERNANCE",
        "x-amz-object-lock-retain-until-date": "2099-01-01T00:00:00Z",
        "x-amz-checksum-algorithm": "SHA256",
        "Cache-Control": "no-cache",
    }
    made = {"expiration": SOON, "conditions": [["starts-with", f"${name}", ""] for name in (*fields, "key", "bucket")]}
    assert post([("key", "k"), *fields.items(), *sign_v4(made)], path="/locked").status == 204
    assert client.get_object_tagging(Bucket="locked", Key="k")["TagSet"] == [{"Key": "a b", "Value": "c=d"}]
    assert client.get_object_retention(Bucket="locked", Key="k")["Retention"]["Mode"] == "GOVERNANCE"
    head = client.head_object(Bucket="locked", Key="k", ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(b"contents").digest()).decode()
    assert head["CacheControl"] == "no-cache"
    version = head["VersionId"]
    client.delete_object(Bucket="locked", Key="k", VersionId=version, BypassGovernanceRetention=True)
    client.delete_bucket(Bucket="locked")
    client.close()


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("tagging", "<Tagging>", "MalformedXML"),
        ("x-amz-storage-class", "NOPE", "InvalidStorageClass"),
        ("acl", "nope", "InvalidArgument"),
        ("acl", "public-read", "AccessControlListNotSupported"),
        ("x-amz-meta-a", "x" * 3000, "MetadataTooLarge"),
        ("x-amz-meta-a", "b\r\nset-cookie: c", "InvalidArgument"),
        ("x-amz-meta-a b", "c", "InvalidArgument"),
        ("x-amz-unheard-of", "c", "NotImplemented"),
        ("x-amz-decoded-content-length", "8", "NotImplemented"),
        ("x-amz-copy-source", "/raw/k", "NotImplemented"),
        ("x-amz-checksum-algorithm", "MD4", "InvalidRequest"),
        ("x-amz-checksum-crc32", "x", "InvalidRequest"),
        ("content-md5", "x", "InvalidDigest"),
        ("key", "x" * 1025, "KeyTooLongError"),
    ],
)
def test_what_a_field_may_not_say(server, post, name, value, code):
    fields = {"key": "k", name: value}
    assert post([*fields.items(), *sign_v4(allowing(name))]).code == code
    assert server.keys("raw") == []


def test_nobodys_forms_go_where_everybody_may_write(server, post):
    client = server.client()
    client.create_bucket(Bucket="open")
    client.delete_public_access_block(Bucket="open")
    allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::open/in/*"}
    client.put_bucket_policy(Bucket="open", Policy=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
    assert post([("key", "in/k"), ("anything", "else")], path="/open").status == 204
    assert post([("key", "out/k")], path="/open").code == "AccessDenied"
    assert server.keys("open") == ["in/k"]
    client.delete_object(Bucket="open", Key="in/k")
    client.delete_bucket(Bucket="open")
    client.close()


def test_policies_see_the_fields_as_the_headers_they_stand_for(server, post):
    client = server.client()
    client.create_bucket(Bucket="conditions")
    client.delete_public_access_block(Bucket="conditions")
    allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:PutObject*", "Resource": "arn:aws:s3:::conditions/*"}
    where = {"StringEquals": {"s3:RequestObjectTag/team": "blue"}, "StringLike": {"aws:Referer": "http://site/*"}}
    deny = {**allow, "Effect": "Deny", "Condition": {"StringNotEquals": {"s3:authType": "POST"}}}
    statements = [
        {**allow, "Condition": where},
        {**deny, "Principal": {"AWS": "*"}, "Resource": f"{allow['Resource']}s"},
    ]
    client.put_bucket_policy(Bucket="conditions", Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    tagging = "<Tagging><TagSet><Tag><Key>team</Key><Value>{}</Value></Tag></TagSet></Tagging>"
    head = {"referer": "http://site/upload"}

    def send(key, team="blue", headers=None, signed=()):
        fields = [("key", key), ("tagging", tagging.format(team)), *signed]
        return post(fields, headers=head if headers is None else headers, path="/conditions")

    assert send("k").status == 204
    assert send("k", team="red").code == "AccessDenied"
    assert send("k", headers={}).code == "AccessDenied"
    assert send("ks").code == "AccessDenied"  # nobody's form is not signed by POST
    made = {
        "expiration": SOON,
        "conditions": [["starts-with", f"${name}", ""] for name in ("key", "tagging", "bucket")],
    }
    for sign in (sign_v2, sign_v4):
        assert send("ks", signed=sign(made)).status == 204
    with pytest.raises(ClientError):
        client.put_object(Bucket="conditions", Key="ks", Body=b"signed by header")
    for key in ("k", "ks"):
        client.delete_object(Bucket="conditions", Key=key)
    client.delete_bucket(Bucket="conditions")
    client.close()


def test_temporary_credentials_sign_forms_with_their_token(server, s3, post):
    sts = boto3.client(
        "sts",
        endpoint_url=server.endpoint,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )
    made = sts.get_session_token()["Credentials"]
    sts.close()
    key, secret, token = made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"]
    conditions = policy_of({"x-amz-security-token": token})
    signed = [("key", "k"), *sign_v4(conditions, access_key=key, secret=secret)]
    assert post([*signed, ("x-amz-security-token", token)]).status == 204
    assert post(signed).code == "InvalidAccessKeyId"
    assert post([*signed, ("x-amz-security-token", "x" + token[1:])]).code == "InvalidToken"


def test_old_signatures_can_be_switched_off(tmp_path):
    with Server(opener("memory", tmp_path), HttpSettings(signature_v2_forms=False)) as server:
        client = server.client()
        client.create_bucket(Bucket="raw")
        client.close()
        raw = Raw(server.port)
        for sign, status in ((sign_v2, 400), (sign_v4, 204)):
            content_type, body = encode_form([("key", "k"), *sign(policy_of())])
            head = {"host": raw.host, "content-type": content_type}
            answer = raw.send(build("POST", "/raw", head, body), "POST")
            assert (answer.status, answer.code) == (status, "InvalidRequest" if status == 400 else "")
