"""Listings over what is deleted: whole and in order, and after a bounded number of dead keys others have their turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.identity.principals import Principal
from gateway.identity.users import new_access_key, new_user
from gateway.operations import listings
from gateway.operations.buckets import create_bucket
from gateway.operations.context import Context, OperationSettings
from gateway.operations.listings import list_object_versions, list_objects
from gateway.s3.listing import Page
from gateway.store.ports import WriteView
from gateway.store.version_ids import NULL
from tests.gateway.store.store_site import StoreSite

PASSED = 7
DEAD = [b"%c/%02d" % (letter, number) for letter in b"def" for number in range(12)]
LIVE = [b"d/", b"d/07x", b"e/11x", b"f/99"]


class Turns:
    """Counts how often others had their turn."""

    def __init__(self) -> None:
        self.count = 0

    async def take(self) -> None:
        self.count += 1


@pytest.fixture
async def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Context]:
    """A bucket in which nearly every key was deleted."""
    monkeypatch.setattr(listings, "KEYS_PASSED", PASSED)
    monkeypatch.setattr(listings, "TOMBSTONES_PASSED", PASSED)
    async with StoreSite(tmp_path) as site:
        user = new_user("ann", now_ms=0)
        principal = Principal(user, new_access_key(user.id, now_ms=0))
        made = Context(principal, "id", site.store, OperationSettings(part_bytes_min=1))
        await site.store.commit(lambda view: view.put_user(user))
        await create_bucket(made, "listed")
        with site.store.view() as view:
            found = view.bucket("listed")
        assert found is not None
        site.uid = found.uid
        for name in (*DEAD, *LIVE):
            await site.put(name, b"x")

        def remove(view: WriteView) -> None:
            for name in DEAD:
                view.remove_version(site.uid, name, NULL)

        await site.store.commit(remove)
        yield made


@pytest.mark.parametrize(
    ("page", "keys", "prefixes"),
    [
        (Page(), LIVE, []),
        (Page(keys_max=2), LIVE[:2], []),
        (Page(after=b"d/", keys_max=2), LIVE[1:3], []),
        (Page(b"", b"/"), [], [b"d/", b"e/", b"f/"]),
        (Page(b"e/", b"/"), LIVE[2:3], []),
    ],
)
async def test_a_page_of_objects(context: Context, page: Page, keys: list[bytes], prefixes: list[bytes]) -> None:
    turns = Turns()
    found = await list_objects(context, "listed", page, turns.take, with_owners=True)
    assert ([key for key, _ in found.listing.contents], found.listing.prefixes) == (keys, prefixes)
    assert found.listing.truncated == (page.keys_max == 2)
    assert turns.count <= len(DEAD) // PASSED
    if page == Page():
        assert turns.count == len(DEAD) // PASSED, "others had their turn behind each few of the dead"


async def test_a_page_of_versions(context: Context) -> None:
    turns, found = Turns(), []
    page, marker = Page(keys_max=1), None
    while True:
        told = await list_object_versions(context, "listed", page, marker, turns.take)
        found += [version.key for version in told.listing.versions]
        if not told.listing.truncated:
            break
        assert told.listing.last is not None
        page, marker = Page(after=told.listing.last.key, keys_max=1), told.listing.last.id.text
    assert found == LIVE
    assert turns.count >= 4, "a page begins to count anew"


async def test_what_is_deleted_while_others_have_their_turn_is_no_error(context: Context) -> None:
    """The page came by before; the next listing knows."""

    async def take() -> None:
        with context.store.view() as view:
            bucket = view.bucket("listed")
        assert bucket is not None
        await context.store.commit(lambda view: view.remove_version(bucket.uid, LIVE[0], NULL))

    found = await list_objects(context, "listed", Page(), take, with_owners=True)
    assert [key for key, _ in found.listing.contents] == LIVE
    found = await list_objects(context, "listed", Page(), take, with_owners=True)
    assert [key for key, _ in found.listing.contents] == LIVE[1:]
