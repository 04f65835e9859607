//! Frames in, frames and requests out: no socket, no broker.

use super::*;
use crate::amqp::confirms::Awaited;
use crate::amqp::handshake;
use crate::amqp::method::{basic, confirm, exchange, queue, tx};
use crate::amqp::request::{Published, Topology};
use crate::durability::Durability;
use crate::event::Source;
use crate::message::{Message, Properties};
use crate::name::Position;
use crate::name::{ConsumerId, ConsumerTag, DeliveryTag, QueueId, QueueName, Sequence};
use crate::time;
use amq_protocol::protocol::basic::AMQPMethod as Basic;
use std::io::IoSlice;
use std::sync::Arc;

/// A client's end: writes frames, reads ours.
struct Peer {
    machine: Connection,
    input: Vec<u8>,
}

fn class(output: &mut Output, channel: u16, class: AMQPClass) {
    output.class(ChannelId(channel), &class);
}

fn bytes(output: &mut Output) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); 32];
    let count = output.slices(&mut slices);
    let bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
    output.advance(bytes.len());
    bytes
}

impl Peer {
    /// A connection in its vhost, with these channels open.
    fn open(channels: &[u16]) -> Self {
        let mut peer = Self { machine: Connection::new(Limits::default(), "c"), input: Vec::new() };
        peer.input.extend_from_slice(handshake::PROTOCOL_HEADER);
        assert_eq!(peer.requests(), Vec::<String>::new());
        peer.send(
            0,
            connection::AMQPMethod::StartOk(connection::StartOk {
                client_properties: Default::default(),
                mechanism: "PLAIN".into(),
                response: "\0guest\0guest".into(),
                locale: "en_US".into(),
            }),
        );
        assert!(matches!(peer.next(), Some(Request::Authenticate(_))));
        peer.machine.handle_reply(Reply::Done);
        let (channel_max, frame_max, heartbeat) = (2047, 4096, 0);
        peer.send(
            0,
            connection::AMQPMethod::TuneOk(connection::TuneOk { channel_max, frame_max, heartbeat }),
        );
        peer.send(0, connection::AMQPMethod::Open(connection::Open { virtual_host: "/".into() }));
        assert!(matches!(peer.next(), Some(Request::Open(_))));
        peer.machine.handle_reply(Reply::Done);
        for channel in channels {
            peer.send_class(*channel, AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})));
        }
        assert_eq!(peer.requests(), vec!["OpenChannel"; channels.len()]);
        peer.said();
        peer
    }

    fn send(&mut self, channel: u16, method: connection::AMQPMethod) {
        self.send_class(channel, AMQPClass::Connection(method));
    }

    fn send_class(&mut self, channel: u16, method: AMQPClass) {
        let mut output = Output::default();
        class(&mut output, channel, method);
        self.input.extend(bytes(&mut output));
    }

    fn basic(&mut self, channel: u16, method: Basic) {
        self.send_class(channel, AMQPClass::Basic(method));
    }

    fn publish(&mut self, channel: u16, key: &str, body: &[u8]) {
        let publish = basic::Publish {
            exchange: "x".into(),
            routing_key: key.into(),
            mandatory: true,
            immediate: false,
        };
        self.basic(channel, Basic::Publish(publish));
        let message = Message::new("x".into(), b"", &[0, 0], &Properties::default(), &[body]);
        let mut output = Output::default();
        output.content(ChannelId(channel), &Arc::new(message), 4096);
        self.input.extend(bytes(&mut output));
    }

    fn ack(&mut self, tag: u64, multiple: bool) {
        self.basic(1, Basic::Ack(basic::Ack { delivery_tag: tag, multiple }));
    }

    /// The next request, unanswered.
    fn next(&mut self) -> Option<Request> {
        let mut rest = &self.input[..];
        let request = self.machine.next_request(&mut rest);
        self.input = rest.to_vec();
        request
    }

    /// The names of all requests, each answered with `Done`.
    fn requests(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        while let Some(request) = self.next() {
            let debug = format!("{request:?}");
            names.push(debug.split(['(', ' ']).next().unwrap_or_default().to_owned());
            self.machine.handle_reply(Reply::Done);
        }
        names
    }

    /// What the machine said since it was last asked: channel and method, or the frame's kind.
    fn said(&mut self) -> Vec<String> {
        let bytes = bytes(self.machine.output());
        let (mut at, mut said) = (0, Vec::new());
        while let Some((frame, length)) = frame::read(&bytes[at..], 1 << 20).unwrap() {
            at += length;
            let text = match frame.payload {
                Payload::Method { class: 10 | 20, method: 50 | 40, payload } => {
                    format!("close {}", u16::from_be_bytes([payload[4], payload[5]]))
                }
                Payload::Method { class, method, .. } => format!("{class}.{method}"),
                other => other.describe(),
            };
            said.push(format!("{} {text}", frame.channel));
        }
        said
    }

    /// Subscribes consumer 7 on channel 1 and delivers `count` messages to it.
    fn consume(&mut self, count: u64) {
        let consume = basic::Consume {
            queue: "q".into(),
            consumer_tag: "t".into(),
            no_local: false,
            no_ack: false,
            exclusive: false,
            nowait: false,
            arguments: Default::default(),
        };
        self.basic(1, Basic::Consume(consume));
        assert!(matches!(self.next(), Some(Request::Subscribe(_))));
        let (consumer, tag) = (ConsumerId(7), ConsumerTag::new("t"));
        self.machine.handle_reply(Reply::Consuming { consumer, tag, reply_address: None });
        for sequence in 1..=count {
            assert_eq!(self.machine.handle_event(Event::Deliver(delivery(1, sequence))), Ok(()));
        }
        self.said();
    }
}

fn delivery(channel: u16, sequence: u64) -> Delivery {
    let message = Message::new("".into(), b"q", &[0, 0], &Properties::default(), &[b"m"]);
    Delivery {
        channel: ChannelId(channel),
        consumer: ConsumerId(7),
        source: Some(Source { queue: QueueId(1), sequence: Sequence(sequence) }),
        redelivered: false,
        message: Arc::new(message),
    }
}

fn sequences(request: Option<Request>) -> Vec<u64> {
    match request {
        Some(Request::Settle(settle)) => {
            settle.deliveries.iter().map(|delivered| delivered.sequence.0).collect()
        }
        Some(Request::Release(release)) => {
            release.deliveries.iter().map(|delivered| delivered.sequence.0).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_protocol_header_is_answered_with_ours_and_the_end() {
    for header in
        [&b"AMQP\x00\x00\x09\x00"[..], b"AMQP\x00\x01\x00\x00", b"GET / HTTP/1.1", b"\x16\x03\x01\x02"]
    {
        let mut machine = Connection::new(Limits::default(), "c");
        assert!(machine.next_request(&mut &header[..]).is_none());
        assert_eq!(bytes(machine.output()), handshake::PROTOCOL_HEADER);
        assert!(machine.is_closed());
    }
}

#[test]
fn a_refused_login_is_told_only_to_clients_that_understand_it() {
    let mut peer = Peer { machine: Connection::new(Limits::default(), "c"), input: Vec::new() };
    peer.input.extend_from_slice(handshake::PROTOCOL_HEADER);
    peer.send(
        0,
        connection::AMQPMethod::StartOk(connection::StartOk {
            client_properties: Default::default(),
            mechanism: "PLAIN".into(),
            response: "\0guest\0wrong".into(),
            locale: "en_US".into(),
        }),
    );
    assert!(peer.next().is_some());
    peer.said();
    peer.machine.handle_reply(Reply::Failed(handshake::login_refused("PLAIN")));
    assert_eq!(peer.said(), Vec::<String>::new());
    assert!(peer.machine.is_closed() && peer.machine.is_to_be_dropped());
}

#[test]
fn acks_that_follow_one_another_are_settled_together_before_anything_else() {
    let mut peer = Peer::open(&[1]);
    peer.consume(4);
    peer.ack(1, false);
    peer.ack(3, true);
    peer.publish(1, "k", b"m");
    assert_eq!(sequences(peer.next()), [1, 2, 3]);
    peer.machine.handle_reply(Reply::Done);
    assert!(matches!(peer.next(), Some(Request::Publish(_))));
}

#[test]
fn a_soft_error_closes_the_channel_and_discards_what_follows_on_it() {
    let mut peer = Peer::open(&[1, 2]);
    peer.consume(2);
    peer.ack(9, false);
    peer.publish(1, "k", b"dropped");
    peer.publish(2, "k", b"kept");
    assert_eq!(sequences(peer.next()), [1, 2]);
    peer.machine.handle_reply(Reply::Done);
    let Some(Request::Publish(publish)) = peer.next() else { panic!("channel 2 goes on") };
    assert_eq!(publish.message.body(), b"kept");
    peer.machine.handle_reply(Reply::Published(Published::Safe));
    assert_eq!(peer.said(), ["1 close 406"]);
    // A delivery on its way to the closed channel comes back.
    assert!(peer.machine.handle_event(Event::Deliver(delivery(1, 3))).is_err());
    // The number is free once the client has answered.
    peer.send_class(1, AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {})));
    peer.send_class(1, AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})));
    assert_eq!(peer.requests(), ["OpenChannel"]);
    assert_eq!(peer.said(), ["1 20.11"]);
}

#[test]
fn a_channel_that_the_broker_does_not_allow_closes_the_connection() {
    let mut peer = Peer::open(&[1]);
    peer.send_class(2, AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})));
    peer.publish(2, "k", b"dropped");
    assert!(matches!(peer.next(), Some(Request::OpenChannel)));
    peer.machine.handle_reply(Reply::Failed(Exception::new(ReplyCode::NotAllowed, "enough").of_no_method()));
    assert_eq!(peer.requests(), Vec::<String>::new());
    assert_eq!((peer.machine.channel_count(), peer.said()), (1, vec!["0 close 530".to_owned()]));
}

#[test]
fn a_hard_error_closes_the_connection_and_only_close_ok_counts() {
    let mut peer = Peer::open(&[1]);
    peer.send_class(9, AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {})));
    peer.publish(1, "k", b"dropped");
    assert_eq!(peer.requests(), Vec::<String>::new());
    assert_eq!(peer.said(), ["0 close 504"]);
    assert!(peer.machine.is_closing());
    peer.send(0, connection::AMQPMethod::CloseOk(connection::CloseOk {}));
    assert_eq!(peer.requests(), Vec::<String>::new());
    assert!(peer.machine.is_closed());
}

#[test]
fn an_exception_of_a_reply_is_in_force_before_the_next_frame() {
    let mut peer = Peer::open(&[1]);
    peer.publish(1, "k", b"refused");
    peer.publish(1, "k", b"dropped");
    assert!(matches!(peer.next(), Some(Request::Publish(_))));
    let refusal = Exception::new(ReplyCode::NotFound, "no exchange 'x' in vhost '/'");
    peer.machine.handle_reply(Reply::Failed(refusal));
    assert_eq!(peer.requests(), Vec::<String>::new());
    assert_eq!(peer.said(), ["1 close 404"]);
}

#[test]
fn a_mandatory_message_is_returned_before_it_is_confirmed() {
    let mut peer = Peer::open(&[1]);
    peer.send_class(1, AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: true })));
    peer.publish(1, "k", b"m");
    let Some(Request::Publish(publish)) = peer.next() else { panic!("a publish") };
    peer.machine.handle_reply(Reply::Published(Published::Unroutable(publish.message)));
    assert_eq!(peer.machine.flush_confirms(time::now()), Awaited::default());
    assert_eq!(peer.said(), ["1 60.50", "1 content header", "1 content body", "1 60.80"]);
}

#[test]
fn a_confirm_waits_for_its_position_in_the_journal() {
    let mut peer = Peer::open(&[1]);
    peer.send_class(1, AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: true })));
    peer.publish(1, "k", b"m");
    assert!(peer.next().is_some());
    let safe_at = Durability::Sync.safe_at(Position(100), false);
    peer.machine.handle_reply(Reply::Published(Published::SafeAt(safe_at)));
    assert_eq!(peer.machine.flush_confirms(time::now()).ends, [0, 100, 0, 0].map(Position));
    assert_eq!(peer.said(), Vec::<String>::new());
    assert_eq!(peer.machine.handle_event(Event::Reached(safe_at.point)), Ok(()));
    assert_eq!(peer.machine.flush_confirms(time::now()), Awaited::default());
    assert_eq!(peer.said(), ["1 60.80"]);
}

#[test]
fn a_transaction_keeps_publishes_and_acks_until_its_commit() {
    let mut peer = Peer::open(&[1]);
    peer.send_class(1, AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {})));
    peer.consume(2);
    peer.publish(1, "k", b"m");
    peer.ack(1, false);
    assert!(matches!(peer.next(), Some(Request::CheckPublish(_))));
    peer.machine.handle_reply(Reply::Done);
    peer.send_class(1, AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {})));
    let Some(Request::Commit { publishes, settles, .. }) = peer.next() else { panic!("a commit") };
    assert_eq!((publishes.len(), settles.len()), (1, 1));
    assert_eq!(settles[0].deliveries[0].tag, DeliveryTag(1));
    peer.machine.handle_reply(Reply::Committed { unroutable: vec![], dropped: 0 });
    assert_eq!(peer.said(), ["1 90.21"]);
}

#[test]
fn a_rollback_makes_what_was_acked_unacked_again() {
    let mut peer = Peer::open(&[1]);
    peer.send_class(1, AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {})));
    peer.consume(2);
    peer.ack(2, true);
    peer.send_class(1, AMQPClass::Tx(tx::AMQPMethod::Rollback(tx::Rollback {})));
    peer.send_class(
        1,
        AMQPClass::Channel(channel::AMQPMethod::Close(channel::Close {
            reply_code: 200,
            reply_text: "".into(),
            class_id: 0,
            method_id: 0,
        })),
    );
    assert_eq!(sequences(peer.next()), [1, 2]);
}

#[test]
fn the_empty_queue_name_is_the_one_last_declared() {
    let mut peer = Peer::open(&[1]);
    let declare = queue::Declare {
        queue: "".into(),
        passive: false,
        durable: false,
        exclusive: true,
        auto_delete: false,
        nowait: false,
        arguments: Default::default(),
    };
    peer.send_class(1, AMQPClass::Queue(queue::AMQPMethod::Declare(declare)));
    assert!(peer.next().is_some());
    let name = QueueName::new("amq.gen-1");
    peer.machine.handle_reply(Reply::Queue { name, message_count: 0, consumer_count: 0 });
    let bind = queue::Bind {
        queue: "".into(),
        exchange: "x\r\n".into(),
        routing_key: "".into(),
        nowait: false,
        arguments: Default::default(),
    };
    peer.send_class(1, AMQPClass::Queue(queue::AMQPMethod::Bind(bind)));
    let Some(Request::Topology(_, topology)) = peer.next() else { panic!("a request") };
    let Topology::BindQueue(bind) = *topology else { panic!("a bind") };
    assert_eq!(
        (bind.queue.as_str(), bind.routing_key.as_str(), bind.exchange.as_str()),
        ("amq.gen-1", "amq.gen-1", "x")
    );
}

#[test]
fn publishing_under_an_alarm_blocks_the_input_until_it_clears() {
    let mut peer = Peer::open(&[1]);
    peer.machine.begin_input(Millis(0), Some("low on memory"));
    peer.publish(1, "k", b"one");
    peer.publish(1, "k", b"two");
    assert!(matches!(peer.next(), Some(Request::Publish(_))));
    peer.machine.handle_reply(Reply::Published(Published::Safe));
    assert!(peer.next().is_none() && peer.machine.is_blocked());
    assert_eq!(peer.machine.handle_event(Event::Unblocked), Ok(()));
    assert!(matches!(peer.next(), Some(Request::Publish(_))));
}

#[test]
fn any_cut_of_the_input_leads_to_the_same_requests() {
    let mut whole = Peer::open(&[1]);
    let declare = exchange::Declare {
        exchange: "x".into(),
        kind: "direct".into(),
        passive: false,
        durable: false,
        auto_delete: false,
        internal: false,
        nowait: true,
        arguments: Default::default(),
    };
    whole.send_class(1, AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare)));
    whole.publish(1, "k", &[7; 9000]);
    let input = whole.input.clone();
    assert_eq!(whole.requests(), ["Topology", "Publish"]);
    for step in [1, 2, 7, 1000] {
        let mut peer = Peer::open(&[1]);
        let mut requests = Vec::new();
        for part in input.chunks(step) {
            peer.input.extend_from_slice(part);
            requests.extend(peer.requests());
        }
        assert_eq!(requests, ["Topology", "Publish"], "in steps of {step}");
    }
}
