//! Names and ids: cheap to clone, impossible to swap for one another. PURE.
//!
//! Names are short strings of at most 255 bytes (AMQP 0-9-1, 4.2.5.3); the bound is checked where they enter,
//! by [`NameError`], not on every clone.

use serde::{Deserialize, Serialize};
use std::{borrow::Borrow, fmt, sync::Arc};

/// The longest short string, in bytes.
pub const SHORT_STRING_BYTES_MAX: usize = 255;

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Longer than a short string can be.
    #[error("name of {0} bytes is longer than 255 bytes")]
    TooLong(usize),
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(Arc<str>);

        impl $type {
            /// The name without a check of its length; for texts that came from a short string.
            pub fn new(text: &str) -> Self {
                Self(Arc::from(text))
            }

            /// The name, or why `text` is none.
            /// # Errors
            /// [`NameError::TooLong`] above 255 bytes.
            pub fn checked(text: &str) -> Result<Self, NameError> {
                if text.len() > SHORT_STRING_BYTES_MAX {
                    return Err(NameError::TooLong(text.len()));
                }
                Ok(Self::new(text))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether the name is the empty string.
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $type {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name!(
    /// A virtual host: a name space of exchanges, queues and bindings.
    VhostName
);
name!(
    /// An exchange within its vhost; the empty name is the default exchange.
    ExchangeName
);
name!(
    /// A queue within its vhost.
    QueueName
);
name!(
    /// The key of a binding. (A message's routing key is bytes: clients may send what is not UTF-8.)
    BindingKey
);
name!(
    /// A user of the broker.
    UserName
);
name!(
    /// A policy within its vhost; users' and operators' are apart.
    PolicyName
);
name!(
    /// What a runtime parameter is for: `shovel`, `federation-upstream`, …
    Component
);
name!(
    /// A runtime parameter within its vhost and component, or a global one.
    ParameterName
);
name!(
    /// A consumer's tag, unique within its channel.
    ConsumerTag
);

macro_rules! id {
    ($(#[$doc:meta])* $type:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(pub $inner);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

id!(
    /// A channel's number within its connection: 1 to channel_max.
    ChannelId(u16)
);
id!(
    /// A delivery's number within its channel, from 1 (AMQP 0-9-1, basic.deliver).
    DeliveryTag(u64)
);
id!(
    /// A queue, never reused on a node, also not after a restart.
    QueueId(u64)
);
id!(
    /// A message's place within its queue: grows by one, never reused.
    Sequence(u64)
);
id!(
    /// A connection, unique while the node runs.
    ConnectionId(u64)
);
id!(
    /// A consumer, unique while the node runs.
    ConsumerId(u64)
);

/// A message's byte position in the node's journal; 0 = not in the journal.
///
/// Positions grow with every record and are never reused: the number counts the bytes ever appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

impl Position {
    /// The position of what was never written.
    pub const NONE: Position = Position(0);

    /// Whether a record stands there.
    pub fn is_some(self) -> bool {
        self.0 != 0
    }
}
