"""Every byte of a tape (``FaultProxy.tape``) by name: which head, which part of which object, how much padding.

Stands below ``benchmarks.delta --wire``. A tape is what one site and its cloud said to one another, over as many
connections as there were; it is split into requests and answers, and what was put into the bucket is opened with the
realm's keys and split along the tables of its format. Invariant: the rows add up to the tape, byte for byte, or
``WireOdd`` is raised: what nobody can name is not hidden in a remainder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from replication.batch_format import HEAD_SIZE, decode_batch, tail_offset
from replication.cloud_index_format import decode_index
from replication.cloud_names import split_index_name, split_log_name
from replication.frame_format import CODEC_PATCH, KIND_PAGE, TAG_SIZE, decode_header
from replication.pack_format import FOOTER_SIZE, decode_footer, decode_pack
from replication.padded_format import HEAD_SIZE as PADDED_HEAD_SIZE
from replication.padded_format import decode_padded
from replication.ports import Frame, Origin
from replication.sealing import (
    ENVELOPE_OVERHEAD,
    PURPOSE_CLOUD_LOG,
    PURPOSE_INDEX,
    PURPOSE_PACK,
    Keyring,
    open_envelope,
)

Tape = Sequence[tuple[int, bool, bytes]]
BLANK: Final = b"\r\n\r\n"


class WireOdd(ValueError):
    """A tape that is not HTTP/1.1 as a site and its cloud speak it, or was cut while something was said."""


class Said(NamedTuple):
    """One request with its answers (100 Continue among them): heads with their blank lines, and bodies."""

    verb: str
    target: str
    head: int
    body: bytes
    answer_head: int
    answer_body: int


class Line(NamedTuple):
    """One row: so many bytes of ``count`` things called ``what``."""

    what: str
    count: int
    size: int


def list_lines(tape: Tape, prefix: str, keyring: Keyring) -> list[Line]:
    """The rows of a tape, heads first. ``prefix``: of the realm in the bucket, as the configuration names it."""
    sizes: Counter[str] = Counter()
    counts: Counter[str] = Counter()

    def note(what: str, size: int, count: int = 1) -> None:
        if size:
            sizes[what] += size
            counts[what] += count

    for said in _read_tape(tape):
        name = said.target.partition(f"/{prefix}/")[2]
        kind = _kind_of(name)
        note(f"{said.verb} {kind}: the request's head", said.head)
        note(f"{said.verb} {kind}: the answer", said.answer_head + said.answer_body)
        if said.body and kind in _SPLIT:
            parts = _split_object(name, said.body, keyring)
            for what, size, count in parts:
                note(f"{kind}: {what}", size, count)
            if sum([size for _, size, _ in parts]) != len(said.body):
                raise WireOdd(f"the parts of {name} do not add up to it")
        else:
            note(f"{kind}: the object", len(said.body))
    lines = [Line(what, counts[what], size) for what, size in sizes.items()]
    if sum([line.size for line in lines]) != sum([len(piece) for _, _, piece in tape]):
        raise WireOdd("the rows do not add up to what went over the wire")
    return sorted(lines, key=lambda line: (line.what[:3] not in ("PUT", "DEL", "GET"), line.what.partition(":")[0]))


def _kind_of(name: str) -> str:
    parts = name.split("/")
    if parts[0] == "heads":
        return "head of the log"
    if len(parts) == 5 and parts[0] == "sites":
        return {"log": "log batch", "packs": "pack", "index": "index"}.get(parts[3], parts[3])
    return parts[0].partition("?")[0] or "bucket"


_SPLIT: Final = ("log batch", "pack", "index")
Part = tuple[str, int, int]
"""What, bytes, how many."""


def _split_object(name: str, data: bytes, keyring: Keyring) -> list[Part]:
    parts = name.split("/")
    origin = (bytes.fromhex(parts[1]), bytes.fromhex(parts[2]))
    if parts[3] == "packs":
        return _split_pack(origin, data, keyring)
    if parts[3] == "index":
        return _split_index(name, origin, data, keyring)
    return _split_batch(name, origin, data, keyring)


def _split_batch(name: str, origin: Origin, data: bytes, keyring: Keyring) -> list[Part]:
    n = split_log_name(name) or 0
    begin = tail_offset(data)
    batch = decode_batch(keyring, origin, n, data)
    context = origin[0] + origin[1] + n.to_bytes(8, "little")
    plain = open_envelope(keyring, PURPOSE_CLOUD_LOG, context, memoryview(data)[HEAD_SIZE:begin])
    body = len(decode_padded(b"SKB1", 1, plain))
    headers = [len(frame.header) for frame in batch.frames]
    told = sum(headers) + sum(map(len, batch.changes)) + len(batch.status)
    tail = sum([len(frame.ciphertext) for frame in batch.frames])
    return [
        ("seal and heads", HEAD_SIZE + ENVELOPE_OVERHEAD + PADDED_HEAD_SIZE, 1),
        ("changes", sum(map(len, batch.changes)), len(batch.changes)),
        ("frames' headers (names, bases, salts)", sum(headers), len(headers)),
        ("the site's status", len(batch.status), 1),
        ("number, chain, acks, hashes", body - told, 1),
        *_split_frames(batch.frames),
        ("padding, envelope", len(plain) - PADDED_HEAD_SIZE - body, 1),
        ("padding, frames", len(data) - begin - tail, 1),
    ]


def _split_pack(origin: Origin, data: bytes, keyring: Keyring) -> list[Part]:
    trailer = decode_footer(data[-FOOTER_SIZE:])
    begin = len(data) - FOOTER_SIZE - trailer
    located = decode_pack(keyring, origin, data)
    plain = open_envelope(keyring, PURPOSE_PACK, origin[0] + origin[1], data[begin:-FOOTER_SIZE])
    body, headers = len(decode_padded(b"SKT1", 1, plain)), [len(place.header) for place in located]
    sizes = [decode_header(place.header).stored_size for place in located]
    frames = [
        Frame(place.header, data[place.offset : place.offset + size])
        for place, size in zip(located, sizes, strict=True)
    ]
    return [
        ("seal, heads and footer", ENVELOPE_OVERHEAD + PADDED_HEAD_SIZE + FOOTER_SIZE, 1),
        ("frames' headers (names, bases, salts)", sum(headers), len(headers)),
        ("lengths of headers", body - sum(headers), 1),
        *_split_frames(frames),
        ("padding, trailer", len(plain) - PADDED_HEAD_SIZE - body, 1),
        ("padding, frames", begin - sum(sizes), 1),
    ]


def _split_index(name: str, origin: Origin, data: bytes, keyring: Keyring) -> list[Part]:
    n = split_index_name(name) or 0
    context = origin[0] + origin[1] + n.to_bytes(8, "little")
    plain = open_envelope(keyring, PURPOSE_INDEX, context, data)
    body = len(decode_padded(b"SKI1", 1, plain))
    headers = [len(place.header) for place in decode_index(keyring, origin, n, data)]
    return [
        ("seal and heads", ENVELOPE_OVERHEAD + PADDED_HEAD_SIZE, 1),
        ("frames' headers (names, bases, salts)", sum(headers), len(headers)),
        ("packs and offsets", body - sum(headers), 1),
        ("padding", len(plain) - PADDED_HEAD_SIZE - body, 1),
    ]


def _split_frames(frames: Sequence[Frame]) -> list[Part]:
    """Payloads by what they are; the tags of their seals apart."""
    sizes: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for frame in frames:
        header = decode_header(frame.header)
        what = "pages" if header.kind == KIND_PAGE else "chunks"
        how = "patches of" if header.codec == CODEC_PATCH else "whole"
        sizes[f"{how} {what}"] += len(frame.ciphertext) - TAG_SIZE
        counts[f"{how} {what}"] += 1
    split: list[Part] = [(what, size, counts[what]) for what, size in sizes.items()]
    return [*split, ("seals of frames", TAG_SIZE * len(frames), len(frames))]


def _read_tape(tape: Tape) -> Iterator[Said]:
    """What was said on each connection, in order; nobody sends a second request before the first is answered."""
    for number in dict.fromkeys(number for number, _, _ in tape):
        up = b"".join([piece for at, answers, piece in tape if at == number and not answers])
        down = b"".join([piece for at, answers, piece in tape if at == number and answers])
        while up:
            verb, target, head, body, up = _take_request(up)
            answer_head, answer_body, down = _take_answer(down)
            yield Said(verb, target, head, body, answer_head, answer_body)
        if down:
            raise WireOdd("an answer to nothing that is on the tape")


def _take_request(data: bytes) -> tuple[str, str, int, bytes, bytes]:
    head, found, rest = data.partition(BLANK)
    words = head.split(b"\r\n", 1)[0].split(b" ")
    size = _content_length(head) or 0
    if not found or len(words) != 3 or len(rest) < size:
        raise WireOdd("a request that is cut")
    return words[0].decode(), words[1].decode(), len(head) + len(BLANK), rest[:size], rest[size:]


def _take_answer(data: bytes) -> tuple[int, int, bytes]:
    """Bytes of heads (of interim answers, too) and of the body, and what follows."""
    heads = 0
    while True:
        head, found, data = data.partition(BLANK)
        if not found:
            raise WireOdd("an answer that is cut")
        heads += len(head) + len(BLANK)
        status = head.split(b" ", 2)[1]
        if not status.startswith(b"1"):
            break
    size = 0 if status in (b"204", b"304") else _content_length(head)
    if size is None:  # chunked, as lists are
        end = data.find(b"\r\n0\r\n\r\n")
        size = end + 7 if end >= 0 else len(data) + 1
    if size > len(data):
        raise WireOdd("an answer that is cut")
    return heads, size, data[size:]


def _content_length(head: bytes) -> int | None:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return None
