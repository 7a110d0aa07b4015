import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.services.s3.model.BucketVersioningStatus;
import software.amazon.awssdk.services.s3.model.ListObjectsV2Response;
import software.amazon.awssdk.services.s3.model.ObjectIdentifier;
import software.amazon.awssdk.services.s3.model.S3Object;
import software.amazon.awssdk.services.s3.model.Tag;

/** Objects: put, get, list, copy, delete, metadata, keys, tags, versions. */
final class ObjectChecks {
    static final Map<String, Main.Check> ALL = new LinkedHashMap<>();

    static {
        ALL.put("small", ObjectChecks::small);
        ALL.put("range", ObjectChecks::range);
        ALL.put("list", ObjectChecks::list);
        ALL.put("copy", ObjectChecks::copy);
        ALL.put("delete_many", ObjectChecks::deleteMany);
        ALL.put("metadata", ObjectChecks::metadata);
        ALL.put("keys", ObjectChecks::keys);
        ALL.put("tagging", ObjectChecks::tagging);
        ALL.put("versioning", ObjectChecks::versioning);
        ALL.put("cross", ObjectChecks::cross);
    }

    private static void small(Site site) {
        for (String body : List.of("hello", "")) {
            site.put("small", body);
            long length = site.s3.headObject(request -> request.bucket(site.bucket).key("small")).contentLength();
            Site.same("length", length, (long) body.length());
            site.expect("small", body.getBytes(UTF_8));
        }
        site.s3.deleteObject(request -> request.bucket(site.bucket).key("small"));
        Site.refused(() -> site.s3.headObject(request -> request.bucket(site.bucket).key("small")), null, 404);
    }

    private static void range(Site site) {
        byte[] body = "0123456789".repeat(100_000).getBytes(UTF_8);
        site.put("ranged", body);
        Map<String, byte[]> wanted = Map.of(
                "bytes=5-14", Arrays.copyOfRange(body, 5, 15),
                "bytes=999990-", Arrays.copyOfRange(body, 999_990, 1_000_000),
                "bytes=-7", Arrays.copyOfRange(body, 999_993, 1_000_000),
                "bytes=999999-2000000", Arrays.copyOfRange(body, 999_999, 1_000_000));
        wanted.forEach((asked, bytes) -> Site.same(asked, Arrays.equals(ranged(site, asked), bytes), true));
        Site.refused(() -> ranged(site, "bytes=1000000-"), "InvalidRange", 416);
    }

    private static byte[] ranged(Site site, String asked) {
        return site.s3.getObjectAsBytes(request -> request.bucket(site.bucket).key("ranged").range(asked)).asByteArray();
    }

    private static void list(Site site) {
        for (int number = 0; number < 12; number++) {
            site.put("list/d" + number + "/file", "");
        }
        site.put("list/plain", "");
        int prefixes = 0;
        int keys = 0;
        int pages = 0;
        String token = null;
        do {
            String from = token;
            ListObjectsV2Response page = site.s3.listObjectsV2(request ->
                    request.bucket(site.bucket).prefix("list/").delimiter("/").maxKeys(5).continuationToken(from));
            prefixes += page.commonPrefixes().size();
            keys += page.contents().size();
            pages++;
            token = page.nextContinuationToken();
        } while (token != null);
        Site.same("prefixes, keys, pages", List.of(prefixes, keys, pages), List.of(12, 1, 3));
    }

    private static void copy(Site site) {
        site.put("copy/from ü+", "copied");
        site.s3.copyObject(request -> request.sourceBucket(site.bucket).sourceKey("copy/from ü+")
                .destinationBucket(site.bucket).destinationKey("copy/to"));
        site.expect("copy/to", "copied".getBytes(UTF_8));
    }

    private static void deleteMany(Site site) {
        List<String> keys = List.of("many/a", "many/b & <c>", "many/ü");
        keys.forEach(key -> site.put(key, "x"));
        List<ObjectIdentifier> doomed =
                keys.stream().map(key -> ObjectIdentifier.builder().key(key).build()).collect(Collectors.toList());
        var done = site.s3.deleteObjects(request -> request.bucket(site.bucket).delete(all -> all.objects(doomed)));
        Site.same("deleted, errors", List.of(done.deleted().size(), done.errors().size()), List.of(3, 0));
    }

    /** ASCII: the JVM's HTTP clients disagree on what bytes other characters of a header are. */
    private static void metadata(Site site) {
        Map<String, String> wanted = Map.of("plain", "a value", "spaces", "a  b\t c");
        site.s3.putObject(request -> request.bucket(site.bucket).key("meta").metadata(wanted)
                .contentType("text/x-thing").cacheControl("max-age=60"), RequestBody.fromString("x"));
        var head = site.s3.headObject(request -> request.bucket(site.bucket).key("meta"));
        Site.same("plain", head.metadata().get("plain"), "a value");
        Site.same("headers", List.of(head.contentType(), head.cacheControl()), List.of("text/x-thing", "max-age=60"));
    }

    private static void keys(Site site) {
        for (String key : site.keys) {
            try {
                site.put("keys/" + key, key);
                site.expect("keys/" + key, key.getBytes(UTF_8));
            } catch (RuntimeException error) {
                throw new AssertionError(key, error);
            }
        }
        Set<String> found = site.s3.listObjectsV2(request -> request.bucket(site.bucket).prefix("keys/"))
                .contents().stream().map(S3Object::key).collect(Collectors.toSet());
        Set<String> wanted = new HashSet<>();
        site.keys.forEach(key -> wanted.add("keys/" + key));
        Site.same("listed", found, wanted);
    }

    private static void tagging(Site site) {
        site.s3.putObject(request -> request.bucket(site.bucket).key("tagged").tagging("k=v&x=y%20z"),
                RequestBody.fromString("x"));
        Site.same("tags of the header", tags(site).size(), 2);
        Tag tag = Tag.builder().key("a b").value("ü+/=").build();
        site.s3.putObjectTagging(request -> request.bucket(site.bucket).key("tagged").tagging(all -> all.tagSet(tag)));
        Site.same("tags", tags(site), List.of(tag));
        site.s3.deleteObjectTagging(request -> request.bucket(site.bucket).key("tagged"));
    }

    private static List<Tag> tags(Site site) {
        return site.s3.getObjectTagging(request -> request.bucket(site.bucket).key("tagged")).tagSet();
    }

    private static void versioning(Site site) {
        site.s3.putBucketVersioning(request -> request.bucket(site.versioned)
                .versioningConfiguration(wanted -> wanted.status(BucketVersioningStatus.ENABLED)));
        String first = site.s3.putObject(request -> request.bucket(site.versioned).key("k"), RequestBody.fromString("one"))
                .versionId();
        site.s3.putObject(request -> request.bucket(site.versioned).key("k"), RequestBody.fromString("two"));
        boolean marker = site.s3.deleteObject(request -> request.bucket(site.versioned).key("k")).deleteMarker();
        var old = site.s3.getObjectAsBytes(request -> request.bucket(site.versioned).key("k").versionId(first));
        Site.same("old version", old.asUtf8String(), "one");
        var listed = site.s3.listObjectVersions(request -> request.bucket(site.versioned));
        Site.same("marker, versions, markers",
                List.of(marker, listed.versions().size(), listed.deleteMarkers().size()), List.of(true, 2, 1));
    }

    /** Reads what boto3 wrote before, and leaves something for it to read after. */
    private static void cross(Site site) {
        site.expect("from-boto3", "written by boto3".getBytes(UTF_8));
        site.put("for-boto3", "written by the driver");
    }
}
