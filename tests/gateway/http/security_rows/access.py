"""Policies, ACLs, ownership, public access, who pays."""

from gateway.s3.routing import Operation as Op
from tests.gateway.http.security_rows import Row

POLICY = (
    b'{"Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteBucketWebsite",'
    b' "Resource": "arn:aws:s3:::raw"}]}'
)
OWNERSHIP = b"<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>"
BLOCK = b"<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>"
PAYER = b"<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>"
# Where ACLs are off, setting one is refused: that is the answer to who may ask.
ACL = {"x-amz-acl": "private"}

ROWS = {
    Op.DeleteBucketOwnershipControls: Row("DELETE", "/doomed", "ownershipControls=", status=204),
    Op.DeleteBucketPolicy: Row("DELETE", "/raw", "policy=", status=204),
    Op.DeletePublicAccessBlock: Row("DELETE", "/doomed", "publicAccessBlock=", status=204),
    Op.GetBucketAcl: Row("GET", "/raw", "acl="),
    Op.GetBucketOwnershipControls: Row("GET", "/raw", "ownershipControls="),
    Op.GetBucketPolicy: Row("GET", "/raw", "policy=", status=404),
    Op.GetBucketPolicyStatus: Row("GET", "/raw", "policyStatus=", status=404),
    Op.GetBucketRequestPayment: Row("GET", "/raw", "requestPayment="),
    Op.GetObjectAcl: Row("GET", "/raw/kept", "acl="),
    Op.GetPublicAccessBlock: Row("GET", "/raw", "publicAccessBlock="),
    Op.PutBucketAcl: Row("PUT", "/raw", "acl=", ACL, status=400),
    Op.PutBucketOwnershipControls: Row("PUT", "/doomed", "ownershipControls=", body=OWNERSHIP),
    Op.PutBucketPolicy: Row("PUT", "/raw", "policy=", body=POLICY, status=204),
    Op.PutBucketRequestPayment: Row("PUT", "/raw", "requestPayment=", body=PAYER),
    Op.PutObjectAcl: Row("PUT", "/raw/kept", "acl=", ACL, status=400),
    Op.PutPublicAccessBlock: Row("PUT", "/doomed", "publicAccessBlock=", body=BLOCK),
}


def prepare(s3):
    s3.delete_bucket_policy(Bucket="raw")
