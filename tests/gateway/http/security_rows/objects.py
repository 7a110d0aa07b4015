"""Objects: put, get, copy, delete, rename."""

from gateway.s3.routing import Operation as Op
from tests.gateway.http.security_rows import Row

DELETE = b"<Delete><Object><Key>kept</Key></Object></Delete>"

ROWS = {
    Op.CopyObject: Row("PUT", "/raw/new", headers={"x-amz-copy-source": "/raw/kept"}),
    Op.DeleteObject: Row("DELETE", "/raw/kept", status=204),
    Op.DeleteObjects: Row("POST", "/raw", "delete=", body=DELETE, md5=True),
    Op.GetObject: Row("GET", "/raw/kept"),
    Op.GetObjectAttributes: Row("GET", "/raw/kept", "attributes=", {"x-amz-object-attributes": "ETag"}),
    Op.HeadObject: Row("HEAD", "/raw/kept"),
    Op.PutObject: Row("PUT", "/raw/new", body=b"new"),
    Op.RenameObject: Row("PUT", "/raw/new", "renameObject=", {"x-amz-rename-source": "/raw/kept"}),
}
