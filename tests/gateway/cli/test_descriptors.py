"""A worker's limit of open files: raised to what its connections need, or fewer of them are taken."""

from __future__ import annotations

import os
import resource

import pytest

from gateway.cli.descriptors import OWN_MAX, fit_connections


def fit(soft: int, hard: int, wanted: int) -> tuple[int, int]:
    """In a process with these limits: how many connections fit, and what its limit is then."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            fitting = fit_connections(wanted)
            os.write(writing, b"%d %d" % (fitting, resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read().split()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return int(told[0]), int(told[1])


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "fitting", "limit"),
    [
        (800, 1000, 200, 200, 200 + OWN_MAX),
        (980, 1000, 200, 200, 980),
        (800, 1000, 900, 250, 1000),
        (200, 200, 3000, 50, 200),
    ],
)
def test_connections_fit_the_limit(soft: int, hard: int, wanted: int, fitting: int, limit: int) -> None:
    assert fit(soft, hard, wanted) == (fitting, limit)
