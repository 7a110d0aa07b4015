"""What was acknowledged in a world, kept apart from everything under test, and what must stand at its end.

Every write has a token of its own, the first eight bytes of its body: dots are what clones give away twice, tokens are
not. The end is computed from sets alone: of all writes that reached the bucket, those that no other of them replaced.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

TOKEN_SIZE = 8


class Written(NamedTuple):
    """One acknowledged write: on which item, whether it is a removal, and the tokens of what it saw and replaced."""

    family: int
    item: bytes
    dead: bool
    saw: frozenset[bytes]


def token_of(body: bytes) -> bytes:
    return body[:TOKEN_SIZE]


class Ledger:
    def __init__(self) -> None:
        self.written: dict[bytes, Written] = {}
        self.forfeited: set[bytes] = set()
        self._serial = 0

    def next_token(self) -> bytes:
        self._serial += 1
        return self._serial.to_bytes(TOKEN_SIZE, "big")

    def acknowledge(self, token: bytes, written: Written) -> None:
        self.written[token] = written

    def forfeit(self, tokens: Iterable[bytes]) -> None:
        """A disk died that said it was not safe to lose: what it alone had may be gone."""
        self.forfeited.update(tokens)

    def standing(self, survivors: set[bytes], bare: set[bytes]) -> dict[tuple[int, bytes], set[bytes]]:
        """For each item the tokens that nothing replaced, of those that reached the bucket, and did so with a value.

        What goes without (``bare``) was replaced by a write of its site that comes behind it, or went with the disk.
        """
        replaced = bare | {token for survivor in survivors for token in self.written[survivor].saw}
        found: dict[tuple[int, bytes], set[bytes]] = {}
        for token in survivors - replaced:
            written = self.written[token]
            found.setdefault((written.family, written.item), set()).add(token)
        return found
