"""GET and HEAD tell of a collision: how many losers there are, what a loser lost to, and broken conditions."""

import time

import pytest
from botocore.exceptions import ClientError

from gateway.store.item_format import FAMILY_NULL_SLOT, null_slot_item
from gateway.store.object_format import Condition, ObjectRecord, encode_object
from replication.change_format import Change, encode_change
from replication.crdt import Dot
from replication.ports import LogPosition, PulledBatch
from tests.gateway.http.server import Server
from tests.gateway.http.stores import opener

HOUR = 3_600_000 << 16
COUNT, LOST, BROKEN = "x-skerry-conflict-count", "x-skerry-conflict", "x-skerry-broken-condition"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(opener("real", tmp_path_factory.mktemp("data"))) as running:
        client = running.client()
        client.create_bucket(Bucket="box")
        client.close()
        yield running


@pytest.fixture
def client(server):
    made = server.client()
    yield made
    made.close()


class OtherSite:
    """Another site of the realm, which writes without having seen anything."""

    site, incarnation = b"other-site......", b"first..."

    def __init__(self, server):
        self.server, self.seq = server, 0

    def write(self, key, *, later, condition=None, delete=False):
        """Write, or delete, an hour before or after what is there."""
        store = self.server.store
        with store.view() as view:
            uid = view.bucket("box").uid
        self.seq += 1
        hlc = (int(time.time() * 1000) << 16) + (HOUR if later else -HOUR)
        record = ObjectRecord(size=0, etag="d41d8cd98f00b204e9800998ecf8427e", owner="o", condition=condition)
        body = b"" if delete else encode_object(record)
        dot, item = Dot(self.site, self.incarnation, self.seq), null_slot_item(uid, key)
        change = Change(dot, hlc, FAMILY_NULL_SLOT, item, delete, (), (), body)
        position = LogPosition(self.seq, self.seq, bytes([self.seq]) * 32)
        batch = PulledBatch((self.site, self.incarnation), position, [encode_change(change)])
        self.server.call(lambda: store.replica.record_pulled(batch))


@pytest.fixture(scope="module")
def other(server):
    return OtherSite(server)


def told(answer):
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    return {name: headers[name] for name in (COUNT, LOST, BROKEN) if name in headers}


def loser_of(client, key):
    rows = client.list_object_versions(Bucket="box", Prefix=key)["Versions"]
    (found,) = [row["VersionId"] for row in rows if row["VersionId"].startswith("conflict-")]
    return found


def ask(client, key, **more):
    """What GET and HEAD tell alike."""
    heads = told(client.head_object(Bucket="box", Key=key, **more))
    assert told(client.get_object(Bucket="box", Key=key, **more)) == heads
    return heads


def test_nothing_is_told_where_nothing_collided(client):
    client.put_object(Bucket="box", Key="plain", Body=b"x")
    assert ask(client, "plain") == {}


@pytest.mark.parametrize("later", [False, True])
def test_a_key_tells_how_many_losers_it_has_and_a_loser_that_it_is_one(client, other, later):
    key = f"k{later}"
    client.put_object(Bucket="box", Key=key, Body=b"here")
    other.write(key.encode(), later=later)
    assert ask(client, key) == {COUNT: "1"}
    loser = loser_of(client, key)
    assert ask(client, key, VersionId=loser) == {COUNT: "1", LOST: "lost-to-write"}
    client.delete_object(Bucket="box", Key=key, VersionId=loser)
    assert ask(client, key) == {}


def test_a_304_and_a_part_of_an_object_tell_of_it_too(client, other):
    etag = client.put_object(Bucket="box", Key="part", Body=b"here")["ETag"]
    other.write(b"part", later=False)
    assert told(client.get_object(Bucket="box", Key="part", Range="bytes=1-2")) == {COUNT: "1"}
    with pytest.raises(ClientError) as raised:
        client.get_object(Bucket="box", Key="part", IfNoneMatch=etag)
    assert (raised.value.response["Error"]["Code"], told(raised.value.response)) == ("304", {COUNT: "1"})


def test_a_key_that_a_delete_won_tells_that_a_value_is_kept(client, other):
    client.put_object(Bucket="box", Key="gone", Body=b"here")
    other.write(b"gone", later=True, delete=True)
    for call in (client.get_object, client.head_object):
        with pytest.raises(ClientError) as raised:
            call(Bucket="box", Key="gone")
        assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
        assert told(raised.value.response) == {COUNT: "1"}
    loser = loser_of(client, "gone")
    assert ask(client, "gone", VersionId=loser) == {COUNT: "1", LOST: "lost-to-delete"}
    with pytest.raises(ClientError) as raised:
        client.head_object(Bucket="box", Key="never was")
    assert told(raised.value.response) == {}


def test_a_condition_that_did_not_hold_is_told(client, other):
    client.put_object(Bucket="box", Key="once", Body=b"here", IfNoneMatch="*")
    other.write(b"once", later=True, condition=Condition("If-None-Match", b""))
    assert ask(client, "once") == {COUNT: "1", BROKEN: "if-none-match"}


def test_strangers_are_told_nothing(server, other, client):
    client.put_object(Bucket="box", Key="closed", Body=b"here")
    other.write(b"closed", later=False)
    stranger = server.client("AKIAOTHEROTHEROTHERX", "other-secret-other-secret-other-secret-x")
    with pytest.raises(ClientError) as raised:
        stranger.head_object(Bucket="box", Key="closed")
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert told(raised.value.response) == {}
    stranger.close()
