"""What buckets are described with: analytics, inventory, metrics, tiering, replication, acceleration, their tags."""

from gateway.s3.routing import Operation as Op
from tests.gateway.http.security_rows import Row

ACCELERATE = b"<AccelerateConfiguration><Status>Suspended</Status></AccelerateConfiguration>"
ANALYTICS = b"<AnalyticsConfiguration><Id>a</Id><StorageClassAnalysis></StorageClassAnalysis></AnalyticsConfiguration>"
INVENTORY = (
    b"<InventoryConfiguration><Id>a</Id><IsEnabled>false</IsEnabled><Schedule><Frequency>Daily</Frequency></Schedule>"
    b"<IncludedObjectVersions>Current</IncludedObjectVersions><Destination><S3BucketDestination>"
    b"<Bucket>arn:aws:s3:::raw</Bucket><Format>CSV</Format></S3BucketDestination></Destination>"
    b"</InventoryConfiguration>"
)
TIERING = (
    b"<IntelligentTieringConfiguration><Id>a</Id><Status>Enabled</Status><Tiering><Days>90</Days>"
    b"<AccessTier>ARCHIVE_ACCESS</AccessTier></Tiering></IntelligentTieringConfiguration>"
)
METRICS = b"<MetricsConfiguration><Id>a</Id></MetricsConfiguration>"

ROWS = {
    Op.DeleteBucketAnalyticsConfiguration: Row("DELETE", "/doomed", "analytics=&id=a", status=404),
    Op.DeleteBucketIntelligentTieringConfiguration: Row("DELETE", "/doomed", "intelligent-tiering=&id=a", status=404),
    Op.DeleteBucketInventoryConfiguration: Row("DELETE", "/doomed", "inventory=&id=a", status=404),
    Op.DeleteBucketMetricsConfiguration: Row("DELETE", "/doomed", "metrics=&id=a", status=404),
    Op.DeleteBucketReplication: Row("DELETE", "/doomed", "replication=", status=204),
    Op.GetBucketAbac: Row("GET", "/raw", "abac="),
    Op.GetBucketAccelerateConfiguration: Row("GET", "/raw", "accelerate="),
    Op.GetBucketAnalyticsConfiguration: Row("GET", "/raw", "analytics=&id=a", status=404),
    Op.GetBucketIntelligentTieringConfiguration: Row("GET", "/raw", "intelligent-tiering=&id=a", status=404),
    Op.GetBucketInventoryConfiguration: Row("GET", "/raw", "inventory=&id=a", status=404),
    Op.GetBucketMetricsConfiguration: Row("GET", "/raw", "metrics=&id=a", status=404),
    Op.GetBucketReplication: Row("GET", "/raw", "replication=", status=404),
    Op.ListBucketAnalyticsConfigurations: Row("GET", "/raw", "analytics="),
    Op.ListBucketIntelligentTieringConfigurations: Row("GET", "/raw", "intelligent-tiering="),
    Op.ListBucketInventoryConfigurations: Row("GET", "/raw", "inventory="),
    Op.ListBucketMetricsConfigurations: Row("GET", "/raw", "metrics="),
    Op.PutBucketAbac: Row("PUT", "/doomed", "abac=", body=b"<AbacStatus><Status>Disabled</Status></AbacStatus>"),
    Op.PutBucketAccelerateConfiguration: Row("PUT", "/doomed", "accelerate=", body=ACCELERATE),
    Op.PutBucketAnalyticsConfiguration: Row("PUT", "/doomed", "analytics=&id=a", body=ANALYTICS),
    Op.PutBucketIntelligentTieringConfiguration: Row("PUT", "/doomed", "intelligent-tiering=&id=a", body=TIERING),
    Op.PutBucketInventoryConfiguration: Row("PUT", "/doomed", "inventory=&id=a", body=INVENTORY),
    Op.PutBucketMetricsConfiguration: Row("PUT", "/doomed", "metrics=&id=a", body=METRICS),
    Op.PutBucketReplication: Row("PUT", "/doomed", "replication=", status=400),
}
