//! What is there instead of spans without the feature `otel`: types of no size, and calls that do nothing.

use super::{Delivered, Published, Settled};
use crate::message::Message;
use crate::name::{QueueId, Sequence};

/// Traces nothing.
#[derive(Clone, Debug, Default)]
pub struct Tracer(());

/// Why no tracer can be made.
#[derive(Debug, thiserror::Error)]
#[error(
    "this Warren is built without OpenTelemetry: build it with `--features otel`, or take the setting out"
)]
pub struct StartError;

/// A message that is traced: there is none.
#[derive(Debug)]
pub enum Traced {}

impl Tracer {
    /// A tracer that exports to a collector.
    /// # Errors
    /// Always: the feature is missing.
    pub fn start(_endpoint: &str, _node: &str) -> Result<Self, StartError> {
        Err(StartError)
    }

    /// The message as a traced one, if it is.
    #[inline]
    pub fn trace(&self, _message: &Message) -> Option<Traced> {
        None
    }

    /// Sends what is left to be sent.
    pub fn stop(&self) {}
}

impl Traced {
    /// It is known which queues it goes to.
    pub fn routed(&mut self) {
        match *self {}
    }

    /// It has been published.
    pub fn published(self, _tracer: &Tracer, _message: &Message, _how: Published) {
        match self {}
    }
}

/// Deliveries of traced messages that are not settled.
#[derive(Debug, Default)]
pub struct Outstanding(());

impl Outstanding {
    /// A message is handed to a consumer.
    pub fn delivered(&mut self, _tracer: &Tracer, delivered: Delivered) {
        match delivered.traced {}
    }

    /// Deliveries are settled.
    #[inline]
    pub fn settled(&mut self, _tracer: &Tracer, _queue: QueueId, _sequences: &[Sequence], _how: Settled) {}
}
