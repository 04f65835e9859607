//! Publishing: what is checked, where a message goes, and when it is safe.

use super::enqueue::{Part, Places};
use super::error::Error;
use super::session::Session;
use super::special::Special;
use super::topology::ExchangeCounters;
use super::{Broker, replies};
use crate::auth::permissions::Access;
use crate::durability::SafeAt;
use crate::exchange::extra_keys::{ExtraKeys, extra_keys, without_bcc};
use crate::exchange::{self};
use crate::message::{Message, Properties, flag};
use crate::name::{ExchangeName, Sequence};
use crate::outbox::Wakes;
use crate::queue::Queue;
use crate::queue::classic::Enqueued;
use crate::store::record::Origin;
use crate::telemetry::Published;
use foldhash::HashMap;
use smallvec::smallvec;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The longest expiration: ten years, in milliseconds.
const EXPIRATION_MS_MAX: u64 = 315_360_000_000;
/// How many routes a connection remembers before it starts over.
const ROUTES_MAX: usize = 4096;

/// What became of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is where it has to be.
    Safe,
    /// It is safe then.
    SafeAt(SafeAt),
    /// No queue was reached.
    Unroutable,
    /// A queue it reached is full.
    Rejected,
}

impl Outcome {
    /// What became of a message that went two ways.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Rejected, _) | (_, Self::Rejected) => Self::Rejected,
            (Self::SafeAt(one), Self::SafeAt(other)) if one.point.end > other.point.end => Self::SafeAt(one),
            (_, at @ Self::SafeAt(_)) | (at @ Self::SafeAt(_), _) => at,
            (Self::Unroutable, Self::Unroutable) => Self::Unroutable,
            _ => Self::Safe,
        }
    }
}

/// Where messages with one exchange and routing key go.
#[derive(Debug)]
struct Route {
    queues: Arc<[Arc<Queue>]>,
    counters: Arc<ExchangeCounters>,
    by_key_alone: bool,
    /// What stands between the message and the queues, if anything does.
    special: Option<Arc<Special>>,
}

/// The routes a connection remembers until topology or users change. An entry also says that its publish is permitted.
#[derive(Debug, Default)]
pub struct RouteCache {
    generation: (u64, u64),
    routes: HashMap<ExchangeName, HashMap<Box<[u8]>, Arc<Route>>>,
    count: usize,
    /// The last one added: most publishers have one.
    last: Option<(ExchangeName, Box<[u8]>, Arc<Route>)>,
}

impl RouteCache {
    fn get(&mut self, generation: (u64, u64), message: &Message) -> Option<Arc<Route>> {
        if self.generation != generation {
            self.clear(generation);
            return None;
        }
        let key = message.routing_key();
        if let Some((exchange, last_key, route)) = &self.last
            && **last_key == *key
            && *exchange == message.exchange
        {
            return Some(Arc::clone(route));
        }
        self.routes.get(&message.exchange)?.get(key).cloned()
    }

    fn put(&mut self, generation: (u64, u64), message: &Message, route: Arc<Route>) {
        if self.generation != generation || self.count >= ROUTES_MAX {
            self.clear(generation);
        }
        self.last = Some((message.exchange.clone(), message.routing_key().into(), route.clone()));
        let routes = self.routes.entry(message.exchange.clone()).or_default();
        routes.insert(message.routing_key().into(), route);
        self.count += 1;
    }

    fn clear(&mut self, generation: (u64, u64)) {
        *self = Self { generation, ..Self::default() };
    }
}

/// What a message is routed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    /// It is published: exchanges with a history keep it.
    Publish,
    /// A transaction may publish it later.
    Check,
}

/// A message ready to be enqueued.
#[derive(Debug)]
struct Prepared {
    message: Arc<Message>,
    route: Arc<Route>,
}

impl Broker {
    /// Routes a message and enqueues it.
    ///
    /// `refusal` is a fault that the protocol found and that counts after permission and existence of the exchange.
    /// # Errors
    /// The first failed check, in RabbitMQ's order (behaviour.md, 1.5).
    pub fn publish<E: From<Error>>(
        &self,
        session: &mut Session,
        message: &Arc<Message>,
        refusal: Option<E>,
        wakes: &mut Wakes,
    ) -> Result<Outcome, E> {
        session.tally.published(message.body().len());
        if replies::is_address(message) && self.reply(session, message, wakes)? {
            return Ok(Outcome::Safe);
        }
        let mut traced = self.tracer.trace(message);
        let Prepared { message, route } = self.prepare(session, message, refusal, Aim::Publish)?;
        if let Some(traced) = &mut traced {
            traced.routed();
        }
        if session.vhost.is_traced() {
            self.trace_publish(session, &message, &route.queues);
        }
        session.tally.routed(route.queues.len());
        let outcome = match &route.special {
            None => self.enqueue_in(&route.queues, &message, wakes),
            Some(special) => self.enqueue_specially(special, &route.queues, &message, wakes),
        };
        if let Some(traced) = traced {
            let how = match outcome {
                Outcome::Safe | Outcome::SafeAt(_) => Published::routed(route.queues.len()),
                Outcome::Rejected => Published::Rejected,
                Outcome::Unroutable => Published::Unroutable,
            };
            traced.published(&self.tracer, &message, how);
        }
        let is_confirmed = session.is_confirming && outcome != Outcome::Rejected;
        route.counters.count(route.queues.len(), is_confirmed);
        Ok(outcome)
    }

    fn enqueue_specially(
        &self,
        special: &Special,
        queues: &Arc<[Arc<Queue>]>,
        message: &Arc<Message>,
        wakes: &mut Wakes,
    ) -> Outcome {
        // Nobody need know that it has come before.
        let Some(parcels) = special.parcels(message, queues) else { return Outcome::Safe };
        let outcomes = parcels.iter().map(|(message, queues)| self.enqueue_in(queues, message, wakes));
        outcomes.reduce(Outcome::and).unwrap_or(Outcome::Unroutable)
    }

    #[inline]
    fn enqueue_in(&self, queues: &[Arc<Queue>], message: &Arc<Message>, wakes: &mut Wakes) -> Outcome {
        match queues {
            [] => Outcome::Unroutable,
            [queue] => match queue.publish(message, wakes) {
                Enqueued::Safe => Outcome::Safe,
                Enqueued::SafeAt(at) => Outcome::SafeAt(at),
                Enqueued::Rejected => Outcome::Rejected,
            },
            queues => self.fan_out(queues, message, wakes),
        }
    }

    /// Checks a message that a transaction will publish at its commit.
    ///
    /// # Errors
    /// As [`Broker::publish`].
    pub fn check_publish<E: From<Error>>(
        &self,
        session: &mut Session,
        message: &Arc<Message>,
        refusal: Option<E>,
    ) -> Result<(), E> {
        session.tally.published(message.body().len());
        self.prepare(session, message, refusal, Aim::Check).map(|_| ())
    }

    /// Counts a message that reached no queue: whoever published it knows whether it goes back.
    pub fn count_unroutable(&self, session: &Session, exchange: &ExchangeName, is_mandatory: bool) {
        let topology = session.vhost.topology();
        let counters = topology.exchange(exchange.as_str()).map(|exchange| Arc::clone(&exchange.counters));
        drop(topology);
        let counters = counters.unwrap_or_default();
        let (node, own) = if is_mandatory {
            (&self.counters.returned, &counters.returned)
        } else {
            (&self.counters.dropped, &counters.dropped)
        };
        node.fetch_add(1, Ordering::Relaxed);
        own.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes every check and finds the route; the message comes back as it is to be stored.
    fn prepare<E: From<Error>>(
        &self,
        session: &mut Session,
        message: &Arc<Message>,
        refusal: Option<E>,
        aim: Aim,
    ) -> Result<Prepared, E> {
        let generation = session.generation();
        let remembered = session.routes.get(generation, message);
        let flags = message.property_flags();
        if flags & (flag::HEADERS | flag::EXPIRATION | flag::USER_ID) == 0 && refusal.is_none() {
            let route = match remembered {
                Some(route) => route,
                None => self.find_route(session, message, &message.properties(), &[], aim)?,
            };
            return Ok(Prepared { message: Arc::clone(message), route });
        }
        if remembered.is_none() {
            self.check_exchange(session, &message.exchange)?;
        }
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let properties = message.properties();
        check_expiration(&properties)?;
        let ExtraKeys { keys, has_bcc } = extra_keys(&properties).map_err(Error::from)?;
        if flags & flag::USER_ID != 0 && (remembered.is_none() || !keys.is_empty()) {
            // Before whose message it says it is; of all others when their route is looked for.
            check_topics(session, message, &keys)?;
        }
        check_user_id(session, &properties)?;
        let route = match remembered {
            Some(route) if keys.is_empty() => route,
            _ => self.find_route(session, message, &properties, &keys, aim)?,
        };
        let message = if has_bcc {
            Arc::new(message.with_properties(&without_bcc(message.raw_properties())))
        } else {
            Arc::clone(message)
        };
        Ok(Prepared { message, route })
    }

    /// Permission, existence, and that clients may publish to it.
    fn check_exchange(&self, session: &Session, name: &ExchangeName) -> Result<(), Error> {
        let resource = session.exchange(name);
        session.check(Access::Write, resource.clone())?;
        let topology = session.vhost.topology();
        match topology.exchange(name.as_str()) {
            None => Err(Error::NotFound(resource)),
            Some(exchange) if exchange.definition.internal => Err(Error::InternalExchange(resource)),
            Some(_) => Ok(()),
        }
    }

    fn find_route(
        &self,
        session: &mut Session,
        message: &Arc<Message>,
        properties: &Properties<'_>,
        keys: &[&[u8]],
        aim: Aim,
    ) -> Result<Arc<Route>, Error> {
        let generation = session.generation();
        self.check_exchange(session, &message.exchange)?;
        check_topics(session, message, keys)?;
        let publish =
            exchange::Publish::new(message.routing_key(), keys, properties).with_random(session.draw());
        let route = {
            let topology = session.vhost.topology();
            let routed = topology.route(&message.exchange, &publish);
            if aim == Aim::Publish {
                topology.keep(&routed.kept_by, message);
            }
            let queues = routed.queues.iter().filter_map(|name| topology.queue(name.as_str()).cloned());
            let counters =
                topology.exchange(message.exchange.as_str()).map(|exchange| exchange.counters.clone());
            Arc::new(Route {
                queues: queues.collect(),
                counters: counters.unwrap_or_default(),
                by_key_alone: routed.by_key_alone,
                special: Special::of(&topology, &message.exchange, &routed.delayed_by),
            })
        };
        if route.by_key_alone {
            session.routes.put(generation, message, route.clone());
        }
        Ok(route)
    }

    /// Enqueues a message in several queues: one record, one place in each.
    fn fan_out(&self, queues: &[Arc<Queue>], message: &Arc<Message>, wakes: &mut Wakes) -> Outcome {
        if !queues.iter().any(|queue| queue.keeps(message)) {
            let is_rejected = Places::default().enqueue(queues, None, message, wakes);
            return if is_rejected { Outcome::Rejected } else { Outcome::Safe };
        }
        // No checkpoint sees a place whose record may be older than it.
        let _hold = self.store.hold_checkpoints();
        let places = Places::reserve(queues, message);
        let record = || self.store.append_publish(message, &places.targets(), Origin::default());
        let appended = places.is_kept().then(record);
        if places.enqueue(queues, appended, message, wakes) {
            return Outcome::Rejected;
        }
        let durability = places.strictest(queues);
        appended.map_or(Outcome::Safe, |appended| {
            Outcome::SafeAt(durability.safe_at(appended.end, appended.is_large))
        })
    }

    /// Publishes and settles of a transaction: in one record of the journal, then in the queues.
    pub(super) fn commit_publishes(
        &self,
        session: &mut Session,
        publishes: &[Arc<Message>],
        settles: &[(Arc<Queue>, Vec<Sequence>)],
        wakes: &mut Wakes,
    ) -> Committed {
        let _hold = self.store.hold_checkpoints();
        let mut committed = Committed::default();
        let mut parts = Vec::new();
        for (index, message) in publishes.iter().enumerate() {
            if replies::is_address(message) && self.reply(session, message, wakes).unwrap_or(false) {
                continue;
            }
            let traced = self.tracer.trace(message);
            let Ok(Prepared { message, route }) = self.prepare::<Error>(session, message, None, Aim::Publish)
            else {
                // An exchange that went since the publish was checked leads nowhere.
                committed.unroutable.push(index);
                continue;
            };
            if session.vhost.is_traced() {
                self.trace_publish(session, &message, &route.queues);
            }
            route.counters.count(route.queues.len(), false);
            session.tally.routed(route.queues.len());
            if let Some(traced) = traced {
                traced.published(&self.tracer, &message, Published::routed(route.queues.len()));
            }
            let parcels = match &route.special {
                None => smallvec![(message, Arc::clone(&route.queues))],
                // Nobody need know that it has come before.
                Some(special) => match special.parcels(&message, &route.queues) {
                    Some(parcels) => parcels,
                    None => continue,
                },
            };
            if parcels.iter().all(|(_, queues)| queues.is_empty()) {
                committed.unroutable.push(index);
                continue;
            }
            parts.extend(parcels.into_iter().map(|(message, queues)| {
                let places = Places::reserve_in_order(&queues, &message);
                Part { message, queues, places }
            }));
        }
        let settled: Vec<_> = settles
            .iter()
            .map(|(queue, sequences)| (queue.definition.id, queue.ack_for_transaction(sequences, wakes)))
            .filter(|(_, records)| !records.is_empty())
            .collect();
        let settled: Vec<_> = settled.iter().map(|(queue, records)| (*queue, &records[..])).collect();
        let kept = parts.iter().filter(|part| part.places.is_kept());
        let durability = kept.map(|part| part.places.strictest(&part.queues));
        let durability = durability.chain(settles.iter().map(|(queue, _)| queue.durability())).min();
        let (end, is_partial) = self.enqueue_together(parts.iter(), &settled, wakes);
        committed.safe_at = end.map(|end| durability.unwrap_or_default().safe_at(end, false));
        committed.is_partial = is_partial;
        committed
    }
}

/// What became of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// The index of each message that reached no queue.
    pub unroutable: Vec<usize>,
    /// When its record is safe, if there is one: the commit is told only then.
    pub safe_at: Option<SafeAt>,
    /// A queue was full and did not take a message; the rest is done.
    pub is_partial: bool,
}

/// Milliseconds as digits; the reasons are written as RabbitMQ writes them.
fn check_expiration(properties: &Properties<'_>) -> Result<(), Error> {
    let Some(raw) = properties.expiration else { return Ok(()) };
    let value = String::from_utf8_lossy(raw).into_owned();
    let digits = value.strip_prefix('-').unwrap_or(&value);
    let (number, rest) = digits.split_at(digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len()));
    let reason = match number.parse::<u64>() {
        _ if number.is_empty() => "no_integer".to_owned(),
        _ if !rest.is_empty() => format!("{{leftover_string,\"{rest}\"}}"),
        _ if value.starts_with('-') => format!("{{value_negative,{value}}}"),
        Ok(ms) if ms <= EXPIRATION_MS_MAX => return Ok(()),
        _ => format!("{{value_too_large,{value}}}"),
    };
    Err(Error::Expiration { value, reason })
}

/// Whether the message's routing keys are for its publisher to use.
fn check_topics(session: &Session, message: &Message, keys: &[&[u8]]) -> Result<(), Error> {
    let keys = std::iter::once(message.routing_key()).chain(keys.iter().copied());
    session.check_topics(Access::Write, &message.exchange, keys)
}

fn check_user_id(session: &Session, properties: &Properties<'_>) -> Result<(), Error> {
    match properties.user_id {
        Some(claimed) if claimed != session.user.as_str().as_bytes() && !session.tags.is_impersonator() => {
            let claimed = String::from_utf8_lossy(claimed).into_owned();
            Err(Error::UserId { claimed, user: session.user.clone() })
        }
        _ => Ok(()),
    }
}
