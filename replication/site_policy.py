"""Prints what a site may do in the bucket: the access policy to give to the site's cloud user, as AWS IAM JSON.

A site reads everything, creates the realm's objects and keys, announces itself under ``heads/`` and its checkpoints
under ``checkpoints/``, and writes only under its own prefix besides. The condition on listing says ``IfExists``,
because S3 asks for the same permission, then without a prefix, before it answers 404 and not 403 for an object that is
missing. So a stolen site's cloud key cannot touch another site's log; Skerry's own formats notice if somebody does.
"""

from __future__ import annotations

import json

from replication.cloud_names import CHECKPOINTS_PREFIX, HEADS_PREFIX, KEYS_PREFIX, REALM, site_prefix


def site_policy(bucket: str, prefix: str, site: bytes) -> str:
    """The policy of ``site`` (16 bytes) for ``bucket`` and the realm's ``prefix``; JSON text.

    Source: AWS "Actions, resources, and condition keys for Amazon S3".
    """
    root = prefix.strip("/") + "/" if prefix.strip("/") else ""
    objects = f"arn:aws:s3:::{bucket}/{root}"
    statements = [
        {
            "Sid": "ListRealm",
            "Effect": "Allow",
            "Action": ["s3:ListBucket"],
            "Resource": [f"arn:aws:s3:::{bucket}"],
            "Condition": {"StringLikeIfExists": {"s3:prefix": [f"{root}*"]}},
        },
        {"Sid": "ReadRealm", "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"{objects}*"]},
        {
            "Sid": "CreateRealmAndKeys",
            "Effect": "Allow",
            "Action": ["s3:PutObject"],
            "Resource": [f"{objects}{REALM}", f"{objects}{KEYS_PREFIX}*"],
        },
        {
            "Sid": "WriteOwnSite",
            "Effect": "Allow",
            "Action": ["s3:PutObject", "s3:DeleteObject"],
            "Resource": [
                f"{objects}{site_prefix(site)}*",
                f"{objects}{HEADS_PREFIX}{site.hex()}-*",
                f"{objects}{CHECKPOINTS_PREFIX}{site.hex()}-*",
            ],
        },
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2)
