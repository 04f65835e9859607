//! The HTTP API as the commands see it: paths of unescaped parts in, JSON out, every answer that is no success a
//! [`Failure`].

use super::{
    failure::Failure,
    socket::{NoResolver, SocketConnector},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;
use ureq::{Agent, Body, RequestBuilder, SendBody, http::Response};

/// How many objects are asked for at a time: the most that RabbitMQ's API gives.
const PAGE_SIZE: usize = 500;
/// What needs no escape in a part of a path.
const UNESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Who asks.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

/// Where the HTTP API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// On a port.
    Address {
        /// A name or an IP address.
        host: String,
        /// Its TCP port.
        port: u16,
    },
    /// On a Unix socket, whose broker knows by itself who asks.
    Socket {
        /// The file.
        path: PathBuf,
        /// Whether a login was given nevertheless, which counts then.
        has_login: bool,
    },
}

/// A client of one node.
pub(super) struct Client {
    agent: Agent,
    endpoint: Endpoint,
    /// As URLs have it.
    authority: String,
    /// What stands before the paths: `/api`.
    root: String,
    user: String,
    authorization: Option<String>,
}

impl Client {
    /// A client of what is at the endpoint, below `root`: `/api`, with a prefix or without.
    pub(super) fn new(endpoint: Endpoint, root: &str, login: &Login, timeout: Duration) -> Client {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .timeout_global(Some(timeout))
            .build();
        let (agent, authority, has_login) = match &endpoint {
            Endpoint::Address { host, port } => {
                // An IPv6 address needs brackets in front of a port.
                let is_bare_ipv6 = host.contains(':') && !host.starts_with('[');
                let host = if is_bare_ipv6 { format!("[{host}]") } else { host.clone() };
                (config.into(), format!("{host}:{port}"), true)
            }
            Endpoint::Socket { path, has_login } => {
                let agent = Agent::with_parts(config, SocketConnector(path.clone()), NoResolver);
                (agent, "localhost".to_owned(), *has_login)
            }
        };
        let credentials = BASE64_STANDARD.encode(format!("{}:{}", login.user, login.password));
        Client {
            agent,
            endpoint,
            authority,
            root: root.to_owned(),
            user: login.user.clone(),
            authorization: has_login.then(|| format!("Basic {credentials}")),
        }
    }

    /// A client of the same node that logs in as somebody.
    pub(super) fn logged_in_as(&self, login: &Login, timeout: Duration) -> Client {
        let endpoint = match self.endpoint.clone() {
            Endpoint::Socket { path, .. } => Endpoint::Socket { path, has_login: true },
            endpoint => endpoint,
        };
        Client::new(endpoint, &self.root, login, timeout)
    }

    /// The object at a path.
    pub(super) fn get(&self, path: &[&str]) -> Result<Value, Failure> {
        self.get_query(path, &[])
    }

    /// Creates or replaces the object at a path.
    pub(super) fn put(&self, path: &[&str], body: &Value) -> Result<(), Failure> {
        let request = self.authorized(self.agent.put(self.url(path)));
        let request = request.header("content-type", "application/json");
        self.answer(path, request.send(body.to_string())).map(drop)
    }

    /// Sends an object to a path; the answer, or null if there is none.
    pub(super) fn post(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        let text = body.to_string();
        self.post_text(path, &mut text.as_bytes(), text.len() as u64)
    }

    /// Sends JSON of that many bytes to a path as it is read; the answer, or null if there is none.
    pub(super) fn post_text(
        &self,
        path: &[&str],
        text: &mut dyn Read,
        length: u64,
    ) -> Result<Value, Failure> {
        let request = self.authorized(self.agent.post(self.url(path)));
        let request = request.header("content-type", "application/json").header("content-length", length);
        let mut text = text;
        let text = self.answer(path, request.send(SendBody::from_reader(&mut text)))?;
        if text.is_empty() {
            Ok(Value::Null)
        } else {
            serde_json::from_str(&text).map_err(|_| self.no_broker())
        }
    }

    /// Deletes the object at a path.
    pub(super) fn delete(&self, path: &[&str]) -> Result<(), Failure> {
        self.delete_if(path, &[], None)
    }

    /// Deletes the object at a path, on the conditions of the query, and says why.
    pub(super) fn delete_if(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        reason: Option<&str>,
    ) -> Result<(), Failure> {
        let mut request = self.authorized(self.agent.delete(self.url(path)));
        if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
            // Headers are a line of plain characters.
            let reason: String = reason.chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }).collect();
            request = request.header("x-reason", reason);
        }
        self.answer(path, request.query_pairs(query.iter().copied()).call()).map(drop)
    }

    /// The list at a path, a page at a time; `columns` are the fields that are wanted.
    pub(super) fn pages<'a>(&'a self, path: &'a [&'a str], columns: &str) -> Pages<'a> {
        Pages { client: self, path, columns: columns.to_owned(), next: Some(1) }
    }

    /// One page of the list at a path.
    pub(super) fn page(
        &self,
        path: &[&str],
        columns: &str,
        page: u64,
        size: u64,
    ) -> Result<Vec<Value>, Failure> {
        let (page, size) = (page.to_string(), size.to_string());
        let query = [("page", page.as_str()), ("page_size", &size), ("columns", columns)];
        self.get_query(path, &query).and_then(|answer| self.items(answer)).map(|(items, _)| items)
    }

    /// The items of a list's answer, and how many pages there are.
    fn items(&self, answer: Value) -> Result<(Vec<Value>, u64), Failure> {
        match answer {
            // Lists that have no pages come as they are.
            Value::Array(items) => Ok((items, 1)),
            mut answer => {
                let pages = answer["page_count"].as_u64().unwrap_or(0);
                match answer.get_mut("items").map(Value::take) {
                    Some(Value::Array(items)) => Ok((items, pages)),
                    _ => Err(self.no_broker()),
                }
            }
        }
    }

    /// The object at a path, as the query wants it.
    pub(super) fn get_query(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, Failure> {
        let request = self.authorized(self.agent.get(self.url(path)));
        let text = self.answer(path, request.query_pairs(query.iter().copied()).call())?;
        serde_json::from_str(&text).map_err(|_| self.no_broker())
    }

    /// The object at a path as the text it is sent in, to be read piece by piece.
    pub(super) fn get_text(&self, path: &[&str]) -> Result<impl Read + use<>, Failure> {
        let request = self.authorized(self.agent.get(self.url(path)));
        let answer = request.call().map_err(|error| self.unreachable(&error))?;
        if answer.status().is_success() {
            return Ok(answer.into_body().into_with_config().limit(u64::MAX).reader());
        }
        Err(self.answer(path, Ok(answer)).map_or_else(|failure| failure, |_| self.no_broker()))
    }

    fn authorized<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.authorization {
            Some(authorization) => request.header("authorization", authorization),
            None => request,
        }
    }

    /// Where the HTTP API is, for people.
    pub(super) fn address(&self) -> String {
        match &self.endpoint {
            Endpoint::Address { .. } => self.authority.clone(),
            Endpoint::Socket { path, .. } => path.display().to_string(),
        }
    }

    fn url(&self, path: &[&str]) -> String {
        let parts: String =
            path.iter().map(|part| format!("/{}", utf8_percent_encode(part, UNESCAPED))).collect();
        format!("{}{parts}", self.base())
    }

    /// The address that all paths are below.
    pub(super) fn base(&self) -> String {
        format!("http://{}{}", self.authority, self.root)
    }

    /// The body of a successful answer.
    fn answer(&self, path: &[&str], answer: Result<Response<Body>, ureq::Error>) -> Result<String, Failure> {
        let mut response = answer.map_err(|error| self.unreachable(&error))?;
        let body = response.body_mut().with_config().limit(u64::MAX).read_to_string();
        let body = body.map_err(|error| self.unreachable(&error))?;
        let error: Value = serde_json::from_str(&body).unwrap_or_default();
        let reason = reason_of(&error);
        Err(match response.status().as_u16() {
            200..=299 => return Ok(body),
            401 if text(&error, "error") == "not_authorised" => {
                let reason = reason.trim_end_matches('.').to_lowercase();
                Failure::AccessRefused { user: self.user.clone(), reason }
            }
            401 if self.authorization.is_none() => Failure::SocketRefused(self.address()),
            401 => Failure::LoginRefused(self.user.clone()),
            404 if error.is_object() => Failure::NotFound(path.join("/")),
            503 if text(&error, "status") == "failed" => Failure::Check(check_of(&error, &reason)),
            status @ (400 | 412 | 413) => match reason.as_str() {
                "" => Failure::Data(format!("the broker refused this (status {status})")),
                reason => Failure::Data(reason.to_owned()),
            },
            405 if !reason.is_empty() => Failure::Data(reason),
            300..=499 => self.no_broker(),
            status => Failure::Broker(format!(
                "the broker at {} failed with status {status} {reason}; see its log",
                self.address()
            )),
        })
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let address = self.address();
        let reason = match error {
            ureq::Error::Timeout(_) => return Failure::Timeout(address),
            ureq::Error::Protocol(_) | ureq::Error::Http(_) => return self.no_broker(),
            ureq::Error::Io(error) => error.to_string(),
            error => error.to_string(),
        };
        match self.endpoint {
            Endpoint::Address { .. } => Failure::Unavailable { address, reason },
            Endpoint::Socket { .. } => Failure::NoSocket { address, reason },
        }
    }

    fn no_broker(&self) -> Failure {
        Failure::Broker(format!(
            "what answers at {} is no HTTP API of a broker; is --port the management port (15672)?",
            self.address()
        ))
    }
}

/// A list that is fetched as it is read.
pub(super) struct Pages<'a> {
    client: &'a Client,
    path: &'a [&'a str],
    columns: String,
    next: Option<usize>,
}

impl Iterator for Pages<'_> {
    type Item = Result<Vec<Value>, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        let page = self.next.take()?;
        let (number, size) = (page.to_string(), PAGE_SIZE.to_string());
        let query = [("page", number.as_str()), ("page_size", &size), ("columns", &self.columns)];
        let answer = self.client.get_query(self.path, &query);
        match answer.and_then(|answer| self.client.items(answer)) {
            // The list became shorter while it was read.
            Err(Failure::Data(reason)) if page > 1 && reason.starts_with("Page out of range") => None,
            Err(failure) => Some(Err(failure)),
            Ok((items, pages)) => {
                self.next = ((page as u64) < pages).then_some(page + 1);
                Some(Ok(items))
            }
        }
    }
}

/// The text under a dotted path, or the empty text.
pub(super) fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    at(object, path).as_str().unwrap_or_default()
}

/// The text under a key, or the empty text.
pub(super) fn text_of<'a>(object: &'a Map<String, Value>, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The value under a dotted path, or null.
pub(super) fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(object, |value, key| &value[key])
}

/// An error's reason in one line, also where RabbitMQ makes it a list.
fn reason_of(error: &Value) -> String {
    match &error["reason"] {
        Value::Null => String::new(),
        Value::String(reason) => reason.split_whitespace().collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// What a health check that failed says, with what it names.
fn check_of(answer: &Value, reason: &str) -> String {
    let named = answer.as_object().into_iter().flatten();
    let named = named.filter(|(key, _)| !matches!(key.as_str(), "status" | "reason"));
    let named: Vec<String> = named.map(|(key, value)| format!("{key}: {value}")).collect();
    if named.is_empty() { reason.to_owned() } else { format!("{reason} ({})", named.join(", ")) }
}
