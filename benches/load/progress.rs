//! How far a side is: a line of JSON on standard output for every so many messages.

use std::time::Instant;

/// Counts up to the next line.
#[derive(Debug)]
pub(crate) struct Progress {
    /// What is counted: the line's first field.
    what: &'static str,
    every: u64,
    next: u64,
    since: Instant,
    /// The count at `since`.
    counted: u64,
}

impl Progress {
    /// A line for every `every` messages; `u64::MAX` = none.
    pub(crate) fn new(what: &'static str, every: u64, start: Instant) -> Progress {
        Progress { what, every, next: every, since: start, counted: 0 }
    }

    /// So many there are by now.
    pub(crate) fn reach(&mut self, count: u64) {
        if count < self.next {
            return;
        }
        let seconds = self.since.elapsed().as_secs_f64();
        let per_second = (count - self.counted) as f64 / seconds;
        println!(r#"{{"{}":{count},"seconds":{seconds:.3},"per_second":{per_second:.0}}}"#, self.what);
        (self.since, self.counted) = (Instant::now(), count);
        self.next = (count / self.every + 1).saturating_mul(self.every);
    }
}
