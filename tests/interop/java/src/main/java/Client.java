import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.LongString;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.Recoverable;
import com.rabbitmq.client.RecoveryListener;
import com.rabbitmq.client.ShutdownSignalException;
import com.rabbitmq.client.impl.LongStringHelper;
import java.io.IOException;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Date;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;

/** Interoperability checks with the Java client, which recovers connections, topology and consumers by itself. */
public final class Client {
    private static final long CONFIRM_MILLISECONDS = 30_000;
    private static final AMQP.BasicProperties PLAIN = MessageProperties.MINIMAL_BASIC;

    interface Operation {
        void run(Channel channel) throws IOException;
    }

    public static void main(String[] arguments) {
        var checks = new LinkedHashMap<String, Interop.Check>();
        checks.put("declare", Client::declare);
        checks.put("publish-with-confirms", Client::publishWithConfirms);
        checks.put("consume-with-prefetch", Client::consumeWithPrefetch);
        checks.put("nack-and-redelivered", Client::nackAndRedelivered);
        checks.put("mandatory-return", Client::mandatoryReturn);
        checks.put("exclusive-queue-is-locked", Client::exclusiveQueueIsLocked);
        checks.put("server-named-queue", Client::serverNamedQueue);
        checks.put("topic-routing", Client::topicRouting);
        checks.put("transaction", Client::transaction);
        checks.put("header-types", Client::headerTypes);
        checks.put("body-of-10-mib", Client::bodyOf10MiB);
        checks.put("recovery-after-kill", Client::recoveryAfterKill);
        Interop.runChecks(checks);
    }

    private static Connection connect() throws Exception {
        var factory = new ConnectionFactory();
        factory.setUri(System.getenv("AMQP_URL"));
        factory.setNetworkRecoveryInterval(200);
        return factory.newConnection();
    }

    private static Channel confirmChannel(Connection connection) throws IOException {
        Channel channel = connection.createChannel();
        channel.confirmSelect();
        return channel;
    }

    private static String exclusiveQueue(Channel channel, String name) throws IOException {
        return channel.queueDeclare(name, false, true, false, null).getQueue();
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static List<String> publishNumbers(
            Channel channel, String queue, int count, AMQP.BasicProperties properties) throws Exception {
        var bodies = new ArrayList<String>();
        for (int number = 0; number < count; number++) {
            bodies.add(Integer.toString(number));
            channel.basicPublish("", queue, properties, bytes(bodies.get(number)));
        }
        channel.waitForConfirmsOrDie(CONFIRM_MILLISECONDS);
        return bodies;
    }

    /** Takes the bodies of what is ready in the queue, in order. */
    private static List<String> getAll(Channel channel, String queue) throws IOException {
        var bodies = new ArrayList<String>();
        GetResponse message;
        while ((message = channel.basicGet(queue, true)) != null) {
            bodies.add(new String(message.getBody(), StandardCharsets.UTF_8));
        }
        return bodies;
    }

    private static BlockingQueue<Delivery> consume(Channel channel, String queue, boolean autoAck, String tag)
            throws IOException {
        var inbox = new LinkedBlockingQueue<Delivery>();
        channel.basicConsume(queue, autoAck, tag, (consumerTag, delivery) -> inbox.add(delivery), consumerTag -> {});
        return inbox;
    }

    private static List<Delivery> take(BlockingQueue<Delivery> inbox, int count) throws InterruptedException {
        var taken = new ArrayList<Delivery>();
        while (taken.size() < count) {
            taken.add(inbox.take());
        }
        return taken;
    }

    private static List<String> bodies(List<Delivery> deliveries) {
        return deliveries.stream().map(delivery -> new String(delivery.getBody(), StandardCharsets.UTF_8)).toList();
    }

    private static void ack(Channel channel, Delivery delivery, boolean multiple) throws IOException {
        channel.basicAck(delivery.getEnvelope().getDeliveryTag(), multiple);
    }

    private static void expectChannelError(Connection connection, int code, String text, Operation operation)
            throws Exception {
        try {
            operation.run(connection.createChannel());
        } catch (IOException failure) {
            var close = (AMQP.Channel.Close) ((ShutdownSignalException) failure.getCause()).getReason();
            Interop.expect("reply code", close.getReplyCode(), code);
            if (!close.getReplyText().contains(text)) {
                throw new AssertionError("'" + text + "' is not in '" + close.getReplyText() + "'");
            }
            return;
        }
        throw new AssertionError("no error " + code);
    }

    private static void declare() throws Exception {
        try (Connection connection = connect()) {
            Channel channel = connection.createChannel();
            String queue = Interop.unique("declare");
            String transientQueue = Interop.unique("transient");
            String exchange = Interop.unique("exchange");
            channel.queueDeclare(queue, true, false, false, null);
            var again = channel.queueDeclare(queue, true, false, false, null);
            var counts = List.of(again.getMessageCount(), again.getConsumerCount());
            Interop.expect("messages and consumers", counts, List.of(0, 0));
            channel.queueDeclare(transientQueue, false, false, false, null);
            channel.exchangeDeclare(exchange, "direct", true);
            channel.exchangeDeclarePassive(exchange);
            channel.queueBind(queue, exchange, "key");
            String different = "inequivalent arg 'durable'";
            expectChannelError(connection, 406, different, c -> c.queueDeclare(queue, false, false, false, null));
            expectChannelError(connection, 404, "no queue", c -> c.queueDeclarePassive(Interop.unique("none")));
            expectChannelError(connection, 404, "no exchange", c -> c.exchangeDeclarePassive(Interop.unique("none")));
            channel.queueDelete(queue);
            channel.queueDelete(transientQueue);
            channel.exchangeDelete(exchange);
        }
    }

    private static void publishWithConfirms() throws Exception {
        try (Connection connection = connect()) {
            Channel channel = confirmChannel(connection);
            String queue = exclusiveQueue(channel, Interop.unique("confirms"));
            Interop.expect("first sequence number", channel.getNextPublishSeqNo(), 1L);
            publishNumbers(channel, queue, 100, PLAIN);
            Interop.expect("messages after the last confirm", channel.messageCount(queue), 100L);
        }
    }

    private static void consumeWithPrefetch() throws Exception {
        try (Connection connection = connect()) {
            Channel channel = confirmChannel(connection);
            String queue = exclusiveQueue(channel, Interop.unique("prefetch"));
            List<String> expected = publishNumbers(channel, queue, 10, PLAIN);
            channel.basicQos(3);
            var inbox = consume(channel, queue, false, "consumer");
            List<Delivery> got = take(inbox, 3);
            Interop.expect("ready while prefetch messages are unacked", channel.messageCount(queue), 7L);
            Interop.expect("deliveries beyond the prefetch", inbox.size(), 0);
            ack(channel, got.get(0), false);
            got.addAll(take(inbox, 1));
            Interop.expect("ready after one ack", channel.messageCount(queue), 6L);
            ack(channel, got.get(3), true);
            while (got.size() < 10) {
                Delivery delivery = inbox.take();
                ack(channel, delivery, false);
                got.add(delivery);
            }
            Interop.expect("deliveries", bodies(got), expected);
            channel.basicCancel("consumer");
            channel.close();
            Interop.expect("messages left after the acks", connection.createChannel().messageCount(queue), 0L);
        }
    }

    private static void nackAndRedelivered() throws Exception {
        try (Connection connection = connect()) {
            Channel channel = confirmChannel(connection);
            String queue = exclusiveQueue(channel, Interop.unique("nack"));
            publishNumbers(channel, queue, 3, PLAIN);
            Interop.expect("redelivered at first", channel.basicGet(queue, false).getEnvelope().isRedeliver(), false);
            var second = channel.basicGet(queue, false).getEnvelope();
            channel.basicNack(second.getDeliveryTag(), true, true);
            var again = take(consume(channel, queue, true, "consumer"), 3);
            Interop.expect("messages after nack", bodies(again), List.of("0", "1", "2"));
            var flags = again.stream().map(delivery -> delivery.getEnvelope().isRedeliver()).toList();
            Interop.expect("redelivered flags", flags, List.of(true, true, false));
            channel.basicCancel("consumer");
            publishNumbers(channel, queue, 1, PLAIN);
            channel.basicReject(channel.basicGet(queue, false).getEnvelope().getDeliveryTag(), false);
            Interop.expect("messages after reject without requeue", getAll(channel, queue), List.of());
        }
    }

    /** The client calls its listeners in the order of the frames: the return has to come before the confirm. */
    private static void mandatoryReturn() throws Exception {
        try (Connection connection = connect()) {
            Channel channel = confirmChannel(connection);
            var events = Collections.synchronizedList(new ArrayList<Object>());
            channel.addReturnListener(message -> {
                String body = new String(message.getBody(), StandardCharsets.UTF_8);
                events.add(List.of(message.getReplyCode(), message.getReplyText(), body));
            });
            channel.addConfirmListener(
                    (tag, multiple) -> events.add("ack " + tag), (tag, multiple) -> events.add("nack " + tag));
            channel.basicPublish("", Interop.unique("nowhere"), true, PLAIN, bytes("lost"));
            channel.waitForConfirmsOrDie(CONFIRM_MILLISECONDS);
            Interop.expect("events", List.copyOf(events), List.of(List.of(312, "NO_ROUTE", "lost"), "ack 1"));
        }
    }

    private static void exclusiveQueueIsLocked() throws Exception {
        try (Connection owner = connect(); Connection other = connect()) {
            String queue = exclusiveQueue(owner.createChannel(), Interop.unique("exclusive"));
            String locked = "cannot obtain exclusive access to locked queue";
            expectChannelError(other, 405, locked, channel -> exclusiveQueue(channel, queue));
            expectChannelError(other, 405, locked, channel -> channel.basicGet(queue, true));
        }
    }

    private static void serverNamedQueue() throws Exception {
        try (Connection connection = connect()) {
            Channel channel = confirmChannel(connection);
            String queue = channel.queueDeclare().getQueue();
            Interop.expect("prefix of " + queue, queue.startsWith("amq.gen-"), true);
            Interop.expect("messages", publishNumbers(channel, queue, 1, PLAIN), getAll(channel, queue));
        }
    }

    private static void topicRouting() throws Exception {
        try (Connection connection = connect()) {
            Channel channel = confirmChannel(connection);
            String exchange = Interop.unique("topic");
            channel.exchangeDeclare(exchange, "topic", false, true, null);
            String q1 = exclusiveQueue(channel, Interop.unique("Q1"));
            String q2 = exclusiveQueue(channel, Interop.unique("Q2"));
            channel.queueBind(q1, exchange, "*.orange.*");
            channel.queueBind(q2, exchange, "*.*.rabbit");
            channel.queueBind(q2, exchange, "lazy.#");
            var routes = new LinkedHashMap<String, List<String>>();
            routes.put("quick.orange.rabbit", List.of(q1, q2));
            routes.put("lazy.orange.elephant", List.of(q1, q2));
            routes.put("lazy.brown.fox", List.of(q2));
            routes.put("lazy.pink.rabbit", List.of(q2));
            routes.put("quick.brown.fox", List.of());
            routes.put("orange", List.of());
            routes.put("quick.orange.male.rabbit", List.of());
            routes.put("lazy.orange.male.rabbit", List.of(q2));
            for (String key : routes.keySet()) {
                channel.basicPublish(exchange, key, PLAIN, bytes(key));
            }
            channel.waitForConfirmsOrDie(CONFIRM_MILLISECONDS);
            for (String queue : List.of(q1, q2)) {
                var expected = routes.keySet().stream().filter(key -> routes.get(key).contains(queue)).toList();
                Interop.expect(queue, getAll(channel, queue), expected);
            }
        }
    }

    private static void transaction() throws Exception {
        try (Connection connection = connect()) {
            Channel observer = connection.createChannel();
            Channel channel = connection.createChannel();
            String queue = exclusiveQueue(observer, Interop.unique("tx"));
            channel.txSelect();
            channel.basicPublish("", queue, PLAIN, bytes("rolled back"));
            Interop.expect("messages before commit", channel.messageCount(queue), 0L);
            channel.txRollback();
            Interop.expect("messages after rollback", observer.messageCount(queue), 0L);

            channel.basicPublish("", queue, PLAIN, bytes("one"));
            channel.txCommit();
            Interop.expect("messages after commit", observer.messageCount(queue), 1L);

            long tag = channel.basicGet(queue, false).getEnvelope().getDeliveryTag();
            channel.basicAck(tag, false);
            channel.txRollback();
            channel.basicAck(tag, false);
            channel.basicPublish("", queue, PLAIN, bytes("two"));
            channel.txCommit();
            channel.close();
            Interop.expect("messages after the ack was committed", getAll(observer, queue), List.of("two"));
        }
    }

    private static void headerTypes() throws Exception {
        LongString text = LongStringHelper.asLongString("grüße");
        var headers = new HashMap<String, Object>();
        headers.put("bool", true);
        headers.put("int8", Byte.MIN_VALUE);
        headers.put("int16", Short.MIN_VALUE);
        headers.put("int32", Integer.MIN_VALUE);
        headers.put("int64", Long.MIN_VALUE);
        headers.put("float", 1.5f);
        headers.put("double", 0.1);
        headers.put("decimal", new BigDecimal("3.14"));
        headers.put("string", text);
        headers.put("bytes", new byte[] {0, -1});
        headers.put("timestamp", new Date(1767323045000L));
        headers.put("table", Map.of("nested", Map.of("deeper", 1)));
        headers.put("array", List.of(1, text, Map.of("three", 3), Arrays.asList(null, false)));
        headers.put("void", null);
        try (Connection connection = connect()) {
            Channel channel = confirmChannel(connection);
            String queue = exclusiveQueue(channel, Interop.unique("headers"));
            publishNumbers(channel, queue, 1, new AMQP.BasicProperties.Builder().headers(headers).build());
            Map<String, Object> got = channel.basicGet(queue, true).getProps().getHeaders();
            Interop.expect("names", got.keySet(), headers.keySet());
            for (String name : headers.keySet()) {
                Interop.expect(name, got.get(name), headers.get(name));
            }
        }
    }

    private static void bodyOf10MiB() throws Exception {
        var body = new byte[10 << 20];
        new Random().nextBytes(body);
        try (Connection connection = connect()) {
            Channel channel = confirmChannel(connection);
            String queue = exclusiveQueue(channel, Interop.unique("large"));
            channel.basicPublish("", queue, PLAIN, body);
            channel.waitForConfirmsOrDie(CONFIRM_MILLISECONDS);
            MessageDigest sha256 = MessageDigest.getInstance("SHA-256");
            byte[] got = sha256.digest(channel.basicGet(queue, true).getBody());
            Interop.expect("sha256", got, sha256.digest(body));
        }
    }

    /** The client's own recovery brings back the connection, the channel, the exclusive queue and its consumer. */
    private static void recoveryAfterKill() throws Exception {
        Interop.needRestart();
        try (Connection connection = connect()) {
            var recovered = new CountDownLatch(1);
            ((Recoverable) connection).addRecoveryListener(new RecoveryListener() {
                @Override
                public void handleRecovery(Recoverable recoverable) {
                    recovered.countDown();
                }

                @Override
                public void handleRecoveryStarted(Recoverable recoverable) {}
            });
            Channel channel = confirmChannel(connection);
            String queue = channel.queueDeclare(Interop.unique("recovery"), true, false, false, null).getQueue();
            List<String> expected = publishNumbers(channel, queue, 200, MessageProperties.MINIMAL_PERSISTENT_BASIC);
            String exclusive = exclusiveQueue(channel, Interop.unique("consumed-before"));
            var consumedBefore = consume(channel, exclusive, true, "before");

            Interop.restartBroker();
            recovered.await();

            var inbox = consume(channel, queue, true, "after");
            Interop.expect("messages after the restart", bodies(take(inbox, expected.size())), expected);
            List<String> again = publishNumbers(channel, exclusive, 1, PLAIN);
            Interop.expect("message to the recovered consumer", bodies(take(consumedBefore, 1)), again);
            channel.queueDelete(queue);
        }
    }
}
