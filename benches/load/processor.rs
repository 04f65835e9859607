//! Processor time of a process, all its threads together, as Linux counts it.

use std::fs;
use std::io;

/// Linux reports to user space in hundredths of a second, whatever the kernel's own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system seconds of the process so far, ended threads included; 0 without a process.
pub(crate) fn seconds_of(pid: Option<u32>) -> io::Result<f64> {
    let Some(pid) = pid else { return Ok(0.0) };
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_err(|error| io::Error::other(format!("process {pid}: {error}")))?;
    // The second field is the program's name in parentheses, and may hold spaces and parentheses itself.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: Vec<u64> =
        after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    match ticks[..] {
        [user, system] => Ok((user + system) as f64 / TICKS_PER_SECOND),
        _ => Err(io::Error::other(format!("process {pid}: its stat file has an unknown form"))),
    }
}
