"""Reading an object's plaintext, whatever layer it has: the one way to its bytes for whoever is to understand them.

``read_plain`` stands in for ``Store.read``. For an object without a layer of its own it *is* that. Else pieces are
opened as they come: part by part for a completed upload (each has its nonce, kept in the part table). The store's
read is open from the call on, which keeps the content from being collected while the table is read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import accumulate

from gateway.operations.bodies import Received
from gateway.operations.customer_keys import WHOLE_NONCE, start_cipher
from gateway.operations.digests import INLINE_MAX, Digester, run_hashing
from gateway.operations.object_encryption import Opening
from gateway.operations.objects_get import read_part_table
from gateway.store.object_format import ObjectRecord
from gateway.store.ports import ContentWriter, Store


def read_plain(
    store: Store, record: ObjectRecord, opening: Opening | None, start: int = 0, length: int | None = None
) -> AsyncIterator[bytes]:
    """Plaintext of a range, in pieces; raises as ``Store.read``."""
    pieces = store.read(record.content, start, length)
    return pieces if opening is None else _open_pieces(store, record, opening, pieces, start)


def open_small(record: ObjectRecord, opening: Opening, data: bytes) -> bytes | None:
    """The plaintext of a whole small content; None if it takes more than one step (parts, or too much for the loop)."""
    if record.part_count or len(data) > INLINE_MAX:
        return None
    return start_cipher(opening.keys, WHOLE_NONCE).update(data)


class StoredBody:
    """A range of a stored object's plaintext as a ``Body``, for who writes it again: read back, opened and hashed.

    The read is open from the call on; make it in the same step as the source was looked up.
    """

    def __init__(
        self, store: Store, record: ObjectRecord, opening: Opening | None, start: int, length: int, algorithm: str
    ) -> None:
        self._pieces = read_plain(store, record, opening, start, length)
        self._length = length
        self._algorithm = algorithm

    async def pour(self, writer: ContentWriter) -> Received:
        """Write all of it; see ``Body.pour``."""
        digester = Digester((self._algorithm,))
        async for piece in self._pieces:
            await digester.update(piece)
            await writer.write(piece)
        digests = await digester.finish()
        return Received(self._length, digests.md5, digests.checksums)


async def _open_pieces(
    store: Store, record: ObjectRecord, opening: Opening, pieces: AsyncIterator[bytes], position: int
) -> AsyncIterator[bytes]:
    try:
        layout = await _find_layout(store, record)
        at, cipher = -1, None
        async for piece in pieces:
            done = 0
            while done < len(piece):
                end, nonce = layout[at] if at >= 0 else (0, b"")
                if cipher is None or position >= end:
                    begin = end
                    while position >= end:
                        at += 1
                        begin, (end, nonce) = end, layout[at]
                    cipher = start_cipher(opening.keys, nonce, position - begin)
                taken = piece[done : done + end - position] if done or end - position < len(piece) else piece
                yield cipher.update(taken) if len(taken) <= INLINE_MAX else await run_hashing(cipher.update, taken)
                done += len(taken)
                position += len(taken)
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()


async def _find_layout(store: Store, record: ObjectRecord) -> list[tuple[int, bytes]]:
    """(where it ends, its nonce) of everything that was sealed in one go."""
    parts = await read_part_table(store, record) if record.part_count else []
    if not parts:
        return [(record.size, WHOLE_NONCE)]
    ends = accumulate(part.size for part in parts)
    return [(end, part.nonce) for end, part in zip(ends, parts, strict=True)]
