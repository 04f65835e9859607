//! One seed: several lives of a node, at random work until it is stopped, killed or loses its power.

use crate::dice::Dice;
use crate::disk::{Mood, SimDisk};
use crate::ledger::{Ledger, Synced};
use crate::node::{self, Node};
use warren::name::QueueId;
use warren::store::Step;
use warren::time::{Duration, Instant, now};

const LIVES: u64 = 5;
const STEPS_MAX: u64 = 250;
const QUEUES_MAX: usize = 3;

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Everything written is synced, and a last checkpoint made.
    Stop,
    /// SIGKILL: what was written stays, and may still be lost with the power.
    Kill,
    PowerCut,
}

struct Run {
    seed: u64,
    dice: Dice,
    disk: SimDisk,
    now: Instant,
    is_traced: bool,
    /// The power has gone: what was unsynced may have left damage in the journal.
    was_cut: bool,
}

/// Runs a seed and returns the hash of all operations of the disk.
pub(crate) fn run(seed: u64, is_traced: bool) -> u64 {
    let mut run =
        Run { seed, dice: Dice::new(seed), disk: SimDisk::new(seed), now: now(), is_traced, was_cut: false };
    let mut ledger = Ledger::default();
    let mut next_number = 1;
    let mut synced = Synced::default();
    for life in 0..LIVES {
        run.trace(|| format!("life {life}"));
        if run.dice.once_in(3) {
            run.start_in_vain();
        }
        let (mut node, found) = Node::start(&run.disk, ledger);
        node.ledger(|ledger| ledger.check_start(synced, &found));
        assert!(run.was_cut || found.damages == 0, "a kill leaves no damage");
        node.next_number = next_number;
        let end = run.live(&mut node);
        next_number = node.next_number;
        (ledger, synced) = run.end(node, end);
    }
    run.drain(ledger, synced);
    run.disk.hash()
}

impl Run {
    fn trace(&self, line: impl FnOnce() -> String) {
        if self.is_traced {
            eprintln!("seed {}: {}", self.seed, line());
        }
    }

    /// Random work and steps.
    fn live(&mut self, node: &mut Node) -> End {
        let end = match self.dice.roll(6) {
            0 => End::Stop,
            1 | 2 => End::Kill,
            _ => End::PowerCut,
        };
        if self.dice.once_in(2) {
            let operations = 1 + self.dice.roll(120);
            self.disk.crash_in(operations);
        }
        for _ in 0..self.dice.roll(STEPS_MAX) {
            self.now += Duration::from_millis(self.dice.roll(4));
            let what = self.step(node);
            self.trace(|| what);
            if self.disk.is_down() || node.store.failure().borrow().is_some() {
                return End::PowerCut;
            }
            if self.dice.once_in(12) {
                node.check_references();
            }
        }
        self.disk.set_mood(Mood::Well);
        end
    }

    fn end(&mut self, mut node: Node, end: End) -> (Ledger, Synced) {
        let mut synced = node.synced();
        self.trace(|| format!("{end:?}, synced {synced:?}"));
        if end == End::Stop {
            self.settle_down(&mut node);
            // The power may go meanwhile.
            let closed = node.store.close();
            synced = if closed.is_ok() { Synced::ALL } else { node.synced().max(synced) };
        }
        let is_down = self.disk.is_down() || node.store.failure().borrow().is_some();
        let ledger = node.stop();
        let is_cut = match end {
            // A kill may come in the middle of an operation, too.
            End::PowerCut if self.disk.is_down() => self.dice.once_in(2),
            End::PowerCut => true,
            End::Stop | End::Kill => is_down,
        };
        self.go_down(is_cut);
        (ledger, synced)
    }

    /// A start that is cut short, or is not used.
    fn start_in_vain(&mut self) {
        let operations = 1 + self.dice.roll(60);
        self.trace(|| format!("start in vain, {operations} operations"));
        self.disk.crash_in(operations);
        node::start_in_vain(&self.disk);
        let is_cut = self.dice.once_in(2);
        self.go_down(is_cut);
    }

    fn go_down(&mut self, is_cut: bool) {
        self.was_cut |= is_cut;
        if is_cut {
            self.disk.cut_power();
        } else {
            self.disk.kill();
        }
    }

    fn settle_down(&mut self, node: &mut Node) {
        node.settle_down(&mut self.now);
    }

    fn step(&mut self, node: &mut Node) -> String {
        let ids = node.queue_ids();
        let Some(id) = self.dice.pick(&ids) else {
            node.declare();
            return "declare".into();
        };
        match self.dice.roll(40) {
            0..=6 => self.publish(node, &ids),
            7..=11 => {
                let got = node.get(id);
                format!("get {id}: {got}")
            }
            12..=14 => self.settle(node, id),
            15 => {
                let to = self.some(&ids);
                let length = self.dice.roll(300) as usize;
                node.transfer(id, &to, length);
                format!("transfer {id} {to:?}")
            }
            16 | 17 => {
                node.evict(id);
                format!("evict {id}")
            }
            18..=20 => {
                node.read(id);
                format!("read {id}")
            }
            21..=23 => {
                node.answer(id);
                format!("answer {id}")
            }
            24..=29 => format!("committer: {:?}", is_work(node.store.step_committer(self.now))),
            30..=33 => format!("checkpointer: {:?}", is_work(node.store.step_checkpointer(self.now))),
            34 | 35 => format!("compactor: {:?}", is_work(self.compact(node))),
            36 => self.rarely(node, id, ids.len()),
            37 => {
                let is_lean = self.dice.once_in(2);
                node.set_lean(id, is_lean);
                format!("lean {id}: {is_lean}")
            }
            _ => {
                self.settle_down(node);
                "settle down".into()
            }
        }
    }

    /// What it reads must have been written.
    fn compact(&mut self, node: &mut Node) -> Step {
        if node.store.counters().bytes_pending > 0 {
            Step::Waiting(None)
        } else {
            node.compact(self.dice.once_in(3))
        }
    }

    fn publish(&mut self, node: &mut Node, ids: &[QueueId]) -> String {
        let to = self.some(ids);
        let is_persistent = !self.dice.once_in(4);
        let count = if self.dice.once_in(5) { 12 } else { 1 };
        for _ in 0..count {
            let length = self.dice.roll(300) as usize;
            node.publish(&to, length, is_persistent);
        }
        format!("publish {count} {to:?} persistent {is_persistent}")
    }

    fn some(&mut self, ids: &[QueueId]) -> Vec<QueueId> {
        ids.iter().copied().filter(|_| self.dice.once_in(2)).collect()
    }

    fn settle(&mut self, node: &mut Node, id: QueueId) -> String {
        let unacked = node.unacked(id);
        let some: Vec<_> = unacked.into_iter().filter(|_| !self.dice.once_in(3)).collect();
        if self.dice.once_in(4) {
            node.requeue(id, &some);
            format!("requeue {id} {some:?}")
        } else {
            node.ack(id, &some);
            format!("ack {id} {some:?}")
        }
    }

    fn rarely(&mut self, node: &mut Node, id: QueueId, count: usize) -> String {
        match self.dice.roll(6) {
            0 if count < QUEUES_MAX => {
                node.declare();
                "declare".into()
            }
            1 => {
                node.delete(id);
                format!("delete {id}")
            }
            2 => {
                node.purge(id);
                format!("purge {id}")
            }
            3 if self.dice.once_in(3) => {
                self.disk.set_mood(Mood::FailingSync);
                "the disk fails".into()
            }
            3 | 4 => {
                self.disk.set_mood(Mood::Refusing);
                "the disk refuses".into()
            }
            _ => {
                self.disk.set_mood(Mood::Well);
                "the disk is well".into()
            }
        }
    }

    /// The last life: everything comes out, in order, and nothing is left of it on the disk.
    fn drain(&mut self, ledger: Ledger, synced: Synced) {
        let (mut node, found) = Node::start(&self.disk, ledger);
        node.ledger(|ledger| ledger.check_start(synced, &found));
        self.settle_down(&mut node);
        node.check_references();
        for id in node.queue_ids() {
            let count = node.ledger(|ledger| ledger.alive(id).len());
            for left in (0..count).rev() {
                let mut patience = 30;
                while !node.get(id) {
                    patience -= 1;
                    assert!(patience > 0, "{id}: {left} more of {count} do not come: {}", node.show(id));
                    self.settle_down(&mut node);
                }
                if self.dice.once_in(3) || left == 0 {
                    node.ack(id, &node.unacked(id));
                }
                if self.dice.once_in(8) {
                    self.compact(&mut node);
                }
            }
            assert!(!node.get(id), "{id}: more than there is");
        }
        // A file goes when the next checkpoint covers it, and that comes with the next file.
        for _ in 0..3 {
            node.declare();
            self.now += Duration::from_secs(10);
            self.settle_down(&mut node);
        }
        node.check_references();
        assert_eq!(node.store.counters().references, 0);
        node.store.close().expect("nothing is wrong with the disk");
        let files = self.disk.journal_files();
        assert!(files.len() <= 2, "{files:?} are left of an empty store");
        self.end(node, End::Kill);
    }
}

fn is_work(step: Step) -> &'static str {
    match step {
        Step::Worked => "worked",
        Step::Waiting(_) => "waits",
        Step::Over => "over",
    }
}
