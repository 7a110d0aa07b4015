"""Bucket names, keys and targets."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.errors import InvalidBucketName, InvalidURI, KeyTooLongError
from gateway.s3.names import HostNames, Target, check_bucket_name, check_key, is_valid_bucket_name, parse_target
from gateway.s3.uri import EMPTY_QUERY, canonicalise_query, decode_percent, encode_component, parse_query, split_target


@pytest.mark.parametrize("name", ["abc", "a-b", "a.b", "1ab", "a" * 63, "my.bucket-1", "192.168.5", "docexamplebucket"])
def test_names_aws_allows(name):
    assert check_bucket_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "", "a", "ab", "a" * 64, "Abc", "a_b", "-abc", "abc-", ".abc", "abc.", "a..b", "192.168.5.4", "xn--abc",
        "sthree-abc", "abc-s3alias", "abc--ol-s3", "abc.mrap", "abc--x-s3", "a b", "a/b", "abc\n", "äbc", "abc\0",
    ],
)  # fmt: skip
def test_names_aws_refuses(name):
    assert not is_valid_bucket_name(name)
    with pytest.raises(InvalidBucketName):
        check_bucket_name(name)


@pytest.mark.parametrize(
    ("path", "bucket", "key"),
    [
        ("/", None, None),
        ("/b", "b", None),
        ("/b/", "b", None),
        ("/b/k", "b", "k"),
        ("/b//k", "b", "/k"),
        ("/b/a/../k/./", "b", "a/../k/./"),
        ("/b/..", "b", ".."),
        ("/b/%2E%2e/x", "b", "../x"),
        ("/b/a%2Fb", "b", "a/b"),
        ("/b/a+b%20c", "b", "a+b c"),
        ("/b/%25", "b", "%"),
        ("/b/%2525", "b", "%25"),  # decoded once
        ("/b/%E2%82%AC", "b", "€"),
        ("/b/€", "b", "€"),
        ("/b/?", "b", "?"),
        ("/b/%01", "b", "\x01"),
    ],
)
def test_path_style(path, bucket, key):
    assert parse_target(path, "127.0.0.1:9000") == Target(bucket, key, path)


@pytest.mark.parametrize(
    ("host", "path", "bucket", "key"),
    [
        ("b.s3.example.com", "/k", "b", "k"),
        ("B.S3.Example.Com:9000", "/", "b", None),
        ("a.b.s3.example.com", "//k", "a.b", "/k"),
        ("s3.example.com", "/b/k", "b", "k"),
        ("xs3.example.com", "/b/k", "b", "k"),
        (".s3.example.com", "/b/k", "b", "k"),
        ("[::1]:9000", "/b/k", "b", "k"),
    ],
)
def test_virtual_hosts(host, path, bucket, key):
    target = parse_target(path, host, HostNames(("s3.example.com",)))
    assert (target.bucket, target.key) == (bucket, key)


HOSTS = HostNames(("s3.site", "a.web.s3.site"), ("web.s3.site", "www.shop.example"), custom=True)


@pytest.mark.parametrize(
    ("host", "bucket", "website"),
    [
        ("b.s3.site:80", "b", False),
        ("s3.site", None, False),
        ("b.web.s3.site", "b", True),
        ("web.s3.site", "web.s3.site", True),
        ("b.a.web.s3.site", "b", False),
        ("WWW.Shop.example.:8080", "www.shop.example", True),
        ("x.www.shop.example", "x", True),
        ("cdn.example", "cdn.example", False),
        ("cdn", None, False),
        ("not_a_bucket.example", None, False),
        ("b.localhost:9000", "b", False),
        ("localhost:9000", None, False),
        ("127.0.0.1", None, False),
        ("127.0.0.1:9000", None, False),
        ("[::1]", None, False),
        ("[::ffff:1.2.3.4]:9000", None, False),
        ("", None, False),
        (":80", None, False),
        ("..", None, False),
    ],
)
def test_hosts(host, bucket, website):
    for _ in range(2):
        target = parse_target("/x/y", host, HOSTS)
        if bucket is None:
            assert target == Target("x", "y", "/x/y")
        else:
            assert target == Target(bucket, "x/y", "/x/y", True, website)


def test_a_name_nobody_listed_is_path_style_and_localhost_always_listed():
    assert parse_target("/x/y", "cdn.example") == Target("x", "y", "/x/y")
    assert parse_target("/y", "x.localhost") == Target("x", "y", "/y", True)


def test_hosts_that_are_remembered_are_bounded():
    hosts = HostNames()
    for number in range(10_000):
        hosts.find(f"b{number}.localhost")
    assert len(hosts._known) <= 4096


@pytest.mark.parametrize(
    "path", ["/b/%", "/b/%4", "/b/%zz", "/b/%ff", "/b/%00", "/b/%C0%AF", "/%ff/k", "b", "", "/b/%ED%A0%80"]
)
def test_paths_that_are_none(path):
    with pytest.raises(InvalidURI):
        parse_target(path, "h")


def test_raw_bytes_that_are_not_utf8_are_refused():
    with pytest.raises(InvalidURI):
        parse_target(b"/b/\xff".decode("utf-8", "surrogateescape"), "h")


def test_a_key_may_have_1024_bytes_of_utf8():
    assert parse_target("/b/" + "%C3%A4" * 512, "h").key_bytes == "ä".encode() * 512
    for key in ("ä" * 512 + "x", "x" * 1025):
        with pytest.raises(KeyTooLongError):
            check_key(key)
    for key in ("", "a\0b"):
        with pytest.raises(InvalidURI):
            check_key(key)


@given(key=st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1, max_size=200))
def test_every_key_comes_back_from_its_encoded_path(key):
    for safe in ("", "/", "/!*'()"):
        assert parse_target("/b/" + quote(key, safe=safe), "h").key == key


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/a?b=c", ("/a", "b=c")),
        ("/a?b?c", ("/a", "b?c")),
        ("/a", ("/a", "")),
        ("http://h:1/a?b", ("/a", "b")),
        ("https://h", ("/", "")),
        ("http://h?a", ("/", "a")),
        ("http://h?a/b", ("/", "a/b")),
    ],
)
def test_targets(target, expected):
    assert split_target(target) == expected


def test_an_absolute_target_may_not_contradict_the_host():
    assert split_target("http://H:1/a?b", "h:1") == ("/a", "b")
    assert split_target("/a", "h:1") == ("/a", "")
    for host in ("h", "other", ""):
        with pytest.raises(InvalidURI):
            split_target("http://h:1/a", host)


@pytest.mark.parametrize("target", ["", "*", "a", "ftp://h/a", "h:443"])
def test_targets_that_are_none(target):
    with pytest.raises(InvalidURI):
        split_target(target)


def test_queries():
    query = parse_query("prefix=a%2Fb&acl&x=1&x=2&&y=a+b=c")
    assert query.pairs == (("prefix", "a/b"), ("acl", ""), ("x", "1"), ("x", "2"), ("y", "a b=c"))
    assert query.params["x"] == "1"
    assert parse_query("") is EMPTY_QUERY
    for raw in ("a=%", "a=%ff", "%=1", "a=%00", "&".join(["a"] * 2000)):
        with pytest.raises(InvalidURI):
            parse_query(raw)


def test_a_plus_in_a_path_is_a_plus():
    assert decode_percent("a+b") == "a+b"


PAIRS = st.lists(
    st.tuples(st.text("a=&%+ ~€-Z/.1", min_size=1, max_size=4), st.text("a=&%+ ~€-Z/.1", max_size=4)), max_size=5
)


@given(pairs=PAIRS)
def test_a_query_has_one_canonical_form_however_it_is_written(pairs):
    expected = "&".join(f"{n}={v}" for n, v in sorted((encode_component(n), encode_component(v)) for n, v in pairs))
    for safe, spaced in (("", False), ("/.~", False), ("", True)):
        raw = "&".join(quote(name, safe=safe) + "=" + quote(value, safe=safe) for name, value in pairs)
        raw = raw.replace("%20", "+") if spaced else raw
        query = parse_query(raw)
        assert query.pairs == tuple(pairs)
        assert canonicalise_query(query) == expected
        assert canonicalise_query(parse_query(expected)) == expected
    if pairs and encode_component(pairs[0][0]) == pairs[0][0]:
        name = pairs[0][0]
        rest = "&".join(p for p in expected.split("&") if not p.startswith(encode_component(name) + "="))
        assert canonicalise_query(parse_query(expected), without=name) == rest


def test_strangers_fill_no_memory_with_hosts_of_their_own():
    hosts = HostNames(("s3.example",))
    assert hosts.find("x" * 300 + ".s3.example").bucket == "x" * 300
    assert hosts.find("b.s3.example").bucket == "b"
    assert list(hosts._known) == ["b.s3.example"]
