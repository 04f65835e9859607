//! The table of what is judged how.

use super::*;

/// A machine that there is nothing to say of.
fn well() -> Facts {
    Facts {
        warnings: Vec::new(),
        open_files: Some(1 << 20),
        directory: Directory {
            path: "/data".into(),
            found: Some(Found { is_directory: true, owner: 7, mode: 0o750 }),
            user: 7,
            is_writable: true,
        },
        file_system: Some("ext4".into()),
        free_bytes: Some(100 << 30),
        disk_limit_bytes: Some(50_000_000),
        clock: Clock { now_ms: 1_800_000_000_000, written_ms: Some(1_800_000_050_000), is_monotonic: true },
        sync_us: Some(Ok(900)),
        ports: vec![Port {
            protocol: "amqp",
            address: ([127, 0, 0, 1], 5672).into(),
            state: PortState::Free,
        }],
        memory_bytes: Some(16 << 30),
        memory_limit_bytes: Some(6 << 30),
    }
}

#[test]
fn a_machine_that_is_well_gets_no_advice() {
    let findings = judge(&well());
    assert_eq!(findings.len(), 9);
    for finding in findings {
        assert_eq!((finding.verdict, &finding.advice), (Verdict::Ok, &None), "{finding:?}");
    }
}

type Change = fn(&mut Facts);

fn found(change: fn(&mut Found), facts: &mut Facts) {
    facts.directory.found.iter_mut().for_each(change);
}

/// What is changed, what is judged, how, and a part of what is said or advised.
const TABLE: &[(Change, &str, Verdict, &str)] = &[
    (|facts| facts.warnings = vec!["no TLS".into()], "configuration", Verdict::Warning, "no TLS"),
    (|facts| facts.open_files = Some(1_023), "open files", Verdict::Problem, "LimitNOFILE"),
    (|facts| facts.open_files = Some(1_024), "open files", Verdict::Warning, "1024 at most"),
    (|facts| facts.open_files = Some(65_536), "open files", Verdict::Ok, "65536"),
    (|facts| facts.open_files = None, "open files", Verdict::Ok, "no limit"),
    (|facts| facts.directory.found = None, "data directory", Verdict::Ok, "the broker makes it"),
    (
        |facts| (facts.directory.found, facts.directory.is_writable) = (None, false),
        "data directory",
        Verdict::Problem,
        "install -d",
    ),
    (|facts| found(|it| it.is_directory = false, facts), "data directory", Verdict::Problem, "no directory"),
    (|facts| facts.directory.is_writable = false, "data directory", Verdict::Problem, "user 7 may not write"),
    (|facts| facts.directory.user = 0, "data directory", Verdict::Warning, "root looks"),
    (|facts| found(|it| it.mode = 0o755, facts), "data directory", Verdict::Warning, "chmod 750 /data"),
    (|facts| facts.file_system = None, "file system", Verdict::Warning, "not known"),
    (|facts| facts.file_system = Some("tmpfs".into()), "file system", Verdict::Warning, "next start"),
    (|facts| facts.file_system = Some("overlay".into()), "file system", Verdict::Warning, "mount a volume"),
    (|facts| facts.file_system = Some("nfs4".into()), "file system", Verdict::Warning, "network"),
    (|facts| facts.free_bytes = Some(49_999_999), "disk", Verdict::Problem, "make room"),
    (|facts| facts.free_bytes = Some(199_999_999), "disk", Verdict::Warning, "make room"),
    (|facts| facts.free_bytes = Some(200_000_000), "disk", Verdict::Ok, "190.7 MiB free"),
    (|facts| facts.free_bytes = None, "disk", Verdict::Warning, "not known"),
    (|facts| facts.sync_us = None, "fsync", Verdict::Warning, "not measured"),
    (|facts| facts.sync_us = Some(Err("I/O".into())), "fsync", Verdict::Problem, "I/O"),
    (|facts| facts.sync_us = Some(Ok(4)), "fsync", Verdict::Warning, "no disk is that quick"),
    (|facts| facts.sync_us = Some(Ok(10_000)), "fsync", Verdict::Ok, "10000 µs"),
    (|facts| facts.sync_us = Some(Ok(10_001)), "fsync", Verdict::Warning, "SSD"),
    (|facts| facts.sync_us = Some(Ok(100_001)), "fsync", Verdict::Problem, "SSD"),
    (|facts| facts.clock.now_ms = 1_000, "clock", Verdict::Problem, "1 s after 1970"),
    (|facts| facts.clock.now_ms = 5_000_000_000_000, "clock", Verdict::Problem, "chrony"),
    (|facts| facts.clock.is_monotonic = false, "clock", Verdict::Problem, "goes back"),
    (|facts| facts.clock.now_ms -= 50_000, "clock", Verdict::Warning, "100 s in the future"),
    (|facts| facts.clock.written_ms = None, "clock", Verdict::Ok, "set"),
    (|facts| facts.memory_bytes = Some(6 << 30), "memory", Verdict::Problem, "the kernel ends"),
    (|facts| facts.memory_bytes = Some(7 << 30), "memory", Verdict::Warning, "lower"),
    (|facts| facts.memory_bytes = None, "memory", Verdict::Warning, "absolute"),
    (
        |facts| facts.ports[0].state = PortState::Taken(Some(("warren".into(), 5))),
        "port",
        Verdict::Ok,
        "a Warren that runs (process 5)",
    ),
    (|facts| facts.ports[0].state = PortState::TakenWhileWarrenRuns, "port", Verdict::Ok, "is taken"),
    (
        |facts| facts.ports[0].state = PortState::Taken(Some(("beam.smp".into(), 5))),
        "port",
        Verdict::Problem,
        "amqp 127.0.0.1:5672 is taken by beam.smp (process 5)",
    ),
    (|facts| facts.ports[0].state = PortState::Taken(None), "port", Verdict::Problem, "ss -ltnp"),
    (|facts| facts.ports[0].state = PortState::Refused("no".into()), "port", Verdict::Problem, ": no"),
];

#[test]
fn what_is_wrong_is_named_with_advice_and_nothing_else_is() {
    for (row, (change, check, verdict, said)) in TABLE.iter().enumerate() {
        let mut facts = well();
        change(&mut facts);
        let findings = judge(&facts);
        let is_it = |finding: &&Finding| {
            let advice = finding.advice.as_deref().unwrap_or_default();
            finding.check == *check && (finding.text.contains(said) || advice.contains(said))
        };
        let finding =
            findings.iter().find(is_it).unwrap_or_else(|| panic!("{row}: {said:?} is not in {findings:?}"));
        assert_eq!(finding.verdict, *verdict, "{row}: {finding:?}");
        assert_eq!(finding.advice.is_some(), *verdict != Verdict::Ok, "{row}: {finding:?}");
        let others = findings.iter().filter(|other| *other != finding);
        assert!(others.into_iter().all(|other| other.verdict == Verdict::Ok), "{row}: {findings:?}");
    }
}

#[test]
fn of_a_wrong_configuration_every_problem_is_named() {
    let findings = unreadable(&["a".into(), "b".into()]);
    assert_eq!(findings.iter().map(|finding| finding.text.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(findings.iter().all(|finding| finding.verdict == Verdict::Problem));
}
