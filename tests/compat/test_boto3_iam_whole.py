"""IAM's views of the whole: everything of an account at once, and what policies would say."""

from __future__ import annotations

from gateway.identity import groups, managed_policies, roles
from tests.compat.aws_clients import allow, document, trust

READ_ONLY = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
EVERYTHING = "arn:aws:s3:::b/*"


def test_everything_of_an_account(iam, name, refused):
    iam.create_user(UserName=name, Path="/p/", PermissionsBoundary=READ_ONLY, Tags=[{"Key": "a", "Value": "b"}])
    iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document(allow("s3:*")))
    iam.create_group(GroupName=name)
    iam.add_user_to_group(GroupName=name, UserName=name)
    made = iam.create_policy(PolicyName=name, PolicyDocument=document(allow("s3:Get*")))["Policy"]["Arn"]
    iam.create_policy_version(PolicyArn=made, PolicyDocument=document(allow("s3:List*")))
    iam.attach_group_policy(GroupName=name, PolicyArn=made)
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust({"AWS": "*"})))
    iam.attach_role_policy(RoleName=name, PolicyArn=READ_ONLY)
    pages = list(iam.get_paginator("get_account_authorization_details").paginate(PaginationConfig={"PageSize": 2}))
    assert all(sum(map(len, (p[k] for k in p if k.endswith(("List", "Policies"))))) <= 2 for p in pages)

    def find(listed: str, key: str, wanted: str):
        return next(one for page in pages for one in page[listed] if one[key] == wanted)

    user = find("UserDetailList", "UserName", name)
    assert (user["GroupList"], user["Path"], user["Tags"]) == ([name], "/p/", [{"Key": "a", "Value": "b"}])
    assert user["PermissionsBoundary"]["PermissionsBoundaryArn"] == READ_ONLY
    assert [one["PolicyName"] for one in user["UserPolicyList"]] == ["own"]
    assert user["UserPolicyList"][0]["PolicyDocument"]["Statement"][0]["Action"] == "s3:*"
    group = find("GroupDetailList", "GroupName", name)
    assert group["AttachedManagedPolicies"] == [{"PolicyName": name, "PolicyArn": made}]
    role = find("RoleDetailList", "RoleName", name)
    assert role["AttachedManagedPolicies"][0]["PolicyArn"] == READ_ONLY
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Action"] == "sts:AssumeRole"
    policy = find("Policies", "Arn", made)
    assert (policy["AttachmentCount"], len(policy["PolicyVersionList"])) == (1, 2)
    assert find("Policies", "Arn", READ_ONLY)["PermissionsBoundaryUsageCount"] >= 1
    only = iam.get_account_authorization_details(Filter=["Group"])
    assert (only["UserDetailList"], only["Policies"]) == ([], [])
    refused("ValidationError", 400, iam.get_account_authorization_details, Filter=["Nothing"])


def decisions(answer) -> dict[str, str]:
    return {one["EvalActionName"]: one["EvalDecision"] for one in answer["EvaluationResults"]}


def test_what_policies_would_say(iam, name, refused):
    deny = {"Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "*"}
    when = allow("s3:GetObject", EVERYTHING, Condition={"StringEquals": {"s3:ExistingObjectTag/a": "b"}})
    text = document(allow("s3:PutObject", EVERYTHING), deny, when)
    ask = {"PolicyInputList": [text], "ResourceArns": ["arn:aws:s3:::b/k"]}
    actions = ["s3:PutObject", "s3:DeleteObject", "s3:GetObject", "s3:ListBucket"]
    answer = iam.simulate_custom_policy(**ask, ActionNames=actions)
    assert list(decisions(answer).values()) == ["allowed", "explicitDeny", "implicitDeny", "implicitDeny"]
    assert answer["EvaluationResults"][2]["MissingContextValues"] == ["s3:existingobjecttag/a"]
    context = [{"ContextKeyName": "s3:ExistingObjectTag/a", "ContextKeyType": "string", "ContextKeyValues": ["b"]}]
    answer = iam.simulate_custom_policy(**ask, ActionNames=["s3:GetObject"], ContextEntries=context)
    assert decisions(answer) == {"s3:GetObject": "allowed"}
    assert iam.get_context_keys_for_custom_policy(PolicyInputList=[text])["ContextKeyNames"] == [
        "s3:existingobjecttag/a"
    ]
    arn = iam.create_user(UserName=name, PermissionsBoundary=READ_ONLY)["User"]["Arn"]
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=text)
    answer = iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=["s3:PutObject"])
    assert decisions(answer) == {"s3:PutObject": "implicitDeny"}
    within = answer["EvaluationResults"][0]["PermissionsBoundaryDecisionDetail"]
    assert within == {"AllowedByPermissionsBoundary": False}
    assert iam.get_context_keys_for_principal_policy(PolicySourceArn=arn)["ContextKeyNames"]
    refused("NoSuchEntity", 404, iam.simulate_principal_policy, PolicySourceArn=arn + "x", ActionNames=actions)
    refused("InvalidInput", 400, iam.simulate_custom_policy, PolicyInputList=[text], ActionNames=["GetObject"])
    broken = {"PolicyInputList": ["{"], "ActionNames": actions}
    refused("MalformedPolicyDocument", 400, iam.simulate_custom_policy, **broken)
    long = document(allow(["s3:GetObject"] * 2000))
    many = {"PolicyInputList": [long], "ActionNames": ["s3:PutObject"] * 100}
    refused("LimitExceeded", 409, iam.simulate_custom_policy, **many)


def test_an_account_has_so_many_groups_roles_and_policies(iam, name, refused, monkeypatch):
    summary = iam.get_account_summary()["SummaryMap"]
    assert (summary["GroupsQuota"], summary["RolesQuota"], summary["PoliciesQuota"]) == (300, 1000, 1500)
    iam.create_group(GroupName=name)
    everyone = document(trust({"AWS": "*"}))
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=everyone)
    iam.create_policy(PolicyName=name, PolicyDocument=document(allow("*")))
    for module, limit in ((groups, "GROUPS_MAX"), (roles, "ROLES_MAX"), (managed_policies, "POLICIES_MAX")):
        monkeypatch.setattr(module, limit, 1)
    more = f"{name}-more"
    refused("LimitExceeded", 409, iam.create_group, GroupName=more)
    refused("LimitExceeded", 409, iam.create_role, RoleName=more, AssumeRolePolicyDocument=everyone)
    refused("LimitExceeded", 409, iam.create_policy, PolicyName=more, PolicyDocument=document(allow("*")))


def test_nobody_has_a_password(iam, name, refused):
    iam.create_user(UserName=name)
    refused("NoSuchEntity", 404, iam.delete_login_profile, UserName=name)
    refused("NoSuchEntity", 404, iam.get_account_password_policy)
