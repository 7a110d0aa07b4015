"""``skerry verify``: read everything back: log, chunks, references. Beside a running server or without one."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses

from gateway.cli.opening import opened_site
from gateway.cli.options import Subcommands, add_site_options, load_site_config, new_command
from gateway.cli.outcomes import EXIT_NO, EXIT_OK, describe_bytes, print_json
from gateway.cli.progress import PhaseProgress
from gateway.config import Config
from gateway.store.verify import VerifyReport


def add_parser(subcommands: Subcommands) -> None:
    """Add ``verify``."""
    parser = new_command(
        subcommands,
        "verify",
        "Read back and authenticate every log batch and every chunk, and count references again. Exit code 1: damage "
        "was found that was not mended.",
        "skerry verify --config site.toml --mend",
    )
    add_site_options(parser)
    parser.add_argument("--mend", action="store_true", help="fetch damaged chunks back from the cloud")
    parser.set_defaults(run=_verify)


def _verify(arguments: argparse.Namespace) -> int:
    report = asyncio.run(_read_back(load_site_config(arguments), mend=arguments.mend))
    if arguments.json:
        print_json({"sound": report.sound, **dataclasses.asdict(report)})
    else:
        _print_report(report)
    return EXIT_OK if report.sound else EXIT_NO


async def _read_back(config: Config, *, mend: bool) -> VerifyReport:
    async with opened_site(config) as site:
        with PhaseProgress() as bars:
            return await site.store.verify(mend=mend, progress=bars.tell)


def _print_report(report: VerifyReport) -> None:
    read = f"{report.batches} log batches, {report.chunks} chunks, {describe_bytes(report.frame_bytes)}"
    print(f"read back {read}; {report.only_in_cloud} chunks are only in the cloud")
    for row in report.bad_rows:
        print(f"bad index: {row}")
    for segment in report.bad_segments:
        print(f"bad segment: {segment}")
    for batch in report.bad_batches:
        print(f"bad log batch: {batch}")
    for frame in report.bad_frames:
        place = f"chunk {frame.chunk_id} in segment {frame.segment} at {frame.offset}"
        print(f"damaged: {place}: {frame.reason}{' (mended)' if frame.mended else ''}{_needed_by(frame.objects)}")
    for missing in report.missing:
        print(f"missing: chunk {missing.chunk_id} is neither here nor in the cloud{_needed_by(missing.objects)}")
    for count in report.wrong_counts:
        print(f"wrong count: chunk {count.chunk_id} has {count.recorded} references recorded, {count.counted} counted")
    for stretch in report.broken_stretches:
        print(f"unreadable: segment {stretch.segment} from {stretch.start} to {stretch.end}; nothing may need it")
    print("sound" if report.sound else "NOT SOUND")


def _needed_by(objects: tuple[str, ...]) -> str:
    return f"; needed by {', '.join(objects)}" if objects else ""
