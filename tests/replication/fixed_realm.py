"""A realm with fixed keys, for tests that want the same bytes each time."""

from replication.sealing import Keyring

KEYRING = Keyring(
    realm=bytes(range(16)),
    chunk_key=bytes(range(32, 64)),
    epochs={b"epoch-one-------": bytes(range(64, 96))},
    current=b"epoch-one-------",
)
ORIGIN = (b"site-a----------", b"incarn-1")
