"""An OpenID Connect issuer on loopback: keys, discovery document, tokens as they are asked for, also wrong ones."""

from __future__ import annotations

import base64
import datetime
import hashlib
import ipaddress
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def encode_integer(number: int, size: int | None = None) -> str:
    return encode(number.to_bytes(size or (number.bit_length() + 7) // 8, "big"))


class Issuer:
    """Use as a context manager. ``documents`` overrides what a path answers; ``requests`` counts them."""

    def __init__(self, tls: Path | None = None, path: str = "") -> None:
        self.rsa = rsa.generate_private_key(65537, 2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.documents: dict[str, bytes] = {}
        self.requests: list[str] = []
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.requests.append(self.path)
                body = issuer.documents.get(self.path) or issuer.answer(self.path)
                self.send_response(200 if body else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.thumbprint = ""
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._make_certificate(tls))
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._path = path
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_port}{path}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="issuer")

    def __enter__(self) -> Issuer:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def answer(self, path: str) -> bytes:
        if path == self._path + "/.well-known/openid-configuration":
            return json.dumps({"issuer": self.url, "jwks_uri": self.url + "/keys"}).encode()
        return json.dumps({"keys": self.keys()}).encode() if path == self._path + "/keys" else b""

    def keys(self) -> list[dict[str, str]]:
        numbers, point = self.rsa.public_key().public_numbers(), self.ec.public_key().public_numbers()
        return [
            {
                "kty": "RSA",
                "kid": "r",
                "use": "sig",
                "alg": "RS256",
                "n": encode_integer(numbers.n),
                "e": encode_integer(numbers.e),
            },
            {
                "kty": "EC",
                "kid": "e",
                "crv": "P-256",
                "x": encode_integer(point.x, 32),
                "y": encode_integer(point.y, 32),
            },
        ]

    def sign(self, claims: Any, header: dict[str, Any] | None = None) -> str:
        """A token with exactly these claims and this header (default: RS256, key "r")."""
        header = {"alg": "RS256", "kid": "r"} if header is None else header
        signed = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(claims).encode())}"
        if header.get("alg") == "ES256":
            r, s = decode_dss_signature(self.ec.sign(signed.encode(), ec.ECDSA(SHA256())))
            return f"{signed}.{encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
        return f"{signed}.{encode(self.rsa.sign(signed.encode(), padding.PKCS1v15(), SHA256()))}"

    def token(self, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token that is right but for what is given; a claim of None is left out."""
        now_s = int(time.time())
        whole = {"iss": self.url, "sub": "me", "aud": "app", "iat": now_s, "exp": now_s + 300, **claims}
        return self.sign({name: value for name, value in whole.items() if value is not None}, header)

    def _make_certificate(self, directory: Path) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
            .sign(key, SHA256())
        )
        der = certificate.public_bytes(Encoding.DER)
        self.thumbprint = hashlib.sha1(der).hexdigest()
        certificate_file, key_file = directory / "issuer.pem", directory / "issuer.key"
        certificate_file.write_bytes(certificate.public_bytes(Encoding.PEM))
        key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return certificate_file, key_file
