"""The form parser: whole, byte at a time, and fed anything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.errors import S3Error
from gateway.s3.form import FIELDS_BYTES_MAX, FormParser, parse_boundary

BOUNDARY = b"xYz"


def part(name, value, filename=None, headers=b""):
    extra = b'; filename="' + filename + b'"' if filename is not None else b""
    return (
        b'--xYz\r\nContent-Disposition: form-data; name="' + name + b'"' + extra + b"\r\n" + headers + b"\r\n" + value
    ) + b"\r\n"


def form(*parts, end=b"--xYz--\r\n"):
    return b"".join(parts) + end


def parse(data, step=None):
    """(fields, filename, the file's bytes), fed in pieces of ``step``."""
    parser = FormParser(BOUNDARY)
    out = b""
    step = step or max(len(data), 1)
    for at in range(0, len(data), step):
        for piece in parser.feed(data[at : at + step]):
            assert parser.has_file
            out += piece
    parser.finish()
    return parser.fields, parser.filename, out


GOOD = {
    "plain": (form(part(b"key", b"k"), part(b"file", b"abc", b"f.txt")), ({"key": "k"}, "f.txt", b"abc")),
    "empty": (form(part(b"A", b""), part(b"file", b"", b"")), ({"a": ""}, "", b"")),
    "preamble": (b"hello\r\n" + form(part(b"file", b"x")), ({}, "", b"x")),
    "no-epilogue": (form(part(b"file", b"x"), end=b"--xYz--"), ({}, "", b"x")),
    "padding": (form(part(b"file", b"x"), end=b"--xYz \t\r\nrest"), ({}, "", b"x")),
    "after": (form(part(b"file", b"x"), part(b"late", b"y"), part(b"file", b"z")), ({}, "", b"x")),
    "types": (
        form(part(b"file", b"x", b"f", b"Content-Type: a/b\r\ncontent-transfer-encoding: Binary\r\n")),
        ({}, "f", b"x"),
    ),
    "near": (
        form(part(b"k", b"\r\n--xY\r\n"), part(b"file", b"\r\r\n-\r\n--xY--\r")),
        ({"k": "\r\n--xY\r\n"}, "", b"\r\r\n-\r\n--xY--\r"),
    ),
    "windows": (form(part(b"file", b"x", b"C:\\dir\\f.txt")), ({}, "C:\\dir\\f.txt", b"x")),
    "quote": (form(part(b"file", b"x", b'a\\"b;c')), ({}, 'a"b;c', b"x")),
    "utf-8": (form(part("schlüssel".encode(), "käse".encode()), part(b"file", b"")), ({"schlüssel": "käse"}, "", b"")),
    "token": (
        form(b"--xYz\r\ncontent-disposition:form-data;name=File;filename=f\r\n\r\nx\r\n"),
        ({}, "f", b"x"),
    ),
}
BAD = {
    "empty": (b"", "MalformedPOSTRequest"),
    "no file": (form(part(b"key", b"k")), "InvalidArgument"),
    "only end": (b"--xYz--\r\n", "InvalidArgument"),
    "cut": (form(part(b"key", b"k"), part(b"file", b"abc"), end=b""), "MalformedPOSTRequest"),
    "cut at end": (form(part(b"file", b"abc"), end=b"--xYz"), "MalformedPOSTRequest"),
    "half an end": (form(part(b"file", b"abc"), end=b"--xYz-"), "MalformedPOSTRequest"),
    "longer boundary": (form(part(b"file", b"abc"), end=b"--xYzz\r\n"), "MalformedPOSTRequest"),
    "bare newline": (form(part(b"file", b"abc")).replace(b"\r\n", b"\n"), "MalformedPOSTRequest"),
    "no name": (form(b"--xYz\r\nContent-Disposition: form-data\r\n\r\nx\r\n"), "MalformedPOSTRequest"),
    "no headers": (form(b"--xYz\r\n\r\nx\r\n"), "MalformedPOSTRequest"),
    "twice": (form(part(b"key", b"1"), part(b"KEY", b"2"), part(b"file", b"")), "InvalidArgument"),
    "latin-1": (form(part(b"key", b"\xe4"), part(b"file", b"")), "MalformedPOSTRequest"),
    "base64": (form(part(b"file", b"", b"f", b"Content-Transfer-Encoding: base64\r\n")), "MalformedPOSTRequest"),
    "dispositions": (
        form(part(b"file", b"", b"f", b'Content-Disposition: form-data; name="key"\r\n')),
        "MalformedPOSTRequest",
    ),
    "attachment": (form(b'--xYz\r\nContent-Disposition: attachment; name="file"\r\n\r\n\r\n'), "MalformedPOSTRequest"),
    "padding": (form(b"--xYz" + b" " * 300 + b"\r\n"), "MalformedPOSTRequest"),
    "large": (form(part(b"a", b"x" * FIELDS_BYTES_MAX), part(b"file", b"")), "MaxPostPreDataLengthExceeded"),
    "never": (b"x" * (FIELDS_BYTES_MAX + 1), "MaxPostPreDataLengthExceeded"),
}


@pytest.mark.parametrize("step", [None, 1, 2, 7])
@pytest.mark.parametrize("name", GOOD)
def test_good_forms(name, step):
    data, expected = GOOD[name]
    assert parse(data, step) == expected


@pytest.mark.parametrize("step", [None, 1, 5])
@pytest.mark.parametrize("name", BAD)
def test_bad_forms(name, step):
    data, code = BAD[name]
    with pytest.raises(S3Error) as caught:
        parse(data, step)
    assert caught.value.code == code


def test_the_limit_is_of_what_precedes_the_file():
    head = part(b"file", b"", b"f")[:-2]
    field = part(b"a", b"x" * 100)
    filling = FIELDS_BYTES_MAX - len(head) - len(field) + 100
    data = form(part(b"a", b"x" * filling), head + b"y" * 100_000 + b"\r\n")
    for step in (None, 1, 1000):
        assert len(parse(data, step)[2]) == 100_000
    with pytest.raises(S3Error) as caught:
        parse(form(part(b"a", b"x" * (filling + 1)), head + b"y\r\n"))
    assert caught.value.code == "MaxPostPreDataLengthExceeded"


def test_a_file_is_handed_on_while_it_comes():
    parser = FormParser(BOUNDARY)
    assert parser.feed(part(b"file", b"")[:-2]) == []
    held = 0
    for _ in range(1000):
        held += 1000 - sum(map(len, parser.feed(b"\r" * 500 + b"\n-" * 250)))
        assert 0 <= held <= 2000


@given(st.binary(max_size=300), st.lists(st.integers(1, 50), max_size=20))
def test_any_file_comes_out_as_it_went_in(content, steps):
    if b"\r\n--xYz" in b"\r\n" + content:
        return
    data = form(part(b"key", b"k"), part(b"file", content))
    parser, out, at = FormParser(BOUNDARY), b"", 0
    for step in [*steps, len(data)]:
        out += b"".join(parser.feed(data[at : at + step]))
        at += step
    parser.finish()
    assert out == content


TOKENS = [
    b"--xYz",
    b"--",
    b"\r\n",
    b"\r",
    b"\n",
    b"Content-Disposition: form-data; name=",
    b'"',
    b"file",
    b";",
    b":",
    b" ",
]


@given(st.lists(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=5)), max_size=30), st.integers(1, 9))
def test_any_bytes_give_a_typed_error_and_the_same_at_every_step(tokens, step):
    data = b"".join(tokens)

    def attempt(size):
        try:
            return parse(data, size)
        except S3Error as error:
            return error.status, error.code

    assert attempt(None) == attempt(step) == attempt(1)
    assert len(attempt(None)) == 3 or attempt(None)[0] == 400


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data; charset=utf-8; Boundary="a b=c"; x=y', b"a b=c"),
        (
            "multipart/form-data;boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW",
            b"----WebKitFormBoundary7MA4YWxkTrZu0gW",
        ),
        ("multipart/form-data", None),
        ("multipart/form-data; boundary=", None),
        ("multipart/form-data; boundary=" + "x" * 71, None),
        ("multipart/mixed; boundary=abc", None),
        ("multipart/form-data; boundary=\udcff", None),
    ],
)
def test_boundary(text, expected):
    if expected is None:
        with pytest.raises(S3Error):
            parse_boundary(text)
    else:
        assert parse_boundary(text) == expected
