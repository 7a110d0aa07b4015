"""Descriptors for a worker's connections: as many as its settings say, or as few as the system allows.

Called by a worker before it listens. A process usually begins with a limit of 1,024 open files that it may raise;
where it may not, fewer connections are taken: else clients that only connect would use up every descriptor, and the
store, which opens segments all the while, would be refused the next one.
"""

from __future__ import annotations

import logging
import resource
from typing import Final

OWN_MAX: Final = 768
"""What a worker needs besides connections: segments it keeps open (256), TLS handshakes under way (256), the rest."""

log: Final = logging.getLogger("skerry.worker")


def fit_connections(wanted: int) -> int:
    """Raise this process' limit of open files to what so many connections need, as far as it may be: how many fit."""
    needed = wanted + OWN_MAX
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    given = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if given > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (given, hard))
    fitting = min(wanted, max(given - OWN_MAX, given // 4))
    if fitting < wanted:
        log.warning(
            "the system allows %d open files: at most %d connections are taken, not %d (LimitNOFILE=%d, ulimit -n)",
            *(given, fitting, wanted, needed),
        )
    return fitting
