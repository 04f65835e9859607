//! Spans for messages that carry a trace: what the broker did with them, as part of the trace that their publisher began.
//!
//! A message is traced if it has the header `traceparent` (W3C Trace Context). Of each such message four spans are made,
//! children of that one: `publish` with `route` in it, `deliver`, and `settle`, from the delivery to the ack. The headers go on
//! as they are, so consumers join the same trace. Messages without the header cost a look at whether they have headers.
//!
//! All of this is there with the feature `otel` only. Without it [`Tracer`] and what it gives are empty types: the calls to them
//! are compiled to nothing.

#[cfg(feature = "otel")]
mod spans;
#[cfg(feature = "otel")]
pub use spans::{Outstanding, StartError, Traced, Tracer};

#[cfg(not(feature = "otel"))]
mod nothing;
#[cfg(not(feature = "otel"))]
pub use nothing::{Outstanding, StartError, Traced, Tracer};

use crate::message::Message;
use crate::name::{QueueId, Sequence};
use std::sync::Arc;

/// How a publish ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// In so many queues.
    Routed(usize),
    /// In none.
    Unroutable,
    /// A full queue did not take it.
    Rejected,
}

impl Published {
    /// In so many queues, or in none.
    pub fn routed(queues: usize) -> Self {
        if queues == 0 { Self::Unroutable } else { Self::Routed(queues) }
    }
}

/// A delivery of a traced message.
#[derive(Debug)]
pub struct Delivered {
    /// Its trace.
    pub traced: Traced,
    /// The message.
    pub message: Arc<Message>,
    /// Its place, if it will be settled.
    pub from: Option<(QueueId, Sequence)>,
    /// Whether it was delivered before.
    pub redelivered: bool,
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It was acked.
    Acked,
    /// It was rejected for good.
    Discarded,
    /// It went back to its queue.
    Requeued,
}

impl Settled {
    /// As an attribute has it.
    #[cfg(feature = "otel")]
    fn name(self) -> &'static str {
        match self {
            Self::Acked => "ack",
            Self::Discarded => "reject",
            Self::Requeued => "requeue",
        }
    }
}
