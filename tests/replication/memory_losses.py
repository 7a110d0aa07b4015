"""A site in memory whose bytes can be damaged or go, and be accepted as lost."""

from __future__ import annotations

from collections.abc import Sequence

from replication.change_format import decode_change
from replication.frame_format import decode_header
from replication.ports import BytesLost, CloudMissing, Frame
from replication.sealing import SealBroken, open_frame
from tests.replication.memory_site import MemorySite


class LosingSite(MemorySite):
    """A ``MemorySite`` that may lose bytes. ``accepted``: chunks whose loss was accepted."""

    accepted: frozenset[bytes] = frozenset()

    def damage(self, chunk: bytes) -> None:
        for name, frame in list(self.frames.items()):
            if name.chunk_id == chunk:
                self.frames[name] = Frame(frame.header, bytes(len(frame.ciphertext)))

    def lose(self, chunk: bytes) -> None:
        for name in [name for name in self.frames if name.chunk_id == chunk]:
            del self.frames[name]

    def accept(self, chunk: bytes) -> None:
        self.lose(chunk)
        self.accepted |= {chunk}

    def unshipped_frames(self, changes: Sequence[bytes]) -> list[bytes]:
        for ref in [ref for data in changes for ref in decode_change(data).refs]:
            is_here = any(name.chunk_id == ref.id for name in self.frames)
            if not is_here and ref.id not in self.accepted and not self.locate([ref.id]):
                raise BytesLost(f"chunk {ref.id.hex()} is to be sent and is neither here nor in the cloud", ref.id)
        return super().unshipped_frames(changes)

    def absent_chunks(self, changes: Sequence[bytes], count_max: int) -> list[bytes]:
        found = super().absent_chunks(changes, 1 << 30)
        return [chunk for chunk in found if chunk not in self.accepted][:count_max]

    def read_frame(self, header: bytes) -> Frame:
        frame = super().read_frame(header)
        decoded = decode_header(frame.header)
        try:
            open_frame(self.keyring, decoded, frame.ciphertext)
        except SealBroken as error:
            raise BytesLost(str(error), decoded.chunk_id) from error
        return frame

    def _is_sound(self, frame: Frame) -> bool:
        try:
            open_frame(self.keyring, decode_header(frame.header), frame.ciphertext)
        except SealBroken:
            return False
        return True

    async def bring(self, chunk_ids: Sequence[bytes]) -> int:
        for chunk in chunk_ids:
            if not self._places_of(chunk):
                raise BytesLost(f"chunk {chunk.hex()} is neither here nor in the cloud", chunk)
            for name, frame in list(self.frames.items()):
                if name.chunk_id == chunk and not self._is_sound(frame):
                    del self.frames[name]
        try:
            return await super().bring(chunk_ids)
        except (CloudMissing, SealBroken) as error:
            raise BytesLost(f"chunk {chunk_ids[0].hex()}: {error}", chunk_ids[0]) from error
