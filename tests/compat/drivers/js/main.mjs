// Drives the AWS SDK for JavaScript v3 with its default settings against one endpoint and prints one JSON line a check:
// {"check": "multipart", "ok": true}, or false with a detail. The test module beside it says which checks must be there.
import http from "node:http";
import https from "node:https";
import { S3Client } from "@aws-sdk/client-s3";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { accessChecks } from "./access.mjs";
import { objectChecks } from "./objects.mjs";
import { uploadChecks } from "./uploads.mjs";

const env = process.env;

/** The SDK's default client, but for the endpoint, the credentials and the addressing style. */
function makeClient(secret, options) {
  return new S3Client({
    region: "us-east-1",
    endpoint: env.COMPAT_ENDPOINT,
    credentials: { accessKeyId: env.COMPAT_ACCESS_KEY, secretAccessKey: secret },
    ...options,
  });
}

/** Addresses buckets as subdomains of a name that nothing resolves: it dials loopback, whatever the name. */
function makeVirtualHostClient() {
  const lookup = (_name, options, done) =>
    options.all ? done(null, [{ address: "127.0.0.1", family: 4 }]) : done(null, "127.0.0.1", 4);
  const requestHandler = new NodeHttpHandler({
    httpAgent: new http.Agent({ lookup }),
    httpsAgent: new https.Agent({ lookup }),
  });
  return makeClient(env.COMPAT_SECRET_KEY, { endpoint: env.COMPAT_VHOST_ENDPOINT, requestHandler });
}

const site = {
  bucket: env.COMPAT_BUCKET,
  versioned: env.COMPAT_VERSIONED_BUCKET,
  keys: JSON.parse(env.COMPAT_KEYS),
  s3: makeClient(env.COMPAT_SECRET_KEY, { forcePathStyle: true }),
  makeWrongClient: () => makeClient(`${env.COMPAT_SECRET_KEY}x`, { forcePathStyle: true }),
  makeVirtualHostClient,
};

for (const [check, run] of Object.entries({ ...objectChecks, ...uploadChecks, ...accessChecks })) {
  const line = { check, ok: true };
  try {
    await run(site);
  } catch (error) {
    line.ok = false;
    line.detail = `${error.stack} ${JSON.stringify(error.$metadata ?? {})}`;
  }
  console.log(JSON.stringify(line));
}
