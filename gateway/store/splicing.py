"""One content out of the contents of several: what completes a multipart upload, without touching its bytes.

Stands between the operations and ``chunk_writer``. Refs are strung together; small pages among them are opened and
their refs taken over, large ones kept at their height, so that splicing spliced contents again and again never
deepens the tree. What the borders of parts cut is mended first where the old content has it whole (``part_seams``).
Pages that fit ride with the commit, unless they are patches against pages of what is replaced. What was made stays
protected from collection as long as the returned ``Content`` is kept by someone; the caller keeps it until its commit
is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.store.chunk_writer import ChunkWriter
from gateway.store.content import WriterSetup
from gateway.store.page_format import PAGE_REFS_MIN
from gateway.store.part_seams import HeightedRef, SeamMender
from gateway.store.ports import Content
from gateway.store.predecessor import LoadPage, Predecessor
from gateway.store.reading import Reader
from replication.change_format import REF_DATA, Ref


class SplicedContent(Content):
    """A ``Content`` that keeps its new pages staged, and the epoch registered, while it lives."""

    hold: _Hold


class _Hold:
    """Owner of a splice's staged pages; lets go when it is dropped."""

    def __init__(self, setup: WriterSetup) -> None:
        self._setup = setup
        self._token = setup.shared.enter()

    def __del__(self) -> None:
        self._setup.tools.staging.release(id(self))
        self._setup.shared.leave(self._token)


class Splicer:
    """Splices for one process."""

    def __init__(self, setup: WriterSetup, reader: Reader, load_page: LoadPage) -> None:
        self._setup, self._reader, self._load_page = setup, reader, load_page

    async def splice(self, refs: Sequence[Ref], replaces: Sequence[Ref] = ()) -> Content:
        """See ``ports.Store.splice``."""
        hold = _Hold(self._setup)
        predecessor = Predecessor(replaces, self._load_page) if replaces else None
        writer = ChunkWriter(self._setup.tools, id(hold), predecessor)
        flat: list[HeightedRef] = []
        for ref in refs:
            await self._flatten(ref, flat)
        loop = asyncio.get_running_loop()
        root = await loop.run_in_executor(self._setup.executor, self._write_tree, writer, flat, predecessor)
        if writer.must_sync:
            await self._setup.gate.sync()
        content = SplicedContent(root, sum([ref.size for ref in refs]))
        content.hold = hold
        return content

    async def _flatten(self, ref: Ref, flat: list[HeightedRef]) -> None:
        """Append what stands for a ref, each with its height: 0 for data, 1 for a page of data, and so on."""
        if ref.kind == REF_DATA:
            flat.append((ref, 0))
            return
        children = await self._reader.load_page(ref)
        if len(children) >= PAGE_REFS_MIN:
            flat.append((ref, await self._height(ref)))
            return
        for child in children:
            await self._flatten(child, flat)

    async def _height(self, ref: Ref) -> int:
        """How many pages lie between a page and the data below it, itself included."""
        height = 0
        while ref.kind != REF_DATA:
            height += 1
            ref = (await self._reader.load_page(ref))[0]
        return height

    def _write_tree(
        self, writer: ChunkWriter, refs: Sequence[HeightedRef], predecessor: Predecessor | None
    ) -> tuple[Ref, ...]:
        """On a thread: the pages of the whole. Of the old content mender and writer see one walk over its pages."""
        if predecessor is not None:
            tools = self._setup.tools
            refs = SeamMender(predecessor, tools.local.read_chunk, tools.frames.has_id, writer.is_known).mend(refs)
            predecessor.rewind()
        for ref, height in refs:
            writer.add_written(ref, height)
        return writer.close(inline_pages=True)
