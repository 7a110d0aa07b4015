"""Ends a log: ``closed`` at its next name, created once. Whoever still wants to write it is fenced from then on.

Two have reason to: ``restore --replace``, for a machine believed lost, and a machine whose log parted from the cloud's
(``parting``), for the log it will not go on with. What names its successor (as the only thing it acknowledges, at
change 0) tells which machine stays the site: the first to end the log does; whoever finds it ended by another takes a
new site id. Not here: who ends which log when.
"""

from __future__ import annotations

from contextlib import suppress

from replication.batch_format import HASH_SIZE, Batch, chain_of, decode_batch, encode_batch
from replication.cloud_names import head_name, head_prefix, log_name, log_prefix, split_head_name
from replication.listing import list_all
from replication.ports import Cloud, CloudExists, CloudMissing, CloudUnreachable, Origin
from replication.sealing import Keyring


def successor_of(closing: Batch) -> Origin | None:
    """The log that a closing batch says goes on in its log's place; None if it names none."""
    return next((origin for origin, seq in closing.acks.items() if seq == 0), None) if closing.closed else None


async def end_log(
    cloud: Cloud, keyring: Keyring, origin: Origin, now_ms: int, successor: Origin | None = None
) -> Batch:
    """End a log unless it has ended: its closing batch, whoever wrote that. Idempotent.

    ``CloudError``, also while lists contradict each other: behind a name that is free since its batch left the bucket
    nothing may be written. ``ValueError`` if what stands there does not open.
    """
    n, chain, seq = await last_of(cloud, origin), bytes(HASH_SIZE), 0
    while n:
        try:
            data = await cloud.get(log_name(origin, n))
        except CloudMissing:  # lost, for all one knows: then its name is free
            n -= 1
            continue
        batch = decode_batch(keyring, origin, n, data)
        if batch.closed:
            return batch
        chain, seq = chain_of(keyring, origin, n, data), batch.last_seq
        break
    following = await cloud.list(log_prefix(origin), after=log_name(origin, n) if n else "", count_max=1)
    if following not in ([], [log_name(origin, n + 1)]):
        raise CloudUnreachable(f"the heads of log {origin[1].hex()} were listed as of an earlier time")
    acks = {successor: 0} if successor else {}
    while True:
        closing = Batch(n + 1, chain, seq + 1, (), acks, now_ms, closed=True)
        with suppress(CloudExists):
            data = encode_batch(keyring, origin, closing)
            await cloud.put(log_name(origin, closing.n), data, if_absent=True)
            await cloud.put(head_name(origin, closing.n), b"")
            return closing
        with suppress(CloudMissing):  # a busy cloud's 409: the same name again
            data = await cloud.get(log_name(origin, n + 1))
            batch = decode_batch(keyring, origin, n + 1, data)
            if batch.closed:
                await cloud.put(head_name(origin, batch.n), b"")
                return batch
            n, chain, seq = batch.n, chain_of(keyring, origin, batch.n, data), batch.last_seq


async def goes_on(cloud: Cloud, origin: Origin, n: int) -> bool:
    """Whether the log holds batches behind ``n``. A name that is free does not say so: what a checkpoint stands in for
    leaves the bucket (``log_compaction``), and nobody may write there again.
    """
    return bool(await cloud.list(log_prefix(origin), after=log_name(origin, n))) or await last_of(cloud, origin) > n


async def has_left(cloud: Cloud, origin: Origin, n: int) -> bool:
    """Whether a batch that could not be had is no longer in the bucket, while the log holds others behind it. Raises
    ``CloudUnreachable`` if a list shows it all the same: what is there may be denied for a while.
    """
    if await cloud.list(log_prefix(origin), after=log_name(origin, n - 1), count_max=1) == [log_name(origin, n)]:
        raise CloudUnreachable(f"batch {n} is listed, and could not be had")
    return await goes_on(cloud, origin, n)


async def last_of(cloud: Cloud, origin: Origin) -> int:
    """The number of the newest batch of a log, as its heads say; 0 if there is none."""
    heads = [split_head_name(name) for name in await list_all(cloud, head_prefix(origin))]
    return max((head.n for head in heads if head is not None and head.origin == origin), default=0)
