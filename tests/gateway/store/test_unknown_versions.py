"""A version of a format that this Skerry does not know is refused, with what to do, and nothing is touched."""

from __future__ import annotations

from pathlib import Path

import google_crc32c
import pytest

from gateway.store.errors import FormatTooNew
from tests.gateway.store.store_site import StoreSite


def snapshot(path: Path) -> dict[str, bytes]:
    kept = [file for file in path.rglob("*") if file.is_file() and "run" not in file.parts and file.name != "lock.mdb"]
    return {str(file.relative_to(path)): file.read_bytes() for file in kept}


def raise_version(path: Path, offset: int, at: int, crc_at: int) -> None:
    """Raise the version in a structure that begins at ``offset``, and make its checksum hold again."""
    data = bytearray(path.read_bytes())
    data[offset + at] += 100
    crc = google_crc32c.value(bytes(data[offset : offset + crc_at]))
    data[offset + crc_at : offset + crc_at + 4] = crc.to_bytes(4, "little")
    path.write_bytes(data)


async def fill(path: Path) -> None:
    async with StoreSite(path) as site:
        await site.put(b"small", b"small")
        await site.put(b"medium", b"medium" * 10_000)


def segment(path: Path, suffix: str) -> Path:
    return min((path / "segments").glob(f"*.{suffix}"), key=lambda file: int(file.stem))


@pytest.mark.parametrize("suffix", ["data", "log"])
async def test_a_segment_of_a_newer_format_below_the_committed_end(suffix: str, tmp_path: Path) -> None:
    await fill(tmp_path / "site")
    raise_version(segment(tmp_path / "site", suffix), 0, 4, 124)
    before = snapshot(tmp_path / "site")
    with pytest.raises(FormatTooNew, match=r"format 101.*upgrade"):
        StoreSite(tmp_path / "site")
    assert snapshot(tmp_path / "site") == before


async def test_a_stamp_of_a_newer_format(tmp_path: Path) -> None:
    await fill(tmp_path / "site")
    stamp = tmp_path / "site" / "format.toml"
    stamp.write_text(stamp.read_text().replace("format = 1", "format = 2"))
    before = snapshot(tmp_path / "site")
    with pytest.raises(FormatTooNew, match="upgrade"):
        StoreSite(tmp_path / "site")
    assert snapshot(tmp_path / "site") == before


@pytest.mark.parametrize("is_index_there", [True, False])
async def test_a_batch_that_asks_for_a_newer_reader(is_index_there: bool, tmp_path: Path) -> None:
    """Without the index every batch is read again; with it, those that a newer Skerry appended since."""
    await fill(tmp_path / "site")
    kept = (tmp_path / "site" / "index" / "data.mdb").read_bytes()
    async with StoreSite(tmp_path / "site") as site:
        await site.put(b"later", b"later")
        newest = site.store.log.segment_numbers()[-1]
        path, offset = site.directory.segments / f"{newest}.log", site.store.log.scan(newest).batches[-1].offset
    if is_index_there:
        (tmp_path / "site" / "index" / "data.mdb").write_bytes(kept)
    else:
        (tmp_path / "site" / "index" / "data.mdb").unlink()
    raise_version(path, offset, 5, 96)
    before = snapshot(tmp_path / "site" / "segments")
    with pytest.raises(FormatTooNew, match="upgrade"):
        StoreSite(tmp_path / "site")
    assert snapshot(tmp_path / "site" / "segments") == before
