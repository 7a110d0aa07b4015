"""Every implemented operation × how it is signed × payload mode: the right secret is served, a wrong one is 403.

A refused request stores and changes nothing. And what must never be taken: unsigned headers, two kinds of credentials.
What may be answered at once is asked for in the connection's task, too: whichever way it takes, it is told the same.
The requests are rows of ``tests/gateway/http/security_rows``, a small file a family; its docstring says how to add one.
"""

import hashlib
import time
import zlib
from base64 import b64encode

import msgspec
import pytest

from gateway.http.dispatch import HANDLERS, OWN_DOORS
from gateway.http.object_reads import AT_ONCE
from gateway.http.object_writes import STORE_ALONE
from gateway.http.protocol import S3Connection
from gateway.identity.users import add_user, new_access_key, new_user
from gateway.operations import bucket_documents
from gateway.s3.payload import PayloadMode
from gateway.s3.routing import Operation as Op
from tests.gateway.http.raw import build
from tests.gateway.http.security_rows import collect_rows
from tests.gateway.http.server import SECRET

WRONG = "not-the-secret-not-the-secret-not-the-se"
REQUESTS, PREPARES = collect_rows()
CHUNKED = [Op.PutObject, Op.UploadPart]
SIGNINGS = ["header-sha256", "header-unsigned", "query"]
WAYS = [
    (operation, in_task)
    for operation in REQUESTS
    for in_task in ([False, True] if HANDLERS[operation] in STORE_ALONE | AT_ONCE.keys() else [False])
]
WAY_NAMES = [f"{operation} in the task" if in_task else str(operation) for operation, in_task in WAYS]
DOCUMENTS = [value for name, value in vars(bucket_documents).items() if name.isupper()]


def test_the_table_names_every_implemented_operation():
    """A new one gets its row in ``security_rows``. Those with doors of their own are tested with them."""
    assert set(REQUESTS) == set(HANDLERS) - OWN_DOORS


class Stage:
    """A bucket with an object and an open upload with a part, and whatever rows ask for; set up anew when changed."""

    def __init__(self, server):
        self.server = server
        self.s3 = server.client(request_checksum_calculation="when_required")
        self.picture = None

    def set(self):
        """Have everything as it was meant."""
        if self.picture is not None and self.look() == self.picture:
            return  # who was refused or only read has left it so
        self.clear()
        for prepare in PREPARES:
            prepare(self.s3)
        self.s3.put_object(Bucket="raw", Key="kept", Body=b"kept")
        self.upload = self.s3.create_multipart_upload(Bucket="raw", Key="up")["UploadId"]
        part = self.s3.upload_part(Bucket="raw", Key="up", UploadId=self.upload, PartNumber=1, Body=b"one")
        self.etag = part["ETag"]
        self.picture = self.look()

    def look(self):
        """A picture of everything."""

        async def take():
            with self.server.store.view() as view:
                uid = view.bucket("raw").uid
                return (
                    [
                        (bucket.name, [view.document(bucket.uid, name) for name in DOCUMENTS])
                        for bucket in view.buckets()
                    ],
                    [(row.key, row.order, view.version_documents(uid, row)) for row in view.scan_versions(uid)],
                    [(one.id, [part.etag for part in view.parts(one.id)]) for one in view.uploads(uid)],
                )

        return self.server.call(take)

    def clear(self):
        s3 = self.s3
        for open_upload in s3.list_multipart_uploads(Bucket="raw").get("Uploads", []):
            s3.abort_multipart_upload(Bucket="raw", Key=open_upload["Key"], UploadId=open_upload["UploadId"])
        for version in s3.list_object_versions(Bucket="raw").get("Versions", []):
            s3.delete_object(Bucket="raw", Key=version["Key"], VersionId=version["VersionId"])
        for bucket in s3.list_buckets()["Buckets"]:
            if bucket["Name"] != "raw":
                s3.delete_bucket(Bucket=bucket["Name"])


@pytest.fixture(scope="module")
def stage(server):
    stage = Stage(server)
    yield stage
    stage.s3.close()


@pytest.fixture
def operation(request, monkeypatch):
    """One of ``WAYS``: its operation, the way taken care of."""
    asked, in_task = request.param
    if in_task:
        monkeypatch.setattr(S3Connection, "_answer_at_once", lambda connection: False)
    return asked


@pytest.fixture
def scene(stage):
    """The upload's id, its part's ETag, and a picture of everything whenever asked for."""
    stage.set()
    return stage.upload, stage.etag, stage.look


def filled(operation, upload, etag):
    """A row's query, headers and body."""
    row = REQUESTS[operation]
    body = row.body % etag.strip('"').encode() if b"%s" in row.body else row.body
    vouched = {"content-md5": b64encode(hashlib.md5(body).digest()).decode()} if row.md5 else {}
    return row.query.format(u=upload), {**row.headers, **vouched}, body


def request_of(raw, operation, signing, secret, upload, etag):
    """The bytes of one request, signed so."""
    method, path = REQUESTS[operation][:2]
    query, extra, body = filled(operation, upload, etag)
    if signing == "query":
        signed = raw.presigned_query(method, path, query=query, secret=secret, headers=extra)
        return method, build(method, f"{path}?{signed}", {"host": raw.host, **extra}, body)
    payload = hashlib.sha256(body).hexdigest() if signing == "header-sha256" else "UNSIGNED-PAYLOAD"
    headers = raw.signed_headers(method, path, query=query, headers=extra, payload=payload, secret=secret)
    return method, build(method, path + ("?" + query if query else ""), headers, body)


@pytest.mark.parametrize("signing", SIGNINGS)
@pytest.mark.parametrize("operation", WAYS, ids=WAY_NAMES, indirect=True)
def test_right_and_wrong_secret(raw, scene, operation, signing):
    upload, etag, look = scene
    before = look()
    method, data = request_of(raw, operation, signing, WRONG, upload, etag)
    answer = raw.send(data, method)
    assert answer.status == 403
    assert method == "HEAD" or answer.code == "SignatureDoesNotMatch"
    assert look() == before
    method, data = request_of(raw, operation, signing, SECRET, upload, etag)
    answer = raw.send(data, method)
    assert answer.status == REQUESTS[operation].status, answer.body


@pytest.mark.parametrize("operation", WAYS, ids=WAY_NAMES, indirect=True)
def test_nobody_is_denied(raw, scene, operation):
    upload, etag, look = scene
    before = look()
    method, path = REQUESTS[operation][:2]
    query, extra, body = filled(operation, upload, etag)
    target = path + ("?" + query if query else "")
    answer = raw.send(build(method, target, {"host": raw.host, **extra}, body), method)
    assert answer.status == 403
    assert method == "HEAD" or answer.code == "AccessDenied"
    assert look() == before


@pytest.mark.parametrize("operation", [way for way in WAYS if way[0] in CHUNKED], ids=str, indirect=True)
@pytest.mark.parametrize("mode", [mode for mode in PayloadMode if mode.is_chunked], ids=lambda mode: mode.name)
def test_chunked_right_and_wrong_secret(raw, scene, operation, mode):
    upload, _, look = scene
    before = look()
    path, query = REQUESTS[operation].path, REQUESTS[operation].query.format(u=upload)
    target = path + ("?" + query if query else "")
    trailers = None
    pieces = [b"a" * 9000, b"b" * 100]
    if mode.has_trailer:
        trailers = {"x-amz-checksum-crc32": b64encode(zlib.crc32(b"".join(pieces)).to_bytes(4, "big")).decode()}
    for secret, status in ((WRONG, 403), (SECRET, 200)):
        headers, body = raw.chunked_put(path, pieces, mode, query=query, trailers=trailers, secret=secret)
        assert raw.send(build("PUT", target, headers, body)).status == status
        if status == 403:
            assert look() == before
    assert look() != before


@pytest.mark.parametrize("mode", [mode for mode in PayloadMode if mode.is_chunked], ids=lambda mode: mode.name)
@pytest.mark.parametrize("operation", [op for op in REQUESTS if op not in CHUNKED], ids=str)
def test_chunked_is_for_uploads_only(raw, scene, operation, mode):
    upload, etag, look = scene
    before = look()
    method, path = REQUESTS[operation][:2]
    query, extra, _ = filled(operation, upload, etag)
    extra["x-amz-decoded-content-length"] = "0"
    headers = raw.signed_headers(method, path, query=query, headers=extra, payload=mode.value)
    answer = raw.send(build(method, path + ("?" + query if query else ""), headers), method)
    assert answer.status == 400
    assert look() == before


def test_a_disabled_key_and_a_disabled_user_are_unknown(server, raw):
    def make(view):
        user = new_user("brief", now_ms=view.now_ms)
        return add_user(view, user, new_access_key(user.id, now_ms=view.now_ms))

    issued = server.call(lambda: server.store.commit(make))

    def ask():
        headers = raw.signed_headers("GET", "/", access_key=issued.key.id, secret=issued.key.secret)
        return raw.send(build("GET", "/", headers))

    def change(**records):
        def decide(view):
            for name, record in records.items():
                getattr(view, f"put_{name}")(record)

        server.call(lambda: server.store.commit(decide))

    assert ask().status == 200
    change(user=msgspec.structs.replace(issued.user, disabled=True))
    assert (ask().status, ask().code) == (403, "InvalidAccessKeyId")
    change(user=issued.user, access_key=msgspec.structs.replace(issued.key, disabled=True))
    assert (ask().status, ask().code) == (403, "InvalidAccessKeyId")
    change(access_key=issued.key)
    assert ask().status == 200
    server.call(lambda: server.store.commit(lambda view: view.delete_user(issued.user.id)))
    assert ask().status == 403


@pytest.mark.parametrize("operation", [way for way in WAYS if way[0] is Op.PutObject], ids=str, indirect=True)
@pytest.mark.parametrize("name", ["x-amz-copy-source", "x-amz-acl", "x-amz-meta-colour", "x-amz-unheard-of"])
def test_an_unsigned_amz_header_is_refused(raw, scene, operation, name):
    _, _, look = scene
    before = look()
    value = {"x-amz-copy-source": "/raw/kept", "x-amz-acl": "private"}.get(name, "v")
    headers = raw.signed_headers("PUT", "/raw/new")
    answer = raw.send(build("PUT", "/raw/new", {**headers, name: value}, b"x"))
    assert (answer.status, answer.code) == (403, "AccessDenied")
    query = raw.presigned_query("PUT", "/raw/new")
    answer = raw.send(build("PUT", f"/raw/new?{query}", {"host": raw.host, name: value}, b"x"))
    assert (answer.status, answer.code) == (403, "AccessDenied")
    assert look() == before


def test_two_kinds_of_credentials_are_refused(raw):
    query = raw.presigned_query("GET", "/raw/kept")
    headers = raw.signed_headers("GET", "/raw/kept")
    assert raw.send(build("GET", f"/raw/kept?{query}", headers)).status == 400


def test_dates(raw):
    for shift_s in (-16 * 60, 16 * 60):
        headers = raw.signed_headers("GET", "/", now_s=int(time.time()) + shift_s)
        answer = raw.send(build("GET", "/", headers))
        assert (answer.status, answer.code) == (403, "RequestTimeTooSkewed")


def test_unknown_operations_say_so_only_to_those_who_sign(raw):
    headers = raw.signed_headers("GET", "/raw/kept", query="torrent=", secret=WRONG)
    assert raw.send(build("GET", "/raw/kept?torrent=", headers)).code == "SignatureDoesNotMatch"
    answer = raw.send(build("GET", "/raw/kept?torrent=", raw.signed_headers("GET", "/raw/kept", query="torrent=")))
    assert (answer.status, answer.code) == (501, "NotImplemented")
    assert b"GetObjectTorrent" in answer.body
