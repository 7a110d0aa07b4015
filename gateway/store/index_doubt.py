"""Whether the index of a data directory may be opened as it is, or has to be rebuilt first.

Stands between opening a store and the engine. Three doubts: something in it was found damaged while the site ran
(``DATA/index/damaged`` says so, from then on and durably); the machine ended, however it did, and the tree on the disk
is not whole; a sync failed, so that the page cache may hold what the disk does not. The last is settled by making the
kernel forget what it has cached: what comes from the disk then is what a power cut would have left, which is whole.

Asked by the first process only: nobody else has the index open then. It decides nothing about the log.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from gateway.store.errors import ReadOnlyStore
from gateway.store.files import Files
from gateway.store.index_pages import TreeBroken, check_index_file
from gateway.store.layout import DataDirectory
from gateway.store.shared import Shared

DATA_NAME: Final = "data.mdb"
MARK_NAME: Final = "damaged"


def find_doubt(directory: DataDirectory, shared: Shared) -> str | None:
    """Why the index must be rebuilt before it is used; None if it may be opened.

    Takes about 19 µs a page after the machine has started, nothing otherwise. ``ReadOnlyStore`` if a disk whose sync
    failed fails again.
    """
    if is_marked(directory):
        return "something in the index was found damaged"
    files = directory.files
    is_asked = shared.after_boot or shared.must_reverify
    if not is_asked or DATA_NAME not in files.list_directory(directory.index):
        return None
    fd = files.open_read(directory.index / DATA_NAME)
    try:
        if shared.must_reverify:
            _forget_cached(files, fd)
        check_index_file(fd, files.size(fd))
    except TreeBroken as error:
        return str(error)
    finally:
        files.close(fd)
    return None


def is_marked(directory: DataDirectory) -> bool:
    """Whether the index was found damaged and was not rebuilt since."""
    return MARK_NAME in directory.files.list_directory(directory.index)


def damage_marker(directory: DataDirectory) -> Callable[[], None]:
    """What an index is to call when it finds itself damaged: the next start rebuilds it.

    That the mark itself cannot be written is passed over: whoever met the damage is told of that anyway.
    """

    def mark() -> None:
        files = directory.files
        with suppress(OSError):
            files.close(files.create(directory.index / MARK_NAME))
            files.sync_directory(directory.index)

    return mark


def clear_mark(directory: DataDirectory) -> None:
    """The index is another now. Durable on return."""
    if is_marked(directory):
        directory.files.unlink(directory.index / MARK_NAME)
        directory.files.sync_directory(directory.index)


def _forget_cached(files: Files, fd: int) -> None:
    try:
        files.fdatasync(fd)  # the kernel forgets only what is not waiting to be written
        files.drop_cache(fd)
    except OSError as error:
        raise ReadOnlyStore(f"the index cannot be synced: {error.strerror}") from error
