import java.io.IOException;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Drives the AWS SDK for Java v2 with its default settings against one endpoint and prints one JSON line a check:
 * {"check": "multipart", "ok": true}, or false with a detail. The argument says which of the SDK's clients it is to be:
 * sync, async (Netty) or crt.
 */
public final class Main {
    /** A check fails by throwing. */
    interface Check {
        void run(Site site) throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        trustRoot(System.getenv("COMPAT_ROOT"));
        resolveBucketNames();
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        try (Site site = new Site(arguments[0])) {
            Map<String, Check> checks = new LinkedHashMap<>();
            checks.putAll(ObjectChecks.ALL);
            checks.putAll(UploadChecks.ALL);
            checks.putAll(AccessChecks.ALL);
            for (Map.Entry<String, Check> check : checks.entrySet()) {
                out.println(run(site, check.getKey(), check.getValue()));
            }
        }
        System.exit(0); // Netty's threads would linger
    }

    private static String run(Site site, String name, Check check) {
        try {
            check.run(site);
            return "{\"check\": \"" + name + "\", \"ok\": true}";
        } catch (Throwable error) {
            StringWriter trace = new StringWriter();
            error.printStackTrace(new PrintWriter(trace));
            return "{\"check\": \"" + name + "\", \"ok\": false, \"detail\": " + quote(trace.toString()) + "}";
        }
    }

    private static String quote(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            quoted.append(c < 0x20 || c == '"' || c == '\\' ? String.format("\\u%04x", (int) c) : String.valueOf(c));
        }
        return quoted.append('"').toString();
    }

    /** What -Djavax.net.ssl.trustStore would do: the test's root is all that the JVM trusts. */
    private static void trustRoot(String pem) throws Exception {
        if (pem == null) {
            return;
        }
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        try (var file = Files.newInputStream(Path.of(pem))) {
            store.setCertificateEntry("root", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        Path written = Files.createTempFile("trust", ".p12");
        try (var file = Files.newOutputStream(written)) {
            store.store(file, "changeit".toCharArray());
        }
        written.toFile().deleteOnExit();
        System.setProperty("javax.net.ssl.trustStore", written.toString());
        System.setProperty("javax.net.ssl.trustStorePassword", "changeit");
    }

    /** A hosts file for this JVM alone: the bucket's own name is loopback. */
    private static void resolveBucketNames() throws IOException {
        String domain = URI.create(System.getenv("COMPAT_VHOST_ENDPOINT")).getHost();
        Path hosts = Files.createTempFile("hosts", "");
        Files.writeString(hosts, "127.0.0.1 localhost " + System.getenv("COMPAT_BUCKET") + "." + domain + "\n");
        hosts.toFile().deleteOnExit();
        System.setProperty("jdk.net.hosts.file", hosts.toString());
    }
}
