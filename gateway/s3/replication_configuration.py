"""ReplicationConfiguration: checked as AWS does; kept where it asks for nothing that is not done. Pure.

Every bucket of a realm is replicated to all its sites and to its cloud bucket, without being asked. Replication to
*another* bucket by rules is not done, so a document with an enabled rule is ``NotImplemented``, after everything that
is wrong with it was told; one whose rules are all disabled is kept and given back.
Source: API reference, PutBucketReplication; User Guide, "Replication configuration file elements".
"""

from __future__ import annotations

import re
from typing import Final
from xml.etree.ElementTree import Element

from gateway.s3.configurations import TAG
from gateway.s3.document_shapes import (
    Shape,
    Text,
    Whole,
    check_shape,
    find_all,
    find_text,
    many,
    maybe,
    one,
    render_shape,
    some,
)
from gateway.s3.documents import parse_document
from gateway.s3.errors import InvalidArgument, InvalidRequest, MalformedXML, S3NotImplemented

ROOT: Final = "ReplicationConfiguration"
RULES_MAX: Final = 1000
_STATUS: Final = Text(("Enabled", "Disabled"))
_PREFIX: Final = Text(high=1024)
_SWITCH: Final = Shape({"Status": one(_STATUS)})
_MINUTES: Final = Shape({"Minutes": maybe(Whole())})
_STORAGE_CLASSES: Final = (
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "OUTPOSTS",
    "GLACIER_IR",
    "SNOW",
    "EXPRESS_ONEZONE",
)
_FILTER: Final = Shape(
    {
        "Prefix": maybe(_PREFIX),
        "Tag": maybe(TAG),
        "And": maybe(Shape({"Prefix": maybe(_PREFIX), "Tag": many(TAG)})),
    },
    one_of=("Prefix", "Tag", "And"),
)
_DESTINATION: Final = Shape(
    {
        "Bucket": one(Text(low=1, high=2048)),
        "Account": maybe(Text(low=1, high=64)),
        "StorageClass": maybe(Text(_STORAGE_CLASSES)),
        "AccessControlTranslation": maybe(Shape({"Owner": one(Text(("Destination",)))})),
        "EncryptionConfiguration": maybe(Shape({"ReplicaKmsKeyID": maybe(Text(low=1, high=2048))})),
        "ReplicationTime": maybe(Shape({"Status": one(_STATUS), "Time": one(_MINUTES)})),
        "Metrics": maybe(Shape({"Status": one(_STATUS), "EventThreshold": maybe(_MINUTES)})),
    }
)
_RULE: Final = Shape(
    {
        "ID": maybe(Text(high=255)),
        "Priority": maybe(Whole()),
        "Prefix": maybe(_PREFIX),
        "Filter": maybe(_FILTER),
        "Status": one(_STATUS),
        "SourceSelectionCriteria": maybe(
            Shape({"SseKmsEncryptedObjects": maybe(_SWITCH), "ReplicaModifications": maybe(_SWITCH)})
        ),
        "ExistingObjectReplication": maybe(_SWITCH),
        "Destination": one(_DESTINATION),
        "DeleteMarkerReplication": maybe(Shape({"Status": maybe(_STATUS)})),
    },
    one_of=("Prefix", "Filter"),
)
_SHAPE: Final = Shape({"Role": one(Text(low=1, high=2048)), "Rule": some(_RULE)})
_BUCKET_ARN: Final = re.compile(r"arn:[\w-]+:s3:::[A-Za-z0-9][A-Za-z0-9._-]{1,253}")
_ROLE_ARN: Final = re.compile(r"arn:[\w-]+:iam::\w*:role/.+")


def parse_replication(body: bytes, versioning: str) -> bytes:
    """The canonical document. ``versioning``: the bucket's state, which must be Enabled."""
    document = parse_document(body, ROOT)
    check_shape(document, _SHAPE)
    rules = find_all(document, "Rule")
    _check_rules(rules)
    if not _ROLE_ARN.fullmatch(find_text(document, "Role")):
        raise InvalidArgument("Invalid Role specified in replication configuration")
    check_versioned(versioning)
    if any(find_text(rule, "Status") == "Enabled" for rule in rules):
        raise S3NotImplemented(
            "Replication to another bucket is not implemented: every bucket of a realm is replicated to all its sites"
        )
    return render_shape(document, _SHAPE).encode()


def describe_realm(bucket: str) -> bytes:
    """The canonical document that says of a bucket what is so without being asked: all of it is replicated, deletions
    included, to the same bucket on every site of the realm. Told where no rules were put.
    """
    return (
        f"<{ROOT}><Role>arn:aws:iam::000000000000:role/skerry-realm</Role><Rule><ID>skerry-realm</ID>"
        "<Priority>1</Priority>"
        "<Filter><Prefix></Prefix></Filter><Status>Enabled</Status>"
        f"<Destination><Bucket>arn:aws:s3:::{bucket}</Bucket></Destination>"
        f"<DeleteMarkerReplication><Status>Enabled</Status></DeleteMarkerReplication></Rule></{ROOT}>"
    ).encode()


def check_versioned(versioning: str) -> None:
    """``InvalidRequest`` unless a bucket's versioning is Enabled."""
    if versioning != "Enabled":
        raise InvalidRequest("Versioning must be 'Enabled' on the bucket to apply a replication configuration")


def _check_rules(rules: list[Element]) -> None:
    if len(rules) > RULES_MAX:
        raise InvalidRequest(f"The number of replication rules must not exceed the allowed limit of {RULES_MAX} rules.")
    idents = [ident for rule in rules if (ident := find_text(rule, "ID"))]
    if len(set(idents)) != len(idents):
        raise InvalidArgument("Rule Id must be unique. Found same Id for more than one rule")
    priorities = [find_text(rule, "Priority") for rule in rules if find_all(rule, "Filter")]
    if len(set(priorities)) != len(priorities):
        raise InvalidArgument("Found duplicate priority; priorities of rules must be unique")
    for rule in rules:
        if not find_all(rule, "Filter") and not find_all(rule, "Prefix"):
            raise MalformedXML
        if find_all(rule, "Filter") and not (find_text(rule, "Priority") and find_all(rule, "DeleteMarkerReplication")):
            raise InvalidRequest("Priority and DeleteMarkerReplication must be specified in this version of the schema")
        if not _BUCKET_ARN.fullmatch(find_text(rule, "Destination", "Bucket")):
            raise InvalidArgument("Invalid bucket ARN", ArgumentName="Bucket")
        if find_text(rule, "Destination", "AccessControlTranslation", "Owner") and not find_text(
            rule, "Destination", "Account"
        ):
            raise InvalidArgument("Account must be specified along with Owner")
