//! The hot path from bytes to bytes, in one thread and without a socket, for counting instructions: `tests/instructions`.
//!
//! `hot_path SCENARIO MESSAGES`: a broker on the store for tests, a publisher and consumers that speak through pipes. Nothing in
//! it depends on the time, so that two runs of the same code execute the same instructions, nearly.

#![allow(clippy::unwrap_used)]

use anyhow::{Context, Result, bail, ensure};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use warren::amqp::driver::{self, Ends, Settings};
use warren::amqp::frame::{self, Output, Payload};
use warren::amqp::handshake::Limits;
use warren::amqp::method::{self, Publish, basic, channel, confirm, connection, exchange, id, queue};
use warren::broker::{Broker, Defaults};

use warren::durability::Durability;
use warren::message::{Message, Properties};
use warren::name::{ChannelId, DeliveryTag, UserName, VhostName};
use warren::{definition, store};

/// The broker's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CHANNEL: ChannelId = ChannelId(1);
const FRAME_MAX: u32 = 131_072;
/// So many messages are published before their deliveries are read.
const BATCH: u64 = 100;
const PIPE_BYTES: usize = 1 << 20;

/// A way through the broker.
struct Scenario {
    name: &'static str,
    size: usize,
    /// Persistent messages and confirms, and an ack for every 50 messages.
    is_durable: bool,
    /// Queues, each with a consumer, that are bound to a fanout exchange; 1 is the default exchange's.
    queues: usize,
}

const SCENARIOS: &[Scenario] = &[
    Scenario { name: "transient-16", size: 16, is_durable: false, queues: 1 },
    Scenario { name: "transient-1024", size: 1024, is_durable: false, queues: 1 },
    Scenario { name: "durable-16", size: 16, is_durable: true, queues: 1 },
    Scenario { name: "durable-1024", size: 1024, is_durable: true, queues: 1 },
    Scenario { name: "fanout-10", size: 1024, is_durable: false, queues: 10 },
];

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let Some(name) = arguments.next() else {
        SCENARIOS.iter().for_each(|scenario| println!("{}", scenario.name));
        return Ok(());
    };
    let messages: u64 = arguments.next().context("how many messages?")?.parse()?;
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
    let scenario =
        scenario.with_context(|| format!("no scenario {name}; without arguments they are listed"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, run(scenario, messages))
}

async fn run(scenario: &Scenario, messages: u64) -> Result<()> {
    let (store, recovered) = store::memory::open();
    let broker = Broker::start(defaults(), store, recovered)?;
    let mut publisher = Client::open(&broker).await?;
    let mut consumers = Vec::new();
    let (exchange, key) = if scenario.queues == 1 { ("", "q0") } else { ("x", "") };
    if scenario.queues > 1 {
        publisher.declare_exchange(exchange).await?;
    }
    for index in 0..scenario.queues {
        let name = format!("q{index}");
        publisher.declare_queue(&name, scenario.is_durable).await?;
        if scenario.queues > 1 {
            publisher.bind(&name, exchange).await?;
        }
        let mut consumer = Client::open(&broker).await?;
        consumer.consume(&name, !scenario.is_durable).await?;
        consumers.push(consumer);
    }
    if scenario.is_durable {
        let select = confirm::AMQPMethod::Select(confirm::Select { nowait: false });
        publisher.call(method::AMQPClass::Confirm(select), id::CONFIRM_SELECT_OK).await?;
    }
    let batch = batch(scenario, exchange, key);
    let mut published = 0;
    while published < messages {
        publisher.stream.write_all(&batch).await?;
        published += BATCH;
        for consumer in &mut consumers {
            consumer.receive(published, scenario.is_durable).await?;
        }
        if scenario.is_durable {
            publisher.await_confirms(published).await?;
        }
    }
    Ok(())
}

/// The frames of a batch.
fn batch(scenario: &Scenario, exchange: &str, key: &str) -> Vec<u8> {
    // Only a delivery mode.
    let properties = [0x10, 0, if scenario.is_durable { 2 } else { 1 }];
    let body = vec![b'x'; scenario.size];
    let message = Message::new("".into(), b"", &properties, &Properties::default(), &[&body]);
    let mut output = Output::default();
    let (exchange, routing_key) = (exchange.as_bytes(), key.as_bytes());
    output.publish(CHANNEL, &Publish { exchange, routing_key, mandatory: false, immediate: false });
    output.content(CHANNEL, &Arc::new(message), FRAME_MAX);
    flat(&output).repeat(BATCH as usize)
}

fn flat(output: &Output) -> Vec<u8> {
    let mut slices = [std::io::IoSlice::new(&[]); 8];
    let count = output.slices(&mut slices);
    slices[..count].iter().flat_map(|slice| slice.iter()).copied().collect()
}

fn defaults() -> Defaults {
    Defaults {
        node: "warren@bench".into(),
        cluster_name: "bench".into(),
        user: UserName::new("guest"),
        password: b"guest".to_vec(),
        tags: vec!["administrator".into()],
        vhost: VhostName::new("/"),
        permissions: definition::Permissions {
            configure: ".*".into(),
            write: ".*".into(),
            read: ".*".into(),
        },
        message_memory_bytes: 1 << 30,
        durability: Durability::Sync,
        loopback_users: Vec::new(),
    }
}

/// A client at the other end of a pipe.
struct Client {
    stream: DuplexStream,
    input: Vec<u8>,
    start: usize,
    received: u64,
    confirmed: u64,
}

impl Client {
    async fn open(broker: &Arc<Broker>) -> Result<Self> {
        let (stream, theirs) = tokio::io::duplex(PIPE_BYTES);
        let end = ([127, 0, 0, 1], 1).into();
        let settings = Settings { limits: Limits::default(), handshake_timeout: Duration::from_secs(3600) };
        tokio::task::spawn_local(driver::run(
            theirs,
            Ends { peer: end, local: end },
            settings,
            Arc::clone(broker),
        ));
        let mut client = Self { stream, input: Vec::new(), start: 0, received: 0, confirmed: 0 };
        client.stream.write_all(b"AMQP\0\0\x09\x01").await?;
        client.expect(id::CONNECTION_START).await?;
        let start_ok = connection::StartOk {
            client_properties: Default::default(),
            mechanism: "PLAIN".into(),
            response: "\0guest\0guest".into(),
            locale: "en_US".into(),
        };
        let start_ok = method::AMQPClass::Connection(connection::AMQPMethod::StartOk(start_ok));
        client.call_on(ChannelId(0), start_ok, id::CONNECTION_TUNE).await?;
        let tune_ok = connection::TuneOk { channel_max: 10, frame_max: FRAME_MAX, heartbeat: 0 };
        let tune_ok = method::AMQPClass::Connection(connection::AMQPMethod::TuneOk(tune_ok));
        client.send(ChannelId(0), &tune_ok).await?;
        let open = connection::AMQPMethod::Open(connection::Open { virtual_host: "/".into() });
        client.call_on(ChannelId(0), method::AMQPClass::Connection(open), id::CONNECTION_OPEN_OK).await?;
        let open = channel::AMQPMethod::Open(channel::Open {});
        client.call(method::AMQPClass::Channel(open), id::CHANNEL_OPEN_OK).await?;
        Ok(client)
    }

    async fn declare_exchange(&mut self, name: &str) -> Result<()> {
        let declare = exchange::Declare {
            exchange: name.into(),
            kind: "fanout".into(),
            passive: false,
            durable: false,
            auto_delete: false,
            internal: false,
            nowait: false,
            arguments: Default::default(),
        };
        let declare = method::AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare));
        self.call(declare, id::EXCHANGE_DECLARE_OK).await
    }

    async fn declare_queue(&mut self, name: &str, durable: bool) -> Result<()> {
        let declare = queue::Declare {
            queue: name.into(),
            passive: false,
            durable,
            exclusive: false,
            auto_delete: false,
            nowait: false,
            arguments: Default::default(),
        };
        let declare = method::AMQPClass::Queue(queue::AMQPMethod::Declare(declare));
        self.call(declare, id::QUEUE_DECLARE_OK).await
    }

    async fn bind(&mut self, name: &str, exchange: &str) -> Result<()> {
        let (queue, exchange) = (name.into(), exchange.into());
        let bind = queue::Bind {
            queue,
            exchange,
            routing_key: "".into(),
            nowait: false,
            arguments: Default::default(),
        };
        self.call(method::AMQPClass::Queue(queue::AMQPMethod::Bind(bind)), id::QUEUE_BIND_OK).await
    }

    async fn consume(&mut self, name: &str, no_ack: bool) -> Result<()> {
        let consume = basic::Consume {
            queue: name.into(),
            consumer_tag: "c".into(),
            no_local: false,
            no_ack,
            exclusive: false,
            nowait: false,
            arguments: Default::default(),
        };
        let consume = method::AMQPClass::Basic(basic::AMQPMethod::Consume(consume));
        self.call(consume, id::BASIC_CONSUME_OK).await
    }

    async fn send(&mut self, channel: ChannelId, class: &method::AMQPClass) -> Result<()> {
        let mut output = Output::default();
        output.class(channel, class);
        Ok(self.stream.write_all(&flat(&output)).await?)
    }

    async fn call(&mut self, class: method::AMQPClass, answer: (u16, u16)) -> Result<()> {
        self.call_on(CHANNEL, class, answer).await
    }

    async fn call_on(
        &mut self,
        channel: ChannelId,
        class: method::AMQPClass,
        answer: (u16, u16),
    ) -> Result<()> {
        self.send(channel, &class).await?;
        self.expect(answer).await
    }

    async fn expect(&mut self, answer: (u16, u16)) -> Result<()> {
        loop {
            match frame::read(&self.input[self.start..], FRAME_MAX)
                .map_err(|error| anyhow::anyhow!("{error}"))?
            {
                Some((frame, bytes)) => {
                    let Payload::Method { class, method, .. } = frame.payload else { bail!("{frame:?}") };
                    ensure!((class, method) == answer, "{class}.{method} instead of {answer:?}");
                    self.start += bytes;
                    return Ok(());
                }
                None => self.fill().await?,
            }
        }
    }

    async fn fill(&mut self) -> Result<()> {
        if self.start == self.input.len() {
            self.input.clear();
            self.start = 0;
        }
        ensure!(self.stream.read_buf(&mut self.input).await? > 0, "the broker hung up");
        Ok(())
    }

    /// Receives until there are so many, and acks every 50.
    async fn receive(&mut self, count: u64, acks: bool) -> Result<()> {
        let mut output = Output::default();
        while self.received < count {
            while let Some((frame, bytes)) = frame::read(&self.input[self.start..], FRAME_MAX)
                .map_err(|error| anyhow::anyhow!("{error}"))?
            {
                if matches!(frame.payload, Payload::Body(_)) {
                    self.received += 1;
                    if acks && self.received.is_multiple_of(50) {
                        output.ack(CHANNEL, DeliveryTag(self.received), true);
                    }
                }
                self.start += bytes;
            }
            if self.received < count {
                self.fill().await?;
            }
        }
        Ok(self.stream.write_all(&flat(&output)).await?)
    }

    async fn await_confirms(&mut self, count: u64) -> Result<()> {
        while self.confirmed < count {
            while let Some((frame, bytes)) = frame::read(&self.input[self.start..], FRAME_MAX)
                .map_err(|error| anyhow::anyhow!("{error}"))?
            {
                let Payload::Method { class, method, payload } = frame.payload else { bail!("{frame:?}") };
                ensure!((class, method) == id::BASIC_ACK, "{class}.{method}");
                let (tag, _) = method::parse_settle(payload, class, method).unwrap();
                self.confirmed = tag.0;
                self.start += bytes;
            }
            if self.confirmed < count {
                self.fill().await?;
            }
        }
        Ok(())
    }
}
