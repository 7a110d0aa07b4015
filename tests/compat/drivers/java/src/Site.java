import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.net.URI;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.async.AsyncRequestBody;
import software.amazon.awssdk.core.async.AsyncResponseTransformer;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.protocols.jsoncore.JsonNode;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.s3.S3AsyncClient;
import software.amazon.awssdk.services.s3.S3AsyncClientBuilder;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.S3Configuration;
import software.amazon.awssdk.services.s3.crt.S3CrtHttpConfiguration;
import software.amazon.awssdk.services.s3.model.PutObjectResponse;
import software.amazon.awssdk.services.s3.model.S3Exception;
import software.amazon.awssdk.services.s3.presigner.S3Presigner;

/** The endpoint, two buckets and the client under test, which checks see as an S3Client whatever it is. */
final class Site implements AutoCloseable {
    final String kind;
    final String bucket = System.getenv("COMPAT_BUCKET");
    final String versioned = System.getenv("COMPAT_VERSIONED_BUCKET");
    final List<String> keys = new ArrayList<>();
    final S3Client s3;
    /** For what only asynchronous clients do, which here cut uploads into parts; null for the synchronous client. */
    final S3AsyncClient async;

    private static final URI ENDPOINT = URI.create(System.getenv("COMPAT_ENDPOINT"));
    private static final URI VIRTUAL = URI.create(System.getenv("COMPAT_VHOST_ENDPOINT"));
    private static final String SECRET = System.getenv("COMPAT_SECRET_KEY");

    Site(String kind) {
        this.kind = kind;
        for (JsonNode key : JsonNode.parser().parse(System.getenv("COMPAT_KEYS")).asArray()) {
            keys.add(key.asString());
        }
        async = switch (kind) {
            case "sync" -> null;
            case "crt" -> asyncClient(kind, ENDPOINT, SECRET, true);
            default -> nettyClient(ENDPOINT, SECRET, true).multipartEnabled(true).build();
        };
        // Not the Netty client with multipart: now and then it waits for ever for the body of an empty object (2.57.8).
        s3 = async == null ? syncClient(ENDPOINT, SECRET, true) : blocking(asyncClient(kind, ENDPOINT, SECRET, true));
    }

    /** The same kind of client with a wrong secret. */
    S3Client wrongClient() {
        String wrong = SECRET + "x";
        return async == null ? syncClient(ENDPOINT, wrong, true) : blocking(asyncClient(kind, ENDPOINT, wrong, true));
    }

    /** The same kind of client, addressing buckets as subdomains. */
    S3Client virtualHostClient() {
        return async == null
                ? syncClient(VIRTUAL, SECRET, false)
                : blocking(asyncClient(kind, VIRTUAL, SECRET, false));
    }

    S3Presigner presigner() {
        return S3Presigner.builder()
                .endpointOverride(ENDPOINT)
                .region(Region.US_EAST_1)
                .credentialsProvider(credentials(SECRET))
                .serviceConfiguration(S3Configuration.builder().pathStyleAccessEnabled(true).build())
                .build();
    }

    PutObjectResponse put(String key, byte[] body) {
        return s3.putObject(request -> request.bucket(bucket).key(key), RequestBody.fromBytes(body));
    }

    PutObjectResponse put(String key, String body) {
        return put(key, body.getBytes(java.nio.charset.StandardCharsets.UTF_8));
    }

    byte[] get(String key) {
        return s3.getObjectAsBytes(request -> request.bucket(bucket).key(key)).asByteArray();
    }

    void expect(String key, byte[] wanted) {
        byte[] got = get(key);
        same(key, got.length, wanted.length);
        same(key, Arrays.equals(got, wanted), true);
    }

    static void same(String what, Object got, Object wanted) {
        if (!java.util.Objects.equals(got, wanted)) {
            throw new AssertionError(what + ": " + got + " instead of " + wanted);
        }
    }

    /** Exactly this status, and this error code unless it is null (a HEAD's answer has none). */
    static void refused(Runnable call, String code, int status) {
        try {
            call.run();
        } catch (S3Exception error) {
            if (error.statusCode() != status || code != null && !code.equals(error.awsErrorDetails().errorCode())) {
                throw new AssertionError("instead of " + code, error);
            }
            return;
        }
        throw new AssertionError("succeeded instead of " + code);
    }

    @Override
    public void close() {
        s3.close();
    }

    private static StaticCredentialsProvider credentials(String secret) {
        return StaticCredentialsProvider.create(
                AwsBasicCredentials.create(System.getenv("COMPAT_ACCESS_KEY"), secret));
    }

    private static S3Client syncClient(URI endpoint, String secret, boolean pathStyle) {
        return S3Client.builder()
                .endpointOverride(endpoint)
                .region(Region.US_EAST_1)
                .credentialsProvider(credentials(secret))
                .forcePathStyle(pathStyle)
                .build();
    }

    private static S3AsyncClientBuilder nettyClient(URI endpoint, String secret, boolean pathStyle) {
        return S3AsyncClient.builder()
                .endpointOverride(endpoint)
                .region(Region.US_EAST_1)
                .credentialsProvider(credentials(secret))
                .forcePathStyle(pathStyle);
    }

    private static S3AsyncClient asyncClient(String kind, URI endpoint, String secret, boolean pathStyle) {
        if (kind.equals("async")) {
            return nettyClient(endpoint, secret, pathStyle).build();
        }
        return S3AsyncClient.crtBuilder()
                .endpointOverride(endpoint)
                .region(Region.US_EAST_1)
                .credentialsProvider(credentials(secret))
                .forcePathStyle(pathStyle)
                // The native library trusts the machine's roots only; it cannot be told of another.
                .httpConfiguration(S3CrtHttpConfiguration.builder().trustAllCertificatesEnabled(true).build())
                .build();
    }

    /** An asynchronous client behind the synchronous interface: each call waits for its future. */
    private static S3Client blocking(S3AsyncClient client) {
        return (S3Client) Proxy.newProxyInstance(
                Site.class.getClassLoader(), new Class<?>[] {S3Client.class}, (proxy, method, arguments) -> {
                    if (method.isDefault() && arguments != null && arguments[0] instanceof java.util.function.Consumer) {
                        return java.lang.reflect.InvocationHandler.invokeDefault(proxy, method, arguments);
                    }
                    return forward(client, method, arguments == null ? new Object[0] : arguments);
                });
    }

    private static final Map<String, Object> BYTES = Map.of("getObjectAsBytes", AsyncResponseTransformer.toBytes());

    private static Object forward(S3AsyncClient client, Method method, Object[] arguments) throws Throwable {
        List<Object> given = new ArrayList<>();
        for (Object argument : arguments) {
            given.add(argument instanceof RequestBody body ? asynchronous(body) : argument);
        }
        String name = method.getName();
        if (BYTES.containsKey(name)) {
            name = "getObject";
            given.add(AsyncResponseTransformer.toBytes());
        }
        for (Method candidate : S3AsyncClient.class.getMethods()) {
            if (candidate.getName().equals(name) && accepts(candidate, given)) {
                return waitFor(candidate, client, given);
            }
        }
        throw new NoSuchMethodError(method.toString());
    }

    private static AsyncRequestBody asynchronous(RequestBody body) throws java.io.IOException {
        try (var stream = body.contentStreamProvider().newStream()) {
            return AsyncRequestBody.fromBytes(stream.readAllBytes());
        }
    }

    private static boolean accepts(Method candidate, List<Object> given) {
        Class<?>[] wanted = candidate.getParameterTypes();
        boolean fits = wanted.length == given.size();
        for (int index = 0; fits && index < wanted.length; index++) {
            fits = wanted[index].isInstance(given.get(index));
        }
        return fits;
    }

    private static Object waitFor(Method method, S3AsyncClient client, List<Object> given) throws Throwable {
        try {
            Object answer = method.invoke(client, given.toArray());
            return answer instanceof CompletableFuture<?> future ? future.join() : answer;
        } catch (CompletionException | InvocationTargetException error) {
            throw error.getCause();
        }
    }
}
