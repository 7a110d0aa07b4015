"""Tells a cancellation that was asked for from one that leaked out of a library.

An HTTP client may cancel a future of its own when a connection breaks, and let that surface as ``CancelledError``. A
task that takes it for its own cancellation ends without an error, and a task group calls that well done: seen as a
shipping loop that stopped for good behind a black-holed link, with nobody told.
"""

from __future__ import annotations

import asyncio


def is_stopping() -> bool:
    """Whether somebody asked the current task to stop: if not, a ``CancelledError`` in it is not its own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
