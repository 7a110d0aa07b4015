"""Entry of the ``skerry`` command and of ``python -m gateway``: hands over arguments and environment, nothing else."""

from __future__ import annotations

import os
import sys

from gateway.cli.command import run_command


def main() -> None:
    """Run the command line of this process and exit with its code."""
    sys.exit(run_command(sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
