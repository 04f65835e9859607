import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.Map;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** What the program needs besides its checks: named checks with a time limit, unique names, the broker's restart. */
final class Interop {
    static final int CHECK_SECONDS = 60;
    private static final String CONTROL = System.getenv("CONTROL_URL");
    private static final String PREFIX = "interop.java." + UUID.randomUUID().toString().substring(0, 8);

    interface Check {
        void run() throws Exception;
    }

    /** Thrown by a check that cannot run here. */
    static final class Skip extends Exception {
        Skip(String why) {
            super(why);
        }
    }

    private Interop() {}

    static String unique(String name) {
        return PREFIX + "." + name;
    }

    /** Skips the check when the broker cannot be restarted; called first, so that nothing is left in the broker. */
    static void needRestart() throws Skip {
        if (CONTROL == null) {
            throw new Skip("this broker was not started by the harness and cannot be restarted");
        }
    }

    /** Has the harness kill the broker with SIGKILL and start it again; returns when the broker answers. */
    static void restartBroker() throws Exception {
        HttpRequest request =
                HttpRequest.newBuilder(URI.create(CONTROL + "/restart"))
                        .POST(HttpRequest.BodyPublishers.noBody())
                        .build();
        HttpResponse<String> response =
                HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        expect("restart: " + response.body(), response.statusCode(), 200);
    }

    static void expect(String what, Object got, Object expected) {
        if (!Objects.deepEquals(got, expected)) {
            throw new AssertionError(what + ": got " + got + ", expected " + expected);
        }
    }

    /** Runs the checks in the map's order, prints a result line for each and exits, with 1 when any failed. */
    static void runChecks(Map<String, Check> checks) {
        var executor = Executors.newCachedThreadPool();
        int code = 0;
        for (var check : checks.entrySet()) {
            String name = check.getKey();
            try {
                var outcome = executor.submit(() -> {
                    check.getValue().run();
                    return null;
                });
                outcome.get(CHECK_SECONDS, TimeUnit.SECONDS);
                System.out.println("ok " + name);
            } catch (ExecutionException failure) {
                Throwable cause = failure.getCause();
                if (cause instanceof Skip) {
                    System.out.println("skip " + name + ": " + cause.getMessage());
                    continue;
                }
                code = 1;
                cause.printStackTrace();
                System.out.println("FAIL " + name + ": " + cause.toString().replaceAll("\\s+", " "));
            } catch (TimeoutException | InterruptedException failure) {
                code = 1;
                System.out.println("FAIL " + name + ": no end after " + CHECK_SECONDS + " s");
            }
        }
        System.exit(code);
    }
}
