"""Configurations that are kept and given back, by boto3: every shape whole, ids, pages, and wrong documents."""

import pytest

TAGS = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}]
ANALYTICS = {
    "Id": "one",
    "Filter": {"And": {"Prefix": "p/", "Tags": TAGS}},
    "StorageClassAnalysis": {
        "DataExport": {
            "OutputSchemaVersion": "V_1",
            "Destination": {
                "S3BucketDestination": {"Format": "CSV", "Bucket": "arn:aws:s3:::reports", "Prefix": "a & b/"}
            },
        }
    },
}
METRICS = {"Id": "one", "Filter": {"Tag": TAGS[0]}}
TIERING = {
    "Id": "one",
    "Filter": {"Prefix": "p"},
    "Status": "Enabled",
    "Tierings": [{"Days": 90, "AccessTier": "ARCHIVE_ACCESS"}, {"Days": 180, "AccessTier": "DEEP_ARCHIVE_ACCESS"}],
}
INVENTORY = {
    "Id": "one",
    "Destination": {
        "S3BucketDestination": {
            "AccountId": "123456789012",
            "Bucket": "arn:aws:s3:::reports",
            "Format": "Parquet",
            "Encryption": {"SSEKMS": {"KeyId": "k"}},
        }
    },
    "IsEnabled": True,
    "Filter": {"Prefix": ""},
    "IncludedObjectVersions": "All",
    "OptionalFields": ["Size", "ETag"],
    "Schedule": {"Frequency": "Weekly"},
}
KINDS = {
    "analytics": ("AnalyticsConfiguration", ANALYTICS),
    "metrics": ("MetricsConfiguration", METRICS),
    "intelligent_tiering": ("IntelligentTieringConfiguration", TIERING),
    "inventory": ("InventoryConfiguration", INVENTORY),
}


@pytest.fixture(params=KINDS)
def kind(request, s3):
    """(put, get, delete, list, name of the document's argument, a document)"""
    verb = request.param
    name, document = KINDS[verb]
    calls = [getattr(s3, f"{what}_bucket_{verb}_configuration") for what in ("put", "get", "delete")]
    return (*calls, getattr(s3, f"list_bucket_{verb}_configurations"), name, document)


def test_put_get_list_delete(kind, bucket, refused):
    put, get, delete, listing, name, document = kind
    refused("NoSuchConfiguration", 404, get, Bucket=bucket, Id="one")
    refused("NoSuchConfiguration", 404, delete, Bucket=bucket, Id="one")
    put(Bucket=bucket, Id="one", **{name: document})
    assert get(Bucket=bucket, Id="one")[name] == document
    page = listing(Bucket=bucket)
    assert (page[name + "List"], page["IsTruncated"]) == ([document], False)
    delete(Bucket=bucket, Id="one")
    refused("NoSuchConfiguration", 404, get, Bucket=bucket, Id="one")
    assert name + "List" not in listing(Bucket=bucket)


def test_pages(kind, bucket):
    put, _, _, listing, name, document = kind
    idents = sorted(f"id-{number}" for number in range(103))
    for ident in reversed(idents):
        put(Bucket=bucket, Id=ident, **{name: {**document, "Id": ident}})
    first = listing(Bucket=bucket)
    assert first["IsTruncated"] is True
    second = listing(Bucket=bucket, ContinuationToken=first["NextContinuationToken"])
    assert second["IsTruncated"] is False
    assert [one["Id"] for page in (first, second) for one in page[name + "List"]] == idents


def test_ids(kind, bucket, refused):
    put, _, _, _, name, document = kind
    refused("InvalidArgument", 400, put, Bucket=bucket, Id="other", **{name: document})
    refused("InvalidConfigurationId", 400, put, Bucket=bucket, Id="no id", **{name: {**document, "Id": "no id"}})
    refused("NoSuchBucket", 404, put, Bucket="absent-bucket", Id="one", **{name: document})


WRONG = [
    ("metrics", {"Id": "one", "Filter": {"Prefix": "p", "Tag": TAGS[0]}}),
    ("metrics", {"Id": "one", "Filter": {}}),
    ("metrics", {"Id": "one", "Filter": {"And": {"Prefix": "p"}}}),
    ("metrics", {"Id": "one", "Filter": {"And": {"Tags": [TAGS[0], TAGS[0]]}}}),
    ("analytics", {"Id": "one", "StorageClassAnalysis": {}, "Filter": {"Prefix": "x" * 1025}}),
    ("intelligent_tiering", {**TIERING, "Status": "On"}),
    ("intelligent_tiering", {**TIERING, "Tierings": []}),
    ("intelligent_tiering", {**TIERING, "Tierings": TIERING["Tierings"][:1] * 2}),
    ("inventory", {**INVENTORY, "Schedule": {"Frequency": "Hourly"}}),
    ("inventory", {**INVENTORY, "OptionalFields": ["Colour"]}),
]


@pytest.mark.parametrize(("verb", "document"), WRONG, ids=str)
def test_what_is_no_such_document(s3, bucket, refused, verb, document):
    put = getattr(s3, f"put_bucket_{verb}_configuration")
    refused("MalformedXML", 400, put, Bucket=bucket, Id="one", **{KINDS[verb][0]: document})


def test_tiers_have_least_days(s3, bucket, refused):
    document = {**TIERING, "Tierings": [{"Days": 89, "AccessTier": "ARCHIVE_ACCESS"}]}
    put = s3.put_bucket_intelligent_tiering_configuration
    refused("InvalidArgument", 400, put, Bucket=bucket, Id="one", IntelligentTieringConfiguration=document)


def test_acceleration(s3, bucket, refused):
    assert "Status" not in s3.get_bucket_accelerate_configuration(Bucket=bucket)
    for status in ("Enabled", "Suspended"):
        s3.put_bucket_accelerate_configuration(Bucket=bucket, AccelerateConfiguration={"Status": status})
        assert s3.get_bucket_accelerate_configuration(Bucket=bucket)["Status"] == status
    put = s3.put_bucket_accelerate_configuration
    refused("MalformedXML", 400, put, Bucket=bucket, AccelerateConfiguration={"Status": "Fast"})
    s3.create_bucket(Bucket=f"{bucket}.dot")
    refused("InvalidRequest", 400, put, Bucket=f"{bucket}.dot", AccelerateConfiguration={"Status": "Enabled"})


def replication(**changes):
    rule = {
        "ID": "r",
        "Priority": 1,
        "Filter": {"Prefix": "p"},
        "Status": "Disabled",
        "Destination": {"Bucket": "arn:aws:s3:::other"},
        "DeleteMarkerReplication": {"Status": "Disabled"},
        **changes,
    }
    rule = {name: value for name, value in rule.items() if value is not None}
    return {"Role": "arn:aws:iam::123456789012:role/r", "Rules": [rule]}


def test_replication_rules_that_ask_for_nothing_are_kept(s3, versioned, refused):
    get = s3.get_bucket_replication
    refused("ReplicationConfigurationNotFoundError", 404, get, Bucket=versioned)
    s3.put_bucket_replication(Bucket=versioned, ReplicationConfiguration=replication())
    assert get(Bucket=versioned)["ReplicationConfiguration"] == replication()
    s3.delete_bucket_replication(Bucket=versioned)
    refused("ReplicationConfigurationNotFoundError", 404, get, Bucket=versioned)


def test_replication_needs_versions(s3, bucket, refused):
    put = s3.put_bucket_replication
    refused("InvalidRequest", 400, put, Bucket=bucket, ReplicationConfiguration=replication())


@pytest.mark.parametrize(
    ("configuration", "code", "status"),
    [
        (replication(Status="Enabled"), "NotImplemented", 501),
        (replication(Status="On"), "MalformedXML", 400),
        (replication(Filter=None), "MalformedXML", 400),
        (replication(Priority=None), "InvalidRequest", 400),
        (replication(Destination={"Bucket": "other"}), "InvalidArgument", 400),
        ({"Role": "me", "Rules": replication()["Rules"]}, "InvalidArgument", 400),
        ({"Role": replication()["Role"], "Rules": replication()["Rules"] * 2}, "InvalidArgument", 400),
    ],
    ids=str,
)
def test_wrong_replication_documents(s3, versioned, refused, configuration, code, status):
    refused(code, status, s3.put_bucket_replication, Bucket=versioned, ReplicationConfiguration=configuration)
    refused("ReplicationConfigurationNotFoundError", 404, s3.get_bucket_replication, Bucket=versioned)


def test_only_the_owner(other, bucket, refused):
    put = other.put_bucket_metrics_configuration
    refused("AccessDenied", 403, put, Bucket=bucket, Id="one", MetricsConfiguration=METRICS)
    refused("AccessDenied", 403, other.list_bucket_metrics_configurations, Bucket=bucket)
    refused("AccessDenied", 403, other.get_bucket_replication, Bucket=bucket)
