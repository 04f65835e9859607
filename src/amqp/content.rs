//! Content assembly: a publish, its header, its body frames; every size checked (AMQP 0-9-1, 2.3.5.2). PURE.

use super::exception::{Exception, ReplyCode};
use super::frame::Payload;
use super::method::{self, id};
use crate::message::{Message, Properties};
use crate::name::ExchangeName;
use crate::time::Millis;
use std::sync::Arc;

/// A body that no configuration allows; RabbitMQ's bound.
const BODY_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// How much is allocated on the word of a header alone.
const TRUSTED_BYTES: u64 = 1024 * 1024;

/// A message that is all there.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Assembled {
    pub mandatory: bool,
    pub immediate: bool,
    pub message: Arc<Message>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Idle,
    Header,
    Body { remaining: u64 },
}

/// The content a channel is receiving.
#[derive(Debug)]
pub struct Content {
    stage: Stage,
    /// Kept from publish to publish: the next one mostly goes to the same exchange.
    exchange: ExchangeName,
    routing_key: Vec<u8>,
    mandatory: bool,
    immediate: bool,
    properties: Vec<u8>,
    delivery_mode: Option<u8>,
    priority: Option<u8>,
    body: Vec<u8>,
    now: Millis,
}

impl Default for Content {
    fn default() -> Self {
        Self {
            stage: Stage::Idle,
            exchange: ExchangeName::new(""),
            routing_key: Vec::new(),
            mandatory: false,
            immediate: false,
            properties: Vec::new(),
            delivery_mode: None,
            priority: None,
            body: Vec::new(),
            now: Millis::default(),
        }
    }
}

fn unexpected(text: String) -> Exception {
    Exception::new(ReplyCode::UnexpectedFrame, text).at(id::BASIC_PUBLISH.0, id::BASIC_PUBLISH.1)
}

fn frame_error(text: String) -> Exception {
    Exception::new(ReplyCode::FrameError, text).at(id::BASIC_PUBLISH.0, id::BASIC_PUBLISH.1)
}

impl Content {
    /// Whether no content is on its way, so that a method may come.
    ///
    /// # Errors
    /// 505 UNEXPECTED_FRAME otherwise.
    pub fn check_idle(&self) -> Result<(), Exception> {
        match self.stage {
            Stage::Idle => Ok(()),
            Stage::Header => Err(no_header()),
            Stage::Body { .. } => Err(no_body()),
        }
    }

    /// Forgets what was begun: the channel closes.
    pub fn reset(&mut self) {
        self.stage = Stage::Idle;
        self.body = Vec::new();
    }

    /// Begins with a `basic.publish`, received at `now`.
    pub fn begin(&mut self, now: Millis, publish: &method::Publish<'_>) {
        self.now = now;
        let strip = |byte: &u8| *byte == b'\r' || *byte == b'\n';
        if publish.exchange != self.exchange.as_str().as_bytes() {
            // A name that is not UTF-8 names nothing that could have been declared: it is looked up and not found.
            let name = String::from_utf8_lossy(publish.exchange);
            let name =
                if publish.exchange.iter().any(strip) { name.replace(['\r', '\n'], "") } else { name.into() };
            self.exchange = ExchangeName::new(&name);
        }
        self.routing_key.clear();
        self.routing_key.extend_from_slice(publish.routing_key);
        self.mandatory = publish.mandatory;
        self.immediate = publish.immediate;
        self.stage = Stage::Header;
    }

    /// Takes a content header; complete at once when the body is empty.
    ///
    /// # Errors
    /// 505 out of place or for another class, 501 for a weight or a size no body has, 502 for malformed properties,
    /// 406 for a body larger than `bytes_max`.
    pub fn header(&mut self, payload: &Payload<'_>, bytes_max: u64) -> Result<Option<Assembled>, Exception> {
        let Payload::Header { class, weight, body_bytes, properties } = *payload else { return Ok(None) };
        match self.stage {
            Stage::Header => {}
            Stage::Idle => return Err(no_method()),
            Stage::Body { .. } => return Err(no_body()),
        }
        if class != id::BASIC {
            let text = format!("expected content header for class 60, got one for class {class} instead");
            return Err(unexpected(text));
        }
        if weight != 0 {
            return Err(frame_error(format!("content header weight is {weight} instead of 0")));
        }
        if body_bytes > BODY_BYTES_MAX {
            return Err(frame_error(format!(
                "content body of {body_bytes} bytes is larger than {BODY_BYTES_MAX}"
            )));
        }
        if body_bytes > bytes_max {
            let text = format!("message size {body_bytes} is larger than configured max size {bytes_max}");
            return Err(Exception::new(ReplyCode::PreconditionFailed, text)
                .at(id::BASIC_PUBLISH.0, id::BASIC_PUBLISH.1));
        }
        let parsed = Properties::parse(properties).map_err(|error| {
            Exception::new(ReplyCode::SyntaxError, error.to_string())
                .at(id::BASIC_PUBLISH.0, id::BASIC_PUBLISH.1)
        })?;
        (self.delivery_mode, self.priority) = (parsed.delivery_mode, parsed.priority);
        self.properties.clear();
        self.properties.extend_from_slice(properties);
        self.stage = Stage::Body { remaining: body_bytes };
        Ok((body_bytes == 0).then(|| self.finish(&[])))
    }

    /// Takes a body frame; complete when the last byte is there.
    ///
    /// # Errors
    /// 505 out of place, 501 for more than the header announced.
    pub fn body(&mut self, bytes: &[u8]) -> Result<Option<Assembled>, Exception> {
        let Stage::Body { remaining } = self.stage else {
            return Err(if self.stage == Stage::Idle { no_method() } else { no_header() });
        };
        let length = bytes.len() as u64;
        if length > remaining {
            let text = format!("content body frame exceeds remaining content size: {length} > {remaining}");
            return Err(frame_error(text));
        }
        if length == remaining && self.body.is_empty() {
            return Ok(Some(self.finish(bytes)));
        }
        if self.body.is_empty() {
            self.body.reserve_exact(remaining.min(TRUSTED_BYTES) as usize);
        }
        self.body.extend_from_slice(bytes);
        self.stage = Stage::Body { remaining: remaining - length };
        if length < remaining {
            return Ok(None);
        }
        let body = std::mem::take(&mut self.body);
        Ok(Some(self.finish(&body)))
    }

    fn finish(&mut self, body: &[u8]) -> Assembled {
        self.stage = Stage::Idle;
        let parsed = Properties {
            delivery_mode: self.delivery_mode,
            priority: self.priority,
            ..Properties::default()
        };
        let message =
            Message::new(self.exchange.clone(), &self.routing_key, &self.properties, &parsed, &[body])
                .at(self.now);
        Assembled { mandatory: self.mandatory, immediate: self.immediate, message: Arc::new(message) }
    }
}

/// Content began without a method; RabbitMQ ties that to none.
fn no_method() -> Exception {
    let text = "expected method frame, got non method frame instead";
    Exception::new(ReplyCode::UnexpectedFrame, text).of_no_method()
}

fn no_header() -> Exception {
    unexpected("expected content header for class 60, got non content header frame instead".into())
}

fn no_body() -> Exception {
    unexpected("expected content body, got non content body frame instead".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun() -> Content {
        let mut content = Content::default();
        content.begin(
            Millis(7),
            &method::Publish { exchange: b"x", routing_key: b"k", mandatory: true, immediate: false },
        );
        content
    }

    fn header(body_bytes: u64) -> Payload<'static> {
        Payload::Header { class: 60, weight: 0, body_bytes, properties: &[0x10, 0, 2] }
    }

    #[test]
    fn a_body_comes_in_any_number_of_frames() {
        let mut content = begun();
        assert_eq!(content.header(&header(5), 100), Ok(None));
        assert_eq!(content.body(b"he"), Ok(None));
        assert_eq!(content.body(b""), Ok(None));
        let assembled = content.body(b"llo").unwrap().unwrap();
        assert_eq!(assembled.message.body(), b"hello");
        assert_eq!(assembled.message.routing_key(), b"k");
        assert!(assembled.message.is_persistent && assembled.mandatory);
        assert_eq!(content.check_idle(), Ok(()));
    }

    #[test]
    fn an_empty_body_needs_no_frame() {
        let assembled = begun().header(&header(0), 100).unwrap().unwrap();
        assert_eq!(assembled.message.body(), b"");
    }

    #[test]
    fn frames_out_of_place_are_unexpected() {
        let mut content = Content::default();
        assert_eq!(content.body(b"x").unwrap_err().code, ReplyCode::UnexpectedFrame);
        assert_eq!(content.header(&header(1), 100).unwrap_err().code, ReplyCode::UnexpectedFrame);
        let mut content = begun();
        assert_eq!(content.body(b"x").unwrap_err().code, ReplyCode::UnexpectedFrame);
        let error = content.check_idle().unwrap_err();
        assert_eq!(error.text, "expected content header for class 60, got non content header frame instead");
    }

    #[test]
    fn sizes_are_checked_before_anything_is_kept() {
        assert_eq!(begun().header(&header(101), 100).unwrap_err().code, ReplyCode::PreconditionFailed);
        assert_eq!(begun().header(&header(1 << 40), u64::MAX).unwrap_err().code, ReplyCode::FrameError);
        let mut content = begun();
        content.header(&header(2), 100).unwrap();
        assert_eq!(content.body(b"xyz").unwrap_err().code, ReplyCode::FrameError);
        let heavy = Payload::Header { class: 60, weight: 1, body_bytes: 0, properties: &[0, 0] };
        assert_eq!(begun().header(&heavy, 100).unwrap_err().code, ReplyCode::FrameError);
        let other = Payload::Header { class: 50, weight: 0, body_bytes: 0, properties: &[0, 0] };
        assert_eq!(begun().header(&other, 100).unwrap_err().code, ReplyCode::UnexpectedFrame);
        let broken = Payload::Header { class: 60, weight: 0, body_bytes: 0, properties: &[0x20, 0, 0] };
        assert_eq!(begun().header(&broken, 100).unwrap_err().code, ReplyCode::SyntaxError);
    }
}
