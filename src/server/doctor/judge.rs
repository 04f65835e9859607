//! What the measured values mean for a broker, and what to do. Looks at nothing.

use crate::server::summary::Size;
use std::net::SocketAddr;

/// With fewer descriptors not even a small node gets on.
const OPEN_FILES_MIN: u64 = 1_024;
const OPEN_FILES_GOOD: u64 = 65_536;
/// A sync that takes longer is felt by everybody who waits for a confirm.
const SYNC_GOOD_US: u64 = 10_000;
const SYNC_MAX_US: u64 = 100_000;
/// No disk is that quick.
const SYNC_MIN_US: u64 = 5;
/// 2025-01-01 and 2100-01-01, in milliseconds of UNIX time.
const SANE_MS: std::ops::Range<u64> = 1_735_689_600_000..4_102_444_800_000;
/// Clocks of file systems are a little late or early.
const AHEAD_MS_MAX: u64 = 60_000;
/// Of a disk that is nearly short this times the limit is left.
const FREE_GOOD: u64 = 4;

/// What was measured.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// What the configuration warns of.
    pub(super) warnings: Vec<String>,
    /// The soft limit; none = there is none.
    pub(super) open_files: Option<u64>,
    pub(super) directory: Directory,
    /// What kind of file system the data directory is on.
    pub(super) file_system: Option<String>,
    pub(super) free_bytes: Option<u64>,
    pub(super) disk_limit_bytes: Option<u64>,
    pub(super) clock: Clock,
    /// How long one sync took, the median of some, in microseconds. None = nothing was measured.
    pub(super) sync_us: Option<Result<u64, String>>,
    pub(super) ports: Vec<Port>,
    pub(super) memory_bytes: Option<u64>,
    pub(super) memory_limit_bytes: Option<u64>,
}

/// The data directory.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    pub(super) path: String,
    /// None = it is not there.
    pub(super) found: Option<Found>,
    /// Who looks, by number.
    pub(super) user: u32,
    /// Whether who looks may write there, or make it where it is not.
    pub(super) is_writable: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) is_directory: bool,
    /// By number.
    pub(super) owner: u32,
    /// Its permission bits.
    pub(super) mode: u32,
}

/// The clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// UNIX time.
    pub(super) now_ms: u64,
    /// When something in the data directory was last written, in UNIX time.
    pub(super) written_ms: Option<u64>,
    /// The clock for intervals never went back while it was read.
    pub(super) is_monotonic: bool,
}

/// An address that the broker would listen on.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub(super) protocol: &'static str,
    pub(super) address: SocketAddr,
    pub(super) state: PortState,
}

#[derive(Clone, Debug)]
pub(super) enum PortState {
    Free,
    /// By the process of that name and number, if it can be seen.
    Taken(Option<(String, u32)>),
    /// A Warren answers in the data directory, and a port of it may be this one.
    TakenWhileWarrenRuns,
    Refused(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ok,
    Warning,
    Problem,
}

impl Verdict {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Problem => "problem",
        }
    }
}

/// What is to be said of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) verdict: Verdict,
    pub(super) text: String,
    pub(super) advice: Option<String>,
}

fn ok(check: &'static str, text: impl Into<String>) -> Finding {
    Finding { check, verdict: Verdict::Ok, text: text.into(), advice: None }
}

fn warning(check: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { check, verdict: Verdict::Warning, text: text.into(), advice: Some(advice.into()) }
}

fn problem(check: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { verdict: Verdict::Problem, ..warning(check, text, advice) }
}

/// Of a configuration that is wrong: where the data is, and what ports there are, is not known then.
pub(super) fn unreadable(problems: &[String]) -> Vec<Finding> {
    let advice =
        "the broker does not start with it, and nothing else was looked at: correct it and look again";
    problems.iter().map(|text| problem("configuration", text, advice)).collect()
}

/// Everything that is to be said.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = configuration(&facts.warnings);
    findings.push(open_files(facts.open_files));
    findings.extend(directory(&facts.directory));
    findings.push(file_system(facts.file_system.as_deref()));
    findings.push(disk(facts.free_bytes, facts.disk_limit_bytes));
    findings.push(sync(facts.sync_us.as_ref()));
    findings.push(clock(facts.clock));
    findings.push(memory(facts.memory_bytes, facts.memory_limit_bytes));
    findings.extend(facts.ports.iter().map(port));
    findings
}

fn configuration(warnings: &[String]) -> Vec<Finding> {
    if warnings.is_empty() {
        return vec![ok("configuration", "valid")];
    }
    let advice = "`warren config check FILE` tells of every line what becomes of it";
    warnings.iter().map(|text| warning("configuration", text, advice)).collect()
}

fn open_files(limit: Option<u64>) -> Finding {
    const CHECK: &str = "open files";
    const ADVICE: &str =
        "each connection takes one: set LimitNOFILE=1048576 in the unit, or `ulimit -n` before the start";
    match limit {
        Some(limit) if limit < OPEN_FILES_MIN => problem(CHECK, format!("{limit} at most"), ADVICE),
        Some(limit) if limit < OPEN_FILES_GOOD => warning(CHECK, format!("{limit} at most"), ADVICE),
        Some(limit) => ok(CHECK, format!("{limit} at most")),
        None => ok(CHECK, "no limit"),
    }
}

fn directory(directory: &Directory) -> Vec<Finding> {
    const CHECK: &str = "data directory";
    let Directory { path, found, user, is_writable } = directory;
    let Some(Found { is_directory, owner, mode }) = *found else {
        let text = format!("{path} is not there yet");
        let advice = format!("make it, for the user that runs the broker: install -d -m 750 -o USER {path}");
        let made = ok(CHECK, format!("{text}; the broker makes it"));
        return vec![if *is_writable { made } else { problem(CHECK, text, advice) }];
    };
    if !is_directory {
        return vec![problem(CHECK, format!("{path} is no directory"), "set data_dir to another path")];
    }
    let mut findings = Vec::new();
    if !is_writable {
        let text = format!("user {user} may not write to {path}, which belongs to user {owner}");
        findings.push(problem(
            CHECK,
            text,
            "run this as the user that runs the broker, or give it to that user (chown -R)",
        ));
    } else if *user == 0 && owner != 0 {
        let text = format!("{path} belongs to user {owner}, and root looks");
        findings.push(warning(
            CHECK,
            text,
            "run this as the user that runs the broker: what root may do says little",
        ));
    } else {
        findings.push(ok(CHECK, format!("{path} belongs to user {owner}")));
    }
    if mode & 0o007 != 0 {
        let text = format!("{path} has mode {mode:o}: all users of this machine may look for messages in it");
        findings.push(warning(CHECK, text, format!("chmod 750 {path}")));
    }
    findings
}

fn file_system(kind: Option<&str>) -> Finding {
    const CHECK: &str = "file system";
    let local = "keep the data on a local disk with ext4 or XFS";
    match kind {
        None => warning(CHECK, "it is not known which one the data is on", local),
        Some(kind @ ("tmpfs" | "ramfs")) => {
            warning(CHECK, format!("{kind}: all is gone with the machine's next start"), local)
        }
        Some("overlay") => warning(
            CHECK,
            "overlay: the data is part of a container, and gone with it",
            "mount a volume where the data directory is",
        ),
        Some(kind)
            if ["nfs", "cifs", "smb", "9p", "fuse", "ceph", "afs"]
                .iter()
                .any(|name| kind.starts_with(name)) =>
        {
            warning(
                CHECK,
                format!("{kind}: every confirm waits for a network, or is not durable at all"),
                local,
            )
        }
        Some(kind) => ok(CHECK, kind),
    }
}

fn disk(free: Option<u64>, limit: Option<u64>) -> Finding {
    const CHECK: &str = "disk";
    let (Some(free), Some(limit)) = (free, limit) else {
        return warning(
            CHECK,
            "it is not known how much is free",
            "is the data directory on a file system that tells?",
        );
    };
    let text = format!("{} free, publishers wait below {}", Size(Some(free)), Size(Some(limit)));
    let advice = "make room, or set disk_free_limit.absolute to less";
    if free < limit {
        problem(CHECK, text, advice)
    } else if free / FREE_GOOD < limit {
        warning(CHECK, text, advice)
    } else {
        ok(CHECK, text)
    }
}

fn sync(sync_us: Option<&Result<u64, String>>) -> Finding {
    const CHECK: &str = "fsync";
    let us = match sync_us {
        None => {
            let advice = "make the data directory first, to have the speed of its disk measured";
            return warning(CHECK, "not measured: the data directory is not there", advice);
        }
        Some(Err(error)) => {
            let text = format!("a file in the data directory cannot be made durable: {error}");
            return problem(CHECK, text, "nothing can be confirmed there: see to the disk and its rights");
        }
        Some(Ok(us)) => *us,
    };
    let text = format!("{us} µs for writing and syncing 4 KiB, the median");
    let slow = "each confirm waits for one: use an SSD, if possible one that survives a power cut, or durability = interval(MS)";
    if us > SYNC_MAX_US {
        problem(CHECK, text, slow)
    } else if us > SYNC_GOOD_US {
        warning(CHECK, text, slow)
    } else if us < SYNC_MIN_US {
        let advice = "no disk is that quick: what is confirmed may not survive a power cut";
        warning(CHECK, text, advice)
    } else {
        ok(CHECK, text)
    }
}

fn clock(clock: Clock) -> Finding {
    const CHECK: &str = "clock";
    let ahead = clock.written_ms.map_or(0, |written| written.saturating_sub(clock.now_ms));
    let advice = "messages expire by it: let chrony or systemd-timesyncd set it before the broker starts";
    if !SANE_MS.contains(&clock.now_ms) {
        problem(CHECK, format!("it says {} s after 1970", clock.now_ms / 1000), advice)
    } else if !clock.is_monotonic {
        let advice = "choose another clock source in /sys/devices/system/clocksource/clocksource0";
        problem(CHECK, "the clock for intervals goes back", advice)
    } else if ahead > AHEAD_MS_MAX {
        let text = format!(
            "the data directory was last written to {} s in the future: the clock was set back",
            ahead / 1000
        );
        warning(CHECK, text, advice)
    } else {
        ok(CHECK, "it is set, and goes forward")
    }
}

fn memory(total: Option<u64>, limit: Option<u64>) -> Finding {
    const CHECK: &str = "memory";
    let (Some(total), Some(limit)) = (total, limit) else {
        let advice = "set vm_memory_high_watermark.absolute: without it nobody makes publishers wait";
        return warning(CHECK, "it is not known how much there is", advice);
    };
    let text = format!("{} for the broker, publishers wait above {}", Size(Some(total)), Size(Some(limit)));
    let advice = "set vm_memory_high_watermark lower, or give the machine or container more: the kernel ends a broker without memory";
    if limit >= total {
        problem(CHECK, text, advice)
    } else if limit > total / 10 * 8 {
        warning(CHECK, text, advice)
    } else {
        ok(CHECK, text)
    }
}

fn port(Port { protocol, address, state }: &Port) -> Finding {
    const CHECK: &str = "port";
    let what = format!("{protocol} {address}");
    match state {
        PortState::Free => ok(CHECK, format!("{what} is free")),
        PortState::Taken(Some((name, pid))) if name == "warren" => {
            ok(CHECK, format!("{what} is taken by a Warren that runs (process {pid})"))
        }
        PortState::Taken(Some((name, pid))) => {
            let advice = format!("stop it, or set another port for {protocol} (docs/configuration.md)");
            problem(CHECK, format!("{what} is taken by {name} (process {pid})"), advice)
        }
        PortState::Taken(None) => {
            let advice =
                "`ss -ltnp` as root tells by whom; stop that, or set another port (docs/configuration.md)";
            problem(CHECK, format!("{what} is taken by somebody who cannot be seen"), advice)
        }
        PortState::TakenWhileWarrenRuns => {
            ok(CHECK, format!("{what} is taken, and a Warren runs on this data directory"))
        }
        PortState::Refused(error) => {
            problem(CHECK, format!("{what}: {error}"), "set an address of this machine and a port above 1023")
        }
    }
}

#[cfg(test)]
mod tests;
