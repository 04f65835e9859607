//! The deterministic simulation: the store and the queues on a disk in memory that loses what was not synced, tears what
//! was being written, refuses and fails; seed by seed, each of which replays exactly.
//!
//! `WARREN_SIM_SEED=n` runs one seed and says every step; `WARREN_SIM_SEEDS=a..b` runs others than those of CI.

// Helpers of a test may fail it, and what it runs is chosen by the environment.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod dice;
mod disk;
mod ledger;
mod node;
mod run;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

const SEEDS: std::ops::Range<u64> = 0..2_000;

/// From `WARREN_SIM_SEEDS`, as `1000..2000`.
fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("WARREN_SIM_SEEDS") else { return SEEDS };
    let (from, to) = text.split_once("..").expect("WARREN_SIM_SEEDS=from..to");
    from.parse().unwrap()..to.parse().unwrap()
}

#[test]
fn every_promise_is_kept_through_thousands_of_seeds() {
    if let Ok(seed) = std::env::var("WARREN_SIM_SEED") {
        run::run(seed.parse().unwrap(), true);
        return;
    }
    let (seeds, threads) = (seeds(), std::thread::available_parallelism().map_or(2, usize::from));
    let (next, is_over) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= seeds.end || is_over.load(Relaxed) {
                        return;
                    }
                    if catch_unwind(AssertUnwindSafe(|| run::run(seed, false))).is_err() {
                        is_over.store(true, Relaxed);
                        eprintln!(
                            "failed; WARREN_SIM_SEED={seed} cargo test --locked --test sim says every step"
                        );
                    }
                }
            });
        }
    });
    assert!(!is_over.load(Relaxed), "a seed failed: see above");
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..20 {
        assert_eq!(run::run(seed, false), run::run(seed, false), "seed {seed}");
    }
}
