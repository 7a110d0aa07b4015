"""Root key providers: where the one secret of a realm comes from: a file, a passphrase, a command.

Blocking (files, scrypt, a child process): called at start, before an event loop runs, or from a thread. What goes wrong
is ``RootKeyUnusable``, whose message never repeats a key, a passphrase or what a command printed.

Not here: wrapping (realm_format), the realm's other keys (keys).
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from replication.realm_format import REALM_KEY_LABEL, KeyDerivation, Realm, decode_key_text, encode_key_text
from replication.sealing import KEY_SIZE
from replication.small_files import FILES, SmallFiles

SCRYPT_LOG2_N: Final = 17
SCRYPT_R: Final = 8
KEY_TEXT_BYTES_MAX: Final = 4096


class RootKeyUnusable(Exception):
    """The provider gave no usable key; the message says what to mend."""


class RootKeyProvider(Protocol):
    """Gives the root key of a realm."""

    def derivation(self) -> KeyDerivation:
        """What a new realm should record of how the key is derived."""

    def root_key(self, realm: Realm) -> bytes:
        """The 32-byte root key; ``RootKeyUnusable``. Blocking."""


@dataclass(frozen=True)
class FileRootKey:
    """A file with one line ``skerry-realm-key-1 …`` that only its owner may read."""

    path: Path

    def derivation(self) -> KeyDerivation:
        """None: the file holds the key itself."""
        return KeyDerivation()

    def root_key(self, realm: Realm) -> bytes:
        """The key in the file."""
        return _parse(read_secret(self.path), f"{self.path}")


@dataclass(frozen=True)
class CommandRootKey:
    """A command that prints the key's line (from a TPM, a credential store, …) and exits with 0."""

    argv: Sequence[str]
    timeout_s: float = 60.0

    def derivation(self) -> KeyDerivation:
        """None: the command prints the key itself."""
        return KeyDerivation()

    def root_key(self, realm: Realm) -> bytes:
        """The key that the command printed."""
        try:
            done = subprocess.run(
                list(self.argv), stdin=subprocess.DEVNULL, capture_output=True, timeout=self.timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            raise RootKeyUnusable(f"the realm key command did not end within {self.timeout_s:g} s") from None
        except OSError as error:
            raise RootKeyUnusable(f"the realm key command, {self.argv[0]!r}, cannot be run: {error.strerror}") from None
        if done.returncode != 0:
            raise RootKeyUnusable(
                f"the realm key command, {self.argv[0]!r}, failed with exit code {done.returncode}: "
                "run it by hand, as this user, to see why"
            )
        return _parse(done.stdout.decode("ascii", "replace"), "the realm key command's output")


@dataclass(frozen=True)
class PassphraseRootKey:
    """A passphrase, stretched by scrypt with the realm's parameters: from a file, or from an environment variable."""

    path: Path | None = None
    variable: str = ""
    log2_n: int = SCRYPT_LOG2_N

    def derivation(self) -> KeyDerivation:
        """Fresh salt, this provider's cost."""
        return KeyDerivation(True, self.log2_n, SCRYPT_R, 1, secrets.token_bytes(16))

    def root_key(self, realm: Realm) -> bytes:
        """The key derived from the passphrase."""
        how = realm.derivation
        if not how.scrypt:
            raise RootKeyUnusable("this realm was not made with a passphrase: configure its key file or command")
        memory = 128 * (1 << how.log2_n) * how.r * how.p + (64 << 20)
        return hashlib.scrypt(
            self._passphrase().encode(),
            salt=how.salt,
            n=1 << how.log2_n,
            r=how.r,
            p=how.p,
            maxmem=memory,
            dklen=KEY_SIZE,
        )

    def _passphrase(self) -> str:
        if self.path is not None:
            text = read_secret(self.path)
        elif self.variable in os.environ:
            text = os.environ[self.variable]
        else:
            raise RootKeyUnusable(f"the environment variable {self.variable} with the passphrase is not set")
        text = text.rstrip("\r\n")
        if not text:
            raise RootKeyUnusable("the passphrase is empty")
        return text


@dataclass(frozen=True, repr=False)
class GivenRootKey:
    """A root or recovery key that somebody typed in, as text."""

    text: str

    def derivation(self) -> KeyDerivation:
        """None: it is the key itself."""
        return KeyDerivation()

    def root_key(self, realm: Realm) -> bytes:
        """The key in the text. Works for passphrase realms too: a recovery key needs no derivation."""
        return _parse(self.text, "the key given")


def generate_key_file(path: Path, files: SmallFiles = FILES) -> None:
    """Write a fresh root key to a new file, 0600, synced with its directory. ``FileExistsError`` if there is one.

    ``OSError`` if the disk did not take it: then there is no file, either.
    """
    write_new_file(path, encode_key_text(REALM_KEY_LABEL, secrets.token_bytes(KEY_SIZE)) + "\n", files)


def write_new_file(path: Path, line: str, files: SmallFiles = FILES) -> None:
    """Write a new file, 0600, synced with its directory. ``FileExistsError``, ``OSError``: then nothing is there."""
    descriptor = files.open_new(path, exclusive=True)
    try:
        files.write_open(descriptor, line.encode())
        files.sync_directory(path.parent)
    except OSError:
        path.unlink()
        raise


def read_secret(path: Path) -> str:
    """The text of a small file that nobody but its owner may read; ``RootKeyUnusable`` otherwise."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode) or mode & 0o077:
                raise RootKeyUnusable(f"{path} must be a file that only its owner can read: chmod 600 it")
            data = file.read(KEY_TEXT_BYTES_MAX + 1)
    except OSError as error:
        raise RootKeyUnusable(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > KEY_TEXT_BYTES_MAX:
        raise RootKeyUnusable(f"{path} is too long to be a key or a passphrase")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise RootKeyUnusable(f"{path} is not text") from None


def _parse(text: str, where: str) -> bytes:
    try:
        return decode_key_text(text)
    except ValueError as error:
        raise RootKeyUnusable(f"{where}: {error}") from None
