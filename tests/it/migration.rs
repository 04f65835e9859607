//! A store that an earlier version of Warren wrote opens, and goes on.
//!
//! `fixtures/commit-…` are data directories of a broker built from that commit, filled by `fixtures/fill.py`, one stopped and
//! one killed. When the format changes, the version before it gets a folder here.

use crate::support::broker::Process;
use crate::support::{Properties, Scenario};
use std::path::{Path, PathBuf};

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures");
    let entries = |folder: &Path| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let commits = entries(&folder).filter(|path| path.is_dir());
    let mut all: Vec<_> = commits.flat_map(|commit| entries(&commit).collect::<Vec<_>>()).collect();
    all.sort();
    all
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(path, to).unwrap();
        }
    }
}

#[test]
fn a_store_of_an_earlier_version_opens_and_goes_on() {
    let fixtures = fixtures();
    assert!(fixtures.len() >= 2);
    for fixture in fixtures {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        copy(&fixture, &data);
        let process = Process::start(&data);
        let t = Scenario::new(process.target, true);
        let mut c = t.open();
        // Forty of sixty were left; the transient one behind them is gone.
        let kept: Vec<_> = (20..60).map(|n| format!("message {n}")).collect();
        c.expect_messages(1, "plain", &kept.iter().map(String::as_str).collect::<Vec<_>>());
        let by_priority = (0..6).rev().flat_map(|priority| [priority, priority + 6]);
        let urgent: Vec<_> = by_priority.map(|n| format!("urgent {n}")).collect();
        c.expect_messages(1, "urgent", &urgent.iter().map(String::as_str).collect::<Vec<_>>());
        c.expect_queue(1, "moved-from", 0, 0);
        c.expect_messages(1, "moved-to", &["moves"]);
        c.expect_messages(1, "returned", &["returned 0", "returned 1", "returned 2"]);
        // The binding is there, and what is written now is there after the next restart.
        c.call(1, "confirm.select", "confirm.select-ok");
        c.publish_with(1, "exchange=orders key=order.new", &Properties::new("delivery-mode=2"), "new");
        c.expect_confirms(1, 1, 1);
        c.hang_up();
        process.kill();
        let process = Process::start(&data);
        let mut c = t.moved(process.target).open();
        c.expect_messages(1, "plain", &["new"]);
        c.expect_messages(1, "urgent", &[]);
        c.hang_up();
        process.stop();
    }
}
