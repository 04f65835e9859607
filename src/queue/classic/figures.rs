//! What people are shown of a queue.

/// What a queue has done since the node started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Counters {
    pub published: u64,
    pub delivered: u64,
    pub delivered_no_ack: u64,
    pub redelivered: u64,
    pub got: u64,
    pub got_no_ack: u64,
    pub acked: u64,
    /// Messages whose record could not be read any more.
    pub lost: u64,
    /// Messages that a full queue did not take.
    pub rejected: u64,
    /// Messages that had come before, and were not taken again.
    pub duplicates: u64,
    /// Messages that left without being consumed, by [`Reason`](crate::dead_letter::Reason).
    pub left: [u64; 4],
}

/// What a queue holds now, for people and for `declare-ok`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Figures {
    pub ready: usize,
    pub unacked: usize,
    pub ready_bytes: u64,
    pub unacked_bytes: u64,
    /// Ready messages that are on disk only.
    pub paged: usize,
    /// What messages take of memory, about.
    pub memory_bytes: u64,
    /// Dead letters on their way.
    pub leaving: usize,
    /// Messages that came back and are not ready yet.
    pub held: usize,
    pub consumers: usize,
    /// When the queue goes, if nobody uses it until then.
    pub lease_until: Option<crate::time::Millis>,
    pub counters: Counters,
}
