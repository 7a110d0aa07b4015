"""How the processes of a site log: one line per record on standard error, with the process' role.

Access lines are the HTTP front's own and come at their own level. Nothing secret reaches a logger in the first place;
what this file adds is that chatty libraries are quiet.
"""

from __future__ import annotations

import logging
import sys

_QUIET = ("aiobotocore", "botocore", "asyncio", "urllib3", "aiohttp")


def configure_logs(level: str, role: str) -> None:
    """Log records of ``level`` and above to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s {role}: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
