"""The root user's first credentials: generated once, shown once, kept in the data directory for its owner only.

The file is in the format of ``~/.aws/credentials``, so AWS tools can be pointed at it. It is written before the key
is committed: a first start that dies in between leaves a file that a later start replaces, never a key nobody knows. It
is not read again: a rotated key is not brought back by a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gateway.identity.users import ROOT_ID, ensure_root, new_access_key_id, new_secret
from gateway.store.document_format import AccessKeyRecord
from gateway.store.layout import DataDirectory
from gateway.store.ports import Store

CREDENTIALS_NAME = "root.credentials"
ACCESS_KEY_VARIABLE = "SKERRY_ROOT_ACCESS_KEY"
SECRET_KEY_VARIABLE = "SKERRY_ROOT_SECRET_KEY"


def credentials_path(data: Path) -> Path:
    """Where generated root credentials are kept."""
    return data / CREDENTIALS_NAME


async def ensure_credentials(
    store: Store, directory: DataDirectory, environment: Mapping[str, str]
) -> AccessKeyRecord | None:
    """See to it that the root user has a key: the environment's, else a generated one. The key if it was made just now.

    Raises ``BadIdentity`` for credentials that cannot be used.
    """
    access_key, secret = environment.get(ACCESS_KEY_VARIABLE, ""), environment.get(SECRET_KEY_VARIABLE, "")
    if access_key or secret:
        return await ensure_root(store, access_key_id=access_key, secret=secret)
    with store.view() as view:
        if any(not key.disabled for key in view.access_keys(ROOT_ID)):
            return None
    access_key, secret = new_access_key_id(), new_secret()
    text = f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret}\n"
    directory.files.write_file_durably(credentials_path(directory.path), text.encode())
    return await ensure_root(store, access_key_id=access_key, secret=secret)
