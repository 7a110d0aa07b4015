"""What limits identities: permissions boundaries, session policies beside bucket policies; and tags of sessions."""

from __future__ import annotations

from typing import Any

import pytest

from tests.compat.aws_clients import allow, document, trust
from tests.compat.oidc_issuer import Issuer

FULL_S3 = "arn:aws:iam::aws:policy/AmazonS3FullAccess"
READ_ONLY = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"


@pytest.fixture
def key(iam, name):
    """The key of a user of the test's name, who may do everything with S3 and STS."""
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=document(allow(["s3:*", "sts:*"])))
    return iam.create_access_key(UserName=name)["AccessKey"]


def make_role(iam, name, *statements, policy=FULL_S3, **more) -> str:
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(*statements), **more)["Role"]["Arn"]
    iam.attach_role_policy(RoleName=name, PolicyArn=policy)
    return made


def by_policy(bucket: str, principal: Any, action: Any = "s3:PutObject", **more: Any) -> str:
    return document({**allow(action, f"arn:aws:s3:::{bucket}/*"), "Principal": principal, **more})


# permissions boundaries


def test_a_boundary_limits_what_a_users_policies_allow(iam, connect, name, key, s3, bucket, refused):
    user = connect("s3", key)
    user.put_object(Bucket=bucket, Key="k", Body=b"x")
    iam.put_user_permissions_boundary(UserName=name, PermissionsBoundary=READ_ONLY)
    shown = iam.get_user(UserName=name)["User"]["PermissionsBoundary"]
    assert shown == {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": READ_ONLY}
    assert user.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    refused("AccessDenied", 403, user.put_object, Bucket=bucket, Key="k", Body=b"y")
    refused("AccessDenied", 403, user.create_bucket, Bucket=f"{bucket}-more")
    session = connect("sts", key)
    refused("AccessDenied", 403, session.get_federation_token, Name="fed")
    token = connect("s3", session.get_session_token()["Credentials"])
    refused("AccessDenied", 403, token.put_object, Bucket=bucket, Key="k", Body=b"y")
    s3.put_bucket_policy(Bucket=bucket, Policy=by_policy(bucket, {"AWS": iam.get_user(UserName=name)["User"]["Arn"]}))
    user.put_object(Bucket=bucket, Key="k", Body=b"y")  # a resource's policy that names the user is not limited
    s3.delete_bucket_policy(Bucket=bucket)
    iam.delete_user_permissions_boundary(UserName=name)
    assert "PermissionsBoundary" not in iam.get_user(UserName=name)["User"]
    user.put_object(Bucket=bucket, Key="k", Body=b"z")
    iam.delete_user_permissions_boundary(UserName=name)


def test_what_a_boundary_denies_stays_denied(iam, connect, name, key, s3, bucket, refused):
    deny = {"Effect": "Deny", "Action": "s3:GetObject", "Resource": "*"}
    text = document(allow("*"), deny)
    arn = iam.create_policy(PolicyName=name, PolicyDocument=text)["Policy"]["Arn"]
    iam.put_user_permissions_boundary(UserName=name, PermissionsBoundary=arn)
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    statement = by_policy(bucket, {"AWS": iam.get_user(UserName=name)["User"]["Arn"]}, "s3:GetObject")
    s3.put_bucket_policy(Bucket=bucket, Policy=statement)
    refused("AccessDenied", 403, connect("s3", key).get_object, Bucket=bucket, Key="k")
    assert iam.get_policy(PolicyArn=arn)["Policy"]["PermissionsBoundaryUsageCount"] == 1
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 0
    found = iam.list_entities_for_policy(PolicyArn=arn, PolicyUsageFilter="PermissionsBoundary")
    assert [user["UserName"] for user in found["PolicyUsers"]] == [name]
    found = iam.list_entities_for_policy(PolicyArn=arn, PolicyUsageFilter="PermissionsPolicy")
    assert found["PolicyUsers"] == []
    listed = iam.list_policies(Scope="Local", PolicyUsageFilter="PermissionsBoundary")["Policies"]
    assert arn in [policy["Arn"] for policy in listed]
    refused("DeleteConflict", 409, iam.delete_policy, PolicyArn=arn)
    iam.delete_user_permissions_boundary(UserName=name)
    iam.delete_policy(PolicyArn=arn)


def test_a_boundary_limits_a_role_and_what_names_the_role(iam, connect, account, name, key, s3, bucket, refused):
    everyone = trust({"AWS": account})
    arn = make_role(iam, name, everyone, PermissionsBoundary=READ_ONLY)
    assert iam.get_role(RoleName=name)["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == READ_ONLY
    asked = connect("sts", key).assume_role(RoleArn=arn, RoleSessionName="run")
    acting = connect("s3", asked["Credentials"])
    acting.list_objects_v2(Bucket=bucket)
    put = {"Bucket": bucket, "Key": "k", "Body": b""}
    refused("AccessDenied", 403, acting.put_object, **put)
    s3.put_bucket_policy(Bucket=bucket, Policy=by_policy(bucket, {"AWS": arn}))
    refused("AccessDenied", 403, acting.put_object, **put)
    s3.put_bucket_policy(Bucket=bucket, Policy=by_policy(bucket, {"AWS": asked["AssumedRoleUser"]["Arn"]}))
    acting.put_object(**put)
    s3.delete_bucket_policy(Bucket=bucket)
    iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=FULL_S3)
    acting.put_object(**put)
    iam.delete_role_permissions_boundary(RoleName=name)
    assert "PermissionsBoundary" not in iam.get_role(RoleName=name)["Role"]


def test_who_may_make_users_only_within_a_boundary(iam, connect, name, key, refused):
    within = {"StringEquals": {"iam:PermissionsBoundary": READ_ONLY}}
    text = document(allow(["iam:CreateUser", "iam:PutUserPolicy"], Condition=within))
    iam.put_user_policy(UserName=name, PolicyName="makes", PolicyDocument=text)
    user = connect("iam", key)
    made = f"{name}-made"
    refused("AccessDenied", 403, user.create_user, UserName=made)
    refused("AccessDenied", 403, user.create_user, UserName=made, PermissionsBoundary=FULL_S3)
    shown = user.create_user(UserName=made, PermissionsBoundary=READ_ONLY)["User"]
    assert shown["PermissionsBoundary"]["PermissionsBoundaryArn"] == READ_ONLY
    user.put_user_policy(UserName=made, PolicyName="p", PolicyDocument=document(allow("s3:*")))
    refused("AccessDenied", 403, user.put_user_policy, UserName=name, PolicyName="p", PolicyDocument=text)
    refused("AccessDenied", 403, user.delete_user_permissions_boundary, UserName=made)


def test_boundaries_that_are_none(iam, account, name, key, refused):
    put = iam.put_user_permissions_boundary
    refused("NoSuchEntity", 404, put, UserName=name, PermissionsBoundary=f"arn:aws:iam::{account}:policy/absent")
    refused("NoSuchEntity", 404, put, UserName=f"{name}-absent", PermissionsBoundary=READ_ONLY)
    refused("ValidationError", 400, put, UserName=name, PermissionsBoundary="not-an-arn-at-all-anyway")
    gone = iam.create_policy(PolicyName=name, PolicyDocument=document(allow("*")))["Policy"]["Arn"]
    missing = {"UserName": f"{name}-2", "PermissionsBoundary": gone + "-absent"}
    refused("NoSuchEntity", 404, iam.create_user, **missing)
    refused("NoSuchEntity", 404, iam.get_user, UserName=f"{name}-2")


# session policies beside bucket policies


def test_a_session_policy_limits_its_role_but_not_what_names_the_session(
    iam, connect, account, name, key, s3, bucket, refused
):
    arn = make_role(iam, name, trust({"AWS": account}), policy=READ_ONLY)
    narrow = document(allow("s3:GetObject"))
    asked = connect("sts", key).assume_role(RoleArn=arn, RoleSessionName="run", Policy=narrow)
    acting = connect("s3", asked["Credentials"])
    put = {"Bucket": bucket, "Key": "k", "Body": b""}
    for principal, allowed in ((arn, False), (asked["AssumedRoleUser"]["Arn"], True)):
        s3.put_bucket_policy(Bucket=bucket, Policy=by_policy(bucket, {"AWS": principal}))
        if allowed:
            acting.put_object(**put)
        else:
            refused("AccessDenied", 403, acting.put_object, **put)
    wide = document(allow(["s3:GetObject", "s3:PutObject"]))
    both = connect("sts", key).assume_role(RoleArn=arn, RoleSessionName="two", Policy=wide)
    s3.put_bucket_policy(Bucket=bucket, Policy=by_policy(bucket, {"AWS": arn}))
    connect("s3", both["Credentials"]).put_object(**put)  # what is allowed to the role adds to its policies


# tags of sessions


def test_tags_of_a_session_are_its_principals(iam, connect, account, name, key, s3, bucket, refused):
    tagged = {
        "StringEquals": {"aws:RequestTag/team": ["blue", "red"]},
        "ForAllValues:StringEqualsIgnoreCase": {"aws:TagKeys": ["team", "cost"]},
    }
    who = {"AWS": account}
    arn = make_role(iam, name, trust(who), trust(who, "sts:TagSession", Condition=tagged), policy=READ_ONLY)
    own = allow("s3:PutObject", f"arn:aws:s3:::{bucket}/${{aws:PrincipalTag/team}}/*")
    iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document(own))
    iam.tag_role(RoleName=name, Tags=[{"Key": "team", "Value": "green"}])
    sts = connect("sts", key)
    ask = {"RoleArn": arn, "RoleSessionName": "run"}
    blue = sts.assume_role(**ask, Tags=[{"Key": "Team", "Value": "blue"}])
    assert blue["PackedPolicySize"] >= 0
    acting = connect("s3", blue["Credentials"])
    acting.put_object(Bucket=bucket, Key="blue/k", Body=b"")
    refused("AccessDenied", 403, acting.put_object, Bucket=bucket, Key="green/k", Body=b"")
    connect("s3", sts.assume_role(**ask)["Credentials"]).put_object(Bucket=bucket, Key="green/k", Body=b"")
    refused("AccessDenied", 403, sts.assume_role, **ask, Tags=[{"Key": "team", "Value": "gold"}])
    other = [{"Key": "team", "Value": "blue"}, {"Key": "more", "Value": ""}]
    refused("AccessDenied", 403, sts.assume_role, **ask, Tags=other)
    twice = [{"Key": "team", "Value": "blue"}, {"Key": "TEAM", "Value": "red"}]
    for wrong in (twice, [{"Key": "aws:x", "Value": ""}], [{"Key": "a;b", "Value": ""}]):
        refused("ValidationError", 400, sts.assume_role, **ask, Tags=wrong)


def test_transitive_tags_and_source_identity_go_on(iam, connect, account, name, key, bucket, refused):
    actions = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
    first = make_role(iam, f"{name}-1", trust({"AWS": account}, actions), policy=READ_ONLY)
    iam.put_role_policy(RoleName=f"{name}-1", PolicyName="p", PolicyDocument=document(allow("sts:*")))
    condition = {"StringEquals": {"aws:PrincipalTag/team": "blue", "aws:SourceIdentity": "ann"}}
    second = make_role(iam, f"{name}-2", trust({"AWS": first}, actions, Condition=condition), policy=READ_ONLY)
    own = allow("s3:PutObject", f"arn:aws:s3:::{bucket}/${{aws:SourceIdentity}}-${{aws:PrincipalTag/team}}/*")
    iam.put_role_policy(RoleName=f"{name}-2", PolicyName="own", PolicyDocument=document(own))
    ask = {"RoleSessionName": "run", "Tags": [{"Key": "team", "Value": "blue"}, {"Key": "cost", "Value": "1"}]}
    wrong = {**ask, "RoleArn": first, "TransitiveTagKeys": ["other"]}
    refused("ValidationError", 400, connect("sts", key).assume_role, **wrong)
    asked = connect("sts", key).assume_role(RoleArn=first, **ask, TransitiveTagKeys=["Team"], SourceIdentity="ann")
    assert asked["SourceIdentity"] == "ann"
    sts = connect("sts", asked["Credentials"])
    again = {"RoleArn": second, "RoleSessionName": "run"}
    refused("ValidationError", 400, sts.assume_role, **again, Tags=[{"Key": "team", "Value": "red"}])
    refused("AccessDenied", 403, sts.assume_role, **again, SourceIdentity="bob")
    chained = sts.assume_role(**again)
    assert chained["SourceIdentity"] == "ann"
    acting = connect("s3", chained["Credentials"])
    acting.put_object(Bucket=bucket, Key="ann-blue/k", Body=b"")
    refused("AccessDenied", 403, acting.put_object, Bucket=bucket, Key="ann-red/k", Body=b"")


def test_tags_of_users_roles_and_requests_in_iam(iam, connect, name, key, refused):
    condition = {"StringEquals": {"aws:RequestTag/team": "${aws:PrincipalTag/team}"}}
    mine = {"StringEquals": {"iam:ResourceTag/team": "${aws:PrincipalTag/team}"}}
    text = document(allow("iam:CreateUser", Condition=condition), allow("iam:DeleteUser", Condition=mine))
    iam.put_user_policy(UserName=name, PolicyName="makes", PolicyDocument=text)
    iam.tag_user(UserName=name, Tags=[{"Key": "team", "Value": "blue"}])
    user, made = connect("iam", key), f"{name}-made"
    refused("AccessDenied", 403, user.create_user, UserName=made)
    refused("AccessDenied", 403, user.create_user, UserName=made, Tags=[{"Key": "team", "Value": "red"}])
    user.create_user(UserName=made, Tags=[{"Key": "team", "Value": "blue"}])
    iam.create_user(UserName=f"{made}-2", Tags=[{"Key": "team", "Value": "red"}])
    refused("AccessDenied", 403, user.delete_user, UserName=f"{made}-2")
    user.delete_user(UserName=made)


def test_federated_users_have_tags(connect, iam, name, key, bucket, refused):
    policy = document(allow("s3:PutObject", f"arn:aws:s3:::{bucket}/${{aws:PrincipalTag/team}}/*"))
    made = connect("sts", key).get_federation_token(Name="fed", Policy=policy, Tags=[{"Key": "team", "Value": "blue"}])
    acting = connect("s3", made["Credentials"])
    acting.put_object(Bucket=bucket, Key="blue/k", Body=b"")
    refused("AccessDenied", 403, acting.put_object, Bucket=bucket, Key="red/k", Body=b"")


@pytest.mark.parametrize("nested", [True, False])
def test_an_id_token_brings_tags(connect, iam, name, bucket, refused, nested):
    claim = "https://aws.amazon.com/tags"
    tags: dict[str, Any] = (
        {claim: {"principal_tags": {"team": ["blue"]}, "transitive_tag_keys": ["team"]}}
        if nested
        else {f"{claim}/principal_tags/team": "blue"}
    )
    with Issuer() as issuer:
        made = iam.create_open_id_connect_provider(Url=issuer.url, ClientIDList=["app"])
        provider = {"Federated": made["OpenIDConnectProviderArn"]}
        arn = make_role(iam, name, trust(provider, "sts:AssumeRoleWithWebIdentity"), policy=READ_ONLY)
        own = allow("s3:PutObject", f"arn:aws:s3:::{bucket}/${{aws:PrincipalTag/team}}/*")
        iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document(own))
        sts = connect("sts", signed=False)
        ask = {"RoleArn": arn, "RoleSessionName": "run", "WebIdentityToken": issuer.token(**tags)}
        refused("AccessDenied", 403, sts.assume_role_with_web_identity, **ask)
        both = document(trust(provider, ["sts:AssumeRoleWithWebIdentity", "sts:TagSession"]))
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=both)
        acting = connect("s3", sts.assume_role_with_web_identity(**ask)["Credentials"])
        acting.put_object(Bucket=bucket, Key="blue/k", Body=b"")
        refused("AccessDenied", 403, acting.put_object, Bucket=bucket, Key="red/k", Body=b"")
        for wrong in ({claim: 5}, {claim: {"principal_tags": {"team": [1]}}}, {claim: {"transitive_tag_keys": "x"}}):
            ask["WebIdentityToken"] = issuer.token(**wrong)
            refused("InvalidIdentityToken", 400, sts.assume_role_with_web_identity, **ask)


# tags of buckets


def test_conditions_ask_for_a_buckets_tags_where_it_lets_them(iam, connect, name, s3, bucket, refused):
    iam.create_user(UserName=name, Tags=[{"Key": "team", "Value": "blue"}])
    user = connect("s3", iam.create_access_key(UserName=name)["AccessKey"])
    mine = {"StringEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/team}", "s3:BucketTag/Team": "blue"}}
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document(allow("s3:*", Condition=mine)))
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "team", "Value": "blue"}]})
    assert s3.get_bucket_abac(Bucket=bucket)["AbacStatus"] == {"Status": "Disabled"}
    refused("AccessDenied", 403, user.list_objects_v2, Bucket=bucket)
    s3.put_bucket_abac(Bucket=bucket, AbacStatus={"Status": "Enabled"})
    assert s3.get_bucket_abac(Bucket=bucket)["AbacStatus"] == {"Status": "Enabled"}
    user.list_objects_v2(Bucket=bucket)
    user.put_object(Bucket=bucket, Key="k", Body=b"", Tagging="team=red")
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "team", "Value": "red"}]})
    refused("AccessDenied", 403, user.list_objects_v2, Bucket=bucket)
    refused("MalformedXML", 400, s3.put_bucket_abac, Bucket=bucket, AbacStatus={"Status": "On"})
    either = {"StringEquals": {"s3:ResourceTag/team": "red"}}
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document(allow("s3:*", Condition=either)))
    user.get_object(Bucket=bucket, Key="k")
    user.list_objects_v2(Bucket=bucket)
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "team", "Value": "blue"}]})
    refused("AccessDenied", 403, user.get_object, Bucket=bucket, Key="k")


# names that are given again


def test_a_user_made_anew_gets_nothing_of_the_old_ones(iam, connect, account, name, s3, bucket, refused):
    def make() -> tuple[str, Any]:
        arn = iam.create_user(UserName=name)["User"]["Arn"]
        return arn, iam.create_access_key(UserName=name)["AccessKey"]

    arn, first = make()
    text = by_policy(bucket, {"AWS": [arn, account]}, "s3:PutObject", Sid="x")
    s3.put_bucket_policy(Bucket=bucket, Policy=text)
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust({"AWS": arn})))["Role"]["Arn"]
    put, ask = {"Bucket": bucket, "Key": "k", "Body": b""}, {"RoleArn": role, "RoleSessionName": "run"}
    connect("s3", first).put_object(**put)
    connect("sts", first).assume_role(**ask)
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == text
    iam.update_user(UserName=name, NewUserName=f"{name}-renamed")
    connect("s3", first).put_object(**put)
    connect("sts", first).assume_role(**ask)
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == text.replace(arn, f"{arn}-renamed")
    _, second = make()
    refused("AccessDenied", 403, connect("s3", second).put_object, **put)
    refused("AccessDenied", 403, connect("sts", second).assume_role, **ask)
    gone = iam.get_user(UserName=f"{name}-renamed")["User"]["UserId"]
    iam.delete_access_key(UserName=f"{name}-renamed", AccessKeyId=first["AccessKeyId"])
    iam.delete_user(UserName=f"{name}-renamed")
    shown = s3.get_bucket_policy(Bucket=bucket)["Policy"]
    assert shown == text.replace(arn, gone)
    refused("MalformedPolicy", 400, s3.put_bucket_policy, Bucket=bucket, Policy=shown)
    s3.put_bucket_policy(Bucket=bucket, Policy=text)  # put again, the name means who has it now
    connect("s3", second).put_object(**put)
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=document(trust({"AWS": arn})))
    connect("sts", second).assume_role(**ask)
    s3.delete_bucket_policy(Bucket=bucket)
    refused("NoSuchBucketPolicy", 404, s3.get_bucket_policy, Bucket=bucket)


def test_a_role_made_anew_gets_nothing_of_the_old_ones(iam, connect, account, name, key, s3, bucket, refused):
    put, ask = {"Bucket": bucket, "Key": "k", "Body": b""}, {"RoleSessionName": "run"}
    text = trust({"AWS": account})
    arn = make_role(iam, name, text, policy=READ_ONLY)
    s3.put_bucket_policy(Bucket=bucket, Policy=by_policy(bucket, {"AWS": arn}))
    sts = connect("sts", key)
    connect("s3", sts.assume_role(RoleArn=arn, **ask)["Credentials"]).put_object(**put)
    iam.detach_role_policy(RoleName=name, PolicyArn=READ_ONLY)
    iam.delete_role(RoleName=name)
    assert make_role(iam, name, text, policy=READ_ONLY) == arn
    again = connect("s3", sts.assume_role(RoleArn=arn, **ask)["Credentials"])
    refused("AccessDenied", 403, again.put_object, **put)
