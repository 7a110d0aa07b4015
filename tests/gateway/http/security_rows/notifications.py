"""Access logs and notifications of buckets."""

from gateway.s3.routing import Operation as Op
from tests.gateway.http.security_rows import Row

LOGGING = (
    b"<BucketLoggingStatus><LoggingEnabled><TargetBucket>raw</TargetBucket><TargetPrefix>log/</TargetPrefix>"
    b"</LoggingEnabled></BucketLoggingStatus>"
)
NOTHING = b"<NotificationConfiguration></NotificationConfiguration>"

ROWS = {
    Op.GetBucketLogging: Row("GET", "/raw", "logging="),
    Op.GetBucketNotificationConfiguration: Row("GET", "/raw", "notification="),
    Op.PutBucketLogging: Row("PUT", "/doomed", "logging=", body=LOGGING),
    Op.PutBucketNotificationConfiguration: Row("PUT", "/doomed", "notification=", body=NOTHING),
}
