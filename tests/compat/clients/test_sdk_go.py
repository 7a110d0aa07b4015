"""AWS SDK for Go v2, default settings: trailers over https, signed chunks or hashed bodies over http."""

from __future__ import annotations

import pytest

from tests.compat.clients.drivers import Driver
from tests.compat.clients.sdk import SdkRun, every_check

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
CLIENT = "AWS SDK for Go v2"
DRIVER = Driver(
    name="go",
    tools=("go",),
    fetch=("go", "mod", "download"),
    build=("go", "build", "-o", "../driver", "."),
    command=lambda place: (str(place / "driver"),),
    environment=lambda _: {"GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local"},
)


@every_check()
def test_check(sdk_run: SdkRun, scheme: str, check: str) -> None:
    sdk_run(DRIVER, scheme).expect(check)
