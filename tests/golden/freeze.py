"""Freezes what this version of Skerry writes: a data directory and a cloud bucket, to be opened by every later one.

    python -m tests.golden.freeze 0.1.0        (once for each release, when its formats are final; see README.md here)

A real server writes content of every kind, ships it to a bucket and ends; then everything goes into one small archive:
``data/`` (its index too, without ``run/``), ``bucket/`` (one file for each object, named by its quoted name), and
``manifest.json``, which says what must be there.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
import tempfile
import urllib.parse
from pathlib import Path
from typing import Any, Final

from tests.e2e.contents import digest
from tests.support.clouds import start_skerry
from tests.support.site import CloudSettings, Site

RELEASES: Final = Path(__file__).with_name("releases")
PREFIX: Final = "island"
_LINE: Final = b"%d: a line of a file that is much like the lines before it\n"


def write_content(client: Any) -> None:
    """Content of every kind: small, in one chunk, in many, patched, uploaded in parts, versions, markers, documents."""
    client.create_bucket(Bucket="plain")
    client.create_bucket(Bucket="versioned")
    client.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    client.put_bucket_tagging(Bucket="plain", Tagging={"TagSet": [{"Key": "made", "Value": "for ever"}]})
    client.put_object(Bucket="plain", Key="empty", Body=b"")
    client.put_object(Bucket="plain", Key="small", Body=b"small", Metadata={"name": "value"}, ContentType="text/plain")
    client.put_object(Bucket="plain", Key="keys/with ünicode & signs", Body=b"unicode")
    client.put_object(Bucket="plain", Key="medium", Body=b"".join(_LINE % number for number in range(1000)))
    large = b"".join(_LINE % (number * 7919) for number in range(20_000))
    client.put_object(Bucket="plain", Key="large", Body=large)
    client.put_object(Bucket="plain", Key="large", Body=large[:500_000] + b"changed in its middle" + large[500_000:])
    client.put_object_tagging(Bucket="plain", Key="small", Tagging={"TagSet": [{"Key": "tag", "Value": "1"}]})
    client.put_object(Bucket="plain", Key="deleted", Body=b"deleted")
    client.delete_object(Bucket="plain", Key="deleted")
    for number in range(3):
        client.put_object(Bucket="versioned", Key="key", Body=b"version %d" % number)
    client.delete_object(Bucket="versioned", Key="marked")
    upload = {"Bucket": "plain", "Key": "parts"}
    upload["UploadId"] = client.create_multipart_upload(**upload)["UploadId"]
    bodies = (large[: 5 << 20].ljust(5 << 20, b"."), b"the last part")
    parts = [
        {
            "PartNumber": number,
            "ETag": client.upload_part(**upload, PartNumber=number, Body=body)["ETag"],
        }
        for number, body in enumerate(bodies, start=1)
    ]
    client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})


def describe_content(client: Any) -> dict[str, Any]:
    """What a client finds: every version of every key with its digest, metadata and tags; documents of buckets."""
    found: dict[str, Any] = {}
    for bucket in sorted(item["Name"] for item in client.list_buckets()["Buckets"]):
        listed = client.list_object_versions(Bucket=bucket)
        for item in listed.get("Versions", ()):
            name = {"Bucket": bucket, "Key": item["Key"], "VersionId": item["VersionId"]}
            got = client.get_object(**name)
            tags = client.get_object_tagging(**name)["TagSet"]
            found[f"{bucket}/{item['Key']}?{item['VersionId']}"] = {
                "digest": digest(got["Body"].read()),
                "etag": item["ETag"],
                "latest": item["IsLatest"],
                "type": got["ContentType"],
                "metadata": got["Metadata"],
                "tags": {tag["Key"]: tag["Value"] for tag in tags},
            }
        for item in listed.get("DeleteMarkers", ()):
            found[f"{bucket}/{item['Key']}?{item['VersionId']}"] = {"marker": True, "latest": item["IsLatest"]}
        found[bucket] = {"versioning": client.get_bucket_versioning(Bucket=bucket).get("Status", "")}
    tags = client.get_bucket_tagging(Bucket="plain")["TagSet"]
    found["plain"]["tags"] = {tag["Key"]: tag["Value"] for tag in tags}
    return found


def freeze(version: str) -> Path:
    """Make the archive of a version: its path. ``FileExistsError`` if there is one: released formats do not change."""
    target = RELEASES / f"{version}.tar.xz"
    if target.exists():
        raise FileExistsError(f"{target} is there already: what was released stays as it was")
    cloud = start_skerry()
    try:
        bucket = cloud.create_bucket("golden")
        settings = CloudSettings(cloud.endpoint, bucket, cloud.access_key, cloud.secret_key, PREFIX)
        with tempfile.TemporaryDirectory() as directory:
            with Site(Path(directory), "golden", cloud=settings) as site:
                write_content(site.client())
                site.run("safe", "--wait", "60", check=False)  # never all of it: nobody keeps a recovery key here
                manifest = {"version": version, "content": describe_content(site.client())}
            site.run("replicate", "--once")
            write_archive(target, site.data, list_bucket(cloud.client(), bucket), manifest)
    finally:
        cloud.stop()
    return target


def list_bucket(client: Any, bucket: str) -> dict[str, bytes]:
    """Every object of a bucket, by name."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    names = [item["Key"] for page in pages for item in page.get("Contents", ())]
    return {name: client.get_object(Bucket=bucket, Key=name)["Body"].read() for name in names}


def write_archive(target: Path, data: Path, objects: dict[str, bytes], manifest: dict[str, Any]) -> None:
    """One archive, always the same for the same input."""
    target.parent.mkdir(exist_ok=True)
    files = {
        f"data/{path.relative_to(data)}": path.read_bytes()
        for path in sorted(data.rglob("*"))
        if path.is_file() and path.relative_to(data).parts[0] != "run" and path.name != "lock.mdb"
    }
    files |= {f"bucket/{urllib.parse.quote(name, safe='')}": body for name, body in sorted(objects.items())}
    files["manifest.json"] = json.dumps(manifest, indent=1, sort_keys=True).encode()
    with tarfile.open(target, "w:xz", preset=9) as archive:
        for name, body in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(body), 0o600
            archive.addfile(entry, io.BytesIO(body))


if __name__ == "__main__":
    print(freeze(sys.argv[1]))
