"""Every permission of an ACL, to every kind of grantee, against every verb: the table of the User Guide.

Source: "Access control list (ACL) overview", "Mapping of ACL permissions and access policy permissions".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.compat.access_clients import Account, make_bucket
from tests.gateway.http.server import Server
from tests.gateway.http.stores import opener

GROUPS = "http://acs.amazonaws.com/groups/global/"
PERMISSIONS = ("READ", "WRITE", "READ_ACP", "WRITE_ACP", "FULL_CONTROL")
Verb = Callable[[Any, str, dict[str, Any]], Any]
BUCKET_VERBS: dict[str, Verb] = {
    "list": lambda s3, bucket, _: s3.list_objects_v2(Bucket=bucket),
    "list versions": lambda s3, bucket, _: s3.list_object_versions(Bucket=bucket),
    "list uploads": lambda s3, bucket, _: s3.list_multipart_uploads(Bucket=bucket),
    "head": lambda s3, bucket, _: s3.head_bucket(Bucket=bucket),
    "put": lambda s3, bucket, _: s3.put_object(Bucket=bucket, Key="new", Body=b""),
    "create upload": lambda s3, bucket, _: s3.create_multipart_upload(Bucket=bucket, Key="new"),
    "get acl": lambda s3, bucket, _: s3.get_bucket_acl(Bucket=bucket),
    "put acl": lambda s3, bucket, acl: s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy=acl),
    "get object": lambda s3, bucket, _: s3.get_object(Bucket=bucket, Key="k"),
    "get object acl": lambda s3, bucket, _: s3.get_object_acl(Bucket=bucket, Key="k"),
    "get policy": lambda s3, bucket, _: s3.get_bucket_policy(Bucket=bucket),
    "put policy": lambda s3, bucket, _: s3.put_bucket_policy(Bucket=bucket, Policy="{}"),
    "get versioning": lambda s3, bucket, _: s3.get_bucket_versioning(Bucket=bucket),
    "get location": lambda s3, bucket, _: s3.get_bucket_location(Bucket=bucket),
    "get tagging": lambda s3, bucket, _: s3.get_bucket_tagging(Bucket=bucket),
    "delete bucket": lambda s3, bucket, _: s3.delete_bucket(Bucket=bucket),
}
OF_BUCKET = {
    "READ": {"list", "list versions", "list uploads", "head"},
    "WRITE": {"put", "create upload"},
    "READ_ACP": {"get acl"},
    "WRITE_ACP": {"put acl"},
}
OBJECT_VERBS: dict[str, Verb] = {
    "get": lambda s3, bucket, _: s3.get_object(Bucket=bucket, Key="k"),
    "head": lambda s3, bucket, _: s3.head_object(Bucket=bucket, Key="k"),
    "get version": lambda s3, bucket, _: s3.get_object(Bucket=bucket, Key="k", VersionId="null"),
    "get acl": lambda s3, bucket, _: s3.get_object_acl(Bucket=bucket, Key="k"),
    "put acl": lambda s3, bucket, acl: s3.put_object_acl(Bucket=bucket, Key="k", AccessControlPolicy=acl),
    "put": lambda s3, bucket, _: s3.put_object(Bucket=bucket, Key="k", Body=b""),
    "delete": lambda s3, bucket, _: s3.delete_object(Bucket=bucket, Key="k"),
    "get tags": lambda s3, bucket, _: s3.get_object_tagging(Bucket=bucket, Key="k"),
    "put tags": lambda s3, bucket, _: s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": []}),
    "list": lambda s3, bucket, _: s3.list_objects_v2(Bucket=bucket),
    "copy onto": lambda s3, bucket, _: s3.copy_object(Bucket=bucket, Key="n", CopySource=f"{bucket}/k"),
}
OF_OBJECT = {
    "READ": {"get", "head", "get version"},
    "WRITE": set(),  # "Not applicable"
    "READ_ACP": {"get acl"},
    "WRITE_ACP": {"put acl"},
}


def _all(table: dict[str, set[str]], permission: str) -> set[str]:
    return set.union(*table.values()) if permission == "FULL_CONTROL" else table[permission]


def _policy(owner: Account, grantee: dict[str, str], permission: str) -> dict[str, Any]:
    own = {"Grantee": {"Type": "CanonicalUser", "ID": _id(owner)}, "Permission": "FULL_CONTROL"}
    return {"Owner": {"ID": _id(owner)}, "Grants": [own, {"Grantee": grantee, "Permission": permission}]}


def _id(account: Account) -> str:
    """The canonical id."""
    ident: str = account.s3.list_buckets()["Owner"]["ID"]
    return ident


def _allowed(verbs: dict[str, Verb], s3: Any, bucket: str, acl: dict[str, Any]) -> set[str]:
    """The verbs that were not refused as AccessDenied; what else is said of them is another matter."""
    done = set()
    for name, verb in verbs.items():
        try:
            verb(s3, bucket, acl)
            done.add(name)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 403:
                done.add(name)
    return done


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(opener("memory", tmp_path_factory.mktemp("data"))) as running:
        yield running


@pytest.fixture
def asking(request: pytest.FixtureRequest, bob: Account, nobody: Any) -> tuple[dict[str, str], Any]:
    kinds = {
        "bob": ({"Type": "CanonicalUser", "ID": _id(bob)}, bob.s3),
        "authenticated": ({"Type": "Group", "URI": GROUPS + "AuthenticatedUsers"}, bob.s3),
        "everybody": ({"Type": "Group", "URI": GROUPS + "AllUsers"}, nobody),
        "stranger": ({"Type": "Group", "URI": GROUPS + "AuthenticatedUsers"}, nobody),
    }
    found: tuple[dict[str, str], Any] = kinds[request.param]
    return found


KINDS = pytest.mark.parametrize("asking", ["bob", "authenticated", "everybody", "stranger"], indirect=True)


@KINDS
@pytest.mark.parametrize("permission", PERMISSIONS)
def test_permissions_on_a_bucket(
    ann: Account, asking: tuple[dict[str, str], Any], permission: str, request: pytest.FixtureRequest
) -> None:
    grantee, s3 = asking
    bucket = make_bucket(ann, "ObjectWriter")
    ann.s3.put_object(Bucket=bucket, Key="k", Body=b"")
    acl = _policy(ann, grantee, permission)
    ann.s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy=acl)
    expected = set() if "stranger" in request.node.name else _all(OF_BUCKET, permission)
    assert _allowed(BUCKET_VERBS, s3, bucket, acl) == expected


@KINDS
@pytest.mark.parametrize("permission", PERMISSIONS)
def test_permissions_on_an_object(
    ann: Account, asking: tuple[dict[str, str], Any], permission: str, request: pytest.FixtureRequest
) -> None:
    grantee, s3 = asking
    bucket = make_bucket(ann, "ObjectWriter")
    ann.s3.put_object(Bucket=bucket, Key="k", Body=b"")
    acl = _policy(ann, grantee, permission)
    ann.s3.put_object_acl(Bucket=bucket, Key="k", AccessControlPolicy=acl)
    expected = set() if "stranger" in request.node.name else _all(OF_OBJECT, permission)
    assert _allowed(OBJECT_VERBS, s3, bucket, acl) == expected


CANNED = {
    "private": set(),
    "public-read": {(GROUPS + "AllUsers", "READ")},
    "public-read-write": {(GROUPS + "AllUsers", "READ"), (GROUPS + "AllUsers", "WRITE")},
    "authenticated-read": {(GROUPS + "AuthenticatedUsers", "READ")},
    "log-delivery-write": {
        ("http://acs.amazonaws.com/groups/s3/LogDelivery", "WRITE"),
        ("http://acs.amazonaws.com/groups/s3/LogDelivery", "READ_ACP"),
    },
    "bucket-owner-read": {("ann", "READ")},
    "bucket-owner-full-control": {("ann", "FULL_CONTROL")},
}


@pytest.mark.parametrize("acl", sorted(CANNED))
def test_canned_acls(ann: Account, bob: Account, acl: str) -> None:
    bucket = make_bucket(ann, "ObjectWriter")
    ann.s3.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    people = {_id(ann): "ann", _id(bob): "bob"}
    if not acl.startswith("log"):
        bob.s3.put_object(Bucket=bucket, Key="k", Body=b"", ACL=acl)
        got = bob.s3.get_object_acl(Bucket=bucket, Key="k")
        found = {
            (people.get(grant["Grantee"].get("ID", ""), grant["Grantee"].get("URI")), grant["Permission"])
            for grant in got["Grants"]
        }
        assert (people[got["Owner"]["ID"]], found) == ("bob", CANNED[acl] | {("bob", "FULL_CONTROL")})
    if not acl.startswith("bucket-owner"):
        ann.s3.put_bucket_acl(Bucket=bucket, ACL=acl)
        got = ann.s3.get_bucket_acl(Bucket=bucket)
        found = {
            (people.get(grant["Grantee"].get("ID", ""), grant["Grantee"].get("URI")), grant["Permission"])
            for grant in got["Grants"]
        }
        assert found == CANNED[acl] | {("ann", "FULL_CONTROL")}
