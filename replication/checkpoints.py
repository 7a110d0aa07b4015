"""Checkpoints in the bucket: which there are, whose, and what their manifests say.

Stands between ``checkpoint_format`` and whoever chooses among them: a site that joins, one that is about to write, and
whoever deletes old log batches and packs and must know what a checkpoint's reader still needs: of each log in its
vector the batches behind that position, and every log not in it from the beginning.

A checkpoint counts while its mark stands under ``checkpoints/``; it is written parts → manifest → mark, and deleted in
the opposite order, so that whoever sees a mark finds the rest (or learns, part by part, that it is being deleted).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from replication.checkpoint_format import Manifest, decode_manifest
from replication.cloud_names import (
    CHECKPOINTS_PREFIX,
    checkpoint_mark_name,
    checkpoint_name,
    checkpoint_part_name,
    checkpoint_prefix,
    split_checkpoint_mark,
)
from replication.listing import list_all
from replication.padded_format import CloudObjectTooNew
from replication.ports import (
    Cloud,
    CloudError,
    CloudMissing,
    CloudRefused,
    CloudUnreachable,
    LogPosition,
    Origin,
)
from replication.sealing import Keyring, KeyUnknown
from replication.subscription import covers_all


@dataclass(frozen=True, slots=True)
class CheckpointName:
    """Whose checkpoint it is, and its number (from 1, ascending) in that log."""

    origin: Origin
    n: int

    def __str__(self) -> str:
        """For people: site, incarnation, number."""
        return f"{self.origin[0].hex()}-{self.origin[1].hex()}-{self.n}"


@dataclass(frozen=True, slots=True)
class FoundCheckpoint:
    """A checkpoint that is announced: its manifest, or why that cannot be used (``problem``)."""

    name: CheckpointName
    manifest: Manifest | None
    problem: str = ""


async def list_checkpoint_names(cloud: Cloud) -> list[CheckpointName]:
    """Every announced checkpoint of the realm, by log and number. One LIST."""
    marks = [split_checkpoint_mark(name) for name in await list_all(cloud, CHECKPOINTS_PREFIX)]
    return [CheckpointName(mark.origin, mark.n) for mark in marks if mark is not None]


async def read_manifest(
    cloud: Cloud,
    keyring: Callable[[], Keyring],
    name: CheckpointName,
    refresh_keys: Callable[[], Awaitable[None]] | None = None,
) -> FoundCheckpoint:
    """The manifest of a checkpoint, or what is wrong with it. Raises ``CloudUnreachable`` or ``CloudRefused``."""
    try:
        data = await cloud.get(checkpoint_name(name.origin, name.n))
    except (CloudUnreachable, CloudRefused):
        raise
    except CloudMissing:
        return FoundCheckpoint(name, None, "its manifest is not there")
    except CloudError as error:
        return FoundCheckpoint(name, None, f"its manifest cannot be had: {error}")
    for refresh in (refresh_keys, None):
        try:
            return FoundCheckpoint(name, decode_manifest(keyring(), name.origin, name.n, data))
        except KeyUnknown:
            if refresh is None:
                break
            await refresh()
        except CloudObjectTooNew as error:
            return FoundCheckpoint(name, None, f"too new: {error}")
        except ValueError as error:
            return FoundCheckpoint(name, None, f"damaged: {error}")
    return FoundCheckpoint(name, None, "sealed under a key this site does not have")


async def list_checkpoints(
    cloud: Cloud, keyring: Callable[[], Keyring], refresh_keys: Callable[[], Awaitable[None]] | None = None
) -> list[FoundCheckpoint]:
    """Every announced checkpoint with its manifest (one GET each), or with what is wrong with it.

    Who deletes what others may need must take one without a manifest for one that needs everything. Raises
    ``CloudUnreachable`` or ``CloudRefused``.
    """
    return [await read_manifest(cloud, keyring, name, refresh_keys) for name in await list_checkpoint_names(cloud)]


async def list_missing_parts(cloud: Cloud, found: FoundCheckpoint) -> list[str]:
    """The manifest, and parts that it names, as far as a listing of the bucket does not show them. One LIST."""
    origin, n = found.name.origin, found.name.n
    there = set(await list_all(cloud, checkpoint_prefix(origin)))
    parts = [checkpoint_part_name(origin, n, part.digest) for part in found.manifest.parts] if found.manifest else []
    return [name for name in (checkpoint_name(origin, n), *parts) if name not in there]


def covered_up_to(found: Iterable[FoundCheckpoint]) -> dict[Origin, LogPosition]:
    """For each log how far some checkpoint of the whole realm stands in for it: batches up to there need not be in the
    bucket any more (``log_compaction``), and the log goes on behind that position's chain hash.
    """
    reached: dict[Origin, LogPosition] = {}
    for one in found:
        if one.manifest is not None and not one.manifest.holds:
            for origin, log in one.manifest.vector.items():
                if log.position.n > reached.get(origin, LogPosition()).n:
                    reached[origin] = log.position
    return reached


def replaces(newer: Manifest, older: Manifest, counted: Mapping[Origin, int] | None = None) -> bool:
    """Whether nobody needs the older checkpoint any more: the newer one reaches as far in every log (as far as that is
    ``counted``, for logs of sites that are out), and holds all that the older one held.
    """
    reached = {origin: log.position.n for origin, log in newer.vector.items()}
    wanted = {origin: log.position.n for origin, log in older.vector.items()}
    as_far = all(reached.get(origin, 0) >= min(n, (counted or {}).get(origin, n)) for origin, n in wanted.items())
    return as_far and covers_all(newer.holds, older.holds)


async def delete_checkpoint(cloud: Cloud, found: FoundCheckpoint) -> None:
    """Delete one of this site's own: mark, manifest, parts. Interrupted anywhere, nobody begins to read it."""
    origin, n = found.name.origin, found.name.n
    await cloud.delete(checkpoint_mark_name(origin, n))
    await cloud.delete(checkpoint_name(origin, n))
    for part in found.manifest.parts if found.manifest is not None else ():
        await cloud.delete(checkpoint_part_name(origin, n, part.digest))
