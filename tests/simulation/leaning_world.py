"""Worlds in which clients use bytes that are there already: copies by reference, and uploads that stay open.

What such a change needs may lie in another site's object only, was never sent by this site, and of an open upload
nobody else knows: so it is lost if a site acknowledges a doom before it settled it, whatever the owner looks at. There
is much collection, in the bucket and on the disks. No disk is copied: a copy may lose what it gave up before it
noticed that it is one.

What is checked besides the promises of every world: every part of an open upload can be read, at any moment.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from tests.simulation.shape import Shape, shape_of
from tests.simulation.world import World

CHANCES = [36, 20, 20, 1, 10, 1, 12, 0, 0]
"""Of each of ``DEEDS``: bytes are given up here, dooms are taken in and acknowledged before anybody tidies."""


def leaning_shape(seed: int) -> Shape:
    """Any world's, with much collection and no copied disks."""
    return replace(shape_of(seed), cloned=False, leaning=True, chances=CHANCES)


class LeaningWorld(World):
    def __init__(self, seed: int, skipped: Collection[int] = ()) -> None:
        super().__init__(seed, leaning_shape(seed), skipped)
