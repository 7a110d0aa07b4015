"""What somebody with an account of their own tries against others, and a user against its account. Each was a hole."""

import hashlib
from base64 import b64encode

import pytest

from gateway.http.access_logs import _without_signature
from gateway.http.issuer_keys import is_public_address
from gateway.operations.kms_keys import list_keys
from tests.compat.access_clients import allow, make_bucket, policy_of
from tests.compat.aws_clients import trust
from tests.compat.oidc_issuer import Issuer


@pytest.fixture
def user(connect):
    """A user who may do everything in S3, as far as its own policy goes; deleted with its key."""
    iam = connect("iam")
    iam.create_user(UserName="mallory")
    key = iam.create_access_key(UserName="mallory")["AccessKey"]
    everything = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    iam.put_user_policy(UserName="mallory", PolicyName="p", PolicyDocument=policy_of(everything))
    yield connect("s3", key)
    iam.delete_user_policy(UserName="mallory", PolicyName="p")
    iam.delete_access_key(UserName="mallory", AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName="mallory")


def test_making_a_bucket_again_is_no_way_round_its_policy(s3, user, account, refused):
    s3.create_bucket(Bucket="made-again", ObjectOwnership="ObjectWriter")
    s3.delete_public_access_block(Bucket="made-again")
    s3.put_bucket_acl(Bucket="made-again", ACL="public-read")
    denial = allow("made-again", "s3:PutBucketAcl", {"AWS": f"arn:aws:iam::{account}:user/mallory"}, "")
    s3.put_bucket_policy(Bucket="made-again", Policy=policy_of({**denial, "Effect": "Deny"}))
    refused("AccessDenied", 403, user.put_bucket_acl, Bucket="made-again", ACL="private")
    refused("AccessDenied", 403, user.create_bucket, Bucket="made-again")
    refused("AccessDenied", 403, user.create_bucket, Bucket="made-again", ACL="public-read-write")
    assert len(s3.get_bucket_acl(Bucket="made-again")["Grants"]) == 2
    s3.create_bucket(Bucket="made-again")
    assert len(s3.get_bucket_acl(Bucket="made-again")["Grants"]) == 1


@pytest.mark.parametrize(
    "more",
    [
        {"path": "/${aws:PrincipalAccount}/*"},
        {"Condition": {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::${aws:PrincipalAccount}:user/*"}}},
        {"Condition": {"ArnEquals": {"aws:PrincipalArn": "${aws:PrincipalArn}"}}},
        {"Condition": {"StringEquals": {"aws:PrincipalAccount": "${s3:ResourceAccount}"}}},
    ],
)
def test_denials_with_variables_hold(s3, user, account, bucket, refused, more):
    s3.put_object(Bucket=bucket, Key=f"{account}/k", Body=b"x")
    denial = {**allow(bucket, "s3:GetObject", **more), "Effect": "Deny"}
    s3.put_bucket_policy(Bucket=bucket, Policy=policy_of(denial))
    refused("AccessDenied", 403, user.get_object, Bucket=bucket, Key=f"{account}/k")


def test_older_sessions_are_revoked_as_aws_has_it(connect, account, refused):
    iam = connect("iam")
    iam.create_role(RoleName="revoked", AssumeRolePolicyDocument=policy_of(trust({"AWS": account})))
    everything = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    older = {"DateLessThan": {"aws:TokenIssueTime": "2099-01-01T00:00:00Z"}}
    denial = {**everything, "Effect": "Deny", "Action": "*", "Condition": older}
    iam.put_role_policy(RoleName="revoked", PolicyName="may", PolicyDocument=policy_of(everything))
    arn = f"arn:aws:iam::{account}:role/revoked"
    session = connect("sts").assume_role(RoleArn=arn, RoleSessionName="older")["Credentials"]
    connect("s3", session).list_buckets()
    iam.put_role_policy(RoleName="revoked", PolicyName="AWSRevokeOlderSessions", PolicyDocument=policy_of(denial))
    refused("AccessDenied", 403, connect("s3", session).list_buckets)


def test_a_policy_for_anybodys_user_of_a_name_is_public(ann, refused):
    blocked = make_bucket(ann, public=False)
    named = allow(blocked, "s3:GetObject", Condition={"StringEquals": {"aws:username": "bob"}})
    refused("AccessDenied", 403, ann.s3.put_bucket_policy, Bucket=blocked, Policy=policy_of(named))
    unique = allow(blocked, "s3:GetObject", Condition={"StringEquals": {"aws:userid": "AIDAEXAMPLE"}})
    ann.s3.put_bucket_policy(Bucket=blocked, Policy=policy_of(unique))


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_tenant_makes_the_site_ask_its_own_network(connect, ann, refused, tmp_path, scheme):
    credentials = ann.s3._request_signer._credentials
    key = {"AccessKeyId": credentials.access_key, "SecretAccessKey": credentials.secret_key}
    iam = connect("iam", key)
    with Issuer(tls=tmp_path if scheme == "https" else None) as issuer:
        provider = iam.create_open_id_connect_provider(
            Url=issuer.url, ClientIDList=["app"], ThumbprintList=[issuer.thumbprint or "a" * 40]
        )["OpenIDConnectProviderArn"]
        trusted = trust({"Federated": provider}, "sts:AssumeRoleWithWebIdentity")
        role = iam.create_role(RoleName=f"web-{scheme}", AssumeRolePolicyDocument=policy_of(trusted))["Role"]["Arn"]
        asked = {"RoleArn": role, "RoleSessionName": "web-1", "WebIdentityToken": issuer.token()}
        sts = connect("sts", signed=False)
        refused("IDPCommunicationError", 400, sts.assume_role_with_web_identity, **asked)
        assert issuer.requests == []


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "169.254.169.254", "192.168.0.1", "0.0.0.0", "224.0.0.1", "100.64.0.1"),
        *("::1", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "::", "2130706433", "127.1", ""),
    ],
)
def test_what_is_no_address_of_the_internet(address):
    assert not is_public_address(address)
    assert is_public_address("1.1.1.1")
    assert is_public_address("2606:4700:4700::1111")


@pytest.mark.parametrize("fact", ["s3:VersionId", "s3:ExistingObjectTag/keep"])
def test_denials_of_deleting_one_version_hold(ann, bob, refused, fact):
    kept = make_bucket(ann)
    ann.s3.put_bucket_versioning(Bucket=kept, VersioningConfiguration={"Status": "Enabled"})
    version = ann.s3.put_object(Bucket=kept, Key="k", Body=b"1", Tagging="keep=yes")["VersionId"]
    ann.s3.put_object(Bucket=kept, Key="k", Body=b"2")
    may = allow(kept, "s3:DeleteObjectVersion", {"AWS": bob.id})
    wanted = version if fact == "s3:VersionId" else "yes"
    denial = {**may, "Effect": "Deny", "Condition": {"StringEquals": {fact: wanted}}}
    ann.s3.put_bucket_policy(Bucket=kept, Policy=policy_of(may, denial))
    refused("AccessDenied", 403, bob.s3.delete_object, Bucket=kept, Key="k", VersionId=version)
    listed = {"Objects": [{"Key": "k", "VersionId": version}]}
    assert [one["Code"] for one in bob.s3.delete_objects(Bucket=kept, Delete=listed)["Errors"]] == ["AccessDenied"]
    ann.s3.get_object(Bucket=kept, Key="k", VersionId=version)["Body"].read()


def test_logs_are_no_way_to_write_where_one_may_not(connect, s3, user, bucket, refused):
    s3.create_bucket(Bucket="no-logs-here")
    denied = {"Effect": "Deny", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::no-logs-here/*"}
    iam = connect("iam")
    iam.put_user_policy(UserName="mallory", PolicyName="q", PolicyDocument=policy_of(denied))
    target = {"LoggingEnabled": {"TargetBucket": "no-logs-here", "TargetPrefix": "p/"}}
    refused("AccessDenied", 403, user.put_bucket_logging, Bucket=bucket, BucketLoggingStatus=target)
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus=target)
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
    iam.delete_user_policy(UserName="mallory", PolicyName="q")
    s3.delete_bucket(Bucket="no-logs-here")


def test_parts_under_a_customers_key_tell_nothing_of_their_plaintext(s3, bucket, refused):
    key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"k" * 32}
    upload = {
        "Bucket": bucket,
        "Key": "m",
        "UploadId": s3.create_multipart_upload(Bucket=bucket, Key="m", ChecksumAlgorithm="SHA256", **key)["UploadId"],
    }
    s3.upload_part(**upload, PartNumber=1, Body=b"secret", ChecksumAlgorithm="SHA256", **key)
    assert "ChecksumSHA256" not in s3.list_parts(**upload)["Parts"][0]
    assert "ChecksumSHA256" in s3.list_parts(**upload, **_spelled_out(b"k" * 32))["Parts"][0]
    refused("InvalidRequest", 400, s3.list_parts, **upload, **_spelled_out(b"x" * 32))


def _spelled_out(key):
    """A customer's key as boto3 wants it for ListParts, where it does not encode it itself."""
    text, md5 = b64encode(key).decode(), b64encode(hashlib.md5(key, usedforsecurity=False).digest()).decode()
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": text, "SSECustomerKeyMD5": md5}


def test_who_may_only_write_learns_nothing_by_appending(ann, bob, refused):
    secrets = make_bucket(ann)
    ann.s3.put_object(Bucket=secrets, Key="k", Body=b"secret", ChecksumAlgorithm="CRC32")
    ann.s3.put_bucket_policy(Bucket=secrets, Policy=policy_of(allow(secrets, "s3:PutObject", {"AWS": bob.id})))
    for offset in (6, 7):  # the right one, and one that would be told to be wrong
        refused("AccessDenied", 403, bob.s3.put_object, Bucket=secrets, Key="k", Body=b"!", WriteOffsetBytes=offset)
    bob.s3.put_object(Bucket=secrets, Key="new", Body=b"!", WriteOffsetBytes=0)


def test_nobody_uses_or_makes_kms_keys(server, ann, nobody, refused):
    public = make_bucket(ann)
    ann.s3.put_bucket_policy(Bucket=public, Policy=policy_of(allow(public, ["s3:PutObject", "s3:GetObject"])))
    ann.s3.put_object(Bucket=public, Key="k", Body=b"x", ServerSideEncryption="aws:kms")
    refused("InvalidArgument", 400, nobody.get_object, Bucket=public, Key="k")
    asked = {"Bucket": public, "Key": "n", "Body": b"x", "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "nobodys"}
    refused("InvalidArgument", 400, nobody.put_object, **asked)
    asked.pop("Body")
    refused("InvalidArgument", 400, nobody.create_multipart_upload, **asked)

    async def names():
        with server.store.view() as view:
            return [key.name for key in list_keys(view)]

    assert "nobodys" not in server.call(names)


def test_no_secret_of_a_presigned_url_is_logged():
    secrets = ["X-Amz-Signature", "x-amz-security-token", "Signature", "X%2DAmz-Signature"]
    secrets += ["x-amz-server-side-encryption-customer-key"]
    for name in secrets:
        assert _without_signature(f"/b/k?a=1&{name}=secret&b") == "/b/k?a=1&b"
