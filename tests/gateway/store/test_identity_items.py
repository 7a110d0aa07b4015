"""Roles, groups, policies and memberships as items: written, refused, merged from two sites, golden bytes."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path

import pytest

from gateway.identity.boundaries import boundary_of, delete_boundary, find_boundary, put_boundary
from gateway.identity.groups import add_member, create_group, delete_group
from gateway.identity.identity_policies import attach, collect_user_policies, detach, inline_policies, put_inline
from gateway.identity.managed_policies import create_policy, delete_policy
from gateway.identity.roles import create_role, delete_role, find_role, save_role
from gateway.identity.session_principals import SessionPrincipals
from gateway.identity.sessions import PURPOSE, Session, SessionMaker
from gateway.store.document_format import UserRecord
from gateway.store.identity_format import (
    GroupRecord,
    ManagedPolicyRecord,
    PolicyVersion,
    ProviderRecord,
    RoleRecord,
    check_identity_item,
    decode_identity,
    encode_identity,
)
from gateway.store.logical_dump import logical_dump
from gateway.store.rebuild import rebuild_index
from replication.change_format import ChangeInvalid, ChangeTooNew
from replication.sealing import purpose_key
from tests.gateway.store.index_site import KEYRING, MAP_SIZE, SITE_B, IndexSite
from tests.gateway.store.workload import replica_of, ship_some

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
RECORDS = [
    RoleRecord(
        id="AROA1",
        account="ann",
        name="Reader",
        path="/ops/",
        created_ms=1,
        trust="{}",
        description="d",
        session_s_max=7200,
        tags={"k": "v"},
    ),
    GroupRecord(id="AGPA1", account="ann", name="G", path="/", created_ms=2),
    ManagedPolicyRecord(
        id="ANPA1",
        account="ann",
        name="P",
        created_ms=3,
        description="p",
        default=2,
        highest=3,
        versions=(PolicyVersion(2, "{}", 4), PolicyVersion(3, "{}", 5)),
        tags={"a": "b"},
    ),
    ProviderRecord(
        account="ann", url="id.example/x", scheme="https", created_ms=6, client_ids=("c",), thumbprints=("a" * 40,)
    ),
]
TRUST = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
)
READ_ONLY = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
FULL_S3 = "arn:aws:iam::aws:policy/AmazonS3FullAccess"


def policy(action):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]})


@pytest.fixture
def sites(tmp_path):
    with IndexSite(tmp_path / "a") as a, IndexSite(tmp_path / "b", SITE_B) as b:
        b.clock = itertools.count(1_700_000_050_000)  # what B does comes later
        a.commit(lambda view: view.put_user(UserRecord(id="bob", name="bob", account="ann")))
        exchange(a, b)
        yield a, b


def exchange(*sites):
    async def ship(source, target):
        while batch := await ship_some(source, 50):
            await replica_of(target).record_pulled(batch)

    for source, target in itertools.permutations(sites, 2):
        asyncio.run(ship(source, target))


def both(sites, read):
    found = []
    for site in sites:
        with site.view() as view:
            found.append(read(view))
    assert found[0] == found[1]
    return found[0]


def test_golden_bytes_of_version_1():
    golden = (GOLDEN / "identity_1.hex").read_text().split()
    assert [encode_identity(record).hex() for record in RECORDS] == golden
    for record, data in zip(RECORDS, golden, strict=True):
        assert decode_identity(type(record), bytes.fromhex(data)) == record


@pytest.mark.parametrize(
    ("item", "body", "error"),
    [
        (b"bogus/a/b", b"1", ChangeTooNew),
        (b"role/a", b"", ChangeInvalid),
        (b"role//x", b"", ChangeInvalid),
        (b"\xff/a/b", b"1", ChangeInvalid),
        (b"inline/u/p", b"", ChangeInvalid),
        (b"boundary/u/policy", b"", ChangeInvalid),
        (b"bound/r", b"{}", ChangeInvalid),
        (b"inline/u/p", b"\xff", ChangeInvalid),
        (b"inline/u/" + b"p" * 1100, b"1", ChangeInvalid),
        (b"role/a/r", b"\x91\x02", ChangeTooNew),
        (b"role/a/r", b"rubbish", ChangeInvalid),
    ],
)
def test_what_no_site_can_read_is_refused(item, body, error):
    with pytest.raises(error):
        check_identity_item(item, body, dead=False)


def test_the_generation_moves_and_what_is_not_there_is_none(sites):
    a, _ = sites
    with a.view() as view:
        before = view.generation
        assert view.identity("inline/bob/p") is None
        assert view.identities("inline/bob/") == []
    a.commit(lambda view: put_inline(view, "user", "bob", "p", policy("s3:*")))
    with a.view() as view:
        assert view.generation > before
        assert list(inline_policies(view, "bob")) == ["p"]
        assert inline_policies(view, "bo") == {}


def test_different_policies_of_one_user_are_both_kept(sites):
    a, b = sites
    a.commit(lambda view: put_inline(view, "user", "bob", "one", policy("s3:GetObject")))
    b.commit(lambda view: put_inline(view, "user", "bob", "two", policy("s3:PutObject")))
    b.commit(lambda view: attach(view, "ann", "bob", READ_ONLY))
    exchange(a, b)
    assert both(sites, lambda view: list(inline_policies(view, "bob"))) == ["one", "two"]
    assert len(both(sites, lambda view: collect_user_policies(view, "ann", "bob"))) == 3


def test_a_right_that_one_site_took_away_stays_away(sites):
    a, b = sites
    a.commit(lambda view: put_inline(view, "user", "bob", "p", policy("s3:*")))
    a.commit(lambda view: attach(view, "ann", "bob", READ_ONLY))
    exchange(a, b)
    a.commit(lambda view: view.put_identity("inline/bob/p", None))
    a.commit(lambda view: detach(view, "bob", READ_ONLY))
    b.commit(lambda view: put_inline(view, "user", "bob", "p", policy("s3:GetObject")))  # later, concurrent
    exchange(a, b)
    assert both(sites, lambda view: view.identities("")) == []
    b.commit(lambda view: put_inline(view, "user", "bob", "p", policy("s3:GetObject")))  # having seen it
    exchange(a, b)
    assert both(sites, lambda view: list(inline_policies(view, "bob"))) == ["p"]


def test_of_two_edits_of_one_policy_the_later_counts(sites):
    a, b = sites
    a.commit(lambda view: put_inline(view, "user", "bob", "p", policy("s3:GetObject")))
    b.commit(lambda view: put_inline(view, "user", "bob", "p", policy("s3:PutObject")))
    exchange(a, b)
    assert both(sites, lambda view: inline_policies(view, "bob")) == {"p": policy("s3:PutObject")}


def test_of_a_boundary_taken_back_and_one_set_the_later_counts(sites):
    a, b = sites
    a.commit(lambda view: put_boundary(view, "ann", "bob", READ_ONLY))
    exchange(a, b)
    a.commit(lambda view: delete_boundary(view, "bob"))
    b.commit(lambda view: put_boundary(view, "ann", "bob", FULL_S3))  # later, concurrent
    exchange(a, b)
    assert both(sites, lambda view: boundary_of(view, "bob")) == FULL_S3
    b.commit(lambda view: delete_boundary(view, "bob"))
    exchange(a, b)
    assert both(sites, lambda view: find_boundary(view, "ann", "bob")) is None


def test_a_boundary_whose_policy_another_site_deleted_allows_nothing(sites):
    a, b = sites
    text = policy("*")
    made = a.commit(lambda view: create_policy(view, "ann", "p", "/", text, "", {}))
    exchange(a, b)
    a.commit(lambda view: put_boundary(view, "ann", "bob", made.arn))
    b.commit(lambda view: delete_policy(view, made))
    exchange(a, b)
    assert both(sites, lambda view: find_boundary(view, "ann", "bob")) == ()


def test_one_role_made_on_two_sites_is_one_role(sites):
    a, b = sites
    for number, site in enumerate(sites):
        role = RoleRecord(id=f"AROA{number}", account="ann", name="Reader", trust=TRUST)
        site.commit(lambda view, role=role: create_role(view, role))
    exchange(a, b)
    assert both(sites, lambda view: find_role(view, "ann", "reader")).id == "AROA1"


def test_a_group_deleted_on_one_site_gives_nothing_on_the_other(sites):
    a, b = sites
    group = a.commit(lambda view: create_group(view, "ann", "g", "/"))
    exchange(a, b)
    user = both(sites, lambda view: view.user("bob"))
    a.commit(lambda view: delete_group(view, group))
    b.commit(lambda view: add_member(view, group, user))
    b.commit(lambda view: attach(view, "ann", group.id, READ_ONLY))
    with b.view() as view:
        assert len(collect_user_policies(view, "ann", "bob")) == 1
    exchange(a, b)
    assert both(sites, lambda view: collect_user_policies(view, "ann", "bob")) == ()


def test_a_session_is_good_on_every_site_and_ends_on_every_site(sites):
    a, b = sites
    maker = SessionMaker(purpose_key(KEYRING, PURPOSE))
    a.commit(lambda view: view.put_user(UserRecord(id="ann", name="ann")))
    role = RoleRecord(id="AROA1", account="ann", name="Reader", trust=TRUST)
    a.commit(lambda view: create_role(view, role))
    a.commit(lambda view: attach(view, "ann", role.id, READ_ONLY))
    issued = maker.issue(Session(account="ann", subject=role.id, role="Reader", name="s1", expires_s=100))
    there = SessionPrincipals(SessionMaker(purpose_key(KEYRING, PURPOSE)))

    def look():
        with b.view() as view:
            return there.find(view, issued.access_key, issued.token, 50)

    assert look() is None  # the role has not come over yet
    exchange(a, b)
    found = look()
    assert (found.id, found.session_name, len(found.policies)) == ("ann", "s1", 1)
    a.commit(lambda view: detach(view, role.id, READ_ONLY))
    a.commit(lambda view: delete_role(view, role))
    b.commit(lambda view: save_role(view, role))  # edited there meanwhile: deleted wins
    exchange(a, b)
    assert look() is None


def test_a_rebuilt_index_has_all_of_it(sites):
    a, _ = sites
    a.commit(lambda view: put_inline(view, "user", "bob", "p", policy("s3:*")))
    a.commit(lambda view: create_group(view, "ann", "g", "/"))
    a.commit(lambda view: view.put_identity("inline/bob/p", None))
    before = list(logical_dump(a.index, a.open_pages))
    a.committer.close()
    a.index.close()
    rebuild_index(a.directory, a.log, a.reader, a.open_pages, map_size=MAP_SIZE)
    a.reopen_index()
    assert list(logical_dump(a.index, a.open_pages)) == before
