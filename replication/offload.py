"""Where blocking work runs: store reads, hashing and sealing of whole packs leave the event loop for a thread.

Simulations run it at once instead, so that one seed replays one world.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

Result = TypeVar("Result")


class Offload(Protocol):
    """Runs a blocking function and returns what it returned."""

    async def __call__(self, work: Callable[[], Result]) -> Result:
        """Run ``work``; its exceptions pass through."""


async def run_in_thread(work: Callable[[], Result]) -> Result:
    """In the loop's thread pool."""
    return await asyncio.to_thread(work)


async def run_at_once(work: Callable[[], Result]) -> Result:
    """Here and now, blocking the loop."""
    return work()
