"""HTTP's own corners, by raw sockets: odd targets, hosts, methods and framings are refused in S3's words, or served."""

import pytest

from tests.gateway.http.raw import Raw, build, read_answer


def send(raw: Raw, text: str):
    """The answer, and whether the connection ended with it: a second request is answered on one that is kept."""
    with raw.connect() as connection:
        connection.sendall(text.replace("HOST", raw.host).encode("latin-1"))
        answer = read_answer(connection)
        try:
            connection.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            closed = connection.recv(1) == b""
        except ConnectionError:
            closed = True
        return answer, closed


@pytest.mark.parametrize(
    "lines",
    [
        "PUT /raw/k HTTP/1.1\r\nhost: HOST\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx",
        "PUT /raw/k HTTP/1.1\r\nhost: HOST\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        "PUT /raw/k HTTP/1.1\r\nhost: HOST\r\ncontent-length: 1, 1\r\n\r\nx",
        "PUT /raw/k HTTP/1.1\r\nhost: HOST\r\ncontent-length: +1\r\n\r\nx",
        "PUT /raw/k HTTP/1.1\r\nhost: HOST\r\ncontent-length: 0x1\r\n\r\nx",
        "PUT /raw/k HTTP/1.1\r\nhost: HOST\r\ncontent-length: -1\r\n\r\nx",
        "PUT /raw/k HTTP/1.1\r\nhost: HOST\r\ncontent-length:\r\n\r\n",
        "PUT /raw/k HTTP/1.1\r\nhost: HOST\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "PUT /raw/k HTTP/1.1\r\nhost: HOST\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        "PUT /raw/k HTTP/1.1\r\nhost: HOST\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        "PUT /raw/k HTTP/1.1\r\nhost: HOST\r\n"
        + "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
        "PUT /raw/k HTTP/1.1\r\nhost: HOST\r\ntransfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        "PUT /raw/k HTTP/1.0\r\nhost: HOST\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "PUT /raw/k HTTP/1.1\r\nhost: HOST\r\ntransfer-encoding: chunked\r\n\r\n0;a=b\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: HOST\r\nhost: other\r\n\r\n",
        "GET / HTTP/1.1\r\nhost : HOST\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: HOST\r\nx: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: HOST\r\nx: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: HOST\r\nx: a\rb\r\n\r\n",
        "GET / HTTP/1.1\nhost: HOST\n\n",
        "GET /a b HTTP/1.1\r\nhost: HOST\r\n\r\n",
        "GET * HTTP/1.1\r\nhost: HOST\r\n\r\n",
        "get / HTTP/1.1\r\nhost: HOST\r\n\r\n",
        "NONSENSE /raw HTTP/1.1\r\nhost: HOST\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_shapes_that_two_servers_could_read_differently_are_refused(server, raw, lines):
    answer, closed = send(raw, lines)
    assert (answer.status, closed) == (400, True)
    assert answer.code in ("InvalidRequest", "InvalidURI")
    assert server.keys("raw") == []


@pytest.mark.parametrize(
    ("lines", "status", "code"),
    [
        ("GET http://HOST/raw HTTP/1.1\r\nhost: HOST\r\n\r\n", 403, "AccessDenied"),
        ("GET http://raw.localhost/x HTTP/1.1\r\nhost: HOST\r\n\r\n", 400, "InvalidURI"),
        ("GET http://user@HOST/x HTTP/1.1\r\nhost: HOST\r\n\r\n", 400, "InvalidURI"),
        ("OPTIONS * HTTP/1.1\r\nhost: HOST\r\n\r\n", 400, "InvalidURI"),
        ("CONNECT HOST:80 HTTP/1.1\r\nhost: HOST\r\n\r\n", 400, "InvalidURI"),
        ("TRACE /raw/k HTTP/1.1\r\nhost: HOST\r\n\r\n", 405, "MethodNotAllowed"),
        ("PATCH /raw/k HTTP/1.1\r\nhost: HOST\r\ncontent-length: 0\r\n\r\n", 405, "MethodNotAllowed"),
        ("PROPFIND /raw HTTP/1.1\r\nhost: HOST\r\n\r\n", 405, "MethodNotAllowed"),
        ("DELETE / HTTP/1.1\r\nhost: HOST\r\n\r\n", 405, "MethodNotAllowed"),
        ("POST /raw HTTP/1.1\r\nhost: HOST\r\ncontent-length: 0\r\n\r\n", 412, "PreconditionFailed"),
        ("GET //raw/k HTTP/1.1\r\nhost: HOST\r\n\r\n", 400, "InvalidBucketName"),
        ("GET / HTTP/1.1\r\nhost: HOST\r\nexpect: something\r\n\r\n", 403, "AccessDenied"),
        ("GET / HTTP/1.1\r\nhost: HOST\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", 403, "AccessDenied"),
        ("\r\nGET / HTTP/1.1\r\nhost: HOST\r\n\r\n", 403, "AccessDenied"),
    ],
)
def test_odd_requests_are_answered_in_xml(raw, lines, status, code):
    answer = raw.send(lines.replace("HOST", raw.host).encode("latin-1"))
    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["content-type"] == "application/xml"
    assert "x-amz-request-id" in answer.headers


def test_what_is_not_allowed_says_what_is(raw):
    answer = raw.send(build("PATCH", "/raw/k", {"host": raw.host}))
    assert answer.headers["allow"] == "DELETE, GET, HEAD, PUT"
    answer = raw.send(build("POST", "/raw?versioning", {"host": raw.host}), "POST")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, PUT")


@pytest.mark.parametrize(
    ("version", "header", "kept"),
    [
        ("1.0", "", False),
        ("1.0", "connection: keep-alive\r\n", True),
        ("1.1", "connection: close\r\n", False),
        ("1.1", "", True),
    ],
)
def test_connections_are_kept_as_asked(raw, version, header, kept):
    query = raw.presigned_query("GET", "/raw")
    answer, closed = send(raw, f"GET /raw?{query} HTTP/{version}\r\nhost: HOST\r\n{header}\r\n")
    assert (answer.status, closed) == (200, not kept)


def test_virtual_hosts_are_signed_with_their_host(server, raw):
    for host in (f"raw.localhost:{raw.port}", "raw.localhost", "RAW.localhost"):
        raw.host = host
        headers = raw.signed_headers("PUT", "/a//b")
        assert raw.send(build("PUT", "/a//b", headers, b"x")).status == 200
        assert raw.send(build("PUT", "/a//b", {**headers, "host": "127.0.0.1"}, b"x")).code == "SignatureDoesNotMatch"
        answer = raw.send(build("GET", "/a//b?" + raw.presigned_query("GET", "/a//b"), {"host": host}))
        assert (answer.status, answer.body) == (200, b"x")
        query = raw.presigned_query("GET", "/", query="list-type=2")
        assert b"<Key>a//b</Key>" in raw.send(build("GET", "/?" + query, {"host": host})).body
        headers = raw.signed_headers("DELETE", "/a//b")
        assert raw.send(build("DELETE", "/a//b", headers)).status == 204
    assert server.keys("raw") == []


def test_an_empty_body_is_an_object_of_no_bytes(server, raw):
    for extra in ({"content-length": "0"}, {"content-length": "0", "expect": "100-continue"}):
        headers = raw.signed_headers("PUT", "/raw/empty", headers=extra)
        with raw.connect() as connection:
            connection.sendall(build("PUT", "/raw/empty", headers))
            data = connection.recv(4096)
            while b"ETag" not in data:
                data = connection.recv(4096)
            assert b"d41d8cd98f00b204e9800998ecf8427e" in data
    headers = raw.signed_headers("PUT", "/raw/empty")
    head = "PUT /raw/empty HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    answer = raw.send(head.encode())
    assert (answer.status, answer.code) == (411, "MissingContentLength")
    client = server.client()
    client.delete_object(Bucket="raw", Key="empty")
    client.close()


@pytest.mark.parametrize(
    ("path", "same", "key"),
    [
        ("/raw/a+b", "/raw/a%2Bb", "a+b"),
        ("/raw/a%20b", "/raw/a%20%62", "a b"),
        ("/raw/a%2Fb", "/raw/a/b", "a/b"),
        ("/raw/a%2fb", "/raw/a%2Fb", "a/b"),
        ("/raw//", "/raw/%2F", "/"),
        ("/raw/%E4%B8%AD", "/raw/%e4%b8%ad", "中"),
        ("/raw/%2E%2E/x", "/raw/../x", "../x"),
        ("/raw/!*'()", "/raw/%21%2A%27%28%29", "!*'()"),
        ("/raw/%25zz", "/raw/%25z%7A", "%zz"),
        ("/raw/a;b=c,d:e@f&g$", "/raw/a%3Bb%3Dc%2Cd%3Ae%40f%26g%24", "a;b=c,d:e@f&g$"),
        ("/raw/%0A%09", "/raw/%0a%09", "\n\t"),
        ("/raw/#x", "/raw/%23x", "#x"),
    ],
)
def test_a_key_is_signed_and_stored_however_it_is_written(server, raw, path, same, key):
    """Signed as one form, sent as that form; the other form is the same key under a signature of its own."""
    headers = raw.signed_headers("PUT", path)
    assert raw.send(build("PUT", path, headers, b"x")).status == 200
    assert server.keys("raw") == [key]
    for way in (path, same):
        answer = raw.send(build("GET", f"{way}?{raw.presigned_query('GET', way)}", {"host": raw.host}))
        assert (answer.status, answer.body) == (200, b"x")
        headers = raw.signed_headers("HEAD", way)
        assert raw.send(build("HEAD", way, headers), "HEAD").status == 200
    headers = raw.signed_headers("DELETE", path)
    assert raw.send(build("DELETE", path, headers)).status == 204


@pytest.mark.parametrize(
    "query",
    [
        "list-type=2&prefix=a%2Fb&delimiter=%2F",
        "list-type=2&prefix=a+b",
        "list-type=2&prefix=%e4%b8%ad",
        "prefix=&list-type=2&unknown&unknown=2&unknown=1",
        "list-type=2&start-after=a%26b%3Dc",
        "list-type=2&x=~%7E",
        "list-type=2&&",
    ],
)
def test_a_query_is_signed_however_it_is_written(raw, query):
    headers = raw.signed_headers("GET", "/raw", query=query)
    assert raw.send(build("GET", f"/raw?{query}", headers)).status == 200
    presigned = raw.presigned_query("GET", "/raw", query=query)
    assert raw.send(build("GET", f"/raw?{presigned}", {"host": raw.host})).status == 200
    assert raw.send(build("GET", f"/raw?{presigned}&prefix=more", {"host": raw.host})).code == "SignatureDoesNotMatch"


def test_signed_headers_may_be_written_oddly(server, raw):
    headers = raw.signed_headers("PUT", "/raw/k", headers={"x-amz-meta-a": "b c,d", "x-amz-meta-e": ""})
    lines = [(name, value) for name, value in headers.items() if not name.startswith("x-amz-meta-")]
    lines += [("X-AMZ-Meta-A", " b   c\t"), ("x-amz-meta-E", ""), ("x-amz-meta-a", "d"), ("content-length", "1")]
    head = "PUT /raw/k HTTP/1.1\r\n" + "".join(f"{name}:{value}\r\n" for name, value in lines) + "\r\nx"
    assert raw.send(head.encode()).status == 200
    client = server.client()
    assert client.head_object(Bucket="raw", Key="k")["Metadata"] == {"a": "b   c,d", "e": ""}
    client.delete_object(Bucket="raw", Key="k")
    client.close()
