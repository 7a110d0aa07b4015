"""The first days of ``fortnight``; ``make fortnight`` lives all of them."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.e2e.fortnight import Fortnight
from tests.support.clouds import TestCloud

pytestmark = pytest.mark.e2e


def test_three_sites_behind_bad_lines_come_together(cloud: TestCloud, tmp_path: Path) -> None:
    seed = secrets.randbits(32)
    print(f"seed of the days: {seed}")
    with Fortnight(cloud, tmp_path, seed) as fortnight:
        fortnight.live(2)
        fortnight.check()
