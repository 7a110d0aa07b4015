"""Who may do what, beyond what buckets' own clients show: users inside accounts, roles, sessions, admins."""

import json

import msgspec
import pytest

from gateway.identity.arns import account_id, session_arn, user_arn
from gateway.identity.authorize import authorize
from gateway.identity.bucket_access import OWNERSHIP, POLICY
from gateway.identity.facts import Facts
from gateway.identity.principals import ANONYMOUS, Principal
from gateway.identity.users import new_access_key, new_user
from gateway.s3.errors import AccessDenied
from gateway.s3.policy_document import parse_policy
from gateway.store.document_format import BucketRecord, UserRecord
from tests.gateway.operations.memory_store import MemoryStore

KEY = new_access_key("x", now_ms=0)


def account(name, **changes):
    user = msgspec.structs.replace(new_user(name, now_ms=0, user_id=name), **changes)
    return Principal(user, KEY, name)


def member(of, name, *statements, path="/"):
    """An IAM user in an account, with its policies."""
    user = msgspec.structs.replace(new_user(name, now_ms=0, user_id=f"AIDA-{name}"), account=of, path=path)
    return Principal(user, KEY, of, policies_of(statements))


def role(of, name, *statements):
    """A session of an assumed role."""
    return Principal(UserRecord(id=f"AROA-{name}", name=name), KEY, of, policies_of(statements), session_name="s")


def policies_of(statements):
    if not statements:
        return ()
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    return (parse_policy(json.dumps(document).encode(), with_principal=False),)


def may(action="s3:*", resource="*", effect="Allow", **more):
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


ANN, BOB, ADMIN = account("ann"), account("bob"), account("root", admin=True)


@pytest.fixture
async def asks():
    """``await asks(principal, operation, key=…, policy=[…])``: whether ann's bucket lets it."""
    store = MemoryStore()

    def make(view):
        return view.put_bucket(BucketRecord(name="b", owner="ann"))

    bucket = await store.commit(make)

    async def ask(principal, operation="GetObject", key=b"", policy=None, **facts):
        def put(view):
            body = None
            if policy is not None:
                body = json.dumps({"Version": "2012-10-17", "Statement": policy}).encode()
            view.put_document(bucket.uid, OWNERSHIP, b"BucketOwnerEnforced")
            view.put_document(bucket.uid, POLICY, body)

        await store.commit(put)
        with store.view() as view:
            try:
                authorize(principal, operation, bucket, key, view=view, facts=Facts({}, facts))
            except AccessDenied:
                return False
            return True

    return ask


def grant(principal, action="s3:GetObject", effect="Allow", resource="arn:aws:s3:::b/*", **more):
    return {"Effect": effect, "Principal": principal, "Action": action, "Resource": resource, **more}


async def test_users_in_an_account_need_a_policy(asks):
    assert await asks(ANN, key=b"k")
    assert not await asks(member("ann", "al"), key=b"k")
    assert await asks(member("ann", "al", may("s3:GetObject", "arn:aws:s3:::b/*")), key=b"k")
    assert not await asks(member("ann", "al", may("s3:GetObject", "arn:aws:s3:::c/*")), key=b"k")
    assert not await asks(member("ann", "al", may("s3:PutObject", "arn:aws:s3:::b/*")), key=b"k")
    assert not await asks(member("ann", "al", may(), may("s3:Get*", effect="Deny")), key=b"k")
    home = may("s3:*", "arn:aws:s3:::b/home/${aws:username}/*")
    assert await asks(member("ann", "al", home), key=b"home/al/k")
    assert not await asks(member("ann", "al", home), key=b"home/bo/k")


async def test_the_buckets_policy_names_a_user_or_only_its_account(asks):
    al, arn = member("ann", "al"), f"arn:aws:iam::{account_id('ann')}"
    assert await asks(al, key=b"k", policy=[grant({"AWS": f"{arn}:user/al"})])
    assert await asks(al, key=b"k", policy=[grant({"AWS": "AIDA-al"})])
    assert await asks(al, key=b"k", policy=[grant("*")])
    assert not await asks(al, key=b"k", policy=[grant({"AWS": f"{arn}:root"})]), "delegated, not given"
    assert not await asks(al, key=b"k", policy=[grant({"AWS": f"{arn}:user/bo"})])
    deep = member("ann", "al", path="/a/b/")
    assert await asks(deep, key=b"k", policy=[grant({"AWS": f"{arn}:user/a/b/al"})])
    assert not await asks(deep, key=b"k", policy=[grant({"AWS": f"{arn}:user/al"})])


async def test_other_accounts_users_need_both_sides(asks):
    lone, allowed = member("bob", "bo"), member("bob", "bo", may())
    for principal in ({"AWS": "bob"}, {"AWS": account_id("bob")}, {"AWS": "AIDA-bo"}, "*", {"CanonicalUser": "bob"}):
        assert not await asks(lone, key=b"k", policy=[grant(principal)])
        assert await asks(allowed, key=b"k", policy=[grant(principal)])
        if principal != {"AWS": "AIDA-bo"}:
            assert await asks(BOB, key=b"k", policy=[grant(principal)])
    assert not await asks(allowed, key=b"k")
    assert not await asks(allowed, key=b"k", policy=[grant({"AWS": "ann"})])
    for resource in ("root", "user/bo", "user/bob"):  # somebody else's account, whatever the name
        elsewhere = [grant({"AWS": f"arn:aws:iam::{account_id('carl')}:{resource}"})]
        assert not await asks(allowed, key=b"k", policy=elsewhere)
        assert not await asks(BOB, key=b"k", policy=elsewhere)


async def test_denies_reach_everybody(asks):
    everyone = [grant("*", "s3:*"), grant("*", "s3:GetObject", "Deny")]
    for principal in (ANN, BOB, ADMIN, ANONYMOUS, member("ann", "al", may()), role("ann", "r", may())):
        assert not await asks(principal, key=b"k", policy=everyone)
    by_account = [grant("*"), grant({"AWS": "bob"}, effect="Deny")]
    assert not await asks(member("bob", "bo", may()), key=b"k", policy=by_account)
    but = {**grant("*", effect="Deny"), "NotPrincipal": {"AWS": "ann"}}
    del but["Principal"]
    assert await asks(ANN, key=b"k", policy=[but])
    assert not await asks(ADMIN, key=b"k", policy=[but])
    denied = member("bob", "bo", may(), may("s3:*", effect="Deny"))
    assert not await asks(denied, key=b"k", policy=[grant("*")])


async def test_nobody_is_locked_out_of_its_policy(asks):
    shut = [grant("*", "s3:*", "Deny", ["arn:aws:s3:::b", "arn:aws:s3:::b/*"])]
    for operation in ("GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy"):
        assert await asks(ANN, operation, policy=shut)
        assert await asks(ADMIN, operation, policy=shut)
        assert not await asks(member("ann", "al", may()), operation, policy=shut)
        assert not await asks(BOB, operation, policy=shut)
    assert not await asks(ANN, "GetBucketLocation", policy=shut)


async def test_sessions_are_narrowed(asks):
    session = policies_of([may("s3:GetObject", "arn:aws:s3:::b/a/*")])
    for principal in (ANN, ADMIN, member("ann", "al", may()), role("ann", "r", may())):
        narrowed = principal._replace(session=session)
        assert await asks(narrowed, key=b"a/k")
        assert not await asks(narrowed, key=b"b/k")
        assert not await asks(narrowed, "PutObject", key=b"a/k")
        assert not await asks(narrowed._replace(session=()), key=b"a/k"), "narrowed to nothing"
    widened = member("ann", "al")._replace(session=policies_of([may()]))
    assert not await asks(widened, key=b"a/k")


async def test_roles(asks):
    arn = f"arn:aws:iam::{account_id('ann')}:role/r"
    assert not await asks(role("ann", "r"), key=b"k")
    assert await asks(role("ann", "r", may()), key=b"k")
    assert await asks(role("ann", "r"), key=b"k", policy=[grant({"AWS": arn})])
    assert await asks(role("ann", "r"), key=b"k", policy=[grant({"AWS": session_arn("ann", "r", "s")})])
    assert not await asks(role("ann", "r"), key=b"k", policy=[grant({"AWS": session_arn("ann", "r", "t")})])
    assert not await asks(role("ann", "r"), key=b"k", policy=[grant({"AWS": arn.replace("role/r", "user/r")})])
    found = {"ArnLike": {"aws:PrincipalArn": arn}, "StringEquals": {"aws:userid": "AROA-r:s"}}
    assert await asks(role("ann", "r"), key=b"k", policy=[grant("*", Condition=found)])


async def test_a_roles_name_or_id_is_no_account(asks):
    """A role may be called as an account's user is: it is still only its account's."""
    impostor = role("bob", "ann", may())
    assert not await asks(impostor, key=b"k")
    twin = Principal(UserRecord(id="ann", name="ann", admin=True), KEY, "bob", session_name="s")
    assert not await asks(twin, key=b"k")


async def test_the_service(asks):
    for principal in (ANN, BOB, ADMIN):
        authorize(principal, "ListBuckets", None)
        authorize(principal, "CreateBucket", None, name="new")
    for principal in (ANONYMOUS, member("ann", "al"), role("ann", "r"), ANN._replace(session=())):
        for operation in ("ListBuckets", "CreateBucket"):
            with pytest.raises(AccessDenied):
                authorize(principal, operation, None, name="new")
    listing = member("ann", "al", may("s3:ListAllMyBuckets"), may("s3:CreateBucket", "arn:aws:s3:::ann-*"))
    authorize(listing, "ListBuckets", None)
    authorize(listing, "CreateBucket", None, name="ann-1")
    with pytest.raises(AccessDenied):
        authorize(listing, "CreateBucket", None, name="bob-1")


async def test_a_disabled_user_may_nothing(asks):
    assert not await asks(account("ann", disabled=True), key=b"k")
    assert not await asks(ANN._replace(access_key=msgspec.structs.replace(KEY, disabled=True)), key=b"k")
    assert not await asks(None, key=b"k", policy=[grant("*")])


def test_names():
    assert account_id("123456789012") == "123456789012"
    assert account_id("ann") == account_id("ann") != account_id("bob")
    assert len(account_id("ann")) == 12
    assert account_id("ann").isdecimal()
    assert user_arn(ANN.user) == f"arn:aws:iam::{account_id('ann')}:root"
    assert member("ann", "al", path="/x/").arn == f"arn:aws:iam::{account_id('ann')}:user/x/al"
    assert role("ann", "r").caller_arn == f"arn:aws:sts::{account_id('ann')}:assumed-role/r/s"
    assert ANONYMOUS.arn == ""
    assert not ANONYMOUS.id


@pytest.mark.parametrize("key", ["aws:useragent", "aws:referer", "s3:prefix"])
def test_what_a_client_may_leave_out_is_left_out_where_it_is_long(key):
    for length, known in ((2048, True), (2049, False)):
        text = "a" * length
        facts = Facts({"user-agent": text, "referer": text}, {"prefix": text})
        assert (facts.find(key) is not None) == known
