"""What the last drill found: ``DATA/run/drill.json``, for status, metrics and the next drill's time."""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.cli.opening import OpenSite
from gateway.cli.run_files import read_run_file, write_run_file

REPORT_NAME: Final = "drill.json"


class DrillReport(msgspec.Struct, frozen=True):
    """What a drill found. ``versions`` compared, of which ``read`` were read whole; ``unsent``: not in the cloud yet,
    so not asked of it; ``findings``: what the bucket did not give back.
    """

    at_ms: int
    took_s: float
    versions: int
    unsent: int
    bytes: int
    read: int
    read_bytes: int
    findings: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether the bucket gave everything back."""
        return not self.findings


def read_drill(site: OpenSite) -> DrillReport | None:
    """The last drill's report; None if there is none."""
    return read_run_file(site.directory.run / REPORT_NAME, DrillReport)


def write_drill(site: OpenSite, report: DrillReport) -> None:
    """Leave the report."""
    write_run_file(site.directory.run / REPORT_NAME, report)
