//! The data directory itself: made when absent, locked against a second process, and marked with its format.

use super::Error;
use super::files::replace;
use super::place::{Environment, Lock};
use std::io::ErrorKind;
use std::path::Path;

/// The first line of the file `format`; another version of the layout changes the number.
const FORMAT: &str = "warren store 1";

/// Makes `dir` if need be, locks it and checks its format. The directory is ours while the lock lives.
///
/// # Errors
/// [`Error::NotADirectory`], [`Error::NoPermission`], [`Error::DiskFull`], [`Error::Locked`], [`Error::Format`], and
/// other failures of the file system.
pub(super) fn take(dir: &Path, environment: &Environment) -> Result<Lock, Error> {
    let files = &*environment.files;
    files.create_dir_all(dir).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Error::NotADirectory(dir.into()),
        _ => Error::io(dir, error),
    })?;
    let lock = environment.place.lock(dir)?;
    let path = dir.join("format");
    match files.read(&path) {
        Ok(found) if found.trim_ascii_end() == FORMAT.as_bytes() => Ok(lock),
        Ok(found) => {
            let found = String::from_utf8_lossy(found.trim_ascii_end()).into_owned();
            Err(Error::Format { path, found, expected: FORMAT.into() })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let text = format!("{FORMAT}\n");
            replace(files, dir, "format", text.as_bytes()).map_err(|error| Error::io(&path, error))?;
            Ok(lock)
        }
        Err(error) => Err(Error::io(path, error)),
    }
}
