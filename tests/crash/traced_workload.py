"""What runs under strace for ``traced_files``: one workload on a real store, its notes written to a file of their own.

    python -m tests.crash.traced_workload NAME SEED ROOT NOTES HELD

``NOTES`` gets a JSON line for each note, so that the notes stand among the other calls of the trace. ``HELD`` gets
what the cloud held in the end (a cloud that this machine's crash leaves alone).
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import sys
from pathlib import Path

from tests.crash.open_store import open_store
from tests.crash.traced_lives import LIVES
from tests.crash.workloads import WORKLOADS, Step, Writer
from tests.gateway.store.held_frames import HeldFrames


class Notes:
    """Stands where a recorder stands: notes go to a file, file calls are recorded by whoever traces."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)

    def note(self, what: str, value: object) -> None:
        """Write a note between the operations."""
        assert isinstance(value, Step)
        os.write(self._fd, json.dumps([what, value.key, value.value]).encode())


async def run(name: str, seed: int, root: Path, notes: Notes, cloud: HeldFrames) -> None:
    """A workload of one life, or one of several."""
    root.mkdir(mode=0o700)
    if name in LIVES:
        await LIVES[name](root, notes, seed)
        return
    async with open_store(root, cloud=cloud) as store:
        writer = Writer(store, notes, seed, cloud)
        await writer.make_bucket()
        await WORKLOADS[name](writer)


def main(name: str, seed: str, root: str, notes: str, held: str) -> None:
    """See the module."""
    cloud = HeldFrames()
    asyncio.run(run(name, int(seed), Path(root), Notes(Path(notes)), cloud))
    Path(held).write_bytes(pickle.dumps(cloud.frames))


if __name__ == "__main__":
    main(*sys.argv[1:])
