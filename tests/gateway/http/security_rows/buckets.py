"""Buckets and listings."""

from gateway.s3.routing import Operation as Op
from tests.gateway.http.security_rows import Row

ENABLE = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"

ROWS = {
    Op.CreateBucket: Row("PUT", "/made-by-this"),
    Op.DeleteBucket: Row("DELETE", "/doomed", status=204),
    Op.GetBucketLocation: Row("GET", "/raw", "location="),
    Op.GetBucketVersioning: Row("GET", "/raw", "versioning="),
    Op.HeadBucket: Row("HEAD", "/raw"),
    Op.ListBuckets: Row("GET", "/"),
    Op.ListObjectVersions: Row("GET", "/raw", "versions="),
    Op.ListObjects: Row("GET", "/raw"),
    Op.ListObjectsV2: Row("GET", "/raw", "list-type=2"),
    Op.PutBucketVersioning: Row("PUT", "/versions-here", "versioning=", body=ENABLE),
}


def prepare(s3):
    for name in ("doomed", "versions-here"):
        s3.create_bucket(Bucket=name)
