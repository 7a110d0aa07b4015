"""Lifecycle of real sites: expiry by the running server, archives, restoring, two sites that agree."""

import contextlib
import json
import os
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from tests.support.net import wait_until
from tests.support.site import CloudSettings, Site

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
SIZE = 3 << 20


def rule(**parts):
    return {"ID": "one", "Status": "Enabled", "Filter": {"Prefix": ""}, **parts}


def put_rules(s3, bucket, *rules):
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)})


def code_of(call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


def later(days):
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


def run_pass(site, days):
    return json.loads(site.run("lifecycle", "run", "--at", later(days), "--json").stdout)


@pytest.fixture
def settings(cloud):
    return CloudSettings(cloud.endpoint, cloud.create_bucket(), cloud.access_key, cloud.secret_key)


def test_the_server_expires_by_itself(tmp_path):
    with Site(tmp_path / "site", "site", settings={"lifecycle": {"debug_day_s": 1.0}}) as site:
        s3 = site.client()
        s3.create_bucket(Bucket="box")
        put_rules(
            s3,
            "box",
            rule(Filter={"Prefix": "short/"}, Expiration={"Days": 1}),
            rule(ID="l", Filter={"Prefix": "long/"}, Expiration={"Days": 5000}),
        )
        for key in ("short/a", "long/a"):
            s3.put_object(Bucket="box", Key=key, Body=b"x")

        def keys():
            return [one["Key"] for one in s3.list_objects_v2(Bucket="box").get("Contents", [])]

        wait_until(lambda: keys() == ["long/a"], "what is due has expired")
        summary = json.loads(site.run("lifecycle", "run", "--json").stdout)
        assert (summary["versions"], summary["expired"]) == (1, 0)
        assert "nothing was due" in site.run("lifecycle", "run").stdout
        assert site.run("lifecycle", "run", "--at", "someday", check=False).returncode == 2
    assert "killing it" not in site.log  # lifecycle ends when it is told to


def test_archived_objects_are_in_the_cloud_only_until_restored(tmp_path, settings):
    with Site(tmp_path / "site", "site", settings) as site:
        s3 = site.client()
        s3.create_bucket(Bucket="box")
        body = os.urandom(SIZE)
        s3.put_object(Bucket="box", Key="k", Body=body)
        s3.put_object(Bucket="box", Key="direct", Body=body[::-1], StorageClass="DEEP_ARCHIVE")
        put_rules(s3, "box", rule(Transitions=[{"Days": 10, "StorageClass": "GLACIER"}]))
        assert run_pass(site, 5)["transitioned"] == 0
        assert s3.get_object(Bucket="box", Key="k")["Body"].read() == body
        wait_until(
            lambda: s3.head_object(Bucket="box", Key="k")["ReplicationStatus"] == "COMPLETED", "it is in the cloud"
        )
        wait_until(
            lambda: s3.head_object(Bucket="box", Key="direct")["ReplicationStatus"] == "COMPLETED", "so is the other"
        )
        summary = run_pass(site, 11)
        assert (summary["transitioned"], summary["waiting"]) == (1, 0)
        assert summary["evicted_bytes"] > SIZE  # both
        name = {"Bucket": "box", "Key": "k"}
        assert s3.head_object(**name)["StorageClass"] == "GLACIER"
        assert code_of(s3.get_object, **name) == "InvalidObjectState"
        copy = {"Bucket": "box", "Key": "copy", "CopySource": "box/k"}
        assert code_of(s3.copy_object, **copy) == "ObjectNotInActiveTierError"
        listed = {one["Key"]: one["StorageClass"] for one in s3.list_objects_v2(Bucket="box")["Contents"]}
        assert listed == {"direct": "DEEP_ARCHIVE", "k": "GLACIER"}
        assert "Restore" not in s3.head_object(**name)
        for wrong in ({}, {"Days": 0}, {"Days": 1, "GlacierJobParameters": {"Tier": "Slow"}}):
            assert code_of(s3.restore_object, **name, RestoreRequest=wrong) in ("MalformedXML", "InvalidArgument")
        first = s3.restore_object(**name, RestoreRequest={"Days": 2, "GlacierJobParameters": {"Tier": "Expedited"}})
        assert first["ResponseMetadata"]["HTTPStatusCode"] == 202
        head = s3.head_object(**name)
        assert head["Restore"].startswith('ongoing-request="false", expiry-date="')
        assert s3.get_object(**name)["Body"].read() == body
        again = s3.restore_object(**name, RestoreRequest={"Days": 3})
        assert again["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert s3.head_object(**name)["Restore"] != head["Restore"]
        s3.copy_object(**copy)
        assert s3.get_object(Bucket="box", Key="copy")["Body"].read() == body
        s3.delete_object(Bucket="box", Key="copy")
        assert run_pass(site, 2)["restores_ended"] == 0
        assert run_pass(site, 5)["restores_ended"] == 1
        assert code_of(s3.get_object, **name) == "InvalidObjectState"
        assert "Restore" not in s3.head_object(**name)
        assert json.loads(site.run("verify", "--json").stdout)


def test_two_sites_expire_the_same_objects_and_agree(tmp_path, settings):
    first = Site(tmp_path / "one", "one", settings)
    with first:
        one = first.client()
        one.create_bucket(Bucket="box")
        one.put_bucket_versioning(Bucket="box", VersioningConfiguration={"Status": "Enabled"})
        put_rules(one, "box", rule(Expiration={"Days": 1}))
        for number in range(5):
            one.put_object(Bucket="box", Key=f"k{number}", Body=b"x")
    shutil.copy(first.data / "keys" / "realm.key", tmp_path / "realm.key")
    second = Site(tmp_path / "two", "two", settings, settings={"realm": {"key_file": str(tmp_path / "realm.key")}})

    def rows(s3):
        with contextlib.suppress(ClientError):
            found = s3.list_object_versions(Bucket="box")
            rows = [*found.get("Versions", []), *found.get("DeleteMarkers", [])]
            return sorted((row["Key"], row["VersionId"], row["IsLatest"], "Size" in row) for row in rows)
        return []

    first.run("replicate", "--once")
    with second:
        wait_until(lambda: len(rows(second.client())) == 5, "the second site has the objects")
    assert [run_pass(site, 3)["expired"] for site in (first, second)] == [5, 5]  # neither knows of the other
    with first, second:
        one, two = first.client(), second.client()
        before = rows(one)
        assert len(before) == 10
        for site in (first, second, first):
            site.run("replicate", "--once")
        assert rows(one) == rows(two) == before
