"""Where a client is sent: an endpoint, over http or https, with a bucket of the test's own and boto3 beside it."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.site import Site

DOMAIN = "s3.localhost"
"""Buckets are its subdomains; nothing has to resolve it: clients are told to dial loopback."""


@dataclass(frozen=True)
class Place:
    """``root``: the PEM file to trust over https, None over http. ``boto3``: to prepare, and to check what was done."""

    site: Site
    root: Path | None
    boto3: Any
    bucket: str

    @property
    def scheme(self) -> str:
        """http or https."""
        return "https" if self.root else "http"

    @property
    def address(self) -> str:
        """Host and port, for clients that want no scheme."""
        return f"127.0.0.1:{self.site.port}"

    @property
    def named(self) -> str:
        """The endpoint by its domain, for virtual-host addressing."""
        return f"{self.scheme}://{DOMAIN}:{self.site.port}"

    @property
    def wrong_secret(self) -> str:
        """Not the secret."""
        return self.site.secret_key + "x"

    def read(self, key: str) -> bytes:
        """What boto3 reads."""
        body: bytes = self.boto3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return body

    def keys(self) -> list[str]:
        """What boto3 lists."""
        return [row["Key"] for row in self.boto3.list_objects_v2(Bucket=self.bucket).get("Contents", [])]


def resolve_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name under ``DOMAIN`` is loopback, for clients of this process that ask Python's resolver."""
    known = socket.getaddrinfo

    def look_up(host: Any, *arguments: Any, **options: Any) -> Any:
        text = host.decode() if isinstance(host, bytes) else host
        loopback = isinstance(text, str) and text.endswith(DOMAIN)
        return known("127.0.0.1" if loopback else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
