"""One process' hold on a site: directory, realm, cloud and store, opened together and given back together.

Every process of a site opens it so: workers, the parent, the background process, commands beside a running server.
Bytes that are only in the cloud are fetched through the cloud of the process that misses them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.cli.link_state import open_debts, site_link
from gateway.cli.progress import PhaseProgress
from gateway.cli.request_tally import SharedTally
from gateway.cli.site import open_site
from gateway.config import Config
from gateway.store.layout import DataDirectory
from gateway.store.replica import Replica
from gateway.store.store import SiteStore, open_store
from replication.hydrate import CloudFetcher
from replication.open_cloud import open_cloud
from replication.realm_access import RealmAccess
from replication.retry import RetryingCloud
from replication.trusted_time import SkewMeter


@dataclass(frozen=True, repr=False)
class OpenSite:
    """An opened site. ``cloud`` is None where none is configured; opening it sent nothing. ``skew``: its clock's;
    ``requests``: what all its processes asked of the bucket.
    """

    config: Config
    directory: DataDirectory
    realm: RealmAccess
    store: SiteStore
    cloud: RetryingCloud | None
    fetcher: CloudFetcher | None
    skew: SkewMeter = field(default_factory=SkewMeter)
    requests: SharedTally | None = None

    @property
    def replica(self) -> Replica:
        """The store as replication sees it."""
        return self.store.replica

    @property
    def counters(self) -> Path:
        """Directory of the workers' request counters."""
        return self.directory.run / "metrics"


async def end_task(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def opened_site(config: Config, *, connect: bool = False, root_key: str = "") -> AsyncIterator[OpenSite]:
    """Open the site of a configuration; recovers its store first if need be. Blocking at its start and end.

    ``connect``: make the cloud's client now, for a process whose loop must not be held up by that later; ``root_key``:
    as its parent handed it over.
    """
    keys = open_site(config, root_key)
    async with AsyncExitStack() as stack:
        cloud, fetcher, skew, requests = None, None, SkewMeter(), None
        if config.cloud is not None:
            debts = open_debts(keys.directory)
            requests = SharedTally(keys.directory)
            stack.callback(debts.close)
            stack.callback(requests.close)
            link = site_link(config, keys.directory)
            cloud = await open_cloud(config.cloud, link, debts, skew, requests, at_once=connect)
            stack.push_async_callback(cloud.close)
            fetcher = CloudFetcher(cloud)
            stack.push_async_callback(fetcher.close)
        with PhaseProgress() as bars:  # a missing index is rebuilt, which may take a while
            store = open_store(keys.directory, keys.realm.keyring(), config.store, fetcher, bars.tell)
        stack.callback(store.close)
        keys.realm.on_keyring = store.set_keyring
        watch = asyncio.create_task(keys.realm.watch())
        stack.push_async_callback(end_task, watch)
        yield OpenSite(config, keys.directory, keys.realm, store, cloud, fetcher, skew, requests)
