//! The log file: appended to, opened again when it was moved away, begun anew when it is large or a day is over.

use crate::config::Logging;
use crate::time;
use parking_lot::{Mutex, MutexGuard};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing_subscriber::fmt::MakeWriter;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// A log file that all threads write to, a line at a time.
#[derive(Clone, Debug)]
pub(super) struct LogFile(Arc<Mutex<Open>>);

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: Option<u64>,
    /// How many old ones are kept.
    count: usize,
    hour: Option<u8>,
    /// When it is begun anew next, in milliseconds of UNIX time.
    anew_at_ms: Option<u64>,
}

impl LogFile {
    /// Opens the file of that configuration, which names one. Its directory is made if it is not there.
    pub(super) fn open(log: &Logging) -> io::Result<Self> {
        let name = log.file.clone().unwrap_or_default();
        let path = log.dir.as_ref().map_or(name.clone(), |dir| dir.join(&name));
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(named)?;
        }
        let (file, bytes) = append_to(&path).map_err(named)?;
        let anew_at_ms = log.rotation_hour.map(|hour| next(time::unix_ms().0, hour));
        let (bytes_max, count, hour) = (log.rotation_bytes, log.rotation_count, log.rotation_hour);
        Ok(Self(Arc::new(Mutex::new(Open { path, file, bytes, bytes_max, count, hour, anew_at_ms }))))
    }

    /// Opens the file again under its name.
    pub(super) fn reopen(&self) -> io::Result<()> {
        let mut open = self.0.lock();
        (open.file, open.bytes) = append_to(&open.path)?;
        Ok(())
    }
}

/// The file, and how long it is.
fn append_to(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

/// The next time that it is that hour.
fn next(now_ms: u64, hour: u8) -> u64 {
    let today = now_ms / DAY_MS * DAY_MS + u64::from(hour) * HOUR_MS;
    if today > now_ms { today } else { today + DAY_MS }
}

impl Open {
    /// The old file becomes `.0`, that `.1`, and so on; the last one goes.
    fn begin_anew(&mut self) -> io::Result<()> {
        let old = |number: usize| PathBuf::from(format!("{}.{number}", self.path.display()));
        if self.count == 0 {
            self.file.set_len(0)?;
        } else {
            for number in (1..self.count).rev() {
                match std::fs::rename(old(number - 1), old(number)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            std::fs::rename(&self.path, old(0))?;
        }
        (self.file, self.bytes) = append_to(&self.path)?;
        Ok(())
    }

    fn write_line(&mut self, line: &[u8], now_ms: u64) -> io::Result<usize> {
        let is_too_long = |max: u64| self.bytes > 0 && self.bytes + line.len() as u64 > max;
        let is_time = self.anew_at_ms.is_some_and(|at| at <= now_ms);
        if is_time {
            self.anew_at_ms = self.hour.map(|hour| next(now_ms, hour));
        }
        if is_time || self.bytes_max.is_some_and(is_too_long) {
            // A line is worth more than a file that is small.
            let _ = self.begin_anew();
        }
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(line.len())
    }
}

/// The file while a line is written.
#[derive(Debug)]
pub(super) struct Writer<'a>(MutexGuard<'a, Open>);

impl Write for Writer<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_line(line, time::unix_ms().0)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = Writer<'a>;

    fn make_writer(&'a self) -> Writer<'a> {
        Writer(self.0.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logging(folder: &Path) -> Logging {
        Logging {
            dir: Some(folder.join("logs")),
            file: Some("warren.log".into()),
            rotation_count: 3,
            ..Logging::default()
        }
    }

    fn read(folder: &Path, name: &str) -> Option<String> {
        std::fs::read_to_string(folder.join("logs").join(name)).ok()
    }

    #[test]
    fn a_file_that_is_too_long_is_begun_anew_and_so_many_old_ones_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let log = Logging { rotation_bytes: Some(10), ..logging(folder) };
        let file = LogFile::open(&log).unwrap();
        for line in ["gone\n", "gone\n", "first\n", "2nd\n", "third\n", "fourth\n", "fifth\n"] {
            file.make_writer().write_all(line.as_bytes()).unwrap();
        }
        let all = ["", ".0", ".1", ".2", ".3"].map(|end| read(folder, &format!("warren.log{end}")));
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(all, [text("fifth\n"), text("fourth\n"), text("third\n"), text("first\n2nd\n"), None]);
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let file = LogFile::open(&logging(folder)).unwrap();
        file.make_writer().write_all(b"before\n").unwrap();
        std::fs::rename(folder.join("logs/warren.log"), folder.join("logs/moved")).unwrap();
        file.make_writer().write_all(b"between\n").unwrap();
        file.reopen().unwrap();
        file.make_writer().write_all(b"after\n").unwrap();
        assert_eq!(read(folder, "moved").unwrap(), "before\nbetween\n");
        assert_eq!(read(folder, "warren.log").unwrap(), "after\n");
        drop(file);
        LogFile::open(&logging(folder)).unwrap().make_writer().write_all(b"again\n").unwrap();
        assert_eq!(read(folder, "warren.log").unwrap(), "after\nagain\n", "it is appended to");
    }

    #[test]
    fn a_day_ends_at_its_hour() {
        assert_eq!(next(0, 0), DAY_MS);
        assert_eq!(next(HOUR_MS, 2), 2 * HOUR_MS);
        assert_eq!(next(2 * HOUR_MS, 2), DAY_MS + 2 * HOUR_MS);
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let file = LogFile::open(&Logging { rotation_hour: Some(0), ..logging(folder) }).unwrap();
        let mut open = file.0.lock();
        let midnight = open.anew_at_ms.unwrap();
        open.write_line(b"today\n", midnight - 1).unwrap();
        open.write_line(b"tomorrow\n", midnight).unwrap();
        open.write_line(b"later\n", midnight + 1).unwrap();
        assert_eq!(read(folder, "warren.log.0").unwrap(), "today\n");
        assert_eq!(read(folder, "warren.log").unwrap(), "tomorrow\nlater\n");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let log = Logging { file: Some("/proc/nothing/warren.log".into()), ..Logging::default() };
        let error = LogFile::open(&log).unwrap_err().to_string();
        assert!(error.starts_with("/proc/nothing/warren.log: "), "{error}");
    }
}
