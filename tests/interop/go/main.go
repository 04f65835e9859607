// Interoperability checks with amqp091-go; with the argument `management`, of what manages brokers.
package main

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "management" {
		runChecks(managementChecks)
	}
	runChecks([]check{
		{"declare", declare},
		{"publish-with-confirms", publishWithConfirms},
		{"consume-with-prefetch", consumeWithPrefetch},
		{"nack-and-redelivered", nackAndRedelivered},
		{"mandatory-return", mandatoryReturn},
		{"exclusive-queue-is-locked", exclusiveQueueIsLocked},
		{"server-named-queue", serverNamedQueue},
		{"topic-routing", topicRouting},
		{"transaction", transaction},
		{"header-types", headerTypes},
		{"body-of-10-mib", bodyOf10MiB},
		{"recovery-after-kill", recoveryAfterKill},
	})
}

func connect() *amqp.Connection {
	return must(amqp.Dial(os.Getenv("AMQP_URL")))
}

func openChannel(connection *amqp.Connection) *amqp.Channel {
	return must(connection.Channel())
}

func confirmChannel(connection *amqp.Connection) *amqp.Channel {
	channel := openChannel(connection)
	try(channel.Confirm(false))
	return channel
}

func declareQueue(channel *amqp.Channel, name string, durable bool) string {
	return must(channel.QueueDeclare(name, durable, false, false, false, nil)).Name
}

func exclusiveQueue(channel *amqp.Channel, name string) string {
	return must(channel.QueueDeclare(name, false, false, true, false, nil)).Name
}

func readyCount(channel *amqp.Channel, queue string) int {
	return must(channel.QueueDeclarePassive(queue, false, false, false, false, nil)).Messages
}

// publish publishes and, on a confirm channel, waits for the confirm.
func publish(channel *amqp.Channel, exchange, key string, message amqp.Publishing) {
	confirm := must(channel.PublishWithDeferredConfirm(exchange, key, false, false, message))
	if confirm != nil && !confirm.Wait() {
		panic("the broker refused the message")
	}
}

func text(body string) amqp.Publishing {
	return amqp.Publishing{Body: []byte(body)}
}

func publishNumbers(channel *amqp.Channel, queue string, count int, mode uint8) (bodies []string) {
	for number := range count {
		bodies = append(bodies, fmt.Sprint(number))
		publish(channel, "", queue, amqp.Publishing{Body: []byte(bodies[number]), DeliveryMode: mode})
	}
	return bodies
}

// getAll takes what is ready in the queue, in order.
func getAll(channel *amqp.Channel, queue string) (messages []amqp.Delivery) {
	for {
		message, ok, err := channel.Get(queue, true)
		try(err)
		if !ok {
			return messages
		}
		messages = append(messages, message)
	}
}

func bodies(messages []amqp.Delivery) (bodies []string) {
	for _, message := range messages {
		bodies = append(bodies, string(message.Body))
	}
	return bodies
}

func getOne(channel *amqp.Channel, queue string) amqp.Delivery {
	message, ok, err := channel.Get(queue, false)
	try(err)
	expect("a message is ready", ok, true)
	return message
}

func expectChannelError(connection *amqp.Connection, code int, text string, operation func(*amqp.Channel) error) {
	err, ok := operation(openChannel(connection)).(*amqp.Error)
	expect("the operation failed", ok, true)
	expect("reply code", err.Code, code)
	if !strings.Contains(err.Reason, text) {
		panic(fmt.Errorf("%q is not in %q", text, err.Reason))
	}
}

func declare() {
	connection := connect()
	defer connection.Close()
	channel := openChannel(connection)
	queue, exchange := declareQueue(channel, unique("declare"), true), unique("exchange")
	transient := declareQueue(channel, unique("transient"), false)
	again := must(channel.QueueDeclare(queue, true, false, false, false, nil))
	expect("declare-ok", again, amqp.Queue{Name: queue})
	try(channel.ExchangeDeclare(exchange, "direct", true, false, false, false, nil))
	try(channel.ExchangeDeclarePassive(exchange, "direct", true, false, false, false, nil))
	try(channel.QueueBind(queue, "key", exchange, false, nil))
	expectChannelError(connection, 406, "inequivalent arg 'durable'", func(c *amqp.Channel) error {
		_, err := c.QueueDeclare(queue, false, false, false, false, nil)
		return err
	})
	expectChannelError(connection, 404, "no queue", func(c *amqp.Channel) error {
		_, err := c.QueueDeclarePassive(unique("none"), false, false, false, false, nil)
		return err
	})
	expectChannelError(connection, 404, "no exchange", func(c *amqp.Channel) error {
		return c.QueueBind(queue, "key", unique("none"), false, nil)
	})
	must(channel.QueueDelete(queue, false, false, false))
	must(channel.QueueDelete(transient, false, false, false))
	try(channel.ExchangeDelete(exchange, false, false))
}

func publishWithConfirms() {
	connection := connect()
	defer connection.Close()
	channel := confirmChannel(connection)
	queue := exclusiveQueue(channel, unique("confirms"))
	var confirms []*amqp.DeferredConfirmation
	for range 100 {
		confirms = append(confirms, must(channel.PublishWithDeferredConfirm("", queue, false, false, text("hello"))))
	}
	for number, confirm := range confirms {
		expect("sequence number", confirm.DeliveryTag, uint64(number+1))
		expect("acked", confirm.Wait(), true)
	}
	expect("messages after the last confirm", readyCount(channel, queue), 100)
}

func consumeWithPrefetch() {
	connection := connect()
	defer connection.Close()
	channel := confirmChannel(connection)
	queue := exclusiveQueue(channel, unique("prefetch"))
	expected := publishNumbers(channel, queue, 10, amqp.Transient)
	try(channel.Qos(3, 0, false))
	deliveries := must(channel.Consume(queue, "consumer", false, false, false, false, nil))
	got := []amqp.Delivery{<-deliveries, <-deliveries, <-deliveries}
	expect("ready while prefetch messages are unacked", readyCount(channel, queue), 7)
	expect("deliveries beyond the prefetch", len(deliveries), 0)
	try(got[0].Ack(false))
	got = append(got, <-deliveries)
	expect("ready after one ack", readyCount(channel, queue), 6)
	try(got[3].Ack(true))
	for len(got) < 10 {
		message := <-deliveries
		try(message.Ack(false))
		got = append(got, message)
	}
	expect("deliveries", bodies(got), expected)
	try(channel.Cancel("consumer", false))
	try(channel.Close())
	expect("messages left after the acks", readyCount(openChannel(connection), queue), 0)
}

func nackAndRedelivered() {
	connection := connect()
	defer connection.Close()
	channel := confirmChannel(connection)
	queue := exclusiveQueue(channel, unique("nack"))
	publishNumbers(channel, queue, 3, amqp.Transient)
	first, second := getOne(channel, queue), getOne(channel, queue)
	expect("redelivered at first", []bool{first.Redelivered, second.Redelivered}, []bool{false, false})
	try(second.Nack(true, true))
	again := getAll(channel, queue)
	expect("messages after nack", bodies(again), []string{"0", "1", "2"})
	flags := []bool{again[0].Redelivered, again[1].Redelivered, again[2].Redelivered}
	expect("redelivered flags", flags, []bool{true, true, false})
	publish(channel, "", queue, text("refused"))
	try(getOne(channel, queue).Reject(false))
	expect("messages after reject without requeue", readyCount(channel, queue), 0)
}

// The library hands out a connection's frames one after the other, so a return that is there when the confirm comes
// was sent before it.
func mandatoryReturn() {
	connection := connect()
	defer connection.Close()
	channel := confirmChannel(connection)
	returns := channel.NotifyReturn(make(chan amqp.Return, 1))
	confirm := must(channel.PublishWithDeferredConfirm("", unique("nowhere"), true, false, text("lost")))
	expect("acked", confirm.Wait(), true)
	expect("returns by the time of the confirm", len(returns), 1)
	returned := <-returns
	expect("reply code", returned.ReplyCode, uint16(312))
	expect("reply text", returned.ReplyText, "NO_ROUTE")
	expect("body", string(returned.Body), "lost")
}

func exclusiveQueueIsLocked() {
	owner, other := connect(), connect()
	defer owner.Close()
	defer other.Close()
	queue := exclusiveQueue(openChannel(owner), unique("exclusive"))
	locked := "cannot obtain exclusive access to locked queue"
	expectChannelError(other, 405, locked, func(c *amqp.Channel) error {
		_, err := c.QueueDeclare(queue, false, false, true, false, nil)
		return err
	})
	expectChannelError(other, 405, locked, func(c *amqp.Channel) error {
		_, err := c.Consume(queue, "", false, false, false, false, nil)
		return err
	})
}

func serverNamedQueue() {
	connection := connect()
	defer connection.Close()
	channel := confirmChannel(connection)
	queue := exclusiveQueue(channel, "")
	expect("prefix of "+queue, strings.HasPrefix(queue, "amq.gen-"), true)
	publish(channel, "", queue, text("hello"))
	expect("messages", bodies(getAll(channel, queue)), []string{"hello"})
}

func topicRouting() {
	connection := connect()
	defer connection.Close()
	channel := confirmChannel(connection)
	exchange := unique("topic")
	try(channel.ExchangeDeclare(exchange, "topic", false, true, false, false, nil))
	q1, q2 := exclusiveQueue(channel, unique("Q1")), exclusiveQueue(channel, unique("Q2"))
	try(channel.QueueBind(q1, "*.orange.*", exchange, false, nil))
	try(channel.QueueBind(q2, "*.*.rabbit", exchange, false, nil))
	try(channel.QueueBind(q2, "lazy.#", exchange, false, nil))
	routes := []struct {
		key    string
		q1, q2 bool
	}{
		{"quick.orange.rabbit", true, true},
		{"lazy.orange.elephant", true, true},
		{"lazy.brown.fox", false, true},
		{"lazy.pink.rabbit", false, true},
		{"quick.brown.fox", false, false},
		{"orange", false, false},
		{"quick.orange.male.rabbit", false, false},
		{"lazy.orange.male.rabbit", false, true},
	}
	var expected1, expected2 []string
	for _, route := range routes {
		publish(channel, exchange, route.key, text(route.key))
		if route.q1 {
			expected1 = append(expected1, route.key)
		}
		if route.q2 {
			expected2 = append(expected2, route.key)
		}
	}
	expect("Q1", bodies(getAll(channel, q1)), expected1)
	expect("Q2", bodies(getAll(channel, q2)), expected2)
}

func transaction() {
	connection := connect()
	defer connection.Close()
	observer, channel := openChannel(connection), openChannel(connection)
	queue := exclusiveQueue(observer, unique("tx"))
	try(channel.Tx())
	publish(channel, "", queue, text("rolled back"))
	expect("messages before commit", readyCount(channel, queue), 0)
	try(channel.TxRollback())
	expect("messages after rollback", readyCount(observer, queue), 0)

	publish(channel, "", queue, text("one"))
	try(channel.TxCommit())
	expect("messages after commit", readyCount(observer, queue), 1)

	message := getOne(channel, queue)
	try(message.Ack(false))
	try(channel.TxRollback())
	try(message.Ack(false))
	publish(channel, "", queue, text("two"))
	try(channel.TxCommit())
	try(channel.Close())
	expect("messages after the ack was committed", bodies(getAll(observer, queue)), []string{"two"})
}

func headerTypes() {
	headers := amqp.Table{
		"bool":      true,
		"int8":      int8(-128),
		"uint8":     uint8(255),
		"int16":     int16(-32768),
		"uint16":    uint16(65535),
		"int32":     int32(-1 << 31),
		"uint32":    uint32(1<<32 - 1),
		"int64":     int64(-1 << 63),
		"float":     float32(1.5),
		"double":    0.1,
		"decimal":   amqp.Decimal{Scale: 2, Value: 314},
		"string":    "grüße",
		"bytes":     []byte{0, 255},
		"timestamp": time.Unix(1767323045, 0),
		"table":     amqp.Table{"nested": amqp.Table{"deeper": int32(1)}},
		"array":     []any{int32(1), "two", amqp.Table{"three": int32(3)}, []any{nil, false}},
		"void":      nil,
	}
	connection := connect()
	defer connection.Close()
	channel := confirmChannel(connection)
	queue := exclusiveQueue(channel, unique("headers"))
	publish(channel, "", queue, amqp.Publishing{Headers: headers})
	got := getOne(channel, queue).Headers
	for name := range headers {
		expect(name, got[name], headers[name])
	}
	expect("number of headers", len(got), len(headers))
}

func bodyOf10MiB() {
	body := make([]byte, 10<<20)
	must(rand.Read(body))
	connection := connect()
	defer connection.Close()
	channel := confirmChannel(connection)
	queue := exclusiveQueue(channel, unique("large"))
	publish(channel, "", queue, amqp.Publishing{Body: body})
	expect("sha256", sha256.Sum256(getOne(channel, queue).Body), sha256.Sum256(body))
}

// The library's own recovery brings back the connection, the channel, the exclusive queue and its consumer.
func recoveryAfterKill() {
	needRestart()
	connection := must(amqp.DialConfig(os.Getenv("AMQP_URL"), amqp.Config{Recovery: &amqp.Recovery{
		ReconnectionConfig: &amqp.ReconnectionConfig{MaxRetryCount: 100, RetryInterval: 200 * time.Millisecond},
	}}))
	defer connection.Close()
	states := make(chan *amqp.StateChanged, 10)
	connection.NotifyStateChange(states)
	channel := confirmChannel(connection)
	queue := declareQueue(channel, unique("recovery"), true)
	expected := publishNumbers(channel, queue, 200, amqp.Persistent)
	transient := exclusiveQueue(channel, unique("consumed-before"))
	consumedBefore := must(channel.Consume(transient, "", true, false, false, false, nil))

	restartBroker()
	for state := range states {
		try(state.Err)
		if state.To == amqp.StateOpen {
			expect("what could not be recovered", len(state.SkippedTopologyEntities), 0)
			break
		}
	}

	deliveries := must(channel.Consume(queue, "", true, false, false, false, nil))
	var got []amqp.Delivery
	for range expected {
		got = append(got, <-deliveries)
	}
	expect("messages after the restart", bodies(got), expected)
	publish(channel, "", transient, text("again"))
	expect("message to the recovered consumer", string((<-consumedBefore).Body), "again")
	must(channel.QueueDelete(queue, false, false, false))
}
