// Interoperability checks with amqplib, the Node.js client.
//
// Left out: transactions, which amqplib does not offer.
'use strict';

const amqp = require('amqplib');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const { Inbox, needRestart, restartBroker, runChecks, unique } = require('./interop.js');

const URL = process.env.AMQP_URL;

/** Runs `use(connection)` and closes the connection whatever happens. */
async function connected(use) {
  const connection = await amqp.connect(URL);
  connection.on('error', () => {}); // reported through the operation that failed
  try {
    await use(connection);
  } finally {
    await connection.close().catch(() => {});
  }
}

/** Runs `use(channel, queue)` on a confirm channel with an exclusive queue of its own. */
function withQueue(name, use) {
  return connected(async (connection) => {
    const channel = await connection.createConfirmChannel();
    const { queue } = await channel.assertQueue(unique(name), { exclusive: true });
    await use(channel, queue, connection);
  });
}

async function publishNumbers(channel, queue, count, options) {
  for (let number = 0; number < count; number++) channel.sendToQueue(queue, Buffer.from(`${number}`), options);
  await channel.waitForConfirms();
}

const numbers = (count) => Array.from({ length: count }, (_, number) => `${number}`);
const bodies = (messages) => messages.map((message) => message.content.toString());
const readyCount = async (channel, queue) => (await channel.checkQueue(queue)).messageCount;

/** Takes what is ready in the queue, in order. */
async function getAll(channel, queue) {
  const messages = [];
  for (;;) {
    const message = await channel.get(queue, { noAck: true });
    if (!message) return messages;
    messages.push(message);
  }
}

async function expectChannelError(connection, code, text, operation) {
  const channel = await connection.createChannel();
  channel.on('error', () => {});
  await assert.rejects(operation(channel), (error) => {
    assert.equal(error.code, code);
    assert.ok(error.message.includes(text), `'${text}' is not in '${error.message}'`);
    return true;
  });
}

const declare = () =>
  connected(async (connection) => {
    const channel = await connection.createChannel();
    const [queue, transient, exchange] = [unique('declare'), unique('transient'), unique('exchange')];
    await channel.assertQueue(queue, { durable: true });
    const again = await channel.assertQueue(queue, { durable: true });
    assert.deepEqual({ ...again }, { queue, messageCount: 0, consumerCount: 0 });
    await channel.assertQueue(transient, { durable: false });
    await channel.assertExchange(exchange, 'direct');
    await channel.checkExchange(exchange);
    await channel.bindQueue(queue, exchange, 'key');
    await expectChannelError(connection, 406, "inequivalent arg 'durable'", (c) =>
      c.assertQueue(queue, { durable: false }),
    );
    await expectChannelError(connection, 404, 'no queue', (c) => c.checkQueue(unique('none')));
    await expectChannelError(connection, 404, 'no exchange', (c) => c.checkExchange(unique('none')));
    await channel.deleteQueue(queue);
    await channel.deleteQueue(transient);
    await channel.deleteExchange(exchange);
  });

const publishWithConfirms = () =>
  withQueue('confirms', async (channel, queue) => {
    await publishNumbers(channel, queue, 100);
    assert.equal(await readyCount(channel, queue), 100);
  });

const consumeWithPrefetch = () =>
  withQueue('prefetch', async (channel, queue) => {
    await publishNumbers(channel, queue, 10);
    const inbox = new Inbox();
    await channel.prefetch(3);
    const { consumerTag } = await channel.consume(queue, (message) => inbox.push(message));
    const got = await inbox.take(3);
    assert.equal(await readyCount(channel, queue), 7, 'ready while prefetch messages are unacked');
    assert.equal(inbox.items.length, 0, 'deliveries beyond the prefetch');
    channel.ack(got[0]);
    got.push(await inbox.next());
    assert.equal(await readyCount(channel, queue), 6, 'ready after one ack');
    channel.ack(got[3], true);
    while (got.length < 10) {
      got.push(await inbox.next());
      channel.ack(got.at(-1));
    }
    assert.deepEqual(bodies(got), numbers(10));
    await channel.cancel(consumerTag);
    await channel.recover();
    assert.equal(await readyCount(channel, queue), 0, 'messages left after the acks');
  });

const nackAndRedelivered = () =>
  withQueue('nack', async (channel, queue) => {
    await publishNumbers(channel, queue, 3);
    const first = await channel.get(queue);
    const second = await channel.get(queue);
    assert.deepEqual([first.fields.redelivered, second.fields.redelivered], [false, false]);
    channel.nack(second, true, true);
    const again = (await getAll(channel, queue)).map((m) => [m.content.toString(), m.fields.redelivered]);
    assert.deepEqual(again, [['0', true], ['1', true], ['2', false]]);
    await publishNumbers(channel, queue, 1);
    channel.nack(await channel.get(queue), false, false);
    assert.deepEqual(await getAll(channel, queue), []);
  });

const mandatoryReturn = () =>
  connected(async (connection) => {
    const channel = await connection.createConfirmChannel();
    const events = [];
    channel.on('return', (message) => events.push(message));
    channel.publish('', unique('nowhere'), Buffer.from('lost'), { mandatory: true }, () => events.push('confirm'));
    await channel.waitForConfirms();
    const [returned, confirm] = events;
    assert.equal(confirm, 'confirm', 'the return comes before the confirm');
    assert.equal(returned.fields.replyCode, 312);
    assert.equal(returned.fields.replyText, 'NO_ROUTE');
    assert.equal(returned.content.toString(), 'lost');
  });

const exclusiveQueueIsLocked = () =>
  withQueue('exclusive', (_channel, queue) =>
    connected(async (other) => {
      const text = 'cannot obtain exclusive access to locked queue';
      await expectChannelError(other, 405, text, (c) => c.assertQueue(queue, { exclusive: true }));
      await expectChannelError(other, 405, text, (c) => c.consume(queue, () => {}));
    }),
  );

const serverNamedQueue = () =>
  connected(async (connection) => {
    const channel = await connection.createConfirmChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    assert.match(queue, /^amq\.gen-/);
    await publishNumbers(channel, queue, 1);
    assert.deepEqual(bodies(await getAll(channel, queue)), ['0']);
  });

const topicRouting = () =>
  withQueue('Q1', async (channel, q1) => {
    const { queue: q2 } = await channel.assertQueue(unique('Q2'), { exclusive: true });
    const exchange = unique('topic');
    await channel.assertExchange(exchange, 'topic', { durable: false, autoDelete: true });
    await channel.bindQueue(q1, exchange, '*.orange.*');
    await channel.bindQueue(q2, exchange, '*.*.rabbit');
    await channel.bindQueue(q2, exchange, 'lazy.#');
    const reached = {
      'quick.orange.rabbit': [q1, q2],
      'lazy.orange.elephant': [q1, q2],
      'lazy.brown.fox': [q2],
      'lazy.pink.rabbit': [q2],
      'quick.brown.fox': [],
      orange: [],
      'quick.orange.male.rabbit': [],
      'lazy.orange.male.rabbit': [q2],
    };
    for (const key of Object.keys(reached)) channel.publish(exchange, key, Buffer.alloc(0));
    await channel.waitForConfirms();
    for (const queue of [q1, q2]) {
      const expected = Object.keys(reached).filter((key) => reached[key].includes(queue));
      const got = (await getAll(channel, queue)).map((message) => message.fields.routingKey);
      assert.deepEqual(got, expected, queue);
    }
  });

const headerTypes = () =>
  withQueue('headers', async (channel, queue) => {
    const typed = (type, value) => ({ '!': type, value });
    const headers = {
      bool: true,
      int8: -128,
      uint8: typed('uint8', 255),
      int16: -32768,
      uint16: typed('uint16', 65535),
      int32: -(2 ** 31),
      uint32: typed('uint32', 2 ** 32 - 1),
      int64: -(2 ** 52),
      float: typed('float', 1.5),
      double: 0.1,
      decimal: typed('decimal', { places: 2, digits: 314 }),
      string: 'grüße',
      bytes: Buffer.from([0, 255]),
      timestamp: typed('timestamp', 1767323045),
      table: { nested: { deeper: 1 } },
      array: [1, 'two', { three: 3 }, [null, false]],
      void: null,
    };
    // Timestamps and decimals come back in the form that carries their type, numbers as plain numbers.
    const plain = { uint8: 255, uint16: 65535, uint32: 2 ** 32 - 1, float: 1.5 };
    channel.sendToQueue(queue, Buffer.alloc(0), { headers });
    await channel.waitForConfirms();
    const message = await channel.get(queue, { noAck: true });
    assert.deepEqual(message.properties.headers, { ...headers, ...plain });
  });

const bodyOf10MiB = () =>
  withQueue('large', async (channel, queue) => {
    const sha256 = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex');
    const sent = crypto.randomBytes(10 * 1024 * 1024);
    channel.sendToQueue(queue, sent);
    await channel.waitForConfirms();
    const message = await channel.get(queue, { noAck: true });
    assert.equal(sha256(message.content), sha256(sent));
  });

// amqplib's own recovery connects again and calls `setup`, which opens the channels and consumers anew.
const recoveryAfterKill = async () => {
  needRestart();
  const queue = unique('recovery');
  let inbox;
  const setup = async (model) => {
    inbox = new Inbox();
    const channel = await model.createChannel();
    channel.on('error', () => {});
    await channel.assertQueue(queue, { durable: true });
    await channel.consume(queue, (message) => inbox.push(message));
  };
  const connection = await amqp.connect(URL, { recovery: { setup, maxDelay: 1000 } });
  for (const event of ['error', 'disconnect', 'connect-failed', 'reconnect-scheduled']) {
    connection.on(event, (detail) => console.error(event, detail));
  }
  try {
    const publisher = await connection.createConfirmChannel();
    publisher.on('error', () => {});
    await publishNumbers(publisher, queue, 200, { persistent: true });
    const again = new Promise((resolve) => connection.once('connect', resolve));
    await restartBroker();
    await again;
    assert.deepEqual(bodies(await inbox.take(200)), numbers(200));
    await (await connection.createChannel()).deleteQueue(queue);
  } finally {
    await connection.close();
  }
};

runChecks({
  declare,
  'publish-with-confirms': publishWithConfirms,
  'consume-with-prefetch': consumeWithPrefetch,
  'nack-and-redelivered': nackAndRedelivered,
  'mandatory-return': mandatoryReturn,
  'exclusive-queue-is-locked': exclusiveQueueIsLocked,
  'server-named-queue': serverNamedQueue,
  'topic-routing': topicRouting,
  'header-types': headerTypes,
  'body-of-10-mib': bodyOf10MiB,
  'recovery-after-kill': recoveryAfterKill,
});
