//! What `perf throughput` is asked for: options, and what follows from them.

use super::super::Failure;
use super::batch::{self, BODY_BYTES_MIN, Form, numbered};
use super::common::Common;
use crate::time::Duration;
use amq_protocol::types::{AMQPValue, FieldTable};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::path::PathBuf;

/// How long is published when nothing else is asked for, in seconds.
const SECONDS: f64 = 10.0;
/// So many names fit into their digits.
const NAMES_MAX: u32 = 1_000_000;
/// The longest name, so that its number still fits.
const NAME_BYTES_MAX: usize = 240;
const CONSUMERS_MAX: u32 = 10_000;

/// The type of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ExchangeType {
    Direct,
    Fanout,
    Topic,
    Headers,
}

impl ExchangeType {
    pub(super) fn name(self) -> &'static str {
        match self {
            ExchangeType::Direct => "direct",
            ExchangeType::Fanout => "fanout",
            ExchangeType::Topic => "topic",
            ExchangeType::Headers => "headers",
        }
    }
}

/// The options of `perf throughput`; a report says them.
#[derive(Clone, Debug, Args, Serialize)]
pub(super) struct Traffic {
    #[command(flatten)]
    #[serde(flatten)]
    pub(super) common: Common,
    /// Connections that publish, each with a thread; 0 only consumes
    #[arg(short = 'x', long, value_name = "N", default_value_t = 1, help_heading = "Who")]
    pub(super) producers: u16,
    /// Connections that consume, each with a thread; 0 leaves the messages in the queues
    #[arg(short = 'y', long, value_name = "N", default_value_t = 1, help_heading = "Who")]
    pub(super) consumers: u32,
    /// Queue, or with several their common beginning
    #[arg(long, value_name = "NAME", default_value = "perf", help_heading = "Where")]
    pub(super) queue: String,
    /// Queues, NAME.000000 and so on; messages and consumers go round
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Where")]
    pub(super) queues: u32,
    /// Publish to an exchange of this type, with the queues bound to it; else to the default exchange
    #[arg(long, value_name = "TYPE", help_heading = "Where")]
    pub(super) exchange_type: Option<ExchangeType>,
    /// That exchange's name
    #[arg(long, value_name = "NAME", default_value = "perf", help_heading = "Where")]
    pub(super) exchange: String,
    /// Routing keys of the exchange, which go round; each queue is bound to its share [default: as many as queues]
    #[arg(long, value_name = "N", help_heading = "Where")]
    pub(super) keys: Option<u32>,
    /// Further bindings of the first queue, that match nothing
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Where")]
    pub(super) extra_bindings: u32,
    /// Argument of the queues, such as x-max-priority=5; may be given several times
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Where")]
    pub(super) queue_argument: Vec<String>,
    /// Leave queues and exchange as they were before and are behind
    #[arg(long, help_heading = "Where")]
    pub(super) keep: bool,
    /// Bytes of a body, at least 8; latencies need 16
    #[arg(short = 's', long, value_name = "BYTES", default_value_t = 16, help_heading = "What")]
    pub(super) size: usize,
    /// Persistent messages, durable queues and exchange
    #[arg(long, help_heading = "What")]
    pub(super) persistent: bool,
    /// Priorities from 0 on, which go round; the queues have as many
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "What")]
    pub(super) priorities: u8,
    /// Time to live of every message, in milliseconds
    #[arg(long, value_name = "MS", help_heading = "What")]
    pub(super) expiration: Option<u64>,
    /// Ask for unroutable messages to come back, and count them
    #[arg(long, help_heading = "What")]
    pub(super) mandatory: bool,
    /// Messages a second of each producer; without, as fast as may be
    #[arg(short = 'r', long, value_name = "N", help_heading = "How fast")]
    pub(super) rate: Option<f64>,
    /// Publisher confirms, with at most so many messages unconfirmed for each producer
    #[arg(short = 'c', long, value_name = "WINDOW", help_heading = "How fast")]
    pub(super) confirm: Option<u32>,
    /// Transactions of so many messages each
    #[arg(long, value_name = "N", conflicts_with = "confirm", help_heading = "How fast")]
    pub(super) tx: Option<u32>,
    /// Producers wait while so many messages are on their way to consumers
    #[arg(long, value_name = "N", help_heading = "How fast")]
    pub(super) backlog_max: Option<u64>,
    /// Consumers ack every N messages, with `multiple` if N is more than 1; 0 consumes without acks
    #[arg(short = 'A', long, value_name = "N", default_value_t = 0, help_heading = "How fast")]
    pub(super) ack_every: u32,
    /// Prefetch of consumers with acks; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 500, help_heading = "How fast")]
    pub(super) prefetch: u16,
    /// Messages a second that each consumer takes at most
    #[arg(short = 'R', long, value_name = "N", help_heading = "How fast")]
    pub(super) consumer_rate: Option<f64>,
    /// Consumers ask for each message with basic.get
    #[arg(long, help_heading = "How fast")]
    pub(super) get: bool,
    /// Publish so long, in seconds, then take what is left [default: 10]
    #[arg(short = 'z', long, value_name = "N", conflicts_with = "messages", help_heading = "How long")]
    pub(super) seconds: Option<f64>,
    /// Publish so many messages with each producer; without producers, take so many out of the queues
    #[arg(short = 'C', long, value_name = "N", help_heading = "How long")]
    pub(super) messages: Option<u64>,
    /// The number of the first message: what another run published goes on there
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "How long")]
    pub(super) first: u64,
    /// Seconds between two lines of progress, and two points of the charts
    #[arg(long, value_name = "N", default_value_t = 1.0, help_heading = "Report")]
    pub(super) interval: f64,
    /// Note the time whenever so many more messages are published or received
    #[arg(long, value_name = "N", help_heading = "Report")]
    pub(super) mark_every: Option<u64>,
    /// Write the report as a page with charts to this file
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    #[serde(skip)]
    pub(super) html: Option<PathBuf>,
}

/// What ends the publishing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bound {
    Time(Duration),
    /// For each producer.
    Messages(u64),
}

impl Traffic {
    /// Refuses what cannot work.
    ///
    /// # Errors
    /// [`Failure::Usage`], with what to do instead.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let is_counted = |rate: Option<f64>| rate.is_none_or(|rate| rate > 0.0 && rate.is_finite());
        let complaints = [
            (self.producers == 0 && self.consumers == 0, "--producers and --consumers: one of them at least"),
            (self.consumers > CONSUMERS_MAX, "--consumers: 10000 at most, each is a thread"),
            (self.size < BODY_BYTES_MIN, "--size: a body holds its number and needs 8 bytes"),
            (!(1..=NAMES_MAX).contains(&self.queues), "--queues: 1 to 1000000"),
            (!(1..=NAMES_MAX).contains(&self.keys()), "--keys: 1 to 1000000"),
            (self.keys.is_some() && self.exchange_type.is_none(), "--keys needs --exchange-type"),
            (
                self.extra_bindings > 0 && self.exchange_type.is_none(),
                "--extra-bindings needs --exchange-type",
            ),
            (self.extra_bindings > NAMES_MAX, "--extra-bindings: 1000000 at most"),
            (
                self.queue.len().max(self.exchange.len()) > NAME_BYTES_MAX,
                "--queue and --exchange: 240 bytes at most",
            ),
            (self.confirm == Some(0) || self.tx == Some(0), "--confirm and --tx: 1 at least"),
            (
                self.messages == Some(0) || self.mark_every == Some(0),
                "--messages and --mark-every: 1 at least",
            ),
            (self.backlog_max == Some(0), "--backlog-max: 1 at least"),
            (
                self.backlog_max.is_some() && self.consumers == 0,
                "--backlog-max: nobody consumes without --consumers",
            ),
            (
                self.ack_every > 0 && self.prefetch > 0 && u32::from(self.prefetch) < self.ack_every,
                "--prefetch below --ack-every: the consumer would wait for ever",
            ),
            (
                self.producers == 0 && self.messages.is_none(),
                "without producers, --messages says how many to take",
            ),
            (
                !is_counted(self.rate) || !is_counted(self.consumer_rate),
                "--rate and --consumer-rate: above 0",
            ),
            (!is_counted(self.seconds) || self.seconds > Some(86_400.0), "--seconds: above 0, 86400 at most"),
            (!(0.05..=3600.0).contains(&self.interval), "--interval: 0.05 to 3600"),
            (self.priorities == 1, "--priorities: 2 at least, or 0 for none"),
        ];
        match complaints.iter().find(|(is_wrong, _)| *is_wrong) {
            Some((_, complaint)) => Err(Failure::Usage((*complaint).into())),
            None => self.queue_arguments().map(drop),
        }
    }

    pub(super) fn bound(&self) -> Bound {
        match self.messages {
            Some(messages) => Bound::Messages(messages),
            None => Bound::Time(Duration::from_secs_f64(self.seconds.unwrap_or(SECONDS))),
        }
    }

    /// Whether both sides are in this run: then it begins and ends with nothing in the queues.
    pub(super) fn is_whole(&self) -> bool {
        self.producers > 0 && self.consumers > 0
    }

    /// How many routing keys there are: with the default exchange, the queues' names.
    pub(super) fn keys(&self) -> u32 {
        match self.exchange_type {
            None => self.queues,
            Some(_) => self.keys.unwrap_or(self.queues),
        }
    }

    pub(super) fn queue_name(&self, index: u32) -> String {
        numbered(&self.queue, index, self.queues)
    }

    pub(super) fn key(&self, index: u32) -> String {
        numbered(&self.queue, index, self.keys())
    }

    /// Which queue is bound with which key: all of them get some, in rounds.
    pub(super) fn bound_pairs(&self) -> impl Iterator<Item = (u32, u32)> + use<> {
        let (queues, keys, exchange_type) = (self.queues, self.keys(), self.exchange_type);
        let pairs = if exchange_type == Some(ExchangeType::Fanout) { queues } else { queues.max(keys) };
        (0..pairs).map(move |index| (index % queues, index % keys))
    }

    /// How many queues a message with each key reaches.
    pub(super) fn copies(&self) -> Vec<u64> {
        if self.exchange_type == Some(ExchangeType::Fanout) {
            return vec![u64::from(self.queues); self.keys() as usize];
        }
        let mut copies = vec![0; self.keys() as usize];
        self.bound_pairs().for_each(|(_, key)| copies[key as usize] += 1);
        copies
    }

    /// The queues that a consumer consumes: both go round until everybody has one.
    pub(super) fn queues_of(&self, consumer: u32) -> impl Iterator<Item = u32> + use<> {
        let (queues, consumers) = (self.queues, self.consumers);
        let pairs = (consumer..queues.max(consumers)).step_by(consumers.max(1) as usize);
        pairs.map(move |index| index % queues)
    }

    /// The messages of a producer.
    pub(super) fn form(&self, producer: u16) -> Form {
        Form {
            producer,
            exchange: self.exchange_type.map_or_else(String::new, |_| self.exchange.clone()),
            key: self.queue.clone(),
            keys: self.keys(),
            has_header: self.exchange_type == Some(ExchangeType::Headers),
            size: self.size,
            is_persistent: self.persistent,
            is_mandatory: self.mandatory,
            priorities: self.priorities,
            expiration_ms: self.expiration,
        }
    }

    /// The arguments that queues are declared with.
    ///
    /// # Errors
    /// [`Failure::Usage`] for one without a value.
    pub(super) fn queue_arguments(&self) -> Result<FieldTable, Failure> {
        let mut table = FieldTable::default();
        if self.priorities > 0 {
            table.insert("x-max-priority".into(), AMQPValue::LongInt((self.priorities - 1).into()));
        }
        for argument in &self.queue_argument {
            let wrong = || Failure::Usage(format!("--queue-argument {argument}: it is KEY=VALUE"));
            let (key, text) =
                argument.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(wrong)?;
            let value = match (text.parse(), text.parse()) {
                (Ok(number), _) => AMQPValue::LongLongInt(number),
                (_, Ok(truth)) => AMQPValue::Boolean(truth),
                _ => AMQPValue::LongString(text.into()),
            };
            table.insert(key.into(), value);
        }
        Ok(table)
    }

    /// The priority of a message, by its number.
    pub(super) fn priority(&self, number: u64) -> u8 {
        batch::priority(number, self.keys(), self.priorities)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::FromArgMatches;

    fn traffic(arguments: &str) -> Result<Traffic, String> {
        let command = Traffic::augment_args(clap::Command::new("t"));
        let matches = command.try_get_matches_from(std::iter::once("t").chain(arguments.split_whitespace()));
        let traffic = matches.and_then(|matches| Traffic::from_arg_matches(&matches));
        let traffic = traffic.map_err(|error| error.to_string())?;
        traffic.check().map(|()| traffic).map_err(|failure| failure.to_string())
    }

    #[test]
    fn every_queue_and_every_consumer_has_somebody() {
        let queues = |arguments: &str| -> Vec<Vec<u32>> {
            let traffic = traffic(arguments).unwrap();
            (0..traffic.consumers).map(|consumer| traffic.queues_of(consumer).collect()).collect()
        };
        assert_eq!(queues(""), [vec![0]]);
        assert_eq!(queues("-y 3"), [vec![0], vec![0], vec![0]]);
        assert_eq!(queues("-y 2 --queues 5"), [vec![0, 2, 4], vec![1, 3]]);
        assert_eq!(queues("-y 5 --queues 2"), [vec![0], vec![1], vec![0], vec![1], vec![0]]);
    }

    #[test]
    fn a_message_has_as_many_copies_as_queues_are_bound_with_its_key() {
        let copies = |arguments: &str| traffic(arguments).unwrap().copies();
        assert_eq!(copies("--queues 3"), [1, 1, 1]);
        assert_eq!(copies("--queues 3 --exchange-type fanout --keys 2"), [3, 3]);
        assert_eq!(copies("--queues 2 --exchange-type direct --keys 5"), [1, 1, 1, 1, 1]);
        assert_eq!(copies("--queues 5 --exchange-type topic --keys 2"), [3, 2]);
        let pairs: Vec<_> =
            traffic("--queues 2 --exchange-type direct --keys 3").unwrap().bound_pairs().collect();
        assert_eq!(pairs, [(0, 0), (1, 1), (0, 2)]);
    }

    #[test]
    fn what_cannot_work_is_refused_with_what_to_do() {
        for (arguments, expected) in [
            ("-x 0 -y 0", "one of them at least"),
            ("-s 7", "needs 8 bytes"),
            ("-A 10 --prefetch 9", "wait for ever"),
            ("-x 0", "--messages says how many"),
            ("--keys 3", "--exchange-type"),
            ("--queue-argument x-max-length", "KEY=VALUE"),
            ("-r 0", "above 0"),
            ("-c 5 --tx 5", "cannot be used with"),
            ("-y 0 --backlog-max 5", "nobody consumes"),
        ] {
            let text = traffic(arguments).unwrap_err();
            assert!(text.contains(expected), "{arguments}: {text}");
        }
    }

    #[test]
    fn arguments_of_queues_have_the_type_that_they_look_like() {
        let arguments = "--priorities 4 --queue-argument a=5 --queue-argument b=true --queue-argument c=x=y";
        let table = traffic(arguments).unwrap().queue_arguments().unwrap();
        assert_eq!(table.inner().get("x-max-priority"), Some(&AMQPValue::LongInt(3)));
        assert_eq!(table.inner().get("a"), Some(&AMQPValue::LongLongInt(5)));
        assert_eq!(table.inner().get("b"), Some(&AMQPValue::Boolean(true)));
        assert_eq!(table.inner().get("c"), Some(&AMQPValue::LongString("x=y".into())));
    }
}
