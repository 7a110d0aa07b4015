"""A whole store's commit half for tests: index, log, committer over real segments, with a clock that tests set."""

from __future__ import annotations

import itertools
from pathlib import Path

from gateway.store.commit import Committer
from gateway.store.files import Files
from gateway.store.frames import FrameMaker
from gateway.store.index import Index
from gateway.store.index_format import ChunkPlace
from gateway.store.layout import DataDirectory
from gateway.store.local_frames import ChunkCache, LocalFrames
from gateway.store.log import Log
from gateway.store.object_format import ObjectRecord
from gateway.store.page_format import encode_page
from gateway.store.rebuild import is_rebuild_needed
from gateway.store.recover import recover_tail
from gateway.store.segment_format import KIND_DATA, KIND_LOG
from gateway.store.segments import Appender, SegmentReader
from gateway.store.shared import Shared
from gateway.store.staging import INLINE, StagedChunk, Staging
from gateway.store.views import ConfigurationCache, ViewContext
from replication.change_format import REF_DATA, REF_PAGE, Ref
from replication.frame_format import KIND_DATA as FRAME_DATA
from replication.frame_format import KIND_PAGE as FRAME_PAGE
from replication.frame_format import FrameName
from replication.sealing import Keyring

REALM, EPOCH = b"r" * 16, b"e" * 16
KEYRING = Keyring(REALM, b"c" * 32, {EPOCH: b"k" * 32}, EPOCH)
SITE_A, SITE_B, SITE_C = b"A" * 16, b"B" * 16, b"C" * 16
MAP_SIZE = 1 << 30


class UnsyncedFiles(Files):
    """For tests that are not about durability."""

    def fdatasync(self, fd: int) -> None:
        pass


class IndexSite:
    """One process of a site. ``now_ms`` is its wall clock; every commit moves it on by one unless told otherwise."""

    def __init__(
        self,
        path: Path,
        site: bytes = SITE_A,
        *,
        files: Files | None = None,
        log_size_max: int = 1 << 20,
        refuse_rebuild: bool = False,
    ) -> None:
        files = files or Files()
        if DataDirectory.is_stamped(path):
            self.directory = DataDirectory.open(path, files=files)
        else:
            self.directory = DataDirectory.create(path, REALM, site, files)
        self.site = self.directory.site
        self.closed = False
        self.clock = itertools.count(1_700_000_000_000)
        self.shared = Shared(self.directory)
        self.reader = SegmentReader(self.directory, files)
        self.frames = FrameMaker(KEYRING)
        self.staging = Staging()
        self.appenders = [
            Appender(
                *(self.directory, files, kind, REALM, self.site, EPOCH, size_max),
                on_open=lambda number, kind=kind: self.shared.set_open_segment(kind, number),
                on_sync_failure=self.shared.set_read_only,
            )
            for kind, size_max in ((KIND_DATA, 1 << 20), (KIND_LOG, log_size_max))
        ]
        self.log = Log(self.directory, self.appenders[1], self.reader, KEYRING, self.shared)
        self.reopen_index(refuse_rebuild)

    def reopen_index(self, refuse_rebuild: bool = False) -> None:
        """Open the index, take in what the log has beyond it, start a committer."""
        self.index = Index(self.directory.index, MAP_SIZE)
        if is_rebuild_needed(self.index, self.log) and refuse_rebuild:
            self.index.close()
            raise RuntimeError("rebuild needed")
        self.recovered = recover_tail(self.index, self.log, self.site, self.open_pages, from_disk=False)
        self.cache = ConfigurationCache()
        self.committer = Committer(
            *(self.index, self.log, self.shared, self.staging, self.open_pages, self.site, self.cache),
            lambda: next(self.clock),
        )
        self.commit = self.committer.commit_blocking

    def open_pages(self, find_chunk) -> LocalFrames:
        return LocalFrames(self.reader, self.frames, find_chunk, ChunkCache())

    def find_chunk(self, chunk_id: bytes) -> ChunkPlace | None:
        with self.view() as view:
            return view.chunk(chunk_id)

    def view(self) -> ViewContext:
        return ViewContext(self.index, self.site, self.cache)

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self.committer.close()
        for appender in self.appenders:
            appender.close()
        self.index.close()
        self.reader.close()
        self.shared.close()

    def __enter__(self) -> IndexSite:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # content, as BYTES' writers would stage it

    def stage(
        self,
        plaintext: bytes,
        *,
        inline: bool = True,
        kind: int = FRAME_DATA,
        children: tuple[Ref, ...] = (),
        bases: tuple[FrameName, ...] = (),
        base: bytes = b"",
    ) -> Ref:
        """Stage one chunk, in the next log batch or in a data segment."""
        chunk_id = self.frames.chunk_id(plaintext)
        frame = self.frames.seal(kind, chunk_id, plaintext, bases, base)
        place = (INLINE, 0)
        if not inline:
            place = self.appenders[0].append([frame.encoded_header, frame.ciphertext])
            self.appenders[0].sync()
        staged = StagedChunk(frame.header, frame.encoded_header, *place, frame.ciphertext if inline else b"", children)
        self.staging.add(staged, self)
        size = sum(ref.size for ref in children) if kind == FRAME_PAGE else len(plaintext)
        return Ref(REF_PAGE if kind == FRAME_PAGE else REF_DATA, chunk_id, size)

    def stage_page(self, children: tuple[Ref, ...], *, inline: bool = True) -> Ref:
        """Stage a page over refs."""
        return self.stage(encode_page(children), inline=inline, kind=FRAME_PAGE, children=children)

    def put(self, uid: bytes, key: bytes, body: bytes = b"", *, versioned: bool = False, inline: bool = True, **fields):
        """Put a small object: its version."""
        content = (self.stage(body, inline=inline),) if body else ()
        record = ObjectRecord(size=len(body), etag=body.hex()[:32], content=content, **fields)
        return self.commit(lambda view: view.put_object(uid, key, record, versioned=versioned))
