"""obstore (Rust's object_store): conditional puts as its consumers use them, ranges, bulk delete, signed URLs."""

from __future__ import annotations

import datetime
import io
import os
from typing import Any

import pytest

from tests.compat.clients.features import ODD_KEYS, proves
from tests.compat.clients.places import Place
from tests.compat.clients.web import fetch

obstore = pytest.importorskip("obstore")
pytestmark = [pytest.mark.e2e, pytest.mark.compat]
CLIENT = "obstore"
KEYS = tuple(key for key in ODD_KEYS if "//" not in key and not key.startswith("/") and not key.endswith("/"))
"""Its paths have no empty segments, and none that are only dots."""


def make_store(place: Place, secret: str) -> Any:
    from obstore.store import S3Store

    options = {"root_certificate": place.root.read_bytes()} if place.root else {"allow_http": True}
    return S3Store(
        place.bucket,
        endpoint=place.site.endpoint,
        access_key_id=place.site.access_key,
        secret_access_key=secret,
        region="us-east-1",
        client_options=options,
        retry_config={"max_retries": 0},
    )


@pytest.fixture
def store(place: Place) -> Any:
    return make_store(place, place.site.secret_key)


@proves("small", "copy", "list", "delete_many", "no_such_key", "cross")
def test_objects(store: Any, place: Place) -> None:
    obstore.put(store, "dir/small", b"hello")
    assert place.read("dir/small") == bytes(obstore.get(store, "dir/small").bytes()) == b"hello"
    assert obstore.head(store, "dir/small")["size"] == 5
    obstore.copy(store, "dir/small", "dir/deep/copy")
    listed = obstore.list_with_delimiter(store, "dir")
    assert (list(listed["common_prefixes"]), [row["path"] for row in listed["objects"]]) == (
        ["dir/deep"],
        ["dir/small"],
    )
    obstore.delete(store, ["dir/small", "dir/deep/copy"])
    assert [row for page in obstore.list(store) for row in page] == []
    with pytest.raises(FileNotFoundError):
        obstore.get(store, "dir/small")


@proves("stream", "multipart", "range")
def test_large_object(store: Any, place: Place) -> None:
    body = os.urandom(17 << 20)
    obstore.put(store, "large", io.BytesIO(body), use_multipart=True, chunk_size=5 << 20)
    assert bytes(obstore.get_range(store, "large", start=6_000_000, end=6_001_000)) == body[6_000_000:6_001_000]
    assert bytes(obstore.get(store, "large").bytes()) == place.read("large") == body


@proves("if_none_match", "if_match")
def test_conditions(store: Any, place: Place) -> None:
    first = obstore.put(store, "k", b"first", mode="create")
    with pytest.raises(obstore.exceptions.AlreadyExistsError):
        obstore.put(store, "k", b"again", mode="create")
    obstore.put(store, "k", b"second", mode={"e_tag": first["e_tag"]})
    with pytest.raises(obstore.exceptions.PreconditionError):
        obstore.put(store, "k", b"third", mode={"e_tag": first["e_tag"]})
    assert place.read("k") == b"second"


@proves("keys")
def test_keys(store: Any, place: Place) -> None:
    for key in KEYS:
        obstore.put(store, key, key.encode())
        assert bytes(obstore.get(store, key).bytes()) == key.encode()
    assert {row["path"] for page in obstore.list(store) for row in page} == set(place.keys())
    assert len(place.keys()) == len(KEYS)


@proves("presign_get", "presign_put", "metadata")
def test_signed(store: Any, place: Place) -> None:
    minute = datetime.timedelta(minutes=1)
    fetch(obstore.sign(store, "PUT", "a b/ü", minute), place.root, b"by url")
    assert fetch(obstore.sign(store, "GET", "a b/ü", minute), place.root) == b"by url"
    obstore.put(store, "m", b"x", attributes={"Content-Type": "text/x-thing", "mine": "value of it"})
    head = place.boto3.head_object(Bucket=place.bucket, Key="m")
    assert (head["ContentType"], head["Metadata"]) == ("text/x-thing", {"mine": "value of it"})


@proves("wrong_secret")
def test_wrong_secret(place: Place) -> None:
    with pytest.raises(obstore.exceptions.PermissionDeniedError):
        obstore.put(make_store(place, place.wrong_secret), "k", b"x")
    assert place.keys() == []
