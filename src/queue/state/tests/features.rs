//! All features together: any run of commands, watched effect by effect by a naive model. No message is lost or doubled,
//! limits are never exceeded, messages are taken in order, and only by consumers that may have them.

use super::paging::Paged;
use super::*;
use crate::store::index::QueueImage;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug, PartialEq)]
struct Message {
    level: u8,
    expires_at: Millis,
    bytes: u32,
    is_durable: bool,
    failures: u16,
    returns: u16,
}

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Ready,
    /// With this consumer; none for one that was got.
    Unacked(Option<u64>),
    Held(Millis),
    Dead(Reason),
    /// It left, and is to be settled by the next effects.
    Leaving,
    Gone,
}

#[derive(Clone, Debug)]
struct Client {
    key: ConsumerKey,
    prefetch: u32,
    priority: i32,
    acknowledges: bool,
    is_blocked: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Publish { count: usize, priority: u8, ttl_ms: u64, is_durable: bool },
    Subscribe { prefetch: u32, priority: i32, acknowledges: bool },
    Unsubscribe(usize),
    Block(usize),
    Resume(usize),
    Get,
    Ack(usize, usize),
    Discard(usize, usize),
    Requeue(usize, usize, bool),
    Pass(u64),
    Purge,
    Rules(Rules),
    Move(usize),
    Evict,
    Restart,
}

fn rules() -> impl Strategy<Value = Rules> {
    let overflow = prop_oneof![
        3 => Just(Overflow::DropHead),
        1 => Just(Overflow::RejectPublish),
        1 => Just(Overflow::RejectPublishDlx),
    ];
    let retry =
        (prop::option::of(prop_oneof![Just(Return::Plain), Just(Return::Failed)]), 1u64..20, 1u64..60);
    let retry = retry.prop_map(|(only, min_ms, max_ms)| Retry { only, min_ms, max_ms });
    let limits = (prop::option::of(0u64..30), prop::option::weighted(0.3, 0u64..200));
    (limits, overflow, any::<bool>(), prop::option::of(0u16..3), prop::option::weighted(0.3, retry)).prop_map(
        |((length_max, length_bytes_max), overflow, has_dead_letters, delivery_limit, retry)| Rules {
            length_max,
            length_bytes_max,
            overflow,
            has_dead_letters,
            delivery_limit,
            consumer_timeout_ms: None,
            retry,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let ttl = prop_oneof![6 => Just(0u64), 2 => 1u64..60];
    let publish = (1usize..20, 0u8..4, ttl, prop::bool::weighted(0.7));
    let some = || (0usize..12, 1usize..5);
    prop_oneof![
        10 => publish.prop_map(|(count, priority, ttl_ms, is_durable)| {
            Step::Publish { count, priority, ttl_ms, is_durable }
        }),
        3 => (0u32..4, 0i32..3, prop::bool::weighted(0.8)).prop_map(|(prefetch, priority, acknowledges)| {
            Step::Subscribe { prefetch, priority, acknowledges }
        }),
        1 => (0usize..4).prop_map(Step::Unsubscribe),
        1 => (0usize..4).prop_map(Step::Block),
        2 => (0usize..4).prop_map(Step::Resume),
        3 => Just(Step::Get),
        6 => some().prop_map(|(at, count)| Step::Ack(at, count)),
        3 => some().prop_map(|(at, count)| Step::Discard(at, count)),
        4 => (some(), any::<bool>()).prop_map(|((at, count), failed)| Step::Requeue(at, count, failed)),
        4 => (1u64..40).prop_map(Step::Pass),
        1 => Just(Step::Purge),
        2 => rules().prop_map(Step::Rules),
        3 => (1usize..9).prop_map(Step::Move),
        1 => Just(Step::Evict),
        1 => Just(Step::Restart),
    ]
}

struct Run {
    paged: Paged,
    shape: Shape,
    rules: Rules,
    now: Millis,
    messages: BTreeMap<u64, (Message, Place)>,
    dead: Vec<u64>,
    clients: BTreeMap<u64, Client>,
    next_client: u64,
}

impl Run {
    fn new(shape: Shape, rules: Rules) -> Self {
        let mut paged = Paged::new(0);
        paged.state = State::recovered(shape, QueueImage::default());
        paged.state.set_rules(rules);
        let (messages, dead, clients) = Default::default();
        Self { paged, shape, rules, now: NOW, messages, dead, clients, next_client: 1 }
    }

    fn at(&self, place: Place) -> Vec<u64> {
        let there = self.messages.iter().filter(|(_, (_, other))| *other == place);
        there.map(|(sequence, _)| *sequence).collect()
    }

    /// The ready messages, the next first.
    fn ready(&self) -> Vec<u64> {
        let mut ready = self.at(Place::Ready);
        ready.sort_by_key(|sequence| (std::cmp::Reverse(self.messages[sequence].0.level), *sequence));
        ready
    }

    fn unacked(&self) -> Vec<u64> {
        let is_unacked = |place: &Place| matches!(place, Place::Unacked(_));
        let unacked = self.messages.iter().filter(|(_, (_, place))| is_unacked(place));
        unacked.map(|(sequence, _)| *sequence).collect()
    }

    fn load(&self, client: u64) -> usize {
        self.at(Place::Unacked(Some(client))).len()
    }

    fn may_take(&self, id: u64) -> bool {
        let client = &self.clients[&id];
        let has_credit =
            !client.acknowledges || client.prefetch == 0 || self.load(id) < client.prefetch as usize;
        has_credit && !client.is_blocked
    }

    fn is_over(&self) -> bool {
        let ready = self.ready();
        let bytes: u64 = ready.iter().map(|sequence| u64::from(self.messages[sequence].0.bytes)).sum();
        self.rules.length_max.is_some_and(|max| ready.len() as u64 > max)
            || self.rules.length_bytes_max.is_some_and(|max| bytes > max)
    }

    /// Applies a command and those that follow from it, and watches what they lead to.
    fn run(&mut self, command: Command<'_>) -> Result<(), TestCaseError> {
        let held: Vec<_> = self
            .messages
            .iter_mut()
            .filter_map(|(_, (_, place))| match place {
                Place::Held(until) if *until <= self.now => Some(place),
                _ => None,
            })
            .collect();
        held.into_iter().for_each(|place| *place = Place::Ready);
        let effects = self.paged.run(self.now, command);
        self.watch(effects)?;
        for _ in 0..1_000 {
            let effects = if self.paged.load.is_some() {
                self.paged.answer(self.now)
            } else if self.paged.state.has_more() {
                self.paged.run(self.now, Command::Continue)
            } else {
                break;
            };
            self.watch(effects)?;
        }
        Ok(())
    }

    fn watch(&mut self, effects: Vec<Effect>) -> Result<(), TestCaseError> {
        for effect in effects {
            match effect {
                Effect::Deliver { consumer, sequence, .. } => self.delivered(consumer, sequence.0)?,
                Effect::Got { sequence, .. } => {
                    self.is_next(sequence.0)?;
                    self.put(sequence.0, Place::Unacked(None));
                }
                Effect::Left(index, reason) => self.left(index, reason)?,
                Effect::Settled(index) => {
                    let place = self.messages[&index.sequence.0].1;
                    prop_assert_eq!(place, Place::Leaving, "{} is settled", index.sequence);
                    self.put(index.sequence.0, Place::Gone);
                }
                Effect::Returned(index, how) => {
                    let (message, place) = self.messages.get_mut(&index.sequence.0).unwrap();
                    prop_assert!(matches!(place, Place::Unacked(_)));
                    message.returns += 1;
                    message.failures += u16::from(how == Return::Failed);
                    prop_assert_eq!((index.returns, index.failures), (message.returns, message.failures));
                    let is_beyond = self.rules.delivery_limit.is_some_and(|limit| message.failures > limit);
                    let delay = self.rules.retry.and_then(|retry| retry.delay_ms(how, message.returns));
                    *place = match delay {
                        Some(delay) if !is_beyond && delay > 0 => Place::Held(Millis(self.now.0 + delay)),
                        _ => Place::Ready,
                    };
                }
                Effect::DeadLetters | Effect::GetLater | Effect::Subscribed(_) | Effect::Unused => {}
                other => prop_assert!(false, "{other:?}"),
            }
        }
        Ok(())
    }

    fn put(&mut self, sequence: u64, place: Place) {
        self.messages.get_mut(&sequence).unwrap().1 = place;
    }

    fn is_next(&self, sequence: u64) -> Result<(), TestCaseError> {
        let message = self.messages[&sequence].0;
        prop_assert_eq!(self.ready().first().copied(), Some(sequence));
        // One that lives no time at all is delivered as it comes or never.
        prop_assert!(message.expires_at > self.now || message.returns == 0, "it had expired");
        Ok(())
    }

    fn delivered(&mut self, key: ConsumerKey, sequence: u64) -> Result<(), TestCaseError> {
        self.is_next(sequence)?;
        let (&id, client) = self.clients.iter().find(|(_, client)| client.key == key).unwrap();
        prop_assert!(self.may_take(id), "a consumer without credit is served");
        if self.shape.single_active {
            prop_assert_eq!(self.paged.state.active_consumer().map(|id| id.0), Some(id));
        } else {
            let better = self
                .clients
                .iter()
                .find(|(other, better)| better.priority > client.priority && self.may_take(**other));
            prop_assert!(better.is_none(), "a higher priority goes without");
        }
        let place = if client.acknowledges { Place::Unacked(Some(id)) } else { Place::Leaving };
        self.put(sequence, place);
        Ok(())
    }

    fn left(&mut self, index: IndexEntry, reason: Reason) -> Result<(), TestCaseError> {
        let sequence = index.sequence.0;
        let (message, place) = self.messages[&sequence];
        let is_right = match reason {
            Reason::Expired => place == Place::Ready && message.expires_at <= self.now,
            Reason::MaxLen => {
                let lowest = self.ready().into_iter().min_by_key(|at| (self.messages[at].0.level, *at));
                place == Place::Ready && self.is_over() && lowest == Some(sequence)
            }
            Reason::Rejected => matches!(place, Place::Unacked(_)),
            Reason::DeliveryLimit => {
                let limit = self.rules.delivery_limit;
                place == Place::Ready && limit.is_some_and(|limit| message.failures > limit)
            }
        };
        prop_assert!(is_right, "{sequence} left as {reason:?} from {place:?}: {message:?}");
        if self.rules.has_dead_letters {
            self.put(sequence, Place::Dead(reason));
            self.dead.push(sequence);
        } else {
            self.put(sequence, Place::Leaving);
        }
        Ok(())
    }

    fn publish(&mut self, priority: u8, ttl_ms: u64, is_durable: bool) -> Result<(), TestCaseError> {
        let bytes = 4;
        let would_be_full = {
            let ready = self.ready();
            let sum: u64 = ready.iter().map(|sequence| u64::from(self.messages[sequence].0.bytes)).sum();
            self.rules.length_max.is_some_and(|max| ready.len() as u64 + 1 > max)
                || self.rules.length_bytes_max.is_some_and(|max| sum + u64::from(bytes) > max)
        };
        let expected = match self.rules.overflow {
            Overflow::RejectPublishDlx if would_be_full && self.rules.has_dead_letters => Verdict::Bury,
            Overflow::RejectPublish | Overflow::RejectPublishDlx if would_be_full => Verdict::Reject,
            _ => Verdict::Accept,
        };
        prop_assert_eq!(self.paged.state.verdict(bytes), expected);
        if expected == Verdict::Reject {
            return Ok(());
        }
        let sequence = self.paged.state.take_sequence();
        let expires_at = if ttl_ms == 0 { NEVER } else { Millis(self.now.0 + ttl_ms) };
        let position = if is_durable { Position(sequence.0 * 10) } else { Position::NONE };
        let index = IndexEntry { priority, expires_at, position, is_durable, ..index(sequence.0) };
        let entry = Entry { index, message: Some(message()) };
        let level = priority.min(self.shape.max_priority);
        let message = Message { level, expires_at, bytes, is_durable, failures: 0, returns: 0 };
        self.messages.insert(sequence.0, (message, Place::Ready));
        if expected == Verdict::Accept {
            return self.run(Command::Enqueue(entry));
        }
        // It never was in its place.
        self.put(sequence.0, Place::Unacked(None));
        let effects = self.paged.run(self.now, Command::Bury(entry, Reason::MaxLen));
        for effect in effects {
            match effect {
                Effect::Left(index, Reason::MaxLen) if index.sequence == sequence => {
                    self.put(sequence.0, Place::Dead(Reason::MaxLen));
                    self.dead.push(sequence.0);
                }
                other => self.watch(vec![other])?,
            }
        }
        Ok(())
    }

    /// Some of the unacked messages.
    fn some(&self, at: usize, count: usize) -> Vec<Sequence> {
        self.unacked().into_iter().skip(at).take(count).map(Sequence).collect()
    }

    fn client(&self, at: usize) -> Option<(ConsumerKey, ConsumerId)> {
        self.clients.iter().nth(at).map(|(id, client)| (client.key, ConsumerId(*id)))
    }

    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Publish { count, priority, ttl_ms, is_durable } => {
                for _ in 0..count {
                    self.run(Command::Expire)?;
                    self.publish(priority, ttl_ms, is_durable)?;
                }
            }
            Step::Subscribe { prefetch, priority, acknowledges } => {
                self.subscribe(prefetch, priority, acknowledges)?
            }
            Step::Unsubscribe(at) => {
                if let Some((key, id)) = self.client(at) {
                    self.clients.remove(&id.0);
                    self.run(Command::Unsubscribe(key, id))?;
                }
            }
            Step::Block(at) => {
                if let Some((key, id)) = self.client(at) {
                    self.clients.get_mut(&id.0).unwrap().is_blocked = true;
                    self.run(Command::Block(key, id))?;
                }
            }
            Step::Resume(at) => {
                if let Some((key, id)) = self.client(at) {
                    self.clients.get_mut(&id.0).unwrap().is_blocked = false;
                    self.run(Command::Resume(key, id))?;
                }
            }
            Step::Get => {
                self.run(Command::Get { acknowledges: true })?;
            }
            Step::Ack(at, count) => {
                let acked = self.some(at, count);
                acked.iter().for_each(|sequence| self.put(sequence.0, Place::Leaving));
                self.run(Command::Ack(&acked))?;
            }
            Step::Discard(at, count) => self.run(Command::Discard(&self.some(at, count)))?,
            Step::Requeue(at, count, true) => {
                self.run(Command::Requeue { plain: &[], failed: &self.some(at, count) })?;
            }
            Step::Requeue(at, count, false) => {
                self.run(Command::Requeue { plain: &self.some(at, count), failed: &[] })?;
            }
            Step::Pass(ms) => {
                self.now.0 += ms;
                self.run(Command::Expire)?;
            }
            Step::Purge => {
                self.run(Command::Expire)?;
                let purged = self
                    .messages
                    .values_mut()
                    .filter(|(_, place)| matches!(place, Place::Ready | Place::Held(_)));
                purged.for_each(|(_, place)| *place = Place::Leaving);
                self.run(Command::Purge)?;
            }
            Step::Rules(rules) => {
                self.run(Command::Expire)?;
                self.rules = rules;
                self.paged.state.set_rules(rules);
                self.run(Command::Trim)?;
            }
            Step::Move(count) => self.move_dead(count)?,
            Step::Evict => self.run(Command::Evict { bytes: u64::MAX })?,
            Step::Restart => self.restart()?,
        }
        Ok(())
    }

    fn subscribe(&mut self, prefetch: u32, priority: i32, acknowledges: bool) -> Result<(), TestCaseError> {
        let id = self.next_client;
        self.next_client += 1;
        let new = Consumer { priority, acknowledges, ..consumer(id, prefetch) };
        let effects = self.paged.run(self.now, Command::Subscribe(new));
        let subscribed = effects.iter().find_map(|effect| match effect {
            Effect::Subscribed(key) => Some(*key),
            _ => None,
        });
        let client = Client { key: subscribed.unwrap(), prefetch, priority, acknowledges, is_blocked: false };
        self.clients.insert(id, client);
        self.watch(effects)?;
        self.run(Command::Continue)
    }

    /// Some dead letters are moved: the first ones, in order.
    fn move_dead(&mut self, count: usize) -> Result<(), TestCaseError> {
        let dead = self.paged.state.dead(count, u64::MAX, false);
        let sequences: Vec<Sequence> = dead.iter().map(|dead| dead.entry.index.sequence).collect();
        let expected: Vec<_> = self.dead.iter().copied().take(count).map(Sequence).collect();
        prop_assert_eq!(&sequences, &expected);
        for dead in &dead {
            let place = self.messages[&dead.entry.index.sequence.0].1;
            prop_assert_eq!(place, Place::Dead(dead.reason));
            self.put(dead.entry.index.sequence.0, Place::Leaving);
        }
        self.dead.drain(..sequences.len());
        self.run(Command::Buried(&sequences))
    }

    /// Everybody goes, and the queue comes back as the checkpoint has it.
    fn restart(&mut self) -> Result<(), TestCaseError> {
        while !self.clients.is_empty() {
            self.take(Step::Unsubscribe(0))?;
        }
        let unacked: Vec<Sequence> = self.unacked().into_iter().map(Sequence).collect();
        self.run(Command::Requeue { plain: &unacked, failed: &[] })?;
        let mut effects = Vec::new();
        let image = self.paged.state.image(&mut effects);
        let rest = self.paged.note(self.now, effects);
        self.watch(rest)?;
        let id = crate::name::QueueId(1);
        let image = QueueImage::decode(id, &image.encode(id)).unwrap();
        self.paged.state = State::recovered(self.shape, image);
        self.paged.state.set_rules(self.rules);
        self.paged.load = None;
        for (message, place) in self.messages.values_mut().filter(|(message, _)| !message.is_durable) {
            debug_assert!(!message.is_durable);
            *place = Place::Gone;
        }
        let messages = &self.messages;
        self.dead.retain(|sequence| messages[sequence].0.is_durable);
        self.run(Command::Expire)?;
        self.run(Command::Trim)
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let (ready, state) = (self.ready(), &self.paged.state);
        prop_assert_eq!(state.ready_count(), ready.len());
        prop_assert_eq!(state.unacked_count(), self.unacked().len());
        prop_assert_eq!(state.leaving_count(), self.dead.len());
        let held = self.messages.values().filter(|(_, place)| matches!(place, Place::Held(_)));
        prop_assert_eq!(state.held_count(), held.count());
        prop_assert!(
            !self.messages.values().any(|(_, place)| *place == Place::Leaving),
            "something is not settled"
        );
        if self.rules.overflow == Overflow::DropHead {
            prop_assert!(!self.is_over(), "the limits are exceeded");
        }
        let expired = ready.iter().find(|sequence| self.messages[sequence].0.expires_at <= self.now);
        prop_assert!(expired.is_none(), "{expired:?} has expired");
        if !ready.is_empty() {
            let idle = self.clients.keys().find(|id| {
                let is_served =
                    !self.shape.single_active || state.active_consumer() == Some(ConsumerId(**id));
                is_served && self.may_take(**id)
            });
            prop_assert!(idle.is_none(), "consumer {idle:?} waits beside {ready:?}");
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, ..ProptestConfig::default() })]
    #[test]
    fn with_all_features_no_message_is_lost_or_doubled_and_every_rule_holds(
        max_priority in 0u8..4,
        single_active in prop::bool::weighted(0.2),
        rules in rules(),
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let shape = Shape { max_priority, single_active, ..Shape::default() };
        let mut run = Run::new(shape, rules);
        for step in steps {
            run.take(step)?;
            run.check()?;
        }
        // Everything that is left is somewhere, once.
        let unacked: BTreeSet<Sequence> = run.unacked().into_iter().map(Sequence).collect();
        let unacked: Vec<_> = unacked.into_iter().collect();
        unacked.iter().for_each(|sequence| run.put(sequence.0, Place::Leaving));
        run.clients.values_mut().for_each(|client| client.is_blocked = true);
        let clients: Vec<_> = (0..run.clients.len()).filter_map(|at| run.client(at)).collect();
        for (key, id) in clients {
            run.run(Command::Block(key, id))?;
        }
        run.run(Command::Ack(&unacked))?;
        run.move_dead(usize::MAX)?;
        run.take(Step::Purge)?;
        prop_assert!(run.messages.values().all(|(_, place)| *place == Place::Gone));
        prop_assert_eq!(run.paged.state.memory_bytes(), 0);
    }
}
