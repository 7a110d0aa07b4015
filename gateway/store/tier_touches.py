"""When content was last read, approximately: a table of seconds that all processes of a site map and write.

Stands beside the reader, which touches the first chunk of what it reads; the tier's census asks. One word a slot, the
slot being a hash of the chunk's id: contents that share a slot look as warm as the warmer one, which only keeps them
longer. A touch is one store into mapped memory: no lock, no write, nothing synced. The file outlives the processes
and an orderly restart; whatever a crash loses of it makes something look colder than it is, never less safe.

Its space is allotted when it is made, so that a full disk cannot fault a touch. Not a format that is kept: a file
of another size is begun afresh.
"""

from __future__ import annotations

import contextlib
import mmap
import time
from pathlib import Path
from typing import Final

from gateway.store.files import Files

SLOTS: Final = 1 << 20
_MASK: Final = SLOTS - 1
_SIZE: Final = SLOTS * 4
NAME: Final = "touches"


class Touches:
    """One process' hold on the table. Any thread."""

    def __init__(self, files: Files, path: Path) -> None:
        self._map = _open_map(files, path)
        self._words = memoryview(self._map).cast("I")

    def touch(self, chunk_id: bytes) -> None:
        """What begins with this chunk was read now."""
        self._words[int.from_bytes(chunk_id[:3], "little") & _MASK] = int(time.time())

    def last_s(self, chunk_id: bytes) -> int:
        """Unix time at which something in this chunk's slot was last read; 0 if never."""
        return self._words[int.from_bytes(chunk_id[:3], "little") & _MASK]

    def flush(self) -> None:
        """Begin to write to the disk what was touched (a thread's work: it waits)."""
        self._map.flush()

    def close(self) -> None:
        """Let go of the table."""
        self._words.release()
        self._map.close()


def _open_map(files: Files, path: Path) -> mmap.mmap:
    """The shared table; one of this process alone if there is no space for it."""
    with contextlib.suppress(OSError):
        fd = files.open_shared(path)
        try:
            if files.size(fd) != _SIZE:
                files.truncate(fd, 0)
                files.truncate(fd, _SIZE)
            return mmap.mmap(fd, _SIZE)
        finally:
            files.close(fd)
    return mmap.mmap(-1, _SIZE)
