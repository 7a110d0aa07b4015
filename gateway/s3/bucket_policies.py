"""What a policy must be besides well-formed to be a bucket's: about this bucket, of S3's actions, of known keys. Pure.

Whether its principals exist is asked where users are known. Source: Amazon S3 User Guide, "Bucket policies for Amazon
S3"; Service Authorization Reference for the condition keys; messages as S3 answers them.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.s3.errors import MalformedPolicy
from gateway.s3.policy_actions import ON_BUCKETS, ON_OBJECTS
from gateway.s3.policy_document import Policy, Statement, parse_policy
from gateway.s3.policy_patterns import match_pattern

POLICY_BYTES_MAX: Final = 20 << 10
_ARN: Final = "arn:aws:s3:::"
_S3_KEYS: Final = frozenset(
    {
        *("s3:prefix", "s3:delimiter", "s3:max-keys", "s3:versionid", "s3:locationconstraint", "s3:signatureversion"),
        *("s3:authtype", "s3:signatureage", "s3:tlsversion", "s3:resourceaccount", "s3:requestobjecttagkeys"),
        *("s3:object-lock-mode", "s3:object-lock-retain-until-date", "s3:object-lock-remaining-retention-days"),
        *("s3:object-lock-legal-hold", "s3:if-match", "s3:if-none-match", "s3:objectcreationoperation"),
        *("s3:dataaccesspointaccount", "s3:dataaccesspointarn", "s3:accesspointnetworkorigin"),
    }
)
_AMZ_KEYS: Final = frozenset(
    {
        *("acl", "copy-source", "metadata-directive", "content-sha256", "storage-class", "website-redirect-location"),
        *("server-side-encryption", "server-side-encryption-aws-kms-key-id", "object-ownership"),
        *("server-side-encryption-customer-algorithm", "grant-read", "grant-write", "grant-read-acp"),
        *("grant-write-acp", "grant-full-control"),
    }
)
_TAG_KEYS: Final = ("s3:existingobjecttag/", "s3:requestobjecttag/", "s3:buckettag/")
_GLOBAL_KEYS: Final = frozenset(
    {
        *("calledvia", "calledviafirst", "calledvialast", "currenttime", "epochtime", "federatedprovider"),
        *("multifactorauthage", "multifactorauthpresent", "principalaccount", "principalarn", "principalisawsservice"),
        *("principalorgid", "principalorgpaths", "principalservicename", "principalservicenameslist"),
        *("principaltype", "referer", "requestedregion", "resourceaccount", "resourceorgid", "resourceorgpaths"),
        *("securetransport", "sourceaccount", "sourcearn", "sourceidentity", "sourceip", "sourceorgid"),
        *("sourceorgpaths", "sourceowner", "sourcevpc", "sourcevpce", "sourcevpcarn", "tagkeys", "tokenissuetime"),
        *("useragent", "userid", "username", "viaawsservice", "vpcsourceip", "ec2instancesourcevpc"),
        *("ec2instancesourceprivateipv4", "assumedroot", "chatbotsourcearn", "isMcpServiceAction".lower()),
    }
)
_GLOBAL_TAG_KEYS: Final = ("aws:principaltag/", "aws:requesttag/", "aws:resourcetag/")
_OTHER_SERVICES: Final = re.compile(r"(?!s3:|aws:)[a-z0-9.-]+[:/].+")


def parse_bucket_policy(body: bytes, bucket: str) -> Policy:
    """The policy in ``body`` if it may be that of ``bucket``; ``MalformedPolicy`` with AWS's words otherwise."""
    if len(body) > POLICY_BYTES_MAX:
        raise MalformedPolicy("Policy exceeds the maximum allowed document size.")
    policy = parse_policy(body)
    for statement in policy.statements:
        _check_actions(statement)
        _check_resources(statement, bucket)
        for condition in statement.conditions:
            if not _is_known_key(condition.key):
                raise MalformedPolicy("Policy has an invalid condition key", Detail=condition.key)
    return policy


def _check_actions(statement: Statement) -> None:
    for action in statement.actions:
        if action == "*" or (action.startswith("s3:") and _applies(action, ON_OBJECTS | ON_BUCKETS)):
            continue
        raise MalformedPolicy("Policy has invalid action", Detail=action)


def _applies(pattern: str, actions: frozenset[str]) -> bool:
    return any(match_pattern(pattern, action) for action in actions)


def _check_resources(statement: Statement, bucket: str) -> None:
    """Every resource is this bucket or in it, and the actions apply to at least one."""
    if statement.not_resources:
        kinds = {ON_OBJECTS, ON_BUCKETS}
        valid = all(resource.startswith(_ARN) or resource == "*" for resource in statement.resources)
    else:
        found = [_kinds_of(resource, bucket) for resource in statement.resources]
        valid = all(found)
        kinds = {kind for kinds in found for kind in kinds}
    if not valid:
        raise MalformedPolicy("Policy has invalid resource", Detail=next(iter(statement.resources)))
    if statement.not_actions:
        return
    for action in statement.actions:
        if not any(_applies(action, kind) for kind in kinds):
            raise MalformedPolicy("Action does not apply to any resource(s) in statement")


def _kinds_of(resource: str, bucket: str) -> tuple[frozenset[str], ...]:
    """What a resource of this bucket's can be: the bucket, its objects, or either. Empty: it is no such resource."""
    if resource == "*" or resource == f"{_ARN}*":
        return ON_OBJECTS, ON_BUCKETS
    if not resource.startswith(_ARN):
        return ()
    name, slash, _ = resource[len(_ARN) :].partition("/")
    if slash:
        return (ON_OBJECTS,) if match_pattern(name, bucket) else ()
    if "*" in name or "?" in name:  # "bucket*" also means "bucket/key"
        return (ON_OBJECTS, ON_BUCKETS) if match_pattern(name, bucket) or name.startswith(f"{bucket}*") else ()
    return (ON_BUCKETS,) if name == bucket else ()


def _is_known_key(key: str) -> bool:
    if key.startswith("s3:x-amz-"):
        return key.removeprefix("s3:x-amz-") in _AMZ_KEYS
    if key.startswith("aws:"):
        return key.removeprefix("aws:") in _GLOBAL_KEYS or key.startswith(_GLOBAL_TAG_KEYS)
    return key in _S3_KEYS or key.startswith(_TAG_KEYS) or _OTHER_SERVICES.fullmatch(key) is not None
