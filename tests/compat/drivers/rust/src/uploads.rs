//! Uploads: bodies that stream, many parts, checksums.

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;

use crate::site::{refused, same, Site};
use crate::Outcome;

fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut made = Vec::with_capacity(count + 8);
    while made.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        made.extend_from_slice(&state.to_le_bytes());
    }
    made.truncate(count);
    made
}

/// A body that can be read once and tells nobody its length: the SDK adds its checksum as a trailer.
fn streamed(body: &[u8]) -> ByteStream {
    let frames: Vec<_> =
        body.chunks(100_000).map(|piece| Ok::<_, std::io::Error>(Frame::data(Bytes::copy_from_slice(piece)))).collect();
    ByteStream::new(SdkBody::from_body_1_x(StreamBody::new(stream::iter(frames))))
}

pub async fn stream(site: &Site) -> Outcome {
    for count in [0, 1000, 3 << 20] {
        let body = noise(count);
        let key = format!("streamed-{count}");
        let put = site.s3.put_object().bucket(&site.bucket).key(&key).content_length(count as i64);
        put.body(streamed(&body)).send().await?;
        site.expect(&key, &body).await?;
        let head = site.s3.head_object().bucket(&site.bucket).key(&key).checksum_mode(ChecksumMode::Enabled);
        same("has its default checksum", head.send().await?.checksum_crc32().is_some(), true)?;
    }
    Ok(())
}

/// Parts as the SDK sends them by default, each with a checksum of its own.
pub async fn multipart(site: &Site) -> Outcome {
    let body = noise((18 << 20) + 7);
    let begun = site.s3.create_multipart_upload().bucket(&site.bucket).key("multi").send().await?;
    let upload = begun.upload_id().ok_or("no upload id")?;
    let mut completed = CompletedMultipartUpload::builder();
    for (index, piece) in body.chunks(8 << 20).enumerate() {
        let number = index as i32 + 1;
        let part = site.s3.upload_part().bucket(&site.bucket).key("multi").upload_id(upload).part_number(number);
        let stored = part.body(ByteStream::from(piece.to_vec())).send().await?;
        let row = CompletedPart::builder().part_number(number).set_e_tag(stored.e_tag().map(str::to_owned));
        completed = completed.parts(row.set_checksum_crc32(stored.checksum_crc32().map(str::to_owned)).build());
    }
    let complete = site.s3.complete_multipart_upload().bucket(&site.bucket).key("multi").upload_id(upload);
    complete.multipart_upload(completed.build()).send().await?;
    let head = site.s3.head_object().bucket(&site.bucket).key("multi").part_number(1).send().await?;
    same("parts", head.parts_count(), Some(3))?;
    site.expect("multi", &body).await
}

pub async fn checksums(site: &Site) -> Outcome {
    let head =
        |key: &str| site.s3.head_object().bucket(&site.bucket).key(key).checksum_mode(ChecksumMode::Enabled).send();
    let body = || ByteStream::from_static(b"123456789");
    site.put("summed", "123456789").await?;
    same("default checksum", head("summed").await?.checksum_crc32(), Some("y/Q5Jg=="))?;
    for algorithm in [ChecksumAlgorithm::Crc32C, ChecksumAlgorithm::Crc64Nvme, ChecksumAlgorithm::Sha1] {
        for (key, body) in [("buffer", body()), ("stream", streamed(b"123456789"))] {
            let key = format!("summed-{key}-{}", algorithm.as_str());
            let put = site.s3.put_object().bucket(&site.bucket).key(&key).checksum_algorithm(algorithm.clone());
            put.content_length(9).body(body).send().await?;
            site.expect(&key, b"123456789").await?;
        }
    }
    let wrong = site.s3.put_object().bucket(&site.bucket).key("wrong").checksum_crc32("AAAAAA==").body(body());
    refused(wrong.send().await, "BadDigest", 400)
}

pub async fn sha256(site: &Site) -> Outcome {
    let put = site.s3.put_object().bucket(&site.bucket).key("sha256").checksum_algorithm(ChecksumAlgorithm::Sha256);
    put.body(ByteStream::from_static(b"123456789")).send().await?;
    let head = site.s3.head_object().bucket(&site.bucket).key("sha256").checksum_mode(ChecksumMode::Enabled);
    same("SHA-256", head.send().await?.checksum_sha256(), Some("FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="))?;
    site.expect("sha256", b"123456789").await
}
