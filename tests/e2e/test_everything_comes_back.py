"""One of everything S3 keeps, on one site; another site of the realm shows the same, and so does one restored.

Not only data and versions: tags, ACLs, locks, every document of a bucket, users with their keys, groups, roles and
policies, and objects under SSE-C and SSE-KMS keys. What a site tells of itself is taken through the S3 and IAM APIs
(``describe``), so the comparison is what applications would see.
"""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.support.clouds import TestCloud
from tests.support.net import wait_until
from tests.support.site import CloudSettings, Site

pytestmark = pytest.mark.e2e
CUSTOMER_KEY = bytes(range(32))
UNTIL = datetime.datetime(2090, 1, 1, tzinfo=datetime.UTC)
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
BUCKET_READS = (
    "get_bucket_acl",
    "get_bucket_cors",
    "get_bucket_encryption",
    "get_bucket_lifecycle_configuration",
    "get_bucket_logging",
    "get_bucket_notification_configuration",
    "get_bucket_ownership_controls",
    "get_bucket_policy",
    "get_bucket_policy_status",
    "get_bucket_request_payment",
    "get_bucket_tagging",
    "get_bucket_versioning",
    "get_bucket_website",
    "get_object_lock_configuration",
    "get_public_access_block",
)
OBJECT_READS = ("get_object_acl", "get_object_tagging", "get_object_retention", "get_object_legal_hold")


def iam(site: Site) -> Any:
    return boto3.client(
        "iam",
        endpoint_url=site.endpoint,
        aws_access_key_id=site.access_key,
        aws_secret_access_key=site.secret_key,
        region_name="us-east-1",
    )


def make_one_of_everything(site: Site) -> None:
    s3 = site.client()
    s3.create_bucket(Bucket="all", ObjectOwnership="ObjectWriter")
    s3.delete_public_access_block(Bucket="all")
    s3.put_bucket_acl(Bucket="all", ACL="public-read")
    s3.put_bucket_tagging(Bucket="all", Tagging={"TagSet": [{"Key": "team", "Value": "pier"}]})
    rule = {"AllowedMethods": ["GET"], "AllowedOrigins": ["https://a.example"]}
    s3.put_bucket_cors(Bucket="all", CORSConfiguration={"CORSRules": [rule]})
    s3.put_bucket_website(Bucket="all", WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}})
    allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::all/open/*"}
    s3.put_bucket_policy(Bucket="all", Policy=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
    expire = {"ID": "tidy", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 3000}}
    s3.put_bucket_lifecycle_configuration(Bucket="all", LifecycleConfiguration={"Rules": [expire]})
    s3.put_bucket_request_payment(Bucket="all", RequestPaymentConfiguration={"Payer": "BucketOwner"})
    s3.put_object(Bucket="all", Key="tagged", Body=b"first", Tagging="a=1&b=2", ACL="authenticated-read")
    s3.put_object_tagging(Bucket="all", Key="tagged", Tagging={"TagSet": [{"Key": "later", "Value": "3"}]})
    s3.put_object(Bucket="all", Key="kms", Body=b"k" * 100_000, ServerSideEncryption="aws:kms", SSEKMSKeyId="pier-key")
    s3.put_object(
        Bucket="all", Key="own", Body=b"c" * 100_000, SSECustomerAlgorithm="AES256", SSECustomerKey=CUSTOMER_KEY
    )
    s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    default = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 300}}}
    s3.put_object_lock_configuration(Bucket="locked", ObjectLockConfiguration=default)
    s3.put_object(Bucket="locked", Key="by-default", Body=b"1")
    kept = s3.put_object(Bucket="locked", Key="kept", Body=b"2", ObjectLockLegalHoldStatus="ON")
    s3.put_object_retention(
        Bucket="locked",
        Key="kept",
        VersionId=kept["VersionId"],
        Retention={"Mode": "COMPLIANCE", "RetainUntilDate": UNTIL},
        BypassGovernanceRetention=True,
    )
    identities = iam(site)
    identities.create_user(UserName="bosun")
    identities.put_user_policy(UserName="bosun", PolicyName="all", PolicyDocument=json.dumps(EVERYTHING))
    identities.create_group(GroupName="crew")
    identities.put_group_policy(GroupName="crew", PolicyName="all", PolicyDocument=json.dumps(EVERYTHING))
    identities.add_user_to_group(GroupName="crew", UserName="bosun")
    identities.create_policy(PolicyName="managed", PolicyDocument=json.dumps(EVERYTHING))
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    identities.create_role(RoleName="pilot", AssumeRolePolicyDocument=document)
    identities.put_role_policy(RoleName="pilot", PolicyName="all", PolicyDocument=json.dumps(EVERYTHING))


def ask(call: Callable[..., Any], **arguments: Any) -> Any:
    """An answer without what differs between two requests; an error by its code."""
    try:
        answer = call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    answer.pop("ResponseMetadata")
    return answer


def describe(site: Site) -> dict[str, Any]:
    """What a site shows of everything that was made."""
    s3, identities = site.client(), iam(site)
    told: dict[str, Any] = {}
    for bucket in ("all", "locked"):
        told |= {f"{bucket} {name}": ask(getattr(s3, name), Bucket=bucket) for name in BUCKET_READS}
        for version in s3.list_object_versions(Bucket=bucket).get("Versions", []):
            place = {"Bucket": bucket, "Key": version["Key"], "VersionId": version["VersionId"]}
            told |= {f"{bucket} {version['Key']} {name}": ask(getattr(s3, name), **place) for name in OBJECT_READS}
            own = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": CUSTOMER_KEY} if version["Key"] == "own" else {}
            told[f"{bucket} {version['Key']} head"] = ask(s3.head_object, **place, **own)
            told[f"{bucket} {version['Key']} head"].pop("ReplicationStatus", None)
            answer = s3.get_object(**place, **own)
            with answer["Body"] as body:
                told[f"{bucket} {version['Key']} body"] = body.read()
    told["users"] = identities.list_users()["Users"]
    told["user policy"] = ask(identities.get_user_policy, UserName="bosun", PolicyName="all")
    told["groups"] = ask(identities.list_groups_for_user, UserName="bosun")
    told["role"] = ask(identities.get_role, RoleName="pilot")
    told["policies"] = ask(identities.list_policies, Scope="Local")
    return told


def test_another_site_and_a_restored_one_show_everything(cloud: TestCloud, tmp_path: Path) -> None:
    bucket = cloud.create_bucket("everything")
    line = CloudSettings(cloud.endpoint, bucket, cloud.access_key, cloud.secret_key)
    with Site(tmp_path / "a", "a", line) as first:
        make_one_of_everything(first)
        expected = describe(first)
        key = tmp_path / "realm.key"
        shutil.copyfile(first.data / "keys" / "realm.key", key)
        key.chmod(0o600)
        wait_until(lambda: first.status()["backlog_changes"] == 0, "everything is shipped", 60)
        realm = {"realm": {"key_file": str(key)}}
        with Site(tmp_path / "b", "b", line, settings=realm) as second:
            wait_until(lambda: "locked" in names(second), "the other site has heard", 60)
            wait_until(lambda: describe(second) == expected, "the other site shows the same", 60)
    third = Site(tmp_path / "c", "c", line, settings=realm)
    third.run("restore")
    with third:
        shown = describe(third)
        assert {name: value for name, value in shown.items() if expected.get(name) != value} == {}
        assert shown.keys() == expected.keys()


def names(site: Site) -> list[str]:
    return [bucket["Name"] for bucket in site.client().list_buckets()["Buckets"]]
