//! A message and its content properties. PURE.
//!
//! The properties stay the bytes the publisher sent (AMQP 0-9-1, 4.2.6.1: a word of flags, then the values whose flag
//! is set) and are read only where something asks, so that delivering copies and never re-encodes. A message is made
//! once and shared by all queues it reached.

use crate::arguments::{self, Table, TableError};
use crate::name::ExchangeName;
use crate::time::Millis;

/// Why bytes are no property list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertiesError {
    /// A value points beyond the bytes there are.
    #[error("truncated content properties")]
    Truncated,
    /// Bytes are left behind the last value.
    #[error("content properties have trailing bytes")]
    Trailing,
    /// A flag is set that no property of class basic has.
    #[error("unknown content property flag")]
    UnknownFlag,
    /// The headers are no field table.
    #[error("{0}")]
    Headers(#[from] TableError),
}

/// The content properties of class basic, each as the bytes of its value without its length.
///
/// `headers` keeps its four bytes of length, as [`arguments::parse_table`] wants it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the names are the specification's
pub struct Properties<'a> {
    pub content_type: Option<&'a [u8]>,
    pub content_encoding: Option<&'a [u8]>,
    pub headers: Option<&'a [u8]>,
    pub delivery_mode: Option<u8>,
    pub priority: Option<u8>,
    pub correlation_id: Option<&'a [u8]>,
    pub reply_to: Option<&'a [u8]>,
    pub expiration: Option<&'a [u8]>,
    pub message_id: Option<&'a [u8]>,
    pub timestamp: Option<u64>,
    pub kind: Option<&'a [u8]>,
    pub user_id: Option<&'a [u8]>,
    pub app_id: Option<&'a [u8]>,
    pub cluster_id: Option<&'a [u8]>,
}

/// Bits of [`Message::property_flags`] for the properties the broker itself looks at.
#[allow(missing_docs)]
pub mod flag {
    pub const HEADERS: u16 = 1 << 13;
    pub const PRIORITY: u16 = 1 << 11;
    pub const REPLY_TO: u16 = 1 << 9;
    pub const EXPIRATION: u16 = 1 << 8;
    pub const USER_ID: u16 = 1 << 4;
}

/// A persistent message's delivery mode; every other value is transient.
const PERSISTENT: u8 = 2;
/// The flags of the two properties most publishers set and nothing else: the hot path's short cut.
const ONLY_DELIVERY_MODE: u16 = 1 << 12;

impl<'a> Properties<'a> {
    /// Reads a whole property list: flags, then values, nothing behind.
    ///
    /// # Errors
    /// Any [`PropertiesError`]; the headers are checked to their last byte, so that parsing them later is safe.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PropertiesError> {
        let mut at = Reader(bytes);
        let flags = u16::from_be_bytes(at.take()?);
        let mut properties = Properties::default();
        if flags == 0 && at.0.is_empty() {
            return Ok(properties);
        }
        if flags == ONLY_DELIVERY_MODE && at.0.len() == 1 {
            properties.delivery_mode = Some(at.0[0]);
            return Ok(properties);
        }
        if flags & 0b11 != 0 {
            return Err(PropertiesError::UnknownFlag);
        }
        let has = |bit: u16| flags & (1 << bit) != 0;
        properties.content_type = at.short_string(has(15))?;
        properties.content_encoding = at.short_string(has(14))?;
        properties.headers = at.table(has(13))?;
        properties.delivery_mode = at.octet(has(12))?;
        properties.priority = at.octet(has(11))?;
        properties.correlation_id = at.short_string(has(10))?;
        properties.reply_to = at.short_string(has(9))?;
        properties.expiration = at.short_string(has(8))?;
        properties.message_id = at.short_string(has(7))?;
        properties.timestamp = at.long_long(has(6))?;
        properties.kind = at.short_string(has(5))?;
        properties.user_id = at.short_string(has(4))?;
        properties.app_id = at.short_string(has(3))?;
        properties.cluster_id = at.short_string(has(2))?;
        if at.0.is_empty() { Ok(properties) } else { Err(PropertiesError::Trailing) }
    }

    /// Writes the list: flags, then the values that are there.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0, 0]);
        let mut flags = 0u16;
        let mut mark = |bit: u16, there: bool| {
            flags |= u16::from(there) << bit;
            there
        };
        write_short_string(out, mark(15, self.content_type.is_some()), self.content_type);
        write_short_string(out, mark(14, self.content_encoding.is_some()), self.content_encoding);
        if mark(13, self.headers.is_some()) {
            out.extend_from_slice(self.headers.unwrap_or(&[0; 4]));
        }
        if mark(12, self.delivery_mode.is_some()) {
            out.push(self.delivery_mode.unwrap_or(0));
        }
        if mark(11, self.priority.is_some()) {
            out.push(self.priority.unwrap_or(0));
        }
        write_short_string(out, mark(10, self.correlation_id.is_some()), self.correlation_id);
        write_short_string(out, mark(9, self.reply_to.is_some()), self.reply_to);
        write_short_string(out, mark(8, self.expiration.is_some()), self.expiration);
        write_short_string(out, mark(7, self.message_id.is_some()), self.message_id);
        if mark(6, self.timestamp.is_some()) {
            out.extend_from_slice(&self.timestamp.unwrap_or(0).to_be_bytes());
        }
        write_short_string(out, mark(5, self.kind.is_some()), self.kind);
        write_short_string(out, mark(4, self.user_id.is_some()), self.user_id);
        write_short_string(out, mark(3, self.app_id.is_some()), self.app_id);
        write_short_string(out, mark(2, self.cluster_id.is_some()), self.cluster_id);
        out[start..start + 2].copy_from_slice(&flags.to_be_bytes());
    }

    /// The properties that are short strings, by RabbitMQ's names for them.
    pub fn texts(&self) -> [(&'static str, Option<&'a [u8]>); 10] {
        [
            ("content_type", self.content_type),
            ("content_encoding", self.content_encoding),
            ("correlation_id", self.correlation_id),
            ("reply_to", self.reply_to),
            ("expiration", self.expiration),
            ("message_id", self.message_id),
            ("type", self.kind),
            ("user_id", self.user_id),
            ("app_id", self.app_id),
            ("cluster_id", self.cluster_id),
        ]
    }

    /// The headers, parsed; an empty table when there are none.
    ///
    /// # Errors
    /// [`TableError`], for a list that [`Properties::parse`] did not check.
    pub fn parse_headers(&self) -> Result<Table, TableError> {
        self.headers.map_or_else(|| Ok(Table::default()), arguments::parse_table)
    }

    /// Whether the publisher asked for the message to survive a restart.
    pub fn is_persistent(&self) -> bool {
        self.delivery_mode == Some(PERSISTENT)
    }
}

fn write_short_string(out: &mut Vec<u8>, there: bool, value: Option<&[u8]>) {
    let value = value.unwrap_or_default();
    if there {
        let length = value.len().min(255);
        out.push(u8::try_from(length).unwrap_or(u8::MAX));
        out.extend_from_slice(&value[..length]);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], PropertiesError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(PropertiesError::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], PropertiesError> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(PropertiesError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    fn short_string(&mut self, there: bool) -> Result<Option<&'a [u8]>, PropertiesError> {
        if !there {
            return Ok(None);
        }
        let [length] = self.take()?;
        self.slice(length as usize).map(Some)
    }

    fn octet(&mut self, there: bool) -> Result<Option<u8>, PropertiesError> {
        if there { self.take::<1>().map(|[octet]| Some(octet)) } else { Ok(None) }
    }

    fn long_long(&mut self, there: bool) -> Result<Option<u64>, PropertiesError> {
        if there { self.take().map(|bytes| Some(u64::from_be_bytes(bytes))) } else { Ok(None) }
    }

    fn table(&mut self, there: bool) -> Result<Option<&'a [u8]>, PropertiesError> {
        if !there {
            return Ok(None);
        }
        let length = arguments::check_table(self.0)?;
        self.slice(length).map(Some)
    }
}

/// A message: where it was published, its properties as sent, and its body. Immutable.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The exchange it was published to; the empty name is the default exchange.
    pub exchange: ExchangeName,
    /// Whether it is to survive a restart (in a durable queue): delivery mode 2.
    pub is_persistent: bool,
    /// The priority property.
    pub priority: Option<u8>,
    /// What its headers say of its deaths is the broker's own word; what a publisher writes there means nothing.
    pub is_dead_letter: bool,
    /// When it was published; its time to live counts from then, also after a restart.
    pub received_at: Millis,
    routing_key_bytes: u8,
    properties_bytes: u32,
    /// Routing key, properties, body: one allocation.
    content: Box<[u8]>,
}

impl Message {
    /// A message of its parts.
    ///
    /// `properties` is a whole property list that [`Properties::parse`] has accepted, `parsed` what it returned;
    /// `body` may come in pieces, as the frames brought it. A routing key is at most 255 bytes.
    pub fn new(
        exchange: ExchangeName,
        routing_key: &[u8],
        properties: &[u8],
        parsed: &Properties<'_>,
        body: &[&[u8]],
    ) -> Self {
        debug_assert!(routing_key.len() <= 255, "a routing key is a short string");
        let body_bytes: usize = body.iter().map(|part| part.len()).sum();
        let mut content = Vec::with_capacity(routing_key.len() + properties.len() + body_bytes);
        content.extend_from_slice(routing_key);
        content.extend_from_slice(properties);
        body.iter().for_each(|part| content.extend_from_slice(part));
        Self {
            exchange,
            is_persistent: parsed.is_persistent(),
            priority: parsed.priority,
            is_dead_letter: false,
            received_at: Millis::default(),
            routing_key_bytes: routing_key.len() as u8,
            properties_bytes: properties.len() as u32,
            content: content.into_boxed_slice(),
        }
    }

    /// The same message, published at that time.
    #[must_use]
    pub fn at(self, received_at: Millis) -> Self {
        Self { received_at, ..self }
    }

    /// The same message, whose headers the broker wrote.
    #[must_use]
    pub fn as_dead_letter(self) -> Self {
        Self { is_dead_letter: true, ..self }
    }

    /// The same message with another property list, which [`Properties::parse`] accepts.
    pub fn with_properties(&self, properties: &[u8]) -> Self {
        let parsed = Properties::parse(properties).unwrap_or_default();
        let is_dead_letter = self.is_dead_letter;
        let message =
            Self::new(self.exchange.clone(), self.routing_key(), properties, &parsed, &[self.body()]);
        Self { is_dead_letter, ..message.at(self.received_at) }
    }

    /// The same message with these headers, too, instead of any of the same names.
    pub fn with_headers(&self, added: impl IntoIterator<Item = (&'static str, arguments::Value)>) -> Self {
        let properties = self.properties();
        // What is no table was refused when the message came in.
        let mut headers = properties.parse_headers().unwrap_or_default();
        for (name, value) in added {
            headers.insert(name.into(), value);
        }
        let headers = arguments::write_table(&headers);
        let mut raw = Vec::new();
        Properties { headers: Some(&headers), ..properties }.write(&mut raw);
        self.with_properties(&raw)
    }

    /// The key it was published with.
    pub fn routing_key(&self) -> &[u8] {
        &self.content[..self.routing_key_bytes as usize]
    }

    /// The property list as it goes on the wire behind a content header's body size.
    pub fn raw_properties(&self) -> &[u8] {
        &self.content[self.routing_key_bytes as usize..self.body_start()]
    }

    /// The flags of the property list: which properties there are, content-type first at bit 15.
    pub fn property_flags(&self) -> u16 {
        self.raw_properties().first_chunk().map_or(0, |flags| u16::from_be_bytes(*flags))
    }

    /// The properties, read anew.
    pub fn properties(&self) -> Properties<'_> {
        Properties::parse(self.raw_properties()).unwrap_or_default()
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.content[self.body_start()..]
    }

    /// How long the publisher wants it to live, in milliseconds from [`Message::received_at`].
    pub fn time_to_live_ms(&self) -> Option<u64> {
        if self.property_flags() & flag::EXPIRATION == 0 {
            return None;
        }
        std::str::from_utf8(self.properties().expiration?).ok()?.parse().ok()
    }

    /// What the message occupies in memory, about.
    pub fn memory_bytes(&self) -> usize {
        self.content.len() + std::mem::size_of::<Self>()
    }

    fn body_start(&self) -> usize {
        self.routing_key_bytes as usize + self.properties_bytes as usize
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Message({:?} {:?}, {} bytes)",
            self.exchange,
            String::from_utf8_lossy(self.routing_key()),
            self.body().len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_come_back_as_they_were_written() {
        let headers = [0, 0, 0, 4, 1, b'a', b't', 1];
        let properties = Properties {
            content_type: Some(b"text/plain"),
            headers: Some(&headers),
            delivery_mode: Some(2),
            timestamp: Some(7),
            cluster_id: Some(b""),
            ..Properties::default()
        };
        let mut raw = Vec::new();
        properties.write(&mut raw);
        assert_eq!(Properties::parse(&raw), Ok(properties));
    }

    #[test]
    fn truncated_trailing_and_unknown_properties_are_refused() {
        assert_eq!(Properties::parse(&[0x10]), Err(PropertiesError::Truncated));
        assert_eq!(Properties::parse(&[0x10, 0]), Err(PropertiesError::Truncated));
        assert_eq!(Properties::parse(&[0, 0, 1]), Err(PropertiesError::Trailing));
        assert_eq!(Properties::parse(&[0, 1, 0]), Err(PropertiesError::UnknownFlag));
        assert_eq!(Properties::parse(&[0x80, 0, 9, b'a']), Err(PropertiesError::Truncated));
    }

    #[test]
    fn a_message_keeps_its_three_parts_apart() {
        let raw = [0x10, 0, 2];
        let parsed = Properties::parse(&raw).unwrap();
        let message = Message::new("x".into(), b"key", &raw, &parsed, &[b"he", b"llo"]);
        assert_eq!(message.routing_key(), b"key");
        assert_eq!(message.raw_properties(), raw);
        assert_eq!(message.body(), b"hello");
        assert!(message.is_persistent);
    }
}
