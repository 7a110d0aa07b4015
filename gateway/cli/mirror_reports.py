"""What the background process tells of its mirrors, in ``DATA/run/mirrors.json``, and what status makes of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from gateway.cli.opening import OpenSite
from gateway.cli.run_files import read_run_file, write_run_file

REPORT_NAME: Final = "mirrors.json"


class MirrorReport(msgspec.Struct):
    """What status tells of one mirror. ``behind_batches``: of the log; ``left_out``: objects that are not mirrored."""

    bucket: str
    to: str
    behind_batches: int = 0
    written: int = 0
    deleted: int = 0
    left_out: int = 0
    last_error: str = ""


def describe_mirrors(site: OpenSite) -> list[dict[str, Any]]:
    """The ``mirrors`` of ``skerry status --json``."""
    reports = read_run_file(site.directory.run / REPORT_NAME, list[MirrorReport])
    return [msgspec.to_builtins(report) for report in reports or ()]


def write_reports(site: OpenSite, reports: Iterable[MirrorReport]) -> None:
    """Leave the account for status."""
    write_run_file(site.directory.run / REPORT_NAME, list(reports))
