//! What processes cost, as Linux counts it: processor time of all their threads, and memory.

use super::super::Failure;
use std::fs;

/// Linux reports processor time to user space in hundredths of a second, whatever the kernel's own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

/// What some processes have used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    /// User and system time so far, ended threads included.
    pub(super) cpu_seconds: f64,
    /// Resident now.
    pub(super) memory_bytes: u64,
}

/// What these processes have used, together.
///
/// # Errors
/// [`Failure::Data`] for a process that is not there.
pub(super) fn usage(pids: &[u32]) -> Result<Usage, Failure> {
    pids.iter().try_fold(Usage::default(), |sum, pid| {
        let one = usage_of(*pid).ok_or_else(|| {
            Failure::Data(format!("--pid: no process {pid} on this machine, or its figures cannot be read"))
        })?;
        Ok(Usage {
            cpu_seconds: sum.cpu_seconds + one.cpu_seconds,
            memory_bytes: sum.memory_bytes + one.memory_bytes,
        })
    })
}

fn usage_of(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, and may hold spaces and parentheses itself.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = ticks.next()?.ok()? + ticks.next()?.ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = resident?.split_whitespace().next()?.parse().ok()?;
    Some(Usage { cpu_seconds: ticks as f64 / TICKS_PER_SECOND, memory_bytes: kib * 1024 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_used_something_and_none_is_a_failure() {
        let own = usage(&[std::process::id()]).unwrap();
        assert!(own.memory_bytes > 1 << 20, "{own:?}");
        let twice = usage(&[std::process::id(), std::process::id()]).unwrap();
        assert!(twice.memory_bytes > own.memory_bytes && twice.cpu_seconds >= own.cpu_seconds);
        assert!(matches!(usage(&[u32::MAX]), Err(Failure::Data(_))));
    }
}
