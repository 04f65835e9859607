//! Heartbeats: when to send one, and when the peer is gone (AMQP 0-9-1, 4.2.7). PURE.

use crate::time::{Duration, Instant};

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// A heartbeat frame.
    Send,
    /// Nothing came for two intervals: close the socket, without a frame.
    PeerIsGone,
}

/// The heartbeat of an open connection.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    interval: Duration,
    last_sent: Instant,
    last_received: Instant,
}

impl Heartbeat {
    /// A heartbeat of the negotiated interval; `None` for 0, which turns it off.
    pub fn new(interval_s: u16, now: Instant) -> Option<Self> {
        let interval = Duration::from_secs(interval_s.into());
        (interval_s > 0).then_some(Self { interval, last_sent: now, last_received: now })
    }

    /// Bytes were written.
    pub fn sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    /// Bytes were read, or reading was paused by us: silence is not the peer's fault.
    pub fn received(&mut self, now: Instant) {
        self.last_received = now;
    }

    /// When [`Heartbeat::due`] must be asked next.
    pub fn next_deadline(&self) -> Instant {
        (self.last_sent + self.interval / 2).min(self.last_received + self.interval * 2)
    }

    /// What is due now.
    pub fn due(&self, now: Instant) -> Due {
        if now >= self.last_received + self.interval * 2 {
            Due::PeerIsGone
        } else if now >= self.last_sent + self.interval / 2 {
            Due::Send
        } else {
            Due::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_sent_after_half_the_interval_and_the_peer_is_gone_after_two() {
        let start = crate::time::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut heartbeat = Heartbeat::new(2, start).unwrap();
        assert_eq!(heartbeat.due(at(999)), Due::Nothing);
        assert_eq!(heartbeat.due(at(1000)), Due::Send);
        heartbeat.sent(at(1000));
        assert_eq!(heartbeat.next_deadline(), at(2000));
        heartbeat.sent(at(3900));
        assert_eq!(heartbeat.due(at(3999)), Due::Nothing);
        assert_eq!(heartbeat.due(at(4000)), Due::PeerIsGone);
        heartbeat.received(at(4000));
        assert_eq!(heartbeat.due(at(4000)), Due::Nothing);
        assert!(Heartbeat::new(0, start).is_none());
    }
}
