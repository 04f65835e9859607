//! SIGKILL again and again, each time at another moment, under everything that clients do with durable queues.
//!
//! Clients: two publishers with confirms, whose messages reach one queue or two; one more for the transactional client,
//! which moves messages from a queue to two others; a publisher of transient messages; a consumer that acks, rejects
//! and requeues one by one, and one that does so with `multiple`. Bodies have from 1 byte to 100 KiB.
//!
//! After each kill the queues are compared with what the clients know: what was confirmed and not acked is there, whole
//! and in order; what was acked never comes back, if a persistent publish behind the ack on the same channel was
//! confirmed; each transaction is whole or was not; nothing transient is left; what comes again says so.
//!
//! A round's choices come from its seed, which a failure prints: `WARREN_TEST_SEED` makes them again in the first round
//! (not the timing, which is the machine's). `WARREN_LONG=1` runs 200 rounds, otherwise it is as many as fit into some
//! seconds.

mod audit;
mod clients;
mod ledger;

use crate::support::broker::Process;
use crate::support::random::{Random, seed};
use clients::{Acks, Event, Site};
use ledger::{Ledger, MOVED, TRANSIENT};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const ROUNDS_MIN: u32 = 4;
const ROUNDS_LONG: u32 = 200;
/// The short form begins no round after so long.
const SHORT: Duration = Duration::from_secs(12);
/// How long clients may do nothing at all while the broker runs, and consumers get nothing while messages wait for them.
const STALLED: Duration = Duration::from_secs(20);
/// The publishers' streams of messages.
const STREAMS: [char; 4] = ['a', 'b', MOVED, TRANSIENT];
const CLIENTS: usize = STREAMS.len() + 3;
/// With a larger backlog the publishers hold back for a round.
const BACKLOG_MAX: usize = 3_000;
/// With so few messages left the queues count as drained: a consumer that acks with `multiple` may sit on them.
const DRAINED: usize = 120;

/// When a round ends, and how much is done before.
#[derive(Debug)]
struct Plan {
    /// How many messages each publisher has.
    publishes: u64,
    /// Kill when this has been so often. Otherwise, and if it never comes to that, kill while the queues are drained,
    /// when so many in a hundred are left.
    moment: Option<(Event, u64)>,
    percent_left: usize,
    /// How much later than the event the kill is.
    delay: Duration,
    /// Kill a start of the broker, too, so long after it has begun.
    start_lasts: Option<Duration>,
}

impl Plan {
    fn new(random: &mut Random, backlog: usize) -> Self {
        let publishes = if backlog < BACKLOG_MAX { 20 + random.below(600) } else { 20 };
        let moment = match random.below(10) {
            0..=2 => Some((Event::Confirmed, 1 + random.below(publishes * 4))),
            3..=4 => Some((Event::CommitSent, 1 + random.below(80))),
            5 => Some((Event::Committed, 1 + random.below(80))),
            6 => Some((Event::Settled, 1 + random.below(publishes * 2))),
            7 => Some((Event::Requeued, 1 + random.below(40))),
            8 => Some((Event::Marked, 1 + random.below(20))),
            _ => None,
        };
        let interrupts_start = random.below(5) == 0;
        Self {
            publishes,
            moment,
            percent_left: random.below(90) as usize,
            delay: Duration::from_micros(random.below(4) * random.below(1_500)),
            start_lasts: interrupts_start.then(|| Duration::from_micros(random.below(60_000))),
        }
    }
}

/// Waits for the moment of the kill.
fn await_moment(plan: &Plan, events: &Receiver<Event>, ledger: &Mutex<Ledger>) -> Result<(), String> {
    let (mut ready, mut done, mut seen, mut backlog) = (0, 0, 0, None);
    let mut served = warren::time::now();
    loop {
        let event = events.recv_timeout(STALLED);
        let event = event.map_err(|_| format!("no client got on; {ready} are there, {done} are done"))?;
        ready += usize::from(event == Event::Ready);
        done += usize::from(event == Event::Done);
        seen += u64::from(plan.moment.is_some_and(|(awaited, _)| awaited == event));
        // On a slow disk transactions can go on long after the consumers' queues are empty.
        if event == Event::Delivered || ledger.lock().unconsumed() <= DRAINED {
            served = warren::time::now();
        } else if served.elapsed() > STALLED {
            return Err(format!("consumers get nothing, {} wait", ledger.lock().unconsumed()));
        }
        // A handshake that the kill cuts off would be a failure of the test.
        if ready < CLIENTS {
            continue;
        }
        if plan.moment.is_some_and(|(_, count)| seen >= count) {
            return Ok(());
        }
        if done == STREAMS.len() {
            let left = ledger.lock().unsettled();
            let backlog = *backlog.get_or_insert(left);
            if left <= DRAINED.max(backlog * plan.percent_left / 100) {
                return Ok(());
            }
        }
    }
}

/// Runs the clients until the moment has come, then kills the broker under them.
fn round(process: &Process, plan: &Plan, random: &mut Random, ledger: &Mutex<Ledger>) {
    std::thread::scope(|scope| {
        let (sender, events) = channel();
        let site = || Site { process, ledger, events: sender.clone() };
        let mut clients = Vec::new();
        for stream in STREAMS {
            let site = site();
            clients.push(scope.spawn(move || clients::publish(&site, stream, plan.publishes)));
        }
        for acks in [Acks::Single, Acks::Multiple] {
            let (site, seed) = (site(), random.below(u64::MAX));
            clients.push(scope.spawn(move || clients::consume(&site, acks, seed)));
        }
        let (mover_site, seed) = (site(), random.below(u64::MAX));
        clients.push(scope.spawn(move || clients::move_messages(&mover_site, seed)));
        let moment = await_moment(plan, &events, ledger);
        // Events come right behind a sync of the journal, and the kill should not always.
        std::thread::park_timeout(plan.delay);
        process.kill_now();
        // A client that failed has said why.
        let failed = clients.into_iter().map(|client| client.join()).filter(Result::is_err).count();
        assert_eq!((failed, moment), (0, Ok(())));
    });
}

/// Starts the broker, and before that, if the plan says so, once in vain.
fn start(data: &Path, plan: &Plan) -> Process {
    if let Some(duration) = plan.start_lasts {
        let process = Process::spawn(data);
        // No event tells how far a start is; any moment will do.
        std::thread::park_timeout(duration);
        process.kill();
    }
    Process::start(data)
}

#[test]
fn every_message_has_the_fate_that_clients_were_promised() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let is_long = std::env::var_os("WARREN_LONG").is_some();
    let ledger = Mutex::new(Ledger::default());
    let (first, started) = (seed(), warren::time::now());
    let mut process = Process::start(&data);
    audit::declare(&process);
    let mut rounds = 0;
    while if is_long { rounds < ROUNDS_LONG } else { rounds < ROUNDS_MIN || started.elapsed() < SHORT } {
        let seed = first.wrapping_add(u64::from(rounds));
        let mut random = Random(seed);
        let plan = Plan::new(&mut random, ledger.lock().unsettled());
        println!("WARREN_TEST_SEED={seed}: round {rounds}: {plan:?}, {} waiting", ledger.lock().unsettled());
        round(&process, &plan, &mut random, &ledger);
        process = start(&data, &plan);
        audit::audit(&process, &mut ledger.lock());
        assert_eq!(ledger.lock().faults, [""; 0], "seed {seed}, round {rounds}");
        rounds += 1;
    }
    let totals = ledger.lock().totals;
    println!("{rounds} rounds: {totals:?}");
    let all =
        [totals.confirmed, totals.delivered, totals.settled, totals.gone, totals.moved, totals.transient];
    assert!(all.iter().all(|count| *count > 0), "nothing was left out: {totals:?}");
}
