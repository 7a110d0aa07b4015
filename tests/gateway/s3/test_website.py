"""Websites: the document both ways, routing rules, pages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3 import website as w
from gateway.s3.errors import NoSuchKey, S3Error

FULL = w.Website(
    "index.html",
    "error.html",
    (
        w.RoutingRule(w.Redirect(key_prefix="documents/"), "docs/"),
        w.RoutingRule(w.Redirect("other.example", "https", 302, key="gone.html"), "", 404),
        w.RoutingRule(w.Redirect(key=""), "empty/", 403),
        w.RoutingRule(w.Redirect("h", key_prefix=""), "strip/"),
    ),
)


def document(text):
    return f"<WebsiteConfiguration>{text}</WebsiteConfiguration>".encode()


def rule(condition="", redirect="<HostName>h</HostName>", count=1):
    one = f"<RoutingRule>{condition}<Redirect>{redirect}</Redirect></RoutingRule>"
    return document(f"<IndexDocument><Suffix>i</Suffix></IndexDocument><RoutingRules>{one * count}</RoutingRules>")


@pytest.mark.parametrize(
    "site", [FULL, w.Website("i"), w.Website(everything=w.Redirect("x.example:80", "https")), w.Website("i", "e & f")]
)
def test_written_and_read_back(site):
    assert w.parse_website(w.render_website(site)) == site
    assert w.decode_website(w.render_website(site)) == site


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"", "MissingRequestBodyError", ""),
        (document(""), "InvalidArgument", "IndexDocument Suffix must be provided"),
        (document("<ErrorDocument><Key>e</Key></ErrorDocument>"), "InvalidArgument", "must be provided"),
        (document("<IndexDocument></IndexDocument>"), "InvalidArgument", "must be provided"),
        (document("<IndexDocument><Suffix></Suffix></IndexDocument>"), "InvalidArgument", "not well formed"),
        (document("<IndexDocument><Suffix>a/b</Suffix></IndexDocument>"), "InvalidArgument", "not well formed"),
        (document("<IndexDocument><Suffix>a</Suffix></IndexDocument>" * 2), "MalformedXML", ""),
        (
            document("<IndexDocument><Suffix>a</Suffix></IndexDocument><ErrorDocument><Key/></ErrorDocument>"),
            "InvalidArgument",
            "ErrorDocument Key",
        ),
        (document("<RedirectAllRequestsTo/>"), "MalformedXML", ""),
        (document("<RedirectAllRequestsTo><Protocol>http</Protocol></RedirectAllRequestsTo>"), "MalformedXML", ""),
        (
            document(
                "<RedirectAllRequestsTo><HostName>h</HostName></RedirectAllRequestsTo>"
                "<IndexDocument><Suffix>a</Suffix></IndexDocument>"
            ),
            "InvalidRequest",
            "in conjunction",
        ),
        (
            document("<RedirectAllRequestsTo><HostName>h/x</HostName></RedirectAllRequestsTo>"),
            "InvalidArgument",
            "HostName",
        ),
        (rule(redirect="<Protocol>ftp</Protocol>"), "InvalidRequest", "Invalid protocol"),
        (rule(redirect="<HttpRedirectCode>300</HttpRedirectCode>"), "InvalidRequest", "redirect code (300)"),
        (rule(redirect="<HttpRedirectCode>x</HttpRedirectCode>"), "InvalidRequest", "redirect code (x)"),
        (rule(redirect=""), "InvalidRequest", "redirect"),
        (
            rule(redirect="<ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith>"),
            "InvalidRequest",
            "but not both",
        ),
        (rule("<Condition/>"), "InvalidRequest", "Condition cannot be empty"),
        (
            rule("<Condition><HttpErrorCodeReturnedEquals>302</HttpErrorCodeReturnedEquals></Condition>"),
            "InvalidRequest",
            "4XX or 5XX",
        ),
        (rule(count=51), "InvalidRequest", "51 routing rules provided"),
        (document("<RoutingRules><RoutingRule/></RoutingRules>"), "InvalidArgument", ""),
    ],
)
def test_what_is_no_configuration(body, code, words):
    with pytest.raises(S3Error) as caught:
        w.parse_website(body)
    assert caught.value.code == code
    assert words in caught.value.text


def test_fifty_rules_are_fine():
    assert len(w.parse_website(rule(count=50)).rules) == 50


@pytest.mark.parametrize(
    ("key", "error", "expected"),
    [
        ("docs/a b", 0, "301 http://here/documents/a%20b"),
        ("docs/a", 404, "302 https://other.example/gone.html"),
        ("a", 404, "302 https://other.example/gone.html"),
        ("a", 403, None),
        ("empty/a", 403, "301 http://here/"),
        ("empty/a", 0, None),
        ("strip/ä", 0, "301 http://h/%C3%A4"),
        ("a", 0, None),
        ("", 500, None),
    ],
)
def test_the_first_rule_that_fits_counts(key, error, expected):
    found = w.find_route(FULL, key, error)
    if expected is None:
        assert found is None
    else:
        status, redirect, new = found
        assert f"{status} {w.render_location(redirect, new, host='here', protocol='http')}" == expected


def test_pages_show_nothing_as_markup():
    error = NoSuchKey(None, Key="<script>&")
    page = w.render_error_page(error, "R", "H", NoSuchKey(None, Key="e.html")).decode()
    assert "<h1>404 Not Found</h1>" in page
    assert "<li>Key: &lt;script&gt;&amp;</li>" in page
    assert "Custom Error Document" in page
    assert "<script>" not in page
    assert w.error_headers(error)["x-amz-error-detail-Key"] == "%3Cscript%3E%26"


WORDS = [
    "<WebsiteConfiguration>",
    "</WebsiteConfiguration>",
    "<IndexDocument>",
    "</IndexDocument>",
    "<Suffix>i</Suffix>",
]
WORDS += [
    "<RoutingRules>",
    "</RoutingRules>",
    "<RoutingRule>",
    "</RoutingRule>",
    "<Redirect>",
    "</Redirect>",
    "a",
    "<Condition>",
]


@given(st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=4)), max_size=16))
def test_any_bytes_give_a_site_or_a_typed_error(words):
    try:
        site = w.parse_website("".join(words).encode("utf-8", "surrogatepass"))
    except S3Error as error:
        site, status = None, error.status
    assert w.parse_website(w.render_website(site)) == site if site is not None else status == 400
