"""Files that were put where they do not belong refuse the start by name, and nothing is touched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gateway.store.errors import BadDataDirectory
from tests.gateway.store.store_site import StoreSite


async def fill(path: Path, site: bytes) -> None:
    async with StoreSite(path, site=site) as opened:
        await opened.put(b"small", b"small")
        await opened.put(b"large", b"large" * 50_000)


def snapshot(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (path / "segments").iterdir()}


@pytest.mark.parametrize("suffix", ["data", "log"])
async def test_a_segment_of_another_site_is_refused(suffix: str, tmp_path: Path) -> None:
    """Also under a number that it had there, too."""
    for name in ("one", "other"):
        await fill(tmp_path / name, name[:2].encode() * 8)
    names = [{path.name for path in (tmp_path / name / "segments").glob(f"*.{suffix}")} for name in ("one", "other")]
    both = min(names[0] & names[1])
    shutil.copy(tmp_path / "other" / "segments" / both, tmp_path / "one" / "segments" / both)
    before = snapshot(tmp_path / "one")
    with pytest.raises(BadDataDirectory, match=rf"segments/{both} is a segment of another site .*move it away"):
        StoreSite(tmp_path / "one")
    assert snapshot(tmp_path / "one") == before


@pytest.mark.parametrize("suffix", ["data", "log"])
async def test_a_segment_under_another_number_is_refused(suffix: str, tmp_path: Path) -> None:
    await fill(tmp_path / "one", b"on" * 8)
    segment = min((tmp_path / "one" / "segments").glob(f"*.{suffix}"))
    shutil.copy(segment, segment.with_name(f"{int(segment.stem) + 1000}.{suffix}"))
    before = snapshot(tmp_path / "one")
    with pytest.raises(BadDataDirectory, match=rf"{int(segment.stem) + 1000}\.{suffix} holds segment"):
        StoreSite(tmp_path / "one")
    assert snapshot(tmp_path / "one") == before
