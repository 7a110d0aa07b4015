"""What keys of one section of the configuration must be, given one another. Part of ``config``, which calls it.

Each complaint goes to the reader, with the key it is about; nothing is raised, so that a person sees all of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from gateway.config_reader import Reader

_MADE: Final = {("realm", "key_file"), ("realm", "wrapped_key_file")}
"""Files that a first start makes if they are not there."""


def check_realm(reader: Reader, realm: dict[str, Any]) -> None:
    """[realm]: one source of the root key, and everything that it needs."""
    sources = ("key_file", "passphrase_file", "key_command", "wrapped_key_file")
    given = [name for name in sources if realm.get(name)]
    if len(given) > 1:
        reader.complain("realm", given[1], f"only one source of the root key can be given, and {given[0]} is")
    services = {"vault": ("vault_address", "vault_key", "vault_token_file"), "kms": ("kms_key", "kms_region")}
    named = [name for name in services if any(key.startswith(f"{name}_") and realm.get(key) for key in realm)]
    named = [name for name in named if any(realm.get(key) for key in services[name])]
    if realm.get("wrapped_key_file"):
        if len(named) != 1:
            reader.complain("realm", "wrapped_key_file", "needs the vault_ or the kms_ keys: who unwraps it")
        for name in named:
            missing = [key for key in services[name] if not realm.get(key)]
            if missing:
                reader.complain("realm", "wrapped_key_file", f"needs {missing[0]}")
    elif named:
        reader.complain("realm", next(key for key in services[named[0]] if realm.get(key)), "needs wrapped_key_file")


def check_cloud(reader: Reader, cloud: dict[str, Any]) -> None:
    """[cloud]: a bucket and one kind of credentials, or nothing."""
    if not cloud.get("bucket"):
        if cloud:
            reader.complain("cloud", next(iter(cloud)), "means nothing without bucket")
        return
    for one, other in (("access_key", "secret_key"), ("secret_key", "access_key")):
        if cloud.get(one) and not cloud.get(other):
            reader.complain("cloud", one, f"needs {other} too")
    if cloud.get("credentials_file") and (cloud.get("access_key") or cloud.get("secret_key")):
        reader.complain("cloud", "credentials_file", "give either it or access_key and secret_key, not both")
    elif not cloud.get("credentials_file") and not (cloud.get("access_key") or cloud.get("secret_key")):
        reader.complain("cloud", "bucket", "needs credentials: access_key and secret_key, or credentials_file")


def try_named_files(reader: Reader, values: dict[str, dict[str, Any]]) -> None:
    """Open every file that is named; the data directory, and what else a first start makes, may be missing."""
    for name, section in values.items():
        for key_name, value in section.items():
            if isinstance(value, Path) and (name, key_name) != ("site", "data"):
                try:
                    value.open("rb").close()
                except OSError as error:
                    if (name, key_name) not in _MADE or not value.parent.is_dir() or value.exists():
                        reader.complain(name, key_name, f"{value} cannot be read: {error.strerror}")
