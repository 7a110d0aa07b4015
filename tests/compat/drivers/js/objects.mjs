import assert from "node:assert/strict";
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  DeleteObjectTaggingCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  paginateListObjectsV2,
  PutBucketVersioningCommand,
  PutObjectCommand,
  PutObjectTaggingCommand,
} from "@aws-sdk/client-s3";

export const put = ({ s3, bucket: Bucket }, Key, Body, more = {}) =>
  s3.send(new PutObjectCommand({ Bucket, Key, Body, ...more }));

export async function get({ s3, bucket: Bucket }, Key, more = {}) {
  const answer = await s3.send(new GetObjectCommand({ Bucket, Key, ...more }));
  return Buffer.from(await answer.Body.transformToByteArray());
}

export const head = ({ s3, bucket: Bucket }, Key, more = {}) => s3.send(new HeadObjectCommand({ Bucket, Key, ...more }));

/** Exactly this error and status. */
export const refused = (promise, name, status) =>
  assert.rejects(promise, (error) => {
    assert.deepEqual([error.name, error.$metadata?.httpStatusCode], [name, status], String(error));
    return true;
  });

async function small(site) {
  for (const body of ["hello", ""]) {
    await put(site, "small", body);
    assert.equal((await head(site, "small")).ContentLength, body.length);
    assert.equal((await get(site, "small")).toString(), body);
  }
  await site.s3.send(new DeleteObjectCommand({ Bucket: site.bucket, Key: "small" }));
  await refused(head(site, "small"), "NotFound", 404);
}

async function range(site) {
  const body = Buffer.from("0123456789".repeat(100_000));
  await put(site, "ranged", body);
  const wanted = {
    "bytes=5-14": body.subarray(5, 15),
    "bytes=999990-": body.subarray(999_990),
    "bytes=-7": body.subarray(-7),
    "bytes=999999-2000000": body.subarray(999_999),
  };
  for (const [Range, bytes] of Object.entries(wanted)) assert.deepEqual(await get(site, "ranged", { Range }), bytes);
  await refused(get(site, "ranged", { Range: "bytes=1000000-" }), "InvalidRange", 416);
}

async function list(site) {
  for (let number = 0; number < 12; number++) await put(site, `list/d${number}/file`, "");
  await put(site, "list/plain", "");
  const pages = paginateListObjectsV2(
    { client: site.s3 },
    { Bucket: site.bucket, Prefix: "list/", Delimiter: "/", MaxKeys: 5 },
  );
  let [prefixes, keys, count] = [0, 0, 0];
  for await (const page of pages) {
    prefixes += page.CommonPrefixes?.length ?? 0;
    keys += page.Contents?.length ?? 0;
    count += 1;
  }
  assert.deepEqual([prefixes, keys, count], [12, 1, 3]);
}

async function copy(site) {
  await put(site, "copy/from ü+", "copied");
  const CopySource = `${site.bucket}/copy/from%20%C3%BC%2B`;
  await site.s3.send(new CopyObjectCommand({ Bucket: site.bucket, Key: "copy/to", CopySource }));
  assert.equal((await get(site, "copy/to")).toString(), "copied");
}

async function delete_many(site) {
  const keys = ["many/a", "many/b & <c>", "many/ü"];
  for (const key of keys) await put(site, key, "x");
  const Objects = keys.map((Key) => ({ Key }));
  const done = await site.s3.send(new DeleteObjectsCommand({ Bucket: site.bucket, Delete: { Objects } }));
  assert.deepEqual(done.Deleted.map(({ Key }) => Key).sort(), keys);
  assert.equal(done.Errors, undefined);
}

// Node sends header values as Latin-1 and refuses what does not fit: that much of Unicode is what this client can say.
async function metadata(site) {
  const Metadata = { plain: "a value" };
  await put(site, "meta", "x", { Metadata, ContentType: "text/x-thing", CacheControl: "max-age=60" });
  const got = await head(site, "meta");
  assert.deepEqual([got.Metadata, got.ContentType, got.CacheControl], [Metadata, "text/x-thing", "max-age=60"]);
  await assert.rejects(put(site, "meta", "x", { Metadata: { unicode: "ключ" } }), { code: "ERR_INVALID_CHAR" });
}

async function keys(site) {
  for (const key of site.keys) {
    try {
      await put(site, `keys/${key}`, key);
      assert.equal((await get(site, `keys/${key}`)).toString(), key);
    } catch (error) {
      throw new Error(`${JSON.stringify(key)}: ${error}`, { cause: error });
    }
  }
  const listed = await site.s3.send(new ListObjectsV2Command({ Bucket: site.bucket, Prefix: "keys/" }));
  assert.deepEqual(new Set(listed.Contents.map(({ Key }) => Key)), new Set(site.keys.map((key) => `keys/${key}`)));
}

async function tagging(site) {
  const place = { Bucket: site.bucket, Key: "tagged" };
  await put(site, "tagged", "x", { Tagging: "k=v&x=y%20z" });
  assert.equal((await site.s3.send(new GetObjectTaggingCommand(place))).TagSet.length, 2);
  const TagSet = [{ Key: "a b", Value: "ü+/=" }];
  await site.s3.send(new PutObjectTaggingCommand({ ...place, Tagging: { TagSet } }));
  assert.deepEqual((await site.s3.send(new GetObjectTaggingCommand(place))).TagSet, TagSet);
  await site.s3.send(new DeleteObjectTaggingCommand(place));
}

async function versioning(site) {
  const { s3, versioned: Bucket } = site;
  const Key = "versioned";
  await s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: "Enabled" } }));
  const first = await s3.send(new PutObjectCommand({ Bucket, Key, Body: "one" }));
  await s3.send(new PutObjectCommand({ Bucket, Key, Body: "two" }));
  const marker = await s3.send(new DeleteObjectCommand({ Bucket, Key }));
  const old = await s3.send(new GetObjectCommand({ Bucket, Key, VersionId: first.VersionId }));
  assert.equal(await old.Body.transformToString(), "one");
  const listed = await s3.send(new ListObjectVersionsCommand({ Bucket }));
  assert.deepEqual([marker.DeleteMarker, listed.Versions.length, listed.DeleteMarkers.length], [true, 2, 1]);
}

/** Reads what boto3 wrote before, and leaves something for it to read after. */
async function cross(site) {
  assert.equal((await get(site, "from-boto3")).toString(), "written by boto3");
  await put(site, "for-boto3", "written by the driver");
}

export const objectChecks = {
  small,
  range,
  list,
  copy,
  delete_many,
  metadata,
  keys,
  tagging,
  versioning,
  cross,
};
