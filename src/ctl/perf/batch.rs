//! The messages of a producer: one message's frames, many times over in one buffer, with places for what differs.
//!
//! A body opens with 8 bytes that say whose message it is and which, and, if there is room, 8 bytes with the time when it
//! was to be sent, in nanoseconds since 1970. All is big-endian.

use super::connection::{CHANNEL, flat};
use crate::amqp::frame::{HEADER_BYTES, Output};
use crate::amqp::method::Publish;
use crate::message::{Message, Properties};
use std::sync::Arc;

/// The least body: there the message's number stands.
pub(super) const BODY_BYTES_MIN: usize = 8;
/// The least body with a time in it.
pub(super) const TIMED_BODY_BYTES_MIN: usize = 16;
/// How many digits a number has in the name of a queue or a key, where there are several.
pub(super) const DIGITS: usize = 6;
/// A message's number has so many bits; the producer's is above.
const NUMBER_BITS: u32 = 48;
/// Written at once, about: many small messages per system call, as a client library under load would.
const BATCH_BYTES: usize = 64 << 10;
/// The header that a headers exchange looks at.
pub(super) const HEADER: &str = "key";

/// A name, or one of several with a number behind.
pub(super) fn numbered(name: &str, index: u32, count: u32) -> String {
    if count == 1 { name.to_owned() } else { format!("{name}.{index:0DIGITS$}") }
}

/// Who published a message, and the how manyth it is.
pub(super) fn sender(body: &[u8]) -> Option<(u16, u64)> {
    let word = u64::from_be_bytes(*body.first_chunk()?);
    Some(((word >> NUMBER_BITS) as u16, word & ((1 << NUMBER_BITS) - 1)))
}

/// When a message was to be sent.
pub(super) fn sent_ns(body: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*body.get(8..)?.first_chunk()?))
}

/// What the messages are.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) producer: u16,
    pub(super) exchange: String,
    pub(super) key: String,
    /// Message n has key n modulo this.
    pub(super) keys: u32,
    /// The key is in a header, too.
    pub(super) has_header: bool,
    pub(super) size: usize,
    pub(super) is_persistent: bool,
    pub(super) is_mandatory: bool,
    /// Priorities go round, once for all keys; 0 for none.
    pub(super) priorities: u8,
    pub(super) expiration_ms: Option<u64>,
}

impl Form {
    /// The priority of a message.
    pub(super) fn priority(&self, number: u64) -> u8 {
        priority(number, self.keys, self.priorities)
    }
}

/// The priority of a message: they go round once for all keys.
pub(super) fn priority(number: u64, keys: u32, priorities: u8) -> u8 {
    if priorities == 0 { 0 } else { (number / u64::from(keys) % u64::from(priorities)) as u8 }
}

/// Messages that are ready to be written.
#[derive(Debug)]
pub(super) struct Batch {
    form: Form,
    bytes: Vec<u8>,
    message_bytes: usize,
    /// How many fit.
    pub(super) messages: u64,
    /// Offsets within a message.
    body_at: usize,
    key_end: usize,
    header_end: usize,
    priority_at: usize,
}

impl Batch {
    pub(super) fn new(form: Form, frame_max: u32) -> Self {
        let key = numbered(&form.key, 0, form.keys);
        let properties = RawProperties::new(&form, &key);
        let body: Vec<u8> = (b'a'..=b'z').cycle().take(form.size).collect();
        let content = Message::new("".into(), b"", &properties.bytes, &Properties::default(), &[&body]);
        let mut output = Output::default();
        let (exchange, routing_key) = (form.exchange.as_bytes(), key.as_bytes());
        let publish = Publish { exchange, routing_key, mandatory: form.is_mandatory, immediate: false };
        output.publish(CHANNEL, &publish);
        let properties_at = output.len() + HEADER_BYTES + 12;
        output.content(CHANNEL, &Arc::new(content), frame_max);
        let message = flat(output);
        let messages = (BATCH_BYTES / message.len()).max(1);
        Self {
            bytes: message.repeat(messages),
            message_bytes: message.len(),
            messages: messages as u64,
            body_at: properties_at + properties.bytes.len() + 1 + HEADER_BYTES,
            // Behind it stand the flags and the end of the frame.
            key_end: properties_at - 12 - HEADER_BYTES - 2,
            header_end: properties_at + properties.header_end,
            priority_at: properties_at + properties.priority_at,
            form,
        }
    }

    /// What was filled last, and what is behind it.
    pub(super) fn written(&self) -> &[u8] {
        &self.bytes
    }

    /// Makes the first messages those from number `first` on, `count` of them at most as many as fit; `due_ns` says when
    /// each, counted from 0, was to be sent. Returns their frames.
    pub(super) fn fill(&mut self, first: u64, count: u64, due_ns: impl Fn(u64) -> u64) -> &[u8] {
        let count = count.min(self.messages);
        let Self { form, bytes, message_bytes, .. } = self;
        let whose = u64::from(form.producer) << NUMBER_BITS;
        for (message, index) in bytes.chunks_exact_mut(*message_bytes).zip(0..count) {
            let number = first + index;
            let body = &mut message[self.body_at..];
            body[..8].copy_from_slice(&(whose | number).to_be_bytes());
            if form.size >= TIMED_BODY_BYTES_MIN {
                body[8..16].copy_from_slice(&due_ns(index).to_be_bytes());
            }
            if form.keys > 1 {
                let key = number % u64::from(form.keys);
                write_digits(&mut message[..self.key_end], key);
                if form.has_header {
                    write_digits(&mut message[..self.header_end], key);
                }
            }
            if form.priorities > 0 {
                message[self.priority_at] = form.priority(number);
            }
        }
        &bytes[..*message_bytes * count as usize]
    }
}

fn write_digits(text: &mut [u8], mut number: u64) {
    for digit in text.iter_mut().rev().take(DIGITS) {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Properties as they travel, and where in them stands what differs.
struct RawProperties {
    bytes: Vec<u8>,
    header_end: usize,
    priority_at: usize,
}

impl RawProperties {
    fn new(form: &Form, key: &str) -> Self {
        let entry =
            [&[HEADER.len() as u8], HEADER.as_bytes(), b"S", &long(key.len()), key.as_bytes()].concat();
        let headers = [&long(entry.len())[..], &entry].concat();
        let headers = form.has_header.then_some(headers);
        let expiration = form.expiration_ms.map(|ms| ms.to_string());
        let properties = Properties {
            headers: headers.as_deref(),
            delivery_mode: Some(if form.is_persistent { 2 } else { 1 }),
            priority: (form.priorities > 0).then_some(0),
            expiration: expiration.as_deref().map(str::as_bytes),
            ..Properties::default()
        };
        let mut bytes = Vec::new();
        properties.write(&mut bytes);
        // Behind the flags stand the headers, the delivery mode, the priority.
        let header_end = 2 + headers.map_or(0, |headers| headers.len());
        Self { bytes, header_end, priority_at: header_end + 1 }
    }
}

fn long(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::frame::{self, Payload};
    use crate::amqp::method::parse_publish;

    fn form() -> Form {
        Form {
            producer: 3,
            exchange: "x".into(),
            key: "k".into(),
            keys: 2,
            has_header: true,
            size: 20,
            is_persistent: true,
            is_mandatory: true,
            priorities: 3,
            expiration_ms: Some(60_000),
        }
    }

    /// Routing key, properties and body of each message.
    fn read(mut bytes: &[u8]) -> Vec<(String, Vec<u8>, Vec<u8>)> {
        let (mut messages, mut body_bytes) = (Vec::new(), 0);
        while let Some((frame, length)) = frame::read(bytes, 200_000).unwrap() {
            assert_eq!(frame.channel, CHANNEL);
            match frame.payload {
                Payload::Method { payload, .. } => {
                    let publish = parse_publish(payload).unwrap();
                    assert_eq!((publish.exchange, publish.mandatory), (&b"x"[..], true));
                    let key = String::from_utf8(publish.routing_key.into()).unwrap();
                    messages.push((key, Vec::new(), Vec::new()));
                }
                Payload::Header { properties, body_bytes: bytes, .. } => {
                    body_bytes = bytes;
                    messages.last_mut().unwrap().1 = properties.into();
                }
                Payload::Body(part) => {
                    let body = &mut messages.last_mut().unwrap().2;
                    body.extend_from_slice(part);
                    assert!(body.len() as u64 <= body_bytes);
                }
                Payload::Heartbeat => panic!("a heartbeat"),
            }
            bytes = &bytes[length..];
        }
        assert!(bytes.is_empty());
        messages
    }

    #[test]
    fn each_message_has_its_key_priority_number_and_time() {
        let mut batch = Batch::new(form(), 131_072);
        let messages = read(batch.fill(6, 4, |index| 1_000 + index));
        let keys: Vec<&str> = messages.iter().map(|(key, ..)| &**key).collect();
        assert_eq!(keys, ["k.000000", "k.000001", "k.000000", "k.000001"]);
        for (index, (key, raw, body)) in messages.iter().enumerate() {
            let properties = Properties::parse(raw).unwrap();
            assert_eq!(properties.delivery_mode, Some(2));
            assert_eq!(properties.priority, Some([0, 0, 1, 1][index]));
            assert_eq!(properties.expiration, Some(&b"60000"[..]));
            let expected = [&[0, 0, 0, 17, 3], &b"keyS"[..], &[0, 0, 0, 8], key.as_bytes()].concat();
            assert_eq!(properties.headers.map(|table| table.ends_with(&expected[4..])), Some(true));
            assert_eq!(sender(body), Some((3, 6 + index as u64)));
            assert_eq!(sent_ns(body), Some(1_000 + index as u64));
            assert_eq!(&body[16..], b"qrst");
        }
    }

    #[test]
    fn a_batch_is_no_longer_than_it_is_and_a_large_body_comes_in_frames() {
        let mut batch = Batch::new(form(), 131_072);
        assert_eq!(read(batch.fill(0, u64::MAX, |_| 0)).len() as u64, batch.messages);
        let mut batch = Batch::new(Form { size: 300_000, keys: 1, ..form() }, 4096);
        assert_eq!(batch.messages, 1);
        let messages = read(batch.fill(9, 1, |_| 5));
        assert_eq!((&*messages[0].0, messages[0].2.len()), ("k", 300_000));
        assert_eq!((sender(&messages[0].2), sent_ns(&messages[0].2)), (Some((3, 9)), Some(5)));
    }

    #[test]
    fn a_body_without_room_has_no_time() {
        let mut batch = Batch::new(Form { size: 8, ..form() }, 4096);
        let messages = read(batch.fill(1, 1, |_| 5));
        assert_eq!((sender(&messages[0].2), sent_ns(&messages[0].2)), (Some((3, 1)), None));
    }
}
