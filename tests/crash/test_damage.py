"""Every damage to a data directory is found, named, mended where the cloud can help, and never served.

For each damage of ``damages``: opening refuses with a typed error that names a file, or the site opens. Then no key is
silently missing, no byte wrong: each promised object reads as it was or says that it is damaged. The scrub and
``verify`` find what is damaged (a clean report means that everything reads), name segment, offset and objects, and
fetch back what the cloud has: everything that was shipped reads afterwards. Read again from the disk after a restart.

The short form takes a few of each kind by chance; ``SKERRY_DAMAGES=all`` takes all, ``SKERRY_DAMAGE_SEED`` repeats.
"""

from __future__ import annotations

import os
import random
import secrets
import shutil
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.store.errors import ChunkUnavailable, Damaged, StoreError
from gateway.store.index import IndexUnreadable
from gateway.store.layout import DataDirectory
from gateway.store.scrub import ScrubState
from gateway.store.store import SiteStore
from gateway.store.verify import VerifyReport
from tests.crash.damages import Damage, Kept, fill, list_file_damages, list_flips, list_regions
from tests.crash.open_store import open_store
from tests.crash.workloads import DOCUMENT, TAGS, Writer, current_documents, current_records, digest
from tests.gateway.store.held_frames import HeldFrames

ALL = os.environ.get("SKERRY_DAMAGES") == "all"
OF_EACH_KIND = 2
SAY = bool(os.environ.get("SKERRY_DAMAGE_SAY"))


@dataclass(frozen=True)
class Template:
    """A sound site to be damaged in copies, and what it promised."""

    root: Path
    kept: Kept
    cloud: HeldFrames


@dataclass
class Found:
    """What reading everything gave: keys that read right, and those that said they cannot be read."""

    right: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)


@pytest.fixture
async def template(tmp_path: Path) -> Template:
    cloud = HeldFrames()
    return Template(tmp_path / "template", await fill(tmp_path / "template", cloud), cloud)


async def read_all(store: SiteStore, kept: Kept, what: str) -> Found:
    """Read what was promised; wrong bytes, or a key that is missing without a word, fail the test."""
    found = Found()
    store.parts.cache._chunks.clear()
    try:
        with store.view() as view:
            records, documents = current_records(view), current_documents(view)
    except Damaged:
        return Found(refused={key for key, value in kept.values.items() if value is not None})
    for key, value in kept.values.items():
        if key.startswith((DOCUMENT, TAGS)):
            assert documents.get(key) == value, f"{what}: {key} is {documents.get(key)}"
            found.right.add(key)
        elif value is None:
            assert key not in records, f"{what}: {key} is back"
        else:
            assert key in records, f"{what}: {key} is missing, and nobody said so"
            try:
                data = b"".join([piece async for piece in store.read(records[key].content)])
            except (Damaged, ChunkUnavailable):
                found.refused.add(key)
            else:
                assert digest(data) == value, f"{what}: wrong bytes of {key}"
                found.right.add(key)
    return found


async def scrub(store: SiteStore) -> ScrubState:
    scrubber = store.scrubber(ScrubState())
    await scrubber.step(1000)
    while scrubber.state.is_under_way:
        await scrubber.step(1001)
    return scrubber.state


def check_named(report: VerifyReport, found: Found, what: str) -> None:
    """A report that is not clean says where, and which objects."""
    if report.bad_rows:
        return  # it tells nothing of the rest, and is rebuilt at the next start
    places = [*report.bad_batches, *report.bad_segments, *(frame.reason for frame in report.bad_frames)]
    assert places or report.missing or report.wrong_counts, what
    named = {name for frame in report.bad_frames for name in frame.objects} | {
        name for missing in report.missing for name in missing.objects
    }
    for key in found.refused:
        assert any(name.endswith("/" + key) for name in named), f"{what}: {key} cannot be read, and is not named"


async def check_damage(template: Template, damage: Damage, root: Path) -> str:
    """One damage: what became of it."""
    shutil.copytree(template.root, root)
    shutil.rmtree(root / "run", ignore_errors=True)
    what = f"{damage.kind}: {damage.where}"
    damage.harm(root)
    try:
        return await live_with(template, root, what, damage)
    finally:
        shutil.rmtree(root)


async def live_with(template: Template, root: Path, what: str, damage: Damage) -> str:
    kept, cloud = template.kept, template.cloud
    cloud.reachable = False
    try:
        async with open_store(root, cloud=cloud) as store:
            rebuilt_at_once = store.rebuilt is not None
            before = await read_all(store, kept, what)
            cut_off = await store.verify()
            assert not before.refused - {"shipped, medium"} or not cut_off.sound, f"{what}: a false clean"
            if not cut_off.sound:
                check_named(cut_off, Found(refused=before.refused - {"shipped, medium"}), what)
            if cut_off.bad_rows:
                raise Damaged(cut_off.bad_rows[0])
            state = await scrub(store)
            told = state.findings or state.mended
            assert cut_off.sound or told or cut_off.wrong_counts, f"{what}: the scrub saw nothing"
            cloud.reachable = True
            mended = await store.verify(mend=True)
            after = await read_all(store, kept, what)
            lost = {key for key in after.refused if key in kept.shipped}
            assert not lost, f"{what}: {lost} not mended from the cloud"
            assert not after.refused or not mended.sound, f"{what}: a false clean after mending"
    except (StoreError, IndexUnreadable) as error:
        refusal = str(error)
    else:
        assert not damage.named, f"{what}: not refused"
        ended = await _live_again(template, root, what, after, is_clean=cut_off.sound)
        return "index rebuilt at once" if rebuilt_at_once and cut_off.sound else ended
    everything = {key for key, value in kept.values.items() if value is not None}
    if "restart" in refusal:
        return await _live_again(template, root, what, Found(right=everything), is_clean=False)
    assert str(root) in refusal or "segment" in refusal, f"{what}: refused without a place: {refusal}"
    if SAY:
        print(f"{what}: {refusal}")
    assert damage.named, f"{what}: refused, although most of it is sound: {refusal}"
    assert any(f"segments/{name}" in refusal for name in damage.named), f"{what}: {refusal} names another file"
    if damage.remedy is not None:
        damage.remedy(root)
        await _live_again(template, root, what, Found(right=everything), is_clean=True)
        return "refused by name, and sound when done as told"
    return "refused by name"


async def _live_again(template: Template, root: Path, what: str, after: Found, *, is_clean: bool) -> str:
    template.cloud.reachable = True
    async with open_store(root, cloud=template.cloud) as store:
        again = await read_all(store, template.kept, f"{what}, after a restart")
        assert again.right >= after.right, f"{what}: lost again after a restart"
        report = await store.verify()
        assert not again.refused or not report.sound
        was_rebuilt = store.rebuilt is not None
    if not is_clean and report.sound:
        return "index rebuilt at the next start" if was_rebuilt else "mended"
    return "nothing harmed" if is_clean else "named"


@pytest.mark.slow
@pytest.mark.timeout(3600 if ALL else 300)
async def test_every_damage_is_found_named_and_mended(template: Template, tmp_path: Path) -> None:
    seed = int(os.environ.get("SKERRY_DAMAGE_SEED") or secrets.randbits(32))
    print(f"seed {seed}")
    foreign = tmp_path / "foreign"
    async with open_store(foreign_directory(foreign)) as store:
        writer = Writer(store, Kept(), 9)
        await writer.make_bucket()
        await writer.put("of another site", 50_000)
        await writer.put("of another site, small", 50)
    index_size = (template.root / "index" / "data.mdb").stat().st_size
    damages = [
        *list_flips(await list_regions(template.root), index_size, seed),
        *list_file_damages(template.root, foreign),
    ]
    by_kind: dict[str, list[Damage]] = defaultdict(list)
    for damage in damages:
        by_kind[damage.kind].append(damage)
    chance = random.Random(seed)
    for kind, list_of in by_kind.items():
        chosen = list_of if ALL else chance.sample(list_of, min(OF_EACH_KIND, len(list_of)))
        ended: Counter[str] = Counter()
        for damage in chosen:
            ended[await check_damage(template, damage, tmp_path / "harmed")] += 1
        print(f"{kind}: {len(chosen)} of {len(list_of)}: {dict(ended)}")


def foreign_directory(path: Path) -> Path:
    """A data directory of another site of the same realm."""
    DataDirectory.create(path, b"r" * 16, b"f" * 16)
    return path
