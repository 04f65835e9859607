//! The consistent hash exchange: each message goes to one binding, the same for all messages of a routing key (or of a
//! header, or of a property), and a binding more or less moves few keys. PURE.
//!
//! A binding's key is its weight: so many buckets of the [`Ring`] are its own. Which bucket a message goes into is what
//! the jump consistent hash of Lamping and Veach says: of n buckets each gets one in n of all keys, and a new one behind
//! them takes its part from all others alike. So a new queue takes its share, and no key moves between the queues that
//! were there. When a queue goes, those behind it in the ring move down, as in RabbitMQ: only the last one's going is as
//! cheap as its coming.

use super::extra_keys::raw_header;
use super::hash::hash;
use super::ring::{Ring, Share};
use super::{Error, ExchangeType, Matches, Publish, Router};
use crate::arguments::{self, Table, Value};
use crate::definition::Binding;
use crate::name::BindingKey;

/// The largest weight. RabbitMQ has no limit, and no exchange with as many buckets.
const WEIGHT_MAX: u64 = 1_000_000;

const HASH_HEADER: &str = "hash-header";
const HASH_PROPERTY: &str = "hash-property";

#[derive(Debug)]
pub(super) struct ConsistentHash;

impl ExchangeType for ConsistentHash {
    fn name(&self) -> &'static str {
        "x-consistent-hash"
    }

    fn description(&self) -> &'static str {
        "Routes to one binding, by the consistent hash of the routing key, a header or a property"
    }

    fn check_arguments(&self, arguments: &Table) -> Result<(), Error> {
        HashOn::of(arguments).map(|_| ())
    }

    fn check_binding(&self, binding: &Binding) -> Result<(), Error> {
        weight(&binding.key).map(|_| ())
    }

    /// Else a restart would lead keys to other queues.
    fn keeps_order(&self) -> bool {
        true
    }

    fn new_router(&self, arguments: &Table) -> Box<dyn Router> {
        let hash_on = HashOn::of(arguments).unwrap_or(HashOn::RoutingKey);
        Box::new(ConsistentHashRouter { hash_on, ring: Ring::new(Share::OfTheFirst) })
    }
}

/// The weight that a binding's key says, read as Erlang reads an integer.
fn weight(key: &BindingKey) -> Result<u64, Error> {
    let text = key.as_str();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::WeightNoInteger { key: key.clone() });
    }
    let digits = digits.trim_start_matches('0');
    if text.starts_with('-') || digits.is_empty() {
        return Err(Error::WeightTooSmall);
    }
    let weight = digits.parse().ok().filter(|weight| *weight <= WEIGHT_MAX);
    weight.ok_or(Error::WeightTooLarge { max: WEIGHT_MAX })
}

/// What of a message is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum HashOn {
    RoutingKey,
    Header(Box<str>),
    CorrelationId,
    MessageId,
    Timestamp,
}

impl HashOn {
    fn of(arguments: &Table) -> Result<Self, Error> {
        match (text(arguments, HASH_HEADER)?, text(arguments, HASH_PROPERTY)?) {
            (None, None) => Ok(HashOn::RoutingKey),
            (Some(header), None) => Ok(HashOn::Header(header.into())),
            (Some(_), Some(_)) => Err(Error::HashOnBoth),
            (None, Some(property)) => match &*property {
                "correlation_id" => Ok(HashOn::CorrelationId),
                "message_id" => Ok(HashOn::MessageId),
                "timestamp" => Ok(HashOn::Timestamp),
                _ => Err(Error::HashProperty { property }),
            },
        }
    }

    /// The hash of a message. All that lack what is asked for have the same one, as in RabbitMQ.
    fn hash(&self, publish: &Publish<'_>) -> u64 {
        let properties = publish.properties;
        match self {
            HashOn::RoutingKey => hash(publish.routing_key),
            HashOn::Header(name) => {
                let value = properties.headers.and_then(|raw| raw_header(raw, name.as_bytes()));
                hash(value.unwrap_or_default())
            }
            HashOn::CorrelationId => hash(properties.correlation_id.unwrap_or_default()),
            HashOn::MessageId => hash(properties.message_id.unwrap_or_default()),
            HashOn::Timestamp => hash(&properties.timestamp.unwrap_or_default().to_be_bytes()),
        }
    }
}

fn text(arguments: &Table, argument: &'static str) -> Result<Option<String>, Error> {
    match arguments::get(arguments, argument) {
        None => Ok(None),
        Some(value @ Value::LongString(_)) => Ok(Some(arguments::plain(value))),
        Some(other) => Err(Error::ArgumentType { argument, kind: arguments::type_name(other) }),
    }
}

/// The bucket of a hash among `count` buckets, of which there is at least one ("A Fast, Minimal Memory, Consistent Hash
/// Algorithm", Lamping and Veach, 2014).
fn jump(mut hash: u64, count: u64) -> u64 {
    let (mut bucket, mut next) = (0, 0);
    while next < count {
        bucket = next;
        hash = hash.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = ((bucket + 1) as f64 * (f64::from(1_u32 << 31) / ((hash >> 33) + 1) as f64)) as u64;
    }
    bucket
}

#[derive(Debug)]
struct ConsistentHashRouter {
    hash_on: HashOn,
    ring: Ring,
}

impl Router for ConsistentHashRouter {
    fn bind(&mut self, binding: &Binding) {
        // Definitions of another broker may hold any key.
        self.ring.bind(binding, weight(&binding.key).unwrap_or_default());
    }

    fn unbind(&mut self, binding: &Binding) {
        self.ring.unbind(binding);
    }

    fn route<'r>(&'r self, publish: &Publish<'_>, matches: &mut Matches<'r>) {
        let bucket = jump(self.hash_on.hash(publish), self.ring.buckets());
        matches.extend_with_new(self.ring.destination(bucket));
    }

    fn by_key_alone(&self) -> bool {
        self.hash_on == HashOn::RoutingKey
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::Destination;
    use crate::message::Properties;
    use std::collections::BTreeMap;

    const KEYS: usize = 10_000;

    fn table(fields: &[(&str, Value)]) -> Table {
        let mut table = Table::default();
        for (name, value) in fields {
            table.insert((*name).into(), value.clone());
        }
        table
    }

    fn text(text: &str) -> Value {
        Value::LongString(text.into())
    }

    fn binding(queue: usize, weight: &str) -> Binding {
        let destination = Destination::Queue(format!("q{queue}").as_str().into());
        Binding { source: "x".into(), destination, key: weight.into(), arguments: Table::default() }
    }

    fn router(queues: impl IntoIterator<Item = usize>) -> Box<dyn Router> {
        let mut router = ConsistentHash.new_router(&Table::default());
        queues.into_iter().for_each(|queue| router.bind(&binding(queue, "1")));
        router
    }

    fn destination(router: &dyn Router, properties: &Properties<'_>, key: &str) -> Option<Destination> {
        let mut matches = Matches::default();
        router.route(&Publish::new(key.as_bytes(), &[], properties), &mut matches);
        assert!(matches.len() <= 1);
        matches.first().map(|destination| (*destination).clone())
    }

    /// Where each of [`KEYS`] keys goes.
    fn destinations(router: &dyn Router) -> Vec<Destination> {
        let of = |key: usize| destination(router, &Properties::default(), &format!("key.{key}"));
        (0..KEYS).map(|key| of(key).expect("a ring leads somewhere")).collect()
    }

    fn counts(destinations: &[Destination]) -> BTreeMap<&Destination, usize> {
        let mut counts = BTreeMap::new();
        destinations.iter().for_each(|destination| *counts.entry(destination).or_insert(0) += 1);
        counts
    }

    #[test]
    fn a_new_queue_takes_its_share_and_no_key_moves_between_the_others() {
        for queues in 1..=12 {
            let (before, after) = (destinations(&*router(0..queues)), destinations(&*router(0..=queues)));
            let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
            let new = binding(queues, "1").destination;
            assert!(moved.iter().all(|(_, after)| **after == new), "{queues} queues");
            let share = KEYS / (queues + 1);
            // Five standard deviations of a binomial distribution are at most 250 here.
            assert!(moved.len().abs_diff(share) < 250, "{queues} queues: {} moved of {share}", moved.len());
        }
    }

    #[test]
    fn when_the_last_queue_goes_its_keys_alone_move() {
        let all = router(0..8);
        let mut fewer = router(0..8);
        fewer.unbind(&binding(7, "1"));
        let (before, after) = (destinations(&*all), destinations(&*fewer));
        let gone = binding(7, "1").destination;
        assert!(before.iter().zip(&after).all(|(before, after)| before == after || *before == gone));
        assert_eq!(counts(&after).len(), 7);
    }

    #[test]
    fn when_a_queue_goes_those_behind_it_move_down() {
        let mut fewer = router(0..8);
        fewer.unbind(&binding(3, "1"));
        let after = destinations(&*fewer);
        assert_eq!(after, destinations(&*router([0, 1, 2, 4, 5, 6, 7])));
        // What was before it in the ring keeps its keys.
        let before = destinations(&*router(0..8));
        let first: Vec<_> = (0..3).map(|queue| binding(queue, "1").destination).collect();
        assert!(before.iter().zip(&after).all(|(before, after)| before == after || !first.contains(before)));
    }

    #[test]
    fn queues_get_keys_in_proportion_to_their_weights() {
        let mut router = router([]);
        let weights = [1, 2, 3, 4, 10];
        for (queue, weight) in weights.iter().enumerate() {
            router.bind(&binding(queue, &weight.to_string()));
        }
        let found = destinations(&*router);
        for ((_, count), weight) in counts(&found).into_iter().zip(weights) {
            let share = KEYS * weight / 20;
            assert!(count.abs_diff(share) < 250, "weight {weight}: {count} of {share}");
        }
    }

    #[test]
    fn a_queue_that_is_bound_again_keeps_its_weight() {
        let mut router = router(0..2);
        let before = destinations(&*router);
        router.bind(&binding(0, "9"));
        assert_eq!(destinations(&*router), before);
        router.unbind(&binding(0, "9"));
        assert_eq!(destinations(&*router), before);
        router.unbind(&binding(0, "1"));
        router.unbind(&binding(1, "1"));
        assert_eq!(destination(&*router, &Properties::default(), "k"), None);
    }

    #[test]
    fn a_header_or_a_property_is_hashed_instead_of_the_key() {
        let raw = |value: &[u8]| {
            let field = [&b"\x05other\x74\x01\x02id"[..], value].concat();
            [&(field.len() as u32).to_be_bytes()[..], &field].concat()
        };
        let (five, six) = (raw(b"I\0\0\0\x05"), raw(b"S\0\0\0\x01\x36"));
        let with = |headers| Properties { headers: Some(headers), ..Properties::default() };
        let correlation_id = |id| Properties { correlation_id: Some(id), ..Properties::default() };
        let message_id = |id| Properties { message_id: Some(id), ..Properties::default() };
        let timestamp = |time| Properties { timestamp: Some(time), ..Properties::default() };
        for (argument, value, one, other) in [
            ("hash-header", "id", with(&five), with(&six)),
            ("hash-property", "correlation_id", correlation_id(b"1"), correlation_id(b"2")),
            ("hash-property", "message_id", message_id(b"1"), message_id(b"2")),
            ("hash-property", "timestamp", timestamp(1), timestamp(2)),
        ] {
            let mut router = ConsistentHash.new_router(&table(&[(argument, text(value))]));
            (0..1000).for_each(|queue| router.bind(&binding(queue, "1")));
            assert!(!router.by_key_alone());
            let to = |properties| destination(&*router, properties, "k");
            assert_eq!(to(&one), destination(&*router, &one, "another key"), "{value}");
            assert_ne!(to(&one), to(&other), "{value}");
            // What has none goes to one place.
            assert_eq!(to(&Properties::default()), destination(&*router, &Properties::default(), "l"));
        }
        assert!(router([]).by_key_alone());
    }

    #[test]
    fn arguments_are_refused_in_rabbitmqs_words() {
        let check = |fields: &[(&str, Value)]| {
            ConsistentHash.check_arguments(&table(fields)).map_err(|error| error.to_string())
        };
        let header = ("hash-header", text("h"));
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(std::slice::from_ref(&header)), Ok(()));
        assert_eq!(check(&[("hash-property", text("timestamp"))]), Ok(()));
        assert_eq!(
            check(&[header, ("hash-property", text("nonsense"))]),
            Err("hash-header and hash-property are mutually exclusive".into())
        );
        assert_eq!(
            check(&[("hash-property", text("reply_to"))]),
            Err("Unsupported property: reply_to".into())
        );
        assert_eq!(
            check(&[("hash-header", Value::LongInt(1))]),
            Err("invalid type 'signedint' for arg 'hash-header'".into())
        );
    }

    #[test]
    fn a_weight_is_an_integer_from_1_to_a_million() {
        let check =
            |key: &str| ConsistentHash.check_binding(&binding(0, key)).map_err(|error| error.to_string());
        for key in ["1", "20", "+3", "007", "1000000"] {
            assert_eq!(check(key), Ok(()), "{key}");
        }
        for (key, shown) in [
            ("", "<<>>"),
            ("x", "<<\"x\">>"),
            ("1.5", "<<\"1.5\">>"),
            ("-", "<<\"-\">>"),
            (" 1", "<<\" 1\">>"),
            ("ä", "<<\"ä\"/utf8>>"),
        ] {
            assert_eq!(check(key), Err(format!("The binding key must be an integer: {shown}")));
        }
        for key in ["0", "-1", "-0", "-99999999999999999999"] {
            assert_eq!(check(key), Err("The binding key must be greater than 0".into()), "{key}");
        }
        for key in ["1000001", "99999999999999999999"] {
            assert_eq!(check(key), Err("The binding key must be at most 1000000".into()), "{key}");
        }
    }
}
