//! What the live view shows and what keys do to it. PURE: answers of the broker, keys and the time come in.

use super::super::client;
use serde_json::Value;
use std::cmp::Ordering;

/// What queues are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Depth,
    In,
    Out,
    Age,
    Consumers,
    Name,
}

impl Sort {
    pub(super) const ALL: [Sort; 6] =
        [Sort::Depth, Sort::In, Sort::Out, Sort::Age, Sort::Consumers, Sort::Name];

    /// What `--sort` and the view call it; its first letter is its key.
    pub(super) fn name(self) -> &'static str {
        match self {
            Sort::Depth => "depth",
            Sort::In => "in",
            Sort::Out => "out",
            Sort::Age => "age",
            Sort::Consumers => "consumers",
            Sort::Name => "name",
        }
    }

    pub(super) fn of_name(name: &str) -> Option<Sort> {
        Sort::ALL.into_iter().find(|sort| sort.name() == name)
    }

    fn of_key(key: char) -> Option<Sort> {
        Sort::ALL.into_iter().find(|sort| sort.name().starts_with(key))
    }

    /// The field of the API, by which the broker sorts all queues before it sends the first of them.
    pub(super) fn field(self) -> &'static str {
        match self {
            Sort::Depth => "messages",
            Sort::In => "message_stats.publish_details.rate",
            Sort::Out => "message_stats.deliver_get_details.rate",
            Sort::Age => "head_message_timestamp",
            Sort::Consumers => "consumers",
            Sort::Name => "name",
        }
    }

    /// Whether the largest value of the field stands on top by default. The oldest has the smallest timestamp.
    pub(super) fn is_descending(self) -> bool {
        !matches!(self, Sort::Name | Sort::Age)
    }
}

/// The fields of a queue that are read.
pub(super) const FIELDS: &str = "vhost,name,state,messages_ready,messages_unacknowledged,consumers,\
     head_message_timestamp,message_stats.publish_details.rate,message_stats.deliver_get_details.rate";

/// A queue.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Queue {
    pub(super) vhost: String,
    pub(super) name: String,
    pub(super) state: String,
    pub(super) ready: u64,
    pub(super) unacknowledged: u64,
    pub(super) consumers: u64,
    /// Messages a second that come in.
    pub(super) rate_in: f64,
    /// Messages a second that go out.
    pub(super) rate_out: f64,
    /// Since when its oldest message says to be there, in seconds since 1970.
    pub(super) since_s: Option<u64>,
}

impl Queue {
    /// Reads a queue as the API has it; rates are missing until something has happened.
    pub(super) fn read(object: &Value) -> Queue {
        let number = |path: &str| client::at(object, path).as_u64().unwrap_or(0);
        let rate = |path: &str| client::at(object, path).as_f64().unwrap_or(0.0);
        Queue {
            vhost: client::text(object, "vhost").to_owned(),
            name: client::text(object, "name").to_owned(),
            state: client::text(object, "state").to_owned(),
            ready: number("messages_ready"),
            unacknowledged: number("messages_unacknowledged"),
            consumers: number("consumers"),
            rate_in: rate("message_stats.publish_details.rate"),
            rate_out: rate("message_stats.deliver_get_details.rate"),
            since_s: object["head_message_timestamp"].as_u64(),
        }
    }

    /// How long its oldest message has been there, in seconds.
    pub(super) fn age_s(&self, now_s: u64) -> Option<u64> {
        self.since_s.map(|since| now_s.saturating_sub(since))
    }

    fn compare(&self, other: &Queue, sort: Sort) -> Ordering {
        match sort {
            Sort::Depth => (self.ready + self.unacknowledged).cmp(&(other.ready + other.unacknowledged)),
            Sort::In => self.rate_in.total_cmp(&other.rate_in),
            Sort::Out => self.rate_out.total_cmp(&other.rate_out),
            // Without a message, behind all that have one.
            Sort::Age => self.since_s.unwrap_or(u64::MAX).cmp(&other.since_s.unwrap_or(u64::MAX)),
            Sort::Consumers => self.consumers.cmp(&other.consumers),
            Sort::Name => Ordering::Equal,
        }
    }
}

/// The node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Overview {
    pub(super) node: String,
    pub(super) version: String,
    pub(super) connections: u64,
    pub(super) channels: u64,
    pub(super) queues: u64,
    pub(super) consumers: u64,
    pub(super) ready: u64,
    pub(super) unacknowledged: u64,
    pub(super) rate_in: f64,
    pub(super) rate_out: f64,
    pub(super) rate_acked: f64,
    /// Those that are on; nothing is known of them without the right to see the node.
    pub(super) alarms: Option<Vec<String>>,
}

impl Overview {
    /// Reads the overview, and the nodes if they may be seen.
    pub(super) fn read(overview: &Value, nodes: Option<&Value>) -> Overview {
        let number = |path: &str| client::at(overview, path).as_u64().unwrap_or(0);
        let rate = |name: &str| {
            client::at(overview, &format!("message_stats.{name}_details.rate")).as_f64().unwrap_or(0.0)
        };
        let alarms = nodes.and_then(Value::as_array).map(|nodes| {
            let kinds = [("mem_alarm", "memory"), ("disk_free_alarm", "disk")];
            let is_on = |key: &str| nodes.iter().any(|node| node[key] == Value::Bool(true));
            kinds.into_iter().filter(|(key, _)| is_on(key)).map(|(_, name)| name.to_owned()).collect()
        });
        Overview {
            node: client::text(overview, "node").to_owned(),
            version: client::text(overview, "product_version").to_owned(),
            connections: number("object_totals.connections"),
            channels: number("object_totals.channels"),
            queues: number("object_totals.queues"),
            consumers: number("object_totals.consumers"),
            ready: number("queue_totals.messages_ready"),
            unacknowledged: number("queue_totals.messages_unacknowledged"),
            rate_in: rate("publish"),
            rate_out: rate("deliver_get"),
            rate_acked: rate("ack"),
            alarms,
        }
    }
}

/// What the broker says at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Snapshot {
    pub(super) overview: Overview,
    /// The first of those that match, sorted by the broker.
    pub(super) queues: Vec<Queue>,
    /// How many match.
    pub(super) matching: u64,
    /// When, in seconds since 1970.
    pub(super) now_s: u64,
}

/// A key that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Letter(char),
    Enter,
    Escape,
    Backspace,
    Up,
    Down,
    PageUp,
    PageDown,
    Interrupt,
}

/// Rows that a page key moves by.
const PAGE: usize = 20;

/// The live view.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) snapshot: Snapshot,
    pub(super) sort: Sort,
    /// The other way round than is the sort's default.
    pub(super) is_reversed: bool,
    /// A part of the name.
    pub(super) filter: String,
    /// Whether keys go into the filter.
    pub(super) is_typing: bool,
    pub(super) is_paused: bool,
    /// The first queue that is shown.
    pub(super) offset: usize,
    /// Why the last question had no answer.
    pub(super) failure: Option<String>,
    pub(super) is_over: bool,
}

impl State {
    pub(super) fn new(sort: Sort, filter: String) -> State {
        State {
            snapshot: Snapshot::default(),
            sort,
            is_reversed: false,
            filter,
            is_typing: false,
            is_paused: false,
            offset: 0,
            failure: None,
            is_over: false,
        }
    }

    /// Whether large values stand on top.
    pub(super) fn is_descending(&self) -> bool {
        self.sort.is_descending() != self.is_reversed
    }

    /// Takes what the broker says; queues of the same rank stand by name, so that none jumps.
    pub(super) fn take(&mut self, answer: Result<Snapshot, String>) {
        match answer {
            Ok(snapshot) => {
                self.snapshot = snapshot;
                self.failure = None;
            }
            Err(failure) => self.failure = Some(failure),
        }
        self.arrange();
    }

    fn arrange(&mut self) {
        let (sort, is_descending) = (self.sort, self.is_descending());
        self.snapshot.queues.sort_by(|left, right| {
            let by_sort = left.compare(right, sort);
            let by_sort = if is_descending { by_sort.reverse() } else { by_sort };
            let names = (&left.name, &left.vhost).cmp(&(&right.name, &right.vhost));
            let names = if sort == Sort::Name && is_descending { names.reverse() } else { names };
            by_sort.then(names)
        });
        self.offset = self.offset.min(self.snapshot.queues.len().saturating_sub(1));
    }

    /// Does what a key means; `true` if the broker has to be asked again for it.
    pub(super) fn press(&mut self, key: Key) -> bool {
        match (key, self.is_typing) {
            (Key::Interrupt, _) | (Key::Letter('q') | Key::Escape, false) => self.is_over = true,
            (Key::Letter(letter), true) => return self.filter_becomes(|filter| filter.push(letter)),
            (Key::Backspace, true) => {
                return self.filter_becomes(|filter| {
                    filter.pop();
                });
            }
            (Key::Enter, true) => self.is_typing = false,
            (Key::Escape, true) => {
                self.is_typing = false;
                return self.filter_becomes(String::clear);
            }
            (Key::Letter('/'), false) => self.is_typing = true,
            (Key::Letter(' '), false) => {
                self.is_paused = !self.is_paused;
                return !self.is_paused;
            }
            (Key::Letter(letter), false) => return self.sort_by(letter),
            (Key::Up, _) => self.offset = self.offset.saturating_sub(1),
            (Key::Down, _) => self.offset += 1,
            (Key::PageUp, _) => self.offset = self.offset.saturating_sub(PAGE),
            (Key::PageDown, _) => self.offset += PAGE,
            (Key::Enter | Key::Backspace, false) => {}
        }
        self.arrange();
        false
    }

    fn filter_becomes(&mut self, change: impl FnOnce(&mut String)) -> bool {
        change(&mut self.filter);
        self.offset = 0;
        true
    }

    fn sort_by(&mut self, key: char) -> bool {
        let Some(sort) = Sort::of_key(key) else { return false };
        self.is_reversed = sort == self.sort && !self.is_reversed;
        self.sort = sort;
        self.offset = 0;
        self.arrange();
        true
    }
}
