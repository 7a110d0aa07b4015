"""The ARNs of what a realm has besides buckets: KMS keys and destinations of events. Pure.

A realm is one account to AWS's eyes: its number is twelve zeros. Region and account of an ARN that a client sends are
not looked at, since a realm spans regions. An alias stands for the key of the same name: ``alias/x``, ``x`` and
``arn:aws:kms:…:key/x`` are one key.
"""

from __future__ import annotations

import re
from typing import Final

ACCOUNT_ID: Final = "000000000000"
_KEY_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_/.:@+=-]{0,255}")


def kms_key_arn(region: str, name: str) -> str:
    """``arn:aws:kms:<region>:<account>:key/<name>``."""
    return f"arn:aws:kms:{region}:{ACCOUNT_ID}:key/{name}"


def is_alias(text: str) -> bool:
    """Whether a key is named by an alias: answers then show the ARN of what that stands for, as AWS does."""
    return text.startswith("alias/") or ":alias/" in text


def parse_key_name(text: str) -> str | None:
    """The name of a key given as name, alias or ARN; None if it can be none."""
    if text.startswith("arn:"):
        fields = text.split(":", 5)
        if len(fields) != 6 or fields[2] != "kms" or not fields[5].startswith(("key/", "alias/")):
            return None
        text = fields[5].removeprefix("key/")
    name = text.removeprefix("alias/")
    return name if _KEY_NAME.fullmatch(name) and not name.endswith("/") else None
