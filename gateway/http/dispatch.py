"""Operation → handler: what Skerry does of S3. Whatever has no line here is ``NotImplemented`` by its name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from gateway.http import bucket_calls, multipart_calls, object_reads, object_writes
from gateway.http.calls import Call
from gateway.s3.routing import Operation as Op

CallHandler = Callable[[Call], Awaitable[web.StreamResponse]]

HANDLERS: Final[dict[Op, CallHandler]] = {
    Op.AbortMultipartUpload: multipart_calls.abort_one,
    Op.CompleteMultipartUpload: multipart_calls.complete_one,
    Op.CopyObject: object_writes.copy_one,
    Op.CreateBucket: bucket_calls.create_bucket,
    Op.CreateMultipartUpload: multipart_calls.create_one,
    Op.DeleteBucket: bucket_calls.delete_bucket,
    Op.DeleteObject: object_writes.delete_one,
    Op.DeleteObjects: object_writes.delete_many,
    Op.GetBucketAcl: bucket_calls.get_bucket_acl,
    Op.GetBucketLocation: bucket_calls.get_location,
    Op.GetBucketVersioning: bucket_calls.get_versioning,
    Op.GetObject: object_reads.get_object,
    Op.GetObjectAcl: object_reads.get_object_acl,
    Op.HeadBucket: bucket_calls.head_bucket,
    Op.HeadObject: object_reads.head_object,
    Op.ListBuckets: bucket_calls.list_buckets,
    Op.ListMultipartUploads: multipart_calls.list_open_uploads,
    Op.ListObjectVersions: bucket_calls.list_versions,
    Op.ListObjects: bucket_calls.list_v1,
    Op.ListObjectsV2: bucket_calls.list_v2,
    Op.ListParts: multipart_calls.list_upload_parts,
    Op.PutBucketVersioning: bucket_calls.put_versioning,
    Op.PutObject: object_writes.put_one,
    Op.UploadPart: multipart_calls.put_part,
    Op.UploadPartCopy: multipart_calls.copy_part,
}
