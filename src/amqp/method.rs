//! Methods: from bytes to `amq-protocol`'s structs behind a bounded check, and back. PURE.
//!
//! `amq-protocol`'s parser recurses over tables without a limit, so no bytes reach it that [`check`] has not walked.
//! The methods of the hot path (publish, deliver, ack) are read and written here by hand.

use super::exception::{Exception, ReplyCode};
use super::frame::Output;
use crate::arguments;
use crate::name::{ChannelId, DeliveryTag};
use amq_protocol::frame::WriteContext;
use amq_protocol::protocol::{gen_class, parse_class};

pub use amq_protocol::protocol::{
    AMQPClass, access, basic, channel, confirm, connection, exchange, queue, tx,
};

/// Class and method ids that code refers to.
#[allow(missing_docs)]
pub mod id {
    pub const CONNECTION: u16 = 10;
    pub const CONNECTION_START: (u16, u16) = (10, 10);
    pub const CHANNEL: u16 = 20;
    pub const BASIC: u16 = 60;
    pub const CONNECTION_START_OK: (u16, u16) = (10, 11);
    pub const CONNECTION_SECURE_OK: (u16, u16) = (10, 21);
    pub const CONNECTION_TUNE: (u16, u16) = (10, 30);
    pub const CONNECTION_TUNE_OK: (u16, u16) = (10, 31);
    pub const CONNECTION_OPEN: (u16, u16) = (10, 40);
    pub const CONNECTION_OPEN_OK: (u16, u16) = (10, 41);
    pub const CONNECTION_CLOSE: (u16, u16) = (10, 50);
    pub const CONNECTION_CLOSE_OK: (u16, u16) = (10, 51);
    pub const CONNECTION_BLOCKED: (u16, u16) = (10, 60);
    pub const CONNECTION_UNBLOCKED: (u16, u16) = (10, 61);
    pub const CHANNEL_OPEN: (u16, u16) = (20, 10);
    pub const CHANNEL_OPEN_OK: (u16, u16) = (20, 11);
    pub const CHANNEL_CLOSE: (u16, u16) = (20, 40);
    pub const CHANNEL_CLOSE_OK: (u16, u16) = (20, 41);
    pub const EXCHANGE_DECLARE_OK: (u16, u16) = (40, 11);
    pub const EXCHANGE_DELETE_OK: (u16, u16) = (40, 21);
    pub const QUEUE_DECLARE_OK: (u16, u16) = (50, 11);
    pub const QUEUE_BIND_OK: (u16, u16) = (50, 21);
    pub const QUEUE_DELETE_OK: (u16, u16) = (50, 41);
    pub const QUEUE_UNBIND_OK: (u16, u16) = (50, 51);
    pub const BASIC_QOS_OK: (u16, u16) = (60, 11);
    pub const BASIC_CONSUME_OK: (u16, u16) = (60, 21);
    pub const BASIC_CANCEL_OK: (u16, u16) = (60, 31);
    pub const BASIC_PUBLISH: (u16, u16) = (60, 40);
    pub const BASIC_RETURN: (u16, u16) = (60, 50);
    pub const BASIC_DELIVER: (u16, u16) = (60, 60);
    pub const BASIC_GET_OK: (u16, u16) = (60, 71);
    pub const BASIC_GET_EMPTY: (u16, u16) = (60, 72);
    pub const BASIC_ACK: (u16, u16) = (60, 80);
    pub const BASIC_NACK: (u16, u16) = (60, 120);
    pub const CONFIRM_SELECT_OK: (u16, u16) = (85, 11);
    pub const TX_SELECT_OK: (u16, u16) = (90, 11);
    pub const TX_COMMIT_OK: (u16, u16) = (90, 21);
}

/// What a client's method consists of, in order: `b` octet, `h` short, `l` long, `q` long long, `s` short string,
/// `S` long string, `T` field table, `x` an octet of bits.
const LAYOUTS: &[((u16, u16), &str)] = &[
    (id::CONNECTION_START_OK, "TsSs"),
    (id::CONNECTION_SECURE_OK, "S"),
    (id::CONNECTION_TUNE_OK, "hlh"),
    (id::CONNECTION_OPEN, "ssx"),
    (id::CONNECTION_CLOSE, "hshh"),
    (id::CONNECTION_CLOSE_OK, ""),
    ((10, 70), "Ss"),
    (id::CHANNEL_OPEN, "s"),
    ((20, 20), "x"),
    ((20, 21), "x"),
    (id::CHANNEL_CLOSE, "hshh"),
    (id::CHANNEL_CLOSE_OK, ""),
    ((30, 10), "sx"),
    ((40, 10), "hssxT"),
    ((40, 20), "hsx"),
    ((40, 30), "hsssxT"),
    ((40, 40), "hsssxT"),
    ((50, 10), "hsxT"),
    ((50, 20), "hsssxT"),
    ((50, 30), "hsx"),
    ((50, 40), "hsx"),
    ((50, 50), "hsssT"),
    ((60, 10), "lhx"),
    ((60, 20), "hssxT"),
    ((60, 30), "sx"),
    ((60, 31), "s"),
    (id::BASIC_PUBLISH, "hssx"),
    ((60, 70), "hsx"),
    (id::BASIC_ACK, "qx"),
    ((60, 90), "qx"),
    ((60, 100), "x"),
    ((60, 110), "x"),
    (id::BASIC_NACK, "qx"),
    ((85, 10), "x"),
    ((90, 10), ""),
    ((90, 20), ""),
    ((90, 30), ""),
];

/// What a server's method consists of, in the same letters. Methods that both sides send are only in the list above.
const SERVER_LAYOUTS: &[((u16, u16), &str)] = &[
    (id::CONNECTION_START, "bbTSS"),
    ((10, 20), "S"),
    (id::CONNECTION_TUNE, "hlh"),
    (id::CONNECTION_OPEN_OK, "s"),
    (id::CONNECTION_BLOCKED, "s"),
    (id::CONNECTION_UNBLOCKED, ""),
    ((10, 71), ""),
    (id::CHANNEL_OPEN_OK, "S"),
    ((30, 11), "h"),
    (id::EXCHANGE_DECLARE_OK, ""),
    (id::EXCHANGE_DELETE_OK, ""),
    ((40, 31), ""),
    ((40, 51), ""),
    (id::QUEUE_DECLARE_OK, "sll"),
    (id::QUEUE_BIND_OK, ""),
    ((50, 31), "l"),
    (id::QUEUE_DELETE_OK, "l"),
    (id::QUEUE_UNBIND_OK, ""),
    (id::BASIC_QOS_OK, ""),
    (id::BASIC_CONSUME_OK, "s"),
    (id::BASIC_RETURN, "hsss"),
    (id::BASIC_DELIVER, "sqxss"),
    (id::BASIC_GET_OK, "qxssl"),
    (id::BASIC_GET_EMPTY, "s"),
    ((60, 111), ""),
    (id::CONFIRM_SELECT_OK, ""),
    (id::TX_SELECT_OK, ""),
    (id::TX_COMMIT_OK, ""),
    ((90, 31), ""),
];

/// Whether only a server sends this method.
pub fn is_of_server(class: u16, method: u16) -> bool {
    SERVER_LAYOUTS.iter().any(|(id, _)| *id == (class, method))
}

/// Parses a client's method from a frame's payload.
///
/// # Errors
/// 503 COMMAND_INVALID for methods of servers, 540 NOT_IMPLEMENTED for ids that no method has, 502 SYNTAX_ERROR for arguments that are not what the method has.
pub fn parse(payload: &[u8], class: u16, method: u16) -> Result<AMQPClass, Exception> {
    let Some(layout) = layout_of(LAYOUTS, class, method) else {
        if is_of_server(class, method) {
            return Err(Exception::new(ReplyCode::CommandInvalid, "unimplemented method").at(class, method));
        }
        let text = format!("no method {class}.{method} that a client may send");
        return Err(Exception::new(ReplyCode::NotImplemented, text).at(class, method));
    };
    parse_as(layout, payload, class, method)
}

/// Parses a server's method from a frame's payload, for clients.
///
/// # Errors
/// 540 NOT_IMPLEMENTED for ids that no server sends, 502 SYNTAX_ERROR for arguments that are not what the method has.
pub fn parse_answer(payload: &[u8], class: u16, method: u16) -> Result<AMQPClass, Exception> {
    let layout = layout_of(SERVER_LAYOUTS, class, method).or_else(|| layout_of(LAYOUTS, class, method));
    let layout = layout.ok_or_else(|| {
        let text = format!("no method {class}.{method} that a server may send");
        Exception::new(ReplyCode::NotImplemented, text).at(class, method)
    })?;
    parse_as(layout, payload, class, method)
}

fn layout_of(layouts: &[((u16, u16), &'static str)], class: u16, method: u16) -> Option<&'static str> {
    layouts.iter().find(|(id, _)| *id == (class, method)).map(|(_, layout)| *layout)
}

fn parse_as(layout: &str, payload: &[u8], class: u16, method: u16) -> Result<AMQPClass, Exception> {
    check(payload.get(4..).unwrap_or_default(), layout, class, method)?;
    match parse_class(payload) {
        Ok((_, parsed)) => Ok(parsed),
        // What `check` lets through can fail only in a short string that is not UTF-8.
        Err(_) => Err(syntax_error("short string is not valid UTF-8", class, method)),
    }
}

fn syntax_error(what: impl std::fmt::Display, class: u16, method: u16) -> Exception {
    Exception::new(ReplyCode::SyntaxError, format!("{what} in method {class}.{method}")).at(class, method)
}

/// Walks the arguments of a method: every length within bounds, every table nested within bounds, nothing left over.
fn check(mut rest: &[u8], layout: &str, class: u16, method: u16) -> Result<(), Exception> {
    for kind in layout.bytes() {
        let length = match kind {
            b'b' | b'x' => 1,
            b'h' => 2,
            b'l' => 4,
            b'q' => 8,
            b's' => 1 + usize::from(*rest.first().unwrap_or(&0)),
            b'S' => match rest.first_chunk::<4>() {
                Some(length) => (u32::from_be_bytes(*length) as usize).saturating_add(4),
                None => 4,
            },
            _ => arguments::check_table(rest).map_err(|error| syntax_error(error, class, method))?,
        };
        rest = rest.get(length..).ok_or_else(|| syntax_error("truncated argument", class, method))?;
    }
    if rest.is_empty() { Ok(()) } else { Err(syntax_error("trailing bytes", class, method)) }
}

/// A `basic.publish` read by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Publish<'a> {
    pub exchange: &'a [u8],
    pub routing_key: &'a [u8],
    pub mandatory: bool,
    pub immediate: bool,
}

/// Reads a `basic.publish` from a frame's payload.
///
/// # Errors
/// 502 SYNTAX_ERROR when lengths don't fit.
pub fn parse_publish(payload: &[u8]) -> Result<Publish<'_>, Exception> {
    let read = || {
        let rest = payload.get(6..)?;
        let (&length, rest) = rest.split_first()?;
        let (exchange, rest) = rest.split_at_checked(length.into())?;
        let (&length, rest) = rest.split_first()?;
        let (routing_key, rest) = rest.split_at_checked(length.into())?;
        let [bits] = rest else { return None };
        Some(Publish { exchange, routing_key, mandatory: bits & 1 != 0, immediate: bits & 2 != 0 })
    };
    read().ok_or_else(|| syntax_error("malformed arguments", id::BASIC_PUBLISH.0, id::BASIC_PUBLISH.1))
}

/// Reads the delivery tag and the bits of a `basic.ack`, `basic.nack` or `basic.reject`.
///
/// # Errors
/// 502 SYNTAX_ERROR when there are not nine bytes.
pub fn parse_settle(payload: &[u8], class: u16, method: u16) -> Result<(DeliveryTag, u8), Exception> {
    match payload.get(4..).and_then(|rest| <[u8; 9]>::try_from(rest).ok()) {
        Some([a, b, c, d, e, f, g, h, bits]) => {
            Ok((DeliveryTag(u64::from_be_bytes([a, b, c, d, e, f, g, h])), bits))
        }
        None => Err(syntax_error("malformed arguments", class, method)),
    }
}

/// A `basic.deliver` or `basic.get-ok` read by hand, as far as a consumer needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Delivery<'a> {
    /// Empty for `basic.get-ok`.
    pub consumer_tag: &'a [u8],
    pub tag: DeliveryTag,
    pub redelivered: bool,
}

/// Reads a `basic.deliver` from a frame's payload.
///
/// # Errors
/// 502 SYNTAX_ERROR when lengths don't fit.
pub fn parse_deliver(payload: &[u8]) -> Result<Delivery<'_>, Exception> {
    let read = || {
        let (&length, rest) = payload.get(4..)?.split_first()?;
        let (consumer_tag, rest) = rest.split_at_checked(length.into())?;
        read_delivery(consumer_tag, rest)
    };
    read().ok_or_else(|| syntax_error("malformed arguments", id::BASIC_DELIVER.0, id::BASIC_DELIVER.1))
}

/// Reads a `basic.get-ok` from a frame's payload.
///
/// # Errors
/// 502 SYNTAX_ERROR when lengths don't fit.
pub fn parse_get_ok(payload: &[u8]) -> Result<Delivery<'_>, Exception> {
    let read = || read_delivery(&[], payload.get(4..)?);
    read().ok_or_else(|| syntax_error("malformed arguments", id::BASIC_GET_OK.0, id::BASIC_GET_OK.1))
}

fn read_delivery<'a>(consumer_tag: &'a [u8], rest: &[u8]) -> Option<Delivery<'a>> {
    let (tag, rest) = rest.split_first_chunk::<8>()?;
    let redelivered = rest.first()? & 1 != 0;
    Some(Delivery { consumer_tag, tag: DeliveryTag(u64::from_be_bytes(*tag)), redelivered })
}

impl Output {
    /// A method of the cold path, from its struct.
    pub fn class(&mut self, channel: ChannelId, class: &AMQPClass) {
        self.method(channel, |buffer| {
            let start = buffer.len();
            match gen_class(class)(WriteContext::from(std::mem::take(buffer))) {
                Ok(written) => *buffer = written.into_inner().0,
                // Writing to memory fails only for a short string that is too long; ours are checked where they enter.
                Err(_) => debug_assert!(false, "method {class:?} at {start} does not encode"),
            }
        });
    }

    /// `basic.publish`, of a client.
    pub fn publish(&mut self, channel: ChannelId, publish: &Publish<'_>) {
        self.method(channel, |buffer| {
            buffer.extend_from_slice(&[0, 60, 0, 40, 0, 0]);
            short_string(buffer, publish.exchange);
            short_string(buffer, publish.routing_key);
            buffer.push(u8::from(publish.mandatory) | u8::from(publish.immediate) << 1);
        });
    }

    /// `basic.deliver`.
    pub fn deliver(&mut self, channel: ChannelId, deliver: &Deliver<'_>) {
        self.method(channel, |buffer| {
            buffer.extend_from_slice(&[0, 60, 0, 60]);
            short_string(buffer, deliver.consumer_tag.as_bytes());
            buffer.extend_from_slice(&deliver.tag.0.to_be_bytes());
            buffer.push(u8::from(deliver.redelivered));
            short_string(buffer, deliver.exchange.as_bytes());
            short_string(buffer, deliver.routing_key);
        });
    }

    /// `basic.get-ok`.
    pub fn get_ok(&mut self, channel: ChannelId, deliver: &Deliver<'_>, message_count: u32) {
        self.method(channel, |buffer| {
            buffer.extend_from_slice(&[0, 60, 0, 71]);
            buffer.extend_from_slice(&deliver.tag.0.to_be_bytes());
            buffer.push(u8::from(deliver.redelivered));
            short_string(buffer, deliver.exchange.as_bytes());
            short_string(buffer, deliver.routing_key);
            buffer.extend_from_slice(&message_count.to_be_bytes());
        });
    }

    /// `basic.return`; the routing key may be any bytes.
    pub fn basic_return(
        &mut self,
        channel: ChannelId,
        code: u16,
        text: &str,
        exchange: &str,
        routing_key: &[u8],
    ) {
        self.method(channel, |buffer| {
            buffer.extend_from_slice(&[0, 60, 0, 50]);
            buffer.extend_from_slice(&code.to_be_bytes());
            short_string(buffer, text.as_bytes());
            short_string(buffer, exchange.as_bytes());
            short_string(buffer, routing_key);
        });
    }

    /// `basic.ack`: of a client, or of the broker as a publisher confirm.
    pub fn ack(&mut self, channel: ChannelId, tag: DeliveryTag, multiple: bool) {
        self.confirm(channel, 80, tag, u8::from(multiple));
    }

    /// `basic.nack` from the broker: a message no queue could take.
    pub fn nack(&mut self, channel: ChannelId, tag: DeliveryTag) {
        self.confirm(channel, 120, tag, 0);
    }

    fn confirm(&mut self, channel: ChannelId, method: u8, tag: DeliveryTag, bits: u8) {
        self.method(channel, |buffer| {
            buffer.extend_from_slice(&[0, 60, 0, method]);
            buffer.extend_from_slice(&tag.0.to_be_bytes());
            buffer.push(bits);
        });
    }

    /// `access.request-ok` with ticket 1, as RabbitMQ answers; `amq-protocol`'s struct has no ticket.
    pub fn access_request_ok(&mut self, channel: ChannelId) {
        self.method(channel, |buffer| buffer.extend_from_slice(&[0, 30, 0, 11, 0, 1]));
    }
}

/// What `basic.deliver` and `basic.get-ok` share.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Deliver<'a> {
    pub consumer_tag: &'a str,
    pub tag: DeliveryTag,
    pub redelivered: bool,
    pub exchange: &'a str,
    pub routing_key: &'a [u8],
}

fn short_string(buffer: &mut Vec<u8>, text: &[u8]) {
    let length = text.len().min(255);
    buffer.push(u8::try_from(length).unwrap_or(u8::MAX));
    buffer.extend_from_slice(&text[..length]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(class: &AMQPClass) -> Vec<u8> {
        gen_class(class)(WriteContext::from(Vec::new())).unwrap().into_inner().0
    }

    #[test]
    fn publish_is_read_as_amq_protocol_writes_it() {
        let class = AMQPClass::Basic(basic::AMQPMethod::Publish(basic::Publish {
            exchange: "x".into(),
            routing_key: "key".into(),
            mandatory: true,
            immediate: false,
        }));
        let expected = Publish { exchange: b"x", routing_key: b"key", mandatory: true, immediate: false };
        assert_eq!(parse_publish(&payload(&class)), Ok(expected));
    }

    #[test]
    fn a_method_cut_anywhere_is_a_syntax_error_and_never_a_panic() {
        let class = AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
            queue: "q".into(),
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: false,
            nowait: false,
            arguments: Default::default(),
        }));
        let bytes = payload(&class);
        assert_eq!(parse(&bytes, 50, 10), Ok(class));
        for cut in 4..bytes.len() {
            assert_eq!(
                parse(&bytes[..cut], 50, 10).unwrap_err().code,
                ReplyCode::SyntaxError,
                "cut at {cut}"
            );
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(parse(&longer, 50, 10).unwrap_err().code, ReplyCode::SyntaxError);
    }

    #[test]
    fn unknown_methods_are_not_implemented() {
        assert_eq!(parse(&[0, 99, 0, 1], 99, 1).unwrap_err().code, ReplyCode::NotImplemented);
        assert_eq!(parse(&[0, 60, 0, 60], 60, 60).unwrap_err().code, ReplyCode::CommandInvalid);
    }

    #[test]
    fn publish_is_written_as_it_is_read() {
        let publish = Publish { exchange: b"x", routing_key: b"key", mandatory: true, immediate: false };
        let mut output = Output::default();
        output.publish(ChannelId(1), &publish);
        let mut slices = [std::io::IoSlice::new(&[]); 1];
        output.slices(&mut slices);
        let (frame, _) = super::super::frame::read(&slices[0], 4096).unwrap().unwrap();
        let super::super::frame::Payload::Method { payload, .. } = frame.payload else { panic!("{frame:?}") };
        assert_eq!(parse_publish(payload), Ok(publish));
    }

    #[test]
    fn a_delivery_is_read_as_amq_protocol_writes_it() {
        let deliver = AMQPClass::Basic(basic::AMQPMethod::Deliver(basic::Deliver {
            consumer_tag: "c".into(),
            delivery_tag: 7,
            redelivered: true,
            exchange: "x".into(),
            routing_key: "k".into(),
        }));
        let expected = Delivery { consumer_tag: b"c", tag: DeliveryTag(7), redelivered: true };
        let bytes = payload(&deliver);
        assert_eq!(parse_deliver(&bytes), Ok(expected));
        assert_eq!(parse_answer(&bytes, 60, 60), Ok(deliver));
        assert!((4..14).all(|cut| parse_deliver(&bytes[..cut]).is_err()));
        let got = AMQPClass::Basic(basic::AMQPMethod::GetOk(basic::GetOk {
            delivery_tag: 7,
            redelivered: true,
            exchange: "x".into(),
            routing_key: "k".into(),
            message_count: 3,
        }));
        assert_eq!(parse_get_ok(&payload(&got)), Ok(Delivery { consumer_tag: b"", ..expected }));
    }

    #[test]
    fn every_layout_is_the_one_amq_protocol_reads() {
        // amq-protocol's access.request-ok has no ticket.
        let of_server = SERVER_LAYOUTS.iter().filter(|(id, _)| *id != (30, 11));
        for ((class, method), layout) in of_server.clone() {
            assert_eq!(
                layout_of(LAYOUTS, *class, *method),
                None,
                "{class}.{method} is listed twice: {layout}"
            );
        }
        for ((class, method), layout) in LAYOUTS.iter().chain(of_server) {
            let mut bytes = vec![0, *class as u8, 0, *method as u8];
            for kind in layout.bytes() {
                let zeros = match kind {
                    b'b' | b'x' | b's' => 1,
                    b'h' => 2,
                    b'q' => 8,
                    _ => 4,
                };
                bytes.extend(std::iter::repeat_n(0, zeros));
            }
            let parsed = parse_answer(&bytes, *class, *method);
            assert!(parsed.is_ok(), "{class}.{method}: {parsed:?}");
        }
    }

    #[test]
    fn a_deeply_nested_table_never_reaches_the_recursive_parser() {
        let mut table = Vec::new();
        for _ in 0..4000 {
            let mut outer = vec![1, b'a', b'F'];
            outer.extend_from_slice(&u32::try_from(table.len()).unwrap().to_be_bytes());
            outer.extend_from_slice(&table);
            table = outer;
        }
        let mut bytes = vec![0, 10, 0, 11];
        bytes.extend_from_slice(&u32::try_from(table.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(&table);
        bytes.extend_from_slice(&[5, b'P', b'L', b'A', b'I', b'N', 0, 0, 0, 0, 0]);
        let error = parse(&bytes, 10, 11).unwrap_err();
        assert_eq!(error.code, ReplyCode::SyntaxError);
        assert!(error.text.contains("nested deeper"), "{error}");
    }
}
