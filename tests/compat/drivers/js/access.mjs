import assert from "node:assert/strict";
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand } from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { get, head, put, refused } from "./objects.mjs";

async function if_none_match(site) {
  await put(site, "created", "first", { IfNoneMatch: "*" });
  await refused(put(site, "created", "second", { IfNoneMatch: "*" }), "PreconditionFailed", 412);
  assert.equal((await get(site, "created")).toString(), "first");
}

async function if_match(site) {
  const { ETag: IfMatch } = await put(site, "swapped", "one");
  await put(site, "swapped", "two", { IfMatch });
  await refused(put(site, "swapped", "three", { IfMatch }), "PreconditionFailed", 412);
  assert.equal((await get(site, "swapped")).toString(), "two");
}

async function no_such_key(site) {
  await refused(get(site, "not there"), "NoSuchKey", 404);
  await refused(head(site, "not there"), "NotFound", 404);
  await refused(site.s3.send(new ListObjectsV2Command({ Bucket: "no-such-bucket-at-all" })), "NoSuchBucket", 404);
}

async function presign_get(site) {
  const Key = "presigned/ü + get";
  await put(site, Key, "presigned");
  const command = new GetObjectCommand({ Bucket: site.bucket, Key, ResponseContentType: "text/x-other" });
  const answer = await fetch(await getSignedUrl(site.s3, command, { expiresIn: 60 }));
  assert.deepEqual([answer.headers.get("content-type"), await answer.text()], ["text/x-other", "presigned"]);
}

async function presign_put(site) {
  const command = new PutObjectCommand({ Bucket: site.bucket, Key: "presigned put" });
  const url = await getSignedUrl(site.s3, command, { expiresIn: 60 });
  const answer = await fetch(url, { method: "PUT", body: "by url" });
  assert.equal(answer.status, 200, await answer.text());
  assert.equal((await get(site, "presigned put")).toString(), "by url");
}

async function virtual_host(site) {
  const named = { ...site, s3: site.makeVirtualHostClient() };
  const key = "virtual/a b//c";
  await put(named, key, "by name");
  assert.equal((await get(named, key)).toString(), "by name");
  assert.equal((await get(site, key)).toString(), "by name");
  await named.s3.send(new ListObjectsV2Command({ Bucket: site.bucket, Prefix: "virtual/" }));
}

async function wrong_secret(site) {
  await refused(put({ ...site, s3: site.makeWrongClient() }, "never", "x"), "SignatureDoesNotMatch", 403);
  await refused(head(site, "never"), "NotFound", 404);
}

export const accessChecks = {
  if_none_match,
  if_match,
  no_such_key,
  presign_get,
  presign_put,
  virtual_host,
  wrong_secret,
};
