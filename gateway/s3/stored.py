"""Values of ours that the store keeps for us: what cannot be read back is a typed error, never a value half right.

Every ``decode_x`` of a bucket document or of an attribute of an object is marked with ``stored``: the bytes may have
been written by another site of the realm with a newer Skerry. An ACL or a lock that cannot be read lets nobody in.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

Value = TypeVar("Value")


class StoredInvalid(ValueError):
    """A stored value that this site cannot read: damaged, or written by a newer Skerry (upgrade this site)."""


def stored(decode: Callable[[bytes], Value]) -> Callable[[bytes], Value]:
    """Let ``decode`` raise nothing but ``StoredInvalid``."""

    @wraps(decode)
    def decode_typed(data: bytes) -> Value:
        try:
            return decode(data)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise StoredInvalid(f"{decode.__name__}: {type(error).__name__}: {error}") from error

    return decode_typed
