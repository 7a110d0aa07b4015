"""AWS SDK for Java v2, default settings: the CRT client and the transfer manager."""

from __future__ import annotations

import pytest

from tests.compat.clients.java import java_driver
from tests.compat.clients.sdk import SdkRun, every_check

pytestmark = [pytest.mark.e2e, pytest.mark.compat, pytest.mark.timeout(900)]
CLIENT = "AWS SDK for Java v2 (crt)"
DRIVER = java_driver("crt")


@every_check(without=("virtual_host",))  # its resolver is native and cannot be told of the name
def test_check(sdk_run: SdkRun, scheme: str, check: str) -> None:
    sdk_run(DRIVER, scheme).expect(check)
