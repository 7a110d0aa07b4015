"""Notifications by boto3: what is configured, refused, and told to a destination, in order and at least once."""

import asyncio
import itertools
import json
import queue
import urllib.parse

import pytest

from gateway.events.follower import Follower, FollowerSettings, NotTaken
from gateway.events.positions import Position, PositionFile
from gateway.http.settings import HttpSettings
from gateway.operations.context import OperationSettings
from tests.gateway.http.server import Server
from tests.gateway.http.stores import opener

QUEUE = "arn:aws:sqs:us-east-1:000000000000:orders"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:others"
LAMBDA = "arn:aws:lambda:us-east-1:000000000000:function:orders"
_names = (f"told-{number}" for number in itertools.count())


class Told:
    """A destination that keeps what it is told; ``refuse`` makes it refuse so many messages first."""

    def __init__(self):
        self.messages = queue.Queue()
        self.refuse = 0

    async def send(self, message):
        if self.refuse:
            self.refuse -= 1
            raise NotTaken("not now")
        self.messages.put(json.loads(message))

    def records(self, count):
        """The next records, test events apart."""
        found = []
        while len(found) < count:
            found += self.messages.get(timeout=20).get("Records", [])
        return found

    def names(self, count):
        return [record["eventName"] for record in self.records(count)]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    names = ("orders", "others", "fresh")
    settings = HttpSettings(operations=OperationSettings(destinations=names, part_bytes_min=1))
    with Server(opener("real", tmp_path_factory.mktemp("data")), settings) as running:
        yield running


def begin(server, destination, sender):
    """A follower that does not run yet, as when a site says that it is ready."""
    store = server.store
    positions = PositionFile(store.directory, destination)
    follower = Follower(destination, store.replica, store.view, positions, sender, FollowerSettings(retry_max_s=0.1))
    positions.begin(Position(store.replica.identity().incarnation, store.replica.last_seq()))
    return follower


def follow(server, destination, sender):
    """Start a follower on the server's loop; returns how to stop it."""
    return run(server, begin(server, destination, sender))


def run(server, follower):
    stop = asyncio.Event()
    running = asyncio.run_coroutine_threadsafe(follower.run(stop), server.loop)

    def end():
        server.loop.call_soon_threadsafe(stop.set)
        running.result(20)

    return end


@pytest.fixture
def told(server):
    sender = Told()
    end = follow(server, "orders", sender)
    yield sender
    end()


@pytest.fixture
def s3(server):
    client = server.client()
    yield client
    client.close()


@pytest.fixture
def bucket(s3):
    name = next(_names)
    s3.create_bucket(Bucket=name)
    return name


def put(s3, bucket, *configurations, kind="Queue", **more):
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={f"{kind}Configurations": list(configurations)}, **more
    )


def rule(*events, arn=QUEUE, kind="Queue", **filters):
    found = {"Id": f"id-{'-'.join(events)}-{filters}"[:255], f"{kind}Arn": arn, "Events": list(events)}
    if filters:
        rules = [{"Name": name, "Value": value} for name, value in filters.items()]
        found["Filter"] = {"Key": {"FilterRules": rules}}
    return found


def get(s3, bucket):
    response = s3.get_bucket_notification_configuration(Bucket=bucket)
    return {name: value for name, value in response.items() if name != "ResponseMetadata"}


def test_put_and_get(s3, bucket):
    assert get(s3, bucket) == {}
    configuration = {
        "QueueConfigurations": [rule("s3:ObjectCreated:*", prefix="a/", suffix=".png")],
        "TopicConfigurations": [rule("s3:ObjectRemoved:*", "s3:ObjectAcl:Put", arn=TOPIC, kind="Topic")],
        "LambdaFunctionConfigurations": [rule("s3:ObjectCreated:Put", arn=LAMBDA, kind="LambdaFunction", prefix="b&/")],
    }
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration)
    assert get(s3, bucket) == configuration
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    assert get(s3, bucket) == {}


def test_an_id_is_made(s3, bucket):
    configuration = rule("s3:ObjectCreated:*")
    del configuration["Id"]
    put(s3, bucket, configuration)
    assert len(get(s3, bucket)["QueueConfigurations"][0]["Id"]) > 8


WRONG = [
    [rule("s3:ObjectCreated:Nothing")],
    [rule("s3:TestEvent")],
    [rule("s3:ObjectCreated:*", arn="arn:aws:sqs:us-east-1:000000000000:unknown")],
    [rule("s3:ObjectCreated:*", arn="orders")],
    [rule("s3:ObjectCreated:*", arn=TOPIC)],
    [rule("s3:ObjectCreated:*"), rule("s3:ObjectCreated:Put")],
    [rule("s3:ObjectCreated:*", prefix="a"), rule("s3:ObjectCreated:*", prefix="ab", suffix="x")],
    [rule("s3:ObjectCreated:*", suffix=".png"), rule("s3:ObjectCreated:Copy", suffix="g")],
    [rule("s3:ObjectCreated:*", infix="x")],
    [{**rule("s3:ObjectCreated:*"), "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "a"}] * 2}}}],
    [{**rule("s3:ObjectCreated:Put"), "Id": "i"}, {**rule("s3:ObjectRemoved:*"), "Id": "i"}],
]


@pytest.mark.parametrize("configurations", WRONG, ids=range(len(WRONG)))
def test_wrong_configurations(s3, bucket, configurations):
    with pytest.raises(s3.exceptions.ClientError, match="InvalidArgument"):
        put(s3, bucket, *configurations)
    assert get(s3, bucket) == {}


def test_filters_that_do_not_meet_are_fine(s3, bucket):
    put(
        s3,
        bucket,
        rule("s3:ObjectCreated:*", prefix="a"),
        rule("s3:ObjectCreated:*", prefix="b"),
        rule("s3:ObjectRemoved:*", prefix="a"),
        rule("s3:ObjectTagging:*", suffix=".a"),
        rule("s3:ObjectTagging:Put", suffix=".b"),
    )
    assert len(get(s3, bucket)["QueueConfigurations"]) == 5


def test_validation_can_be_skipped(s3, bucket):
    put(s3, bucket, rule("s3:ObjectCreated:*", arn=QUEUE + "-unknown"), SkipDestinationValidation=True)
    assert get(s3, bucket)["QueueConfigurations"][0]["QueueArn"] == QUEUE + "-unknown"


def test_a_destination_is_sent_a_test_event(s3, bucket, told):
    put(s3, bucket, rule("s3:ObjectCreated:*"))
    message = told.messages.get(timeout=20)
    assert (message["Event"], message["Bucket"], message["Service"]) == ("s3:TestEvent", bucket, "Amazon S3")


def test_what_an_event_says(s3, bucket, told):
    put(s3, bucket, {**rule("s3:ObjectCreated:*"), "Id": "mine"})
    response = s3.put_object(Bucket=bucket, Key="a b/ü+c", Body=b"hello")
    (record,) = told.records(1)
    assert (record["eventVersion"], record["eventSource"], record["awsRegion"]) == ("2.1", "aws:s3", "us-east-1")
    assert record["eventName"] == "ObjectCreated:Put"
    assert record["requestParameters"] == {"sourceIPAddress": "127.0.0.1"}
    assert record["responseElements"]["x-amz-request-id"] == response["ResponseMetadata"]["RequestId"]
    assert record["userIdentity"]["principalId"]
    assert (record["s3"]["configurationId"], record["s3"]["s3SchemaVersion"]) == ("mine", "1.0")
    assert (record["s3"]["bucket"]["name"], record["s3"]["bucket"]["arn"]) == (bucket, f"arn:aws:s3:::{bucket}")
    found = record["s3"]["object"]
    assert urllib.parse.unquote_plus(found["key"]) == "a b/ü+c"
    assert (found["size"], found["eTag"]) == (5, response["ETag"].strip('"'))
    assert "versionId" not in found


def test_every_kind_of_event(s3, bucket, told):
    kinds = ("ObjectCreated", "ObjectRemoved", "ObjectTagging")
    put(s3, bucket, rule(*(f"s3:{kind}:*" for kind in kinds)))
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    etag = s3.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    s3.complete_multipart_upload(Bucket=bucket, Key="m", UploadId=upload, MultipartUpload=parts)
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    s3.delete_object_tagging(Bucket=bucket, Key="k")
    s3.delete_object(Bucket=bucket, Key="k")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="v", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="v")
    records = told.records(8)
    assert [record["eventName"] for record in records] == [
        "ObjectCreated:Put",
        "ObjectCreated:Copy",
        "ObjectCreated:CompleteMultipartUpload",
        "ObjectTagging:Put",
        "ObjectTagging:Delete",
        "ObjectRemoved:Delete",
        "ObjectCreated:Put",
        "ObjectRemoved:DeleteMarkerCreated",
    ]
    sequencers = [record["s3"]["object"]["sequencer"] for record in records]
    assert sequencers == sorted(sequencers)
    versions = s3.list_object_versions(Bucket=bucket, Prefix="v")
    assert records[6]["s3"]["object"]["versionId"] == versions["Versions"][0]["VersionId"]
    assert records[7]["s3"]["object"]["versionId"] == versions["DeleteMarkers"][0]["VersionId"]


def test_filters(s3, bucket, told):
    put(s3, bucket, rule("s3:ObjectCreated:Put", prefix="in/", suffix=".txt"))
    for key in ("out/a.txt", "in/a.png", "in/a.txt"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    s3.copy_object(Bucket=bucket, Key="in/b.txt", CopySource=f"{bucket}/in/a.txt")
    s3.put_object(Bucket=bucket, Key="in/last.txt", Body=b"x")
    assert [record["s3"]["object"]["key"] for record in told.records(2)] == ["in/a.txt", "in/last.txt"]


def test_what_happens_before_it_runs_is_told(server, s3, bucket):
    sender = Told()
    follower = begin(server, "fresh", sender)
    put(s3, bucket, rule("s3:ObjectCreated:*", arn="arn:aws:sqs:us-east-1:000000000000:fresh"))
    s3.put_object(Bucket=bucket, Key="early", Body=b"x")
    end = run(server, follower)
    assert sender.records(1)[0]["s3"]["object"]["key"] == "early"
    end()


def test_what_was_there_before_is_not_told(s3, bucket, told):
    s3.put_object(Bucket=bucket, Key="before", Body=b"x")
    put(s3, bucket, rule("s3:ObjectCreated:*"))
    s3.put_object(Bucket=bucket, Key="after", Body=b"x")
    assert told.records(1)[0]["s3"]["object"]["key"] == "after"


def test_a_refused_message_is_sent_again(s3, bucket, told):
    put(s3, bucket, rule("s3:ObjectCreated:*"))
    told.messages.get(timeout=20)
    told.refuse = 2
    for key in ("a", "b"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert [record["s3"]["object"]["key"] for record in told.records(2)] == ["a", "b"]
    assert told.refuse == 0


def test_what_happens_while_nobody_follows_is_told_later(server, s3, bucket):
    sender = Told()
    follow(server, "others", sender)()
    put(s3, bucket, rule("s3:ObjectCreated:*", arn=TOPIC, kind="Topic"), kind="Topic")
    for number in range(5):
        s3.put_object(Bucket=bucket, Key=f"k{number}", Body=b"x")
    end = follow(server, "others", sender)
    assert [record["s3"]["object"]["key"] for record in sender.records(5)] == [f"k{n}" for n in range(5)]
    end()
    again = Told()
    end = follow(server, "others", again)
    s3.put_object(Bucket=bucket, Key="new", Body=b"x")
    assert [record["s3"]["object"]["key"] for record in again.records(1)] == ["new"]
    end()


def test_only_the_owner(server, bucket):
    other = server.client("AKIAOTHEROTHEROTHERX", "other-secret-other-secret-other-secret-x")
    with pytest.raises(other.exceptions.ClientError, match="AccessDenied"):
        put(other, bucket, rule("s3:ObjectCreated:*"))
    with pytest.raises(other.exceptions.ClientError, match="AccessDenied"):
        get(other, bucket)
    other.close()
