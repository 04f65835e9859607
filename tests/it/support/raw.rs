//! A raw AMQP client on a blocking socket: it sends what it is told, right or wrong, and shows what comes as texts.
//!
//! What it receives is written to the scenario's transcript. Nothing here waits longer than [`PATIENCE`] for a frame
//! (half of it where only a transcript is wanted), unless it is told to; then the test fails and says what it was
//! waiting for.

use super::codec::{self, Decoded, Properties, Table, Value, text};
use super::login::Login;
use super::trace::Trace;
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

/// How long to wait for a frame.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The protocol header of AMQP 0-9-1.
pub(crate) const HEADER: &[u8] = b"AMQP\0\0\x09\x01";

/// A frame as it came.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) channel: u16,
    pub(crate) payload: Vec<u8>,
}

/// A method with its content, if it carries one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Incoming {
    pub(crate) channel: u16,
    pub(crate) method: Decoded,
    pub(crate) properties: Properties,
    pub(crate) body: Vec<u8>,
    /// All of it as one line, without what differs from run to run.
    pub(crate) text: String,
}

impl Incoming {
    /// A field of the method, as it came.
    pub(crate) fn get(&self, field: &str) -> &str {
        self.method.get(field)
    }

    /// A field's number.
    pub(crate) fn number(&self, field: &str) -> u64 {
        self.method.number(field)
    }

    fn show(&self) -> String {
        let carries_content = matches!(&*self.method.name, "basic.deliver" | "basic.get-ok" | "basic.return");
        let content = match std::str::from_utf8(&self.body) {
            _ if !carries_content => String::new(),
            Ok(body) if body.len() <= 60 => format!("{}: {body}", self.properties.show()),
            _ => {
                let sum = crc32fast::hash(&self.body);
                format!("{}: {} bytes, crc {sum:08x}", self.properties.show(), self.body.len())
            }
        };
        format!("{} {}{content}", self.channel, self.method.show())
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    trace: Rc<Trace>,
    /// Stands before this client's lines in the transcript.
    label: String,
    buffer: Vec<u8>,
    /// Methods whose content is on its way, by channel, with the bytes still to come.
    partial: HashMap<u16, (Incoming, u64)>,
    frame_max: u32,
    /// Whether heartbeats count as something received.
    pub(crate) shows_heartbeats: bool,
}

impl Client {
    /// A TCP connection on which nothing was said yet.
    pub(crate) fn new(address: SocketAddr, trace: Rc<Trace>, label: String) -> Self {
        let stream = TcpStream::connect(address).expect("the broker accepts connections");
        stream.set_nodelay(true).unwrap();
        let patience = if trace.is_strict { PATIENCE } else { PATIENCE / 2 };
        stream.set_read_timeout(Some(patience)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            trace,
            label,
            buffer: Vec::new(),
            partial: HashMap::new(),
            frame_max: 131_072,
            shows_heartbeats: false,
        }
    }

    /// Waits as long as the connection lasts from now on, instead of [`PATIENCE`].
    pub(crate) fn wait_for_ever(&self) {
        self.stream.set_read_timeout(None).unwrap();
    }

    // ---- sending

    /// Sends bytes as they are. That the broker has hung up shows in what is received.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).ok();
    }

    /// Sends a frame of any type.
    pub(crate) fn send_frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        self.send_bytes(&codec::frame(kind, channel, payload));
    }

    /// Sends a method, as in `queue.declare queue=~q durable`.
    pub(crate) fn send(&mut self, channel: u16, method: &str) {
        self.send_with(channel, method, &[]);
    }

    /// Sends a method with a table.
    pub(crate) fn send_with(&mut self, channel: u16, method: &str, table: Table<'_>) {
        let payload = codec::encode(method, table, &self.trace.prefix);
        self.send_frame(1, channel, &payload);
    }

    /// Sends a content header.
    pub(crate) fn send_header(&mut self, channel: u16, body_size: u64, properties: &Properties) {
        let payload =
            [&[0, 60, 0, 0][..], &body_size.to_be_bytes(), &properties.write(&self.trace.prefix)].concat();
        self.send_frame(2, channel, &payload);
    }

    /// Publishes a message without properties.
    pub(crate) fn publish(&mut self, channel: u16, exchange: &str, key: &str, body: impl AsRef<[u8]>) {
        let fields = format!("exchange={exchange} key={key}");
        self.publish_with(channel, &fields, &Properties::default(), body);
    }

    /// Publishes a message: `fields` as in `exchange=~x key=k mandatory`. Method, header and body are one write.
    pub(crate) fn publish_with(
        &mut self,
        channel: u16,
        fields: &str,
        properties: &Properties,
        body: impl AsRef<[u8]>,
    ) {
        let (body, prefix) = (body.as_ref(), &self.trace.prefix);
        let method = codec::encode(&format!("basic.publish {fields}"), &[], prefix);
        let header =
            [&[0, 60, 0, 0][..], &(body.len() as u64).to_be_bytes(), &properties.write(prefix)].concat();
        let mut bytes = [codec::frame(1, channel, &method), codec::frame(2, channel, &header)].concat();
        for part in body.chunks(self.frame_max as usize - 8) {
            bytes.extend_from_slice(&codec::frame(3, channel, part));
        }
        self.send_bytes(&bytes);
    }

    // ---- receiving

    /// The next frame; none at the end of the stream.
    pub(crate) fn next_frame(&mut self, wanted: &str) -> Option<Frame> {
        loop {
            if let Some((head, rest)) = self.buffer.split_first_chunk::<7>() {
                let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
                if rest.len() > length {
                    assert_eq!(rest[length], 0xCE, "a frame ends with 0xCE");
                    let frame = Frame {
                        kind: head[0],
                        channel: u16::from_be_bytes([head[1], head[2]]),
                        payload: rest[..length].to_vec(),
                    };
                    self.buffer.drain(..7 + length + 1);
                    return Some(frame);
                }
            }
            if !self.fill(wanted) {
                return None;
            }
        }
    }

    /// Reads some bytes; false at the end of the stream.
    fn fill(&mut self, wanted: &str) -> bool {
        let mut chunk = [0; 65_536];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(length) => {
                self.buffer.extend_from_slice(&chunk[..length]);
                true
            }
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted) => false,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                self.trace.give_up(&self.label, wanted, "nothing")
            }
            Err(e) => panic!("{e}, waiting for: {wanted}"),
        }
    }

    /// The next method with all its content, not written down; none at the end of the stream.
    pub(crate) fn next(&mut self, wanted: &str) -> Option<Incoming> {
        loop {
            let frame = self.next_frame(wanted)?;
            let channel = frame.channel;
            let done = match frame.kind {
                1 => {
                    let method = Decoded::read(&frame.payload);
                    let carries = matches!(&*method.name, "basic.deliver" | "basic.get-ok" | "basic.return");
                    let incoming = Incoming { channel, method, ..Incoming::default() };
                    if carries {
                        let before = self.partial.insert(channel, (incoming, u64::MAX));
                        assert!(before.is_none(), "a method within another's content on channel {channel}");
                        continue;
                    }
                    assert!(!self.partial.contains_key(&channel), "a method within another's content");
                    incoming
                }
                2 => {
                    let partial = self.partial.get_mut(&channel).expect("a header follows a method");
                    partial.1 = u64::from_be_bytes(frame.payload[4..12].try_into().unwrap());
                    partial.0.properties = Properties::read(&frame.payload[12..]);
                    if partial.1 > 0 {
                        continue;
                    }
                    self.partial.remove(&channel).unwrap().0
                }
                3 => {
                    let partial = self.partial.get_mut(&channel).expect("a body follows a header");
                    assert!(
                        frame.payload.len() + 8 <= self.frame_max as usize,
                        "a body frame within frame_max"
                    );
                    partial.0.body.extend_from_slice(&frame.payload);
                    partial.1 -= frame.payload.len() as u64;
                    if partial.1 > 0 {
                        continue;
                    }
                    self.partial.remove(&channel).unwrap().0
                }
                8 if self.shows_heartbeats => {
                    let text = "0 heartbeat".into();
                    return Some(Incoming { text, ..Incoming::default() });
                }
                8 => continue,
                other => panic!("the broker sent a frame of type {other}"),
            };
            let text = self.trace.normal(&done.show());
            return Some(Incoming { text, ..done });
        }
    }

    /// Receives something, whatever it is, without writing it down.
    fn take(&mut self, wanted: &str) -> Incoming {
        self.next(wanted).unwrap_or_else(|| self.trace.give_up(&self.label, wanted, "end of stream"))
    }

    /// Receives something, whatever it is.
    pub(crate) fn receive(&mut self, wanted: &str) -> Incoming {
        let incoming = self.take(wanted);
        self.trace.saw(&self.label, &incoming.text, &incoming.text);
        incoming
    }

    /// Receives a method, which must be this one.
    pub(crate) fn expect(&mut self, wanted: &str) -> Incoming {
        let incoming = self.take(wanted);
        self.trace.saw(&self.label, wanted, &incoming.text);
        incoming
    }

    /// Receives a method and notes what `describe` says of it, which must be this.
    pub(crate) fn expect_described(&mut self, wanted: &str, describe: impl Fn(&Incoming) -> String) {
        let incoming = self.take(wanted);
        let seen = self.trace.normal(&describe(&incoming));
        self.trace.saw(&self.label, wanted, &seen);
    }

    /// Receives these methods, whatever their order.
    pub(crate) fn expect_all(&mut self, wanted: &[&str]) {
        let mut wanted: Vec<_> = wanted.to_vec();
        let mut seen: Vec<_> = wanted.iter().map(|_| self.take(&wanted.join(", ")).text).collect();
        wanted.sort_unstable();
        seen.sort_unstable();
        for (wanted, seen) in wanted.iter().zip(&seen) {
            self.trace.saw(&self.label, wanted, seen);
        }
    }

    /// Receives confirms until the publishes 1 to `last` behind the last call are all acked, in any grouping.
    pub(crate) fn expect_confirms(&mut self, channel: u16, from: u64, last: u64) {
        let mut open: std::collections::BTreeSet<u64> = (from..=last).collect();
        while !open.is_empty() {
            let wanted = format!("{channel} basic.ack for {open:?}");
            let incoming = self.take(&wanted);
            if incoming.channel != channel || incoming.method.name != "basic.ack" {
                self.trace.saw(&self.label, &wanted, &incoming.text);
                panic!("wanted {wanted}, got {}", incoming.text);
            }
            let delivery = incoming.number("delivery");
            match incoming.get("multiple") {
                "true" => open.retain(|number| *number > delivery),
                _ => assert!(open.remove(&delivery), "confirmed twice: {delivery}"),
            }
        }
        let confirmed = format!("{channel} confirmed {from} to {last}");
        self.trace.saw(&self.label, &confirmed, &confirmed);
    }

    /// Receives the end of the stream.
    pub(crate) fn expect_end(&mut self) {
        let seen = self.next("end of stream").map_or("end of stream".into(), |incoming| incoming.text);
        self.trace.saw(&self.label, "end of stream", &seen);
    }

    /// Receives these bytes, which are no frame.
    pub(crate) fn expect_bytes(&mut self, wanted: &[u8]) {
        while self.buffer.len() < wanted.len() && self.fill("bytes") {}
        let length = wanted.len().min(self.buffer.len());
        let seen: Vec<u8> = self.buffer.drain(..length).collect();
        self.trace.saw(&self.label, &format!("bytes {wanted:?}"), &format!("bytes {seen:?}"));
    }

    // ---- a request and its reply

    /// Sends a method and receives its reply, as in `queue.delete-ok messages=0`.
    pub(crate) fn call(&mut self, channel: u16, method: &str, reply: &str) -> Incoming {
        self.call_with(channel, method, &[], reply)
    }

    /// The same with a table.
    pub(crate) fn call_with(
        &mut self,
        channel: u16,
        method: &str,
        table: Table<'_>,
        reply: &str,
    ) -> Incoming {
        self.send_with(channel, method, table);
        self.expect(&format!("{channel} {reply}"))
    }

    /// Sends a method for which the broker closes the channel, as in `404 NOT_FOUND - … (queue.declare)`. Afterwards
    /// the channel is open again.
    pub(crate) fn refused(&mut self, channel: u16, method: &str, why: &str) {
        self.refused_with(channel, method, &[], why);
    }

    /// The same with a table.
    pub(crate) fn refused_with(&mut self, channel: u16, method: &str, table: Table<'_>, why: &str) {
        self.send_with(channel, method, table);
        self.expect_channel_close(channel, why);
    }

    /// Receives a channel.close, answers it, and opens the channel again.
    pub(crate) fn expect_channel_close(&mut self, channel: u16, why: &str) {
        self.expect(&format!("{channel} channel.close {why}"));
        self.send(channel, "channel.close-ok");
        self.open_channel(channel);
    }

    /// Receives a connection.close, answers it, and sees the stream end.
    pub(crate) fn expect_connection_close(&mut self, why: &str) {
        self.expect(&format!("0 connection.close {why}"));
        self.send(0, "connection.close-ok");
        self.expect_end();
    }

    /// Opens a channel.
    pub(crate) fn open_channel(&mut self, channel: u16) {
        self.call(channel, "channel.open", "channel.open-ok");
    }

    /// Closes a channel.
    pub(crate) fn close_channel(&mut self, channel: u16) {
        self.call(channel, "channel.close code=200", "channel.close-ok");
    }

    /// Closes the connection. (RabbitMQ lets the client end the stream, so that is not awaited.)
    pub(crate) fn close(&mut self) {
        self.call(0, "connection.close code=200", "connection.close-ok");
    }

    /// Hangs up without a word.
    pub(crate) fn hang_up(&mut self) {
        self.stream.shutdown(Shutdown::Both).ok();
    }

    /// Declares a new queue, with flags such as `durable`.
    pub(crate) fn declare(&mut self, channel: u16, queue: &str, flags: &str) {
        self.declare_with(channel, queue, flags, &[]);
    }

    /// The same with arguments.
    pub(crate) fn declare_with(&mut self, channel: u16, queue: &str, flags: &str, arguments: Table<'_>) {
        let method = format!("queue.declare queue={queue} {flags}");
        let reply = format!("queue.declare-ok queue={queue} messages=0 consumers=0");
        self.call_with(channel, method.trim_end(), arguments, &reply);
    }

    /// Asserts how many messages are ready in a queue, and how many consumers it has.
    pub(crate) fn expect_queue(&mut self, channel: u16, queue: &str, messages: u32, consumers: u32) {
        let method = format!("queue.declare queue={queue} passive");
        let wanted =
            format!("{channel} queue.declare-ok queue={queue} messages={messages} consumers={consumers}");
        let mut attempts = if self.trace.is_rabbitmq { 200 } else { 1 };
        loop {
            self.send(channel, &method);
            let seen = self.take(&wanted);
            attempts -= 1;
            if attempts == 0 || seen.text == wanted || seen.method.name != "queue.declare-ok" {
                self.trace.saw(&self.label, &wanted, &seen.text);
                return;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Waits until a queue has no more `messages`, or `consumers`: what follows from a lost connection or from a message's
    /// death takes the broker a moment.
    pub(crate) fn expect_none(&mut self, channel: u16, queue: &str, what: &str) {
        let started = warren::time::now();
        let wanted = format!("{queue} has no {what}");
        loop {
            self.send(channel, &format!("queue.declare queue={queue} passive"));
            let seen = self.take(&wanted);
            if seen.get(what) == "0" {
                return self.trace.saw(&self.label, &wanted, &wanted);
            }
            if started.elapsed() > PATIENCE {
                self.trace.saw(&self.label, &wanted, &seen.text);
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Waits until a queue is gone: what follows from a lost connection takes the broker a moment.
    pub(crate) fn expect_gone(&mut self, channel: u16, queue: &str) {
        let started = warren::time::now();
        let wanted = format!("{queue} is gone");
        loop {
            self.send(channel, &format!("queue.declare queue={queue} passive"));
            let seen = self.take(&wanted);
            if seen.get("code") == "404" {
                self.trace.saw(&self.label, &wanted, &wanted);
                self.send(channel, "channel.close-ok");
                return self.open_channel(channel);
            }
            // As long as another connection owns it, even asking is refused.
            if seen.method.name == "channel.close" {
                self.send(channel, "channel.close-ok");
                self.send(channel, "channel.open");
                self.take("channel.open-ok");
            }
            if started.elapsed() > PATIENCE {
                self.trace.saw(&self.label, &wanted, &seen.text);
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Declares a new exchange.
    pub(crate) fn exchange(&mut self, channel: u16, exchange: &str, kind: &str) {
        let method = format!("exchange.declare exchange={exchange} type={kind}");
        self.call(channel, &method, "exchange.declare-ok");
    }

    /// Binds a queue.
    pub(crate) fn bind(&mut self, channel: u16, queue: &str, exchange: &str, key: &str) {
        let method = format!("queue.bind queue={queue} exchange={exchange} key={key}");
        self.call(channel, &method, "queue.bind-ok");
    }

    /// Starts a consumer, with flags such as `no-ack`.
    pub(crate) fn consume(&mut self, channel: u16, queue: &str, tag: &str, flags: &str) {
        let method = format!("basic.consume queue={queue} tag={tag} {flags}");
        self.call(channel, method.trim_end(), &format!("basic.consume-ok tag={tag}"));
    }

    /// Gets a message (`no-ack`), as in `basic.get-ok delivery=1 key=~q left=0: hello`.
    pub(crate) fn get(&mut self, channel: u16, queue: &str, reply: &str) -> Incoming {
        self.call(channel, &format!("basic.get queue={queue} no-ack"), reply)
    }

    /// Gets everything there is in a queue: the bodies as texts, in order.
    pub(crate) fn drain(&mut self, channel: u16, queue: &str) -> Vec<String> {
        let mut bodies = Vec::new();
        loop {
            self.send(channel, &format!("basic.get queue={queue} no-ack"));
            let incoming = self.take("basic.get-ok or basic.get-empty");
            match &*incoming.method.name {
                "basic.get-ok" => bodies.push(String::from_utf8_lossy(&incoming.body).into_owned()),
                "basic.get-empty" => return bodies,
                _ => self.trace.give_up(&self.label, "basic.get-ok or basic.get-empty", &incoming.text),
            }
        }
    }

    /// Asserts which messages are in a queue, and takes them.
    pub(crate) fn expect_messages(&mut self, channel: u16, queue: &str, bodies: &[&str]) {
        let mut seen = self.drain(channel, queue);
        let mut attempts = if self.trace.is_rabbitmq { 200 } else { 0 };
        while seen.len() < bodies.len() && attempts > 0 {
            std::thread::park_timeout(Duration::from_millis(10));
            seen.extend(self.drain(channel, queue));
            attempts -= 1;
        }
        let seen = seen.join(", ");
        self.trace.saw(&self.label, &format!("{queue}: {}", bodies.join(", ")), &format!("{queue}: {seen}"));
    }

    /// Asserts that nothing is on its way on a channel, by a round trip through the queue that would send it.
    pub(crate) fn expect_nothing(&mut self, channel: u16, queue: &str) {
        self.send(channel, &format!("queue.declare queue={queue} passive"));
        let incoming = self.take("queue.declare-ok");
        let seen = if incoming.method.name == "queue.declare-ok" { "nothing" } else { &incoming.text };
        self.trace.saw(&self.label, "nothing", seen);
    }

    // ---- the handshake

    /// Sends the protocol header and receives connection.start.
    pub(crate) fn start(&mut self) -> Incoming {
        self.send_bytes(HEADER);
        let start = self.take("connection.start");
        assert_eq!(start.method.name, "connection.start");
        start
    }

    /// Sends connection.start-ok.
    pub(crate) fn start_ok(&mut self, login: &Login) {
        let capabilities = login.capabilities.iter().map(|name| ((*name).to_string(), Value::Bool(true)));
        let properties = [
            ("product".to_string(), text("warren's tests")),
            ("capabilities".to_string(), Value::F(capabilities.collect())),
        ];
        let prefix = self.trace.prefix.clone();
        let (user, password) = (login.user.replace('~', &prefix), login.password.replace('~', &prefix));
        let response = match login.mechanism {
            "AMQPLAIN" => {
                let fields = [("LOGIN".into(), text(&user)), ("PASSWORD".into(), text(&password))];
                let mut table = Vec::new();
                codec::put_table(&mut table, &fields, &prefix);
                table.split_off(4)
            }
            _ => format!("\0{user}\0{password}").into_bytes(),
        };
        let mut payload = vec![0, 10, 0, 11];
        codec::put_table(&mut payload, &properties, &prefix);
        codec::put_short(&mut payload, login.mechanism.as_bytes());
        codec::put_long(&mut payload, &response);
        codec::put_short(&mut payload, b"en_US");
        self.send_frame(1, 0, &payload);
    }

    /// Receives connection.tune and sends connection.tune-ok.
    pub(crate) fn tune(&mut self, login: &Login) {
        let tune = self.take("connection.tune");
        if tune.method.name != "connection.tune" {
            self.trace.give_up(&self.label, "0 connection.tune", &tune.text);
        }
        let channel_max = login.channel_max.map_or(tune.number("channel-max"), u64::from);
        let frame_max = login.frame_max.map_or(tune.number("frame-max"), u64::from);
        let heartbeat = login.heartbeat;
        self.send(
            0,
            &format!(
                "connection.tune-ok channel-max={channel_max} frame-max={frame_max} heartbeat={heartbeat}"
            ),
        );
        self.frame_max = if frame_max == 0 { 131_072 } else { frame_max as u32 };
    }

    /// The whole handshake up to connection.open, whose answer is still to come.
    pub(crate) fn log_in(&mut self, login: &Login) {
        self.start();
        self.start_ok(login);
        self.tune(login);
        self.send(0, &format!("connection.open vhost={}", login.vhost));
    }

    /// The whole handshake.
    pub(crate) fn handshake(&mut self, login: &Login) {
        self.log_in(login);
        self.expect("0 connection.open-ok");
    }
}
