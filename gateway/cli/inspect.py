"""``skerry inspect``: what lies in a segment file, by its plain headers: frames of a data segment, batches of a log.

Needs no key and no index, opens no site and writes nothing. What is sealed stays sealed; whether it authenticates is
``verify``'s to say. A place where no header holds is shown, and is the end of what can be followed.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from gateway.cli.options import Subcommands, new_command
from gateway.cli.outcomes import EXIT_FAILED, EXIT_NO, EXIT_OK, complain, print_json, print_table
from gateway.store.errors import FormatTooNew
from gateway.store.log_format import BATCH_HEADER_SIZE, BatchInvalid, decode_batch_header
from gateway.store.segment_format import KIND_LOG, SEGMENT_HEADER_SIZE, SegmentInvalid, decode_segment_header
from replication.frame_format import BASE_SIZE, BASES_MAX, HEADER_SIZE, FrameInvalid, decode_header

_FRAME_HEADER_MAX: Final = HEADER_SIZE + BASES_MAX * BASE_SIZE
_CODECS: Final = {0: "stored", 1: "zstd", 2: "patch"}


def add_parser(subcommands: Subcommands) -> None:
    """Add ``inspect``."""
    parser = new_command(
        subcommands,
        "inspect",
        "List the plain headers in a data or log segment. Needs no key. Exit code 1: some of it could not be followed.",
        "skerry inspect data/segments/3.log",
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(run=_inspect)


def _inspect(arguments: argparse.Namespace) -> int:
    try:
        with arguments.file.open("rb") as file:
            header = decode_segment_header(file.read(SEGMENT_HEADER_SIZE))
            size = os.fstat(file.fileno()).st_size
            entries = list(_list_batches(file, size) if header.kind == KIND_LOG else _list_frames(file, size))
    except OSError as error:
        complain(f"{arguments.file} cannot be read: {error.strerror}")
        return EXIT_FAILED
    except SegmentInvalid as error:
        complain(f"{arguments.file}: {error}")
        return EXIT_FAILED
    what = "batches" if header.kind == KIND_LOG else "frames"
    described = {
        "kind": "log" if header.kind == KIND_LOG else "data",
        "number": header.number,
        "predecessor": header.predecessor,
        "predecessor_size": header.predecessor_size,
        "created_ms": header.created_ms,
        "realm": header.realm.hex(),
        "site": header.site.hex(),
        "epoch": header.epoch.hex(),
        "segment_id": header.segment_id.hex(),
        "size": size,
    }
    if arguments.json:
        print_json({**described, what: entries})
    else:
        print(" ".join(f"{name}={value}" for name, value in described.items()))
        whole = [entry for entry in entries if "problem" not in entry]
        if whole:
            print_table([name.upper() for name in whole[0]], [list(entry.values()) for entry in whole])
        for entry in entries:
            if "problem" in entry:
                print(f"at {entry['offset']}: {entry['problem']}")
    return EXIT_NO if any("problem" in entry for entry in entries) else EXIT_OK


def _list_frames(file: BinaryIO, size: int) -> Iterator[dict[str, Any]]:
    offset = SEGMENT_HEADER_SIZE
    while offset < size:
        file.seek(offset)
        try:
            header = decode_header(file.read(_FRAME_HEADER_MAX))
        except FrameInvalid as error:
            yield {"offset": offset, "problem": str(error)}
            return
        yield {
            "offset": offset,
            "slot": header.slot,
            "codec": _CODECS[header.codec],
            "page": bool(header.kind),
            "stored_size": header.stored_size,
            "raw_size": header.raw_size,
            "bases": len(header.bases),
            "chunk_id": header.chunk_id.hex(),
        }
        offset += header.header_size + header.stored_size


def _list_batches(file: BinaryIO, size: int) -> Iterator[dict[str, Any]]:
    offset = SEGMENT_HEADER_SIZE
    while offset < size:
        file.seek(offset)
        try:
            header = decode_batch_header(file.read(BATCH_HEADER_SIZE))
        except (BatchInvalid, FormatTooNew) as error:
            yield {"offset": offset, "problem": str(error)}
            return
        yield {
            "offset": offset,
            "number": header.number,
            "time_ms": header.time_ms,
            "sealed_size": header.sealed_size,
            "inline_frames": header.inline_count,
            "frames_size": header.frames_size,
            "previous": header.previous.hex(),
        }
        offset += header.size
