"""``skerry audit-cloud``: reads back what the bucket holds and checks it against this site's log. Changes nothing."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import secrets

from gateway.cli.opening import opened_site
from gateway.cli.options import Subcommands, add_site_options, load_cloud_config, new_command
from gateway.cli.outcomes import EXIT_NO, EXIT_OK, EXIT_USAGE, complain, describe_bytes, print_json
from gateway.cli.progress import PhaseProgress
from gateway.config import Config
from replication.cloud_audit import AuditLimits, AuditReport, CloudAudit


def add_parser(subcommands: Subcommands) -> None:
    """Add ``audit-cloud``."""
    default = AuditLimits()
    parser = new_command(
        subcommands,
        "audit-cloud",
        "Read the newest batches of every log and a sample of the chunks back from the bucket, check them against this "
        "site's log, and see that every object it relies on is there. Exit code 1: something is not.",
        "skerry audit-cloud --config site.toml --whole",
    )
    add_site_options(parser)
    parser.add_argument("--whole", action="store_true", help="read every batch and every chunk")
    parser.add_argument(
        "--batches", type=int, default=default.batches_max, metavar="N", help="of each log (default: %(default)s)"
    )
    parser.add_argument(
        "--frames", type=int, default=default.frames_max, metavar="N", help="chunks in all (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="repeat the sample of another run")
    parser.set_defaults(run=_audit)


def _audit(arguments: argparse.Namespace) -> int:
    config = load_cloud_config(arguments)
    if arguments.batches < 1 or arguments.frames < 0:
        complain("--batches must be at least 1, --frames at least 0")
        return EXIT_USAGE
    limits = AuditLimits(None, None) if arguments.whole else AuditLimits(arguments.batches, arguments.frames)
    seed = secrets.randbits(32) if arguments.seed is None else arguments.seed
    report = asyncio.run(_run(config, limits, seed))
    if arguments.json:
        print_json({"sound": report.sound, "seed": seed, **dataclasses.asdict(report)})
    else:
        _print_report(report, seed)
    return EXIT_OK if report.sound else EXIT_NO


async def _run(config: Config, limits: AuditLimits, seed: int) -> AuditReport:
    async with opened_site(config) as site:
        assert site.cloud is not None
        await site.realm.refresh(site.cloud)
        with PhaseProgress() as bars:
            audit = CloudAudit(
                *(site.replica, site.replica, site.cloud, site.realm.keyring, limits),
                seed=b"%d" % seed,
                progress=bars.tell,
            )
            return await audit.run()


def _print_report(report: AuditReport, seed: int) -> None:
    print(
        f"{report.logs} logs, {report.batches_listed} batches listed, {report.batches_read} read back; "
        f"{report.objects} objects relied on are asked for; {report.frames_read} of {report.frames_known} chunks "
        f"read back (seed {seed}); {describe_bytes(report.bytes_read)} fetched"
    )
    for finding in report.findings:
        print(f"{finding.name}: {finding.reason}")
    print("sound" if report.sound else "NOT SOUND: keep this site, and see `skerry verify` for what it holds itself")
