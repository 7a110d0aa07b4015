"""Edges of the listings: parameters, markers, common prefixes, odd characters; and of uploads, parts and buckets."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote_plus

import pytest

from tests.gateway.http.raw import Raw, build

KEYS = ["a", "a/", "a/b", "a/b/c", "a//d", "b c+&", "b%20c", "c\x01d", "cé", "c😀", "x::y::z", "x::y", "z"]


@pytest.fixture(scope="module")
def odd(server):
    client = server.client()
    client.create_bucket(Bucket="odd-keys")
    for key in KEYS:
        client.put_object(Bucket="odd-keys", Key=key, Body=key.encode())
    client.close()
    return "odd-keys"


def in_order(keys):
    return sorted(keys, key=str.encode)


def split(keys, prefix, delimiter):
    """The model: (contents, common prefixes)."""
    contents, prefixes = [], []
    for key in in_order(key for key in keys if key.startswith(prefix)):
        at = key.find(delimiter, len(prefix)) if delimiter else -1
        if at < 0:
            contents.append(key)
        elif (group := key[: at + len(delimiter)]) not in prefixes:
            prefixes.append(group)
    return contents, prefixes


def pages(call, token_name, next_name, **arguments):
    """All entries of a listing in the order of its pages, and how many pages there were."""
    contents, prefixes, extra = [], [], {}
    for count in itertools.count(1):
        page = call(**arguments, **extra)
        got = len(page.get("Contents", [])) + len(page.get("CommonPrefixes", []))
        assert got <= arguments.get("MaxKeys", 1000)
        contents += [entry["Key"] for entry in page.get("Contents", [])]
        prefixes += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
        if not page["IsTruncated"]:
            assert next_name not in page or not page[next_name]
            return contents, prefixes, count
        extra = {token_name: page.get(next_name) or contents[-1]}
    raise AssertionError


@pytest.mark.parametrize("size", [1, 2, 1000])
@pytest.mark.parametrize("delimiter", ["", "/", "::", "//", "b", "/b"])
@pytest.mark.parametrize("prefix", ["", "a", "a/", "x::", "c", "none"])
def test_every_entry_once_whatever_the_page(s3, odd, prefix, delimiter, size):
    expected = split(KEYS, prefix, delimiter)
    arguments = {"Bucket": odd, "Prefix": prefix, "Delimiter": delimiter, "MaxKeys": size}
    for call, token, following in (
        (s3.list_objects_v2, "ContinuationToken", "NextContinuationToken"),
        (s3.list_objects, "Marker", "NextMarker"),
    ):
        contents, prefixes, count = pages(call, token, following, **arguments)
        assert (contents, prefixes) == expected
        total = len(contents) + len(prefixes)
        assert count == max(1, -(-total // size))


def raw_listing(server, bucket, query):
    path = f"/{bucket}"
    raw = Raw(server.port)
    return raw.send(build("GET", f"{path}?{query}", raw.signed_headers("GET", path, query=query)))


def element(body, name):
    """The texts of all elements ``name``."""
    pieces = body.decode().split(f"<{name}>")[1:]
    return [piece.split(f"</{name}>")[0] for piece in pieces]


def test_encoding_of_keys(server, odd):
    answer = raw_listing(server, odd, "list-type=2&encoding-type=url")
    assert element(answer.body, "EncodingType") == ["url"]
    shown = element(answer.body, "Key")
    assert [unquote_plus(key) for key in shown] == in_order(KEYS)
    assert "b+c%2B%26" in shown
    assert "c%01d" in shown
    assert "a//d" in shown
    plain = raw_listing(server, odd, "list-type=2")
    assert "EncodingType" not in plain.body.decode()
    assert "b c+&amp;" in element(plain.body, "Key")
    assert "c&#x1;d" in element(plain.body, "Key")
    encoded = raw_listing(server, odd, "encoding-type=url&prefix=a%2F%2F&delimiter=%20&marker=a%2F%26&max-keys=1")
    assert element(encoded.body, "Marker") == ["a/%26"]
    assert element(encoded.body, "Delimiter") == ["+"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("max-keys=-1", "InvalidArgument"),
        ("max-keys=x", "InvalidArgument"),
        ("max-keys=2147483648", "InvalidArgument"),
        ("encoding-type=base64", "InvalidArgument"),
        ("list-type=3", "InvalidArgument"),
        ("list-type=2&continuation-token=", "InvalidArgument"),
        ("list-type=2&continuation-token=nonsense", "InvalidArgument"),
        ("versions=&version-id-marker=null", "InvalidArgument"),
        ("versions=&key-marker=a&version-id-marker=", "InvalidArgument"),
        ("versions=&key-marker=a&version-id-marker=nonsense", "InvalidArgument"),
        ("versions=&max-keys=x", "InvalidArgument"),
        ("uploads=&max-uploads=x", "InvalidArgument"),
        ("uploads=&max-uploads=-1", "InvalidArgument"),
    ],
)
def test_parameters_that_are_wrong(server, odd, query, code):
    answer = raw_listing(server, odd, query)
    assert (answer.status, answer.code) == (400, code)


@pytest.mark.parametrize("query", ["prefix=%ff", "delimiter=%zz", "%c3=x"])
def test_queries_that_are_none(server, odd, query):
    answer = Raw(server.port).send(build("GET", f"/{odd}?{query}", {"host": "h"}))
    assert (answer.status, answer.code) == (400, "InvalidURI")


def test_no_keys_at_all(s3, odd):
    for call in (s3.list_objects, s3.list_objects_v2, s3.list_object_versions):
        page = call(Bucket=odd, MaxKeys=0)
        assert (page["IsTruncated"], page["MaxKeys"]) == (False, 0)
        assert "Contents" not in page
        assert "Versions" not in page


def test_what_an_answer_repeats(s3, odd):
    page = s3.list_objects_v2(Bucket=odd, Prefix="a", Delimiter="/", StartAfter="a", MaxKeys=5000)
    assert (page["Name"], page["Prefix"], page["Delimiter"], page["StartAfter"]) == (odd, "a", "/", "a")
    assert (page["MaxKeys"], page["KeyCount"]) == (1000, 1)
    assert "Owner" not in s3.list_objects_v2(Bucket=odd)["Contents"][0]
    owned = s3.list_objects_v2(Bucket=odd, FetchOwner=True)["Contents"][0]
    assert owned["Owner"] == s3.list_objects(Bucket=odd)["Contents"][0]["Owner"]
    assert len(owned["Owner"]["ID"]) == 64
    s3.list_objects_v2(Bucket=odd, OptionalObjectAttributes=["RestoreStatus"])


def test_an_empty_delimiter_is_none(s3, odd):
    page = s3.list_objects_v2(Bucket=odd, Delimiter="")
    assert "Delimiter" not in page
    assert len(page["Contents"]) == len(KEYS)


def test_start_after_and_markers_need_not_exist(s3, odd):
    keys = in_order(KEYS)
    for after in ("", "a", "a/a", "b", "zz", "\x00"[:0], "c"):
        expected = [key for key in keys if key.encode() > after.encode()]
        for page in (s3.list_objects_v2(Bucket=odd, StartAfter=after), s3.list_objects(Bucket=odd, Marker=after)):
            assert [entry["Key"] for entry in page.get("Contents", [])] == expected


def test_a_marker_within_a_common_prefix_lies_behind_it(s3, odd):
    page = s3.list_objects(Bucket=odd, Delimiter="/", Marker="a/b")
    assert "CommonPrefixes" not in page
    page = s3.list_objects_v2(Bucket=odd, Delimiter="/", StartAfter="a/b")
    assert "CommonPrefixes" not in page


# --- versions


def test_pages_of_versions_and_markers(s3, versioned):
    expected = []
    for key in ("a", "b/1", "b/2", "c"):
        rows = []
        for step in range(3):
            if step == 1 and key != "c":
                rows.append((key, s3.delete_object(Bucket=versioned, Key=key)["VersionId"], "marker"))
            else:
                put = s3.put_object(Bucket=versioned, Key=key, Body=b"x")
                rows.append((key, put["VersionId"], "version"))
        expected += rows[::-1]
    for size in (1, 2, 5, 1000):
        found, extra = [], {}
        while True:
            page = s3.list_object_versions(Bucket=versioned, MaxKeys=size, **extra)
            rows = [(v["Key"], v["VersionId"], "version") for v in page.get("Versions", [])]
            rows += [(m["Key"], m["VersionId"], "marker") for m in page.get("DeleteMarkers", [])]
            found += rows
            if not page["IsTruncated"]:
                break
            extra = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
            assert page["NextKeyMarker"] in {row[0] for row in rows}
        assert sorted(found) == sorted(expected)
    grouped = s3.list_object_versions(Bucket=versioned, Delimiter="/", Prefix="")
    assert [entry["Prefix"] for entry in grouped["CommonPrefixes"]] == ["b/"]
    assert {v["Key"] for v in grouped["Versions"]} == {"a", "c"}
    behind = s3.list_object_versions(Bucket=versioned, KeyMarker="b/1")
    assert {v["Key"] for v in behind["Versions"]} == {"b/2", "c"}
    first = expected[0]
    rest = s3.list_object_versions(Bucket=versioned, KeyMarker="a", VersionIdMarker=first[1], Prefix="a")
    assert [v["VersionId"] for v in rest["Versions"]] == [expected[2][1]]


def test_latest_is_told_of_one_version_a_key(s3, versioned):
    for _ in range(3):
        s3.put_object(Bucket=versioned, Key="k", Body=b"1")
    s3.delete_object(Bucket=versioned, Key="k")
    listed = s3.list_object_versions(Bucket=versioned)
    assert [v["IsLatest"] for v in listed["Versions"]] == [False] * 3
    assert [m["IsLatest"] for m in listed["DeleteMarkers"]] == [True]
    s3.delete_object(Bucket=versioned, Key="k", VersionId=listed["DeleteMarkers"][0]["VersionId"])
    assert [v["IsLatest"] for v in s3.list_object_versions(Bucket=versioned)["Versions"]] == [True, False, False]


def test_the_null_version_among_others(s3, bucket):
    def status(name):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": name})

    def listed():
        page = s3.list_object_versions(Bucket=bucket)
        rows = page.get("Versions", []) + page.get("DeleteMarkers", [])
        return sorted((("null" if row["VersionId"] == "null" else "id"), row["IsLatest"]) for row in rows)

    s3.put_object(Bucket=bucket, Key="k", Body=b"plain")
    assert listed() == [("null", True)]
    status("Enabled")
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    assert listed() == [("id", True), ("null", False)]
    status("Suspended")
    s3.put_object(Bucket=bucket, Key="k", Body=b"plain 2")
    assert listed() == [("id", False), ("null", True)]
    assert s3.get_object(Bucket=bucket, Key="k", VersionId="null")["Body"].read() == b"plain 2"
    assert s3.get_object(Bucket=bucket, Key="k", VersionId=first)["Body"].read() == b"1"
    s3.delete_object(Bucket=bucket, Key="k")  # the marker takes the null version's place
    assert listed() == [("id", False), ("null", True)]
    s3.delete_object(Bucket=bucket, Key="k")
    assert listed() == [("id", False), ("null", True)]
    status("Enabled")
    second = s3.put_object(Bucket=bucket, Key="k", Body=b"2")["VersionId"]
    assert listed() == [("id", False), ("id", True), ("null", False)]
    s3.delete_object(Bucket=bucket, Key="k", VersionId="null")
    assert listed() == [("id", False), ("id", True)]
    copied = s3.copy_object(Bucket=bucket, Key="k", CopySource={"Bucket": bucket, "Key": "k", "VersionId": first})
    assert copied["CopySourceVersionId"] == first
    assert copied["VersionId"] not in (first, second)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"


def test_a_delete_of_nothing_makes_a_marker(s3, versioned):
    for _ in range(2):
        assert s3.delete_object(Bucket=versioned, Key="never")["DeleteMarker"] is True
    assert len(s3.list_object_versions(Bucket=versioned)["DeleteMarkers"]) == 2
    assert "Contents" not in s3.list_objects_v2(Bucket=versioned)


def test_mfa_delete_is_refused(server, s3, bucket, refused):
    configuration = {"Status": "Enabled", "MFADelete": "Enabled"}
    refused("NotImplemented", 501, s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration=configuration)
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled", "MFADelete": "Disabled"})
    refused("NotImplemented", 501, s3.delete_object, Bucket=bucket, Key="k", MFA="arn 123456")
    refused(
        "NotImplemented", 501, s3.delete_objects, Bucket=bucket, Delete={"Objects": [{"Key": "k"}]}, MFA="arn 123456"
    )


def test_concurrent_creates_and_deletes_lose_nothing(server, s3, versioned):
    def work(number):
        client = server.client()
        made = []
        try:
            for step in range(6):
                if (number + step) % 3 == 0:
                    made.append(client.delete_object(Bucket=versioned, Key="k")["VersionId"])
                else:
                    made.append(client.put_object(Bucket=versioned, Key="k", Body=b"%d" % number)["VersionId"])
        finally:
            client.close()
        return made

    with ThreadPoolExecutor(6) as pool:
        made = [one for many in pool.map(work, range(6)) for one in many]
    listed = s3.list_object_versions(Bucket=versioned)
    rows = listed["Versions"] + listed["DeleteMarkers"]
    assert sorted(row["VersionId"] for row in rows) == sorted(made)
    assert sum(row["IsLatest"] for row in rows) == 1
    s3.delete_objects(
        Bucket=versioned, Delete={"Objects": [{"Key": "k", "VersionId": name} for name in made], "Quiet": True}
    )
    s3.delete_bucket(Bucket=versioned)


# --- DeleteObjects


def test_quiet_tells_of_errors_only(s3, versioned):
    s3.put_object(Bucket=versioned, Key="k", Body=b"")
    answer = s3.delete_objects(
        Bucket=versioned,
        Delete={"Objects": [{"Key": "k"}, {"Key": "x" * 1025}, {"Key": "k", "VersionId": "nonsense"}], "Quiet": True},
    )
    assert "Deleted" not in answer
    assert [(error["Key"][:2], error.get("VersionId")) for error in answer["Errors"]] == [
        ("xx", None),
        ("k", "nonsense"),
    ]


def test_more_than_a_thousand_are_refused(s3, bucket, refused):
    many = {"Objects": [{"Key": str(number)} for number in range(1001)]}
    refused("MalformedXML", 400, s3.delete_objects, Bucket=bucket, Delete=many)
    refused("MalformedXML", 400, s3.delete_objects, Bucket=bucket, Delete={"Objects": []})
    assert len(s3.delete_objects(Bucket=bucket, Delete={"Objects": many["Objects"][:1000]})["Deleted"]) == 1000


# --- uploads and parts


def test_uploads_in_pages(s3, bucket):
    made = {}
    for key in ("a", "b/1", "b/1", "b/2", "c", "c", "c", "d::e::f"):
        made.setdefault(key, []).append(s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"])
    expected = [(key, upload) for key in sorted(made) for upload in sorted(made[key])]
    for size in (1, 2, 3, 1000):
        found, extra = [], {}
        while True:
            page = s3.list_multipart_uploads(Bucket=bucket, MaxUploads=size, **extra)
            found += [(upload["Key"], upload["UploadId"]) for upload in page.get("Uploads", [])]
            assert page["MaxUploads"] == size
            if not page["IsTruncated"]:
                break
            extra = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
        assert found == expected
    grouped = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [entry["Prefix"] for entry in grouped["CommonPrefixes"]] == ["b/"]
    assert [upload["Key"] for upload in grouped["Uploads"]] == ["a", "c", "c", "c", "d::e::f"]
    double = s3.list_multipart_uploads(Bucket=bucket, Prefix="d", Delimiter="::")
    assert [entry["Prefix"] for entry in double["CommonPrefixes"]] == ["d::"]
    below = s3.list_multipart_uploads(Bucket=bucket, Prefix="b/", KeyMarker="b/1")
    assert [upload["Key"] for upload in below["Uploads"]] == ["b/2"]
    ignored = s3.list_multipart_uploads(Bucket=bucket, UploadIdMarker="zzz")
    assert len(ignored["Uploads"]) == 8
    upload = ignored["Uploads"][0]
    assert upload["Owner"] == s3.list_buckets()["Owner"]
    assert upload["Initiator"]["ID"] == upload["Owner"]["ID"]
    assert upload["StorageClass"] == "STANDARD"


def test_uploads_of_one_key_are_listed_as_they_were_begun(s3, bucket):
    made = [s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"] for _ in range(12)]
    listed = [upload["UploadId"] for upload in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]]
    assert sorted(listed) == sorted(made)
    assert [name[:12] for name in listed] == [name[:12] for name in made]  # the rest tells apart what one ms began


def test_uploads_tell_their_checksums_and_encoded_keys(s3, bucket):
    s3.create_multipart_upload(Bucket=bucket, Key="a b", ChecksumAlgorithm="SHA256", StorageClass="STANDARD_IA")
    (upload,) = s3.list_multipart_uploads(Bucket=bucket, EncodingType="url")["Uploads"]
    assert (upload["Key"], upload["ChecksumAlgorithm"], upload["ChecksumType"]) == ("a+b", "SHA256", "COMPOSITE")
    assert upload["StorageClass"] == "STANDARD_IA"


def test_parts_in_pages(s3, bucket, refused):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="CRC32")["UploadId"]
    call = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    assert "Parts" not in s3.list_parts(**call)
    numbers = [1, 2, 5, 9, 10_000]
    for number in numbers:
        s3.upload_part(**call, PartNumber=number, Body=b"%d" % number)
    for size in (1, 2, 1000):
        found, marker = [], 0
        while True:
            page = s3.list_parts(**call, MaxParts=size, PartNumberMarker=marker)
            assert (page["MaxParts"], page["PartNumberMarker"]) == (size, marker)
            found += [part["PartNumber"] for part in page["Parts"]]
            marker = page["NextPartNumberMarker"]
            if not page["IsTruncated"]:
                break
        assert found == numbers
    page = s3.list_parts(**call)
    assert (page["ChecksumAlgorithm"], page["ChecksumType"], page["StorageClass"]) == ("CRC32", "COMPOSITE", "STANDARD")
    assert all(part["ChecksumCRC32"] for part in page["Parts"])
    assert page["Owner"]["ID"] == page["Initiator"]["ID"]
    for number in (0, 10_001, -1):
        refused("InvalidArgument", 400, s3.upload_part, **call, PartNumber=number, Body=b"")
    refused("InvalidArgument", 400, s3.list_parts, **call, MaxParts=-1)
    none = s3.list_parts(**call, MaxParts=0)
    assert (none["IsTruncated"], "Parts" in none) == (False, False)
    refused("NoSuchUpload", 404, s3.list_parts, Bucket=bucket, Key="other", UploadId=upload)


# --- buckets


def test_buckets_in_pages(server, refused):
    client = server.client()
    names = [f"paged-{number}" for number in range(5)]
    for name in names:
        client.create_bucket(Bucket=name)
    found, extra = [], {}
    while True:
        page = client.list_buckets(Prefix="paged-", MaxBuckets=2, **extra)
        assert page["Prefix"] == "paged-"
        found += [entry["Name"] for entry in page["Buckets"]]
        if "ContinuationToken" not in page:
            break
        extra = {"ContinuationToken": page["ContinuationToken"]}
    assert found == names
    here = client.list_buckets(Prefix="paged-", BucketRegion="us-east-1")["Buckets"]
    assert [entry["BucketRegion"] for entry in here] == ["us-east-1"] * 5
    assert client.list_buckets(Prefix="paged-", BucketRegion="eu-west-1")["Buckets"] == []
    raw = Raw(server.port)
    for count in ("0", "10001", "x"):
        query = f"max-buckets={count}"
        answer = raw.send(build("GET", f"/?{query}", raw.signed_headers("GET", "/", query=query)))
        assert (answer.status, answer.code) == (400, "InvalidArgument")
    refused("InvalidArgument", 400, client.list_buckets, ContinuationToken="nonsense")
    client.close()
