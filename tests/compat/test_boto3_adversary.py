"""What somebody with an account of their own tries against others, and a user against its account. Each was a hole."""

import pytest

from gateway.http.issuer_keys import is_public_address
from tests.compat.access_clients import allow, make_bucket, policy_of
from tests.compat.aws_clients import connecting, trust
from tests.compat.oidc_issuer import Issuer


@pytest.fixture
def connect(server):
    with connecting(server) as connect:
        yield connect


@pytest.fixture
def account(connect):
    return connect("sts").get_caller_identity()["Account"]


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
