//! The handshake's contents: protocol headers, server-properties, SASL responses, the limits of tune. PURE.

use super::exception::{Exception, ReplyCode};
use super::frame::FRAME_MIN_BYTES;
use crate::arguments::{self, Table, Value};
use crate::name::UserName;

/// The only protocol header spoken here, and the answer to all others.
pub const PROTOCOL_HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";
/// 0-9 as some old clients write it; RabbitMQ takes it for 0-9-1.
const PROTOCOL_HEADER_0_9: &[u8; 8] = b"AMQP\x01\x01\x00\x09";
/// The mechanisms offered unless others are configured, as `connection.start` has them.
pub const MECHANISMS: &str = "PLAIN AMQPLAIN";
/// The mechanism of clients that do not say who they are.
pub const ANONYMOUS: &str = "ANONYMOUS";
/// What the broker calls itself; clients show it and some decide by it (behaviour.md, 1.3).
pub const PRODUCT: &str = "Warren";

/// What the node allows a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The highest channel number and the most open channels; 0 = 65,535.
    pub channel_max: u16,
    /// The largest frame in bytes, all of it; 0 = no limit.
    pub frame_max: u32,
    /// The heartbeat proposed, in seconds; 0 = off.
    pub heartbeat_s: u16,
    /// The largest body, in bytes.
    pub message_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { channel_max: 2047, frame_max: 131_072, heartbeat_s: 60, message_bytes_max: 16 * 1024 * 1024 }
    }
}

/// Whether these eight bytes ask for AMQP 0-9-1.
pub fn is_supported(header: &[u8; 8]) -> bool {
    header == PROTOCOL_HEADER || header == PROTOCOL_HEADER_0_9
}

/// The table of `connection.start`.
pub fn server_properties(cluster_name: &str) -> Table {
    let capabilities = [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ];
    let mut table = Table::default();
    let mut supported = Table::default();
    for name in capabilities {
        supported.insert(name.into(), Value::Boolean(true));
    }
    let texts = [
        ("cluster_name", cluster_name),
        ("copyright", "Copyright the Warren authors"),
        ("information", "Licensed under the Apache License 2.0"),
        ("platform", "Rust"),
        ("product", PRODUCT),
        ("version", env!("CARGO_PKG_VERSION")),
    ];
    table.insert("capabilities".into(), Value::FieldTable(supported));
    for (name, text) in texts {
        table.insert(name.into(), Value::LongString(text.into()));
    }
    table
}

/// What the client said of itself in `connection.start-ok`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientProperties(pub Table);

impl ClientProperties {
    /// Whether the client announced a capability.
    pub fn has(&self, capability: &str) -> bool {
        let Some(Value::FieldTable(capabilities)) = arguments::get(&self.0, "capabilities") else {
            return false;
        };
        arguments::get(capabilities, capability) == Some(&Value::Boolean(true))
    }

    /// The name the client gave its connection.
    pub fn connection_name(&self) -> Option<&str> {
        arguments::get(&self.0, "connection_name").and_then(arguments::as_text)
    }
}

/// Who wants to log in.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Credentials {
    pub mechanism: String,
    pub user: UserName,
    pub password: Vec<u8>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({} {:?})", self.mechanism, self.user)
    }
}

/// Reads a SASL response. With ANONYMOUS user and password are empty: who that is, the node decides.
///
/// # Errors
/// 503 for a mechanism that is not offered, 403 (closing the connection) for a response that is none.
pub fn credentials(offered: &str, mechanism: &str, response: &[u8]) -> Result<Credentials, Exception> {
    let is_offered = offered.split(' ').any(|own| own == mechanism);
    if !is_offered {
        let text = format!("unknown authentication mechanism '{mechanism}'");
        return Err(Exception::new(ReplyCode::CommandInvalid, text));
    }
    let pair = match mechanism {
        ANONYMOUS => Some((UserName::new(""), Vec::new())),
        "PLAIN" => plain(response),
        "AMQPLAIN" => amqplain(response),
        _ => None,
    };
    match pair {
        Some((user, password)) => Ok(Credentials { mechanism: mechanism.into(), user, password }),
        None => Err(login_refused(mechanism)),
    }
}

/// The one text of every refused login: it never says why.
pub fn login_refused(mechanism: &str) -> Exception {
    let text = format!(
        "Login was refused using authentication mechanism {mechanism}. For details see the broker logfile."
    );
    Exception::new(ReplyCode::AccessRefused, text).hard()
}

/// `authzid NUL user NUL password`; the first is ignored, as RabbitMQ does.
fn plain(response: &[u8]) -> Option<(UserName, Vec<u8>)> {
    let mut parts = response.splitn(3, |byte| *byte == 0);
    let (_authorization, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    Some((user_name(user)?, password.to_vec()))
}

/// A field table without its length, with LOGIN and PASSWORD.
fn amqplain(response: &[u8]) -> Option<(UserName, Vec<u8>)> {
    let mut bytes = u32::try_from(response.len()).ok()?.to_be_bytes().to_vec();
    bytes.extend_from_slice(response);
    let table = arguments::parse_table(&bytes).ok()?;
    let text = |key| match arguments::get(&table, key) {
        Some(Value::LongString(text)) => Some(text.as_bytes().to_vec()),
        _ => None,
    };
    Some((user_name(&text("LOGIN")?)?, text("PASSWORD")?))
}

fn user_name(bytes: &[u8]) -> Option<UserName> {
    UserName::checked(std::str::from_utf8(bytes).ok()?).ok()
}

/// What both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Tuned {
    pub channel_max: u16,
    pub frame_max: u32,
    pub heartbeat_s: u16,
}

/// Checks `connection.tune-ok` against what was offered.
///
/// # Errors
/// 530 NOT_ALLOWED with RabbitMQ's texts. Frames from 4096 bytes are accepted, as the specification says.
pub fn tune(limits: &Limits, channel_max: u16, frame_max: u32, heartbeat_s: u16) -> Result<Tuned, Exception> {
    negotiated("frame_max", limits.frame_max, frame_max, FRAME_MIN_BYTES)?;
    negotiated("channel_max", limits.channel_max.into(), channel_max.into(), 0)?;
    let or_all = |value: u16| if value == 0 { u16::MAX } else { value };
    // No limit at all still is one: a frame must fit into memory.
    let frame_max = if frame_max == 0 { FRAME_UNLIMITED_BYTES } else { frame_max };
    Ok(Tuned { channel_max: or_all(channel_max), frame_max, heartbeat_s })
}

/// What "no limit" means for frames.
const FRAME_UNLIMITED_BYTES: u32 = 128 * 1024 * 1024;

fn negotiated(name: &str, offered: u32, chosen: u32, least: u32) -> Result<(), Exception> {
    let refused = |text: String| Err(Exception::new(ReplyCode::NotAllowed, text));
    if chosen == 0 && offered != 0 {
        let text =
            format!("negotiated {name} = 0 (no limit) is higher than the maximum allowed value ({offered})");
        return refused(text);
    }
    if chosen != 0 && chosen < least {
        return refused(format!(
            "negotiated {name} = {chosen} is lower than the minimum allowed value ({least})"
        ));
    }
    if offered != 0 && chosen > offered {
        return refused(format!(
            "negotiated {name} = {chosen} is higher than the maximum allowed value ({offered})"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_amqplain_yield_user_and_password() {
        let plain = credentials(MECHANISMS, "PLAIN", b"ignored\0me\0pass\0word").unwrap();
        assert_eq!((plain.user.as_str(), &plain.password[..]), ("me", &b"pass\0word"[..]));
        let response = b"\x05LOGINS\0\0\0\x02me\x08PASSWORDS\0\0\0\x01x";
        let amqplain = credentials(MECHANISMS, "AMQPLAIN", response).unwrap();
        assert_eq!((amqplain.user.as_str(), &amqplain.password[..]), ("me", &b"x"[..]));
    }

    #[test]
    fn other_mechanisms_and_malformed_responses_are_refused() {
        for (offered, mechanism) in [(MECHANISMS, "EXTERNAL"), (MECHANISMS, ANONYMOUS), ("AMQPLAIN", "PLAIN")]
        {
            let error = credentials(offered, mechanism, b"").unwrap_err();
            assert_eq!(error.code, ReplyCode::CommandInvalid, "{offered} {mechanism}");
        }
        assert!(credentials("PLAIN ANONYMOUS", ANONYMOUS, b"").is_ok());
        let error = credentials(MECHANISMS, "PLAIN", b"me").unwrap_err();
        assert_eq!((error.code, error.closes_connection), (ReplyCode::AccessRefused, true));
        assert!(credentials(MECHANISMS, "AMQPLAIN", b"\x05LOGINS\0\0").is_err());
    }

    #[test]
    fn tune_refuses_what_is_beyond_the_offer() {
        let limits = Limits::default();
        let text = |channel_max, frame_max| tune(&limits, channel_max, frame_max, 0).unwrap_err().text;
        assert_eq!(
            text(1, 4095),
            "negotiated frame_max = 4095 is lower than the minimum allowed value (4096)"
        );
        assert_eq!(
            text(2048, 4096),
            "negotiated channel_max = 2048 is higher than the maximum allowed value (2047)"
        );
        assert_eq!(
            text(1, 0),
            "negotiated frame_max = 0 (no limit) is higher than the maximum allowed value (131072)"
        );
        assert!(tune(&limits, 2047, 4096, 5).is_ok());
    }
}
