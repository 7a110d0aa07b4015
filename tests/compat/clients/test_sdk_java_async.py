"""AWS SDK for Java v2, default settings: the asynchronous client (Netty) with its multipart uploads."""

from __future__ import annotations

import pytest

from tests.compat.clients.java import java_driver
from tests.compat.clients.sdk import SdkRun, every_check

pytestmark = [pytest.mark.e2e, pytest.mark.compat, pytest.mark.timeout(900)]
CLIENT = "AWS SDK for Java v2 (async)"
DRIVER = java_driver("async")


@every_check()
def test_check(sdk_run: SdkRun, scheme: str, check: str) -> None:
    sdk_run(DRIVER, scheme).expect(check)
