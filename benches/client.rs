//! A client in the process of the broker, for benches: over a pipe or over TCP, one channel, as little of its own as may be.

#![allow(dead_code, reason = "no bench uses all of it")]

use anyhow::{Result, bail, ensure};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use warren::amqp::driver::{self, Ends, Settings};
use warren::amqp::frame::{self, Output, Payload};
use warren::amqp::method::{self, Publish, basic, channel, confirm, connection, exchange, id, queue};
use warren::arguments::{Table, Value};
use warren::broker::{Broker, Defaults};
use warren::definition;
use warren::durability::Durability;
use warren::message::{Message, Properties};
use warren::name::{ChannelId, DeliveryTag, UserName, VhostName};

const CHANNEL: ChannelId = ChannelId(1);
const FRAME_MAX: u32 = 131_072;
const PIPE_BYTES: usize = 1 << 20;

/// A node with the user guest.
pub(crate) fn defaults() -> Defaults {
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
        has_user: true,
        log_exchange: false,
        loopback_users: Vec::new(),
        tracer: warren::telemetry::Tracer::default(),
        rules: Default::default(),
    }
}

/// The frames of `count` publishes of bodies of `size` bytes.
pub(crate) fn publishes(
    exchange: &str,
    key: &str,
    size: usize,
    is_persistent: bool,
    count: usize,
) -> Vec<u8> {
    // Only a delivery mode.
    let properties = [0x10, 0, if is_persistent { 2 } else { 1 }];
    publish(exchange, key, &properties, &vec![b'x'; size]).repeat(count)
}

/// The frames of a publish.
pub(crate) fn publish(exchange: &str, key: &str, properties: &[u8], body: &[u8]) -> Vec<u8> {
    let message = Message::new("".into(), b"", properties, &Properties::default(), &[body]);
    let mut output = Output::default();
    let (exchange, routing_key) = (exchange.as_bytes(), key.as_bytes());
    output.publish(CHANNEL, &Publish { exchange, routing_key, mandatory: false, immediate: false });
    output.content(CHANNEL, &Arc::new(message), FRAME_MAX);
    flat(&output)
}

/// A property list with these headers.
pub(crate) fn properties(headers: &[(&str, Value)], is_persistent: bool) -> Vec<u8> {
    let headers = warren::arguments::write_table(&table(headers));
    let delivery_mode = Some(if is_persistent { 2 } else { 1 });
    let mut raw = Vec::new();
    Properties { headers: Some(&headers), delivery_mode, ..Properties::default() }.write(&mut raw);
    raw
}

/// A table.
pub(crate) fn table(fields: &[(&str, Value)]) -> Table {
    let mut table = Table::default();
    for (name, value) in fields {
        table.insert((*name).into(), value.clone());
    }
    table
}

/// The bytes that wait in `output`.
pub(crate) fn flat(output: &Output) -> Vec<u8> {
    let mut slices = [std::io::IoSlice::new(&[]); 8];
    let count = output.slices(&mut slices);
    slices[..count].iter().flat_map(|slice| slice.iter()).copied().collect()
}

/// A client and its connection.
pub(crate) struct Client<S> {
    /// The broker is at its other end.
    pub(crate) stream: S,
    input: Vec<u8>,
    start: usize,
    received: u64,
    confirmed: u64,
}

fn served<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    broker: &Arc<Broker>,
) -> impl Future<Output = ()> + use<S> {
    let end = ([127, 0, 0, 1], 1).into();
    let settings = Settings { handshake_timeout: Duration::from_secs(3600), ..Settings::default() };
    driver::run(stream, Ends { peer: end, local: end }, settings, Arc::clone(broker))
}

impl Client<DuplexStream> {
    /// Over a pipe; the broker's end is served by this thread.
    pub(crate) async fn open(broker: &Arc<Broker>) -> Result<Self> {
        let (stream, theirs) = tokio::io::duplex(PIPE_BYTES);
        tokio::task::spawn_local(served(theirs, broker));
        Self::handshake(stream).await
    }
}

impl Client<TcpStream> {
    /// Over TCP on the loopback interface; the broker's end is a task of its own.
    pub(crate) async fn connect(broker: &Arc<Broker>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (stream, theirs) = tokio::join!(TcpStream::connect(listener.local_addr()?), listener.accept());
        let (stream, theirs) = (stream?, theirs?.0);
        stream.set_nodelay(true)?;
        theirs.set_nodelay(true)?;
        tokio::spawn(served(theirs, broker));
        Self::handshake(stream).await
    }
}

impl Client<TcpStream> {
    /// To a broker in another process.
    pub(crate) async fn to(address: std::net::SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Self::handshake(stream).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn handshake(stream: S) -> Result<Self> {
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

    /// A fanout exchange.
    pub(crate) async fn declare_exchange(&mut self, name: &str) -> Result<()> {
        self.declare_exchange_with(name, "fanout", false, Table::default()).await
    }

    /// An exchange.
    pub(crate) async fn declare_exchange_with(
        &mut self,
        name: &str,
        kind: &str,
        durable: bool,
        arguments: Table,
    ) -> Result<()> {
        let declare = exchange::Declare {
            exchange: name.into(),
            kind: kind.into(),
            passive: false,
            durable,
            auto_delete: false,
            internal: false,
            nowait: false,
            arguments,
        };
        let declare = method::AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare));
        self.call(declare, id::EXCHANGE_DECLARE_OK).await
    }

    /// A queue.
    pub(crate) async fn declare_queue(&mut self, name: &str, durable: bool) -> Result<()> {
        self.declare_queue_with(name, durable, Table::default()).await
    }

    /// A queue with arguments.
    pub(crate) async fn declare_queue_with(
        &mut self,
        name: &str,
        durable: bool,
        arguments: Table,
    ) -> Result<()> {
        let declare = queue::Declare {
            queue: name.into(),
            passive: false,
            durable,
            exclusive: false,
            auto_delete: false,
            nowait: false,
            arguments,
        };
        let declare = method::AMQPClass::Queue(queue::AMQPMethod::Declare(declare));
        self.call(declare, id::QUEUE_DECLARE_OK).await
    }

    /// Binds without a key.
    pub(crate) async fn bind(&mut self, name: &str, exchange: &str) -> Result<()> {
        self.bind_with(name, exchange, "").await
    }

    /// Binds.
    pub(crate) async fn bind_with(&mut self, name: &str, exchange: &str, key: &str) -> Result<()> {
        let (queue, exchange) = (name.into(), exchange.into());
        let bind = queue::Bind {
            queue,
            exchange,
            routing_key: key.into(),
            nowait: false,
            arguments: Default::default(),
        };
        self.call(method::AMQPClass::Queue(queue::AMQPMethod::Bind(bind)), id::QUEUE_BIND_OK).await
    }

    /// Consumes, with acks if `no_ack` is not set.
    pub(crate) async fn consume(&mut self, name: &str, no_ack: bool) -> Result<()> {
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

    /// Asks for confirms.
    pub(crate) async fn select_confirms(&mut self) -> Result<()> {
        let select = confirm::AMQPMethod::Select(confirm::Select { nowait: false });
        self.call(method::AMQPClass::Confirm(select), id::CONFIRM_SELECT_OK).await
    }

    /// Receives until there are so many, and acks every 50.
    pub(crate) async fn receive(&mut self, count: u64, acks: bool) -> Result<()> {
        let mut output = Output::default();
        while self.received < count {
            self.take_deliveries(acks, &mut output)?;
            if self.received < count {
                self.fill().await?;
            }
        }
        Ok(self.stream.write_all(&flat(&output)).await?)
    }

    /// Receives so many deliveries and shows their bodies, each in one frame.
    pub(crate) async fn each_body(&mut self, count: u64, mut show: impl FnMut(&[u8])) -> Result<()> {
        let end = self.received + count;
        while self.received < end {
            while let Some((frame, bytes)) = frame::read(&self.input[self.start..], FRAME_MAX)
                .map_err(|error| anyhow::anyhow!("{error}"))?
            {
                if let Payload::Body(body) = frame.payload {
                    show(body);
                    self.received += 1;
                }
                self.start += bytes;
            }
            if self.received < end {
                self.fill().await?;
            }
        }
        Ok(())
    }

    /// Receives what is there, acks every 50, and says how many these were.
    pub(crate) async fn receive_ready(&mut self, acks: bool) -> Result<u64> {
        let before = self.received;
        let mut output = Output::default();
        while std::future::poll_fn(|context| {
            let fill = std::pin::pin!(self.fill());
            Poll::Ready(match fill.poll(context) {
                Poll::Ready(filled) => filled.map(|()| true),
                Poll::Pending => Ok(false),
            })
        })
        .await?
        {
            self.take_deliveries(acks, &mut output)?;
        }
        self.stream.write_all(&flat(&output)).await?;
        Ok(self.received - before)
    }

    fn take_deliveries(&mut self, acks: bool, output: &mut Output) -> Result<()> {
        while let Some((frame, bytes)) =
            frame::read(&self.input[self.start..], FRAME_MAX).map_err(|error| anyhow::anyhow!("{error}"))?
        {
            if matches!(frame.payload, Payload::Body(_)) {
                self.received += 1;
                if acks && self.received.is_multiple_of(50) {
                    output.ack(CHANNEL, DeliveryTag(self.received), true);
                }
            }
            self.start += bytes;
        }
        Ok(())
    }

    /// Receives until so many are confirmed.
    pub(crate) async fn await_confirms(&mut self, count: u64) -> Result<()> {
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
