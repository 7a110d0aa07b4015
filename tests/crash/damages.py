"""What can be done to the files of a data directory: a site with all kinds of content, and every damage to it.

A damage is one change to one file (or to two that are swapped): a flipped bit in each region (segment header; header,
bases and ciphertext of each frame; header, envelope and inline frames of each batch; pages of the index), cut short,
gone, in another's place, there twice, another site's, rolled back. ``needed`` says whether something that was written
may be lost by it on this machine.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Final

from gateway.store.found_frames import scan_frames
from gateway.store.log_format import BATCH_HEADER_SIZE
from gateway.store.segment_format import KIND_DATA, KIND_LOG, SEGMENT_HEADER_SIZE
from gateway.store.store import SiteStore
from tests.crash.open_store import open_store
from tests.crash.workloads import Step, Writer
from tests.gateway.store.held_frames import HeldFrames

PAGE: Final = 4096


@dataclass
class Kept:
    """What was promised: key → digest (None: deleted). ``shipped``: keys whose bytes the cloud has."""

    values: dict[str, str | None] = field(default_factory=dict)
    shipped: set[str] = field(default_factory=set)

    def note(self, what: str, value: object) -> None:
        """As a recorder does."""
        assert isinstance(value, Step)
        if what == "acknowledged":
            self.values[value.key] = value.value


@dataclass(frozen=True)
class Damage:
    """``kind``: how it is counted; ``where``: file, and what in it; ``harm``: does it to the files below a root.

    ``remedy``: what the refusal tells to do, for a damage that has to be refused; ``named``: one of the files that the
    refusal has to name.
    """

    kind: str
    where: str
    harm: Callable[[Path], None]
    remedy: Callable[[Path], None] | None = None
    named: tuple[str, ...] = ()


async def fill(root: Path, cloud: HeldFrames) -> Kept:
    """A site with all kinds of content in several segments of each kind, half of it in the cloud."""
    kept = Kept()
    root.mkdir(mode=0o700)
    async with open_store(root, cloud=cloud) as store:
        assert isinstance(store, SiteStore)
        writer = Writer(store, kept, 5, cloud)
        await writer.make_bucket()
        for half in ("shipped", "unsent"):
            for number in range(3):
                await writer.put(f"{half}, small {number}", 300 + number)
            await writer.put(f"{half}, medium", 60_000)
            data = writer.random.randbytes(900_000)
            await writer._step(f"{half}, large", "", lambda data=data, half=half: writer._put(f"{half}, large", data))
            await writer.replace_middle(f"{half}, large", data)
            await writer.upload(f"{half}, multi", (300_000, 5))
            await writer.put(f"{half}, gone", 20_000)
            await writer.delete(f"{half}, gone")
            await writer.set_document("policy", half)
            await writer.set_tags(f"{half}, small 1", half)
            if half == "shipped":
                kept.shipped = set(kept.values)
                await cloud.ship(SimpleNamespace(store=store))  # type: ignore[arg-type]
                await writer.put("moved", 40_000)
                store.parts.log_appender.roll()
                store.appender.roll()
        await writer.evict("shipped, medium")
        await writer.put("last", 10)
    return kept


def flip(path: Path, offset: int, bit: int) -> None:
    """Turn one bit of a file over."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))


async def list_regions(root: Path) -> list[tuple[str, str, int, int]]:
    """(kind of region, file, offset, size) of everything that lies in the segments."""
    regions: list[tuple[str, str, int, int]] = []
    async with open_store(root) as store:
        for number in store.directory.segment_numbers(KIND_DATA):
            name = f"segments/{number}.data"
            regions.append(("segment header", name, 0, SEGMENT_HEADER_SIZE))
            for header, offset in scan_frames(store.segments, number, []):
                regions.append(("frame header", name, offset, header.header_size))
                regions.append(("frame", name, offset + header.header_size, header.stored_size))
        for number in store.directory.segment_numbers(KIND_LOG):
            name = f"segments/{number}.log"
            regions.append(("segment header", name, 0, SEGMENT_HEADER_SIZE))
            for batch in store.log.scan(number).batches:
                regions.append(("batch header", name, batch.offset, BATCH_HEADER_SIZE))
                regions.append(("batch", name, batch.offset + BATCH_HEADER_SIZE, batch.header.sealed_size))
                for header, offset in store.log.inline_frames(batch):
                    regions.append(("inline frame", name, offset, header.header_size + header.stored_size))
    return regions


def list_flips(regions: list[tuple[str, str, int, int]], index_size: int, seed: int) -> Iterator[Damage]:
    """One flipped bit in each region, and in each page of the index."""
    chance = random.Random(seed)
    pages = [("index page", "index/data.mdb", page * PAGE, PAGE) for page in range(index_size // PAGE)]
    for kind, name, offset, size in [*regions, *pages]:
        at, bit = offset + chance.randrange(size), chance.randrange(8)
        yield Damage(
            f"flipped bit, {kind}",
            f"{name} at {at}",
            lambda root, name=name, at=at, bit=bit: flip(root / name, at, bit),
        )


def _flipping(name: str, at: int, bit: int) -> Callable[[Path], None]:
    return lambda root: flip(root / name, at, bit)


def list_file_damages(root: Path, foreign: Path) -> Iterator[Damage]:
    """Files cut short, gone, swapped, doubled, or another site's; ``foreign`` is a site of the same realm."""
    files = sorted((root / "segments").iterdir(), key=lambda path: int(path.stem))
    for path in files:
        name, size = path.name, path.stat().st_size
        for keep in sorted({0, 1, SEGMENT_HEADER_SIZE, size // 2, size - 1}):
            yield Damage("cut short", f"{name} to {keep}", lambda root, name=name, keep=keep: _cut(root, name, keep))
        yield Damage("gone", name, lambda root, name=name: (root / "segments" / name).unlink())
        again = f"{int(path.stem) + 100}{path.suffix}"
        yield Damage("doubled", f"{name} as {again}", _copying(name, again), _removing(again), (again,))
        others = [other for other in files if other.suffix == path.suffix and int(other.stem) > int(path.stem)]
        for other in others:
            pair, swap = (name, other.name), _swapping(name, other.name)
            yield Damage("swapped", " and ".join(pair), swap, swap, pair)
        alien = next(other for other in (foreign / "segments").iterdir() if other.suffix == path.suffix)
        yield Damage("another site's", f"as {again}", _replacing(again, alien), _removing(again), (again,))
        yield Damage("another site's", f"in place of {name}", _replacing(name, alien), None, (name,))
    yield Damage("index gone", "index", lambda root: shutil.rmtree(root / "index"))
    yield Damage("index empty", "index", lambda root: (root / "index" / "data.mdb").write_bytes(b""))
    for keep in (1, PAGE, 3 * PAGE, 10 * PAGE):
        yield Damage("index cut short", f"to {keep}", lambda root, keep=keep: _cut_index(root, keep))
    yield Damage(
        "index of another site", "index", lambda root: _replace(root / "index" / "data.mdb", foreign / "index/data.mdb")
    )


def _cut(root: Path, name: str, keep: int) -> None:
    with (root / "segments" / name).open("r+b") as file:
        file.truncate(keep)


def _cut_index(root: Path, keep: int) -> None:
    with (root / "index" / "data.mdb").open("r+b") as file:
        file.truncate(keep)


def _copying(name: str, again: str) -> Callable[[Path], None]:
    return lambda root: Path(shutil.copy(root / "segments" / name, root / "segments" / again)).chmod(0o600)


def _removing(name: str) -> Callable[[Path], None]:
    return lambda root: (root / "segments" / name).unlink()


def _replacing(name: str, source: Path) -> Callable[[Path], None]:
    return lambda root: _replace(root / "segments" / name, source)


def _swapping(first: str, second: str) -> Callable[[Path], None]:
    def swap(root: Path) -> None:
        aside = root / "segments" / "aside"
        (root / "segments" / first).rename(aside)
        (root / "segments" / second).rename(root / "segments" / first)
        aside.rename(root / "segments" / second)

    return swap


def _replace(path: Path, source: Path) -> None:
    path.unlink(missing_ok=True)
    shutil.copy(source, path)
