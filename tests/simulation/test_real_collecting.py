"""Real stores that collect in the bucket: random worlds, each replayable by its number.

``SKERRY_REAL_SEEDS=first:count`` runs others.
"""

import os

import pytest

from tests.simulation.real_collecting_world import live

FIRST, COUNT = map(int, os.environ.get("SKERRY_REAL_SEEDS", "1:6").split(":"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + COUNT))
async def test_real_sites_collect_and_lose_nothing(tmp_path, seed):
    await live(tmp_path, seed)
