"""The error table and its XML."""

from __future__ import annotations

from xml.etree.ElementTree import fromstring

import botocore.session
import pytest

from gateway.s3 import errors
from gateway.s3.errors import NoSuchKey, NotModified, S3Error, invalid_argument, not_implemented_header, to_xml

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, S3Error)]


def test_codes_are_unique_and_statuses_are_http_errors():
    codes = [error.code for error in CLASSES if error is not S3Error]
    assert len(codes) == len(set(codes))
    assert all(300 <= error.status < 600 and error.message and error.__doc__ for error in CLASSES)


def test_every_error_of_the_model_is_there():
    model = botocore.session.get_session().get_service_model("s3")
    modelled = {
        shape.error_code for name in model.operation_names for shape in model.operation_model(name).error_shapes
    }
    assert modelled <= {error.code for error in CLASSES}


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_renders_as_xml(kind):
    body = to_xml(kind(), "/b/k", "REQ", "HOST")
    if kind is NotModified:
        assert body == b""
        return
    document = fromstring(body)
    assert document.tag == "Error"
    assert [child.tag for child in document] == ["Code", "Message", "Resource", "RequestId", "HostId"]
    assert document.findtext("Code") == kind.code
    assert document.findtext("Message") == kind.message


def test_extra_elements_and_escaping():
    error = NoSuchKey("<&> \x07 \udcff", Key="a]]>b", BucketName=None)
    text = to_xml(error, "/b/<", "R", "H").decode()
    assert "<Message>&lt;&amp;&gt; &#x7; ?</Message>" in text
    assert "<Key>a]]&gt;b</Key>" in text
    assert "BucketName" not in text
    argument = invalid_argument("No", "max-keys", "x")
    assert argument.extra == {"ArgumentName": "max-keys", "ArgumentValue": "x"}
    header = not_implemented_header("x-amz-tagging")
    assert (header.status, header.extra) == (501, {"Header": "x-amz-tagging"})
