//! A connection's socket: its input buffer, vectored writes, and waiting for whatever comes first.

use crate::amqp::frame::Output;
use crate::broker::connections::Traffic;
use crate::outbox::Outbox;
use crate::time::{self, Duration, Instant};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Sleep;

/// The input buffer of a quiet connection, in bytes.
const INPUT_BYTES_MIN: usize = 4 * 1024;
/// The input buffer of a busy one; a single frame may need more.
const INPUT_BYTES_MAX: usize = 256 * 1024;
/// How many slices one write takes.
const SLICES_MAX: usize = 32;
/// How long the end of a connection may take: the last bytes out, and the peer's last bytes in.
const FINISH_TIME: Duration = Duration::from_secs(2);

/// What a turn waits for, beyond events and deadlines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wants {
    pub(super) to_read: bool,
    /// The output is to be reported as written also when it went out at once.
    pub(super) to_know_when_written: bool,
}

/// What happened while waiting.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    pub(super) received: bool,
    pub(super) sent: bool,
}

/// A stream with its input buffer.
pub(super) struct Socket<S> {
    stream: S,
    traffic: Arc<Traffic>,
    /// Read and not yet consumed: `buffer[start..end]`.
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// The last read filled the buffer: more is wanted.
    was_filled: bool,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub(super) fn new(stream: S, traffic: Arc<Traffic>) -> Self {
        let buffer = vec![0; INPUT_BYTES_MIN].into_boxed_slice();
        Self { stream, traffic, buffer, start: 0, end: 0, was_filled: false, sleep: None }
    }

    /// What was read and not consumed.
    pub(super) fn input(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Forgets the first bytes of the input.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// The connection is quiet: a small buffer will do.
    pub(super) fn rest(&mut self) {
        if self.start == self.end && self.buffer.len() > INPUT_BYTES_MIN {
            self.buffer = vec![0; INPUT_BYTES_MIN].into_boxed_slice();
        }
    }

    /// Makes room for the next read: what is left moves to the front; a buffer that was filled, or holds one unfinished
    /// frame alone, doubles.
    fn make_room(&mut self) {
        let holds_one_frame = self.start == 0 && self.end == self.buffer.len();
        if holds_one_frame || (self.was_filled && self.buffer.len() < INPUT_BYTES_MAX) {
            let mut larger = vec![0; self.buffer.len() * 2].into_boxed_slice();
            let left = self.end - self.start;
            larger[..left].copy_from_slice(&self.buffer[self.start..self.end]);
            (self.buffer, self.start, self.end) = (larger, 0, left);
        } else if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        self.was_filled = false;
    }

    /// Writes what there is to write and waits until something was read, the outbox was woken, output that was stuck
    /// got out, or the deadline came.
    ///
    /// # Errors
    /// Those of the socket; `UnexpectedEof` when the peer closed it.
    pub(super) async fn wait(
        &mut self,
        output: &mut Output,
        outbox: &Outbox,
        wants: Wants,
        deadline: Option<Instant>,
    ) -> io::Result<Done> {
        if wants.to_read {
            self.make_room();
        }
        self.set_deadline(deadline);
        let mut woken = pin!(outbox.woken());
        let mut done = Done::default();
        // What was left undone for want of room is done in the next turn: it must come once the room is there.
        let mut is_awaited = wants.to_know_when_written;
        poll_fn(|cx| {
            if !output.is_empty() {
                match self.poll_flush(output, cx, &mut done)? {
                    Poll::Ready(()) if is_awaited => return Poll::Ready(Ok(done)),
                    Poll::Ready(()) => {}
                    Poll::Pending => is_awaited = true,
                }
            }
            if wants.to_read && self.poll_read(cx)?.is_ready() {
                done.received = true;
                return Poll::Ready(Ok(done));
            }
            if woken.as_mut().poll(cx).is_ready() || self.poll_deadline(cx).is_ready() {
                return Poll::Ready(Ok(done));
            }
            Poll::Pending
        })
        .await
    }

    /// A timer is armed only for what comes earlier than it would go off anyway: heartbeats move with every read.
    fn set_deadline(&mut self, deadline: Option<Instant>) {
        let Some(deadline) = deadline.map(tokio::time::Instant::from_std) else {
            self.sleep = None;
            return;
        };
        match &mut self.sleep {
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(deadline))),
            Some(sleep) if sleep.is_elapsed() || deadline < sleep.deadline() => {
                sleep.as_mut().reset(deadline)
            }
            Some(_) => {}
        }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().map_or(Poll::Pending, |sleep| sleep.as_mut().poll(cx))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut free = ReadBuf::new(&mut self.buffer[self.end..]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut free))?;
        let read = free.filled().len();
        if read == 0 {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the client")));
        }
        self.was_filled = free.remaining() == 0;
        self.end += read;
        self.traffic.received(read);
        Poll::Ready(Ok(()))
    }

    fn poll_flush(
        &mut self,
        output: &mut Output,
        cx: &mut Context<'_>,
        done: &mut Done,
    ) -> io::Result<Poll<()>> {
        while !output.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = output.slices(&mut slices);
            match Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..count]) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(written) => {
                    let written = written?;
                    if written == 0 {
                        return Err(io::ErrorKind::WriteZero.into());
                    }
                    output.advance(written);
                    self.traffic.sent(written);
                    done.sent = true;
                }
            }
        }
        Ok(Poll::Ready(()))
    }

    /// Writes what the socket takes at once. Returns whether it may take more; a failure shows again when it is waited for.
    pub(super) async fn write_now(&mut self, output: &mut Output) -> bool {
        let mut done = Done::default();
        let flushed = poll_fn(|cx| Poll::Ready(self.poll_flush(output, cx, &mut done))).await;
        matches!(flushed, Ok(Poll::Ready(())))
    }

    /// Reads and forgets until the peer goes or the time comes.
    pub(super) async fn ignore_until(&mut self, deadline: Instant) {
        let ignore = async { while matches!(self.stream.read(&mut self.buffer).await, Ok(1..)) {} };
        let _ = tokio::time::timeout_at(deadline.into(), ignore).await;
    }

    /// The end: what is to be said goes out, then our half closes, then the peer may finish. A socket that is closed
    /// with bytes unread would take our last words back.
    pub(super) async fn finish(&mut self, output: &mut Output) {
        let deadline = time::now() + FINISH_TIME;
        let say = async {
            let mut done = Done::default();
            poll_fn(|cx| match self.poll_flush(output, cx, &mut done) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
                Err(error) => Poll::Ready(Err(error)),
            })
            .await?;
            self.stream.shutdown().await
        };
        if let Ok(Ok(())) = tokio::time::timeout_at(deadline.into(), say).await {
            self.ignore_until(deadline).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::ConnectionId;
    use tokio::io::duplex;

    fn parts() -> (Socket<tokio::io::DuplexStream>, tokio::io::DuplexStream, Output, Outbox) {
        let (ours, theirs) = duplex(1 << 16);
        (Socket::new(ours, Arc::default()), theirs, Output::default(), Outbox::new(ConnectionId(1)))
    }

    #[tokio::test]
    async fn a_turn_that_left_work_for_want_of_room_goes_on_once_the_output_is_written() {
        let (mut socket, _theirs, mut output, outbox) = parts();
        output.raw(&[1; 100]);
        let wants = Wants { to_read: true, to_know_when_written: true };
        let waited =
            tokio::time::timeout(Duration::from_secs(10), socket.wait(&mut output, &outbox, wants, None));
        assert!(waited.await.expect("no event is needed").unwrap().sent);
        assert!(output.is_empty());
    }

    #[tokio::test]
    async fn a_frame_larger_than_the_buffer_is_read_whole() {
        let (mut socket, mut theirs, mut output, outbox) = parts();
        let sent: Vec<u8> = (0..50_000u32).map(|i| i as u8).collect();
        theirs.write_all(&sent).await.unwrap();
        let wants = Wants { to_read: true, to_know_when_written: false };
        while socket.input().len() < sent.len() {
            assert!(socket.wait(&mut output, &outbox, wants, None).await.unwrap().received);
        }
        assert_eq!(socket.input(), sent);
        socket.consume(sent.len());
        socket.rest();
        assert_eq!(socket.buffer.len(), INPUT_BYTES_MIN);
    }

    #[tokio::test]
    async fn the_peers_end_is_an_unexpected_eof() {
        let (mut socket, theirs, mut output, outbox) = parts();
        drop(theirs);
        let wants = Wants { to_read: true, to_know_when_written: false };
        let error = socket.wait(&mut output, &outbox, wants, None).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
