//! The HTTP API as the commands see it: paths of unescaped parts in, JSON out, every answer that is no success a
//! [`Failure`].

use super::failure::Failure;
use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::time::Duration;
use ureq::{Agent, Body, http::Response};

/// How many objects are asked for at a time: the most that RabbitMQ's API gives.
const PAGE_SIZE: usize = 500;
/// What needs no escape in a part of a path.
const UNESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Who asks.
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

/// A client of one node.
pub(super) struct Client {
    agent: Agent,
    address: String,
    user: String,
    authorization: String,
}

impl Client {
    pub(super) fn new(host: &str, port: u16, login: &Login, timeout: Duration) -> Client {
        // An IPv6 address needs brackets in front of a port.
        let is_bare_ipv6 = host.contains(':') && !host.starts_with('[');
        let host = if is_bare_ipv6 { format!("[{host}]") } else { host.to_owned() };
        let credentials = BASE64_STANDARD.encode(format!("{}:{}", login.user, login.password));
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .timeout_global(Some(timeout))
            .build();
        Client {
            agent: agent.into(),
            address: format!("{host}:{port}"),
            user: login.user.clone(),
            authorization: format!("Basic {credentials}"),
        }
    }

    /// The object at a path.
    pub(super) fn get(&self, path: &[&str]) -> Result<Value, Failure> {
        self.get_query(path, &[])
    }

    /// Creates or replaces the object at a path.
    pub(super) fn put(&self, path: &[&str], body: &Value) -> Result<(), Failure> {
        let request = self.agent.put(self.url(path)).header("authorization", &self.authorization);
        let request = request.header("content-type", "application/json");
        self.answer(path, request.send(body.to_string())).map(drop)
    }

    /// Does what a path stands for.
    pub(super) fn post(&self, path: &[&str], body: &Value) -> Result<(), Failure> {
        let request = self.agent.post(self.url(path)).header("authorization", &self.authorization);
        let request = request.header("content-type", "application/json");
        self.answer(path, request.send(body.to_string())).map(drop)
    }

    /// Deletes the object at a path.
    pub(super) fn delete(&self, path: &[&str]) -> Result<(), Failure> {
        let request = self.agent.delete(self.url(path)).header("authorization", &self.authorization);
        self.answer(path, request.call()).map(drop)
    }

    /// The list at a path, a page at a time; `columns` are the fields that are wanted.
    pub(super) fn pages<'a>(&'a self, path: &'a [&'a str], columns: &str) -> Pages<'a> {
        Pages { client: self, path, columns: columns.to_owned(), next: Some(1) }
    }

    fn get_query(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, Failure> {
        let request = self.agent.get(self.url(path)).header("authorization", &self.authorization);
        let text = self.answer(path, request.query_pairs(query.iter().copied()).call())?;
        serde_json::from_str(&text).map_err(|_| self.no_broker())
    }

    fn url(&self, path: &[&str]) -> String {
        let parts: String =
            path.iter().map(|part| format!("/{}", utf8_percent_encode(part, UNESCAPED))).collect();
        format!("http://{}/api{parts}", self.address)
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
            401 => Failure::LoginRefused(self.user.clone()),
            404 if error.is_object() => Failure::NotFound(path.join("/")),
            status @ (400 | 412 | 413) => match reason.as_str() {
                "" => Failure::Data(format!("the broker refused this (status {status})")),
                reason => Failure::Data(reason.to_owned()),
            },
            300..=499 => self.no_broker(),
            status => Failure::Broker(format!(
                "the broker at {} failed with status {status} {reason}; see its log",
                self.address
            )),
        })
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let address = self.address.clone();
        match error {
            ureq::Error::Timeout(_) => Failure::Timeout(address),
            ureq::Error::Protocol(_) | ureq::Error::Http(_) => self.no_broker(),
            ureq::Error::Io(error) => Failure::Unavailable { address, reason: error.to_string() },
            error => Failure::Unavailable { address, reason: error.to_string() },
        }
    }

    fn no_broker(&self) -> Failure {
        Failure::Broker(format!(
            "what answers at {} is no HTTP API of a broker; is --port the management port (15672)?",
            self.address
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
        let answer = match self.client.get_query(self.path, &query) {
            // The list became shorter while it was read.
            Err(Failure::Data(reason)) if page > 1 && reason.starts_with("Page out of range") => return None,
            Err(failure) => return Some(Err(failure)),
            Ok(answer) => answer,
        };
        // Lists that have no pages come as they are.
        let (items, is_last) = match answer {
            Value::Array(items) => (items, true),
            mut answer => {
                let pages = answer["page_count"].as_u64().unwrap_or(0);
                match answer.get_mut("items").map(Value::take) {
                    Some(Value::Array(items)) => (items, page as u64 >= pages),
                    _ => return Some(Err(self.client.no_broker())),
                }
            }
        };
        self.next = (!is_last).then_some(page + 1);
        Some(Ok(items))
    }
}

/// The text under a dotted path, or the empty text.
pub(super) fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    at(object, path).as_str().unwrap_or_default()
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
