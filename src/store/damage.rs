//! What becomes of damaged bytes of the journal, found at the start or when a message is read back: they are passed over,
//! said, and kept in a file of their own.

use super::files::{self, Files};
use super::{Error, Report};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The folder in the data directory that keeps them.
pub(super) const DIR_NAME: &str = "damaged";

/// Bytes between good records, or behind the last of a file that ended long ago.
#[derive(Debug)]
pub(super) struct Damage<'a> {
    /// The journal's file.
    pub(super) path: &'a Path,
    pub(super) offset: usize,
    pub(super) bytes: &'a [u8],
    pub(super) reason: super::record::Bad,
}

impl Damage<'_> {
    /// Keeps the bytes and puts them into the report.
    ///
    /// # Errors
    /// Those of the file system: the journal's file may be deleted soon, so without a copy there is no start.
    pub(super) fn pass_over(
        &self,
        files: &dyn Files,
        data_dir: &Path,
        report: &mut Report,
    ) -> Result<(), Error> {
        let kept = self.keep(files, data_dir).map_err(|error| Error::io(data_dir.join(DIR_NAME), error))?;
        report.damages += 1;
        report.bytes_skipped += self.bytes.len() as u64;
        let (path, kept, count) = (self.path.display(), kept.display(), self.bytes.len());
        let (reason, offset) = (self.reason, self.offset);
        report.warnings.push(format!(
            "{path}: {reason} at offset {offset}: {count} bytes were passed over; {kept} has a copy of them"
        ));
        Ok(())
    }

    /// Copies the bytes to a name that nothing else has; a start before this one may have done so.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn keep(&self, files: &dyn Files, data_dir: &Path) -> io::Result<PathBuf> {
        let dir = &data_dir.join(DIR_NAME);
        files.create_dir_all(dir)?;
        files.sync_dir(data_dir)?;
        let journal_name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{journal_name}-{}", self.offset);
        let names = std::iter::once(name.clone()).chain((2..).map(|n| format!("{name}-{n}")));
        for name in names {
            let path = dir.join(&name);
            match files.read(&path) {
                Ok(kept) if kept == self.bytes => return Ok(path),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    files::replace(files, dir, &name, self.bytes)?;
                    return Ok(path);
                }
                Err(error) => return Err(error),
            }
        }
        unreachable!("numbers do not end")
    }
}
