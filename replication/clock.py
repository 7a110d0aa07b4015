"""The hybrid logical clock: 48 bits of wall milliseconds and a 16-bit counter in one integer.

A write's clock is ``max(own clock, clock of what it replaces + 1)``: never of everything ever seen, so that one site's
bad clock poisons only the keys it wrote. Wall time is an argument; this module reads no clock of its own.

Source: Kulkarni et al., "Logical Physical Clocks" (2014).
"""

from __future__ import annotations

from typing import NamedTuple

COUNTER_BITS = 16
HLC_MAX = (1 << 64) - 1


def hlc_of(wall_ms: int) -> int:
    """The smallest clock value of a wall-clock millisecond (unix epoch)."""
    return wall_ms << COUNTER_BITS


def wall_ms_of(hlc: int) -> int:
    """The wall-clock part, in unix milliseconds."""
    return hlc >> COUNTER_BITS


class Tick(NamedTuple):
    """What ``tick`` gives: the write's clock, and the site's own clock to remember (without the jump over
    ``above``).
    """

    hlc: int
    own: int


def tick(own: int, wall_ms: int, above: int = 0) -> Tick:
    """The clock of the next local write.

    ``own`` is the clock this site remembers; ``above`` the clock of what the write replaces (or of the newest version
    of its key). The write's clock is greater than both. Only the first part is remembered, which is what keeps a
    poisoned key's far-future clock from spreading to every later write of this site.
    """
    ticked = max(own + 1, hlc_of(wall_ms))
    hlc = max(ticked, above + 1)
    if hlc > HLC_MAX:
        raise OverflowError("the hybrid clock left its 64 bits: a replaced write carries an impossible time")
    return Tick(hlc, ticked)
