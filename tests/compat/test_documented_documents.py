"""Documents as the API reference and the User Guide print them: taken as printed, and given back with the same meaning.

White space, namespaces and the order of siblings may differ: clients do not see them.
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from hashlib import md5
from xml.etree.ElementTree import Element, fromstring

import pytest

from gateway.http.settings import HttpSettings
from gateway.operations.context import OperationSettings
from tests.gateway.http.raw import Answer, Raw, build
from tests.gateway.http.server import Server
from tests.gateway.http.stores import opener

DOCUMENTS = [
    (
        "accelerate",
        """\
<AccelerateConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Status>Enabled</Status>
</AccelerateConfiguration>""",
    ),
    (
        "analytics&id=list1",
        """\
<AnalyticsConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Id>list1</Id>
  <Filter>
    <And>
      <Prefix>images/</Prefix>
      <Tag>
        <Key>dog</Key>
        <Value>corgi</Value>
      </Tag>
    </And>
  </Filter>
  <StorageClassAnalysis>
    <DataExport>
      <OutputSchemaVersion>V_1</OutputSchemaVersion>
      <Destination>
        <S3BucketDestination>
          <Format>CSV</Format>
          <BucketAccountId>123456789012</BucketAccountId>
          <Bucket>arn:aws:s3:::destination-bucket</Bucket>
          <Prefix>destination-prefix</Prefix>
        </S3BucketDestination>
      </Destination>
    </DataExport>
  </StorageClassAnalysis>
</AnalyticsConfiguration>""",
    ),
    (
        "cors",
        """\
<CORSConfiguration>
 <CORSRule>
   <AllowedOrigin>http://www.example.com</AllowedOrigin>
   <AllowedMethod>PUT</AllowedMethod>
   <AllowedMethod>POST</AllowedMethod>
   <AllowedMethod>DELETE</AllowedMethod>
   <AllowedHeader>*</AllowedHeader>
 </CORSRule>
 <CORSRule>
   <AllowedOrigin>*</AllowedOrigin>
   <AllowedMethod>GET</AllowedMethod>
 </CORSRule>
</CORSConfiguration>""",
    ),
    (
        "cors",
        """\
<CORSConfiguration>
 <CORSRule>
   <AllowedOrigin>http://www.example.com</AllowedOrigin>
   <AllowedMethod>PUT</AllowedMethod>
   <AllowedMethod>POST</AllowedMethod>
   <AllowedMethod>DELETE</AllowedMethod>
   <AllowedHeader>*</AllowedHeader>
   <MaxAgeSeconds>3000</MaxAgeSeconds>
   <ExposeHeader>x-amz-server-side-encryption</ExposeHeader>
 </CORSRule>
</CORSConfiguration>""",
    ),
    (
        "encryption",
        """\
<ServerSideEncryptionConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Rule>
    <ApplyServerSideEncryptionByDefault>
      <SSEAlgorithm>AES256</SSEAlgorithm>
    </ApplyServerSideEncryptionByDefault>
  </Rule>
</ServerSideEncryptionConfiguration>""",
    ),
    (
        "logging",
        """\
<BucketLoggingStatus xmlns="http://doc.s3.amazonaws.com/2006-03-01" />""",
    ),
    (
        "logging",
        """\
<BucketLoggingStatus xmlns="http://doc.s3.amazonaws.com/2006-03-01">
  <LoggingEnabled>
    <TargetBucket>mybucketlogs</TargetBucket>
    <TargetPrefix>mybucket-access_log-/</TargetPrefix>
  </LoggingEnabled>
</BucketLoggingStatus>""",
    ),
    (
        "metrics&id=ImportantBlueDocuments",
        """\
<MetricsConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
    <Id>ImportantBlueDocuments</Id>
    <Filter>
        <And>
            <Prefix>documents/</Prefix>
            <Tag>
                <Key>priority</Key>
                <Value>high</Value>
            </Tag>
            <Tag>
                <Key>class</Key>
                <Value>blue</Value>
            </Tag>
        </And>
    </Filter>
</MetricsConfiguration>""",
    ),
    (
        "notification",
        """\
<NotificationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>""",
    ),
    (
        "ownershipControls",
        """\
<OwnershipControls xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
   <Rule>
      <ObjectOwnership>BucketOwnerPreferred</ObjectOwnership>
   </Rule>
</OwnershipControls>""",
    ),
    (
        "requestPayment",
        """\
<RequestPaymentConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Payer>Requester</Payer>
</RequestPaymentConfiguration>""",
    ),
    (
        "tagging",
        """\
<Tagging>
  <TagSet>
     <Tag>
       <Key>Project</Key>
       <Value>Project One</Value>
     </Tag>
     <Tag>
       <Key>User</Key>
       <Value>jsmith</Value>
     </Tag>
  </TagSet>
</Tagging>""",
    ),
    (
        "website",
        """\
<WebsiteConfiguration xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>
  <RedirectAllRequestsTo>
    <HostName>example.com</HostName>
  </RedirectAllRequestsTo>
</WebsiteConfiguration>""",
    ),
    (
        "website",
        """\
<WebsiteConfiguration xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>
  <IndexDocument>
    <Suffix>index.html</Suffix>
  </IndexDocument>
  <ErrorDocument>
    <Key>Error.html</Key>
  </ErrorDocument>
  <RoutingRules>
    <RoutingRule>
    <Condition>
      <KeyPrefixEquals>docs/</KeyPrefixEquals>
    </Condition>
    <Redirect>
      <ReplaceKeyPrefixWith>documents/</ReplaceKeyPrefixWith>
    </Redirect>
    </RoutingRule>
    <RoutingRule>
    <Condition>
      <HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals >
    </Condition>
    <Redirect>
      <HostName>ec2-11-22-333-44.compute-1.amazonaws.com</HostName>
      <ReplaceKeyPrefixWith>report-404/</ReplaceKeyPrefixWith>
    </Redirect>
    </RoutingRule>
  </RoutingRules>
</WebsiteConfiguration>""",
    ),
    (
        "publicAccessBlock",
        """\
<PublicAccessBlockConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
   <BlockPublicAcls>TRUE</BlockPublicAcls>
   <IgnorePublicAcls>FALSE</IgnorePublicAcls>
   <BlockPublicPolicy>FALSE</BlockPublicPolicy>
   <RestrictPublicBuckets>FALSE</RestrictPublicBuckets>
</PublicAccessBlockConfiguration>""",
    ),
    (
        "intelligent-tiering&id=ExampleConfig",
        """\
<?xml version="1.0" encoding="UTF-8"?>
<IntelligentTieringConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<Id>ExampleConfig</Id><Filter><And><Prefix>images</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter><Status>Enabled</Status>
<Tiering><AccessTier>ARCHIVE_ACCESS</AccessTier><Days>90</Days></Tiering><Tiering><AccessTier>DEEP_ARCHIVE_ACCESS</AccessTier><Days>180</Days></Tiering>
</IntelligentTieringConfiguration>""",
    ),
    (
        "lifecycle",
        """\
<LifecycleConfiguration>
  <Rule>
    <ID>id1</ID>
    <Filter>
       <Prefix>documents/</Prefix>
    </Filter>
    <Status>Enabled</Status>
    <Transition>
      <Days>30</Days>
      <StorageClass>GLACIER</StorageClass>
    </Transition>
  </Rule>
  <Rule>
    <ID>id2</ID>
    <Filter>
       <Prefix>logs/</Prefix>
    </Filter>
    <Status>Enabled</Status>
    <Expiration>
      <Days>365</Days>
    </Expiration>
  </Rule>
</LifecycleConfiguration>""",
    ),
    (
        "lifecycle",
        """\
<LifecycleConfiguration>
   <Rule>
     <ID>DeleteAfterBecomingNonCurrent</ID>
      <Filter>
         <Prefix>logs/</Prefix>
      </Filter>
     <Status>Enabled</Status>
     <NoncurrentVersionExpiration>
        <NoncurrentDays>100</NoncurrentDays>
     </NoncurrentVersionExpiration>
   </Rule>
   <Rule>
     <ID>TransitionAfterBecomingNonCurrent</ID>
      <Filter>
         <Prefix>documents/</Prefix>
      </Filter>
     <Status>Enabled</Status>
     <NoncurrentVersionTransition>
        <NoncurrentDays>30</NoncurrentDays>
        <StorageClass>GLACIER</StorageClass>
     </NoncurrentVersionTransition>
   </Rule>
</LifecycleConfiguration>""",
    ),
    (
        "lifecycle",
        """\
<LifecycleConfiguration>
    <Rule>
        <ID>Transition and Expiration Rule</ID>
        <Filter>
           <Prefix>tax/</Prefix>
        </Filter>
        <Status>Enabled</Status>
        <Transition>
           <Days>365</Days>
           <StorageClass>GLACIER</StorageClass>
        </Transition>
        <Expiration>
           <Days>3650</Days>
        </Expiration>
    </Rule>
</LifecycleConfiguration>""",
    ),
    (
        "lifecycle",
        """\
<LifecycleConfiguration>
  <Rule>
    <ID>Archive all object same-day upon creation</ID>
    <Filter>
      <Prefix></Prefix>
    </Filter>
    <Status>Enabled</Status>
    <Transition>
      <Days>0</Days>
      <StorageClass>GLACIER</StorageClass>
    </Transition>
  </Rule>
</LifecycleConfiguration>""",
    ),
    (
        "lifecycle",
        """\
<LifecycleConfiguration>
  <Rule>
    <ID>example-id</ID>
    <Filter>
       <Prefix>logs/</Prefix>
    </Filter>
    <Status>Enabled</Status>
    <Transition>
      <Days>30</Days>
      <StorageClass>STANDARD_IA</StorageClass>
    </Transition>
    <Transition>
      <Days>90</Days>
      <StorageClass>GLACIER</StorageClass>
    </Transition>
    <Expiration>
      <Days>365</Days>
    </Expiration>
  </Rule>
</LifecycleConfiguration>""",
    ),
    (
        "lifecycle",
        """\
<LifecycleConfiguration>
    <Rule>
        <ID>sample-rule</ID>
        <Filter>
           <Prefix></Prefix>
        </Filter>
        <Status>Enabled</Status>
        <Expiration>
           <ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker>
        </Expiration>
        <NoncurrentVersionExpiration>
           <NoncurrentDays>30</NoncurrentDays>
        </NoncurrentVersionExpiration>
    </Rule>
</LifecycleConfiguration>""",
    ),
    (
        "lifecycle",
        """\
<LifecycleConfiguration>
    <Rule>
        <ID>sample-rule</ID>
        <Filter>
           <Prefix>SomeKeyPrefix/</Prefix>
        </Filter>
        <Status>Enabled</Status>
        <AbortIncompleteMultipartUpload>
          <DaysAfterInitiation>7</DaysAfterInitiation>
        </AbortIncompleteMultipartUpload>
    </Rule>
</LifecycleConfiguration>""",
    ),
    (
        "lifecycle",
        """\
<LifecycleConfiguration>
  <Rule>
    <ID>sample-rule</ID>
    <Filter>
       <Prefix></Prefix>
    </Filter>
    <Status>Enabled</Status>
    <NoncurrentVersionExpiration>
      <NewerNoncurrentVersions>5</NewerNoncurrentVersions>
      <NoncurrentDays>100</NoncurrentDays>
    </NoncurrentVersionExpiration>
  </Rule>
</LifecycleConfiguration>""",
    ),
    (
        "lifecycle",
        """\
<LifecycleConfiguration>
  <Rule>
    <ID>Transition with a size filter</ID>
    <Filter><And><Prefix>tax/</Prefix><ObjectSizeGreaterThan>500</ObjectSizeGreaterThan><ObjectSizeLessThan>64000</ObjectSizeLessThan></And></Filter>
    <Status>Enabled</Status>
    <Transition><Days>365</Days><StorageClass>GLACIER</StorageClass></Transition>
  </Rule>
</LifecycleConfiguration>""",
    ),
]
ADDED = {"BucketKeyEnabled"}  # told whether or not it was put


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Raw]:
    settings = HttpSettings(operations=OperationSettings())
    with Server(opener("memory", tmp_path_factory.mktemp("data")), settings) as server:
        client = server.client()
        for bucket in ("documents", "mybucketlogs"):
            client.create_bucket(Bucket=bucket)
        client.close()
        yield Raw(server.port)


def ask(raw: Raw, method: str, query: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
    """A signed request to the bucket."""
    signed = raw.signed_headers(method, "/documents", query=query, headers=headers)
    return raw.send(build(method, f"/documents?{query}", signed, body), method)


def meaning(element: Element) -> tuple[str, str, frozenset[tuple[object, int]]]:
    """An element without namespace, white space and order."""
    children = Counter(meaning(child) for child in element if child.tag.rpartition("}")[2] not in ADDED)
    text = (element.text or "").strip()
    word = text.lower() if text.lower() in ("true", "false") else text
    return element.tag.rpartition("}")[2], word, frozenset(children.items())


@pytest.mark.parametrize(("query", "document"), DOCUMENTS)
def test_documented_documents(raw: Raw, query: str, document: str) -> None:
    body = document.encode()
    put = ask(raw, "PUT", query, body, {"content-md5": b64encode(md5(body, usedforsecurity=False).digest()).decode()})
    assert put.status in (200, 204), put.body
    assert put.body == b""
    got = ask(raw, "GET", query)
    assert got.status == 200
    assert meaning(fromstring(got.body)) == meaning(fromstring(body))


def test_what_is_not_there_names_the_bucket(raw: Raw) -> None:
    for name in ("replication", "policy", "metrics&id=none", "inventory&id=none"):
        answer = ask(raw, "GET", name)
        assert answer.status == 404
        assert b"<BucketName>documents</BucketName>" in answer.body


def test_a_token_for_object_lock_is_no_longer_needed_and_taken(raw: Raw) -> None:
    versioning = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    assert ask(raw, "PUT", "versioning", versioning).status == 200
    lock = b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"
    digest = b64encode(md5(lock, usedforsecurity=False).digest()).decode()
    headers = {"content-md5": digest, "x-amz-bucket-object-lock-token": "token"}
    assert ask(raw, "PUT", "object-lock", lock, headers).status == 200
