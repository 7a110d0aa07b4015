import static java.nio.charset.StandardCharsets.UTF_8;

import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.services.s3.presigner.S3Presigner;

/** Conditions, errors, presigned URLs, host names, credentials. */
final class AccessChecks {
    static final Map<String, Main.Check> ALL = new LinkedHashMap<>();
    private static final Duration MINUTE = Duration.ofMinutes(1);

    static {
        ALL.put("if_none_match", AccessChecks::ifNoneMatch);
        ALL.put("if_match", AccessChecks::ifMatch);
        ALL.put("no_such_key", AccessChecks::noSuchKey);
        ALL.put("presign_get", AccessChecks::presignGet);
        ALL.put("presign_put", AccessChecks::presignPut);
        ALL.put("virtual_host", AccessChecks::virtualHost);
        ALL.put("wrong_secret", AccessChecks::wrongSecret);
    }

    private static void create(Site site, String body) {
        site.s3.putObject(
                request -> request.bucket(site.bucket).key("created").ifNoneMatch("*"), RequestBody.fromString(body));
    }

    private static void ifNoneMatch(Site site) {
        create(site, "first");
        Site.refused(() -> create(site, "second"), "PreconditionFailed", 412);
        site.expect("created", "first".getBytes(UTF_8));
    }

    private static void swap(Site site, String etag, String body) {
        site.s3.putObject(
                request -> request.bucket(site.bucket).key("swapped").ifMatch(etag), RequestBody.fromString(body));
    }

    private static void ifMatch(Site site) {
        String etag = site.put("swapped", "one").eTag();
        swap(site, etag, "two");
        Site.refused(() -> swap(site, etag, "three"), "PreconditionFailed", 412);
        site.expect("swapped", "two".getBytes(UTF_8));
    }

    private static void noSuchKey(Site site) {
        // The CRT client asks by HEAD first, whose answer has no body to say a code in.
        Site.refused(() -> site.get("not there"), site.kind.equals("crt") ? null : "NoSuchKey", 404);
        Site.refused(() -> site.s3.headObject(request -> request.bucket(site.bucket).key("not there")), null, 404);
        Site.refused(
                () -> site.s3.listObjectsV2(request -> request.bucket("no-such-bucket-at-all")), "NoSuchBucket", 404);
    }

    private static HttpResponse<String> send(HttpRequest request) throws Exception {
        return HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
    }

    private static void presignGet(Site site) throws Exception {
        site.put("presigned/ü + get", "presigned");
        try (S3Presigner presigner = site.presigner()) {
            var signed = presigner.presignGetObject(wanted -> wanted.signatureDuration(MINUTE).getObjectRequest(request ->
                    request.bucket(site.bucket).key("presigned/ü + get").responseContentType("text/x-other")));
            HttpResponse<String> answer = send(HttpRequest.newBuilder(signed.url().toURI()).build());
            Site.same("body", answer.body(), "presigned");
            Site.same("type", answer.headers().firstValue("content-type").orElse(null), "text/x-other");
        }
    }

    private static void presignPut(Site site) throws Exception {
        try (S3Presigner presigner = site.presigner()) {
            var signed = presigner.presignPutObject(wanted -> wanted.signatureDuration(MINUTE)
                    .putObjectRequest(request -> request.bucket(site.bucket).key("presigned put")));
            HttpRequest.Builder request = HttpRequest.newBuilder(signed.url().toURI())
                    .PUT(HttpRequest.BodyPublishers.ofString("by url"));
            signed.signedHeaders().forEach((name, values) -> {
                if (!name.equalsIgnoreCase("host")) {
                    values.forEach(value -> request.header(name, value));
                }
            });
            HttpResponse<String> answer = send(request.build());
            Site.same("status of " + answer.body(), answer.statusCode(), 200);
        }
        site.expect("presigned put", "by url".getBytes(UTF_8));
    }

    private static void virtualHost(Site site) {
        String key = "virtual/a b//c";
        try (var named = site.virtualHostClient()) {
            named.putObject(request -> request.bucket(site.bucket).key(key), RequestBody.fromString("by name"));
            var got = named.getObjectAsBytes(request -> request.bucket(site.bucket).key(key));
            Site.same("body", got.asUtf8String(), "by name");
            named.listObjectsV2(request -> request.bucket(site.bucket).prefix("virtual/"));
        }
        site.expect(key, "by name".getBytes(UTF_8));
    }

    private static void wrongSecret(Site site) {
        try (var wrong = site.wrongClient()) {
            Site.refused(
                    () -> wrong.putObject(request -> request.bucket(site.bucket).key("never"), RequestBody.fromString("x")),
                    "SignatureDoesNotMatch",
                    403);
        }
        Site.refused(() -> site.s3.headObject(request -> request.bucket(site.bucket).key("never")), null, 404);
    }
}
