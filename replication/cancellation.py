"""Tells a cancellation that was asked for from one that leaked out of a library.

Python 3.11's ``TaskGroup`` leaves its parent marked as being cancelled (``cancelling()`` grows by one) when a child
fails while the group is being left. aiohttp believes that mark and passes on a ``CancelledError`` of its own writer,
which ends the task without an error; a task group around it calls that well done. Seen as a shipping loop that stopped
for good behind a black-holed link, with nobody told. Therefore every round of a loop that lives long is a task of its
own, and a ``CancelledError`` that nobody asked for is a failure like any other.
"""

from __future__ import annotations

import asyncio


def is_stopping() -> bool:
    """Whether somebody asked the current task to stop: if not, a ``CancelledError`` in it is not its own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
