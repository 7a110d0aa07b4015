"""A small Vault: the transit engine's encrypt and decrypt, answering in form and status as HashiCorp Vault does.

Written after "Transit secrets engine (API)" and "Vault HTTP API: error response, status codes": 200 with ``data``, 400
``encryption key not found`` / ``invalid ciphertext: …``, 403 ``permission denied``, 404 for a mount that is not there,
503 ``Vault is sealed``. Key versions stand in the ciphertext (``vault:v1:``) and older ones go on decrypting.
"""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TOKEN = "hvs.token-for-the-tests"


class FakeVault:
    """``with`` gives a running one. ``sealed`` and ``answer`` (status, bytes: whatever is asked) make it misbehave."""

    def __init__(self, keys: tuple[str, ...] = ("skerry",), mount: str = "transit") -> None:
        self.mount, self.keys = mount, {name: [AESGCM.generate_key(256)] for name in keys}
        self.sealed = False
        self.answer: tuple[int, bytes] | None = None
        self.namespaces: list[str] = []

    def __enter__(self) -> FakeVault:
        vault = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                vault.namespaces.append(self.headers.get("X-Vault-Namespace", ""))
                status, document = vault.respond(self.path, self.headers.get("X-Vault-Token", ""), body)
                data = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *given: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def wrap_in(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def rotate(self, key: str) -> None:
        self.keys[key].append(AESGCM.generate_key(256))

    def respond(self, path: str, token: str, body: bytes) -> tuple[int, Any]:
        """Status and document."""
        if self.answer is not None:
            return self.answer
        if self.sealed:
            return 503, {"errors": ["Vault is sealed"]}
        if token != TOKEN:
            return 403, {"errors": ["permission denied"]}
        parts = path.split("/")
        if parts[:3] != ["", "v1", self.mount] or len(parts) != 5 or parts[3] not in ("encrypt", "decrypt"):
            return 404, {"errors": [f'no handler for route "{path.removeprefix("/v1/")}". route entry not found.']}
        given = json.loads(body)
        versions = self.keys.get(parts[4])
        if versions is None:
            return 400, {"errors": ["encryption key not found"]}
        return self._encrypt(versions, given) if parts[3] == "encrypt" else self._decrypt(versions, given)

    def _encrypt(self, versions: list[bytes], given: dict[str, str]) -> tuple[int, Any]:
        nonce = secrets.token_bytes(12)
        sealed = nonce + AESGCM(versions[-1]).encrypt(nonce, base64.b64decode(given["plaintext"]), None)
        text = f"vault:v{len(versions)}:{base64.b64encode(sealed).decode()}"
        return 200, _answer({"ciphertext": text, "key_version": len(versions)})

    def _decrypt(self, versions: list[bytes], given: dict[str, str]) -> tuple[int, Any]:
        try:
            word, version, text = given["ciphertext"].split(":")
            key, sealed = versions[int(version.removeprefix("v")) - 1], base64.b64decode(text, validate=True)
            assert word == "vault"
            plaintext = AESGCM(key).decrypt(sealed[:12], sealed[12:], None)
        except InvalidTag:
            return 400, {"errors": ["cipher: message authentication failed"]}
        except (ValueError, IndexError, AssertionError):
            return 400, {"errors": ["invalid ciphertext: no prefix"]}
        return 200, _answer({"plaintext": base64.b64encode(plaintext).decode()})


def _answer(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "request_id": "9b5a1d4e-0000-4000-8000-000000000001",
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "data": data,
        "wrap_info": None,
        "warnings": None,
        "auth": None,
    }
