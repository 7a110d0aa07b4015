"""What collection needs from a store: what the bucket holds and of what use that is, dooms, and tombstones.

Stands beside ``ports`` (change log, frames, cloud), which it needs and which does not know it. ``gateway/store``
implements both protocols, in ``holdings`` and ``graveyard``; the contract suites in ``tests/contracts`` run over every
implementation. Error semantics are part of each contract: a method either did what it says, durably where it says so,
or raised.

Not here: when to collect, and why nothing live is lost by it (``collector``, ``tombstones``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from replication.crdt import Dot
from replication.ports import Frame, FrameLocation, Origin

EpochIds = frozenset[bytes]


class DoomState(IntEnum):
    """How far a doom has come on a site: applied (nothing relies on its objects any more); settled (what this site
    needs of them is confirmed to be elsewhere: only now it is acknowledged); discarded (their contents are forgotten).
    """

    APPLIED = 0
    SETTLED = 1
    DISCARDED = 2


@dataclass(frozen=True, slots=True)
class Doom:
    """Objects that their owner is about to delete: the change that said so, when it was applied here (unix ms), the
    objects' names, and how far it has come here.
    """

    dot: Dot
    applied_ms: int
    names: tuple[str, ...]
    state: DoomState


@dataclass(frozen=True, slots=True)
class HeldObject:
    """An object of frames in the bucket: ciphertext bytes in all, those that something needs, epochs of its frames."""

    name: str
    frames: int
    bytes: int
    live_bytes: int
    doomed: bool
    epochs: EpochIds = frozenset()


class Holdings(Protocol):
    """What the bucket holds as this site knows it, and what of it something needs: for collection in the cloud.

    ``since_ms``: what nothing needs any more counts as needed if it was needed later than this (unix ms).
    """

    def held_objects(self, prefix: str, after: str, count_max: int, since_ms: int) -> list[HeldObject]:
        """Objects under ``prefix`` that hold frames, by name, greater than ``after``: each with what it holds."""

    def closed_pages(self, count_max: int) -> list[bytes]:
        """Pages that something needs and that were not opened here yet: as long as there are any, what they list is
        needed and unknown, and nothing may be said to be dead.
        """

    def leaving_frames(
        self, names: Sequence[str], since_ms: int, count_max: int, bytes_max: int
    ) -> list[FrameLocation]:
        """Frames in these objects that something needs (bases of such patches included) and that lie nowhere else to
        stay, bases first; at least one if there is any.
        """

    def local_frame(self, header: bytes) -> Frame | None:
        """The frame that this header names if it is on this site, and sound; it may have been sealed anew since."""

    def sealed_here(self) -> Mapping[bytes, int]:
        """How much on this site's disk is sealed under each epoch."""

    def dooms(self) -> list[Doom]:
        """Every doom that is not ended, by its dot."""

    async def doom(self, names: Sequence[str]) -> None:
        """Make the own change that dooms these objects. Their owner's business."""

    async def end_dooms(self, dots: Sequence[Dot]) -> None:
        """Make the own changes that end these dooms: their objects are gone, and nothing is left of either. Only of
        objects under the current own log.
        """

    def untrusted(self) -> list[bytes]:
        """Sites that may not know of this site's current log yet: until they acknowledge it, or are trusted, nothing
        that lies only in their objects is relied on.
        """

    async def trust(self, sites: Sequence[bytes]) -> None:
        """These sites wait for this site's log before they delete anything, although they did not say so."""

    async def record_doom(self, dot: Dot, state: DoomState) -> None:
        """A doom has come so far here. Never goes back."""


@dataclass(frozen=True, slots=True)
class Horizon:
    """Everybody had applied ``cut`` of each log, and what that is ``resting_on``, at ``since_ms`` (trusted unix ms)."""

    cut: Mapping[Origin, int]
    resting_on: Mapping[Origin, int]
    since_ms: int


@dataclass(frozen=True, slots=True)
class Tombstones:
    """A piece of a walk over what is dead: ``due`` items (opaque), how many are ``kept`` and why, where to go on."""

    due: Sequence[bytes]
    kept: Mapping[str, int]
    after: bytes


class Graveyard(Protocol):
    """Tombstones of the site's state, and their end (``tombstones``): ordinary own changes that replace them."""

    def horizon(self) -> Horizon | None:
        """The one recorded last."""

    async def record_horizon(self, horizon: Horizon) -> None:
        """Remember it in place of the one before, durably."""

    def find_tombstones(self, is_mine: Callable[[bytes], bool], after: bytes, count_max: int) -> Tombstones:
        """Look at about ``count_max`` items behind ``after``: which can be ended as of the horizon, those of sites that
        ``is_mine`` says so of.
        """

    async def end_tombstones(self, due: Sequence[bytes]) -> int:
        """End those of them that still can be, whole or not at all: how many changes that took."""
