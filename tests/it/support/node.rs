//! A broker in a process of its own, to be stopped or killed and started again.

use super::broker::Process;
use super::scenario::Scenario;
use std::path::PathBuf;

/// A broker of the test's own, which can be stopped, killed and started again on the same data.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) process: Option<Process>,
    directory: tempfile::TempDir,
    pub(crate) t: Scenario,
}

/// How a broker ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    Stop,
    Kill,
}

/// All ends.
pub(crate) const ENDS: [End; 2] = [End::Stop, End::Kill];

impl Node {
    /// A new one.
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let process = Process::start(&directory.path().join("data"));
        let t = Scenario::new(process.target, true);
        Self { process: Some(process), directory, t }
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Ends it.
    pub(crate) fn end(&mut self, end: End) {
        let process = self.process.take().unwrap();
        match end {
            End::Stop => process.stop(),
            End::Kill => process.kill(),
        }
    }

    /// Starts it on what it left.
    pub(crate) fn start_again(&mut self) {
        let process = Process::start(&self.data());
        self.t = self.t.moved(process.target);
        self.process = Some(process);
    }

    /// Ends it and starts it again.
    pub(crate) fn restart(&mut self, end: End) {
        self.end(end);
        self.start_again();
    }

    /// The journal file written last.
    pub(crate) fn newest_journal_file(&self) -> PathBuf {
        let files = std::fs::read_dir(self.data().join("journal")).unwrap();
        let mut files: Vec<_> =
            files.map(|file| file.unwrap().path()).filter(|path| path.is_file()).collect();
        files.sort();
        files.pop().expect("a journal file")
    }
}
