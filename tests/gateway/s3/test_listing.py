"""The listing fold against a naive model, its cost, and its tokens."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection
from contextlib import suppress
from itertools import islice, takewhile
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.errors import InvalidArgument, S3Error
from gateway.s3.listing import (
    HeadsFold,
    Listing,
    Page,
    VersionListing,
    VersionsFold,
    bound,
    decode_token,
    encode_token,
    successor,
)


class HeadRows:
    """A cursor over sorted keys that counts what it is asked and refuses keys an index could not hold.

    It passes over those that are ``dead``, and pauses behind ``passes`` of them.
    """

    def __init__(self, keys: list[bytes], dead: Collection[bytes] = (), passes: int = 0) -> None:
        self.keys, self.dead, self.passes = sorted({*keys, *dead}), set(dead) - set(keys), passes
        self.at = 0
        self.seeks = self.steps = 0
        self.paused_at: bytes | None = None

    def seek(self, key: bytes) -> None:
        assert len(key) <= 1025
        self.seeks += 1
        self.at = bisect_left(self.keys, key)

    def __next__(self) -> tuple[bytes, str]:
        assert self.paused_at is None, "it goes on with another one"
        self.steps += 1
        while self.at < len(self.keys):
            self.at += 1
            if self.keys[self.at - 1] not in self.dead:
                return self.keys[self.at - 1], "head"
            self.passes -= 1
            if not self.passes:
                self.paused_at = self.keys[self.at - 1] + b"\0"
                break
        raise StopIteration

    def __iter__(self) -> HeadRows:
        return self

    def take(self, prefix: bytes, count: int) -> list[tuple[bytes, str]]:
        return list(islice(takewhile(lambda found: found[0].startswith(prefix), self), count))


class Row(NamedTuple):
    key: bytes
    number: int  # newest first: descending


class VersionRows:
    def __init__(self, rows: list[Row], dead: Collection[Row] = (), passes: int = 0) -> None:
        self.rows = sorted({*rows, *dead}, key=lambda row: (row.key, -row.number))
        self.dead, self.passes = set(dead) - set(rows), passes
        self.at = 0
        self.paused_at: tuple[bytes, int] | None = None

    def seek(self, key: bytes, after: int | None = None) -> None:
        self.at = bisect_left(self.rows, key, key=lambda row: row.key)
        while after is not None and self.at < len(self.rows) and self.rows[self.at].key == key:
            if self.rows[self.at].number < after:
                break
            self.at += 1

    def __next__(self) -> Row:
        assert self.paused_at is None, "it goes on with another one"
        while self.at < len(self.rows):
            self.at += 1
            row = self.rows[self.at - 1]
            if row not in self.dead:
                return row
            self.passes -= 1
            if not self.passes:
                self.paused_at = row
                break
        raise StopIteration


def list_heads(rows: HeadRows, page: Page) -> Listing[str]:
    found = HeadsFold[str](page).go_on(rows)
    assert found is not None
    return found


def list_versions(rows: VersionRows, page: Page, after_version: int | None = None) -> VersionListing[Row]:
    found = VersionsFold[Row](page, after_version).go_on(rows)
    assert found is not None
    return found


def naive(keys: list[bytes], page: Page) -> Listing[str]:
    """What AWS documents, the slow way: all entries, then the page."""
    entries: list[tuple[bytes, bool]] = []
    for key in sorted(keys):
        if not key.startswith(page.prefix) or key <= page.after:
            continue
        rest = key[len(page.prefix) :]
        group = b""
        if page.delimiter and page.delimiter in rest:
            group = page.prefix + rest.partition(page.delimiter)[0] + page.delimiter
        if group and page.after.startswith(group):
            continue
        entry = (group, True) if group else (key, False)
        if entry not in entries:
            entries.append(entry)
    taken = entries[: page.keys_max]
    truncated = len(entries) > page.keys_max > 0
    last = taken[-1] if taken else (b"", False)
    return Listing(
        [(entry, "head") for entry, is_group in taken if not is_group],
        [entry for entry, is_group in taken if is_group],
        truncated,
        *last,
    )


KEYS = st.lists(st.text("ab/-é", min_size=1, max_size=6).map(str.encode), max_size=25, unique=True)
TEXT = st.text("ab/-é", max_size=4).map(str.encode)
DELIMITERS = st.sampled_from([b"", b"/", b"-", b"a/", b"//", "é".encode()])


@given(keys=KEYS, prefix=TEXT, delimiter=DELIMITERS, after=TEXT, keys_max=st.integers(0, 6))
def test_a_page_is_what_the_model_says(keys, prefix, delimiter, after, keys_max):
    page = Page(prefix, delimiter, after, keys_max)
    assert list_heads(HeadRows(keys), page) == naive(keys, page)


@given(keys=KEYS, prefix=TEXT, delimiter=DELIMITERS, keys_max=st.integers(1, 4))
def test_pages_join_to_the_whole_by_token_and_by_marker(keys, prefix, delimiter, keys_max):
    whole = naive(keys, Page(prefix, delimiter, b"", 1000))
    for by_token in (True, False):
        contents, prefixes = [], []
        page = Page(prefix, delimiter, b"", keys_max)
        for pages in range(len(keys) + 2):
            assert pages <= len(keys), "the pages do not get on"
            found = list_heads(HeadRows(keys), page)
            contents += found.contents
            prefixes += found.prefixes
            assert len(found.contents) + len(found.prefixes) <= keys_max
            if not found.truncated:
                break
            after, is_prefix = found.last, False
            if by_token:
                after, is_prefix = decode_token(encode_token(found.last, is_prefix=found.last_is_prefix))
            page = Page(prefix, delimiter, after, keys_max, is_prefix)
        assert (contents, prefixes) == (whole.contents, whole.prefixes)


@given(keys=KEYS, dead=KEYS, prefix=TEXT, delimiter=DELIMITERS, keys_max=st.integers(0, 4), passes=st.integers(1, 4))
def test_a_page_goes_on_where_its_cursor_paused(keys, dead, prefix, delimiter, keys_max, passes):
    """However much is passed over between two keys, and with no more of it at once."""
    page = Page(prefix, delimiter, b"", keys_max)
    fold: HeadsFold[str] = HeadsFold(page)
    for goes in range(len(keys) + len(dead) + 1):
        assert goes <= len(dead), "it does not get on"
        found = fold.go_on(HeadRows(keys, dead, passes))
        if found is not None:
            break
    assert found == list_heads(HeadRows(keys), page)


def test_a_common_prefix_costs_one_seek_whatever_lies_under_it():
    keys = [f"{group:03d}/{number:05d}".encode() for group in range(20) for number in range(500)]
    rows = HeadRows(keys)
    found = list_heads(rows, Page(b"", b"/", b"", 1000))
    assert len(found.prefixes) == 20
    assert rows.seeks == 21
    assert rows.steps == 21


def test_a_page_of_a_huge_bucket_costs_a_page():
    rows = HeadRows([f"{number:06d}".encode() for number in range(50_000)])
    found = list_heads(rows, Page(b"", b"", b"010000", 100))
    assert found.truncated
    assert rows.steps == 101


@pytest.mark.parametrize("size", [1024, 1025, 5000])
def test_markers_and_prefixes_longer_than_any_key(size):
    keys = [b"a" * 1024, b"b"]
    assert [key for key, _ in list_heads(HeadRows(keys), Page(b"", b"", b"a" * size)).contents] == [b"b"]
    assert list_heads(HeadRows(keys), Page(b"a" * size)).contents == ([(keys[0], "head")] if size == 1024 else [])
    assert bound(b"x" * size) == b"x" * 1024 + (b"\0" if size > 1024 else b"")


def test_no_keys_asked_is_never_truncated():
    assert list_heads(HeadRows([b"a"]), Page(keys_max=0)) == Listing([], [], False, b"", False)
    assert list_versions(VersionRows([Row(b"a", 1)]), Page(keys_max=0)) == VersionListing([], [], False, None, b"")


def test_successors():
    assert successor(b"a/") == b"a0"
    assert successor(b"a\xff") == b"b"
    assert successor(b"\xff\xff") is None
    assert successor(b"") is None


VERSIONS = st.lists(
    st.builds(Row, st.text("ab/", min_size=1, max_size=3).map(str.encode), st.integers(1, 5)), max_size=25, unique=True
)


@given(rows=VERSIONS, prefix=TEXT, delimiter=DELIMITERS, keys_max=st.integers(1, 4))
def test_pages_of_versions_join_to_the_whole(rows, prefix, delimiter, keys_max):
    ordered = [row for row in sorted(rows, key=lambda row: (row.key, -row.number)) if row.key.startswith(prefix)]
    groups: list[bytes] = []
    singles = []
    for row in ordered:
        head, found, _ = row.key[len(prefix) :].partition(delimiter) if delimiter else (row.key, b"", b"")
        group = prefix + head + delimiter if found else b""
        if group and group not in groups:
            groups.append(group)
        if not group:
            singles.append(row)
    page, after_version = Page(prefix, delimiter, b"", keys_max), None
    seen: list[Row] = []
    prefixes: list[bytes] = []
    for pages in range(len(rows) + 2):
        assert pages <= len(rows), "the pages do not get on"
        found_page = list_versions(VersionRows(rows), page, after_version)
        seen += found_page.versions
        prefixes += found_page.prefixes
        assert len(found_page.versions) + len(found_page.prefixes) <= keys_max
        if not found_page.truncated:
            break
        last = found_page.last
        after_version = last.number if last is not None else None
        page = page._replace(after=last.key if last is not None else found_page.last_prefix)
    assert (seen, prefixes) == (singles, groups)


@given(rows=VERSIONS, dead=VERSIONS, delimiter=DELIMITERS, keys_max=st.integers(0, 4), passes=st.integers(1, 4))
def test_a_page_of_versions_goes_on_where_its_cursor_paused(rows, dead, delimiter, keys_max, passes):
    page = Page(b"", delimiter, b"", keys_max)
    fold: VersionsFold[Row] = VersionsFold(page)
    for goes in range(len(rows) + len(dead) + 1):
        assert goes <= len(dead), "it does not get on"
        found = fold.go_on(VersionRows(rows, dead, passes))
        if found is not None:
            break
    assert found == list_versions(VersionRows(rows), page)


def test_a_key_marker_alone_lies_behind_all_versions_of_the_key():
    rows = [Row(b"a", 1), Row(b"a", 2), Row(b"b", 1)]
    assert list_versions(VersionRows(rows), Page(after=b"a")).versions == [Row(b"b", 1)]
    assert list_versions(VersionRows(rows), Page(after=b"a"), 2).versions == [Row(b"a", 1), Row(b"b", 1)]
    # The marked version may be gone meanwhile: the listing goes on behind where it was.
    assert list_versions(VersionRows(rows[:1]), Page(after=b"a"), 2).versions == [Row(b"a", 1)]


@given(last=st.binary(min_size=1, max_size=1024), is_prefix=st.booleans())
def test_tokens(last, is_prefix):
    token = encode_token(last, is_prefix=is_prefix)
    assert decode_token(token) == (last, is_prefix)
    assert token.isascii()
    for tampered in (token[1:], token[:-4], "A" + token[1:] if token[0] != "A" else "B" + token[1:]):
        with pytest.raises(InvalidArgument):
            decode_token(tampered)


@given(token=st.text(max_size=40) | st.text("ABCDEFabcdef012345-_=", max_size=40))
def test_any_text_is_a_token_or_a_typed_error(token):
    with suppress(S3Error):
        decode_token(token)
