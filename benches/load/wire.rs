//! A blocking AMQP 0-9-1 connection with one channel: frames in, bytes out, and the few methods a load needs.
//!
//! Reads and writes give up after [`PATIENCE`] so that their callers can look around (is the broker reading at all,
//! did the other thread fail); [`STALL`] without progress is an error. Heartbeats are switched off.

use crate::options::Options;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long one read or write waits.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long a run waits for anything to happen.
pub(crate) const STALL: Duration = Duration::from_secs(60);
/// Large enough for the largest frame agreed on, and for many small ones per read.
const INPUT_BYTES: usize = 512 * 1024;
const FRAME_MAX: u32 = 131_072;
const FRAME_END: u8 = 0xCE;
/// A frame's type, channel and size before its payload, and the end byte after it.
const HEADER_BYTES: usize = 7;
const CHANNEL: u16 = 1;
/// How many declares are sent before their answers are read: their answers fit into the socket's buffers.
const DECLARES_MAX: usize = 500;

pub(crate) const FRAME_METHOD: u8 = 1;
pub(crate) const FRAME_HEADER: u8 = 2;
pub(crate) const FRAME_BODY: u8 = 3;

/// Class and method numbers.
pub(crate) type Method = (u16, u16);
pub(crate) const BASIC_PUBLISH: Method = (60, 40);
pub(crate) const BASIC_DELIVER: Method = (60, 60);
pub(crate) const BASIC_ACK: Method = (60, 80);
pub(crate) const BASIC_NACK: Method = (60, 120);
const BASIC_RETURN: Method = (60, 50);
const BASIC_CANCEL: Method = (60, 30);
const CONNECTION_CLOSE: Method = (10, 50);
const CONNECTION_BLOCKED: Method = (10, 60);
const CONNECTION_UNBLOCKED: Method = (10, 61);
const CHANNEL_CLOSE: Method = (20, 40);

/// One frame, still in the input buffer.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u8,
    pub(crate) payload: &'a [u8],
}

impl Frame<'_> {
    /// The method's numbers and a reader of its arguments.
    pub(crate) fn method(&self) -> io::Result<(Method, Reader<'_>)> {
        let mut reader = Reader(self.payload);
        Ok(((reader.u16()?, reader.u16()?), reader))
    }
}

/// What a method nobody asked for says to a producer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Notice {
    Blocked,
    Unblocked,
}

/// Judges a method its receiver did not expect.
///
/// # Errors
/// When the broker closes something, cancels the consumer, returns a message, or says what a load never asks for.
pub(crate) fn notice(method: Method, mut arguments: Reader<'_>) -> io::Result<Notice> {
    match method {
        CONNECTION_BLOCKED => Ok(Notice::Blocked),
        CONNECTION_UNBLOCKED => Ok(Notice::Unblocked),
        CONNECTION_CLOSE | CHANNEL_CLOSE => {
            let (code, text) = (arguments.u16()?, arguments.short_string()?);
            let what = if method == CONNECTION_CLOSE { "connection" } else { "channel" };
            Err(io::Error::other(format!("the broker closed the {what}: {code} {text}")))
        }
        BASIC_CANCEL => Err(io::Error::other("the broker cancelled the consumer")),
        BASIC_RETURN => Err(io::Error::other("the broker returned a message")),
        (class, method) => Err(io::Error::other(format!("unexpected method {class}.{method}"))),
    }
}

/// A connection with channel 1.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    input: Box<[u8]>,
    /// The part of `input` that was read and not yet taken.
    start: usize,
    end: usize,
    /// The largest frame agreed on, in bytes.
    pub(crate) frame_max: usize,
    /// The broker's own words, from its server-properties.
    pub(crate) product: String,
    pub(crate) version: String,
}

impl Connection {
    /// Connects and logs in.
    pub(crate) fn open(options: &Options) -> io::Result<Connection> {
        let stream = TcpStream::connect(&options.address)
            .map_err(|error| io::Error::other(format!("{}: {error}", options.address)))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut connection = Connection {
            stream,
            input: vec![0; INPUT_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            frame_max: FRAME_MAX as usize,
            product: "unknown".to_owned(),
            version: "unknown".to_owned(),
        };
        connection.log_in(options)?;
        Ok(connection)
    }

    fn log_in(&mut self, options: &Options) -> io::Result<()> {
        self.send(b"AMQP\0\0\x09\x01")?;
        let start = self.expect((10, 10))?;
        let mut reader = Reader(&start);
        reader.take(2)?; // version 0-9
        let server_properties = reader.long_string()?;
        self.product = string_in_table(server_properties, b"product").unwrap_or_else(|| "unknown".to_owned());
        self.version = string_in_table(server_properties, b"version").unwrap_or_else(|| "unknown".to_owned());

        let mut capabilities = Writer::default();
        capabilities.short_string("connection.blocked").u8(b't').u8(1);
        capabilities.short_string("consumer_cancel_notify").u8(b't').u8(1);
        capabilities.short_string("authentication_failure_close").u8(b't').u8(1); // a reason, not just a hang-up
        let mut properties = Writer::default();
        properties.short_string("product").u8(b'S').long_string(b"load generator");
        properties.short_string("capabilities").u8(b'F').long_string(&capabilities.0);
        let mut start_ok = Writer::method((10, 11));
        let secret = format!("\0{}\0{}", options.user, options.password);
        start_ok
            .long_string(&properties.0)
            .short_string("PLAIN")
            .long_string(secret.as_bytes())
            .short_string("en_US");
        self.send(&frame(FRAME_METHOD, 0, &start_ok.0))?;

        let tune = self.expect((10, 30))?;
        let mut reader = Reader(&tune);
        let (channel_max, frame_max) = (reader.u16()?, reader.u32()?);
        let frame_max = if frame_max == 0 { FRAME_MAX } else { frame_max.min(FRAME_MAX) };
        self.frame_max = frame_max as usize;
        let mut tune_ok = Writer::method((10, 31));
        tune_ok.u16(channel_max).u32(frame_max).u16(0);
        self.send(&frame(FRAME_METHOD, 0, &tune_ok.0))?;
        let mut open = Writer::method((10, 40));
        open.short_string(&options.vhost).short_string("").u8(0);
        self.send(&frame(FRAME_METHOD, 0, &open.0))?;
        self.expect((10, 41))?;
        Ok(())
    }

    /// Opens channel 1, at first or again.
    pub(crate) fn open_channel(&mut self) -> io::Result<()> {
        let mut open = Writer::method((20, 10));
        open.short_string("");
        self.call(&open, (20, 11)).map(drop)
    }

    /// Closes channel 1; when this returns, the broker has handled everything sent on it.
    pub(crate) fn close_channel(&mut self) -> io::Result<()> {
        let mut close = Writer::method(CHANNEL_CLOSE);
        close.u16(200).short_string("done").u16(0).u16(0);
        self.call(&close, (20, 41)).map(drop)
    }

    pub(crate) fn close(&mut self) -> io::Result<()> {
        let mut close = Writer::method(CONNECTION_CLOSE);
        close.u16(200).short_string("done").u16(0).u16(0);
        self.send(&frame(FRAME_METHOD, 0, &close.0))?;
        self.expect((10, 51)).map(drop)
    }

    /// Declares queues, many at a time before their answers are read.
    pub(crate) fn declare_queues(&mut self, queues: &[String], durable: bool) -> io::Result<()> {
        for some in queues.chunks(DECLARES_MAX) {
            let mut bytes = Vec::new();
            for queue in some {
                let mut declare = Writer::method((50, 10));
                declare.u16(0).short_string(queue).u8(if durable { 2 } else { 0 }).u32(0);
                bytes.extend(channel_frame(FRAME_METHOD, &declare.0));
            }
            self.send(&bytes)?;
            some.iter().try_for_each(|_| self.expect((50, 11)).map(drop))?;
        }
        Ok(())
    }

    /// Deletes the queue if it exists, and says how many messages it held.
    pub(crate) fn delete_queue(&mut self, queue: &str) -> io::Result<u32> {
        let mut delete = Writer::method((50, 40));
        delete.u16(0).short_string(queue).u8(0);
        let deleted = self.call(&delete, (50, 41))?;
        Reader(&deleted).u32()
    }

    /// Sends a method on channel 1 and waits for its answer, whose arguments it returns.
    pub(crate) fn call(&mut self, method: &Writer, answer: Method) -> io::Result<Vec<u8>> {
        self.send(&frame(FRAME_METHOD, CHANNEL, &method.0))?;
        self.expect(answer)
    }

    /// Reads up to the method and returns its arguments. A blocked producer is no matter here.
    fn expect(&mut self, expected: Method) -> io::Result<Vec<u8>> {
        let deadline = Instant::now() + STALL;
        loop {
            while let Some(frame) = self.next_frame()? {
                if frame.kind != FRAME_METHOD {
                    continue;
                }
                let (method, arguments) = frame.method()?;
                if method == expected {
                    return Ok(arguments.0.to_vec());
                }
                // A consumer that has enough still gets what was on its way; the broker requeues it.
                if method == BASIC_DELIVER {
                    continue;
                }
                notice(method, arguments)?;
            }
            if !self.fill()? && Instant::now() > deadline {
                return Err(io::Error::other(format!(
                    "no answer {}.{} from the broker",
                    expected.0, expected.1
                )));
            }
        }
    }

    /// Takes the next complete frame out of what was read.
    pub(crate) fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        let unread = &self.input[self.start..self.end];
        if unread.len() < HEADER_BYTES {
            return Ok(None);
        }
        let size = u32::from_be_bytes([unread[3], unread[4], unread[5], unread[6]]) as usize;
        if unread[0] > 8 || size > self.frame_max {
            return Err(io::Error::other(format!("not a frame: {:?}", &unread[..HEADER_BYTES])));
        }
        if unread.len() < HEADER_BYTES + size + 1 {
            return Ok(None);
        }
        if unread[HEADER_BYTES + size] != FRAME_END {
            return Err(io::Error::other("a frame without its end byte"));
        }
        let at = self.start;
        self.start += HEADER_BYTES + size + 1;
        let payload = &self.input[at + HEADER_BYTES..at + HEADER_BYTES + size];
        Ok(Some(Frame { kind: self.input[at], payload }))
    }

    /// Reads what there is, waiting up to [`PATIENCE`]; false if nothing came.
    pub(crate) fn fill(&mut self) -> io::Result<bool> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end > INPUT_BYTES / 2 {
            // A frame is at most a quarter of the buffer, so after this there is always room for its rest.
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        match self.stream.read(&mut self.input[self.end..]) {
            Ok(0) => Err(io::Error::other("the broker closed the socket")),
            Ok(read) => {
                self.end += read;
                Ok(true)
            }
            Err(error) if is_timeout(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Like [`Connection::fill`], without waiting. To be called only with all frames taken.
    pub(crate) fn fill_now(&mut self) -> io::Result<bool> {
        self.stream.set_nonblocking(true)?;
        let filled = self.fill();
        self.stream.set_nonblocking(false)?;
        filled
    }

    /// Writes as much as the socket takes within [`PATIENCE`]; 0 when the broker is not reading.
    pub(crate) fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.stream.write(bytes) {
            Ok(written) => Ok(written),
            Err(error) if is_timeout(&error) => Ok(0),
            Err(error) => Err(self.reason_for(error)),
        }
    }

    /// Writes everything.
    pub(crate) fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let mut deadline = Instant::now() + STALL;
        while !bytes.is_empty() {
            let written = self.write_some(bytes)?;
            bytes = &bytes[written..];
            if written > 0 {
                deadline = Instant::now() + STALL;
            } else if Instant::now() > deadline {
                return Err(io::Error::other("the broker does not read"));
            }
        }
        Ok(())
    }

    /// Why a write failed: a broker that closes says so before it hangs up.
    fn reason_for(&mut self, error: io::Error) -> io::Error {
        while self.fill().unwrap_or(false) {}
        loop {
            match self.next_frame() {
                Ok(Some(frame)) if frame.kind == FRAME_METHOD => {
                    if let Ok((method @ (CONNECTION_CLOSE | CHANNEL_CLOSE), arguments)) = frame.method()
                        && let Err(reason) = notice(method, arguments)
                    {
                        return reason;
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return error,
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// A frame around a payload, on channel 0 or 1.
pub(crate) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Writer::default();
    bytes.u8(kind).u16(channel).long_string(payload).u8(FRAME_END);
    bytes.0
}

/// A frame on the channel every load uses.
pub(crate) fn channel_frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    frame(kind, CHANNEL, payload)
}

/// Appends AMQP values.
#[derive(Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn method((class, method): Method) -> Writer {
        let mut writer = Writer::default();
        writer.u16(class).u16(method);
        writer
    }

    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn short_string(&mut self, text: &str) -> &mut Self {
        self.0.push(u8::try_from(text.len()).expect("the options limit every name to 255 bytes"));
        self.0.extend(text.as_bytes());
        self
    }

    /// Also the form of a table and of a frame: a length in four bytes, then so many bytes.
    pub(crate) fn long_string(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32(u32::try_from(bytes.len()).expect("a payload is limited by frame_max"));
        self.0.extend(bytes);
        self
    }
}

/// Takes AMQP values off the front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, length: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or_else(|| io::Error::other("a frame is too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn u8(&mut self) -> io::Result<u8> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn u16(&mut self) -> io::Result<u16> {
        Ok(u16::from_be_bytes(self.take(2)?.try_into().expect("two bytes were taken")))
    }

    pub(crate) fn u32(&mut self) -> io::Result<u32> {
        Ok(u32::from_be_bytes(self.take(4)?.try_into().expect("four bytes were taken")))
    }

    pub(crate) fn u64(&mut self) -> io::Result<u64> {
        Ok(u64::from_be_bytes(self.take(8)?.try_into().expect("eight bytes were taken")))
    }

    pub(crate) fn short_string(&mut self) -> io::Result<String> {
        let length = self.u8()?;
        Ok(String::from_utf8_lossy(self.take(usize::from(length))?).into_owned())
    }

    fn long_string(&mut self) -> io::Result<&'a [u8]> {
        let length = self.u32()?;
        self.take(length as usize)
    }
}

/// A string of a table, found by its key's bytes: enough for two well-known keys of server-properties.
fn string_in_table(table: &[u8], key: &[u8]) -> Option<String> {
    let entry: Vec<u8> = [&[u8::try_from(key.len()).ok()?], key, b"S"].concat();
    let at = table.windows(entry.len()).position(|window| window == entry)?;
    let value = Reader(&table[at + entry.len()..]).long_string().ok()?;
    Some(String::from_utf8_lossy(value).into_owned())
}
