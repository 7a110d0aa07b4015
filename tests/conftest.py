"""How the suite is spread over processes (``make test`` takes two): a file stays together, and so does all of ``e2e``.

Files share servers that take a moment to start, and the end-to-end tests one cloud.
"""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Name each test's group for ``--dist loadgroup``; without several processes that means nothing."""
    if not config.pluginmanager.hasplugin("xdist"):  # as in the environment of ``make compat``
        return
    for item in items:
        name = "e2e" if "tests/e2e/" in item.nodeid else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(name))
