"""Lifecycle rules and restoring."""

from gateway.s3.routing import Operation as Op
from tests.gateway.http.security_rows import Row

RULES = (
    b"<LifecycleConfiguration><Rule><ID>r</ID><Status>Enabled</Status><Filter><Prefix>x/</Prefix></Filter>"
    b"<Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>"
)
RESTORE = b"<RestoreRequest><Days>1</Days></RestoreRequest>"

ROWS = {
    Op.DeleteBucketLifecycle: Row("DELETE", "/doomed", "lifecycle=", status=204),
    Op.GetBucketLifecycleConfiguration: Row("GET", "/doomed", "lifecycle=", status=404),
    Op.PutBucketLifecycleConfiguration: Row("PUT", "/doomed", "lifecycle=", body=RULES, md5=True),
    Op.RestoreObject: Row("POST", "/raw/kept", "restore=", body=RESTORE, status=403),
}
