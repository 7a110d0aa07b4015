"""Every name under a prefix, page by page: one request more than needed only when a page is exactly full."""

from __future__ import annotations

from typing import Final

from replication.ports import Cloud

PAGE_COUNT: Final = 1000


async def list_all(cloud: Cloud, prefix: str) -> list[str]:
    """Names under ``prefix``, ascending; ``CloudError`` if any page cannot be had."""
    names: list[str] = []
    while True:
        page = await cloud.list(prefix, after=names[-1] if names else "", count_max=PAGE_COUNT)
        names += page
        if len(page) < PAGE_COUNT:
            return names
