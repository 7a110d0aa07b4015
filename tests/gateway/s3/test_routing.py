"""Routing: every operation of botocore's model reaches its own name, and nothing else reaches a wrong one."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import parse_qsl

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.errors import InvalidArgument, MethodNotAllowed, PreconditionFailed, S3Error
from gateway.s3.names import parse_target
from gateway.s3.operations_table import ALIASES, ROWS, Scope
from gateway.s3.routing import Operation, refuse, route, scope_of

MODEL = botocore.session.get_session().get_service_model("s3")
BEYOND_THE_MODEL = {"PostObject", "PreflightRequest"}


def test_the_table_has_every_operation_of_the_model_and_no_other():
    assert set(MODEL.operation_names) - set(ALIASES) == set(ROWS) - BEYOND_THE_MODEL
    assert {operation.value for operation in Operation} == set(ROWS)
    assert all(operation.action or operation is Operation.PreflightRequest for operation in Operation)


def model_request(name: str) -> tuple[str, Scope, dict[str, str], dict[str, str]]:
    """The least request of an operation, by the model: required query parameters and headers only."""
    model = MODEL.operation_model(name)
    path, _, raw_query = model.http["requestUri"].partition("?")
    scope = Scope.OBJECT if "{Key+}" in path else Scope.BUCKET if len(path) > 1 else Scope.SERVICE
    query = dict(parse_qsl(raw_query, keep_blank_values=True))
    headers = {}
    shape = model.input_shape
    if shape is not None:
        for member_name, member in shape.members.items():
            where = member.serialization.get("location")
            if member_name in shape.required_members and where == "querystring":
                query[member.serialization["name"]] = "1"
            if member_name in shape.required_members and where == "header":
                headers[member.serialization["name"].lower()] = "x"
    return model.http["method"], scope, query, headers


@pytest.mark.parametrize("name", MODEL.operation_names)
def test_every_operation_of_the_model_is_routed_to_its_name(name):
    method, scope, query, headers = model_request(name)
    if name == "ListDirectoryBuckets":
        query["max-directory-buckets"] = "10"  # on the wire it is ListBuckets otherwise
    assert route(method, scope, query, headers).value == ALIASES.get(name, name)


@pytest.mark.parametrize("name", MODEL.operation_names)
def test_every_query_parameter_of_the_model_is_known(name):
    shape = MODEL.operation_model(name).input_shape
    if shape is None:
        return
    row = ROWS[ALIASES.get(name, name)]
    members = [
        m.serialization["name"] for m in shape.members.values() if m.serialization.get("location") == "querystring"
    ]
    assert set(members) <= {row.subresource, *row.query}


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "expected"),
    [
        ("GET", "/", {}, {}, "ListBuckets"),
        ("GET", "/b", {}, {}, "ListObjects"),
        ("GET", "/b/", {"list-type": "2", "prefix": "uploads"}, {}, "ListObjectsV2"),
        ("GET", "/b", {"x-id": "ListObjects", "unknown": ""}, {}, "ListObjects"),
        ("HEAD", "/b", {}, {}, "HeadBucket"),
        ("HEAD", "/b/k", {"acl": ""}, {}, "HeadObject"),
        ("PUT", "/b/k", {}, {}, "PutObject"),
        ("PUT", "/b/k", {}, {"x-amz-copy-source": "/a/b"}, "CopyObject"),
        ("PUT", "/b/k", {"uploadId": "u", "partNumber": "1"}, {}, "UploadPart"),
        ("PUT", "/b/k", {"uploadId": "u", "partNumber": "1"}, {"x-amz-copy-source": "/a/b"}, "UploadPartCopy"),
        ("POST", "/b/k", {"uploads": ""}, {}, "CreateMultipartUpload"),
        ("POST", "/b/k", {"uploadId": "u"}, {}, "CompleteMultipartUpload"),
        ("DELETE", "/b/k", {"uploadId": "u"}, {}, "AbortMultipartUpload"),
        ("DELETE", "/b/k", {"versionId": "null"}, {}, "DeleteObject"),
        ("POST", "/b", {"delete": ""}, {}, "DeleteObjects"),
        ("POST", "/b", {}, {"content-type": "multipart/form-data; boundary=x"}, "PostObject"),
        ("GET", "/b", {"metrics": "", "id": "1"}, {}, "GetBucketMetricsConfiguration"),
        ("GET", "/b", {"metrics": ""}, {}, "ListBucketMetricsConfigurations"),
        ("OPTIONS", "/b/k", {}, {}, "PreflightRequest"),
    ],
)
def test_requests(method, path, query, headers, expected):
    assert route(method, scope_of(parse_target(path, "h")), query, headers).value == expected


@pytest.mark.parametrize(
    ("method", "scope", "query", "error"),
    [
        ("DELETE", Scope.OBJECT, {"legal-hold": ""}, MethodNotAllowed),  # never a plain DeleteObject
        ("DELETE", Scope.OBJECT, {"acl": ""}, MethodNotAllowed),
        ("DELETE", Scope.BUCKET, {"versioning": ""}, MethodNotAllowed),
        ("PUT", Scope.BUCKET, {"uploads": ""}, MethodNotAllowed),
        ("PUT", Scope.OBJECT, {"torrent": ""}, MethodNotAllowed),
        ("POST", Scope.OBJECT, {}, MethodNotAllowed),
        ("POST", Scope.SERVICE, {}, MethodNotAllowed),
        ("PATCH", Scope.OBJECT, {}, MethodNotAllowed),
        ("DELETE", Scope.SERVICE, {}, MethodNotAllowed),
        ("POST", Scope.BUCKET, {}, PreconditionFailed),
        ("GET", Scope.BUCKET, {"list-type": "3"}, InvalidArgument),
        ("GET", Scope.BUCKET, {"acl": "", "policy": ""}, InvalidArgument),
        ("PUT", Scope.OBJECT, {"partNumber": "1"}, InvalidArgument),
    ],
)
def test_refusals(method, scope, query, error):
    with pytest.raises(error):
        route(method, scope, query, {})


def test_what_is_not_done_is_refused_by_name():
    error = refuse(Operation.SelectObjectContent)
    assert (error.status, error.code) == (501, "NotImplemented")
    assert "SelectObjectContent" in error.text


@given(
    method=st.sampled_from(["GET", "PUT", "POST", "HEAD", "DELETE", "OPTIONS", "PATCH", "X"]),
    scope=st.sampled_from(Scope),
    query=st.dictionaries(
        st.sampled_from(sorted({row.subresource for row in ROWS.values()})) | st.text(max_size=5),
        st.text(max_size=3),
        max_size=3,
    ),
)
def test_any_request_has_an_operation_or_a_typed_error(method, scope, query):
    with suppress(S3Error):
        assert route(method, scope, query, {}) in Operation
