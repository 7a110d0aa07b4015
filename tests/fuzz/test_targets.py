"""Every parser against random bytes, bytes of its own words and documents of its own tags: a value or a typed error.

Sixty inputs each; ``make fuzz`` goes on from here, guided by coverage, for as long as it is told to.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import BY_HAND, EXEMPT, Target, find_parsers, find_targets

TARGETS = find_targets()
PUNCTUATION = [
    b"<",
    b">",
    b"</",
    b'"',
    b"=",
    b"&",
    b"%",
    b"\0",
    b",",
    b":",
    b"-",
    b"/",
    b"{",
    b"}",
    b"[",
    b"]",
    b"1",
    b"*",
]


def documents(words: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    """XML whose tags and texts are the parser's own words."""
    tags = [word for word in words if word.isalnum()] or [b"a"]
    leaf = st.sampled_from([*words, b"1", b"-1", b"", b"2030-01-01T00:00:00Z"])
    tree = st.recursive(
        leaf,
        lambda inner: st.builds(
            lambda tag, parts: b"<%s>%s</%s>" % (tag, b"".join(parts), tag),
            st.sampled_from(tags),
            st.lists(inner, max_size=4),
        ),
        max_leaves=12,
    )
    return st.builds(
        lambda tag, inner: b"<%s>%s</%s>" % (tag, b"".join(inner), tag), st.sampled_from(tags), st.lists(tree)
    )


def inputs(target: Target) -> st.SearchStrategy[bytes]:
    words = st.lists(st.sampled_from([*target.words, *PUNCTUATION]) | st.binary(max_size=3), max_size=30).map(b"".join)
    return st.binary(max_size=300) | words | documents(target.words)


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_are_a_value_or_a_typed_error(name):
    target = TARGETS[name]

    @settings(max_examples=30, deadline=None)
    @given(inputs(target))
    def check(data):
        target.run(data)

    check()


def test_every_parser_is_fuzzed():
    missing = [name for name, _ in find_parsers() if name not in TARGETS and name not in EXEMPT]
    assert not missing, "say in tests/fuzz/targets.py how to call these (BY_HAND), or why not to (EXEMPT)"


def test_the_lists_name_only_parsers_that_exist():
    known = {name for name, _ in find_parsers()}
    assert set(BY_HAND) <= known
    assert set(EXEMPT) <= known


def test_an_untyped_error_is_noticed():
    def broken(data: bytes) -> None:
        data.decode("ascii")

    from tests.fuzz.targets import _runner

    broken.__annotations__ = {"data": "bytes"}
    run = _runner(broken)
    assert run is not None
    with pytest.raises(UnicodeDecodeError):
        run(b"\xff")
