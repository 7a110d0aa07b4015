//! Objects: put, get, list, copy, delete, metadata, keys, tags, versions.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketVersioningStatus, Delete, ObjectIdentifier, Tag, Tagging, VersioningConfiguration};

use crate::site::{refused, same, Site};
use crate::Outcome;

pub async fn small(site: &Site) -> Outcome {
    for body in ["hello", ""] {
        site.put("small", body).await?;
        let head = site.s3.head_object().bucket(&site.bucket).key("small").send().await?;
        same("length", head.content_length(), Some(body.len() as i64))?;
        site.expect("small", body.as_bytes()).await?;
    }
    site.s3.delete_object().bucket(&site.bucket).key("small").send().await?;
    refused(site.s3.head_object().bucket(&site.bucket).key("small").send().await, "NotFound", 404)
}

pub async fn range(site: &Site) -> Outcome {
    let body = b"0123456789".repeat(100_000);
    site.put("ranged", body.clone()).await?;
    let get = |asked: &str| site.s3.get_object().bucket(&site.bucket).key("ranged").range(asked).send();
    for (asked, wanted) in [
        ("bytes=5-14", &body[5..15]),
        ("bytes=999990-", &body[999_990..]),
        ("bytes=-7", &body[999_993..]),
        ("bytes=999999-2000000", &body[999_999..]),
    ] {
        let got = get(asked).await?.body.collect().await?.to_vec();
        same(asked, got, wanted.to_vec())?;
    }
    refused(get("bytes=1000000-").await, "InvalidRange", 416)
}

pub async fn list(site: &Site) -> Outcome {
    for number in 0..12 {
        site.put(&format!("list/d{number:02}/file"), "").await?;
    }
    site.put("list/plain", "").await?;
    let listing = site.s3.list_objects_v2().bucket(&site.bucket).prefix("list/").delimiter("/").max_keys(5);
    let mut pages = listing.into_paginator().send();
    let mut seen = (0, 0, 0);
    while let Some(page) = pages.next().await {
        let page = page?;
        seen = (seen.0 + page.common_prefixes().len(), seen.1 + page.contents().len(), seen.2 + 1);
    }
    same("prefixes, keys, pages", seen, (12, 1, 3))
}

pub async fn copy(site: &Site) -> Outcome {
    site.put("copy/from ü+", "copied").await?;
    let source = format!("{}/copy/from%20%C3%BC%2B", site.bucket);
    site.s3.copy_object().bucket(&site.bucket).key("copy/to").copy_source(source).send().await?;
    site.expect("copy/to", b"copied").await
}

pub async fn delete_many(site: &Site) -> Outcome {
    let mut doomed = Delete::builder();
    for key in ["many/a", "many/b & <c>", "many/ü"] {
        site.put(key, "x").await?;
        doomed = doomed.objects(ObjectIdentifier::builder().key(key).build()?);
    }
    let done = site.s3.delete_objects().bucket(&site.bucket).delete(doomed.build()?).send().await?;
    same("deleted, errors", (done.deleted().len(), done.errors().len()), (3, 0))
}

/// The SDK sends metadata as it is; what is not ASCII comes back as an encoded word (RFC 2047), which it leaves alone.
pub async fn metadata(site: &Site) -> Outcome {
    let put = site.s3.put_object().bucket(&site.bucket).key("meta").body(ByteStream::from_static(b"x"));
    put.metadata("plain", "a value").metadata("unicode", "schön").content_type("text/x-thing").send().await?;
    let head = site.s3.head_object().bucket(&site.bucket).key("meta").send().await?;
    let got = head.metadata().ok_or("no metadata")?;
    same("plain", got.get("plain").map(String::as_str), Some("a value"))?;
    let unicode = got.get("unicode").ok_or("no unicode")?;
    let told = ["schön", "=?UTF-8?Q?sch=C3=B6n?=", "=?UTF-8?B?c2Now7Zu?="].contains(&unicode.as_str());
    same(&format!("unicode came as {unicode:?}"), told, true)?;
    same("type", head.content_type(), Some("text/x-thing"))
}

pub async fn keys(site: &Site) -> Outcome {
    for key in &site.keys {
        let full = format!("keys/{key}");
        site.put(&full, key.as_str())
            .await
            .map_err(|error| format!("put {key:?}: {}", crate::describe(error.as_ref())))?;
        site.expect(&full, key.as_bytes()).await?;
    }
    let listed = site.s3.list_objects_v2().bucket(&site.bucket).prefix("keys/").send().await?;
    let found: BTreeSet<_> = listed.contents().iter().filter_map(|row| row.key().map(str::to_owned)).collect();
    same("listed", found, site.keys.iter().map(|key| format!("keys/{key}")).collect())
}

pub async fn tagging(site: &Site) -> Outcome {
    let put = site.s3.put_object().bucket(&site.bucket).key("tagged").body(ByteStream::from_static(b"x"));
    put.tagging("k=v&x=y%20z").send().await?;
    let read = || site.s3.get_object_tagging().bucket(&site.bucket).key("tagged").send();
    same("tags of the header", read().await?.tag_set().len(), 2)?;
    let tags = Tagging::builder().tag_set(Tag::builder().key("a b").value("ü+/=").build()?).build()?;
    site.s3.put_object_tagging().bucket(&site.bucket).key("tagged").tagging(tags).send().await?;
    let got: BTreeMap<_, _> =
        read().await?.tag_set().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect();
    same("tags", got, BTreeMap::from([("a b".to_owned(), "ü+/=".to_owned())]))?;
    site.s3.delete_object_tagging().bucket(&site.bucket).key("tagged").send().await?;
    Ok(())
}

pub async fn versioning(site: &Site) -> Outcome {
    let (s3, bucket) = (&site.s3, &site.versioned);
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    s3.put_bucket_versioning().bucket(bucket).versioning_configuration(enabled).send().await?;
    let put = |body: &'static [u8]| s3.put_object().bucket(bucket).key("k").body(ByteStream::from_static(body)).send();
    let first = put(b"one").await?;
    put(b"two").await?;
    let marker = s3.delete_object().bucket(bucket).key("k").send().await?;
    let old = s3.get_object().bucket(bucket).key("k").set_version_id(first.version_id).send().await?;
    same("old version", old.body.collect().await?.to_vec(), b"one".to_vec())?;
    let listed = s3.list_object_versions().bucket(bucket).send().await?;
    let counts = (marker.delete_marker(), listed.versions().len(), listed.delete_markers().len());
    same("marker, versions, markers", counts, (Some(true), 2, 1))
}

/// Reads what boto3 wrote before, and leaves something for it to read after.
pub async fn cross(site: &Site) -> Outcome {
    site.expect("from-boto3", b"written by boto3").await?;
    site.put("for-boto3", "written by the driver").await?;
    Ok(())
}
