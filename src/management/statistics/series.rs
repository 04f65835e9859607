//! Figures over time, as they were at each sampling, and what is told of them: rates, and samples of a span. PURE.
//!
//! Times are whole seconds since 1970. A sample in which nothing has changed is not kept: what stands still costs one
//! point, however long it does.

use std::collections::VecDeque;

/// For how long samples are kept, the first of each `grid` seconds; all in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    grid: u64,
    span: u64,
}

/// What is kept of single objects: as RabbitMQ's `basic` policy has it.
pub(super) const BASIC: &[Level] = &[Level { grid: 1, span: 600 }, Level { grid: 60, span: 3_600 }];

/// What is kept of a whole node: as RabbitMQ's `global` policy has it.
pub(super) const GLOBAL: &[Level] = &[
    Level { grid: 1, span: 600 },
    Level { grid: 60, span: 3_600 },
    Level { grid: 600, span: 28_800 },
    Level { grid: 1_800, span: 86_400 },
];

/// When the last two samples were taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::management) struct Recent {
    /// The newest; 0 before the first.
    pub(in crate::management) last: u64,
    /// The one before; 0 before the second.
    pub(in crate::management) previous: u64,
    /// Milliseconds that really lay between these two.
    pub(in crate::management) apart_ms: u64,
}

/// A span of samples that a request asks for: one each `step` seconds, back to `age` seconds ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::management) struct Span {
    pub(in crate::management) age: u64,
    pub(in crate::management) step: u64,
}

impl Span {
    /// The times of the samples, the newest first.
    pub(super) fn times(self, newest: u64) -> impl Iterator<Item = u64> {
        let newest = newest - newest % self.step;
        (0..=self.age / self.step).map_while(move |back| newest.checked_sub(back * self.step))
    }
}

#[derive(Clone, Copy, Debug)]
struct Point<const N: usize> {
    at: u64,
    figures: [u64; N],
}

/// `N` figures over time.
#[derive(Clone, Debug)]
pub(super) struct Series<const N: usize> {
    levels: &'static [Level],
    first: u64,
    /// When it was sampled last, changed or not.
    pub(super) seen: u64,
    /// For each level its points, the oldest first. The oldest tells what there was when the span began.
    points: Vec<VecDeque<Point<N>>>,
}

/// What a point of that many figures takes, in bytes.
pub(super) const fn point_bytes<const N: usize>() -> usize {
    size_of::<Point<N>>()
}

impl<const N: usize> Series<N> {
    pub(super) fn new(levels: &'static [Level]) -> Self {
        Self { levels, first: 0, seen: 0, points: vec![VecDeque::new(); levels.len()] }
    }

    /// Takes what the figures are at `at`, which is later than all before, and gives back what they were at the sample
    /// before. Keeps `points_max` points of a level.
    pub(super) fn add(&mut self, at: u64, figures: [u64; N], points_max: usize) -> Option<[u64; N]> {
        let before = self.points.first().and_then(VecDeque::back).map(|newest| newest.figures);
        if self.seen == 0 {
            self.first = at;
        }
        self.seen = at;
        for (level, points) in self.levels.iter().zip(&mut self.points) {
            let is_new =
                |newest: &Point<N>| newest.figures != figures && at / level.grid > newest.at / level.grid;
            if points.back().is_none_or(is_new) {
                points.push_back(Point { at, figures });
            }
            let is_over = |points: &VecDeque<Point<N>>| {
                points.len() > points_max.max(2)
                    || points.get(1).is_some_and(|next| next.at + level.span <= at)
            };
            while is_over(points) {
                points.pop_front();
            }
        }
        before
    }

    /// The figures as they were at that time, as far back as is known.
    fn at(&self, time: u64) -> Option<&[u64; N]> {
        let known = |points: &&VecDeque<Point<N>>| points.front().is_some_and(|oldest| oldest.at <= time);
        let points = self.points.iter().find(known)?;
        let behind = points.partition_point(|point| point.at <= time);
        points.get(behind.checked_sub(1)?).map(|point| &point.figures)
    }

    /// When the figures came to be what they are.
    pub(super) fn changed_at(&self) -> Option<u64> {
        self.points.first().and_then(VecDeque::back).map(|newest| newest.at)
    }

    /// The figures at the last sample.
    pub(super) fn last(&self) -> [u64; N] {
        self.points.first().and_then(VecDeque::back).map_or([0; N], |newest| newest.figures)
    }

    /// How much each figure grew in a second, between the last two samples.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn rates(&self, recent: Recent) -> [f64; N] {
        if recent.previous < self.first || recent.previous == 0 || recent.apart_ms == 0 {
            return [0.0; N];
        }
        let (Some(now), Some(before)) = (self.at(recent.last), self.at(recent.previous)) else {
            return [0.0; N];
        };
        let rate = |figure| (now[figure] as f64 - before[figure] as f64) * 1000.0 / recent.apart_ms as f64;
        std::array::from_fn(rate)
    }

    /// A figure at a time, if it is known and the object was there.
    pub(super) fn value(&self, time: u64, figure: usize) -> Option<u64> {
        (time >= self.first && time <= self.seen)
            .then(|| self.at(time))
            .flatten()
            .map(|figures| figures[figure])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A sample each five seconds.
    fn sampled(levels: &'static [Level], figures: impl IntoIterator<Item = u64>) -> Series<1> {
        let mut series = Series::new(levels);
        for (number, figure) in figures.into_iter().enumerate() {
            series.add(1_000_000_000 + 5 * number as u64, [figure], 1_000);
        }
        series
    }

    fn recent(series: &Series<1>) -> Recent {
        Recent { last: series.seen, previous: series.seen - 5, apart_ms: 5_000 }
    }

    /// The samples of a span, the newest first.
    fn samples(series: &Series<1>, age: u64, step: u64) -> Vec<Option<u64>> {
        Span { age, step }.times(series.seen).map(|time| series.value(time, 0)).collect()
    }

    #[test]
    fn a_rate_is_what_came_between_the_last_two_samples() {
        let series = sampled(BASIC, [0, 10, 35]);
        assert_eq!(series.rates(recent(&series))[0], 5.0);
        let falling = sampled(BASIC, [10, 8]);
        assert_eq!(falling.rates(recent(&falling))[0], -0.4);
        let late = Recent { apart_ms: 10_000, ..recent(&series) };
        assert_eq!(series.rates(late)[0], 2.5, "by the time that has really passed");
    }

    #[test]
    fn there_is_no_rate_before_the_second_sample_and_none_when_nothing_happens() {
        let new = sampled(BASIC, [7]);
        assert_eq!(new.rates(recent(&new))[0], 0.0);
        let quiet = sampled(BASIC, [0, 10, 10]);
        assert_eq!(quiet.rates(recent(&quiet))[0], 0.0);
    }

    #[test]
    fn it_is_known_since_when_nothing_happened() {
        assert_eq!(sampled(BASIC, [0, 10, 10, 10]).changed_at(), Some(1_000_000_005));
        assert_eq!(sampled(BASIC, []).changed_at(), None);
    }

    #[test]
    fn samples_go_back_from_the_newest_to_the_first_one() {
        let series = sampled(BASIC, [3, 3, 3, 8, 9]);
        assert_eq!(samples(&series, 10, 5), [Some(9), Some(8), Some(3)]);
        assert_eq!(samples(&series, 30, 10), [Some(9), Some(3), Some(3), None]);
        assert_eq!(samples(&series, 0, 5), [Some(9)]);
    }

    #[test]
    fn what_stands_still_takes_one_point_for_each_level() {
        let series = sampled(GLOBAL, std::iter::repeat_n(4, 100_000));
        assert!(series.points.iter().all(|points| points.len() == 1));
        assert_eq!(samples(&series, 600, 300), [Some(4), Some(4), Some(4)]);
    }

    #[test]
    fn a_day_is_kept_in_few_points_and_told_as_closely_as_it_is_kept() {
        let series = sampled(GLOBAL, 0..20_000);
        let kept: Vec<usize> = series.points.iter().map(VecDeque::len).collect();
        assert_eq!(kept, [121, 61, 49, 49]);
        let newest = 19_999;
        assert_eq!(series.value(series.seen - 600, 0), Some(newest - 120));
        let hour_ago = series.value(series.seen - 3_540, 0).unwrap();
        assert!((newest - 720..=newest - 708).contains(&hour_ago), "{hour_ago} is the minute's first");
        let day_ago = series.value(series.seen - 84_000, 0).unwrap();
        assert!((newest - 17_160..=newest - 16_800).contains(&day_ago), "{day_ago}");
        assert_eq!(series.value(series.seen - 90_000, 0), None);
    }

    #[test]
    fn with_few_points_the_newest_are_kept() {
        let mut series = Series::new(BASIC);
        for number in 0..50 {
            series.add(5_000 + 5 * number, [number], 3);
        }
        assert_eq!(samples(&series, 10, 5), [Some(49), Some(48), Some(47)]);
        assert!(series.points.iter().all(|points| points.len() <= 3));
    }

    proptest! {
        /// What is told of the last ten minutes is what was there at each sample, whatever stood still between.
        #[test]
        fn samples_of_the_finest_level_are_exact(figures in prop::collection::vec(0u64..3, 1..300)) {
            let series = sampled(BASIC, figures.iter().copied());
            for (back, figure) in figures.iter().rev().take(121).enumerate() {
                prop_assert_eq!(series.value(series.seen - 5 * back as u64, 0), Some(*figure));
            }
        }
    }
}
