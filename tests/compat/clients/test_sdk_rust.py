"""AWS SDK for Rust, default settings: a checksum trailer for every streamed body, over http too."""

from __future__ import annotations

import pytest

from tests.compat.clients.drivers import Driver
from tests.compat.clients.sdk import SdkRun, every_check

pytestmark = [pytest.mark.e2e, pytest.mark.compat, pytest.mark.timeout(1800)]
CLIENT = "AWS SDK for Rust"
DRIVER = Driver(
    name="rust",
    tools=("cargo",),
    fetch=("cargo", "fetch", "--locked"),
    build=("cargo", "build", "--locked", "--offline", "--quiet"),
    command=lambda place: (str(place / "target" / "debug" / "skerry-compat"),),
    environment=lambda place: {"CARGO_TARGET_DIR": str(place / "target")},
)


@every_check()
def test_check(sdk_run: SdkRun, scheme: str, check: str) -> None:
    sdk_run(DRIVER, scheme).expect(check)
