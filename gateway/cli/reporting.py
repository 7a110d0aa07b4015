"""Runs a command's or a process' work and tells how it ended: an exit code, and for a typed error a line or several.

Imports the table of errors (``failures``) only when something failed.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.cli.outcomes import EXIT_CLOUD, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, complain
from gateway.supervise import CannotStart


def run_reporting(work: Callable[[], int | None]) -> int:
    """Do ``work``; its exit code, or that of the typed error it raised, which is told in one line (or several)."""
    try:
        return work() or EXIT_OK
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except CannotStart as error:
        return error.exit_code if error.exit_code in (EXIT_USAGE, EXIT_FAILED, EXIT_CLOUD) else EXIT_FAILED
    except Exception as error:
        from gateway.cli.failures import find_failure

        found = find_failure(error)
        if found is None:
            raise
        for line in found[0].splitlines():
            complain(line)
        return found[1]
