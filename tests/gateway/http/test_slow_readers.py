"""Answers to clients that take long hold little: pieces as large as the budget has bytes, and small ones otherwise."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.http.body import WindowBudget
from gateway.http.calls import Shares
from gateway.http.object_reads import _BITE, _CRUMB, _PIECE_MAX, _read_within
from gateway.http.settings import HttpSettings
from tests.gateway.http.server import Server
from tests.gateway.http.stores import opener

SIZE = 10 << 20


class ByteStore:
    """A store of one content that counts the reads that are open."""

    def __init__(self, data: bytes) -> None:
        self.data, self.open = data, 0

    def read(self, refs: object, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        self.open += 1
        return Reading(self, start, len(self.data) if length is None else start + length)


class Reading:
    def __init__(self, store: ByteStore, at: int, end: int) -> None:
        self.store, self.at, self.end, self.closed = store, at, end, False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self.at >= self.end:
            raise StopAsyncIteration
        piece = self.store.data[self.at : min(self.end, self.at + _PIECE_MAX)]
        self.at += len(piece)
        return piece

    async def aclose(self) -> None:
        if not self.closed:
            self.closed = True
            self.store.open -= 1


def make_call(store: ByteStore, budget: WindowBudget, whole: int | None = None) -> Any:
    settings = HttpSettings(body_budget_bytes=budget.left if whole is None else whole)
    return SimpleNamespace(context=SimpleNamespace(store=store), shares=Shares(budget), settings=settings)


def read_within(call: Any, start: int, length: int) -> Any:
    located: Any = SimpleNamespace(version=SimpleNamespace(record=SimpleNamespace(content=())), opening=None)
    return _read_within(call, located, start, length)


def test_readers_share_a_part_of_the_budget() -> None:
    async def run() -> None:
        store, budget = ByteStore(os.urandom(SIZE)), WindowBudget(6 * _PIECE_MAX)
        call = make_call(store, budget)
        readers = [read_within(call, 1, SIZE - 1) for _ in range(4)]
        first = [len(await anext(reader)) for reader in readers]
        assert first == [_PIECE_MAX, _PIECE_MAX, _BITE, _BITE]
        assert budget.left == 4 * _PIECE_MAX - 2 * _BITE
        await readers[0].aclose()  # a client that went away
        assert len(await anext(readers[2])) == _PIECE_MAX  # who had little gets what is given back
        for reader in readers:
            await reader.aclose()
        assert (budget.left, store.open) == (6 * _PIECE_MAX, 0)

    asyncio.run(run())


@pytest.mark.parametrize("length", [_CRUMB + 1, _BITE, SIZE])
def test_many_readers_hold_crumbs_and_bodies_keep_their_share(length: int) -> None:
    async def run() -> None:
        whole = 4 * _PIECE_MAX
        store, budget = ByteStore(os.urandom(length)), WindowBudget(whole)
        readers = [read_within(make_call(store, budget, whole), 0, length) for _ in range(1000)]
        sizes = [len(await anext(reader)) for reader in readers]
        assert sum(size for size in sizes if size != _CRUMB) <= whole - whole * 3 // 8
        assert budget.left >= whole * 3 // 8
        assert sizes[-1] == _CRUMB
        for reader in readers:
            await reader.aclose()
        assert (budget.left, store.open) == (whole, 0)

    asyncio.run(run())


@pytest.mark.parametrize("budget_bytes", [0, 64 << 20])
def test_every_byte_comes_and_the_content_stays_held(budget_bytes: int) -> None:
    async def run() -> None:
        store, budget = ByteStore(os.urandom(SIZE)), WindowBudget(budget_bytes)
        pieces = []
        async for piece in read_within(make_call(store, budget), 7, SIZE - 100):
            pieces.append(piece)
            assert store.open == 2  # the read itself, and what holds the content between reads
        assert b"".join(pieces) == store.data[7 : SIZE - 93]
        assert (budget.left, store.open) == (budget_bytes, 0)

    asyncio.run(run())


@contextmanager
def serving(directory: Path) -> Iterator[Any]:
    with Server(opener("real", directory), HttpSettings(body_budget_bytes=0)) as server:
        client = server.client()
        try:
            yield client
        finally:
            client.close()


def test_without_any_budget_objects_are_whole(tmp_path: Path) -> None:
    random, text = os.urandom(SIZE), b"".join(b"%d of many lines\n" % number for number in range(600_000))
    with serving(tmp_path) as client:
        client.create_bucket(Bucket="slow")
        for key, data in (("random", random), ("text", text)):
            for sealed in ({}, {"ServerSideEncryption": "aws:kms"}):
                client.put_object(Bucket="slow", Key=key, Body=data, **sealed)
                assert client.get_object(Bucket="slow", Key=key)["Body"].read() == data
                part = client.get_object(Bucket="slow", Key=key, Range="bytes=1000000-9000000")["Body"].read()
                assert part == data[1_000_000:9_000_001]
