//! Which broker the load goes to: an AMQP URI, or the host and the login of the admin tool's own options.

use super::super::{Context, Failure};
use amq_protocol::uri::{AMQPScheme, AMQPUri};

/// The port of AMQP without TLS.
const AMQP_PORT: u16 = 5672;

/// A broker, and who logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) vhost: String,
}

impl Target {
    /// The broker that the URI names, or else the one that the admin tool's options do.
    ///
    /// # Errors
    /// [`Failure::Usage`] for what is no AMQP URI, or asks for TLS.
    pub(super) fn new(uri: Option<&str>, context: &Context<'_>) -> Result<Self, Failure> {
        match uri {
            Some(uri) => Self::parse(uri),
            None => Ok(Self {
                host: context.host.trim_matches(['[', ']']).to_owned(),
                port: AMQP_PORT,
                user: context.login.user.clone(),
                password: context.login.password.clone(),
                vhost: context.vhost.clone(),
            }),
        }
    }

    fn parse(uri: &str) -> Result<Self, Failure> {
        let parsed: AMQPUri = uri.parse().map_err(|error| {
            Failure::Usage(format!(
                "--uri is no AMQP URI ({error}); one looks like amqp://guest:guest@127.0.0.1:5672/%2f"
            ))
        })?;
        if parsed.scheme == AMQPScheme::AMQPS {
            return Err(Failure::Usage("--uri: TLS (amqps) is not supported; use amqp://".into()));
        }
        let AMQPUri { authority, vhost, .. } = parsed;
        let host = ipv6_host(uri).map_or(authority.host, str::to_owned);
        let (user, password) = (authority.userinfo.username, authority.userinfo.password);
        Ok(Self { host, port: authority.port, user, password, vhost })
    }

    /// As error texts have it.
    pub(super) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// The host of a URI that has an IPv6 address: amq-protocol takes any of them for localhost.
fn ipv6_host(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let (_, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    host.strip_prefix('[')?.split_once(']').map(|(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_may_leave_out_what_is_usual() {
        let usual = Target {
            host: "localhost".into(),
            port: 5672,
            user: "guest".into(),
            password: "guest".into(),
            vhost: "/".into(),
        };
        assert_eq!(Target::parse("amqp://localhost").unwrap(), usual);
        let other = Target {
            host: "::1".into(),
            port: 5999,
            user: "a b".into(),
            password: "@".into(),
            vhost: "v/1".into(),
        };
        assert_eq!(Target::parse("amqp://a%20b:%40@[::1]:5999/v%2F1").unwrap(), other);
        assert_eq!(other.address(), "[::1]:5999");
    }

    #[test]
    fn what_is_no_amqp_uri_is_refused_with_an_example() {
        for (uri, expected) in [("http://localhost", "amqp://guest"), ("amqps://localhost", "TLS")] {
            let Err(Failure::Usage(text)) = Target::parse(uri) else { panic!("{uri} is refused") };
            assert!(text.contains(expected), "{text}");
        }
    }
}
