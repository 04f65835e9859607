//! A channel's deliveries that wait to be settled, by delivery tag. PURE.

use crate::name::{ConsumerId, DeliveryTag, QueueId, Sequence};
use std::collections::VecDeque;

/// A delivery that wants an ack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Its number on the channel.
    pub tag: DeliveryTag,
    /// The queue it came from.
    pub queue: QueueId,
    /// Its place there.
    pub sequence: Sequence,
    /// Who got it; none for `basic.get`.
    pub consumer: Option<ConsumerId>,
}

/// The tag is not outstanding: never given, or settled before. Becomes 406 `unknown delivery tag N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownTag(pub DeliveryTag);

/// How many gaps are kept before those that are between others go, too.
const GAPS_MAX: usize = 1024;

/// Deliveries in the order of their tags; settled ones stay as gaps until all before them are settled, or until there are
/// more gaps than deliveries.
#[derive(Debug, Default)]
pub struct Unacked {
    slots: VecDeque<(DeliveryTag, Option<Delivered>)>,
    count: usize,
}

impl Unacked {
    /// Records a delivery; its tag is higher than all before.
    pub fn add(&mut self, delivered: Delivered) {
        debug_assert!(self.slots.back().is_none_or(|(last, _)| *last < delivered.tag), "tags grow");
        self.slots.push_back((delivered.tag, Some(delivered)));
        self.count += 1;
    }

    /// How many are outstanding.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none is outstanding.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes what an ack of `tag` settles into `into`, the oldest first.
    ///
    /// With `multiple`, everything up to and including `tag`, and tag 0 means all, also when there is none.
    /// # Errors
    /// [`UnknownTag`] when `tag` itself is not outstanding (RabbitMQ: also if lower ones are); nothing is taken then.
    pub fn take(
        &mut self,
        tag: DeliveryTag,
        multiple: bool,
        into: &mut Vec<Delivered>,
    ) -> Result<(), UnknownTag> {
        if multiple && tag.0 == 0 {
            into.extend(self.take_all());
            return Ok(());
        }
        let at = match self.slots.front() {
            // An ack of the oldest, and acks in order, need no search.
            Some((first, _)) if *first == tag => 0,
            _ => self.slots.binary_search_by_key(&tag, |slot| slot.0).map_err(|_| UnknownTag(tag))?,
        };
        if self.slots[at].1.is_none() {
            return Err(UnknownTag(tag));
        }
        let before = into.len();
        if multiple {
            into.extend(self.slots.drain(..=at).filter_map(|(_, delivered)| delivered));
        } else {
            into.extend(self.slots[at].1.take());
        }
        self.count -= into.len() - before;
        while self.slots.front().is_some_and(|(_, delivered)| delivered.is_none()) {
            self.slots.pop_front();
        }
        if self.slots.len() > GAPS_MAX + 2 * self.count {
            self.slots.retain(|(_, delivered)| delivered.is_some());
        }
        Ok(())
    }

    /// Takes everything, the oldest first.
    pub fn take_all(&mut self) -> Vec<Delivered> {
        self.count = 0;
        std::mem::take(&mut self.slots).into_iter().filter_map(|(_, delivered)| delivered).collect()
    }

    /// Takes everything that a consumer got, the oldest first.
    pub fn take_of(&mut self, consumer: ConsumerId) -> Vec<Delivered> {
        let of = |(_, delivered): &mut (DeliveryTag, Option<Delivered>)| {
            delivered.take_if(|delivered| delivered.consumer == Some(consumer))
        };
        let taken: Vec<Delivered> = self.slots.iter_mut().filter_map(of).collect();
        self.count -= taken.len();
        self.slots.retain(|(_, delivered)| delivered.is_some());
        taken
    }

    /// Puts taken deliveries back to their places: a transaction was rolled back.
    pub fn restore(&mut self, deliveries: Vec<Delivered>) {
        if deliveries.is_empty() {
            return;
        }
        let mut all = self.take_all();
        all.extend(deliveries);
        all.sort_unstable_by_key(|delivered| delivered.tag);
        self.count = all.len();
        self.slots = all.into_iter().map(|delivered| (delivered.tag, Some(delivered))).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(tags: impl IntoIterator<Item = u64>) -> Unacked {
        let mut unacked = Unacked::default();
        for tag in tags {
            let (queue, sequence) = (QueueId(1), Sequence(tag));
            unacked.add(Delivered { tag: DeliveryTag(tag), queue, sequence, consumer: None });
        }
        unacked
    }

    fn take(unacked: &mut Unacked, tag: u64, multiple: bool) -> Result<Vec<u64>, UnknownTag> {
        let mut into = Vec::new();
        unacked.take(DeliveryTag(tag), multiple, &mut into)?;
        Ok(into.iter().map(|delivered| delivered.tag.0).collect())
    }

    #[test]
    fn multiple_takes_all_up_to_the_tag_oldest_first() {
        let mut unacked = filled([1, 2, 4, 5]);
        assert_eq!(take(&mut unacked, 2, false), Ok(vec![2]));
        assert_eq!(take(&mut unacked, 4, true), Ok(vec![1, 4]));
        assert_eq!(take(&mut unacked, 0, true), Ok(vec![5]));
        assert_eq!(take(&mut unacked, 0, true), Ok(vec![]));
        assert_eq!(unacked.len(), 0);
    }

    #[test]
    fn a_tag_that_is_not_outstanding_is_unknown_and_takes_nothing() {
        let mut unacked = filled([1, 2, 4]);
        assert_eq!(take(&mut unacked, 3, true), Err(UnknownTag(DeliveryTag(3))));
        assert_eq!(take(&mut unacked, 9, true), Err(UnknownTag(DeliveryTag(9))));
        assert_eq!(take(&mut unacked, 0, false), Err(UnknownTag(DeliveryTag(0))));
        assert_eq!(take(&mut unacked, 2, false), Ok(vec![2]));
        assert_eq!(take(&mut unacked, 2, true), Err(UnknownTag(DeliveryTag(2))));
        assert_eq!(unacked.len(), 2);
    }

    #[test]
    fn one_delivery_held_for_long_does_not_keep_the_gaps_behind_it() {
        let mut unacked = filled(1..=10_000);
        (2..10_000).for_each(|tag| assert_eq!(take(&mut unacked, tag, false), Ok(vec![tag])));
        assert!(unacked.slots.len() <= GAPS_MAX + 4, "{} slots", unacked.slots.len());
        assert_eq!(take(&mut unacked, 5000, false), Err(UnknownTag(DeliveryTag(5000))));
        assert_eq!(take(&mut unacked, 10_000, true), Ok(vec![1, 10_000]));
    }

    #[test]
    fn a_rollback_restores_the_order() {
        let mut unacked = filled([1, 2, 3]);
        let mut taken = Vec::new();
        unacked.take(DeliveryTag(2), false, &mut taken).unwrap();
        unacked.restore(taken);
        assert_eq!(take(&mut unacked, 0, true), Ok(vec![1, 2, 3]));
    }
}
