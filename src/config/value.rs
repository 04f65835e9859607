//! The values of settings: how their texts are read. PURE.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
    time::Duration,
};

/// All interfaces. On a usual Linux this takes IPv4 connections as well; see [`without_ipv6`].
pub(super) const ALL_INTERFACES: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// A text that never shows in logs.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// The least important log lines that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Off,
}

impl LogLevel {
    /// The level as `tracing` names it.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Trace => "trace",
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
            LogLevel::Off => "off",
        }
    }
}

/// RabbitMQ's names of the levels, and `trace`.
pub(super) fn log_level(text: &str) -> Result<LogLevel, String> {
    Ok(match text {
        "trace" => LogLevel::Trace,
        "debug" => LogLevel::Debug,
        "info" | "notice" => LogLevel::Info,
        "warning" | "warn" => LogLevel::Warn,
        "error" | "critical" | "alert" | "emergency" => LogLevel::Error,
        "none" => LogLevel::Off,
        _ => return Err(format!("{text:?} is none of trace, debug, info, warning, error, none")),
    })
}

/// Where to listen instead when a machine has no IPv6: all IPv4 interfaces for all interfaces, else nothing.
pub fn without_ipv6(address: SocketAddr) -> Option<SocketAddr> {
    (address.ip() == ALL_INTERFACES).then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
}

/// An integer from `min` to `max`.
pub(super) fn integer<T>(text: &str, min: T, max: T) -> Result<T, String>
where
    T: FromStr + PartialOrd + fmt::Display,
{
    let value = text.parse::<T>().ok().filter(|value| (&min..=&max).contains(&value));
    value.ok_or_else(|| format!("{text:?} is no integer from {min} to {max}"))
}

/// At least `min`, or `infinity` for none.
pub(super) fn bound(text: &str, min: u64) -> Result<Option<u64>, String> {
    if text == "infinity" {
        return Ok(None);
    }
    let number = text.parse::<u64>().ok().filter(|number| (min..=1 << 53).contains(number));
    number.map(Some).ok_or_else(|| format!("{text:?} is neither an integer from {min} nor infinity"))
}

/// One of these words.
pub(super) fn one_of(text: &str, words: &[&str]) -> Result<String, String> {
    match words.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is none of {}", words.join(", "))),
    }
}

/// A time of at least 1 ms and at most 10 years: milliseconds, or a number with a unit.
pub(super) fn duration_ms(text: &str) -> Result<u64, String> {
    const MAX_MS: u64 = 10 * 365 * 24 * 3_600_000;
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: Option<u64> = match unit.trim_start() {
        "" | "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(24 * 3_600_000),
        "w" => Some(7 * 24 * 3_600_000),
        _ => None,
    };
    let value =
        number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    let value = value.filter(|ms| (1..=MAX_MS).contains(ms));
    value.ok_or_else(|| format!("{text:?} is no time of up to 10 years, as 1000, 10s or 5m"))
}

/// A positive number of milliseconds.
pub(super) fn milliseconds(text: &str) -> Result<Duration, String> {
    integer(text, 1, u64::from(u32::MAX)).map(Duration::from_millis)
}

/// `true` or `false`.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("{text:?} is neither true nor false"))
}

/// `none`, the only value that a list as a whole can have.
pub(super) fn none(text: &str) -> Result<(), String> {
    if text == "none" { Ok(()) } else { Err(format!("{text:?} is not `none`")) }
}

/// A part of a whole, above 0 and up to 1.
pub(super) fn fraction(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|value| *value > 0.0 && *value <= 1.0);
    value.ok_or_else(|| format!("{text:?} is no number above 0 and up to 1"))
}

/// A part or a multiple of a whole, above 0.
pub(super) fn multiple(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|value| *value > 0.0 && *value <= 1000.0);
    value.ok_or_else(|| format!("{text:?} is no number above 0"))
}

/// A number of bytes with RabbitMQ's units: `k`, `KiB`, `M`, `MiB`, … are powers of 1024, `kB`, `MB`, … of 1000.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: Option<u64> = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "k" | "ki" | "kib" => Some(1 << 10),
        "m" | "mi" | "mib" => Some(1 << 20),
        "g" | "gi" | "gib" => Some(1 << 30),
        "t" | "ti" | "tib" => Some(1 << 40),
        "kb" => Some(1_000),
        "mb" => Some(1_000_000),
        "gb" => Some(1_000_000_000),
        "tb" => Some(1_000_000_000_000),
        _ => None,
    };
    let value =
        number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    value.ok_or_else(|| format!("{text:?} is no number of bytes, as 1000000, 512MiB or 2GB"))
}

/// An address to listen on: `5672`, `127.0.0.1:5672` or `[::1]:5672`; a port alone means all interfaces.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let (ip_text, port_text) = split_address(text);
    Ok(SocketAddr::new(ip_text.map_or(Ok(ALL_INTERFACES), ip)?, port(port_text)?))
}

/// The two parts of an address, unchecked: the host, if there is one, and the port.
pub(super) fn split_address(text: &str) -> (Option<&str>, &str) {
    match text.rsplit_once(':') {
        Some((host, port)) => (Some(host), port),
        None => (None, text),
    }
}

/// An IP address, in brackets or not. Names are not looked up, but for `localhost`.
pub(super) fn ip(text: &str) -> Result<IpAddr, String> {
    if text == "localhost" {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    inner.parse().map_err(|_| format!("{text:?} is no IP address (names are not looked up)"))
}

/// A port; 0 lets the system choose one.
pub(super) fn port(text: &str) -> Result<u16, String> {
    integer(text, 0, u16::MAX)
}

/// A text that must not be empty.
pub(super) fn text(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("the value is missing".into()) } else { Ok(text.to_owned()) }
}

/// A name of vhosts and users: at most 255 bytes.
pub(super) fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > crate::name::SHORT_STRING_BYTES_MAX {
        return Err("must have 1 to 255 bytes".into());
    }
    Ok(text.to_owned())
}

/// A path of HTTP, without what would mean something else there.
pub(super) fn path(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    if text.starts_with('/') && text.chars().all(is_plain) && !text.contains("//") {
        Ok(text.to_owned())
    } else {
        Err(format!("'{text}' is not a path: it begins with / and has letters, digits and -._~"))
    }
}

/// A regular expression, as it was written.
pub(super) fn pattern(text: &str) -> Result<String, String> {
    match regex::Regex::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!("{text:?} is no regular expression")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_rabbitmqs_units() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1048576", Some(1 << 20)),
            ("50MB", Some(50_000_000)),
            ("50 MiB", Some(50 << 20)),
            ("2G", Some(2 << 30)),
            ("2kB", Some(2_000)),
            ("2k", Some(2_048)),
            ("1TB", Some(1_000_000_000_000)),
            ("", None),
            ("MB", None),
            ("1.5GB", None),
            ("-1", None),
            ("1XB", None),
            ("99999999999TB", None),
        ] {
            assert_eq!(bytes(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn addresses_are_ports_or_ip_and_port() {
        for (text, expected) in [
            ("5672", Some("[::]:5672")),
            ("0", Some("[::]:0")),
            ("127.0.0.1:5673", Some("127.0.0.1:5673")),
            ("localhost:0", Some("127.0.0.1:0")),
            ("[::1]:5672", Some("[::1]:5672")),
            ("::1:5672", Some("[::1]:5672")),
            ("example.org:5672", None),
            ("127.0.0.1", None),
            ("127.0.0.1:70000", None),
            ("", None),
        ] {
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(address(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn only_all_interfaces_have_a_fallback_without_ipv6() {
        let fallback = |text: &str| without_ipv6(text.parse().unwrap()).map(|address| address.to_string());
        assert_eq!(fallback("[::]:5672"), Some("0.0.0.0:5672".into()));
        assert_eq!(fallback("[::1]:5672"), None);
        assert_eq!(fallback("0.0.0.0:5672"), None);
    }

    #[test]
    fn a_secret_does_not_show() {
        assert_eq!(format!("{:?}", Secret("hunter2".into())), "[secret]");
    }
}
