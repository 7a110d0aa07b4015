"""The realm's own KMS: named keys, whose material wraps (derives) the data keys of objects under SSE-KMS.

Kept as documents of a reserved uid that no bucket can have, so they are logged, sealed and replicated like all else:

    key/<name>              MessagePack [version, state, created_ms, material id]: one register
    material/<name>/<id>    32 random bytes; id 32 hex digits. Written once, under an id of its own

Two islands may make a key of one name before they meet: each object names the material it was sealed with, so nothing
is lost; the register says which one new objects take. A disabled key opens and seals nothing. Deleting removes every
material: what was sealed with it cannot be read by any site again (crypto-shredding), and the name is not reused. What
deletion does not do: erase older bytes. Sealed log batches and the cloud's history keep the material under the realm's
root key until they are gone, so a holder of that key and of old copies could still dig it out.
"""

from __future__ import annotations

import secrets
from typing import Final, NamedTuple

import blake3
import msgspec

from gateway.s3.errors import KMSDisabledException, KMSInvalidStateException, KMSNotFoundException, S3Error
from gateway.s3.resource_arns import parse_key_name
from gateway.store.ports import ReadView, Store, WriteView

KEYS_UID: Final = blake3.blake3(b"skerry: the KMS keys of a realm").digest()[:16]
DEFAULT_KEY: Final = "aws/s3"
ENABLED: Final = "Enabled"
DISABLED: Final = "Disabled"
DELETED: Final = "Deleted"
_KEY: Final = "key/"
_MATERIAL: Final = "material/"
_MATERIAL_SIZE: Final = 32


class KeyRecord(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The register of a key; fields: this module's docstring."""

    version: int = 1
    state: str = ENABLED
    created_ms: int = 0
    material: str = ""


class NamedKey(NamedTuple):
    """A key and its name."""

    name: str
    record: KeyRecord


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(KeyRecord)


def read_key_name(text: str) -> str:
    """The name of a key as a client gave it (empty: the default key); ``KMS.NotFoundException`` if it can be none."""
    name = parse_key_name(text) if text else DEFAULT_KEY
    if name is None:
        raise KMSNotFoundException(f"Invalid keyId {text}")
    return name


def find_key(view: ReadView, name: str) -> NamedKey | None:
    """A key that was made once, whatever its state."""
    data = view.document(KEYS_UID, _KEY + name)
    return None if data is None else NamedKey(name, _decoder.decode(data))


def list_keys(view: ReadView) -> list[NamedKey]:
    """All keys by name, deleted ones too."""
    names = [name.removeprefix(_KEY) for name in view.document_names(KEYS_UID) if name.startswith(_KEY)]
    return [key for key in (find_key(view, name) for name in names) if key is not None]


def create_key(view: WriteView, name: str) -> NamedKey:
    """Make a key, in a commit. ``ValueError`` if the name is taken (by a deleted key, too)."""
    if find_key(view, name) is not None:
        raise ValueError(f"a key named {name!r} exists or existed already")
    material = secrets.token_hex(16)
    view.put_document(KEYS_UID, f"{_MATERIAL}{name}/{material}", secrets.token_bytes(_MATERIAL_SIZE))
    return _put(view, name, KeyRecord(created_ms=view.now_ms, material=material))


def set_state(view: WriteView, name: str, state: str) -> NamedKey:
    """Enable, disable or delete a key, in a commit. ``LookupError`` if there is none, or it is deleted already."""
    key = find_key(view, name)
    if key is None or key.record.state == DELETED:
        raise LookupError(f"there is no key named {name!r}")
    if state == DELETED:
        for document in view.document_names(KEYS_UID):
            if document.startswith(_MATERIAL) and document.rpartition("/")[0] == _MATERIAL + name:
                view.put_document(KEYS_UID, document, None)
    return _put(view, name, msgspec.structs.replace(key.record, state=state))


def _put(view: WriteView, name: str, record: KeyRecord) -> NamedKey:
    view.put_document(KEYS_UID, _KEY + name, _encoder.encode(record))
    return NamedKey(name, record)


async def ensure_key(store: Store, name: str, *, create: bool) -> NamedKey:
    """The usable key of a name, made now if there is none and ``create`` (the default key always may be).

    Raises ``KMS.NotFoundException``, ``KMS.DisabledException``, ``KMS.KMSInvalidStateException``.
    """
    with store.view() as view:
        key = find_key(view, name)
    if key is None:
        if not create and name != DEFAULT_KEY:
            raise _not_found(name)
        key = await store.commit(lambda view: find_key(view, name) or create_key(view, name))
    check_usable(key)
    return key


def check_usable(key: NamedKey) -> None:
    """Raise unless the key seals and opens."""
    if key.record.state == DISABLED:
        raise KMSDisabledException(f"The key {key.name} is disabled.")
    if key.record.state != ENABLED:
        raise KMSInvalidStateException(f"The key {key.name} was deleted.")


def find_material(view: ReadView, name: str, material: str) -> bytes:
    """The material an object was sealed with, if its key may be used; raises as ``ensure_key``."""
    key = find_key(view, name)
    if key is None:
        raise _not_found(name)
    check_usable(key)
    found = view.document(KEYS_UID, f"{_MATERIAL}{name}/{material}")
    if found is None:
        raise KMSInvalidStateException(f"The key {name} has lost the material of this object.")
    return found


def _not_found(name: str) -> S3Error:
    error: S3Error = KMSNotFoundException(f"Key '{name}' does not exist")
    return error
