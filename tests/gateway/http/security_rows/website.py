"""Websites."""

from gateway.s3.routing import Operation as Op
from tests.gateway.http.security_rows import Row

SITE = b"<WebsiteConfiguration><IndexDocument><Suffix>i</Suffix></IndexDocument></WebsiteConfiguration>"

ROWS = {
    Op.DeleteBucketWebsite: Row("DELETE", "/raw", "website=", status=204),
    Op.GetBucketWebsite: Row("GET", "/raw", "website=", status=404),
    Op.PutBucketWebsite: Row("PUT", "/doomed", "website=", body=SITE),
}
