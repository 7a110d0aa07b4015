"""Tags of objects and buckets."""

from gateway.s3.routing import Operation as Op
from tests.gateway.http.security_rows import Row

TAGS = b"<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>"

ROWS = {
    Op.DeleteBucketTagging: Row("DELETE", "/doomed", "tagging=", status=204),
    Op.DeleteObjectTagging: Row("DELETE", "/raw/kept", "tagging=", status=204),
    Op.GetBucketTagging: Row("GET", "/doomed", "tagging=", status=404),
    Op.GetObjectTagging: Row("GET", "/raw/kept", "tagging="),
    Op.PutBucketTagging: Row("PUT", "/doomed", "tagging=", body=TAGS, status=204),
    Op.PutObjectTagging: Row("PUT", "/raw/kept", "tagging=", body=TAGS),
}
