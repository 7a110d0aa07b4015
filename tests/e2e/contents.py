"""What is in a site, seen through its S3 door, and whether two of them agree: listings and every byte."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tests.support.net import wait_until
from tests.support.site import Site

READERS = 8
Name = tuple[str, str]
"""Bucket and key."""


@dataclass(frozen=True)
class Entry:
    """What a listing says of an object."""

    size: int
    etag: str


def digest(data: bytes) -> str:
    """How contents are compared."""
    return hashlib.sha256(data).hexdigest()


def list_site(client: Any) -> dict[Name, Entry]:
    """Every current object of every bucket; a bucket itself is an entry with an empty key."""
    found: dict[Name, Entry] = {}
    for bucket in client.list_buckets()["Buckets"]:
        found[bucket["Name"], ""] = Entry(0, "")
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket["Name"]):
            for row in page.get("Contents", ()):
                found[bucket["Name"], row["Key"]] = Entry(row["Size"], row["ETag"])
    return found


def read_object(client: Any, name: Name, **arguments: Any) -> bytes:
    """One object, whole."""
    answer = client.get_object(Bucket=name[0], Key=name[1], **arguments)
    with answer["Body"] as body:
        data: bytes = body.read()
    return data


def digest_object(client: Any, name: Name) -> str:
    """SHA-256 of one object, read in pieces."""
    answer = client.get_object(Bucket=name[0], Key=name[1])
    sha = hashlib.sha256()
    with answer["Body"] as body:
        while piece := body.read(1 << 20):
            sha.update(piece)
    return sha.hexdigest()


def digest_objects(client: Any, names: Iterable[Name]) -> dict[Name, str]:
    """SHA-256 of many objects, several at a time."""
    wanted = [name for name in names if name[1]]
    with ThreadPoolExecutor(READERS) as pool:
        return dict(zip(wanted, pool.map(lambda name: digest_object(client, name), wanted), strict=True))


def describe_difference(one: Mapping[Name, object], other: Mapping[Name, object]) -> str:
    """A few of the names in which two mappings differ; empty if they do not."""
    names = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    shown = [f"{name}: {one.get(name)} / {other.get(name)}" for name in names[:5]]
    return f"{len(names)} differ: " + "; ".join(shown) if names else ""


def wait_converged(a: Site, b: Site, timeout_s: float) -> dict[Name, Entry]:
    """Until both sites have everything in the cloud and list the same; the listing. Fails telling the difference."""
    last = {"what": "not looked yet"}
    one, other = a.client(), b.client()

    def is_same() -> bool:
        last["what"] = describe_difference(list_site(one), list_site(other))
        for site in (a, b) if not last["what"] else ():
            status = site.status()
            if status["backlog_changes"] or not status["safe_to_lose"]:
                last["what"] = f"{site.name}: {status}"
                return False
        return not last["what"] and list_site(one) == list_site(other)

    try:
        wait_until(is_same, "converged", timeout_s, every_s=0.2)
    except TimeoutError as error:
        raise AssertionError(f"{error}: {last['what']}\n{a.name}: {a.log[-1500:]}\n{b.name}: {b.log[-1500:]}") from None
    return list_site(one)
