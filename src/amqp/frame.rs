//! Frames: type, channel, size, payload, end octet (AMQP 0-9-1, 4.2.3), both ways. PURE.
//!
//! Reading borrows from the driver's buffer and never parses a frame twice. Writing collects into one buffer; bodies
//! that are worth it stay shared and are written from where they are.

use super::exception::{Exception, ReplyCode};
use crate::message::Message;
use crate::name::ChannelId;
use std::{io::IoSlice, sync::Arc};

/// Type, channel and size before the payload.
pub const HEADER_BYTES: usize = 7;
/// A frame's bytes that are not payload: header and end octet.
pub const OVERHEAD_BYTES: usize = 8;
/// The least `frame_max` a peer must support (AMQP 0-9-1, 4.2.3).
pub const FRAME_MIN_BYTES: u32 = 4096;

const METHOD: u8 = 1;
const CONTENT_HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
const END: u8 = 0xCE;
/// A body shorter than this is copied into the output, a longer one is written from the message itself.
const SHARED_BODY_BYTES_MIN: usize = 8 * 1024;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Payload<'a> {
    /// `payload` starts with the two ids.
    Method {
        class: u16,
        method: u16,
        payload: &'a [u8],
    },
    /// `properties` starts with the property flags.
    Header {
        class: u16,
        weight: u16,
        body_bytes: u64,
        properties: &'a [u8],
    },
    Body(&'a [u8]),
    Heartbeat,
}

impl Payload<'_> {
    /// What the frame is, as error texts have it.
    pub fn describe(&self) -> String {
        match self {
            Payload::Method { class, method, .. } => format!("method {class}.{method}"),
            Payload::Header { .. } => "content header".into(),
            Payload::Body(_) => "content body".into(),
            Payload::Heartbeat => "heartbeat".into(),
        }
    }
}

/// One frame as it stands in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Frame<'a> {
    pub channel: ChannelId,
    pub payload: Payload<'a>,
}

/// Reads the frame at the start of `input`; `None` until all of it is there. Returns the frame and its length.
///
/// # Errors
/// 501 FRAME_ERROR: unknown type, too large for `frame_max`, wrong end octet, payload shorter than its fixed part.
pub fn read(input: &[u8], frame_max: u32) -> Result<Option<(Frame<'_>, usize)>, Exception> {
    let Some((header, rest)) = input.split_first_chunk::<HEADER_BYTES>() else {
        return match input.first() {
            Some(&kind) if !is_known(kind) => Err(unknown_type(kind)),
            _ => Ok(None),
        };
    };
    let kind = header[0];
    let channel = ChannelId(u16::from_be_bytes([header[1], header[2]]));
    let size = u32::from_be_bytes([header[3], header[4], header[5], header[6]]);
    if !is_known(kind) {
        return Err(unknown_type(kind));
    }
    // RabbitMQ forgives clients that forget the frame's own eight bytes when they fill a frame.
    if size > frame_max {
        return Err(frame_error(format!(
            "frame of {size} bytes is larger than the negotiated frame_max of {frame_max}"
        )));
    }
    let size = size as usize;
    let Some((payload, rest)) = rest.split_at_checked(size) else { return Ok(None) };
    match rest.first() {
        None => return Ok(None),
        Some(&END) => {}
        Some(other) => return Err(frame_error(format!("frame end octet is {other:#04x} instead of 0xce"))),
    }
    let payload = read_payload(kind, payload)?;
    Ok(Some((Frame { channel, payload }, size + OVERHEAD_BYTES)))
}

fn is_known(kind: u8) -> bool {
    matches!(kind, METHOD | CONTENT_HEADER | BODY | HEARTBEAT)
}

fn unknown_type(kind: u8) -> Exception {
    frame_error(format!("unknown frame type {kind}"))
}

fn frame_error(text: String) -> Exception {
    Exception::new(ReplyCode::FrameError, text)
}

fn read_payload(kind: u8, payload: &[u8]) -> Result<Payload<'_>, Exception> {
    let short =
        || frame_error(format!("payload of {} bytes is too short for frame type {kind}", payload.len()));
    match kind {
        METHOD => {
            let id = payload.first_chunk::<4>().ok_or_else(short)?;
            let class = u16::from_be_bytes([id[0], id[1]]);
            let method = u16::from_be_bytes([id[2], id[3]]);
            Ok(Payload::Method { class, method, payload })
        }
        CONTENT_HEADER => {
            let (fixed, properties) = payload.split_first_chunk::<12>().ok_or_else(short)?;
            let class = u16::from_be_bytes([fixed[0], fixed[1]]);
            let weight = u16::from_be_bytes([fixed[2], fixed[3]]);
            let mut size = [0; 8];
            size.copy_from_slice(&fixed[4..]);
            Ok(Payload::Header { class, weight, body_bytes: u64::from_be_bytes(size), properties })
        }
        BODY => Ok(Payload::Body(payload)),
        _ => Ok(Payload::Heartbeat),
    }
}

/// A body that is written from the message it belongs to.
#[derive(Debug)]
struct SharedBody {
    /// Where in the buffer it belongs.
    at: usize,
    message: Arc<Message>,
    range: std::ops::Range<usize>,
}

/// Frames to be written.
///
/// Everything goes into one buffer in order; large bodies are remembered by the place where they belong.
#[derive(Debug, Default)]
pub struct Output {
    buffer: Vec<u8>,
    shared: std::collections::VecDeque<SharedBody>,
    shared_bytes: usize,
    /// How many bytes of the buffer, and of the first shared body, are already written.
    written: usize,
}

impl Output {
    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.buffer.len() - self.written + self.shared_bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends bytes that are no frame: the protocol header.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// A heartbeat.
    pub fn heartbeat(&mut self) {
        self.buffer.extend_from_slice(&[HEARTBEAT, 0, 0, 0, 0, 0, 0, END]);
    }

    /// A method frame; `arguments` writes class, method and arguments.
    pub fn method(&mut self, channel: ChannelId, arguments: impl FnOnce(&mut Vec<u8>)) {
        let start = self.start(METHOD, channel);
        arguments(&mut self.buffer);
        self.end(start);
    }

    /// A content header and the body frames of `message`, split so that no frame is larger than `frame_max`.
    pub fn content(&mut self, channel: ChannelId, message: &Arc<Message>, frame_max: u32) {
        let body = message.body();
        let start = self.start(CONTENT_HEADER, channel);
        self.buffer.extend_from_slice(&[0, 60, 0, 0]);
        self.buffer.extend_from_slice(&(body.len() as u64).to_be_bytes());
        self.buffer.extend_from_slice(message.raw_properties());
        self.end(start);
        let step = frame_max as usize - OVERHEAD_BYTES;
        let mut at = 0;
        while at < body.len() {
            let range = at..body.len().min(at + step);
            at = range.end;
            self.body(channel, message, range);
        }
    }

    fn body(&mut self, channel: ChannelId, message: &Arc<Message>, range: std::ops::Range<usize>) {
        let size = u32::try_from(range.len()).unwrap_or(u32::MAX);
        let [c0, c1] = channel.0.to_be_bytes();
        let [s0, s1, s2, s3] = size.to_be_bytes();
        self.buffer.extend_from_slice(&[BODY, c0, c1, s0, s1, s2, s3]);
        if range.len() < SHARED_BODY_BYTES_MIN {
            self.buffer.extend_from_slice(&message.body()[range]);
        } else {
            self.shared_bytes += range.len();
            self.shared.push_back(SharedBody { at: self.buffer.len(), message: Arc::clone(message), range });
        }
        self.buffer.push(END);
    }

    fn start(&mut self, kind: u8, channel: ChannelId) -> usize {
        let [c0, c1] = channel.0.to_be_bytes();
        self.buffer.extend_from_slice(&[kind, c0, c1, 0, 0, 0, 0]);
        self.buffer.len()
    }

    fn end(&mut self, start: usize) {
        let size = u32::try_from(self.buffer.len() - start).unwrap_or(u32::MAX);
        self.buffer[start - 4..start].copy_from_slice(&size.to_be_bytes());
        self.buffer.push(END);
    }

    /// The next bytes to write, as slices for one vectored write; at most `into.len()` of them. Returns how many.
    pub fn slices<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        let mut at = self.written;
        for shared in &self.shared {
            if count + 2 > into.len() {
                return count;
            }
            if shared.at > at {
                into[count] = IoSlice::new(&self.buffer[at..shared.at]);
                count += 1;
            }
            into[count] = IoSlice::new(&shared.message.body()[shared.range.clone()]);
            count += 1;
            at = shared.at;
        }
        if count < into.len() && at < self.buffer.len() {
            into[count] = IoSlice::new(&self.buffer[at..]);
            count += 1;
        }
        count
    }

    /// Forgets the first `bytes` bytes: they are written.
    pub fn advance(&mut self, mut bytes: usize) {
        while let Some(first) = self.shared.front_mut() {
            let before = first.at - self.written;
            if bytes < before {
                break;
            }
            bytes -= before;
            self.written = first.at;
            let now = bytes.min(first.range.len());
            first.range.start += now;
            self.shared_bytes -= now;
            bytes -= now;
            if !first.range.is_empty() {
                return;
            }
            self.shared.pop_front();
        }
        self.written += bytes;
        if self.is_empty() {
            self.written = 0;
            self.buffer.clear();
            self.buffer.shrink_to(KEPT_BYTES);
        } else if self.written > KEPT_BYTES {
            // A slow reader whose output never runs empty must not keep what it has read.
            self.buffer.drain(..self.written);
            self.shared.iter_mut().for_each(|shared| shared.at -= self.written);
            self.written = 0;
        }
    }
}

/// How much of an emptied buffer is kept for the next batch.
const KEPT_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Properties;

    fn message(body: usize) -> Arc<Message> {
        let body: Vec<u8> = (0..body).map(|i| i as u8).collect();
        Arc::new(Message::new("x".into(), b"k", &[0, 0], &Properties::default(), &[&body]))
    }

    fn all(output: &mut Output, step: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while !output.is_empty() {
            let mut slices = [IoSlice::new(&[]); 4];
            let count = output.slices(&mut slices);
            let part: Vec<u8> =
                slices[..count].iter().flat_map(|slice| slice.iter()).take(step).copied().collect();
            output.advance(part.len());
            bytes.extend(part);
        }
        bytes
    }

    #[test]
    fn content_is_split_at_frame_max_and_survives_any_split_of_the_writes() {
        for step in [1, 7, 5000, 1 << 20] {
            let message = message(40_000);
            let mut output = Output::default();
            output.content(ChannelId(3), &message, 16_384);
            output.heartbeat();
            let bytes = all(&mut output, step);
            let (mut at, mut body) = (0, Vec::new());
            while let Some((frame, length)) = read(&bytes[at..], 16_384).unwrap() {
                at += length;
                if let Payload::Body(part) = frame.payload {
                    assert!(length <= 16_384);
                    body.extend_from_slice(part);
                }
            }
            assert_eq!(at, bytes.len());
            assert_eq!(body, message.body());
        }
    }

    #[test]
    fn a_frame_is_read_only_when_all_of_it_is_there() {
        let mut output = Output::default();
        output.method(ChannelId(1), |b| b.extend_from_slice(&[0, 20, 0, 10, 0]));
        let bytes = all(&mut output, usize::MAX);
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut], 4096), Ok(None));
        }
        let (frame, length) = read(&bytes, 4096).unwrap().unwrap();
        assert_eq!(length, bytes.len());
        assert_eq!(frame.payload, Payload::Method { class: 20, method: 10, payload: &[0, 20, 0, 10, 0] });
    }

    #[test]
    fn broken_frames_are_frame_errors() {
        let code = |bytes: &[u8]| read(bytes, 4096).unwrap_err().code;
        assert_eq!(code(&[9]), ReplyCode::FrameError);
        assert_eq!(code(&[1, 0, 1, 0, 0, 0x10, 1]), ReplyCode::FrameError);
        assert_eq!(code(&[8, 0, 0, 0, 0, 0, 0, 0xCD]), ReplyCode::FrameError);
        assert_eq!(code(&[1, 0, 0, 0, 0, 0, 2, 0, 10, 0xCE]), ReplyCode::FrameError);
        assert_eq!(code(&[2, 0, 0, 0, 0, 0, 2, 0, 10, 0xCE]), ReplyCode::FrameError);
    }
}
