//! A connection, from the protocol header to the last close-ok. PURE: no socket, no clock, no broker.
//!
//! ```text
//!   Header ─► StartOk ─► TuneOk ─► Open ─► Running ─► Closing ─► Closed
//! ```
//! Four kinds of methods: input ([`Connection::next_request`] eats bytes, [`Connection::handle_reply`],
//! [`Connection::handle_event`]), output ([`Connection::output`]), what the driver must know of the state
//! (`is_…`), and the end ([`Connection::release_all`]). The driver calls `next_request` until it returns `None`,
//! answering each request before the next call; then hands over events; then flushes the confirms.

mod channels;
mod control;
mod figures;
#[cfg(test)]
mod tests;
mod timeouts;

use super::channel::{Awaiting, Channel, Step};
use super::confirms::Awaited;
use super::exception::{Exception, ReplyCode};
use super::frame::{self, Frame, Output, Payload};
use super::handshake::{self, ClientProperties, Credentials, Limits, Tuned};
use super::method::{self, channel, connection, id};
use super::request::{Disposition, Reply, Request, Settle};
use super::unacked::Delivered;
use crate::counts::ChannelCounts;
use crate::event::{Delivery, Event};
use crate::name::ChannelId;
use crate::time::{Instant, Millis};
use amq_protocol::protocol::AMQPClass;
use std::collections::VecDeque;
use std::sync::Arc;

/// The largest frame before tune. Clients with large client-properties need it above the specification's 4096.
const FRAME_BYTES_BEFORE_TUNE: u32 = 8192;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Header,
    StartOk,
    TuneOk,
    Open,
    Running,
    /// We sent `connection.close` and wait for the answer.
    Closing,
    Closed,
}

/// What the outstanding request was about.
#[derive(Debug)]
enum Pending {
    Login(Box<Credentials>),
    Open,
    UpdateSecret,
    Channel {
        channel: ChannelId,
        method: (u16, u16),
        awaiting: Awaiting,
    },
    /// Whatever the answer, nothing is said: acks and releases.
    Nothing,
}

/// What the driver is to know of a connection when it opens.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Opened {
    pub tuned: Tuned,
    pub client_properties: ClientProperties,
    pub mechanism: String,
}

/// A connection's state.
#[derive(Debug)]
pub struct Connection {
    limits: Limits,
    cluster_name: String,
    mechanisms: Arc<str>,
    phase: Phase,
    output: Output,
    tuned: Tuned,
    client_properties: ClientProperties,
    mechanism: String,
    /// By number; a channel takes some hundred bytes, so only those in use are there.
    channels: Vec<Option<Box<Channel>>>,
    channel_count: usize,
    /// Channels ever opened.
    channels_opened: u64,
    /// What went over channels that are closed.
    closed_counts: ChannelCounts,
    /// When publishes were received whose confirms were written since the driver asked.
    answered: Vec<Instant>,
    /// Channels that were opened or closed since the driver asked.
    churn: Vec<(ChannelId, bool)>,
    pending: Option<Pending>,
    /// Requests that follow from what happened, before the next frame is read.
    follow_ups: VecDeque<Request>,
    /// Acks of consecutive frames, settled together.
    acks: Vec<Delivered>,
    /// An alarm is on.
    alarm: Option<&'static str>,
    /// The connection published while an alarm was on: its input waits.
    is_blocked: bool,
    /// Drop the socket without a word, after a while.
    is_to_be_dropped: bool,
    /// When the input at hand was received.
    now: Millis,
    /// Channels whose confirms may have to be flushed.
    confirming: Vec<ChannelId>,
}

impl Connection {
    /// A connection that has said nothing yet.
    pub fn new(limits: Limits, cluster_name: impl Into<String>) -> Self {
        let frame_max = FRAME_BYTES_BEFORE_TUNE;
        Self {
            limits,
            cluster_name: cluster_name.into(),
            mechanisms: handshake::MECHANISMS.into(),
            phase: Phase::Header,
            output: Output::default(),
            tuned: Tuned { channel_max: limits.channel_max, frame_max, heartbeat_s: 0 },
            client_properties: ClientProperties::default(),
            mechanism: String::new(),
            channels: Vec::new(),
            channel_count: 0,
            channels_opened: 0,
            closed_counts: ChannelCounts::default(),
            answered: Vec::new(),
            churn: Vec::new(),
            pending: None,
            follow_ups: VecDeque::new(),
            acks: Vec::new(),
            alarm: None,
            is_blocked: false,
            is_to_be_dropped: false,
            now: Millis::default(),
            confirming: Vec::new(),
        }
    }

    /// The same, with other mechanisms offered than the usual ones: names with spaces between them.
    pub fn with_mechanisms(self, mechanisms: Arc<str>) -> Self {
        Self { mechanisms, ..self }
    }

    /// What is to be written.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Reads frames from the start of `input` until one asks for something; the rest of the input stays.
    ///
    /// `input` is advanced past what was read. `None`: more bytes are needed, or nothing is read any more.
    pub fn next_request(&mut self, input: &mut &[u8]) -> Option<Request> {
        debug_assert!(self.pending.is_none(), "the last request was answered");
        loop {
            if let Some(request) = self.follow_ups.pop_front() {
                self.pending = Some(Pending::Nothing);
                return Some(request);
            }
            if self.is_blocked {
                return self.take_acks();
            }
            match self.phase {
                Phase::Closed => {
                    *input = &[];
                    return self.take_acks();
                }
                Phase::Header => {
                    if !self.read_header(input) {
                        return None;
                    }
                }
                _ => match frame::read(input, self.tuned.frame_max) {
                    Ok(None) => return self.take_acks(),
                    Ok(Some((frame, length))) => {
                        // Acks that came one after the other are settled before anything else happens.
                        if !self.acks.is_empty() && !is_ack(&frame) {
                            return self.take_acks();
                        }
                        *input = &input[length..];
                        if let Some(request) = self.handle_frame(&frame) {
                            return Some(request);
                        }
                    }
                    Err(exception) => {
                        // What follows a broken frame cannot be read as frames: no answer would be found in it.
                        self.close(&exception);
                        self.phase = Phase::Closed;
                    }
                },
            }
        }
    }

    fn take_acks(&mut self) -> Option<Request> {
        if self.acks.is_empty() {
            return None;
        }
        self.pending = Some(Pending::Nothing);
        let deliveries = std::mem::take(&mut self.acks);
        Some(Request::Settle(Settle { disposition: Disposition::Ack, deliveries }))
    }

    fn handle_frame(&mut self, frame: &Frame<'_>) -> Option<Request> {
        let result = match (frame.channel, frame.payload) {
            (ChannelId(0), Payload::Heartbeat) => Ok(None),
            (_, Payload::Heartbeat) => {
                let text = format!("heartbeat frame on channel {}", frame.channel);
                Err(Exception::new(ReplyCode::UnexpectedFrame, text))
            }
            (ChannelId(0), payload) => self.handle_control(&payload),
            _ if self.phase != Phase::Running => self.handle_early(frame),
            (channel, payload) => match self.handle_on_channel(channel, &payload) {
                Ok(Some((request, awaiting))) => {
                    let method = method_id(&payload);
                    self.pending = Some(Pending::Channel { channel, method, awaiting });
                    Ok(Some(request))
                }
                Ok(None) => Ok(None),
                Err(exception) => {
                    let (class, method) = method_id(&payload);
                    self.raise(channel, &exception.at(class, method));
                    Ok(None)
                }
            },
        };
        match result {
            Ok(request) => request,
            Err(exception) => {
                let (class, method) = method_id(&frame.payload);
                self.close(&exception.at(class, method));
                None
            }
        }
    }

    /// A frame of a channel while the connection is not open: an error, or noise behind our close.
    fn handle_early(&self, frame: &Frame<'_>) -> Result<Option<Request>, Exception> {
        match self.phase {
            Phase::Closing | Phase::Closed => Ok(None),
            _ => {
                let text = format!(
                    "{} on channel {} before connection.open",
                    frame.payload.describe(),
                    frame.channel
                );
                Err(Exception::new(ReplyCode::ChannelError, text))
            }
        }
    }

    fn handle_on_channel(&mut self, id: ChannelId, payload: &Payload<'_>) -> Step {
        let Some(channel) = self.channels.get_mut(id.0 as usize).and_then(Option::as_mut) else {
            return self.handle_on_closed_channel(payload);
        };
        if channel.is_closing {
            return self.handle_on_closing_channel(id, payload);
        }
        let assembled = match *payload {
            Payload::Method { class, method, payload: bytes } => {
                channel.content.check_idle()?;
                match (class, method) {
                    id::BASIC_PUBLISH => {
                        channel.content.begin(self.now, &method::parse_publish(bytes)?);
                        return Ok(None);
                    }
                    id::BASIC_ACK => {
                        let (tag, bits) = method::parse_settle(bytes, class, method)?;
                        channel.ack(tag, bits & 1 != 0, &mut self.acks)?;
                        return Ok(None);
                    }
                    id::CHANNEL_CLOSE => return self.close_channel(id, bytes),
                    _ => {}
                }
                let parsed = method::parse(bytes, class, method)?;
                let step = channel.handle_method(parsed, bytes, &mut self.output);
                if (class, method) == (85, 10) && !self.confirming.contains(&id) {
                    self.confirming.push(id);
                }
                return step;
            }
            Payload::Header { .. } => channel.content.header(payload, self.limits.message_bytes_max)?,
            Payload::Body(bytes) => channel.content.body(bytes)?,
            Payload::Heartbeat => None,
        };
        let Some(assembled) = assembled else { return Ok(None) };
        let step = channel.publish(assembled);
        if let Some(reason) = self.alarm {
            self.block(reason);
        }
        step
    }

    /// Closes the channel or the connection, as the exception says.
    fn raise(&mut self, id: ChannelId, exception: &Exception) {
        if exception.closes_connection {
            self.close(exception);
            return;
        }
        self.release_channel(id);
        let Some(channel) = self.channels.get_mut(id.0 as usize).and_then(Option::as_mut) else { return };
        channel.is_closing = true;
        let close = channel::Close {
            reply_code: exception.code.code(),
            reply_text: exception.reply_text().into(),
            class_id: exception.method_id().0,
            method_id: exception.method_id().1,
        };
        self.output.class(id, &AMQPClass::Channel(channel::AMQPMethod::Close(close)));
    }

    /// Sends `connection.close`; everything but the answer is discarded from now on.
    fn close(&mut self, exception: &Exception) {
        if matches!(self.phase, Phase::Closing | Phase::Closed) {
            return;
        }
        if self.is_to_be_dropped {
            self.phase = Phase::Closed;
            return;
        }
        self.phase = Phase::Closing;
        self.is_blocked = false;
        let close = connection::Close {
            reply_code: exception.code.code(),
            reply_text: exception.reply_text().into(),
            class_id: exception.method_id().0,
            method_id: exception.method_id().1,
        };
        self.send(connection::AMQPMethod::Close(close));
    }

    fn block(&mut self, reason: &'static str) {
        if self.is_blocked {
            return;
        }
        self.is_blocked = true;
        if self.client_properties.has("connection.blocked") {
            self.send(connection::AMQPMethod::Blocked(connection::Blocked { reason: reason.into() }));
        }
    }

    /// The answer to the outstanding request.
    pub fn handle_reply(&mut self, reply: Reply) {
        match (self.pending.take(), reply) {
            (Some(Pending::Channel { channel, method: (class, method), .. }), Reply::Failed(exception)) => {
                self.raise(channel, &exception.at(class, method));
            }
            (Some(Pending::Channel { channel, awaiting: Awaiting::Open, .. }), _) => {
                self.open_channel(channel)
            }
            (Some(Pending::Channel { channel, awaiting, .. }), reply) => {
                if let Some(channel) = self.channels.get_mut(channel.0 as usize).and_then(Option::as_mut) {
                    channel.handle_reply(awaiting, reply, &mut self.output);
                }
            }
            (Some(Pending::Login(_)), Reply::Done) => {
                self.phase = Phase::TuneOk;
                let tune = connection::Tune {
                    channel_max: self.limits.channel_max,
                    frame_max: self.limits.frame_max,
                    heartbeat: self.limits.heartbeat_s,
                };
                self.send(connection::AMQPMethod::Tune(tune));
            }
            (Some(Pending::Login(credentials)), Reply::Failed(exception)) => {
                tracing::debug!(user = %credentials.user, "login refused");
                let exception = self.mind_login_failure(exception);
                self.close(&exception.of_no_method());
            }
            (Some(Pending::Open), Reply::Done) => {
                self.phase = Phase::Running;
                self.send(connection::AMQPMethod::OpenOk(connection::OpenOk {}));
            }
            (Some(Pending::Open), Reply::Failed(exception)) => {
                let (class, method) = id::CONNECTION_OPEN;
                self.close(&exception.at(class, method));
            }
            (Some(Pending::UpdateSecret), Reply::Done) => {
                self.send(connection::AMQPMethod::UpdateSecretOk(connection::UpdateSecretOk {}));
            }
            (Some(Pending::UpdateSecret), Reply::Failed(exception)) => self.close(&exception.at(10, 70)),
            _ => {}
        }
    }

    /// The world as it is before input is handled: the time, and whether an alarm is on (a publish behind it must not
    /// pass unseen).
    pub fn begin_input(&mut self, now: Millis, alarm: Option<&'static str>) {
        self.now = now;
        self.alarm = alarm;
    }

    /// Something that came through the outbox. Returns a delivery whose consumer is gone: it belongs back.
    ///
    /// # Errors
    /// The delivery, when its channel or consumer is gone.
    pub fn handle_event(&mut self, event: Event) -> Result<(), Delivery> {
        match event {
            Event::Deliver(delivery) => {
                if self.phase != Phase::Running {
                    return Err(delivery);
                }
                match self.channels.get_mut(delivery.channel.0 as usize).and_then(Option::as_mut) {
                    Some(channel) => return channel.deliver(delivery, &mut self.output),
                    None => return Err(delivery),
                }
            }
            Event::ConsumerCancelled { channel, consumer } => {
                let notify = self.client_properties.has("consumer_cancel_notify");
                if let Some(channel) = self.channels.get_mut(channel.0 as usize).and_then(Option::as_mut) {
                    channel.consumer_cancelled(consumer, notify, &mut self.output);
                }
            }
            // The driver asks for what it leaves behind.
            Event::ConsumerTimedOut { .. } => {}
            Event::Reached(point) => {
                for id in &self.confirming {
                    if let Some(channel) = self.channels.get_mut(id.0 as usize).and_then(Option::as_mut) {
                        channel.reached(point);
                    }
                }
            }
            Event::Blocked(reason) => self.alarm = Some(reason),
            Event::Unblocked => {
                self.alarm = None;
                if std::mem::take(&mut self.is_blocked) && self.client_properties.has("connection.blocked") {
                    self.send(connection::AMQPMethod::Unblocked(connection::Unblocked {}));
                }
            }
            Event::Close(text) => self.close(&Exception::new(ReplyCode::ConnectionForced, text)),
        }
        Ok(())
    }

    /// Writes the confirms that are decided; the input at hand was received at that time. Returns what publishes still wait for.
    pub fn flush_confirms(&mut self, received_at: Instant) -> Awaited {
        let mut awaited = Awaited::default();
        for id in &self.confirming {
            if let Some(channel) = self.channels.get_mut(id.0 as usize).and_then(Option::as_mut) {
                awaited =
                    awaited.and(&channel.flush_confirms(received_at, &mut self.answered, &mut self.output));
            }
        }
        awaited
    }

    /// How many publishes have not been answered, on all channels.
    pub fn unconfirmed(&self) -> usize {
        let channels = self.confirming.iter().filter_map(|id| self.channels.get(id.0 as usize)?.as_ref());
        channels.map(|channel| channel.unconfirmed()).sum()
    }

    /// What was agreed, once the vhost is open.
    pub fn opened(&self) -> Option<Opened> {
        (self.phase == Phase::Running).then(|| Opened {
            tuned: self.tuned,
            client_properties: self.client_properties.clone(),
            mechanism: self.mechanism.clone(),
        })
    }

    /// Whether the handshake is over, well or badly.
    pub fn is_past_handshake(&self) -> bool {
        !matches!(self.phase, Phase::Header | Phase::StartOk | Phase::TuneOk | Phase::Open)
    }

    /// Whether we wait for the client's close-ok, or for it to go.
    pub fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing)
    }

    /// Whether nothing more is said: once the output is written the socket is closed.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Whether the socket is to be closed only after a while: a refused login of a client that cannot be told.
    pub fn is_to_be_dropped(&self) -> bool {
        self.is_to_be_dropped
    }

    /// Whether the input waits for an alarm to end.
    pub fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// Takes what all channels leave behind: the connection is gone, or only the answer to our close is awaited.
    pub fn release_all(&mut self) -> Vec<Request> {
        if self.phase != Phase::Closing {
            self.phase = Phase::Closed;
        }
        self.pending = None;
        let acks = self.take_acks();
        let mut requests: Vec<Request> = self.follow_ups.drain(..).chain(acks).collect();
        self.channel_count = 0;
        for (id, channel) in self.channels.drain(..).enumerate() {
            let Some(mut channel) = channel else { continue };
            self.closed_counts += channel.counts();
            self.churn.extend(u16::try_from(id).map(|id| (ChannelId(id), false)));
            requests.push(Request::Release(channel.release()));
        }
        self.pending = None;
        requests
    }
}

fn is_ack(frame: &Frame<'_>) -> bool {
    let Payload::Method { class, method, .. } = frame.payload else { return false };
    (class, method) == id::BASIC_ACK
}

fn method_id(payload: &Payload<'_>) -> (u16, u16) {
    match payload {
        Payload::Method { class, method, .. } => (*class, *method),
        Payload::Header { .. } | Payload::Body(_) => id::BASIC_PUBLISH,
        Payload::Heartbeat => (0, 0),
    }
}
