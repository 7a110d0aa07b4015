//! Conditions, errors, presigned URLs, host names, credentials.

use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;

use crate::site::{refused, same, Site};
use crate::Outcome;

pub async fn if_none_match(site: &Site) -> Outcome {
    let create = |body: &'static [u8]| {
        let put = site.s3.put_object().bucket(&site.bucket).key("created").if_none_match("*");
        put.body(ByteStream::from_static(body)).send()
    };
    create(b"first").await?;
    refused(create(b"second").await, "PreconditionFailed", 412)?;
    site.expect("created", b"first").await
}

pub async fn if_match(site: &Site) -> Outcome {
    let etag = site.put("swapped", "one").await?.e_tag.ok_or("no ETag")?;
    let swap = |body: &'static [u8]| {
        let put = site.s3.put_object().bucket(&site.bucket).key("swapped").if_match(&etag);
        put.body(ByteStream::from_static(body)).send()
    };
    swap(b"two").await?;
    refused(swap(b"three").await, "PreconditionFailed", 412)?;
    site.expect("swapped", b"two").await
}

pub async fn no_such_key(site: &Site) -> Outcome {
    refused(site.s3.get_object().bucket(&site.bucket).key("not there").send().await, "NoSuchKey", 404)?;
    refused(site.s3.head_object().bucket(&site.bucket).key("not there").send().await, "NotFound", 404)?;
    refused(site.s3.list_objects_v2().bucket("no-such-bucket-at-all").send().await, "NoSuchBucket", 404)
}

pub async fn presign_get(site: &Site) -> Outcome {
    site.put("presigned/ü + get", "presigned").await?;
    let get = site.s3.get_object().bucket(&site.bucket).key("presigned/ü + get").response_content_type("text/x-other");
    let url = get.presigned(PresigningConfig::expires_in(Duration::from_secs(60))?).await?;
    let answer = reqwest::get(url.uri()).await?;
    let kind = answer.headers().get("content-type").map(|value| value.as_bytes().to_vec());
    same("type", kind, Some(b"text/x-other".to_vec()))?;
    same("body", answer.text().await?, "presigned".to_owned())
}

pub async fn presign_put(site: &Site) -> Outcome {
    let put = site.s3.put_object().bucket(&site.bucket).key("presigned put");
    let url = put.presigned(PresigningConfig::expires_in(Duration::from_secs(60))?).await?;
    let mut request = reqwest::Client::new().put(url.uri()).body("by url");
    for (name, value) in url.headers() {
        request = request.header(name, value);
    }
    let answer = request.send().await?;
    same("status", (answer.status().as_u16(), answer.text().await?), (200, String::new()))?;
    site.expect("presigned put", b"by url").await
}

pub async fn virtual_host(site: &Site) -> Outcome {
    let named = Site {
        s3: site.virtual_host_client().await,
        bucket: site.bucket.clone(),
        versioned: String::new(),
        keys: Vec::new(),
    };
    named.put("virtual/a b//c", "by name").await?;
    named.expect("virtual/a b//c", b"by name").await?;
    site.expect("virtual/a b//c", b"by name").await?;
    named.s3.list_objects_v2().bucket(&site.bucket).prefix("virtual/").send().await?;
    Ok(())
}

pub async fn wrong_secret(site: &Site) -> Outcome {
    let put = site.wrong_client().await.put_object().bucket(&site.bucket).key("never");
    refused(put.body(ByteStream::from_static(b"x")).send().await, "SignatureDoesNotMatch", 403)?;
    refused(site.s3.head_object().bucket(&site.bucket).key("never").send().await, "NotFound", 404)
}
