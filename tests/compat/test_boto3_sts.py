"""STS as boto3 drives it: sessions of users and roles, what narrows and what ends them, web identities."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

import pytest

from gateway.identity.sessions import OF_ROLE, PURPOSE, Session, SessionMaker
from tests.compat.aws_clients import allow, document, trust
from tests.compat.oidc_issuer import Issuer, encode
from tests.gateway.http.server import OTHER_KEY, OTHER_SECRET

READ_ONLY = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
FULL_S3 = "arn:aws:iam::aws:policy/AmazonS3FullAccess"


@pytest.fixture
def key(iam, name):
    """A user's key; the user has the test's name."""
    iam.create_user(UserName=name)
    return iam.create_access_key(UserName=name)["AccessKey"]


@pytest.fixture
def role(iam, account, name):
    """A role that the user of the test's name may assume, and that may read S3."""
    text = document(trust({"AWS": f"arn:aws:iam::{account}:user/{name}"}))
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=text)["Role"]
    iam.attach_role_policy(RoleName=name, PolicyArn=READ_ONLY)
    return made["Arn"]


# who am I, sessions of users


def test_everyone_may_ask_who_they_are(connect, account, name, key):
    answer = connect("sts", key).get_caller_identity()
    assert (answer["Account"], answer["Arn"]) == (account, f"arn:aws:iam::{account}:user/{name}")
    assert answer["UserId"].startswith("AIDA")


def test_a_session_token_has_the_rights_of_its_user_but_administrates_nothing(connect, iam, name, key, bucket, refused):
    session = connect("sts", key).get_session_token(DurationSeconds=900)["Credentials"]
    assert session["AccessKeyId"].startswith("ASIA")
    s3 = connect("s3", session)
    refused("AccessDenied", 403, s3.put_object, Bucket=bucket, Key="k", Body=b"x")
    iam.attach_user_policy(UserName=name, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    refused("AccessDenied", 403, connect("iam", session).list_users)
    refused("AccessDenied", 403, connect("sts", session).get_session_token)
    unchecked = connect("sts", key, parameter_validation=False)
    refused("ValidationError", 400, unchecked.get_session_token, DurationSeconds=899)
    iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    refused("InvalidAccessKeyId", 403, s3.list_buckets)


def test_temporary_keys_need_their_token_and_only_theirs(connect, key, bucket, refused):
    sts = connect("sts", key)
    one, other = (sts.get_session_token()["Credentials"] for _ in range(2))
    refused("InvalidAccessKeyId", 403, connect("s3", {**one, "SessionToken": None}).list_buckets)
    refused("InvalidToken", 400, connect("s3", {**one, "SessionToken": other["SessionToken"]}).list_buckets)
    refused("InvalidToken", 400, connect("s3", {**one, "SessionToken": one["SessionToken"][:-4] + "AAA="}).list_buckets)
    refused("InvalidToken", 400, connect("s3", {**one, "SessionToken": "rubbish"}).list_buckets)
    refused("InvalidToken", 400, connect("s3", {**key, "SessionToken": one["SessionToken"]}).list_buckets)
    refused("InvalidClientTokenId", 403, connect("sts", {**one, "SessionToken": "rubbish"}).get_caller_identity)
    wrong = {**one, "SecretAccessKey": other["SecretAccessKey"]}
    refused("SignatureDoesNotMatch", 403, connect("s3", wrong).list_buckets)


def test_presigned_urls_of_a_session(connect, iam, name, key, bucket, s3):
    s3.put_object(Bucket=bucket, Key="k", Body=b"by url")
    iam.attach_user_policy(UserName=name, PolicyArn=READ_ONLY)
    session = connect("sts", key).get_session_token()["Credentials"]
    client = connect("s3", session, signature_version="s3v4")
    url = client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"}, 60)
    assert "X-Amz-Security-Token" in url
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"by url"


def test_an_expired_session_is_told_so(server, connect, name, key, role, refused):
    maker = SessionMaker(server.store.realm_key(PURPOSE))
    credentials = connect("sts", key).assume_role(RoleArn=role, RoleSessionName="s1")["Credentials"]
    session, _ = maker.open(credentials["AccessKeyId"], credentials["SessionToken"])
    past = maker.issue(Session(**{**{f: getattr(session, f) for f in session.__struct_fields__}, "expires_s": 1}))
    expired = {"AccessKeyId": past.access_key, "SecretAccessKey": past.secret, "SessionToken": past.token}
    assert session.kind == OF_ROLE
    refused("ExpiredToken", 400, connect("s3", expired).list_buckets)
    refused("ExpiredToken", 403, connect("sts", expired).get_caller_identity)


# roles


def test_a_role_is_assumed_and_acts_as_itself(connect, account, name, key, role, bucket, refused):
    answer = connect("sts", key).assume_role(RoleArn=role, RoleSessionName="job@1")
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{account}:assumed-role/{name}/job@1"
    left_s = answer["Credentials"]["Expiration"].timestamp() - time.time()
    assert 3500 < left_s <= 3600
    s3 = connect("s3", answer["Credentials"])
    s3.list_objects_v2(Bucket=bucket)
    refused("AccessDenied", 403, s3.put_object, Bucket=bucket, Key="k", Body=b"")
    who = connect("sts", answer["Credentials"]).get_caller_identity()
    assert who["Arn"] == answer["AssumedRoleUser"]["Arn"]
    assert who["UserId"] == answer["AssumedRoleUser"]["AssumedRoleId"]


def test_session_policies_narrow_and_never_widen(connect, iam, name, key, role, s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="a/k", Body=b"")
    s3.put_object(Bucket=bucket, Key="b/k", Body=b"")
    sts = connect("sts", key)
    text = document(allow("s3:*", f"arn:aws:s3:::{bucket}/a/*"))
    answer = sts.assume_role(RoleArn=role, RoleSessionName="s1", Policy=text)
    assert answer["PackedPolicySize"] >= 1
    narrowed = connect("s3", answer["Credentials"])
    narrowed.get_object(Bucket=bucket, Key="a/k")["Body"].read()
    refused("AccessDenied", 403, narrowed.get_object, Bucket=bucket, Key="b/k")
    refused("AccessDenied", 403, narrowed.put_object, Bucket=bucket, Key="a/k", Body=b"")
    iam.attach_role_policy(RoleName=name, PolicyArn=FULL_S3)
    by_arn = sts.assume_role(RoleArn=role, RoleSessionName="s1", PolicyArns=[{"arn": READ_ONLY}])["Credentials"]
    connect("s3", by_arn).get_object(Bucket=bucket, Key="b/k")["Body"].read()
    refused("AccessDenied", 403, connect("s3", by_arn).put_object, Bucket=bucket, Key="b/k", Body=b"")
    refused("MalformedPolicyDocument", 400, sts.assume_role, RoleArn=role, RoleSessionName="s1", Policy="{")
    none = "arn:aws:iam::aws:policy/NoSuchPolicy"
    refused("NoSuchEntity", 404, sts.assume_role, RoleArn=role, RoleSessionName="s1", PolicyArns=[{"arn": none}])
    unpacked = document(*[allow("s3:GetObject", f"arn:aws:s3:::{number:0100}") for number in range(20)])
    refused("PackedPolicyTooLarge", 400, sts.assume_role, RoleArn=role, RoleSessionName="s1", Policy=unpacked)


def test_only_whom_the_trust_policy_names_becomes_a_role(connect, iam, account, name, key, role, refused):
    sts, stranger = connect("sts", key), name + "-other"
    iam.create_user(UserName=stranger)
    strangers = connect("sts", iam.create_access_key(UserName=stranger)["AccessKey"])
    ask: dict[str, Any] = {"RoleArn": role, "RoleSessionName": "s1"}
    sts.assume_role(**ask)
    refused("AccessDenied", 403, strangers.assume_role, **ask)
    # The account is named: then the caller's own policies decide.
    by_account = document(trust({"AWS": f"arn:aws:iam::{account}:root"}))
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=by_account)
    refused("AccessDenied", 403, strangers.assume_role, **ask)
    iam.put_user_policy(UserName=stranger, PolicyName="a", PolicyDocument=document(allow("sts:AssumeRole", role)))
    strangers.assume_role(**ask)
    denied = document(allow("sts:AssumeRole", role), {"Effect": "Deny", "Action": "sts:*", "Resource": "*"})
    iam.put_user_policy(UserName=stranger, PolicyName="a", PolicyDocument=denied)
    refused("AccessDenied", 403, strangers.assume_role, **ask)
    refused("AccessDenied", 403, sts.assume_role, RoleArn=role + "-absent", RoleSessionName="s1")


def test_conditions_of_a_trust_policy(connect, iam, account, name, key, role, refused):
    sts = connect("sts", key)
    who = {"AWS": f"arn:aws:iam::{account}:user/{name}"}
    text = document(trust(who, Condition={"StringEquals": {"sts:ExternalId": "secret-42"}}))
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=text)
    refused("AccessDenied", 403, sts.assume_role, RoleArn=role, RoleSessionName="s1")
    refused("AccessDenied", 403, sts.assume_role, RoleArn=role, RoleSessionName="s1", ExternalId="secret-43")
    sts.assume_role(RoleArn=role, RoleSessionName="s1", ExternalId="secret-42")
    text = document(trust(who, Condition={"StringLike": {"sts:RoleSessionName": "${aws:username}-*"}}))
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=text)
    refused("AccessDenied", 403, sts.assume_role, RoleArn=role, RoleSessionName="other")
    sts.assume_role(RoleArn=role, RoleSessionName=f"{name}-1")


def test_durations_and_names_are_checked(connect, iam, name, key, role, refused):
    sts = connect("sts", key, parameter_validation=False)
    ask = {"RoleArn": role, "RoleSessionName": "s1"}
    refused("ValidationError", 400, sts.assume_role, **ask, DurationSeconds=899)
    refused("ValidationError", 400, sts.assume_role, **ask, DurationSeconds=3601)
    refused("ValidationError", 400, sts.assume_role, **ask, DurationSeconds=43_201)
    refused("ValidationError", 400, sts.assume_role, RoleArn=role, RoleSessionName="a b")
    refused("ValidationError", 400, sts.assume_role, RoleArn=role, RoleSessionName="x")
    refused("ValidationError", 400, sts.assume_role, RoleArn="arn:aws:iam::x:role/y", RoleSessionName="s1")
    refused("ValidationError", 400, sts.assume_role, RoleSessionName="s1")
    iam.update_role(RoleName=name, MaxSessionDuration=7200)
    sts.assume_role(**ask, DurationSeconds=7200)
    refused("NotImplemented", 501, sts.assume_role, **ask, SerialNumber="arn:aws:iam::1:mfa/x", TokenCode="123456")


def test_chained_roles_last_an_hour(connect, iam, account, name, key, role, refused):
    session = connect("sts", key).assume_role(RoleArn=role, RoleSessionName="s1")["Credentials"]
    second = name + "-second"
    made = iam.create_role(
        RoleName=second, AssumeRolePolicyDocument=document(trust({"AWS": role})), MaxSessionDuration=43_200
    )["Role"]["Arn"]
    chained = connect("sts", session)
    chained.assume_role(RoleArn=made, RoleSessionName="s2")
    refused("ValidationError", 400, chained.assume_role, RoleArn=made, RoleSessionName="s2", DurationSeconds=3601)
    refused("AccessDenied", 403, connect("sts", key).assume_role, RoleArn=made, RoleSessionName="s2")


def test_a_session_ends_with_its_role_and_with_its_account(connect, iam, name, key, role, refused):
    text = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    s3 = connect("s3", connect("sts", key).assume_role(RoleArn=role, RoleSessionName="s1")["Credentials"])
    s3.list_buckets()
    iam.detach_role_policy(RoleName=name, PolicyArn=READ_ONLY)
    refused("AccessDenied", 403, s3.list_buckets)
    iam.delete_role(RoleName=name)
    refused("InvalidAccessKeyId", 403, s3.list_buckets)
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(text))  # another of the same name
    iam.attach_role_policy(RoleName=name, PolicyArn=FULL_S3)
    refused("InvalidAccessKeyId", 403, s3.list_buckets)


def test_a_bucket_policy_can_name_a_role_or_one_session(connect, account, name, key, role, s3, bucket, refused):
    sts = connect("sts", key)
    one, other = (
        connect("s3", sts.assume_role(RoleArn=role, RoleSessionName=session)["Credentials"]) for session in ("s1", "s2")
    )
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:sts::{account}:assumed-role/{name}/s1"},
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=document(statement))
    one.put_object(Bucket=bucket, Key="k", Body=b"")
    refused("AccessDenied", 403, other.put_object, Bucket=bucket, Key="k", Body=b"")
    s3.put_bucket_policy(Bucket=bucket, Policy=document({**statement, "Principal": {"AWS": role}}))
    other.put_object(Bucket=bucket, Key="k", Body=b"")


def test_the_account_of_a_key_is_told_to_its_own(connect, account, key, refused):
    sts = connect("sts")
    assert sts.get_access_key_info(AccessKeyId=key["AccessKeyId"])["Account"] == account
    refused("AccessDenied", 403, connect("sts", key).get_access_key_info, AccessKeyId=key["AccessKeyId"])
    refused("ValidationError", 400, sts.get_access_key_info, AccessKeyId=OTHER_KEY)


def test_what_a_session_cannot_have_is_refused(connect, key, role, refused):
    sts = connect("sts", key)
    ask: dict[str, Any] = {"RoleArn": role, "RoleSessionName": "s1"}
    refused("AccessDenied", 403, sts.assume_role, **ask, Tags=[{"Key": "k", "Value": "v"}])  # no sts:TagSession
    refused("AccessDenied", 403, sts.assume_role, **ask, SourceIdentity="me")
    contexts = [{"ProviderArn": "arn:aws:iam::aws:contextProvider/x", "ContextAssertion": "abcd"}]
    refused("NotImplemented", 501, sts.assume_role, **ask, ProvidedContexts=contexts)
    refused("InvalidAction", 400, sts.decode_authorization_message, EncodedMessage="x")


def test_federated_users_may_what_both_sides_allow(connect, iam, account, name, key, s3, bucket, refused):
    sts = connect("sts", key)
    refused("AccessDenied", 403, sts.get_federation_token, Name="fed")
    iam.attach_user_policy(UserName=name, PolicyArn=FULL_S3)
    may = document(allow("sts:GetFederationToken", f"arn:aws:sts::{account}:federated-user/fed"))
    iam.put_user_policy(UserName=name, PolicyName="f", PolicyDocument=may)
    refused("AccessDenied", 403, sts.get_federation_token, Name="other")
    bare = sts.get_federation_token(Name="fed")["Credentials"]
    refused("AccessDenied", 403, connect("s3", bare).list_objects_v2, Bucket=bucket)
    answer = sts.get_federation_token(Name="fed", Policy=document(allow(["s3:ListBucket", "iam:*"])))
    fed = connect("s3", answer["Credentials"])
    fed.list_objects_v2(Bucket=bucket)
    refused("AccessDenied", 403, fed.put_object, Bucket=bucket, Key="k", Body=b"")
    who = connect("sts", answer["Credentials"]).get_caller_identity()
    assert who["Arn"] == answer["FederatedUser"]["Arn"] == f"arn:aws:sts::{account}:federated-user/fed"
    assert who["UserId"] == answer["FederatedUser"]["FederatedUserId"]
    refused("AccessDenied", 403, connect("iam", answer["Credentials"]).list_users)
    refused("AccessDenied", 403, connect("sts", answer["Credentials"]).get_session_token)
    iam.detach_user_policy(UserName=name, PolicyArn=FULL_S3)
    refused("AccessDenied", 403, fed.list_objects_v2, Bucket=bucket)
    of_account = connect("sts").get_federation_token(Name="fed", Policy=document(allow("s3:ListBucket")))["Credentials"]
    connect("s3", of_account).list_objects_v2(Bucket=bucket)
    refused("AccessDenied", 403, connect("s3", of_account).list_buckets)


# web identities


@pytest.fixture(scope="module")
def issuer():
    with Issuer() as running:
        yield running


@pytest.fixture
def web(connect, iam, issuer, name):
    """``web(**claims)``: the arguments of AssumeRoleWithWebIdentity; a role that trusts the issuer's "me"."""
    made = iam.create_open_id_connect_provider(Url=issuer.url, ClientIDList=["app"])
    provider = made["OpenIDConnectProviderArn"]
    host = issuer.url.partition("://")[2]
    text = document(
        trust(
            {"Federated": provider},
            "sts:AssumeRoleWithWebIdentity",
            Condition={"StringEquals": {f"{host}:sub": "me", f"{host}:aud": "app"}},
        )
    )
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=text)["Role"]["Arn"]
    iam.attach_role_policy(RoleName=name, PolicyArn=READ_ONLY)
    yield lambda token: {"RoleArn": role, "RoleSessionName": "web-1", "WebIdentityToken": token}
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=provider)


def test_a_web_identity_becomes_a_role(connect, account, issuer, web, name, bucket, refused):
    sts = connect("sts", signed=False)
    answer = sts.assume_role_with_web_identity(**web(issuer.token()))
    assert answer["SubjectFromWebIdentityToken"] == "me"
    assert answer["Audience"] == "app"
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{account}:assumed-role/{name}/web-1"
    s3 = connect("s3", answer["Credentials"])
    s3.list_objects_v2(Bucket=bucket)
    refused("AccessDenied", 403, s3.put_object, Bucket=bucket, Key="k", Body=b"")
    sts.assume_role_with_web_identity(**web(issuer.token({"alg": "ES256", "kid": "e"})))
    narrowed = sts.assume_role_with_web_identity(**web(issuer.token()), Policy=document(allow("s3:ListAllMyBuckets")))
    refused("AccessDenied", 403, connect("s3", narrowed["Credentials"]).list_objects_v2, Bucket=bucket)


def test_policies_of_a_web_identitys_role_know_who_it_is(connect, iam, issuer, web, name, bucket, refused):
    host = issuer.url.partition("://")[2]
    iam.detach_role_policy(RoleName=name, PolicyArn=READ_ONLY)
    home = document(allow("s3:PutObject", f"arn:aws:s3:::{bucket}/${{{host}:sub}}/*"))
    iam.put_role_policy(RoleName=name, PolicyName="home", PolicyDocument=home)
    answer = connect("sts", signed=False).assume_role_with_web_identity(**web(issuer.token()))
    s3 = connect("s3", answer["Credentials"])
    s3.put_object(Bucket=bucket, Key="me/k", Body=b"")
    refused("AccessDenied", 403, s3.put_object, Bucket=bucket, Key="you/k", Body=b"")


WRONG: dict[str, tuple[str, int, dict[str, Any]]] = {
    "other subject": ("AccessDenied", 403, {"sub": "you"}),
    "other audience": ("InvalidIdentityToken", 400, {"aud": "other"}),
    "other authorized party": ("InvalidIdentityToken", 400, {"azp": "other"}),
    "expired": ("ExpiredTokenException", 400, {"exp": 1}),
    "never expires": ("InvalidIdentityToken", 400, {"exp": None}),
    "expires at infinity": ("InvalidIdentityToken", 400, {"exp": float("inf")}),
    "expires at no number": ("InvalidIdentityToken", 400, {"exp": float("nan")}),
    "not yet valid": ("InvalidIdentityToken", 400, {"nbf": 1 << 40}),
    "no subject": ("InvalidIdentityToken", 400, {"sub": None}),
    "no audience": ("InvalidIdentityToken", 400, {"aud": None}),
    "unknown issuer": ("InvalidIdentityToken", 400, {"iss": "https://elsewhere.example"}),
    "issuer without scheme": ("InvalidIdentityToken", 400, {"iss": "127.0.0.1"}),
    "issuer of another scheme": ("InvalidIdentityToken", 400, {"iss": "https"}),
}


@pytest.mark.parametrize("what", WRONG)
def test_tokens_with_wrong_claims(connect, issuer, web, refused, what):
    code, status, claims = WRONG[what]
    if claims.get("iss") == "https":
        claims = {"iss": issuer.url.replace("http://", "https://")}
    sts = connect("sts", signed=False)
    refused(code, status, sts.assume_role_with_web_identity, **web(issuer.token(**claims)))


def test_tokens_with_wrong_signatures(connect, issuer, web, refused):
    sts = connect("sts", signed=False)
    good = issuer.token()
    head, claims, signature = good.split(".")
    with Issuer() as impostor:
        forged = impostor.token(iss=issuer.url)
    unsigned = f"{encode(json.dumps({'alg': 'none'}).encode())}.{claims}."
    confused = f"{encode(json.dumps({'alg': 'HS256', 'kid': 'r'}).encode())}.{claims}.{signature}"
    crossed = f"{encode(json.dumps({'alg': 'ES256', 'kid': 'r'}).encode())}.{claims}.{signature}"
    changed = f"{head}.{encode(json.dumps({'iss': issuer.url, 'sub': 'me', 'aud': 'app', 'exp': 1 << 40}).encode())}."
    unknown = issuer.token({"alg": "RS256", "kid": "new"})
    critical = issuer.token({"alg": "RS256", "kid": "r", "crit": ["x"]})
    rubbish = ("a.b.c", "....", "rubbish", f"{head}.{encode(b'[]')}.{signature}", f"{good}=", "é" * 10)
    for token in (forged, unsigned, confused, crossed, changed + signature, unknown, critical, *rubbish):
        refused("InvalidIdentityToken", 400, sts.assume_role_with_web_identity, **web(token))


def test_a_trust_policy_for_everyone_lets_no_token_in(connect, iam, issuer, web, name, refused):
    everyone = document(trust("*", "sts:*"), trust({"AWS": "*"}, "sts:AssumeRoleWithWebIdentity"))
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=everyone)
    sts = connect("sts", signed=False)
    refused("AccessDenied", 403, sts.assume_role_with_web_identity, **web(issuer.token()))


def test_keys_are_fetched_once_and_bounded(connect, iam, name, refused):
    with Issuer(path="/realms/one") as issuer:
        arn = iam.create_open_id_connect_provider(Url=issuer.url, ClientIDList=["app"])["OpenIDConnectProviderArn"]
        text = document(trust({"Federated": arn}, "sts:AssumeRoleWithWebIdentity"))
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=text)["Role"]["Arn"]
        sts = connect("sts", signed=False)

        def ask(token):
            return {"RoleArn": role, "RoleSessionName": "s1", "WebIdentityToken": token}

        issuer.documents["/realms/one/keys"] = b" " * (300 << 10)
        refused("IDPCommunicationError", 400, sts.assume_role_with_web_identity, **ask(issuer.token()))
        before = len(issuer.requests)
        refused("IDPCommunicationError", 400, sts.assume_role_with_web_identity, **ask(issuer.token()))
        assert len(issuer.requests) == before  # not asked again at once
        iam.update_open_id_connect_provider_thumbprint(OpenIDConnectProviderArn=arn, ThumbprintList=["a" * 40])
        issuer.documents.clear()
        sts.assume_role_with_web_identity(**ask(issuer.token()))
        before = len(issuer.requests)
        for _ in range(3):
            sts.assume_role_with_web_identity(**ask(issuer.token()))
        assert len(issuer.requests) == before


def test_https_issuers_need_an_authority_or_their_thumbprint(connect, iam, name, tmp_path, refused):
    with Issuer(tls=tmp_path) as issuer:
        arn = iam.create_open_id_connect_provider(Url=issuer.url, ClientIDList=["app"])["OpenIDConnectProviderArn"]
        text = document(trust({"Federated": arn}, "sts:AssumeRoleWithWebIdentity"))
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=text)["Role"]["Arn"]
        sts = connect("sts", signed=False)
        ask = {"RoleArn": role, "RoleSessionName": "s1", "WebIdentityToken": issuer.token()}
        refused("IDPCommunicationError", 400, sts.assume_role_with_web_identity, **ask)
        for thumbprint, works in (("a" * 40, False), (issuer.thumbprint, True)):
            iam.update_open_id_connect_provider_thumbprint(OpenIDConnectProviderArn=arn, ThumbprintList=[thumbprint])
            if works:
                sts.assume_role_with_web_identity(**ask)
            else:
                refused("IDPCommunicationError", 400, sts.assume_role_with_web_identity, **ask)


# across accounts


def test_both_accounts_must_agree_to_a_role_across_them(connect, iam, name, key, bucket, refused):
    other_account = {"AccessKeyId": OTHER_KEY, "SecretAccessKey": OTHER_SECRET}
    theirs, sts = connect("iam", other_account), connect("sts", key)
    arn = sts.get_caller_identity()["Arn"]
    role = theirs.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust({"AWS": arn})))["Role"]["Arn"]
    ask = {"RoleArn": role, "RoleSessionName": "s1"}
    refused("AccessDenied", 403, sts.assume_role, **ask)  # trusted there, not allowed here
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document(allow("sts:AssumeRole", role)))
    session = sts.assume_role(**ask)["Credentials"]
    who = connect("sts", session).get_caller_identity()
    assert who["Account"] == connect("sts", other_account).get_caller_identity()["Account"]
    s3 = connect("s3", session)
    refused("AccessDenied", 403, s3.list_buckets)
    theirs.attach_role_policy(RoleName=name, PolicyArn=FULL_S3)
    s3.create_bucket(Bucket=f"theirs-{name}")
    assert f"theirs-{name}" in [found["Name"] for found in connect("s3", other_account).list_buckets()["Buckets"]]
    refused("AccessDenied", 403, s3.list_objects_v2, Bucket=bucket)  # ours
    account = connect("sts").get_caller_identity()["Account"]
    by_account = document(trust({"AWS": account}))
    theirs.update_assume_role_policy(RoleName=name, PolicyDocument=by_account)
    sts.assume_role(**ask)
    iam.delete_user_policy(UserName=name, PolicyName="p")
    refused("AccessDenied", 403, sts.assume_role, **ask)
    connect("sts").assume_role(**ask)  # our account's own user needs no policy of ours


def test_a_user_of_another_account_needs_both_sides_for_a_bucket(connect, iam, name, key, bucket, s3, refused):
    """The bucket is root's; the user is of the other account: its policy and the bucket's must allow."""
    theirs = connect("iam", {"AccessKeyId": OTHER_KEY, "SecretAccessKey": OTHER_SECRET})
    theirs.create_user(UserName=name)
    stranger = theirs.create_access_key(UserName=name)["AccessKey"]
    arn = connect("sts", stranger).get_caller_identity()["Arn"]
    reader = connect("s3", stranger)
    statement = {"Effect": "Allow", "Principal": {"AWS": arn}, "Action": "s3:ListBucket"}
    s3.put_bucket_policy(Bucket=bucket, Policy=document({**statement, "Resource": f"arn:aws:s3:::{bucket}"}))
    refused("AccessDenied", 403, reader.list_objects_v2, Bucket=bucket)
    theirs.attach_user_policy(UserName=name, PolicyArn=READ_ONLY)
    reader.list_objects_v2(Bucket=bucket)
    s3.delete_bucket_policy(Bucket=bucket)
    refused("AccessDenied", 403, reader.list_objects_v2, Bucket=bucket)
