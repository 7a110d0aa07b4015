"""IAM as boto3 drives it: users, keys, groups, roles, policies; what they allow in S3; what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.compat.aws_clients import allow, document, trust

READ_ONLY = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
FULL_S3 = "arn:aws:iam::aws:policy/AmazonS3FullAccess"


@pytest.fixture
def user(iam, name):
    iam.create_user(UserName=name)
    return name


@pytest.fixture
def key(iam, user):
    return iam.create_access_key(UserName=user)["AccessKey"]


# users


def test_a_user_is_made_found_renamed_and_deleted(iam, account, name, refused):
    made = iam.create_user(UserName=name, Path="/ops/", Tags=[{"Key": "team", "Value": "x y"}])["User"]
    assert made["Arn"] == f"arn:aws:iam::{account}:user/ops/{name}"
    assert made["UserId"].startswith("AIDA")
    assert made["Tags"] == [{"Key": "team", "Value": "x y"}]
    assert iam.get_user(UserName=name)["User"] == made
    refused("EntityAlreadyExists", 409, iam.create_user, UserName=name.upper())
    iam.update_user(UserName=name, NewUserName=name + "2", NewPath="/")
    refused("NoSuchEntity", 404, iam.get_user, UserName=name)
    renamed = iam.get_user(UserName=name + "2")["User"]
    assert (renamed["UserId"], renamed["Path"]) == (made["UserId"], "/")
    iam.delete_user(UserName=name + "2")
    refused("NoSuchEntity", 404, iam.delete_user, UserName=name + "2")


def test_users_are_listed_by_path_in_pages(iam):
    names = sorted(f"paged-{number}" for number in range(7))
    for one in names:
        iam.create_user(UserName=one, Path="/paged/")
    pages = list(iam.get_paginator("list_users").paginate(PathPrefix="/paged/", PaginationConfig={"PageSize": 3}))
    assert [user["UserName"] for page in pages for user in page["Users"]] == names
    assert [page["IsTruncated"] for page in pages] == [True, True, False]
    assert iam.list_users(PathPrefix="/nobody/")["Users"] == []


def test_the_caller_is_the_user_that_is_not_named(iam, connect, account, user, key, refused):
    own = connect("iam", key)
    refused("AccessDenied", 403, own.get_user)
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=document(allow("iam:GetUser")))
    assert own.get_user()["User"]["UserName"] == user
    assert iam.get_user()["User"]["Arn"] == f"arn:aws:iam::{account}:root"


@pytest.mark.parametrize(
    "arguments",
    [
        {"UserName": "sp ace"},
        {"UserName": "x" * 65},
        {"UserName": "ok", "Path": "no-slash"},
        {"UserName": "ok", "Path": "/a b/"},
        {"UserName": "ok", "Tags": [{"Key": "", "Value": "v"}]},
    ],
)
def test_names_and_paths_are_checked(connect, refused, arguments):
    refused("ValidationError", 400, connect("iam", parameter_validation=False).create_user, **arguments)


def test_a_user_with_anything_left_is_not_deleted(iam, user, refused):
    def conflict():
        refused("DeleteConflict", 409, iam.delete_user, UserName=user)

    key = iam.create_access_key(UserName=user)["AccessKey"]
    conflict()
    iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=document(allow("s3:*")))
    conflict()
    iam.delete_user_policy(UserName=user, PolicyName="p")
    iam.attach_user_policy(UserName=user, PolicyArn=READ_ONLY)
    conflict()
    iam.detach_user_policy(UserName=user, PolicyArn=READ_ONLY)
    group = user + "-group"
    iam.create_group(GroupName=group)
    iam.add_user_to_group(GroupName=group, UserName=user)
    conflict()
    iam.remove_user_from_group(GroupName=group, UserName=user)
    iam.delete_user(UserName=user)


def test_tags_are_set_replaced_and_taken_away(iam, user, refused):
    iam.tag_user(UserName=user, Tags=[{"Key": "A", "Value": "1"}, {"Key": "b", "Value": "2"}])
    iam.tag_user(UserName=user, Tags=[{"Key": "a", "Value": "3"}])
    tags = {tag["Key"]: tag["Value"] for tag in iam.list_user_tags(UserName=user)["Tags"]}
    assert tags == {"a": "3", "b": "2"}
    iam.untag_user(UserName=user, TagKeys=["A"])
    assert [tag["Key"] for tag in iam.list_user_tags(UserName=user)["Tags"]] == ["b"]
    refused("InvalidInput", 400, iam.tag_user, UserName=user, Tags=[{"Key": "aws:x", "Value": ""}])
    many = [{"Key": f"k{number}", "Value": ""} for number in range(50)]
    refused("LimitExceeded", 409, iam.tag_user, UserName=user, Tags=many)


# keys


def test_keys_work_until_they_are_inactive_or_gone(iam, connect, user, key, bucket, refused):
    iam.attach_user_policy(UserName=user, PolicyArn=READ_ONLY)
    s3 = connect("s3", key)
    assert bucket in [found["Name"] for found in s3.list_buckets()["Buckets"]]
    iam.update_access_key(UserName=user, AccessKeyId=key["AccessKeyId"], Status="Inactive")
    assert iam.list_access_keys(UserName=user)["AccessKeyMetadata"][0]["Status"] == "Inactive"
    refused("InvalidAccessKeyId", 403, s3.list_buckets)
    refused("InvalidClientTokenId", 403, connect("sts", key).get_caller_identity)
    iam.update_access_key(UserName=user, AccessKeyId=key["AccessKeyId"], Status="Active")
    s3.list_buckets()
    iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])
    refused("InvalidAccessKeyId", 403, s3.list_buckets)


def test_a_user_has_two_keys_and_nobody_elses(iam, user, key, refused):
    iam.create_access_key(UserName=user)
    refused("LimitExceeded", 409, iam.create_access_key, UserName=user)
    other = user + "-other"
    iam.create_user(UserName=other)
    refused("NoSuchEntity", 404, iam.delete_access_key, UserName=other, AccessKeyId=key["AccessKeyId"])
    refused("NotImplemented", 501, iam.get_access_key_last_used, AccessKeyId=key["AccessKeyId"])


def test_an_account_user_makes_no_keys_for_the_account_itself(iam, connect, user, key, refused):
    iam.attach_user_policy(UserName=user, PolicyArn="arn:aws:iam::aws:policy/IAMFullAccess")
    administrator = connect("iam", key)
    administrator.list_users()
    refused("NoSuchEntity", 404, administrator.create_access_key, UserName="root")
    refused("NoSuchEntity", 404, administrator.list_access_keys, UserName="root")
    assert "root" not in [found["UserName"] for found in administrator.list_users()["Users"]]


# what policies allow in S3


def test_a_user_may_nothing_but_what_policies_allow(iam, connect, s3, bucket, user, key, refused):
    own = connect("s3", key)
    refused("AccessDenied", 403, own.put_object, Bucket=bucket, Key="a", Body=b"x")
    refused("AccessDenied", 403, own.list_buckets)
    refused("AccessDenied", 403, own.create_bucket, Bucket=bucket + "-2")
    statements = [allow(["s3:GetObject", "s3:PutObject"], f"arn:aws:s3:::{bucket}/home/${{aws:username}}/*")]
    iam.put_user_policy(UserName=user, PolicyName="home", PolicyDocument=document(*statements))
    own.put_object(Bucket=bucket, Key=f"home/{user}/a", Body=b"x")
    refused("AccessDenied", 403, own.put_object, Bucket=bucket, Key="home/other/a", Body=b"x")
    refused("AccessDenied", 403, own.delete_object, Bucket=bucket, Key=f"home/{user}/a")
    statements.append({"Effect": "Deny", "Action": "s3:GetObject", "Resource": "*"})
    iam.put_user_policy(UserName=user, PolicyName="home", PolicyDocument=document(*statements))
    refused("AccessDenied", 403, own.get_object, Bucket=bucket, Key=f"home/{user}/a")
    iam.delete_user_policy(UserName=user, PolicyName="home")
    refused("AccessDenied", 403, own.put_object, Bucket=bucket, Key=f"home/{user}/a", Body=b"x")


def test_what_a_user_makes_is_the_accounts(iam, connect, s3, user, key, name):
    iam.attach_user_policy(UserName=user, PolicyArn=FULL_S3)
    own = connect("s3", key)
    own.create_bucket(Bucket=f"made-by-{user}")
    assert f"made-by-{user}" in [found["Name"] for found in s3.list_buckets()["Buckets"]]
    assert own.list_buckets()["Owner"] == s3.list_buckets()["Owner"]
    own.put_object(Bucket=f"made-by-{user}", Key="k", Body=b"x")
    assert s3.get_object(Bucket=f"made-by-{user}", Key="k")["Body"].read() == b"x"


def test_other_accounts_are_out_of_reach(server, connect, other, iam, user, refused, bucket):
    stranger = connect("iam", {"AccessKeyId": "AKIAOTHEROTHEROTHERX", "SecretAccessKey": OTHER})
    assert stranger.list_users()["Users"] == []
    refused("NoSuchEntity", 404, stranger.get_user, UserName=user)
    stranger.create_user(UserName=user)  # names are an account's own
    key = stranger.create_access_key(UserName=user)["AccessKey"]
    stranger.attach_user_policy(UserName=user, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    refused("AccessDenied", 403, connect("s3", key).list_objects_v2, Bucket=bucket)
    assert user not in [found["UserName"] for found in connect("iam", key).list_users(PathPrefix="/x/")["Users"]]
    stranger.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])


OTHER = "other-secret-other-secret-other-secret-x"


def test_groups_give_what_they_have_to_who_is_in_them(iam, connect, user, key, bucket, name, refused):
    group = f"group-{name}"
    made = iam.create_group(GroupName=group, Path="/g/")["Group"]
    refused("EntityAlreadyExists", 409, iam.create_group, GroupName=group)
    own = connect("s3", key)
    iam.put_group_policy(GroupName=group, PolicyName="r", PolicyDocument=document(allow("s3:ListBucket")))
    refused("AccessDenied", 403, own.list_objects_v2, Bucket=bucket)
    iam.add_user_to_group(GroupName=group, UserName=user)
    own.list_objects_v2(Bucket=bucket)
    assert iam.list_groups_for_user(UserName=user)["Groups"] == [made]
    assert [found["UserName"] for found in iam.get_group(GroupName=group)["Users"]] == [user]
    assert made in iam.list_groups(PathPrefix="/g/")["Groups"]
    iam.attach_group_policy(GroupName=group, PolicyArn=FULL_S3)
    own.put_object(Bucket=bucket, Key="by-group", Body=b"")
    refused("DeleteConflict", 409, iam.delete_group, GroupName=group)
    iam.remove_user_from_group(GroupName=group, UserName=user)
    refused("AccessDenied", 403, own.list_objects_v2, Bucket=bucket)
    refused("NoSuchEntity", 404, iam.remove_user_from_group, GroupName=group, UserName=user)
    refused("DeleteConflict", 409, iam.delete_group, GroupName=group)
    iam.detach_group_policy(GroupName=group, PolicyArn=FULL_S3)
    iam.update_group(GroupName=group, NewGroupName=group + "x")
    assert iam.list_group_policies(GroupName=group + "x")["PolicyNames"] == ["r"]
    iam.delete_group_policy(GroupName=group + "x", PolicyName="r")
    iam.delete_group(GroupName=group + "x")
    refused("NoSuchEntity", 404, iam.get_group, GroupName=group + "x")


# policies


@pytest.mark.parametrize("kind", ["user", "group", "role"])
def test_inline_and_attached_policies_of_every_kind(iam, name, kind, refused):
    word = kind.capitalize()
    if kind == "role":
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust({"AWS": "*"})))
    else:
        getattr(iam, f"create_{kind}")(**{f"{word}Name": name})
    who: dict[str, Any] = {f"{word}Name": name}
    put, get = getattr(iam, f"put_{kind}_policy"), getattr(iam, f"get_{kind}_policy")
    text = document(allow("s3:GetObject", "arn:aws:s3:::b/ü&<>*"))
    put(**who, PolicyName="one", PolicyDocument=text)
    put(**who, PolicyName="two", PolicyDocument=document(allow("s3:*")))
    assert get(**who, PolicyName="one")["PolicyDocument"] == json.loads(text)
    names = getattr(iam, f"list_{kind}_policies")
    assert names(**who)["PolicyNames"] == ["one", "two"]
    assert names(**who, MaxItems=1)["IsTruncated"] is True
    for wrong in ("{", "[]", "{}", document({**allow("s3:*"), "Principal": "*"}), document(allow("s3")), "x"):
        refused("MalformedPolicyDocument", 400, put, **who, PolicyName="bad", PolicyDocument=wrong)
    long = document(*[allow("s3:GetObject", f"arn:aws:s3:::{'x' * 60}{number}/*") for number in range(100)])
    refused("LimitExceeded", 409, put, **who, PolicyName="long", PolicyDocument=long)
    getattr(iam, f"delete_{kind}_policy")(**who, PolicyName="one")
    refused("NoSuchEntity", 404, get, **who, PolicyName="one")
    refused("NoSuchEntity", 404, getattr(iam, f"delete_{kind}_policy"), **who, PolicyName="one")
    attach, attached = getattr(iam, f"attach_{kind}_policy"), getattr(iam, f"list_attached_{kind}_policies")
    attach(**who, PolicyArn=READ_ONLY)
    attach(**who, PolicyArn=READ_ONLY)
    assert attached(**who)["AttachedPolicies"] == [{"PolicyName": "AmazonS3ReadOnlyAccess", "PolicyArn": READ_ONLY}]
    having = iam.list_entities_for_policy(PolicyArn=READ_ONLY)[f"Policy{word}s"]
    assert name in [entity[f"{word}Name"] for entity in having]
    refused("NoSuchEntity", 404, attach, **who, PolicyArn="arn:aws:iam::aws:policy/NoSuchPolicyAtAll")
    getattr(iam, f"detach_{kind}_policy")(**who, PolicyArn=READ_ONLY)
    refused("NoSuchEntity", 404, getattr(iam, f"detach_{kind}_policy"), **who, PolicyArn=READ_ONLY)
    refused("NoSuchEntity", 404, put, **{f"{word}Name": "nobody-" + name}, PolicyName="p", PolicyDocument=text)


def test_managed_policies_have_versions_of_which_one_counts(iam, connect, user, key, bucket, name, refused):
    made = iam.create_policy(
        PolicyName=name, Path="/p/", Description="d", PolicyDocument=document(allow("s3:ListBucket"))
    )["Policy"]
    arn = made["Arn"]
    assert (made["DefaultVersionId"], made["AttachmentCount"]) == ("v1", 0)
    refused("EntityAlreadyExists", 409, iam.create_policy, PolicyName=name, PolicyDocument=document(allow("s3:*")))
    iam.attach_user_policy(UserName=user, PolicyArn=arn)
    own = connect("s3", key)
    own.list_objects_v2(Bucket=bucket)
    second = iam.create_policy_version(PolicyArn=arn, PolicyDocument=document(allow("s3:PutObject")))["PolicyVersion"]
    assert (second["VersionId"], second["IsDefaultVersion"]) == ("v2", False)
    refused("AccessDenied", 403, own.put_object, Bucket=bucket, Key="k", Body=b"")
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v2")
    own.put_object(Bucket=bucket, Key="k", Body=b"")
    refused("AccessDenied", 403, own.list_objects_v2, Bucket=bucket)
    found = iam.get_policy_version(PolicyArn=arn, VersionId="v2")["PolicyVersion"]
    assert found["Document"] == json.loads(document(allow("s3:PutObject")))
    refused("NoSuchEntity", 404, iam.get_policy_version, PolicyArn=arn, VersionId="v9")
    refused("DeleteConflict", 409, iam.delete_policy_version, PolicyArn=arn, VersionId="v2")
    for _ in range(3):
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=document(allow("s3:*")), SetAsDefault=True)
    refused("LimitExceeded", 409, iam.create_policy_version, PolicyArn=arn, PolicyDocument=document(allow("s3:*")))
    versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
    assert [version["VersionId"] for version in versions] == ["v5", "v4", "v3", "v2", "v1"]
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 1
    assert [policy["Arn"] for policy in iam.list_policies(Scope="Local", PathPrefix="/p/")["Policies"]] == [arn]
    refused("DeleteConflict", 409, iam.delete_policy, PolicyArn=arn)
    iam.detach_user_policy(UserName=user, PolicyArn=arn)
    refused("DeleteConflict", 409, iam.delete_policy, PolicyArn=arn)
    for version in ("v1", "v2", "v3", "v4"):
        iam.delete_policy_version(PolicyArn=arn, VersionId=version)
    iam.delete_policy(PolicyArn=arn)
    refused("NoSuchEntity", 404, iam.get_policy, PolicyArn=arn)


def test_policies_of_aws_are_there_and_stay_as_they_are(iam, refused):
    listed = iam.list_policies(Scope="AWS")["Policies"]
    assert {policy["PolicyName"] for policy in listed} >= {
        "AdministratorAccess",
        "AmazonS3FullAccess",
        "ReadOnlyAccess",
    }
    refused("AccessDenied", 403, iam.delete_policy, PolicyArn=READ_ONLY)
    document_ = iam.get_policy_version(PolicyArn=FULL_S3, VersionId="v1")["PolicyVersion"]["Document"]
    assert document_["Statement"][0]["Action"][0] == "s3:*"


# roles


def test_a_role_is_made_changed_and_deleted(iam, account, name, refused):
    text = document(trust({"AWS": f"arn:aws:iam::{account}:root"}))
    made = iam.create_role(RoleName=name, Path="/r/", AssumeRolePolicyDocument=text, Description="d")["Role"]
    assert made["Arn"] == f"arn:aws:iam::{account}:role/r/{name}"
    assert made["AssumeRolePolicyDocument"] == json.loads(text)
    refused("EntityAlreadyExists", 409, iam.create_role, RoleName=name, AssumeRolePolicyDocument=text)
    iam.update_role(RoleName=name, MaxSessionDuration=7200, Description="e")
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=document(trust({"AWS": "*"})))
    iam.tag_role(RoleName=name, Tags=[{"Key": "k", "Value": "v"}])
    found = iam.get_role(RoleName=name)["Role"]
    assert (found["MaxSessionDuration"], found["Description"], found["Tags"]) == (
        7200,
        "e",
        [{"Key": "k", "Value": "v"}],
    )
    assert found["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"AWS": "*"}
    iam.untag_role(RoleName=name, TagKeys=["k"])
    assert iam.list_role_tags(RoleName=name)["Tags"] == []
    assert name in [role["RoleName"] for role in iam.list_roles(PathPrefix="/r/")["Roles"]]
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document(allow("s3:*")))
    refused("DeleteConflict", 409, iam.delete_role, RoleName=name)
    iam.delete_role_policy(RoleName=name, PolicyName="p")
    iam.delete_role(RoleName=name)
    refused("NoSuchEntity", 404, iam.get_role, RoleName=name)


@pytest.mark.parametrize(
    "wrong",
    [
        "{",
        document(allow("sts:AssumeRole")),
        document({**trust({"AWS": "*"}), "Resource": "*"}),
        document(trust({"AWS": "*"}, "s3:GetObject")),
        document({"Effect": "Allow", "Action": "sts:AssumeRole"}),
        '{"Statement": [], "Statement": []}',
    ],
)
def test_trust_policies_are_checked(iam, name, refused, wrong):
    refused("MalformedPolicyDocument", 400, iam.create_role, RoleName=name, AssumeRolePolicyDocument=wrong)


# providers, summary, the door


def test_openid_connect_providers(iam, account, refused):
    url = "https://token.example.com/realms/x"
    made = iam.create_open_id_connect_provider(Url=url, ClientIDList=["a"], ThumbprintList=["A" * 40])
    arn = made["OpenIDConnectProviderArn"]
    assert arn == f"arn:aws:iam::{account}:oidc-provider/token.example.com/realms/x"
    refused("EntityAlreadyExists", 409, iam.create_open_id_connect_provider, Url=url)
    iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="b")
    iam.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="a")
    iam.update_open_id_connect_provider_thumbprint(OpenIDConnectProviderArn=arn, ThumbprintList=["b" * 40])
    found = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert (found["Url"], found["ClientIDList"], found["ThumbprintList"]) == (
        "token.example.com/realms/x",
        ["b"],
        ["b" * 40],
    )
    assert {"Arn": arn} in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    refused("NoSuchEntity", 404, iam.get_open_id_connect_provider, OpenIDConnectProviderArn=arn)
    for wrong in ("ftp://x.example", "https://", "https://x.example/?a=b", "https://u@x.example"):
        refused("ValidationError", 400, iam.create_open_id_connect_provider, Url=wrong)


def test_the_account_is_summed_up(iam, user):
    assert iam.get_account_summary()["SummaryMap"]["Users"] >= 1
    assert iam.list_account_aliases()["AccountAliases"] == []


def test_who_may_administrate_by_policy(iam, connect, account, user, key, name, refused):
    own = connect("iam", key)
    answer = refused("AccessDenied", 403, own.create_user, UserName=name + "-x")
    assert answer["Error"]["Message"] == (
        f"User: arn:aws:iam::{account}:user/{user} is not authorized to perform: iam:CreateUser on resource: "
        f"arn:aws:iam::{account}:user/{name}-x"
    )
    limited = document(allow("iam:*", f"arn:aws:iam::{account}:user/team/*"))
    iam.put_user_policy(UserName=user, PolicyName="team", PolicyDocument=limited)
    own.create_user(UserName=name + "-x", Path="/team/")
    refused("AccessDenied", 403, own.create_user, UserName=name + "-y")
    refused("AccessDenied", 403, own.update_user, UserName=name + "-x", NewPath="/")
    refused("AccessDenied", 403, own.list_roles)
    own.delete_user(UserName=name + "-x")


def test_credentials_that_are_wrong_are_told_so(connect, user, key, refused):
    unknown = connect("iam", {"AccessKeyId": "AKIANOBODYNOBODYXXXX", "SecretAccessKey": "x"})
    refused("InvalidClientTokenId", 403, unknown.list_users)
    wrong = connect("iam", {**key, "SecretAccessKey": "wrong"})
    refused("SignatureDoesNotMatch", 403, wrong.list_users)
    refused("MissingAuthenticationToken", 403, connect("iam", signed=False).list_users)
    refused("InvalidAction", 400, connect("iam").generate_credential_report)


def test_what_there_is_none_of(iam, name, user, refused):
    """What infrastructure tools ask for before they delete something."""
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust({"AWS": "*"})))
    assert iam.list_instance_profiles_for_role(RoleName=name)["InstanceProfiles"] == []
    assert iam.list_mfa_devices(UserName=user)["MFADevices"] == []
    assert iam.list_virtual_mfa_devices()["VirtualMFADevices"] == []
    refused("NoSuchEntity", 404, iam.get_login_profile, UserName=user)
    refused("NoSuchEntity", 404, iam.list_mfa_devices, UserName=user + "-nobody")
