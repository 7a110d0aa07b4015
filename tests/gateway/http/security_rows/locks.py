"""Object Lock. Buckets without it answer so to who may ask; what it does is tested elsewhere."""

from gateway.s3.routing import Operation as Op
from tests.gateway.http.security_rows import Row

HOLD = b"<LegalHold><Status>ON</Status></LegalHold>"
LOCK = b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"
RETENTION = b"<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2099-01-01T00:00:00Z</RetainUntilDate></Retention>"

ROWS = {
    Op.GetObjectLegalHold: Row("GET", "/raw/kept", "legal-hold=", status=400),
    Op.GetObjectLockConfiguration: Row("GET", "/raw", "object-lock=", status=404),
    Op.GetObjectRetention: Row("GET", "/raw/kept", "retention=", status=400),
    Op.PutObjectLegalHold: Row("PUT", "/raw/kept", "legal-hold=", body=HOLD, status=400, md5=True),
    Op.PutObjectLockConfiguration: Row("PUT", "/raw", "object-lock=", body=LOCK, status=409, md5=True),
    Op.PutObjectRetention: Row("PUT", "/raw/kept", "retention=", body=RETENTION, status=400, md5=True),
}
