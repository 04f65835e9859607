//! A blocking AMQP 0-9-1 connection upon the broker's own codec: frames in, bytes out.
//!
//! Reads and writes give up after [`PATIENCE`], so that their callers can look around (is the broker reading at all, did
//! another connection fail). Heartbeats are switched off.

use super::super::Failure;
use super::target::Target;
use crate::amqp::frame::{self, Frame, Output, Payload};
use crate::amqp::method::{self, basic, channel, connection, id};
use crate::name::ChannelId;
use crate::time::{self, Duration};
use amq_protocol::protocol::AMQPClass;
use amq_protocol::types::{AMQPValue, FieldTable};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;

/// How long one read or write waits.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);
/// How long an answer is waited for.
pub(super) const STALL: Duration = Duration::from_secs(60);
/// Room for what is read, at first and at most: many small frames, or one of the largest and more.
const INPUT_BYTES: (usize, usize) = (8 << 10, 512 << 10);
/// The largest frame that is agreed to.
const FRAME_MAX: u32 = 131_072;
/// The channel of everything but the connection's own methods.
pub(super) const CHANNEL: ChannelId = ChannelId(1);

/// What the broker says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) product: String,
    pub(super) version: String,
}

/// What a method means that nobody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    Blocked,
    Unblocked,
    Returned,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    address: String,
    input: Vec<u8>,
    /// What of `input` was read and not yet taken.
    start: usize,
    end: usize,
    pub(super) frame_max: u32,
    pub(super) peer: Peer,
}

impl Connection {
    /// Connects and logs in, without a channel; `name` is the connection's.
    ///
    /// # Errors
    /// No broker there, or it refuses the login or the vhost.
    pub(super) fn open(target: &Target, name: &str) -> Result<Self, Failure> {
        let address = target.address();
        let unavailable =
            |error: io::Error| Failure::NoListener { address: address.clone(), reason: error.to_string() };
        let connect = || {
            let stream = TcpStream::connect((&*target.host, target.port))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        let stream = connect().map_err(unavailable)?;
        let input = Vec::new();
        let (start, end, frame_max, peer) = (0, 0, FRAME_MAX, Peer::default());
        let mut connection = Self { stream, address, input, start, end, frame_max, peer };
        connection.log_in(target, name)?;
        Ok(connection)
    }

    fn log_in(&mut self, target: &Target, name: &str) -> Result<(), Failure> {
        self.send(b"AMQP\0\0\x09\x01")?;
        let AMQPClass::Connection(connection::AMQPMethod::Start(start)) =
            self.expect(id::CONNECTION_START)?
        else {
            return Err(self.unexpected("connection.start"));
        };
        self.peer = Peer {
            product: text_of(&start.server_properties, "product"),
            version: text_of(&start.server_properties, "version"),
        };
        let start_ok = connection::StartOk {
            client_properties: client_properties(name),
            mechanism: "PLAIN".into(),
            response: format!("\0{}\0{}", target.user, target.password).into(),
            locale: "en_US".into(),
        };
        self.send_class(ChannelId(0), &connection_class(connection::AMQPMethod::StartOk(start_ok)))?;
        let tune = self.expect(id::CONNECTION_TUNE).map_err(|failure| refused(failure, target))?;
        let AMQPClass::Connection(connection::AMQPMethod::Tune(tune)) = tune else {
            return Err(self.unexpected("connection.tune"));
        };
        self.frame_max = if tune.frame_max == 0 { FRAME_MAX } else { tune.frame_max.min(FRAME_MAX) };
        let tune_ok =
            connection::TuneOk { channel_max: tune.channel_max, frame_max: self.frame_max, heartbeat: 0 };
        self.send_class(ChannelId(0), &connection_class(connection::AMQPMethod::TuneOk(tune_ok)))?;
        let open = connection::Open { virtual_host: target.vhost.as_str().into() };
        let open = connection_class(connection::AMQPMethod::Open(open));
        self.call(ChannelId(0), &open, id::CONNECTION_OPEN_OK).map(drop)
    }

    /// Opens a channel.
    pub(super) fn open_channel(&mut self, channel: ChannelId) -> Result<(), Failure> {
        let open = AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {}));
        self.call(channel, &open, id::CHANNEL_OPEN_OK).map(drop)
    }

    /// Closes a channel; when this returns the broker has handled everything that was sent on it.
    pub(super) fn close_channel(&mut self, channel: ChannelId) -> Result<(), Failure> {
        let (reply_code, reply_text) = (200, "done".into());
        let close = channel::Close { reply_code, reply_text, class_id: 0, method_id: 0 };
        let close = AMQPClass::Channel(channel::AMQPMethod::Close(close));
        self.call(channel, &close, id::CHANNEL_CLOSE_OK).map(drop)
    }

    /// Closes the connection.
    pub(super) fn close(mut self) -> Result<(), Failure> {
        let (reply_code, reply_text) = (200, "done".into());
        let close = connection::Close { reply_code, reply_text, class_id: 0, method_id: 0 };
        let close = connection_class(connection::AMQPMethod::Close(close));
        self.call(ChannelId(0), &close, id::CONNECTION_CLOSE_OK).map(drop)
    }

    // ---- methods

    /// Sends a method and waits for its answer.
    pub(super) fn call(
        &mut self,
        channel: ChannelId,
        class: &AMQPClass,
        answer: (u16, u16),
    ) -> Result<AMQPClass, Failure> {
        self.send_class(channel, class)?;
        self.expect(answer)
    }

    /// Sends a method.
    pub(super) fn send_class(&mut self, channel: ChannelId, class: &AMQPClass) -> Result<(), Failure> {
        let mut output = Output::default();
        output.class(channel, class);
        self.send(&flat(output))
    }

    /// Waits for a method. Contents, and deliveries that were on their way, are passed over.
    pub(super) fn expect(&mut self, answer: (u16, u16)) -> Result<AMQPClass, Failure> {
        let deadline = time::now() + STALL;
        loop {
            while let Some(frame) = self.next_frame()? {
                let Payload::Method { class, method, payload } = frame.payload else { continue };
                match (class, method) {
                    id if id == answer => return method::parse_answer(payload, class, method).map_err(broke),
                    id::BASIC_DELIVER | id::BASIC_ACK => {}
                    _ => _ = notice(class, method, payload)?,
                }
            }
            if !self.fill()? && time::now() > deadline {
                let (class, method) = answer;
                return Err(Failure::Broker(format!(
                    "{} has not answered {class}.{method} for {} s",
                    self.address,
                    STALL.as_secs()
                )));
            }
        }
    }

    fn unexpected(&self, wanted: &str) -> Failure {
        Failure::Broker(format!("{} sends something else instead of {wanted}", self.address))
    }

    // ---- bytes

    /// Takes the next whole frame out of what was read.
    pub(super) fn next_frame(&mut self) -> Result<Option<Frame<'_>>, Failure> {
        match frame::read(&self.input[self.start..self.end], self.frame_max.max(FRAME_MAX)) {
            Ok(Some((frame, bytes))) => {
                self.start += bytes;
                Ok(Some(frame))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(broke(error)),
        }
    }

    /// Reads what there is, waiting up to [`PATIENCE`]; false if nothing came.
    pub(super) fn fill(&mut self) -> Result<bool, Failure> {
        self.make_room();
        match self.stream.read(&mut self.input[self.end..]) {
            Ok(0) => Err(Failure::Broker(format!("{} closed the connection", self.address))),
            Ok(bytes) => {
                self.end += bytes;
                Ok(true)
            }
            Err(error) if is_timeout(&error) => Ok(false),
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// Doubles the room whenever it was full, up to the most. A frame is at most a quarter of that, so there is always room
    /// for its rest.
    fn make_room(&mut self) {
        let (least, most) = INPUT_BYTES;
        if self.end == self.input.len() && self.end < most {
            self.input.resize((2 * self.end).clamp(least, most), 0);
        }
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end > self.input.len() / 2 {
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
    }

    /// Whether something can be read, now or within that time.
    pub(super) fn wait_input(&self, within: Duration) -> bool {
        let mut wanted = [PollFd::new(&self.stream, PollFlags::IN)];
        let timeout = Timespec::try_from(within).ok();
        poll(&mut wanted, timeout.as_ref()).is_ok_and(|ready| ready > 0)
    }

    /// Writes as much as the socket takes within [`PATIENCE`]; 0 when the broker does not read.
    pub(super) fn write_some(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        match self.stream.write(bytes) {
            Ok(written) => Ok(written),
            Err(error) if is_timeout(&error) => Ok(0),
            Err(error) => Err(self.reason_for(&error)),
        }
    }

    /// Writes everything.
    pub(super) fn send(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        let mut deadline = time::now() + STALL;
        while !bytes.is_empty() {
            let written = self.write_some(bytes)?;
            bytes = &bytes[written..];
            if written > 0 {
                deadline = time::now() + STALL;
            } else if time::now() > deadline {
                return Err(Failure::Broker(format!(
                    "{} has not read for {} s",
                    self.address,
                    STALL.as_secs()
                )));
            }
        }
        Ok(())
    }

    /// Gives back the room for what is read: for connections that stay idle.
    pub(super) fn rest(&mut self) {
        if self.start == self.end {
            (self.input, self.start, self.end) = (Vec::new(), 0, 0);
        }
    }

    /// Why a write failed: a broker that closes says so before it hangs up.
    fn reason_for(&mut self, error: &io::Error) -> Failure {
        while self.fill().unwrap_or(false) {}
        loop {
            match self.next_frame() {
                Ok(Some(Frame { payload: Payload::Method { class, method, payload }, .. })) => {
                    if let Err(reason) = notice(class, method, payload) {
                        return reason;
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return self.broken(error),
            }
        }
    }

    fn broken(&self, error: &io::Error) -> Failure {
        Failure::Broker(format!("the connection to {} broke: {error}", self.address))
    }
}

/// What was collected, in one piece.
pub(super) fn flat(mut output: Output) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(output.len());
    while !output.is_empty() {
        let before = bytes.len();
        let mut slices = [IoSlice::new(&[]); 64];
        let count = output.slices(&mut slices);
        slices[..count].iter().for_each(|slice| bytes.extend_from_slice(slice));
        output.advance(bytes.len() - before);
    }
    bytes
}

/// Judges a method that nobody waits for.
///
/// # Errors
/// The broker closes something, cancels a consumer, or says what is never asked for.
pub(super) fn notice(class: u16, method: u16, payload: &[u8]) -> Result<Notice, Failure> {
    match method::parse_answer(payload, class, method).map_err(broke)? {
        AMQPClass::Connection(connection::AMQPMethod::Blocked(_)) => Ok(Notice::Blocked),
        AMQPClass::Connection(connection::AMQPMethod::Unblocked(_)) => Ok(Notice::Unblocked),
        AMQPClass::Basic(basic::AMQPMethod::Return(_)) => Ok(Notice::Returned),
        AMQPClass::Connection(connection::AMQPMethod::Close(close)) => {
            Err(closed("connection", close.reply_code, &close.reply_text))
        }
        AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
            Err(closed("channel", close.reply_code, &close.reply_text))
        }
        AMQPClass::Basic(basic::AMQPMethod::Cancel(_)) => {
            Err(Failure::Broker("the broker cancelled a consumer: was its queue deleted?".into()))
        }
        other => Err(Failure::Broker(format!("the broker sends what nobody asked for: {other:?}"))),
    }
}

fn closed(what: &str, code: u16, text: &impl std::fmt::Display) -> Failure {
    Failure::Broker(format!("the broker closed the {what}: {code} {text}"))
}

/// A login that was refused says so by name.
fn refused(failure: Failure, target: &Target) -> Failure {
    match failure {
        Failure::Broker(text) if text.contains("403") => Failure::LoginRefused(target.user.clone()),
        other => other,
    }
}

/// The broker sends what no broker may.
fn broke(error: impl std::fmt::Display) -> Failure {
    Failure::Broker(format!("what answers speaks no AMQP 0-9-1: {error}"))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn connection_class(method: connection::AMQPMethod) -> AMQPClass {
    AMQPClass::Connection(method)
}

fn client_properties(name: &str) -> FieldTable {
    let mut capabilities = FieldTable::default();
    // The last gives a reason for a refused login, not just a hang-up.
    for capability in ["connection.blocked", "consumer_cancel_notify", "authentication_failure_close"] {
        capabilities.insert(capability.into(), AMQPValue::Boolean(true));
    }
    let mut properties = FieldTable::default();
    properties.insert("product".into(), AMQPValue::LongString("warrenctl perf".into()));
    properties.insert("version".into(), AMQPValue::LongString(env!("CARGO_PKG_VERSION").into()));
    properties.insert("connection_name".into(), AMQPValue::LongString(name.into()));
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    properties
}

fn text_of(table: &FieldTable, key: &str) -> String {
    match table.inner().get(key) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        _ => "unknown".into(),
    }
}
