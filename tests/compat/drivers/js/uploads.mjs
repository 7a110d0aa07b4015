import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { Upload } from "@aws-sdk/lib-storage";
import { get, head, put, refused } from "./objects.mjs";

/** A stream that tells nobody its length. */
function* pieces(body) {
  for (let offset = 0; offset < body.length; offset += 100_000) yield body.subarray(offset, offset + 100_000);
}

const upload = (site, Key, Body) => new Upload({ client: site.s3, params: { Bucket: site.bucket, Key, Body } }).done();

async function stream(site) {
  for (const size of [0, 1000, 12 << 20]) {
    const body = randomBytes(size);
    await upload(site, `streamed-${size}`, Readable.from(pieces(body)));
    assert.ok((await get(site, `streamed-${size}`)).equals(body), `${size} bytes`);
  }
  // One PutObject of a stream: aws-chunked with a CRC32 trailer, the SDK's default.
  const body = randomBytes(300_000);
  await put(site, "streamed", Readable.from(pieces(body)), { ContentLength: body.length });
  assert.ok((await get(site, "streamed")).equals(body));
  assert.ok((await head(site, "streamed", { ChecksumMode: "ENABLED" })).ChecksumCRC32);
}

async function multipart(site) {
  const body = randomBytes((18 << 20) + 7);
  await upload(site, "multi", body);
  assert.ok((await head(site, "multi", { PartNumber: 1 })).PartsCount >= 2);
  assert.ok((await get(site, "multi")).equals(body));
}

async function checksums(site) {
  await put(site, "summed", "123456789");
  assert.equal((await head(site, "summed", { ChecksumMode: "ENABLED" })).ChecksumCRC32, "y/Q5Jg==");
  for (const ChecksumAlgorithm of ["CRC32C", "CRC64NVME", "SHA1"]) {
    const key = `summed-${ChecksumAlgorithm}`;
    await put(site, key, "123456789", { ChecksumAlgorithm });
    assert.equal((await get(site, key)).toString(), "123456789");
    const streamed = Readable.from([Buffer.from("123456789")]);
    await put(site, key, streamed, { ChecksumAlgorithm, ContentLength: 9 });
    assert.equal((await get(site, key)).toString(), "123456789");
    assert.ok((await head(site, key, { ChecksumMode: "ENABLED" }))[`Checksum${ChecksumAlgorithm}`]);
  }
  await refused(put(site, "wrong", "123456789", { ChecksumCRC32: "AAAAAA==" }), "BadDigest", 400);
}

async function sha256(site) {
  await put(site, "sha256", "123456789", { ChecksumAlgorithm: "SHA256" });
  const got = await head(site, "sha256", { ChecksumMode: "ENABLED" });
  assert.equal(got.ChecksumSHA256, "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=");
  assert.equal((await get(site, "sha256")).toString(), "123456789");
}

export const uploadChecks = { stream, multipart, checksums, sha256 };
