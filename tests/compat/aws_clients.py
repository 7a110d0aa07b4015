"""boto3 clients of any service against a gateway in this process, closed at the end of the test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config

from tests.gateway.http.server import ACCESS_KEY, SECRET, Server

Connect = Callable[..., Any]
"""``connect(service, credentials)``: credentials as CreateAccessKey or AssumeRole answer them, None: root's."""


@contextmanager
def connecting(server: Server) -> Iterator[Connect]:
    """Gives ``connect``; what it made is closed at the end."""
    made: list[Any] = []

    def connect(service: str, credentials: dict[str, Any] | None = None, *, signed: bool = True, **config: Any) -> Any:
        given = credentials or {"AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET}
        settings: dict[str, Any] = {"retries": {"max_attempts": 0}, "s3": {"addressing_style": "path"}, **config}
        if not signed:
            settings["signature_version"] = UNSIGNED
        client = boto3.client(
            service,
            endpoint_url=server.endpoint,
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given.get("SessionToken"),
            region_name="us-east-1",
            config=Config(**settings),
        )
        made.append(client)
        return client

    try:
        yield connect
    finally:
        for client in made:
            client.close()


def document(*statements: dict[str, Any]) -> str:
    """A policy of these statements."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    """A statement that allows."""
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def trust(principal: Any, action: Any = "sts:AssumeRole", **more: Any) -> dict[str, Any]:
    """A statement of a role's trust policy."""
    return {"Effect": "Allow", "Principal": principal, "Action": action, **more}
