import java.io.ByteArrayInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import software.amazon.awssdk.core.async.AsyncRequestBody;
import software.amazon.awssdk.core.async.BlockingInputStreamAsyncRequestBody;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.services.s3.model.ChecksumAlgorithm;
import software.amazon.awssdk.services.s3.model.ChecksumMode;
import software.amazon.awssdk.services.s3.model.CompletedPart;
import software.amazon.awssdk.services.s3.model.HeadObjectResponse;
import software.amazon.awssdk.transfer.s3.S3TransferManager;

/** Uploads: bodies that stream, many parts, checksums. */
final class UploadChecks {
    static final Map<String, Main.Check> ALL = new LinkedHashMap<>();

    static {
        ALL.put("stream", UploadChecks::stream);
        ALL.put("multipart", UploadChecks::multipart);
        ALL.put("checksums", UploadChecks::checksums);
        ALL.put("sha256", UploadChecks::sha256);
    }

    private static byte[] noise(int count) {
        byte[] made = new byte[count];
        new Random(count).nextBytes(made);
        return made;
    }

    /** Bodies of unknown length. */
    private static void stream(Site site) {
        for (int count : new int[] {0, 1000, 12 << 20}) {
            byte[] body = noise(count);
            String key = "streamed-" + count;
            if (site.async == null) {
                site.s3.putObject(request -> request.bucket(site.bucket).key(key),
                        RequestBody.fromContentProvider(() -> new ByteArrayInputStream(body), "x/y"));
            } else {
                BlockingInputStreamAsyncRequestBody streamed = AsyncRequestBody.forBlockingInputStream(null);
                var stored = site.async.putObject(request -> request.bucket(site.bucket).key(key), streamed);
                streamed.writeInputStream(new ByteArrayInputStream(body));
                stored.join();
            }
            site.expect(key, body);
        }
    }

    /** By the transfer manager, there and back; with the synchronous client, which has none, part by part. */
    private static void multipart(Site site) throws Exception {
        byte[] body = noise((18 << 20) + 7);
        if (site.async == null) {
            inParts(site, body);
        } else {
            Path file = Files.createTempFile("multi", "");
            Files.write(file, body);
            try (S3TransferManager transfers = S3TransferManager.builder().s3Client(site.async).build()) {
                transfers.uploadFile(up -> up.source(file)
                        .putObjectRequest(request -> request.bucket(site.bucket).key("multi"))).completionFuture().join();
                transfers.downloadFile(down -> down.destination(file)
                        .getObjectRequest(request -> request.bucket(site.bucket).key("multi"))).completionFuture().join();
            }
            Site.same("downloaded", Arrays.equals(Files.readAllBytes(file), body), true);
            Files.delete(file);
        }
        HeadObjectResponse head = site.s3.headObject(request -> request.bucket(site.bucket).key("multi").partNumber(1));
        Site.same("more than one part", head.partsCount() >= 2, true);
        site.expect("multi", body);
    }

    private static void inParts(Site site, byte[] body) {
        String upload = site.s3.createMultipartUpload(request -> request.bucket(site.bucket).key("multi")).uploadId();
        CompletedPart[] parts = new CompletedPart[3];
        for (int index = 0; index < parts.length; index++) {
            int number = index + 1;
            byte[] piece = Arrays.copyOfRange(body, index * (8 << 20), Math.min(body.length, number * (8 << 20)));
            var stored = site.s3.uploadPart(
                    request -> request.bucket(site.bucket).key("multi").uploadId(upload).partNumber(number),
                    RequestBody.fromBytes(piece));
            parts[index] = CompletedPart.builder().partNumber(number).eTag(stored.eTag())
                    .checksumCRC32(stored.checksumCRC32()).build();
        }
        site.s3.completeMultipartUpload(request ->
                request.bucket(site.bucket).key("multi").uploadId(upload).multipartUpload(all -> all.parts(parts)));
    }

    private static HeadObjectResponse head(Site site, String key) {
        return site.s3.headObject(request ->
                request.bucket(site.bucket).key(key).checksumMode(ChecksumMode.ENABLED));
    }

    private static void checksums(Site site) {
        site.put("summed", "123456789");
        HeadObjectResponse head = head(site, "summed");
        boolean right = "y/Q5Jg==".equals(head.checksumCRC32()) || "rosUhgp5mIg=".equals(head.checksumCRC64NVME());
        Site.same("default checksum of " + head, right, true);
        for (ChecksumAlgorithm algorithm : new ChecksumAlgorithm[] {
            ChecksumAlgorithm.CRC32, ChecksumAlgorithm.CRC32_C, ChecksumAlgorithm.CRC64_NVME, ChecksumAlgorithm.SHA1
        }) {
            String key = "summed-" + algorithm;
            site.s3.putObject(request -> request.bucket(site.bucket).key(key).checksumAlgorithm(algorithm),
                    RequestBody.fromString("123456789"));
            site.expect(key, "123456789".getBytes());
        }
        Site.refused(() -> site.s3.putObject(
                request -> request.bucket(site.bucket).key("wrong").checksumCRC32("AAAAAA=="),
                RequestBody.fromString("123456789")), "BadDigest", 400);
    }

    private static void sha256(Site site) {
        site.s3.putObject(request ->
                request.bucket(site.bucket).key("sha256").checksumAlgorithm(ChecksumAlgorithm.SHA256),
                RequestBody.fromString("123456789"));
        Site.same("SHA-256", head(site, "sha256").checksumSHA256(), "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=");
        site.expect("sha256", "123456789".getBytes());
    }
}
