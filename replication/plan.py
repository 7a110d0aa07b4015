"""What goes into one ship round: pure arithmetic on frame headers and limits.

Changes are taken in order, each with the frames it needs that the cloud lacks, until a limit is reached. A change whose
own frames pass the limit lets a round of frames alone go ahead: the bytes of a huge object are committed piece by
piece, survive an interruption, and the change follows when they are all there. Small rounds carry their frames inline.

Not here: reading frames, uploading (shipper).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from replication.frame_format import decode_header
from replication.settings import ShipLimits


class RoundPlan(NamedTuple):
    """How many changes go, and the headers of frames: ``inline`` in the batch, or one tuple for each pack."""

    changes: int
    inline: tuple[bytes, ...]
    packs: tuple[tuple[bytes, ...], ...]


def plan_round(needs: Iterable[Sequence[bytes]], limits: ShipLimits) -> RoundPlan:
    """The next round, given for each change in order the headers of the frames it needs (bases first, repeats allowed).

    Takes from ``needs`` lazily. The order of frames is kept, so a base never comes after its patch.
    """
    chosen: dict[bytes, int] = {}
    changes = 0
    for headers in needs:
        fresh = {header: decode_header(header).stored_size for header in headers if header not in chosen}
        if not _fits(chosen | fresh if fresh else chosen, limits):
            if changes == 0:
                chosen = _prefix(fresh, limits)
            break
        chosen |= fresh
        changes += 1
    if sum(chosen.values()) <= limits.inline_bytes_max:
        return RoundPlan(changes, tuple(chosen), ())
    return RoundPlan(changes, (), _group(chosen, limits))


def _fits(frames: dict[bytes, int], limits: ShipLimits) -> bool:
    return len(frames) <= limits.frames_max and sum(frames.values()) <= limits.frame_bytes_max


def _prefix(frames: dict[bytes, int], limits: ShipLimits) -> dict[bytes, int]:
    """As many first frames as fit; at least one, so that there is progress."""
    taken: dict[bytes, int] = {}
    total = 0
    for header, size in frames.items():
        total += size
        if taken and (len(taken) >= limits.frames_max or total > limits.frame_bytes_max):
            break
        taken[header] = size
    return taken


def _group(frames: dict[bytes, int], limits: ShipLimits) -> tuple[tuple[bytes, ...], ...]:
    packs: list[list[bytes]] = []
    filled = 0
    for header, size in frames.items():
        if not packs or filled + size > limits.pack_bytes_max:
            packs.append([])
            filled = 0
        packs[-1].append(header)
        filled += size
    return tuple(tuple(pack) for pack in packs)
