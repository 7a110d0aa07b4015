"""Who the tests of access ask as: a bucket's owner, another account, nobody; and the buckets they meet in.

None of them is an admin: those may do everything, which would hide what is being tested.
"""

from __future__ import annotations

import itertools
import json
import secrets
from typing import Any, NamedTuple

import boto3
from botocore import UNSIGNED
from botocore.config import Config

from gateway.identity.users import add_user, new_access_key, new_user
from tests.gateway.http.server import Server

_names = (f"access-{number}" for number in itertools.count())


class Account(NamedTuple):
    """A user that is an account of its own, and its client."""

    id: str
    s3: Any


def make_account(server: Server, name: str) -> Account:
    """A new account."""
    secret = secrets.token_hex(20)

    def decide(view: Any) -> Any:
        user = new_user(f"{name}-{secrets.token_hex(4)}", now_ms=view.now_ms, email=f"{name}-{secret[:8]}@example.com")
        return add_user(view, user, new_access_key(user.id, now_ms=view.now_ms, secret=secret))

    issued = server.call(lambda: server.store.commit(decide))
    return Account(issued.user.id, server.client(issued.key.id, secret, signature_version="s3v4"))


def anonymous_client(server: Server) -> Any:
    """A client that signs nothing."""
    config = Config(signature_version=UNSIGNED, retries={"max_attempts": 0}, s3={"addressing_style": "path"})
    return boto3.client("s3", endpoint_url=server.endpoint, region_name="us-east-1", config=config)


def make_bucket(owner: Account, ownership: str = "BucketOwnerEnforced", *, public: bool = True) -> str:
    """A bucket of ``owner``; ``public``: public access is not blocked."""
    name = next(_names)
    owner.s3.create_bucket(Bucket=name, ObjectOwnership=ownership)
    if public:
        owner.s3.delete_public_access_block(Bucket=name)
    return name


def policy_of(*statements: dict[str, Any]) -> str:
    """A policy's text."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(bucket: str, action: str | list[str], principal: Any = "*", path: str = "/*", **more: Any) -> dict[str, Any]:
    """A statement that allows. ``path``: behind the bucket in the resource; ``more``: e.g. Condition."""
    return {
        "Effect": "Allow",
        "Principal": principal,
        "Action": action,
        "Resource": f"arn:aws:s3:::{bucket}{path}",
        **more,
    }
