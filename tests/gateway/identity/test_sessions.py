"""Temporary credentials: opened by every site of the realm and by no other, and nothing but what was issued."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.identity.account_users import create_account_user, create_key
from gateway.identity.lifecycle import set_disabled
from gateway.identity.roles import create_role
from gateway.identity.session_principals import SessionPrincipals
from gateway.identity.sessions import OF_USER, PURPOSE, Session, SessionMaker
from gateway.identity.users import add_user, new_access_key, new_user
from gateway.s3.errors import ExpiredToken, InvalidToken
from gateway.store.identity_format import RoleRecord
from replication.sealing import Keyring, purpose_key
from tests.gateway.operations.memory_store import MemoryStore

ONE, TWO = b"1" * 16, b"2" * 16
SESSION = Session(account="acct", subject="AROA", role="r", name="s", expires_s=100, policies=("{}" * 1000,))
TRUST = (
    '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}}'
)
MAKER = SessionMaker(b"k" * 32)


def test_every_site_of_a_realm_opens_what_one_issued_whatever_its_epochs():
    realm, chunk_key = b"r" * 16, b"c" * 32
    first = Keyring(realm, chunk_key, {ONE: b"a" * 32}, ONE)
    later = Keyring(realm, chunk_key, {ONE: b"a" * 32, TWO: b"b" * 32}, TWO)
    other = Keyring(realm, b"d" * 32, {ONE: b"a" * 32}, ONE)
    issued = SessionMaker(purpose_key(first, PURPOSE)).issue(SESSION)
    session, secret = SessionMaker(purpose_key(later, PURPOSE)).open(issued.access_key, issued.token)
    assert (session, secret) == (SESSION, issued.secret)
    assert purpose_key(first, PURPOSE) != purpose_key(first, PURPOSE + b"x")
    with pytest.raises(InvalidToken):
        SessionMaker(purpose_key(other, PURPOSE)).open(issued.access_key, issued.token)


def test_credentials_have_the_form_of_aws_and_tell_nothing():
    issued = MAKER.issue(SESSION)
    assert issued.access_key.startswith("ASIA")
    assert (len(issued.access_key), len(issued.secret)) == (20, 40)
    assert len(issued.token) < 400  # policies are packed
    assert issued.secret not in issued.token
    assert len({MAKER.issue(SESSION).token for _ in range(10)}) == 10


def test_a_token_is_of_one_access_key():
    one, other = MAKER.issue(SESSION), MAKER.issue(SESSION)
    with pytest.raises(InvalidToken):
        MAKER.open(other.access_key, one.token)


@pytest.mark.parametrize("at", [0, 1, 24, 25, 60, -1])
def test_a_changed_token_does_not_open(at):
    issued = MAKER.issue(SESSION)
    data = bytearray(urlsafe_b64decode(issued.token))
    data[at] ^= 1
    with pytest.raises(InvalidToken):
        MAKER.open(issued.access_key, urlsafe_b64encode(bytes(data)).decode())


@given(st.text(max_size=200))
def test_any_text_is_no_token(text):
    with pytest.raises(InvalidToken):
        MAKER.open("ASIAX", text)


async def test_a_session_ends_with_its_user_its_key_and_its_time():
    store, principals = MemoryStore(), SessionPrincipals(MAKER)
    user = new_user("ann", now_ms=0)
    key = new_access_key(user.id, now_ms=0)
    await store.commit(lambda view: add_user(view, user, key))
    issued = MAKER.issue(
        Session(kind=OF_USER, account=user.id, subject=user.id, issuer_key=key.id, issued_s=0, expires_s=100)
    )

    def look(now_s=0):
        with store.view() as view:
            found = principals.find(view, issued.access_key, issued.token, now_s)
            assert found == principals.find_now(view, issued.access_key, issued.token, now_s)
            return found

    principal = look()
    assert (principal.id, principal.access_key.secret, principal.is_account) == (user.id, issued.secret, True)
    assert look(99) is not None
    with pytest.raises(ExpiredToken):
        look(100)
    for change, back in (
        (("put_user", msgspec.structs.replace(user, disabled=True)), ("put_user", user)),
        (("delete_user", user.id), ("put_user", user)),
        (("put_access_key", msgspec.structs.replace(key, disabled=True)), ("put_access_key", key)),
        (("delete_access_key", key.id), ("put_access_key", key)),
    ):
        await store.commit(lambda view, change=change: getattr(view, change[0])(change[1]))
        assert look() is None
        await store.commit(lambda view, back=back: getattr(view, back[0])(back[1]))
        assert look() is not None


async def test_with_an_account_everyone_in_it_is_out():
    store, principals = MemoryStore(), SessionPrincipals(MAKER)
    account = new_user("ann", now_ms=0)
    await store.commit(lambda view: add_user(view, account, new_access_key(account.id, now_ms=0)))
    bob = await store.commit(lambda view: create_account_user(view, account.id, "bob", "/", {}))
    key = await store.commit(lambda view: create_key(view, bob))
    role = RoleRecord(id="AROA1", account=account.id, name="r", trust=TRUST)
    await store.commit(lambda view: create_role(view, role))
    issued = MAKER.issue(Session(account=account.id, subject=role.id, role="r", name="s1", expires_s=100))

    def look():
        with store.view() as view:
            return principals.find(view, key.id), principals.find(view, issued.access_key, issued.token, 0)

    assert [found.id for found in look()] == [account.id, account.id]
    await store.commit(lambda view: set_disabled(view, account.id, disabled=True))
    assert look() == (None, None)
    await store.commit(lambda view: set_disabled(view, account.id, disabled=False))
    await store.commit(lambda view: set_disabled(view, bob.id, disabled=True))
    assert look()[0] is None
    await store.commit(lambda view: view.delete_user(account.id))
    assert look() == (None, None)


def test_a_token_is_written_in_one_way_only():
    issued = MAKER.issue(SESSION)
    for token in (issued.token + "!!!!", "!" + issued.token, issued.token[:9] + "\n" + issued.token[9:]):
        with pytest.raises(InvalidToken):
            MAKER.open(issued.access_key, token)
