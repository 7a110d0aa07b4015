"""Multipart uploads."""

from gateway.s3.routing import Operation as Op
from tests.gateway.http.security_rows import Row

COMPLETE = b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>%s</ETag></Part></CompleteMultipartUpload>"

ROWS = {
    Op.AbortMultipartUpload: Row("DELETE", "/raw/up", "uploadId={u}", status=204),
    Op.CompleteMultipartUpload: Row("POST", "/raw/up", "uploadId={u}", body=COMPLETE),
    Op.CreateMultipartUpload: Row("POST", "/raw/up2", "uploads="),
    Op.ListMultipartUploads: Row("GET", "/raw", "uploads="),
    Op.ListParts: Row("GET", "/raw/up", "uploadId={u}"),
    Op.UploadPart: Row("PUT", "/raw/up", "partNumber=2&uploadId={u}", body=b"part"),
    Op.UploadPartCopy: Row("PUT", "/raw/up", "partNumber=2&uploadId={u}", {"x-amz-copy-source": "/raw/kept"}),
}
