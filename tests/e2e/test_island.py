"""The main job, end to end, sentence by sentence: a site that is an island, and comes back.

The tests share one world (tests/e2e/story.py) and go through it in order; any of them alone runs what comes before.
"""

from __future__ import annotations

import pytest

from tests.e2e.story import DELTA_LIMIT_BYTES, Story

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(240)]


def test_b_lists_and_reads_everything_that_aws_cli_put_into_a(story: Story) -> None:
    story.reach("read_far")


@pytest.mark.parametrize("fault", ["refused", "black-holed", "slow"])
def test_both_sites_go_on_without_the_link_and_converge_with_it(story: Story, fault: str) -> None:
    story.reach(fault)


def test_a_small_change_of_a_large_file_ships_few_bytes(story: Story) -> None:
    story.reach("patch")
    assert len(story.deltas) == 4
    assert all(shipped < DELTA_LIMIT_BYTES for shipped in story.deltas.values()), story.deltas


def test_the_cloud_sees_no_name_and_no_content(story: Story) -> None:
    story.reach("scan")


def test_the_bucket_and_the_key_bring_a_site_back(story: Story) -> None:
    story.reach("restore")
