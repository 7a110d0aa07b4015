"""The edits of ``benchmarks.delta``: for each the content before and after. Seeded: the same bytes in every run."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from collections.abc import Iterator
from typing import NamedTuple

MIB = 1 << 20
LARGE = 200 * MIB


class Edit(NamedTuple):
    """What is done, and the content before and after. ``little``: whether little of it changed.

    ``new``: bytes of ``after`` that were drawn at random for it, or are a compressed stream that is nowhere in
    ``before``: less than that no store can send. None: what is new follows rules, and nobody knows the least.
    """

    name: str
    before: bytes
    after: bytes
    little: bool
    new: int | None


def make_edits(scale: float = 1.0) -> Iterator[Edit]:
    """One edit after the other (each is large): sizes are multiplied by ``scale``."""
    for make in (_appended, _inserted, _changed, _retarred, _image, _recompressed):
        yield make(scale)


def _random(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def _large(scale: float) -> bytes:
    return _random(1, int(LARGE * scale))


def _appended(scale: float) -> Edit:
    base = _large(scale)
    return Edit("1 KiB appended", base, base + _random(2, 1024), True, 1024)


def _inserted(scale: float) -> Edit:
    base = _large(scale)
    return Edit("1 KiB inserted at the front", base, _random(3, 1024) + base, True, 1024)


def _changed(scale: float) -> Edit:
    base = _large(scale)
    half = len(base) // 2
    after = base[:half] + _random(4, 1024) + base[half + 1024 :]
    return Edit("1 KiB changed in the middle", base, after, True, 1024)


def _retarred(scale: float) -> Edit:
    """A tree of source-like files, packed twice: only the times of modification differ."""
    chance = random.Random(5)
    words = [chance.randbytes(chance.randint(2, 9)).hex() for _ in range(5000)]
    files = []
    for number in range(max(1, int(6000 * scale))):
        text = " ".join(chance.choices(words, k=chance.randint(50, 1700)))
        files.append((f"tree/{number % 97:02d}/{number}.txt", text.encode()))
    return Edit("a tree packed again, new mtimes", _tar(files, 1_700_000_000), _tar(files, 1_760_000_000), True, None)


def _tar(files: list[tuple[str, bytes]], mtime: int) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), mtime + len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def _image(scale: float) -> Edit:
    """A disk image: zeros, text and random blocks; then 200 blocks of 4 KiB are written over."""
    chance, blocks = random.Random(6), []
    for _ in range(max(1, int(128 * scale))):
        kind = chance.random()
        blocks.append(bytes(MIB) if kind < 0.4 else chance.randbytes(MIB) if kind < 0.7 else b"log line\n" * (MIB // 9))
    before = b"".join(blocks)
    after, places = bytearray(before), set()
    for _ in range(max(1, int(200 * scale))):
        place = chance.randrange(len(after) // 4096) * 4096
        after[place : place + 4096] = chance.randbytes(4096)
        places.add(place)
    return Edit("a disk image, 200 blocks of 4 KiB written", before, bytes(after), True, 4096 * len(places))


def _recompressed(scale: float) -> Edit:
    """Logs, compressed; then compressed again with some lines more in front: nothing of the stream is as it was."""
    chance = random.Random(7)
    lines = [
        b"%d host%d served %s in %d us" % (n, n % 40, chance.randbytes(9).hex().encode(), chance.randint(90, 9999))
        for n in range(max(1, int(400_000 * scale)))
    ]
    after = _gzip([b"a new first line", *lines])
    return Edit("logs compressed again", _gzip(lines), after, False, len(after))


def _gzip(lines: list[bytes]) -> bytes:
    return gzip.compress(b"\n".join(lines), 6, mtime=0)
