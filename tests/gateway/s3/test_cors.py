"""Cross-origin rules: the document both ways, which rule counts, what is answered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3 import cors
from gateway.s3.errors import S3Error

RULES = (
    cors.CorsRule(
        ("http://a.example", "https://*.b.example"), ("GET", "PUT"), ("x-amz-*", "Content-Type"), ("ETag",), 30, "1"
    ),
    cors.CorsRule(("*",), ("HEAD", "GET")),
    cors.CorsRule(("http://any.example",), ("DELETE",), ("*",)),
)
DOCUMENT = cors.render_cors(RULES)


def rule(text="<AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>", count=1):
    return (f"<CORSConfiguration>{f'<CORSRule>{text}</CORSRule>' * count}</CORSConfiguration>").encode()


def more(text):
    return rule(f"<AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>{text}")


def test_written_and_read_back():
    assert cors.parse_cors(DOCUMENT) == RULES
    assert cors.render_cors(cors.parse_cors(DOCUMENT)) == DOCUMENT
    assert len(cors.parse_cors(rule(count=100))) == 100


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"", "MissingRequestBodyError", ""),
        (b"<CORSConfiguration/>", "MalformedXML", ""),
        (rule(""), "MalformedXML", ""),
        (rule("<AllowedMethod>GET</AllowedMethod>"), "MalformedXML", ""),
        (rule("<AllowedOrigin>*</AllowedOrigin>"), "MalformedXML", ""),
        (more("<Else/>"), "MalformedXML", ""),
        (more("<ID>a</ID><ID>b</ID>"), "MalformedXML", ""),
        (more("<MaxAgeSeconds>soon</MaxAgeSeconds>"), "MalformedXML", ""),
        (more("<MaxAgeSeconds>-1</MaxAgeSeconds>"), "MalformedXML", ""),
        (more("<AllowedMethod>OPTIONS</AllowedMethod>"), "InvalidRequest", "Unsupported method is OPTIONS"),
        (more("<AllowedMethod>get</AllowedMethod>"), "InvalidRequest", "Unsupported method is get"),
        (more("<AllowedOrigin>http://*.*</AllowedOrigin>"), "InvalidRequest", "more than one wildcard"),
        (more("<AllowedHeader>*a*</AllowedHeader>"), "InvalidRequest", "more than one wildcard"),
        (more("<AllowedHeader>a b</AllowedHeader>"), "InvalidRequest", "invalid character"),
        (more("<ExposeHeader>x-*</ExposeHeader>"), "InvalidRequest", "contains wildcard"),
        (more("<ExposeHeader>x\nSet-Cookie: a</ExposeHeader>"), "InvalidRequest", "invalid character"),
        (more(f"<ID>{'x' * 256}</ID>"), "InvalidRequest", "255"),
        (rule(count=101), "InvalidRequest", "limit of 100 rules"),
    ],
)
def test_what_is_no_configuration(body, code, words):
    with pytest.raises(S3Error) as caught:
        cors.parse_cors(body)
    assert caught.value.code == code
    assert words in caught.value.text


@pytest.mark.parametrize(
    ("origin", "method", "headers", "expected"),
    [
        ("http://a.example", "PUT", ("content-type", "x-amz-meta-a"), (0, "http://a.example")),
        ("https://x.y.b.example", "GET", (), (0, "https://x.y.b.example")),
        ("https://.b.example", "GET", (), (0, "https://.b.example")),
        ("https://b.example", "GET", (), (1, "*")),
        ("HTTP://A.EXAMPLE", "GET", (), (1, "*")),
        ("http://a.example", "PUT", ("range",), None),
        ("http://a.example", "GET", ("range",), None),
        ("http://other", "PUT", (), None),
        ("null", "HEAD", (), (1, "*")),
        ("http://any.example", "DELETE", ("whatever",), (2, "http://any.example")),
    ],
)
def test_the_first_rule_that_allows_it_counts(origin, method, headers, expected):
    found = cors.find_rule(RULES, origin, method, headers)
    assert found == (None if expected is None else (RULES[expected[0]], expected[1]))


def test_answers_to_an_origin():
    assert cors.answer_origin(None, {"origin": "http://a.example"}, "GET") == {}
    assert cors.answer_origin(DOCUMENT, {"origin": "http://a.example"}, "PUT") == {
        "Access-Control-Allow-Origin": "http://a.example",
        "Access-Control-Allow-Methods": "GET, PUT",
        "Access-Control-Expose-Headers": "ETag",
        "Access-Control-Max-Age": "30",
        "Access-Control-Allow-Credentials": "true",
        "Vary": cors.VARY,
    }
    assert cors.answer_origin(DOCUMENT, {"origin": "http://b"}, "GET") == {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "HEAD, GET",
        "Vary": cors.VARY,
    }
    assert cors.answer_origin(DOCUMENT, {"origin": "http://b"}, "PUT") == {"Vary": cors.VARY}
    asked = {"origin": "http://b", "access-control-request-method": "GET"}
    assert "Access-Control-Allow-Origin" in cors.answer_origin(DOCUMENT, asked, "PUT")


def preflight(document=DOCUMENT, *, exists=True, **headers):
    asked = cors.parse_preflight({name.replace("_", "-"): value for name, value in headers.items()})
    return cors.answer_preflight(asked, document, exists=exists, resource_type="OBJECT")


def test_preflights():
    method, wanted = "access_control_request_method", "access_control_request_headers"
    listed = ", ".join(f"x-amz-{number}" for number in range(200))
    assert (
        preflight(origin="http://a.example", **{method: "PUT", wanted: listed})["Access-Control-Allow-Headers"]
        == listed
    )
    allowed = preflight(origin="http://a.example", **{method: "PUT", wanted: "Content-Type, X-AMZ-Date"})
    assert allowed["Access-Control-Allow-Headers"] == "content-type, x-amz-date"
    for headers, words in (
        ({}, "Origin request header needed"),
        ({"origin": "http://a.example"}, "Method: null"),
        ({"origin": "http://a.example", method: "PATCH"}, "Method: PATCH"),
        ({"origin": "http://a.example", method: "PUT", wanted: "a\x7f"}, "Request-Headers"),
        ({"origin": "http://a.example", method: "PUT", wanted: f"{listed}, x-amz-more"}, "Request-Headers"),
    ):
        with pytest.raises(S3Error) as caught:
            preflight(**headers)
        assert (caught.value.code, caught.value.status) == ("BadRequest", 400)
        assert words in caught.value.text
    asked = {"origin": "http://c", method: "PUT"}
    for options, words in (
        ({}, "This CORS request is not allowed."),
        ({"document": None}, "CORS is not enabled for this bucket."),
        ({"document": None, "exists": False}, "Bucket not found"),
    ):
        with pytest.raises(S3Error) as caught:
            preflight(**options, **asked)
        assert (caught.value.code, caught.value.status) == ("AccessForbidden", 403)
        assert caught.value.text.startswith(f"CORSResponse: {words}")
        assert caught.value.extra == {"Method": "PUT", "ResourceType": "OBJECT"}


WORDS = [
    "<CORSConfiguration>",
    "</CORSConfiguration>",
    "<CORSRule>",
    "</CORSRule>",
    "<AllowedMethod>GET</AllowedMethod>",
]
WORDS += ["<AllowedOrigin>*</AllowedOrigin>", "<ID>", "</ID>", "a", "*", "&", "<!DOCTYPE a>"]


@given(st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=4)), max_size=14))
def test_any_bytes_give_rules_or_a_typed_error(words):
    try:
        rules = cors.parse_cors("".join(words).encode("utf-8", "surrogatepass"))
    except S3Error as error:
        rules, status = None, error.status
    assert cors.parse_cors(cors.render_cors(rules)) == rules if rules is not None else status == 400
