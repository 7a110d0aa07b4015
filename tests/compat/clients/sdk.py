"""One test a check for the drivers of foreign SDKs, over http and over https; a driver runs once for all its checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.compat.clients.drivers import Driver
from tests.compat.clients.features import FEATURES, proves

SCHEMES = ("http", "https")


class Checked:
    """What one run of a driver printed."""

    def __init__(self, results: dict[str, dict[str, Any]]) -> None:
        self.results = results

    def expect(self, check: str) -> None:
        """The check ran and was good."""
        line = self.results.get(check)
        assert line is not None, f"the driver never came to {check}: {self.results['exit']['detail']}"
        assert line["ok"], line.get("detail", "")


SdkRun = Callable[[Driver, str], Checked]
"""``sdk_run(driver, "https")``: the driver's results, from its only run over that scheme."""


def every_check(without: tuple[str, ...] = ()) -> Any:
    """Parametrise a test by ``scheme`` and ``check``, marked with what it proves, for all features but ``without``."""
    assert set(without) <= set(FEATURES), without
    return pytest.mark.parametrize(
        ("scheme", "check"),
        [
            pytest.param(scheme, check, id=f"{scheme}-{check}", marks=proves(check, *_over(scheme)))
            for scheme in SCHEMES
            for check in FEATURES
            if check != "https" and check not in without
        ],
    )


def _over(scheme: str) -> tuple[str, ...]:
    return ("https",) if scheme == "https" else ()
