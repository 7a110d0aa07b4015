"""AWS SDK for JavaScript v3, default settings: CRC32 as a header for buffers, as a trailer for streams."""

from __future__ import annotations

import pytest

from tests.compat.clients.drivers import Driver
from tests.compat.clients.sdk import SdkRun, every_check

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
CLIENT = "AWS SDK for JavaScript v3"
DRIVER = Driver(
    name="js",
    tools=("node", "npm"),
    fetch=("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"),
    build=(),
    command=lambda place: ("node", str(place / "source" / "main.mjs")),
)


@every_check()
def test_check(sdk_run: SdkRun, scheme: str, check: str) -> None:
    sdk_run(DRIVER, scheme).expect(check)
