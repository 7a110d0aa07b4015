"""What goes into a round: nothing lost, order kept, limits held, always progress."""

from hypothesis import given
from hypothesis import strategies as st

from replication.frame_format import CODEC_STORED, KIND_DATA, FrameHeader, decode_header, encode_header
from replication.plan import plan_round
from replication.settings import ShipLimits


def header(number, size):
    return encode_header(
        FrameHeader(
            CODEC_STORED, KIND_DATA, 0, number, size, size, b"e" * 16, b"s" * 24, number.to_bytes(32, "big"), b"t" * 32
        )
    )


def size_of(encoded):
    return decode_header(encoded).stored_size


needs_lists = st.lists(
    st.lists(st.tuples(st.integers(0, 40), st.just(0)), max_size=6).map(
        lambda pairs: [header(number, 16 + number * 7 % 200) for number, _ in pairs]
    ),
    min_size=1,
    max_size=10,
)
limits_values = st.builds(
    ShipLimits,
    frames_max=st.integers(1, 12),
    frame_bytes_max=st.integers(1, 1500),
    pack_bytes_max=st.integers(1, 500),
    inline_bytes_max=st.integers(0, 600),
)


@given(needs_lists, limits_values)
def test_a_round_is_a_prefix_within_limits(needs, limits):
    plan = plan_round(needs, limits)
    sent = [*plan.inline, *[one for pack in plan.packs for one in pack]]
    assert len(set(sent)) == len(sent)
    assert not (plan.inline and plan.packs)
    wanted = list(dict.fromkeys(one for headers in needs[: plan.changes or 1] for one in headers))
    assert sent == (wanted if plan.changes else wanted[: len(sent)])
    assert plan.changes or sent, "there is always progress"
    assert len(sent) <= limits.frames_max or len(sent) == 1
    assert sum(map(size_of, sent)) <= limits.frame_bytes_max or len(sent) == 1
    assert all(sum(map(size_of, pack)) <= limits.pack_bytes_max or len(pack) == 1 for pack in plan.packs)
    if sum(map(size_of, sent)) <= limits.inline_bytes_max:
        assert plan.packs == ()


@given(needs_lists, limits_values)
def test_rounds_end_and_send_every_frame_once(needs, limits):
    in_cloud, left = [], list(needs)
    for _ in range(200):
        if not left:
            break
        plan = plan_round([[one for one in headers if one not in in_cloud] for headers in left], limits)
        in_cloud += [*plan.inline, *[one for pack in plan.packs for one in pack]]
        left = left[plan.changes :]
    assert left == []
    assert sorted(in_cloud) == sorted({one for headers in needs for one in headers})


def test_changes_without_frames_go_together():
    assert plan_round([()] * 5, ShipLimits()) == (5, (), ())
