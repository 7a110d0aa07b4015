"""CORS configurations."""

from gateway.s3.routing import Operation as Op
from tests.gateway.http.security_rows import Row

CORS = (
    b"<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule>"
    b"</CORSConfiguration>"
)

ROWS = {
    Op.DeleteBucketCors: Row("DELETE", "/doomed", "cors=", status=204),
    Op.GetBucketCors: Row("GET", "/doomed", "cors=", status=404),
    Op.PutBucketCors: Row("PUT", "/doomed", "cors=", body=CORS, md5=True),
}
