"""Samples: exact size, repeatable, indifferent to order, and fair."""

from collections import Counter

import pytest

from replication.sampling import Sample


def sample_of(seed, count_max, names):
    sample = Sample(seed, count_max)
    for name in names:
        sample.add(b"%d" % name, name)
    return sample


@pytest.mark.parametrize("count_max", [0, 1, 7, 100, None])
def test_size_and_repetition(count_max):
    sample = sample_of(b"seed", count_max, range(50))
    assert sample.seen == 50
    assert len(set(sample.values())) == min(50, 50 if count_max is None else count_max)
    again = sample_of(b"seed", count_max, reversed(range(50)))
    assert sorted(again.values()) == sorted(sample.values()) == sample.values()


def test_each_is_as_likely_as_any_other():
    """2,000 samples of 5 out of 50: each element is expected 200 times, with a deviation of 13."""
    counts = Counter(name for seed in range(2000) for name in sample_of(b"%d" % seed, 5, range(50)).values())
    assert len(counts) == 50
    assert min(counts.values()) > 200 - 6 * 14
    assert max(counts.values()) < 200 + 6 * 14
