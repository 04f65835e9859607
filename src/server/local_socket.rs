//! The Unix socket in the data directory: whoever runs the broker administers it there without a password.
//!
//! Who asks is known by the credentials of its process (`management::LocalPeer`); the mode of the file only keeps others
//! from knocking.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;
use tracing::{info, warn};

/// Its name in the data directory.
pub(super) const NAME: &str = "warren.sock";

/// A socket that listens; its file goes with it.
#[derive(Debug)]
pub(super) struct LocalSocket {
    pub(super) listener: UnixListener,
    pub(super) file: File,
}

/// The file of a socket, removed when this is dropped.
#[derive(Debug)]
pub(super) struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        // Whoever finds it nevertheless finds that nobody listens.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Listens in a data directory that is locked: what a killed broker left there is nobody's. Without a socket the broker
/// is as good as with one, so that a failure is told and no more.
pub(super) fn listen(data_dir: &Path) -> Option<LocalSocket> {
    let path = data_dir.join(NAME);
    match bind(&path) {
        Ok(listener) => {
            info!(path = %path.display(), "listening for the HTTP API, without a password for the broker's own user");
            Some(LocalSocket { listener, file: File(path) })
        }
        Err(error) => {
            warn!(path = %path.display(), %error, "no local socket: warrenctl needs a password, also on this machine");
            None
        }
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "another file is in its place")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn the_socket_is_its_owners_and_goes_with_the_broker() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let socket = listen(dir.path()).unwrap();
        assert_eq!(mode(&path), 0o600);
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_a_killed_broker_left_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(std::os::unix::net::UnixStream::connect(&path).is_err(), "nobody listens");
        let _socket = listen(dir.path()).unwrap();
        std::os::unix::net::UnixStream::connect(&path).unwrap();
    }

    #[tokio::test]
    async fn without_a_socket_the_broker_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        assert!(listen(&deep).is_none(), "a path of more than 108 bytes");
        std::fs::write(dir.path().join(NAME), "mine").unwrap();
        assert!(listen(dir.path()).is_none());
        assert_eq!(std::fs::read_to_string(dir.path().join(NAME)).unwrap(), "mine", "it is left alone");
    }
}
