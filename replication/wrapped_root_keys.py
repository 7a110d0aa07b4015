"""Root keys that lie wrapped in a file, and are unwrapped by a service at each start: HashiCorp Vault, AWS KMS.

TEXT of the file (one line; no secret by itself, every site of the realm has a copy):

    skerry-wrapped-key-1 vault    <ciphertext of Vault's transit engine: vault:v1:…>
    skerry-wrapped-key-1 aws-kms  <base64 of KMS's CiphertextBlob>

What the service wraps is the printed form of a root key (``realm_format``), so that it can be checked when it comes
back. Vault: POST /v1/<mount>/encrypt|decrypt/<key> with ``plaintext``/``ciphertext`` and the header X-Vault-Token
(HashiCorp, "Transit secrets engine (API)"). KMS: Encrypt and Decrypt with the encryption context
``{"skerry": "realm-root-key"}`` (AWS, "AWS KMS API Reference").

Blocking, with timeouts: called at start, or from a thread. What goes wrong is ``RootKeyUnusable``, whose message
repeats neither key nor token. A service that is away keeps a site from starting; sites that run go on.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import json
import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote, urlsplit

from replication.realm_format import REALM_KEY_LABEL, KeyDerivation, Realm, decode_key_text, encode_key_text
from replication.root_keys import KEY_TEXT_BYTES_MAX, RootKeyUnusable, read_secret, write_new_file
from replication.sealing import KEY_SIZE

WRAPPED_KEY_LABEL: Final = "skerry-wrapped-key-1"
TIMEOUT_S: Final = 15.0
ANSWER_BYTES_MAX: Final = 1 << 20
KMS_CONTEXT: Final = {"skerry": "realm-root-key"}


class WrappingService(Protocol):
    """A service that wraps a small text and unwraps it again."""

    name: str
    """As in the file."""

    def wrap(self, plaintext: bytes) -> str:
        """The ciphertext, printable, without spaces. ``RootKeyUnusable``. Blocking."""

    def unwrap(self, ciphertext: str) -> bytes:
        """What was wrapped. ``RootKeyUnusable``. Blocking."""


@dataclass(frozen=True)
class WrappedRootKey:
    """The root key in a wrapped file."""

    path: Path
    service: WrappingService

    def derivation(self) -> KeyDerivation:
        """None: the file holds the key itself."""
        return KeyDerivation()

    def root_key(self, realm: Realm) -> bytes:
        """The key, as the service unwraps it."""
        words = read_wrapped(self.path)
        if words[1] != self.service.name:
            raise RootKeyUnusable(f"{self.path} was wrapped by {words[1]}, not by {self.service.name}")
        try:
            return decode_key_text(self.service.unwrap(words[2]).decode("ascii", "replace"))
        except ValueError as error:
            raise RootKeyUnusable(f"{self.path}, unwrapped: {error}") from None

    def generate(self) -> None:
        """A fresh root key, wrapped, in a new file. ``FileExistsError`` if there is one."""
        text = encode_key_text(REALM_KEY_LABEL, secrets.token_bytes(KEY_SIZE))
        wrapped = self.service.wrap(text.encode())
        write_new_file(self.path, f"{WRAPPED_KEY_LABEL} {self.service.name} {wrapped}\n")


def read_wrapped(path: Path) -> list[str]:
    """The three words of a wrapped key's file; ``RootKeyUnusable``."""
    try:
        data = path.read_bytes()[: KEY_TEXT_BYTES_MAX + 1]
    except OSError as error:
        raise RootKeyUnusable(f"{path} cannot be read: {error.strerror}") from None
    words = data.decode("ascii", "replace").split()
    if len(words) != 3 or words[0] != WRAPPED_KEY_LABEL or len(data) > KEY_TEXT_BYTES_MAX:
        raise RootKeyUnusable(
            f"{path} holds no wrapped key: it should read '{WRAPPED_KEY_LABEL} <service> <ciphertext>'"
        )
    return words


@dataclass(frozen=True)
class VaultTransit:
    """A key of Vault's transit engine. ``address``: http(s)://host:port. The token is read from its file each time."""

    address: str
    key: str
    token_file: Path
    mount: str = "transit"
    namespace: str = ""
    ca_file: Path | None = None
    name = "vault"

    def wrap(self, plaintext: bytes) -> str:
        """Vault's ciphertext."""
        answer = self._post("encrypt", {"plaintext": base64.b64encode(plaintext).decode()})
        return _text_of(answer, "ciphertext")

    def unwrap(self, ciphertext: str) -> bytes:
        """The plaintext of Vault's ciphertext."""
        answer = self._post("decrypt", {"ciphertext": ciphertext})
        try:
            return base64.b64decode(_text_of(answer, "plaintext"), validate=True)
        except binascii.Error:
            raise RootKeyUnusable("vault answered with a plaintext that is not base64") from None

    def _post(self, verb: str, body: dict[str, str]) -> dict[str, Any]:
        path = f"/v1/{quote(self.mount.strip('/'))}/{verb}/{quote(self.key, safe='')}"
        headers = {"X-Vault-Token": read_secret(self.token_file).strip(), "X-Vault-Request": "true"}
        headers |= {"Content-Type": "application/json"} | (
            {"X-Vault-Namespace": self.namespace} if self.namespace else {}
        )
        connection = self._connect()
        try:
            connection.request("POST", urlsplit(self.address).path.rstrip("/") + path, json.dumps(body), headers)
            answer = connection.getresponse()
            status, data = answer.status, answer.read(ANSWER_BYTES_MAX)
        except ssl.SSLCertVerificationError as error:
            raise RootKeyUnusable(
                f"the certificate of vault at {self.address} is not trusted here ({error.verify_message}): "
                "name the authority that signed it in [realm] vault_ca_file"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise RootKeyUnusable(f"vault at {self.address} does not answer: {error}") from None
        finally:
            connection.close()
        return _read_answer(status, data, self._advise(status, verb))

    def _advise(self, status: int, verb: str) -> str:
        """What to look at when Vault refuses with this status; empty where its own words say it."""
        place = f"{self.mount.strip('/')}/{verb}/{self.key}"
        advice = {
            400: f"is there a key {self.key!r} (vault write -f {self.mount.strip('/')}/keys/{self.key}), and is "
            "vault_address right?",
            403: f"does the token in {self.token_file} still hold, and may it 'update' {place}?",
            404: f"is the transit engine mounted at {self.mount!r} ([realm] vault_mount), and vault_namespace right?",
            503: "it has to be unsealed (vault operator unseal)",
        }
        return advice.get(status, "")

    def _connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.address)
        try:
            port, is_url = parts.port, parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            port, is_url = None, False
        if not is_url or not parts.hostname:
            raise RootKeyUnusable(f"vault_address must be http(s)://host:port, not {self.address!r}")
        if parts.scheme == "http":
            return http.client.HTTPConnection(parts.hostname, port, timeout=TIMEOUT_S)
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise RootKeyUnusable(f"{self.ca_file} cannot be used as a certificate authority: {error}") from None
        return http.client.HTTPSConnection(parts.hostname, port, timeout=TIMEOUT_S, context=context)


@dataclass(frozen=True)
class AwsKms:
    """A symmetric key of AWS KMS. Credentials: botocore's own search (environment, files, instance role)."""

    key: str
    region: str
    endpoint_url: str | None = None
    profile: str | None = None
    name = "aws-kms"

    def wrap(self, plaintext: bytes) -> str:
        """KMS's ciphertext, base64."""
        answer = self._call("encrypt", KeyId=self.key, Plaintext=plaintext, EncryptionContext=KMS_CONTEXT)
        return base64.b64encode(answer["CiphertextBlob"]).decode()

    def unwrap(self, ciphertext: str) -> bytes:
        """The plaintext of KMS's ciphertext, if this very key wrapped it."""
        try:
            blob = base64.b64decode(ciphertext, validate=True)
        except binascii.Error:
            raise RootKeyUnusable("the wrapped key is not base64") from None
        answer = self._call("decrypt", KeyId=self.key, CiphertextBlob=blob, EncryptionContext=KMS_CONTEXT)
        return bytes(answer["Plaintext"])

    def _call(self, operation: str, **given: Any) -> Any:
        import botocore.exceptions  # here, since few need it, and it takes long
        import botocore.session
        from botocore.config import Config

        config = Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"max_attempts": 2})
        try:
            session = botocore.session.Session(profile=self.profile)
            client = session.create_client(
                "kms", region_name=self.region, endpoint_url=self.endpoint_url, config=config
            )
            return getattr(client, operation)(**given)
        except botocore.exceptions.ClientError as error:
            told = error.response.get("Error", {})
            raise RootKeyUnusable(f"KMS refuses to {operation}: {told.get('Code')}: {told.get('Message')}") from None
        except botocore.exceptions.BotoCoreError as error:
            raise RootKeyUnusable(f"KMS cannot be asked to {operation}: {error}") from None


def _read_answer(status: int, data: bytes, advice: str) -> dict[str, Any]:
    """Vault's ``data``. An error is ``{"errors": [texts]}``, of one line or several; 503 is sealed, 473 and 472 are
    standbys.
    """
    behind = f"; {advice}" if advice else ""
    try:
        document = json.loads(data)
        told = document["data"] if status == 200 else " ".join("; ".join(document["errors"]).split())
    except (ValueError, KeyError, TypeError):
        raise RootKeyUnusable(f"vault answered {status} with something that is not Vault's{behind}") from None
    if status != 200:
        raise RootKeyUnusable(f"vault refuses ({status}): {told or 'no reason given'}{behind}")
    if not isinstance(told, dict):
        raise RootKeyUnusable("vault answered without data")
    return told


def _text_of(answer: dict[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not value or value.split() != [value]:
        raise RootKeyUnusable(f"vault answered without {name}")
    return value
