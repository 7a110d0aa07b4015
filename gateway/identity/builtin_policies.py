"""AWS's managed policies that Skerry knows, by ARN: what a script for AWS attaches without making it first. Data.

Only what can mean something here: S3, IAM and STS. The documents grant what AWS's of the same name grant of these.
"""

from __future__ import annotations

import json
from typing import Final

from gateway.store.identity_format import ManagedPolicyRecord, PolicyVersion

_MADE_MS: Final = 1_423_217_438_000  # 2015-02-06T10:10:38Z


def _allow(*actions: str) -> str:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=4)


_READ_S3: Final = ("s3:Get*", "s3:List*", "s3:Describe*")
_DOCUMENTS: Final = {
    "AdministratorAccess": _allow("*"),
    "AmazonS3FullAccess": _allow("s3:*", "s3-object-lambda:*"),
    "AmazonS3ReadOnlyAccess": _allow(*_READ_S3, "s3-object-lambda:Get*", "s3-object-lambda:List*"),
    "IAMFullAccess": _allow("iam:*"),
    "IAMReadOnlyAccess": _allow("iam:Get*", "iam:List*", "iam:GenerateCredentialReport", "iam:SimulateCustomPolicy"),
    "ReadOnlyAccess": _allow(*_READ_S3, "iam:Get*", "iam:List*", "sts:GetCallerIdentity"),
}
BUILTIN: Final[dict[str, ManagedPolicyRecord]] = {
    f"arn:aws:iam::aws:policy/{name}": ManagedPolicyRecord(
        id=f"ANPA{name.upper()[:17]:A<17}",
        account="aws",
        name=name,
        created_ms=_MADE_MS,
        versions=(PolicyVersion(1, document, _MADE_MS),),
    )
    for name, document in _DOCUMENTS.items()
}
"""AWS's managed policies by ARN."""
