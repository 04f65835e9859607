//! Dead letters: why a message left its queue, and what its headers say of that (behaviour.md, 2.3). PURE.
//!
//! A dead letter carries its history in the header `x-death`, newest first, one entry for each queue and reason, and
//! its first and last death in headers of their own. Only what the broker wrote is believed: what a publisher puts
//! there means nothing, see [`Message::is_dead_letter`].

use crate::arguments::{self, Table, Value};
use crate::message::{Message, Properties};
use crate::name::{ExchangeName, QueueName};
use crate::time::Millis;
use amq_protocol::types::FieldArray;

/// Why a message left its queue without being consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A consumer rejected it and did not want it back.
    Rejected = 1,
    /// It lived its time.
    Expired = 2,
    /// The queue was full.
    MaxLen = 3,
    /// It was delivered in vain too often.
    DeliveryLimit = 4,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 4] = [Reason::Rejected, Reason::Expired, Reason::MaxLen, Reason::DeliveryLimit];

    /// As headers have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Rejected => "rejected",
            Reason::Expired => "expired",
            Reason::MaxLen => "maxlen",
            Reason::DeliveryLimit => "delivery_limit",
        }
    }

    /// The number under which a checkpoint keeps it.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The reason of that number.
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.number() == number)
    }
}

/// A death: what is written down of it.
#[derive(Clone, Copy, Debug)]
pub struct Death<'a> {
    /// Why.
    pub reason: Reason,
    /// The queue it left.
    pub queue: &'a QueueName,
    /// When.
    pub now: Millis,
}

/// Where a queue's dead letters go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetters {
    /// The exchange; the empty name is the default exchange.
    pub exchange: ExchangeName,
    /// The key they are published with; none = their own keys.
    pub routing_key: Option<String>,
    /// What becomes of those that no queue takes.
    pub strategy: Strategy,
}

/// What becomes of a dead letter that reaches no queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// It is gone.
    #[default]
    AtMostOnce,
    /// It stays and is tried again.
    AtLeastOnce,
}

const DEATHS: &str = "x-death";
const CC: &str = "CC";

/// The message as it is published to the dead-letter exchange: its death written down, without its expiration, and,
/// where the queue says a routing key, with that one instead of all of its own. And where it must not go.
pub fn dead_letter(message: &Message, death: &Death<'_>, to: &DeadLetters) -> (Message, Cycles) {
    let properties = message.properties();
    // What is no table was refused when the message came in.
    let mut headers = properties.parse_headers().unwrap_or_default();
    if !message.is_dead_letter {
        forget_claims(&mut headers);
    }
    let cycles = record(&mut headers, message, death, properties.expiration);
    let own_key = message.routing_key();
    let key = to.routing_key.as_ref().map_or(own_key, |key| key.as_bytes());
    if to.routing_key.is_some() {
        headers = arguments::without(&headers, CC);
    }
    let headers = arguments::write_table(&headers);
    let properties = Properties { headers: Some(&headers), expiration: None, ..properties };
    let mut raw = Vec::new();
    properties.write(&mut raw);
    let letter = Message::new(to.exchange.clone(), key, &raw, &properties, &[message.body()]);
    (letter.at(death.now).as_dead_letter(), cycles)
}

/// What a publisher said of deaths.
fn forget_claims(headers: &mut Table) {
    let is_claim = |name: &str| {
        name == DEATHS || name.starts_with("x-first-death-") || name.starts_with("x-last-death-")
    };
    if headers.inner().keys().any(|name| is_claim(name.as_str())) {
        let kept = headers.inner().iter().filter(|(name, _)| !is_claim(name.as_str()));
        *headers = Table::from(
            kept.map(|(name, value)| (name.clone(), value.clone()))
                .collect::<std::collections::BTreeMap<_, _>>(),
        );
    }
}

fn text(text: &str) -> Value {
    Value::LongString(text.into())
}

/// Counts the death: one more of its queue and reason, now the newest.
fn record(headers: &mut Table, message: &Message, death: &Death<'_>, expiration: Option<&[u8]>) -> Cycles {
    let (queue, reason) = (death.queue.as_str(), death.reason.as_str());
    let mut deaths = deaths(headers);
    let is_same =
        |table: &Table| field(table, "queue") == Some(queue) && field(table, "reason") == Some(reason);
    let known = deaths.iter().position(is_same);
    let newest = match known {
        Some(at) => {
            let mut known = deaths.remove(at);
            let count = arguments::get(&known, "count").and_then(arguments::as_integer).unwrap_or(0);
            known.insert("count".into(), Value::LongLongInt(count.saturating_add(1)));
            known
        }
        None => new_death(headers, message, death, expiration),
    };
    deaths.insert(0, newest);
    let cycles = Cycles::of(&deaths);
    let deaths: Vec<Value> = deaths.into_iter().map(Value::FieldTable).collect();
    headers.insert(DEATHS.into(), Value::FieldArray(FieldArray::from(deaths)));
    for (first, last, value) in [
        ("x-first-death-reason", "x-last-death-reason", reason),
        ("x-first-death-queue", "x-last-death-queue", queue),
        ("x-first-death-exchange", "x-last-death-exchange", message.exchange.as_str()),
    ] {
        if arguments::get(headers, first).is_none() {
            headers.insert(first.into(), text(value));
        }
        headers.insert(last.into(), text(value));
    }
    cycles
}

fn new_death(headers: &Table, message: &Message, death: &Death<'_>, expiration: Option<&[u8]>) -> Table {
    let mut new = Table::default();
    new.insert("count".into(), Value::LongLongInt(1));
    new.insert("reason".into(), text(death.reason.as_str()));
    new.insert("queue".into(), text(death.queue.as_str()));
    // Of the first death of this queue and reason: it stays when others follow.
    new.insert("time".into(), Value::Timestamp(death.now.0 / 1000));
    new.insert("exchange".into(), text(message.exchange.as_str()));
    let own = Value::LongString(message.routing_key().into());
    let keys: Vec<Value> = std::iter::once(own).chain(copies(headers)).collect();
    new.insert("routing-keys".into(), Value::FieldArray(FieldArray::from(keys)));
    if let Some(expiration) = expiration {
        new.insert("original-expiration".into(), Value::LongString(expiration.into()));
    }
    new
}

/// The keys of the `CC` header.
fn copies(headers: &Table) -> impl Iterator<Item = Value> {
    let keys = match arguments::get(headers, CC) {
        Some(Value::FieldArray(keys)) => keys.as_slice(),
        _ => &[],
    };
    keys.iter().filter(|key| matches!(key, Value::LongString(_))).cloned()
}

/// The deaths the headers tell of, newest first.
fn deaths(headers: &Table) -> Vec<Table> {
    let Some(Value::FieldArray(deaths)) = arguments::get(headers, DEATHS) else { return Vec::new() };
    let table = |value: &Value| if let Value::FieldTable(table) = value { Some(table.clone()) } else { None };
    deaths.as_slice().iter().filter_map(table).collect()
}

fn field<'t>(table: &'t Table, name: &str) -> Option<&'t str> {
    arguments::get(table, name).and_then(arguments::as_text)
}

/// Where a dead letter must not go, because it has come from there by itself: no consumer rejected it on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cycles(Vec<String>);

impl Cycles {
    fn of(newest_first: &[Table]) -> Self {
        let is_rejected = |death: &&Table| field(death, "reason") == Some(Reason::Rejected.as_str());
        // A rejection anywhere up to a queue's own entry says that somebody looked at it.
        let own = newest_first.iter().take_while(|death| !is_rejected(death));
        Self(own.filter_map(|death| field(death, "queue")).map(str::to_owned).collect())
    }

    /// Whether it would go round.
    pub fn has(&self, queue: &QueueName) -> bool {
        self.0.iter().any(|other| other == queue.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(headers: &Table, expiration: Option<&str>) -> Message {
        let headers = arguments::write_table(headers);
        let properties = Properties {
            headers: Some(&headers),
            expiration: expiration.map(str::as_bytes),
            delivery_mode: Some(2),
            ..Properties::default()
        };
        let mut raw = Vec::new();
        properties.write(&mut raw);
        Message::new("x".into(), b"key", &raw, &properties, &[b"body"])
    }

    fn die(message: &Message, reason: Reason, queue: &str, now: u64, key: Option<&str>) -> Message {
        die_with_cycles(message, reason, queue, now, key).0
    }

    fn die_with_cycles(
        message: &Message,
        reason: Reason,
        queue: &str,
        now: u64,
        key: Option<&str>,
    ) -> (Message, Cycles) {
        let death = Death { reason, queue: &queue.into(), now: Millis(now) };
        let to = DeadLetters {
            exchange: "dlx".into(),
            routing_key: key.map(str::to_owned),
            strategy: Strategy::AtMostOnce,
        };
        dead_letter(message, &death, &to)
    }

    fn headers(message: &Message) -> Table {
        message.properties().parse_headers().unwrap()
    }

    fn summary(message: &Message) -> Vec<(String, String, i64, u64)> {
        let of = |death: &Table| {
            let text = |name| field(death, name).unwrap().to_owned();
            let Some(Value::Timestamp(time)) = arguments::get(death, "time") else { panic!("no time") };
            let count = arguments::get(death, "count").and_then(arguments::as_integer).unwrap();
            (text("queue"), text("reason"), count, *time)
        };
        deaths(&headers(message)).iter().map(of).collect()
    }

    fn entry(queue: &str, reason: &str, count: i64, time: u64) -> (String, String, i64, u64) {
        (queue.into(), reason.into(), count, time)
    }

    #[test]
    fn deaths_are_counted_by_queue_and_reason_the_newest_first() {
        let message = published(&Table::default(), None);
        let once = die(&message, Reason::Expired, "a", 5_000, None);
        let twice = die(&once, Reason::MaxLen, "b", 6_000, None);
        let again = die(&twice, Reason::Expired, "a", 9_000, None);
        assert_eq!(summary(&again), [entry("a", "expired", 2, 5), entry("b", "maxlen", 1, 6)]);
        let named = |name| field(&headers(&again), name).unwrap().to_owned();
        assert_eq!(
            ["x-first-death-queue", "x-first-death-reason", "x-first-death-exchange"].map(named),
            ["a", "expired", "x"]
        );
        assert_eq!(
            ["x-last-death-queue", "x-last-death-reason", "x-last-death-exchange"].map(named),
            ["a", "expired", "dlx"]
        );
        assert_eq!(
            (again.exchange.as_str(), again.routing_key(), again.body()),
            ("dlx", &b"key"[..], &b"body"[..])
        );
        assert!(again.is_persistent && again.received_at == Millis(9_000));
    }

    #[test]
    fn the_expiration_is_taken_off_and_told() {
        let dead = die(&published(&Table::default(), Some("70")), Reason::Expired, "a", 0, None);
        assert_eq!(dead.time_to_live_ms(), None);
        assert_eq!(field(&deaths(&headers(&dead))[0], "original-expiration"), Some("70"));
    }

    #[test]
    fn the_keys_of_cc_are_told_and_go_when_the_queue_says_a_key() {
        let mut table = Table::default();
        let copies = vec![text("c1"), Value::Boolean(true), text("c2")];
        table.insert(CC.into(), Value::FieldArray(FieldArray::from(copies)));
        let kept = die(&published(&table, None), Reason::Rejected, "a", 0, None);
        let replaced = die(&published(&table, None), Reason::Rejected, "a", 0, Some("dead"));
        for (letter, key, has_cc) in [(&kept, &b"key"[..], true), (&replaced, b"dead", false)] {
            assert_eq!((letter.routing_key(), arguments::get(&headers(letter), CC).is_some()), (key, has_cc));
            let death = deaths(&headers(letter)).remove(0);
            let expected = Value::FieldArray(FieldArray::from(vec![text("key"), text("c1"), text("c2")]));
            assert_eq!(arguments::get(&death, "routing-keys"), Some(&expected));
        }
    }

    #[test]
    fn what_a_publisher_says_of_deaths_means_nothing() {
        let dead = die(&published(&Table::default(), None), Reason::Rejected, "a", 0, None);
        let mut claimed = headers(&dead);
        claimed.insert("mine".into(), text("kept"));
        let message = published(&claimed, None);
        assert!(!message.is_dead_letter && dead.is_dead_letter);
        let dead = die(&message, Reason::Expired, "b", 0, None);
        assert_eq!(summary(&dead), [entry("b", "expired", 1, 0)]);
        assert_eq!(field(&headers(&dead), "x-first-death-queue"), Some("b"));
        assert_eq!(field(&headers(&dead), "mine"), Some("kept"));
    }

    #[test]
    fn a_cycle_is_one_only_if_nobody_rejected_the_message_on_the_way() {
        let message = published(&Table::default(), None);
        let expired = die(&message, Reason::Expired, "a", 0, None);
        let (full, cycles) = die_with_cycles(&expired, Reason::MaxLen, "b", 0, None);
        assert_eq!(["a", "b", "c"].map(|queue| cycles.has(&queue.into())), [true, true, false]);
        let (rejected, cycles) = die_with_cycles(&full, Reason::Rejected, "c", 0, None);
        assert_eq!(["a", "b", "c"].map(|queue| cycles.has(&queue.into())), [false; 3]);
        let (_, cycles) = die_with_cycles(&rejected, Reason::Expired, "d", 0, None);
        assert_eq!(["a", "c", "d"].map(|queue| cycles.has(&queue.into())), [false, false, true]);
    }

    #[test]
    fn reasons_come_back_from_their_numbers() {
        assert_eq!(Reason::ALL.map(|reason| Reason::of_number(reason.number())), Reason::ALL.map(Some));
        assert_eq!([0, 5].map(Reason::of_number), [None; 2]);
    }
}
