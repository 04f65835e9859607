//! Power cuts: everything written and not synced is lost, or some blocks of it, at a sync chosen by a seed, while several
//! threads work and checkpoints are made.

use super::super::{Drive, Store, open_with};
use super::disk::{Op, SimDisk};
use super::support::{Dice, Held, Model, held, message, options};
use crate::name::{Position, QueueId, Sequence};
use parking_lot::Mutex;
use std::io;
use std::path::Path;

/// Lets a disk fail for good at its `left`th sync from now on; what it writes afterwards is never synced.
fn fail_after(disk: &SimDisk, left: u64) {
    let left = Mutex::new(left);
    disk.set_hook(move |op, _| match op {
        Op::Sync | Op::Metadata => {
            // Others append meanwhile, so that there is something to tear.
            (0..100).for_each(|_| std::thread::yield_now());
            let mut left = left.lock();
            *left = left.saturating_sub(1);
            if *left == 0 { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
        }
        _ => Ok(()),
    });
}

/// Moves a message between queues as the broker does: one lock at a time, so that a checkpoint can look in between.
fn transfer(store: &Store, model: &Model, from: u64, to: u64) {
    let _hold = store.hold_checkpoints();
    let taken = model.with(from, |queue| {
        let sequence = *queue.held.iter().find(|(_, (position, _))| position.is_some())?.0;
        let (position, body) = queue.held.remove(&sequence)?;
        Some((queue.settled(sequence, position), body))
    });
    let Some((settled, body)) = taken else { return };
    std::thread::yield_now();
    // The place given out is in the live set from now on, although the message is still on its way.
    let target = model.with(to, |queue| {
        let sequence = queue.reserve();
        queue.held.insert(sequence, (Position::NONE, body.clone()));
        sequence
    });
    std::thread::yield_now();
    let (message, targets) = (message(&body), [(QueueId(to), target)]);
    let (places, _) = store.append_transaction(&[(&message, &targets)], &[(QueueId(from), &[settled])]);
    std::thread::yield_now();
    model.with(to, |queue| queue.put(target, &places[0], body));
}

/// What a publisher and a consumer of queue 4 were told before the power went.
#[derive(Debug, Default)]
struct Told {
    confirmed: Vec<Sequence>,
    settled: Vec<Sequence>,
}

fn publish_and_settle(store: &Store, model: &Model) -> Told {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut told = Told::default();
    for round in 0.. {
        let end = model.publish(store, &[4], &[round as u8; 60]);
        let newest = model.with(4, |queue| queue.held.last_key_value().map(|(sequence, _)| *sequence));
        if runtime.block_on(store.wait_synced(end)).is_err() {
            break;
        }
        told.confirmed.extend(newest);
        if round % 3 > 0 {
            let oldest = model.with(4, |queue| queue.held.first_key_value().map(|(sequence, _)| *sequence));
            let end = model.settle(store, 4, 1);
            // From here on it may be settled, from when it is synced it must be.
            told.confirmed.retain(|sequence| Some(*sequence) != oldest);
            if runtime.block_on(store.wait_synced(end)).is_ok() {
                told.settled.extend(oldest);
            }
        }
    }
    told
}

/// Whether something was torn.
fn cut_power(seed: u64, is_torn: bool) -> bool {
    const TOKENS: usize = 30;
    let disk = SimDisk::default();
    let options = options(Path::new("/data"));
    let (store, recovered) = open_with(options.clone(), disk.environment(), Drive::Threads).unwrap();
    let model = Model::new(&store, &recovered);
    (1..=4).for_each(|id| _ = model.declare(&store, id));
    let mut end = Position::NONE;
    (0..TOKENS).for_each(|n| end = model.publish(&store, &[1], &[n as u8; 40]));
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(store.wait_synced(end)).unwrap();
    fail_after(&disk, 1 + Dice(seed).roll(120));

    let told = std::thread::scope(|scope| {
        for thread in 1..=2 {
            let (store, model) = (&store, &model);
            scope.spawn(move || {
                let mut dice = Dice(seed * 7 + thread);
                while store.failure().borrow().is_none() {
                    transfer(store, model, 1 + dice.roll(3), 1 + dice.roll(3));
                }
            });
        }
        publish_and_settle(&store, &model)
    });
    store.close().unwrap_err();
    drop(store);

    let mut dice = Dice(seed + 1000);
    let after =
        if is_torn { disk.after_torn_power_cut(|| dice.roll(2) == 0) } else { disk.after_power_cut() };
    let (store, recovered) = open_with(options, after.environment(), Drive::Threads).unwrap();
    let is_cut = recovered.report.bytes_cut > 0;
    let held = held(&store, &recovered);
    let mut tokens: Vec<u8> =
        (1..=3).flat_map(|id| held[&QueueId(id)].values()).map(|(_, body)| body[0]).collect();
    tokens.sort_unstable();
    let all: Vec<u8> = (0..TOKENS as u8).collect();
    assert_eq!(tokens, all, "seed {seed}: a transaction was seen in part");
    let noise: &Held = &held[&QueueId(4)];
    for sequence in told.confirmed {
        assert!(noise.contains_key(&sequence), "seed {seed}: confirmed {sequence} is lost");
    }
    for sequence in told.settled {
        assert!(!noise.contains_key(&sequence), "seed {seed}: settled {sequence} is back");
    }
    is_cut
}

#[test]
fn a_power_cut_keeps_what_was_confirmed_and_no_half_transaction() {
    for seed in 0..16 {
        cut_power(seed, false);
    }
}

#[test]
fn a_power_cut_that_tears_what_was_being_written_keeps_it_too() {
    let torn = (0..24).filter(|seed| cut_power(*seed, true)).count();
    assert!(torn > 0, "some were torn");
}
