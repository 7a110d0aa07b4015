"""Frames that came inline in a remote batch: kept verbatim in the log batch that records it.

Stands between ``replica`` and a decision. Only frames are kept whose chunk has no good frame here. A page among them is
opened, because from the moment it is referenced it references what it lists; one that cannot be opened is not kept, and
neither is a patch whose base is elsewhere: it would be deduplicated against although its bytes are not here. Either
will be fetched when it is read. It verifies nothing else: every read authenticates. What is sealed under a retired
epoch is sealed anew.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.store.codec import PayloadInvalid, decode_payload, join_bases
from gateway.store.decision import PROVISIONAL, Decision
from gateway.store.page_format import decode_page
from gateway.store.segment_format import KIND_LOG
from gateway.store.staging import INLINE, StagedChunk
from replication.change_format import ChangeInvalid
from replication.frame_format import KIND_PAGE, FrameHeader, FrameInvalid, FrameName, decode_header
from replication.ports import Frame
from replication.sealing import Keyring, SealBroken, open_frame, reseal_frame

Came = dict[FrameName, tuple[FrameHeader, Frame]]


def stage_pulled_frames(decision: Decision, frames: Sequence[Frame], keyring: Keyring) -> None:
    """Place what is worth keeping; ``ChangeInvalid`` for what is no frame."""
    came: Came = {}
    for frame in frames:
        header = _header_of(frame)
        if header.epoch in keyring.retired:
            try:
                frame = Frame(*reseal_frame(keyring, frame.header, frame.ciphertext))
            except SealBroken:
                continue  # read where it lies it is named
            header = _header_of(frame)
        came[header.name] = (header, frame)
    chunks = decision.edit_index().chunks
    for name, (header, frame) in came.items():
        row = chunks.get(name.chunk_id)
        if row is not None and row.local and not row.condemned:
            continue
        if not all(_is_whole_here(decision, base) for base in header.bases):
            continue
        if header.kind == KIND_PAGE:
            plaintext = _open(name, came, keyring)
            if plaintext is None:
                continue
            chunks.known_children[name.chunk_id] = decode_page(plaintext)
        chunks.place(header, KIND_LOG, PROVISIONAL, 0, queue=True)
        decision.inline.append(StagedChunk(header, frame.header, INLINE, 0, frame.ciphertext))


def _is_whole_here(decision: Decision, base: FrameName) -> bool:
    """Whether the chunk lies here as a full frame; of those that come together, bases come first."""
    row = decision.edit_index().chunks.get(base.chunk_id)
    return row is not None and row.local and not row.bases


def _header_of(frame: Frame) -> FrameHeader:
    try:
        header = decode_header(frame.header)
    except FrameInvalid as error:
        raise ChangeInvalid(f"a remote batch holds what is no frame: {error}") from error
    if header.stored_size != len(frame.ciphertext) or header.header_size != len(frame.header):
        raise ChangeInvalid("a remote batch holds a frame of another length than its header says")
    return header


def _open(name: FrameName, came: Came, keyring: Keyring) -> bytes | None:
    """Plaintext of a frame, if it and its bases are among those that came."""
    found = came.get(name)
    if found is None:
        return None
    header, frame = found
    bases = [_open(base, came, keyring) for base in header.bases if base != name]
    plaintexts = [plaintext for plaintext in bases if plaintext is not None]
    if len(plaintexts) != len(header.bases):
        return None
    try:
        payload = open_frame(keyring, header, frame.ciphertext)
        return decode_payload(header.codec, payload, header.raw_size, join_bases(plaintexts) if plaintexts else b"")
    except (SealBroken, PayloadInvalid):
        return None
