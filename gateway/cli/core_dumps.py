"""Keeps keys out of core files: a process that is going to hold a root key is made undumpable first.

Called where the source of the root key is chosen, which every process of a site and every command passes. Undumpable
also means that other processes of the same user can neither trace it nor read its environment. A limit of the resource
alone would not do: the kernel does not ask it where core files go to a program (core(5)). ``[log] core_dumps`` is for
who debugs.
"""

from __future__ import annotations

import ctypes
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4  # prctl(2)


def forbid_core_dumps() -> None:
    """No core file of this process from now on, nor of what it starts (but for programs that make themselves dumpable
    again, as executing one does). Does what the system offers.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    try:
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    except (OSError, AttributeError):
        return
