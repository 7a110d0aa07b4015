"""What is said of sites: how statements add up, in any order, and what is no statement."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replication.change_format import ChangeInvalid, ChangeTooNew
from replication.crdt import Dot
from replication.member_format import (
    ForgottenRecord,
    NameRecord,
    RetiredRecord,
    check_member_item,
    encode_member,
    forgotten_item,
    name_item,
    read_register,
    retired_item,
)
from replication.ports import Statement

A, B, C = (name * 16 for name in (b"a", b"b", b"c"))
ONE, TWO = b"1" * 8, b"2" * 8


def said(by, seq, item, record, *, hlc=1, dead=False):
    return Statement(item, Dot(by, ONE, seq), hlc, dead, b"" if dead else encode_member(record))


records = st.builds(
    ForgottenRecord,
    at_ms=st.integers(0, 3),
    cut=st.dictionaries(st.sampled_from([ONE, TWO]), st.integers(0, 4)).map(lambda cut: tuple(cut.items())),
    heir=st.sampled_from([A, B]),
    revoked=st.booleans(),
)


@st.composite
def forgettings(draw):
    by = draw(st.lists(st.sampled_from([A, B, C]), min_size=1, unique=True))
    return [said(site, 1, forgotten_item(C, site), draw(records)) for site in by]


@given(forgettings(), st.randoms(use_true_random=False))
def test_statements_add_up_whatever_their_order(statements, rng):
    removal = read_register(statements).removed[C]
    shuffled = list(statements)
    rng.shuffle(shuffled)
    assert read_register(shuffled).removed[C] == removal
    decoded = [msgspec.msgpack.decode(one.body, type=ForgottenRecord) for one in statements]
    for incarnation in (ONE, TWO):
        assert removal.counts(incarnation) == max(dict(record.cut).get(incarnation, 0) for record in decoded)
    assert removal.revoked == any(record.revoked for record in decoded)
    assert removal.at_ms == min(record.at_ms for record in decoded)
    assert removal.dots == {one.dot for one in statements}


def test_names_and_retirements():
    register = read_register(
        [
            said(A, 1, name_item(C), NameRecord(name="old"), hlc=5),
            said(B, 1, name_item(C), NameRecord(name="shop 7"), hlc=6),
            said(A, 2, retired_item(B, A), RetiredRecord(at_ms=9)),
            said(C, 2, retired_item(B, C), RetiredRecord(at_ms=7)),
            said(A, 3, retired_item(C, A), None, dead=True),
        ]
    )
    assert (register.names, register.retired, register.removed) == ({C: "shop 7"}, {B: 7}, {})


@pytest.mark.parametrize(
    ("item", "body"),
    [
        (b"name/" + b"0" * 31, encode_member(NameRecord(name="x"))),
        (b"forgotten/" + b"0" * 32, encode_member(ForgottenRecord(heir=A))),
        (name_item(A), encode_member(NameRecord(name=""))),
        (name_item(A), encode_member(NameRecord(name="x" * 201))),
        (name_item(A), b"\xc1"),
        (forgotten_item(A, B), encode_member(ForgottenRecord(heir=b"short"))),
        (forgotten_item(A, B), encode_member(ForgottenRecord(heir=A, cut=((b"short", 1),)))),
        (forgotten_item(A, B), encode_member(ForgottenRecord(heir=A, cut=((ONE, -1),)))),
    ],
)
def test_what_is_no_statement_is_refused(item, body):
    with pytest.raises(ChangeInvalid) as refused:
        check_member_item(item, body, dead=False)
    assert not isinstance(refused.value, ChangeTooNew)


@pytest.mark.parametrize(
    ("item", "body"),
    [(b"blessed/" + A.hex().encode(), b""), (name_item(A), encode_member(NameRecord(version=2, name="x")))],
)
def test_what_a_newer_skerry_says_stops_the_log(item, body):
    with pytest.raises(ChangeTooNew, match="upgrade"):
        check_member_item(item, body, dead=False)
