"""What every test of the suite has: processes that start as an installed Skerry's do, from compiled modules.

Where the environment forbids Python to keep what it compiled (``PYTHONDONTWRITEBYTECODE``, as many images of Python
do), each of the suite's hundreds of processes would compile two hundred modules anew, half of its start.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from tests.support.site import Site
from tests.support.zygote import Zygote

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


@pytest.fixture(scope="session")
def one_zygote() -> Iterator[Zygote]:
    """What forks processes, for all modules of this test process that want them forked."""
    with Zygote() as zygote:
        yield zygote


@pytest.fixture(scope="module")
def zygote(one_zygote: Zygote) -> Iterator[Zygote]:
    """The processes and commands of a module's sites are forked, not started: see ``support/zygote.py``."""
    Site.zygote = one_zygote
    yield one_zygote
    Site.zygote = None
