//! Settings: sockets of clients, logins, and the HTTP API beyond its address.

use super::super::setting::{PLAIN, Setting};
use super::super::{Config, Secret, value};

/// Options of AMQP sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct SocketOptions {
    /// Connections that wait to be accepted.
    pub backlog: u32,
    /// Whether small writes are sent at once.
    pub nodelay: bool,
    pub keepalive: bool,
    /// Whether closing waits for what is not sent yet, and for how long.
    pub linger: bool,
    pub linger_s: u32,
    /// None = as the system has it.
    pub send_buffer_bytes: Option<u32>,
    pub receive_buffer_bytes: Option<u32>,
}

/// What the HTTP API says beside its answers, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Http {
    /// Before every path; empty or with a slash at its start and none at its end.
    pub path_prefix: String,
    /// Whose pages may ask; `*` = everybody's.
    pub cors_allow_origins: Vec<String>,
    /// How long a browser may remember that, in seconds.
    pub cors_max_age_s: u32,
    /// How long a session lasts.
    pub session_minutes: u32,
    /// Empty = not sent.
    pub csp: String,
    /// Empty = not sent.
    pub hsts: String,
}

const MECHANISMS: &[&str] = &["PLAIN", "AMQPLAIN", "ANONYMOUS"];

fn mechanism(config: &mut Config, text: &str) -> Result<(), String> {
    match value::one_of(text, MECHANISMS) {
        Ok(name) if config.auth_mechanisms.contains(&name) => {}
        Ok(name) => config.auth_mechanisms.push(name),
        Err(reason) => {
            return Err(format!("{reason}: take the line away, or no client of that kind can log in"));
        }
    }
    Ok(())
}

/// A value of a header.
fn header(text: &str) -> Result<String, String> {
    match text.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
        true => Ok(text.to_owned()),
        false => Err("a header has printable ASCII characters only".into()),
    }
}

fn path_prefix(text: &str) -> Result<String, String> {
    let prefix = text.trim_matches('/');
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
    if !prefix.chars().all(is_plain) || prefix.contains("//") {
        return Err(format!("{text:?} is no path of letters, digits and -._~/"));
    }
    Ok(if prefix.is_empty() { String::new() } else { format!("/{prefix}") })
}

pub(super) const SOCKETS: &[Setting] = &[
    Setting {
        key: "tcp_listen_options.backlog",
        default: "1024",
        unit: "connections",
        doc: "How many connections may wait to be accepted; the kernel bounds it, too (`net.core.somaxconn`).",
        set: |config, _, text| value::integer(text, 1, 65_535).map(|n| config.sockets.backlog = n),
        ..PLAIN
    },
    Setting {
        key: "tcp_listen_options.nodelay",
        default: "true",
        unit: "true or false",
        doc: "Whether small writes are sent at once (TCP_NODELAY). Without it a delivery may wait for the ack of the one before.",
        is_live: true,
        set: |config, _, text| value::boolean(text).map(|is_on| config.sockets.nodelay = is_on),
        ..PLAIN
    },
    Setting {
        key: "tcp_listen_options.keepalive",
        default: "false",
        unit: "true or false",
        doc: "Whether the kernel asks idle peers whether they are there (SO_KEEPALIVE). Heartbeats do, too.",
        is_live: true,
        set: |config, _, text| value::boolean(text).map(|is_on| config.sockets.keepalive = is_on),
        ..PLAIN
    },
    Setting {
        key: "tcp_listen_options.linger.on",
        default: "false",
        unit: "true or false",
        doc: "Whether closing a socket minds `linger.timeout` (SO_LINGER).",
        is_live: true,
        set: |config, _, text| value::boolean(text).map(|is_on| config.sockets.linger = is_on),
        ..PLAIN
    },
    Setting {
        key: "tcp_listen_options.linger.timeout",
        default: "0",
        unit: "seconds",
        doc: "0 drops what is not sent yet and resets the connection; anything else leaves it to the kernel, which sends it.",
        is_live: true,
        set: |config, _, text| value::integer(text, 0, 3_600).map(|time| config.sockets.linger_s = time),
        ..PLAIN
    },
    Setting {
        key: "tcp_listen_options.sndbuf",
        unit: "bytes",
        doc: "The kernel's buffer for what is sent (SO_SNDBUF); not set = it finds a size itself.",
        set: |config, _, text| {
            value::integer(text, 1024, 1 << 30).map(|bytes| config.sockets.send_buffer_bytes = Some(bytes))
        },
        ..PLAIN
    },
    Setting {
        key: "tcp_listen_options.recbuf",
        unit: "bytes",
        doc: "The kernel's buffer for what is received (SO_RCVBUF); not set = it finds a size itself.",
        set: |config, _, text| {
            value::integer(text, 1024, 1 << 30).map(|bytes| config.sockets.receive_buffer_bytes = Some(bytes))
        },
        ..PLAIN
    },
    Setting {
        key: "auth_mechanisms.*",
        default: "PLAIN AMQPLAIN",
        default_name: "1",
        unit: "PLAIN, AMQPLAIN or ANONYMOUS",
        doc: "How clients may log in, in the order in which they are offered: one for each entry, or several with spaces. With ANONYMOUS whoever can connect is `anonymous_login_user`.",
        is_list: true,
        is_live: true,
        set: |config, _, text| text.split_whitespace().try_for_each(|name| mechanism(config, name)),
        ..PLAIN
    },
    Setting {
        key: "anonymous_login_user",
        default: "guest",
        unit: "user, or none",
        doc: "Who a client is that logs in with ANONYMOUS; `none` refuses them all.",
        is_live: true,
        set: |config, _, text| value::name(text).map(|name| config.anonymous_login_user = name),
        ..PLAIN
    },
    Setting {
        key: "anonymous_login_pass",
        default: "guest",
        unit: "password",
        doc: "That user's password: a login fails if it is another.",
        is_live: true,
        is_secret: true,
        set: |config, _, text| {
            value::text(text).map(|password| config.anonymous_login_pass = Secret(password))
        },
        ..PLAIN
    },
    Setting {
        key: "management.path_prefix",
        unit: "path",
        doc: "What stands before every path of the HTTP API, as `/rabbit`.",
        set: |config, _, text| path_prefix(text).map(|prefix| config.http.path_prefix = prefix),
        ..PLAIN
    },
    Setting {
        key: "management.login_session_timeout",
        default: "480",
        unit: "minutes",
        doc: "How long somebody who logged in with a form stays logged in.",
        is_live: true,
        set: |config, _, text| {
            value::integer(text, 1, 525_600).map(|minutes| config.http.session_minutes = minutes)
        },
        ..PLAIN
    },
    Setting {
        key: "management.cors.allow_origins.*",
        unit: "origin, or *",
        doc: "Whose pages may ask the HTTP API from a browser, as `https://example.org`; `*` = everybody's.",
        is_list: true,
        is_live: true,
        set: |config, _, text| header(text).map(|origin| config.http.cors_allow_origins.push(origin)),
        ..PLAIN
    },
    Setting {
        key: "management.cors.max_age",
        default: "1800",
        unit: "seconds",
        doc: "How long a browser may remember that.",
        is_live: true,
        set: |config, _, text| value::integer(text, 0, 1 << 30).map(|time| config.http.cors_max_age_s = time),
        ..PLAIN
    },
    Setting {
        key: "management.csp.policy",
        unit: "header",
        doc: "The `content-security-policy` of answers; not set = none is sent.",
        is_live: true,
        set: |config, _, text| header(text).map(|policy| config.http.csp = policy),
        ..PLAIN
    },
    Setting {
        key: "management.hsts.policy",
        unit: "header",
        doc: "The `strict-transport-security` of answers; not set = none is sent.",
        is_live: true,
        set: |config, _, text| header(text).map(|policy| config.http.hsts = policy),
        ..PLAIN
    },
];
