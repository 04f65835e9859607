//! A scenario: one behaviour, driven by raw clients, that asserts what Warren answers.
//!
//! Each is a test of its own against Warren. The differential test drives the same functions against Warren and against
//! RabbitMQ without asserting, and compares the transcripts.

use super::broker::{self, Target};
use super::http;
use super::login::Login;
use super::raw::Client;
use super::trace::Trace;
use serde_json::Value;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A scenario's surroundings. Names that begin with `~` are its own: no other scenario sees them.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) target: Target,
    pub(crate) trace: Rc<Trace>,
    clients: Cell<u8>,
}

/// A scenario's function.
pub(crate) type Body = fn(&Scenario);

static SCENARIOS: AtomicU32 = AtomicU32::new(0);

impl Scenario {
    /// A scenario against a broker.
    pub(crate) fn new(target: Target, is_strict: bool) -> Self {
        let number = SCENARIOS.fetch_add(1, Ordering::Relaxed);
        // Of one width: some names are as long as names may be.
        let prefix = format!("it{}-{number:05}-", std::process::id());
        let is_rabbitmq = target.is_rabbitmq;
        Self {
            target,
            trace: Rc::new(Trace { prefix, is_strict, is_rabbitmq, ..Trace::default() }),
            clients: Cell::new(0),
        }
    }

    /// The same scenario against another broker, or the same one restarted.
    pub(crate) fn moved(&self, target: Target) -> Self {
        Self { target, trace: self.trace.clone(), clients: self.clients.clone() }
    }

    /// A TCP connection.
    pub(crate) fn socket(&self) -> Client {
        let number = self.clients.replace(self.clients.get() + 1);
        let label = if number == 0 { String::new() } else { format!("client {}: ", number + 1) };
        Client::new(self.target.amqp, self.trace.clone(), label)
    }

    /// A connection as some user.
    pub(crate) fn connect(&self, login: &Login) -> Client {
        let mut client = self.socket();
        client.handshake(login);
        client
    }

    /// A connection as guest to `/` with channel 1 open.
    pub(crate) fn open(&self) -> Client {
        self.open_as(&Login::default())
    }

    /// A connection as some user with channel 1 open.
    pub(crate) fn open_as(&self, login: &Login) -> Client {
        let mut client = self.connect(login);
        client.open_channel(1);
        client
    }

    /// Writes down whether something holds; it should.
    pub(crate) fn note(&self, what: &str, holds: bool) {
        self.trace.saw("", &format!("{what}: true"), &format!("{what}: {holds}"));
    }

    /// A request of the HTTP API, as guest. The scenario's names may stand in path and body.
    pub(crate) fn http(&self, method: &str, path: &str, body: &str) -> u16 {
        self.answer(method, path, body).0
    }

    fn answer(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let address = self.target.management.expect("the broker has an HTTP API");
        let expand = |text: &str| text.replace('~', &self.trace.prefix);
        http::request(address, method, &expand(path), "guest:guest", &expand(body))
    }

    /// What is at a path, with the scenario's names as they stand in it.
    pub(crate) fn shown(&self, path: &str) -> Value {
        let (status, body) = self.answer("GET", path, "");
        let shown = serde_json::from_str(&body.replace(&self.trace.prefix, "~"));
        shown.unwrap_or_else(|error| panic!("GET {path}: {status}, {error}: {body}"))
    }

    /// Sets something that may be there already.
    pub(crate) fn set(&self, path: &str, body: &Value) {
        let (status, answer) = self.answer("PUT", path, &body.to_string());
        assert!(matches!(status, 201 | 204), "PUT {path} {body}: {status} {answer}");
        self.let_it_spread();
    }

    /// Clears what was set.
    pub(crate) fn unset(&self, path: &str) {
        self.forget(&[path]);
        self.let_it_spread();
    }

    /// In RabbitMQ, what is set is in force a little later, and nothing says when.
    pub(crate) fn let_it_spread(&self) {
        if self.target.is_rabbitmq {
            std::thread::park_timeout(std::time::Duration::from_millis(300));
        }
    }

    /// Makes a user whose password is their name, with permissions in `/`: configure, write, read.
    pub(crate) fn user(&self, user: &str, tags: &str, permissions: Option<[&str; 3]>) {
        let body = format!(r#"{{"password": "{user}", "tags": "{tags}"}}"#);
        assert_eq!(self.http("PUT", &format!("/api/users/{user}"), &body), 201);
        if let Some(permissions) = permissions {
            self.permit(user, "%2F", permissions);
        }
    }

    /// Sets a user's permissions in a vhost.
    pub(crate) fn permit(&self, user: &str, vhost: &str, [configure, write, read]: [&str; 3]) {
        let body = format!(r#"{{"configure": "{configure}", "write": "{write}", "read": "{read}"}}"#);
        let status = self.http("PUT", &format!("/api/permissions/{vhost}/{user}"), &body);
        assert!(matches!(status, 201 | 204), "PUT permissions: {status}");
    }

    /// Makes a vhost in which guest may do everything.
    pub(crate) fn vhost(&self, vhost: &str) {
        assert_eq!(self.http("PUT", &format!("/api/vhosts/{vhost}"), "{}"), 201);
        self.permit("guest", vhost, [".*", ".*", ".*"]);
    }

    /// Deletes what the scenario made over the HTTP API.
    pub(crate) fn forget(&self, paths: &[&str]) {
        for path in paths {
            assert_eq!(self.http("DELETE", path, ""), 204, "DELETE {path}");
        }
    }
}

/// Runs a scenario against the shared Warren, strictly.
pub(crate) fn run(body: Body) {
    body(&Scenario::new(broker::shared(), true));
}

/// Makes a test of each function, and a list of them all for the differential test.
macro_rules! scenarios {
    ($($name:ident),+ $(,)?) => {
        mod in_warren {
            $(#[test] fn $name() { $crate::support::scenario::run(super::$name); })+
        }
        pub(crate) const ALL: &[(&str, $crate::support::scenario::Body)] = &[$((stringify!($name), $name)),+];
    };
}
pub(crate) use scenarios;
