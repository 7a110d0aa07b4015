"""Users, access keys, the root user, and who may do what."""

import re

import msgspec
import pytest

from gateway.identity.authorize import authorize
from gateway.identity.principals import Principal, PrincipalCache, find_principal
from gateway.identity.users import (
    ROOT_ID,
    BadIdentity,
    add_user,
    ensure_root,
    new_access_key,
    new_access_key_id,
    new_secret,
    new_user,
)
from gateway.s3.errors import AccessDenied
from gateway.store.document_format import BucketRecord
from gateway.store.ports import Bucket
from tests.gateway.operations.memory_store import MemoryStore


def test_generated_credentials_have_the_form_of_aws():
    assert re.fullmatch(r"AKIA[A-Z2-7]{16}", new_access_key_id())
    assert re.fullmatch(r"[A-Za-z0-9]{40}", new_secret())
    user = new_user("ann", now_ms=7)
    assert re.fullmatch(r"[0-9a-f]{64}", user.canonical_id)
    assert (user.id, user.created_ms, user.admin) == (user.canonical_id, 7, False)
    assert len({new_secret() for _ in range(50)} | {new_access_key_id() for _ in range(50)}) == 100


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb"])
def test_bad_names(name):
    with pytest.raises(BadIdentity):
        new_user(name, now_ms=0)


@pytest.mark.parametrize(
    "given", [{"access_key_id": "a/b"}, {"access_key_id": "ab"}, {"secret": "short"}, {"secret": "with a space"}]
)
def test_bad_credentials_are_refused_without_being_told(given):
    with pytest.raises(BadIdentity) as caught:
        new_access_key("u", now_ms=0, **given)
    assert given.get("secret", "-never-") not in str(caught.value)


async def test_the_root_user_is_made_once_and_is_the_same_on_every_site():
    one, other = MemoryStore(), MemoryStore()
    key = await ensure_root(one)
    assert key is not None
    assert await ensure_root(one) is None
    await ensure_root(other, access_key_id="AKIDGIVEN", secret="given-secret")
    for store in (one, other):
        with store.view() as view:
            (root,) = view.users()
            assert (root.id, root.admin, root.name) == (ROOT_ID, True, "root")
    assert await ensure_root(other, access_key_id="AKIDGIVEN", secret="given-secret") is None
    changed = await ensure_root(other, access_key_id="AKIDGIVEN", secret="another-secret")
    assert changed is not None
    assert changed.secret == "another-secret"


async def test_root_never_takes_anothers_key():
    store = MemoryStore()
    user = new_user("ann", now_ms=0)
    key = new_access_key(user.id, now_ms=0, access_key_id="ANNSKEY")
    await store.commit(lambda view: add_user(view, user, key))
    with pytest.raises(BadIdentity):
        await ensure_root(store, access_key_id="ANNSKEY", secret="given-secret")
    with pytest.raises(BadIdentity):
        await ensure_root(store, access_key_id="ONLYHALF")
    with store.view() as view:
        assert view.user(ROOT_ID) is None


async def test_names_ids_and_keys_are_unique():
    store = MemoryStore()
    user, key = new_user("ann", now_ms=0), new_access_key("x", now_ms=0)
    await store.commit(lambda view: add_user(view, user, key))
    for other_user, other_key in (
        (new_user("bob", now_ms=0, user_id=user.id), new_access_key("x", now_ms=0)),
        (new_user("ann", now_ms=0), new_access_key("x", now_ms=0)),
        (new_user("bob", now_ms=0), new_access_key("x", now_ms=0, access_key_id=key.id)),
    ):
        with pytest.raises(BadIdentity):
            await store.commit(lambda view, u=other_user, k=other_key: add_user(view, u, k))
    with store.view() as view:
        assert [one.name for one in view.users()] == ["ann"]


async def test_lookups_fail_closed_and_follow_the_generation():
    store, cache = MemoryStore(), PrincipalCache()
    user = new_user("ann", now_ms=0)
    key = new_access_key(user.id, now_ms=0)
    await store.commit(lambda view: add_user(view, user, key))

    def look():
        with store.view() as view:
            return cache.find(view, key.id)

    assert look().id == user.id
    for change, back in (
        (("put_user", msgspec.structs.replace(user, disabled=True)), ("put_user", user)),
        (("delete_user", user.id), ("put_user", user)),
        (("put_access_key", msgspec.structs.replace(key, disabled=True)), ("put_access_key", key)),
        (("put_access_key", msgspec.structs.replace(key, secret="")), ("put_access_key", key)),
        (("delete_access_key", key.id), ("put_access_key", key)),
    ):
        await store.commit(lambda view, c=change: getattr(view, c[0])(c[1]))
        assert look() is None
        await store.commit(lambda view, c=back: getattr(view, c[0])(c[1]))
        assert look() is not None
    with store.view() as view:
        assert find_principal(view, "UNKNOWN") is None


def principal(**changes):
    user = msgspec.structs.replace(new_user("ann", now_ms=0, user_id="ann"), **changes)
    return Principal(user, new_access_key("ann", now_ms=0))


def bucket(owner):
    return Bucket(b"u" * 16, "b", BucketRecord(name="b", owner=owner), "")


def test_who_may_do_what():
    authorize(principal(), "GetObject", bucket("ann"), b"k")
    authorize(principal(), "ListBuckets", None)
    authorize(principal(admin=True), "DeleteBucket", bucket("bob"))
    for who, whose in ((principal(), "bob"), (None, "ann"), (principal(disabled=True), "ann")):
        with pytest.raises(AccessDenied):
            authorize(who, "GetObject", bucket(whose), b"k")
    with pytest.raises(AccessDenied):
        authorize(None, "ListBuckets", None)
