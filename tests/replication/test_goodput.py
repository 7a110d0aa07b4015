"""How large a piece may be: less after each failure, more after each success, and what the line carries in half a
minute.
"""

from replication.goodput import PIECE_BYTES_MIN, PIECE_S, Goodput
from replication.settings import ShipLimits

LIMITS = ShipLimits()


def test_a_fast_line_soon_gets_whole_packs():
    goodput = Goodput()
    for _ in range(4):
        piece = goodput.fit(LIMITS).pack_bytes_max
        goodput.note_success(piece, piece / 20e6)
    assert goodput.fit(LIMITS) == LIMITS


def test_a_slow_line_gets_what_it_carries_in_half_a_minute():
    goodput = Goodput()
    for _ in range(12):
        piece = goodput.fit(LIMITS).pack_bytes_max
        goodput.note_success(piece, piece / 10_000)
    assert 0.5 * 10_000 * PIECE_S < goodput.fit(LIMITS).pack_bytes_max < 2 * 10_000 * PIECE_S


def test_a_line_that_is_reset_after_every_300_kb_gets_something_through():
    goodput = Goodput()
    delivered = failures = 0
    for _ in range(60):
        piece = goodput.fit(LIMITS).pack_bytes_max
        if piece > 300_000:
            goodput.note_failure(piece)
            failures += 1
        else:
            goodput.note_success(piece, piece / 1e6)
            delivered += piece
    assert delivered > 20 * 150_000
    assert failures < 40


def test_pieces_never_vanish_and_small_answers_say_nothing():
    goodput = Goodput()
    before = goodput.bytes_per_s
    goodput.note_success(10, 3.0)
    goodput.note_failure(10)
    assert goodput.bytes_per_s == before
    for _ in range(100):
        goodput.note_failure(1 << 20)
    assert goodput.fit(LIMITS).pack_bytes_max == PIECE_BYTES_MIN
    assert goodput.deadline_s(4 << 20, 60) < 4 * 3600, "a frame of 4 MiB is given up some day"
