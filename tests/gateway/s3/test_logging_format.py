"""Lines and keys of access logs: fields cannot be broken out of, names are AWS's."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.logging_format import (
    DELIVERY_TIME,
    EVENT_TIME,
    SIMPLE,
    LogRecord,
    LogSource,
    LogTarget,
    decode_logging,
    format_record,
    log_key,
    log_operation,
    render_logging,
)
from gateway.s3.routing import Operation

RECORD = LogRecord(
    owner="o" * 64,
    bucket="b",
    time_s=1_700_000_000,
    address="192.0.2.3",
    requester="",
    request_id="3E57427F33A59F07",
    operation="REST.GET.OBJECT",
    key="a b/c",
    request_uri="GET /b/a%20b/c HTTP/1.1",
    status=200,
    error_code="",
    sent_bytes=0,
    object_bytes=None,
    total_ms=7,
    referer="",
    user_agent="curl/7",
    version_id="",
    host_id="h=",
    signature="SigV4",
    cipher="",
    authentication="AuthHeader",
    host="localhost:9000",
    tls_version="",
)


def test_a_line():
    owner = "o" * 64
    assert format_record(RECORD) == (
        f"{owner} b [14/Nov/2023:22:13:20 +0000] 192.0.2.3 - 3E57427F33A59F07 REST.GET.OBJECT a%20b/c "
        '"GET /b/a%20b/c HTTP/1.1" 200 - - - 7 - "-" "curl/7" - h= SigV4 - AuthHeader localhost:9000 - - -\n'
    )


@given(st.text(), st.text(), st.text())
def test_no_text_breaks_out_of_its_field(agent, referer, key):
    line = format_record(RECORD._replace(user_agent=agent, referer=referer, key=key))
    assert line.count("\n") == 1
    assert len(re.findall(r'\[[^\]]*\]|"[^"]*"|\S+', line)) == 26


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        (Operation.PutObject, "REST.PUT.OBJECT"),
        (Operation.ListObjectsV2, "REST.GET.BUCKET"),
        (Operation.GetBucketVersioning, "REST.GET.VERSIONING"),
        (Operation.DeleteObjects, "REST.POST.MULTI_OBJECT_DELETE"),
        (Operation.UploadPart, "REST.PUT.PART"),
        (Operation.GetObjectTagging, "REST.GET.OBJECT_TAGGING"),
        (Operation.GetBucketTagging, "REST.GET.TAGGING"),
        (Operation.GetBucketPolicy, "REST.GET.BUCKETPOLICY"),
    ],
)
def test_names_of_operations(operation, name):
    assert log_operation(operation, operation.row.method) == name


def test_keys():
    source = LogSource("123456789012", "eu-west-1", "b")
    day, later = 1_700_000_000, 1_700_086_400
    keys = [
        log_key(LogTarget("t", "p/", form), source, day, later, "U" * 16)
        for form in ("", SIMPLE, EVENT_TIME, DELIVERY_TIME)
    ]
    unique = "U" * 16
    assert keys == [
        f"p/2023-11-15-22-13-20-{unique}",
        f"p/2023-11-15-22-13-20-{unique}",
        f"p/123456789012/eu-west-1/b/2023/11/14/2023-11-14-00-00-00-{unique}",
        f"p/123456789012/eu-west-1/b/2023/11/15/2023-11-15-22-13-20-{unique}",
    ]


@pytest.mark.parametrize("form", ["", SIMPLE, EVENT_TIME, DELIVERY_TIME])
def test_documents_come_back(form):
    target = LogTarget("target", "a&b/", form)
    assert decode_logging(render_logging(target)) == target
    assert decode_logging(render_logging(None)) is None
