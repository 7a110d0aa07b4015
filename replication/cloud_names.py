"""Names of objects in the cloud bucket, relative to the prefix: the one place that joins or splits them.

    realm
    keys/<key id 32 hex>/<wrap 32 hex>
    keys/retired/<epoch id 32 hex>                      empty: that epoch is to end (keys/dropped/: it, or a root, has)
    heads/<site 32 hex>-<incarnation 16 hex>-<n 16 hex>
    checkpoints/<site>-<incarnation>-<n>                that site's checkpoint ``n`` is whole
    heads/<site 32 hex>-out-<site 32 hex>
    sites/<site>/<incarnation>/log/<n 16 hex>
    sites/<site>/<incarnation>/packs/<BLAKE3 64 hex>
    sites/<site>/<incarnation>/index/<n 16 hex>-<hash 32 hex>
    sites/<site>/<incarnation>/checkpoint/<n 16 hex>
    sites/<site>/<incarnation>/checkpoint/<n 16 hex>-<BLAKE3 64 hex>
    sites/<site>/<incarnation>/probe

Numbers have a fixed width, so that the bucket's byte order is their order. An index object carries a hash in its name:
nothing a site wrote under a name is ever replaced by other bytes, and a repeated ship round cannot take away the index
of the one that was committed. Splitting gives None for names that are not of the form: what others put into the bucket
is not ours to judge.

Not here: the prefix itself (the cloud client adds it).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from replication.ports import Origin

REALM: Final = "realm"
KEYS_PREFIX: Final = "keys/"
HEADS_PREFIX: Final = "heads/"
CHECKPOINTS_PREFIX: Final = "checkpoints/"
SITES_PREFIX: Final = "sites/"
INDEX_HASH_SIZE: Final = 16

_KEY: Final = re.compile(r"keys/([0-9a-f]{32})/([0-9a-f]{32})")
_RETIRED: Final = re.compile(r"keys/retired/([0-9a-f]{32})")
_HEAD: Final = re.compile(r"heads/([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{16})")
_CHECKPOINT: Final = re.compile(_HEAD.pattern.replace(HEADS_PREFIX, CHECKPOINTS_PREFIX))
_CHECKPOINT_OBJECT: Final = re.compile(r"sites/[0-9a-f]{32}/[0-9a-f]{16}/checkpoint/([0-9a-f]{16})(-[0-9a-f]{64})?")
_OUT: Final = re.compile(r"heads/([0-9a-f]{32})-out-([0-9a-f]{32})")
_OWNER: Final = re.compile(r"sites/([0-9a-f]{32})/([0-9a-f]{16})/")
_LOG: Final = re.compile(r"sites/[0-9a-f]{32}/[0-9a-f]{16}/log/([0-9a-f]{16})")
_INDEX: Final = re.compile(r"sites/[0-9a-f]{32}/[0-9a-f]{16}/index/([0-9a-f]{16})-[0-9a-f]{32}")
_PACK: Final = re.compile(r"sites/[0-9a-f]{32}/[0-9a-f]{16}/packs/[0-9a-f]{64}")


class Head(NamedTuple):
    """What a head object says: this log reaches to batch ``n``."""

    origin: Origin
    n: int


def key_name(key_id: bytes, wrap: bytes) -> str:
    """A key wrapped by the key whose fingerprint is ``wrap``; both 16 bytes."""
    return f"{KEYS_PREFIX}{key_id.hex()}/{wrap.hex()}"


def split_key_name(name: str) -> tuple[bytes, bytes] | None:
    """(key id, wrap) of a key object's name."""
    match = _KEY.fullmatch(name)
    return (bytes.fromhex(match[1]), bytes.fromhex(match[2])) if match else None


def retired_name(epoch: bytes) -> str:
    """The empty object that says that nothing is to lie under an epoch any more."""
    return f"{KEYS_PREFIX}retired/{epoch.hex()}"


def split_retired_name(name: str) -> bytes | None:
    """Which epoch such a name tells of."""
    match = _RETIRED.fullmatch(name)
    return bytes.fromhex(match[1]) if match else None


def log_of(name: str) -> Origin | None:
    """Under which log an object stands; None: it is no log's."""
    match = _OWNER.match(name)
    return (bytes.fromhex(match[1]), bytes.fromhex(match[2])) if match else None


def head_prefix(origin: Origin) -> str:
    """What the names of one log's heads begin with."""
    return f"{HEADS_PREFIX}{origin[0].hex()}-{origin[1].hex()}-"


def head_name(origin: Origin, n: int) -> str:
    """The empty object that says that log reaches to batch ``n``."""
    return f"{head_prefix(origin)}{n:016x}"


def split_head_name(name: str) -> Head | None:
    """What a head's name says."""
    match = _HEAD.fullmatch(name)
    if match is None:
        return None
    return Head((bytes.fromhex(match[1]), bytes.fromhex(match[2])), int(match[3], 16))


def checkpoint_mark_name(origin: Origin, n: int) -> str:
    """The empty object that says that a checkpoint is whole."""
    return f"{CHECKPOINTS_PREFIX}{origin[0].hex()}-{origin[1].hex()}-{n:016x}"


def split_checkpoint_mark(name: str) -> Head | None:
    """Which checkpoint such a mark tells of: whose log it is of, and its number."""
    match = _CHECKPOINT.fullmatch(name)
    if match is None:
        return None
    return Head((bytes.fromhex(match[1]), bytes.fromhex(match[2])), int(match[3], 16))


def out_name(by: bytes, site: bytes) -> str:
    """The empty object that says that ``by``'s log has something to say of ``site``, and is to be read first."""
    return f"{HEADS_PREFIX}{by.hex()}-out-{site.hex()}"


def split_out_name(name: str) -> tuple[bytes, bytes] | None:
    """(who says it, of whom) of such a name."""
    match = _OUT.fullmatch(name)
    return (bytes.fromhex(match[1]), bytes.fromhex(match[2])) if match else None


def site_prefix(site: bytes) -> str:
    """Everything a site writes apart from its heads."""
    return f"{SITES_PREFIX}{site.hex()}/"


def log_prefix(origin: Origin) -> str:
    """What the names of a log's batches begin with."""
    return f"{_origin_prefix(origin)}log/"


def log_name(origin: Origin, n: int) -> str:
    """Batch ``n`` (from 1) of a log."""
    return f"{log_prefix(origin)}{n:016x}"


def split_log_name(name: str) -> int | None:
    """The number of the batch that a name in a log's listing is of."""
    match = _LOG.fullmatch(name)
    return int(match[1], 16) if match else None


def pack_name(origin: Origin, digest: bytes) -> str:
    """The pack with this BLAKE3 (32 bytes)."""
    return f"{_origin_prefix(origin)}packs/{digest.hex()}"


def is_pack_name(name: str) -> bool:
    """Whether an object is a pack."""
    return _PACK.fullmatch(name) is not None


def packs_prefix(origin: Origin) -> str:
    """What the names of a log's packs begin with."""
    return f"{_origin_prefix(origin)}packs/"


def index_name(origin: Origin, n: int, digest: bytes) -> str:
    """The index that batch ``n`` names by the first ``INDEX_HASH_SIZE`` bytes of its BLAKE3."""
    return f"{index_prefix(origin)}{n:016x}-{digest.hex()}"


def index_prefix(origin: Origin) -> str:
    """What the names of a log's indexes begin with."""
    return f"{_origin_prefix(origin)}index/"


def split_index_name(name: str) -> int | None:
    """The number of the batch that a name in such a listing was written for."""
    match = _INDEX.fullmatch(name)
    return int(match[1], 16) if match else None


def checkpoint_prefix(origin: Origin) -> str:
    """What the names of all of one log's checkpoints begin with."""
    return f"{_origin_prefix(origin)}checkpoint/"


def checkpoint_name(origin: Origin, n: int) -> str:
    """The manifest of checkpoint ``n`` (from 1), written last."""
    return f"{checkpoint_prefix(origin)}{n:016x}"


def checkpoint_part_name(origin: Origin, n: int, digest: bytes) -> str:
    """The part of checkpoint ``n`` with this BLAKE3 (32 bytes)."""
    return f"{checkpoint_name(origin, n)}-{digest.hex()}"


def split_checkpoint_object(name: str) -> int | None:
    """The number of the checkpoint that a name in a log's listing of them is of."""
    match = _CHECKPOINT_OBJECT.fullmatch(name)
    return int(match[1], 16) if match else None


def probe_name(origin: Origin) -> str:
    """Where a site tries out what the bucket can do."""
    return f"{_origin_prefix(origin)}probe"


def _origin_prefix(origin: Origin) -> str:
    return f"{site_prefix(origin[0])}{origin[1].hex()}/"
