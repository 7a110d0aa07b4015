"""Typed errors → what a person is told and the exit code: one table, for the command and for the server's processes.

What is not in the table is a fault of the program: it is left to end in a traceback. It names errors of the whole tree,
so ``reporting`` imports it only when something failed.
"""

from __future__ import annotations

import errno
from typing import Final

from gateway.cli.listener import CannotBind
from gateway.cli.outcomes import EXIT_CLOUD, EXIT_FAILED, EXIT_USAGE
from gateway.config import ConfigError
from gateway.http.tls import BadCertificate
from gateway.identity.users import BadIdentity
from gateway.store.errors import StoreError
from gateway.store.index import IndexUnreadable
from replication.keys import RealmError
from replication.ports import CloudError
from replication.restore import RestoreIncomplete
from replication.root_keys import RootKeyUnusable
from replication.service import BucketUnsuitable
from replication.shipper import LogEnded

_TABLE: Final[tuple[tuple[type[BaseException], str, int], ...]] = (
    (ConfigError, "", EXIT_USAGE),
    (CannotBind, "", EXIT_FAILED),
    (BadCertificate, "certificate: ", EXIT_FAILED),
    (BadIdentity, "", EXIT_FAILED),
    (StoreError, "", EXIT_FAILED),
    (IndexUnreadable, "", EXIT_FAILED),
    (RootKeyUnusable, "realm key: ", EXIT_FAILED),
    (RealmError, "realm: ", EXIT_FAILED),
    (LogEnded, "", EXIT_FAILED),
    (RestoreIncomplete, "not everything could be restored: ", EXIT_FAILED),
    (BucketUnsuitable, "cloud: ", EXIT_CLOUD),
    (CloudError, "cloud: ", EXIT_CLOUD),
)

_SYSTEM: Final = frozenset(
    (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES)
)
"""What disks, file systems and limits answer: nothing that a traceback explains."""


def find_failure(error: BaseException) -> tuple[str, int] | None:
    """The message and exit code of an error a person can do something about; None for any other."""
    for kind, prefix, code in _TABLE:
        if isinstance(error, kind):
            return f"{prefix}{error}", code
    if isinstance(error, OSError) and error.errno in _SYSTEM:
        where = f": {error.filename}" if error.filename else " (see the kernel's log for which disk)"
        return f"the system refused: {error.strerror}{where}", EXIT_FAILED
    return None
