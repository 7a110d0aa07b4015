"""The CRT transfer manager of s3transfer, which boto3 and aws-cli use on large machines: C code, trailers, many parts.

Made as aws-cli makes it: boto3's own switch takes no endpoint.
"""

from __future__ import annotations

import io
import os
from typing import Any

import pytest
from botocore.config import Config
from botocore.session import Session

from tests.compat.clients.features import DOT_KEYS, ODD_KEYS, proves
from tests.compat.clients.places import Place

s3transfer_crt = pytest.importorskip("s3transfer.crt")
pytestmark = pytest.mark.e2e
CLIENT = "s3transfer with the CRT"


def make_manager(place: Place, secret: str) -> Any:
    session = Session()
    session.set_credentials(place.site.access_key, secret)
    provider = s3transfer_crt.BotocoreCRTCredentialsWrapper(session.get_credentials()).to_crt_credentials_provider()
    client = s3transfer_crt.create_s3_crt_client(
        "us-east-1",
        crt_credentials_provider=provider,
        use_ssl=place.root is not None,
        verify=str(place.root) if place.root else None,
    )
    given = {
        "endpoint_url": place.site.endpoint,
        "region_name": "us-east-1",
        "config": Config(s3={"addressing_style": "path"}),
    }
    return s3transfer_crt.CRTTransferManager(client, s3transfer_crt.BotocoreCRTRequestSerializer(session, given))


@proves("multipart", "stream", "checksums", "small", "cross")
@pytest.mark.parametrize("size", [0, 5, 18 << 20])
def test_there_and_back(place: Place, size: int) -> None:
    body = os.urandom(size)
    with make_manager(place, place.site.secret_key) as manager:
        manager.upload(io.BytesIO(body), place.bucket, "k").result()
        back = io.BytesIO()
        manager.download(place.bucket, "k", back).result()
        assert back.getvalue() == body
        assert place.read("k") == body
        head = place.boto3.head_object(Bucket=place.bucket, Key="k", ChecksumMode="ENABLED")
        assert any(name.startswith("Checksum") for name in head)
        manager.delete(place.bucket, "k").result()
    assert place.keys() == []


@proves("keys")
def test_keys(place: Place) -> None:
    with make_manager(place, place.site.secret_key) as manager:
        for key in ODD_KEYS + DOT_KEYS:
            manager.upload(io.BytesIO(key.encode()), place.bucket, key).result()
            back = io.BytesIO()
            manager.download(place.bucket, key, back).result()
            assert back.getvalue() == key.encode()
    assert set(place.keys()) == set(ODD_KEYS + DOT_KEYS)


@proves("wrong_secret")
def test_wrong_secret(place: Place) -> None:
    with make_manager(place, place.wrong_secret) as manager:
        upload = manager.upload(io.BytesIO(b"x"), place.bucket, "k")
        with pytest.raises(Exception, match="SignatureDoesNotMatch"):
            upload.result()
    assert place.keys() == []
