"""Default encryption of buckets."""

from gateway.s3.routing import Operation as Op
from tests.gateway.http.security_rows import Row

AES256 = (
    b"<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>"
    b"</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"
)

ROWS = {
    Op.DeleteBucketEncryption: Row("DELETE", "/doomed", "encryption=", status=204),
    Op.GetBucketEncryption: Row("GET", "/raw", "encryption="),
    Op.PutBucketEncryption: Row("PUT", "/doomed", "encryption=", body=AES256),
}
