//! What can go wrong, as one line that says what to do next and as an exit code (sysexits).

use crate::store::offline::{self as store, TransferError};
use std::io;
use std::path::PathBuf;

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A value that the broker does not accept, or something that is not there.
    #[error("{0}")]
    Data(String),
    /// The answer 404; commands say what it was that is not there.
    #[error("this broker has nothing at /api/{0}; is it an older version than this tool?")]
    NotFound(String),
    /// A user that is not there.
    #[error("user '{0}' does not exist; `warrenctl list_users` lists those that do")]
    NoUser(String),
    /// No connection.
    #[error("no broker at {address} ({reason}); is it running, and are --host and --port right?")]
    Unavailable {
        /// Host and port.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// No connection over the socket of a data directory.
    #[error(
        "no broker at {address} ({reason}); is it running? --socket and --data-dir name another one, --host and --port \
         one on the network"
    )]
    NoSocket {
        /// The path of the socket.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// The broker runs as somebody else.
    #[error(
        "{0} lets only root and the user in who runs the broker; log in with --username and --password, or run this \
         as that user"
    )]
    SocketRefused(String),
    /// A health check says no.
    #[error("{0}")]
    Check(String),
    /// No connection for AMQP.
    #[error("no broker at {address} ({reason}); is it running, and is --uri or --host right?")]
    NoListener {
        /// Host and port.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// A connection, but no answer in time.
    #[error("no answer from {0} in time; try again, or with a longer --timeout")]
    Timeout(String),
    /// Wrong password, unknown user, or a user that may log in only from elsewhere.
    #[error("login refused for user '{0}'; check --username and --password (guest may log in only locally)")]
    LoginRefused(String),
    /// Logged in, but without the right to do this.
    #[error(
        "user '{user}' may not do this ({reason}); an administrator can grant it with set_user_tags or set_permissions"
    )]
    AccessRefused {
        /// Who is logged in.
        user: String,
        /// What the broker says.
        reason: String,
    },
    /// The broker failed, or what answers is no broker.
    #[error("{0}")]
    Broker(String),
    /// Others of the same run have failed, and said why.
    #[error("stopped, because another connection of the run failed")]
    Stopped,
    /// A data directory is not as it was written.
    #[error(
        "{0} damaged things; the next start passes over them and says what was lost, so copy the directory before if \
         that matters"
    )]
    Damaged(usize),
    /// A message that was to be exported is.
    #[error("{0}; `warrenctl store check` says more")]
    DamagedQueue(TransferError),
    /// A broker runs on the data directory, or another of these tools.
    #[error(
        "data directory {path:?} is in use{}; stop the broker first (this command works on the files of a stopped one)",
        .pid.map_or(String::new(), |pid| format!(" by process {pid}"))
    )]
    DirectoryInUse {
        /// The directory.
        path: PathBuf,
        /// Who has it, if that is known.
        pid: Option<u32>,
    },
    /// There is no store.
    #[error("{0:?} does not exist, so that is no data directory of a broker; is --data-dir right?")]
    NoStore(PathBuf),
    /// The store failed.
    #[error("{0}")]
    Store(store::Error),
    /// The output could not be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// The program's exit code.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 64,
            Failure::Data(_) | Failure::NotFound(_) => 65,
            Failure::NoStore(_) => 66,
            Failure::NoUser(_) => 67,
            Failure::Unavailable { .. } | Failure::NoSocket { .. } | Failure::NoListener { .. } => 69,
            Failure::Check(_) => 69,
            Failure::Broker(_) | Failure::Stopped => 70,
            Failure::Damaged(_) | Failure::DamagedQueue(_) => 72,
            Failure::Store(store::Error::NoPermission { .. }) => 77,
            Failure::Output(_) | Failure::Store(_) => 74,
            Failure::Timeout(_) | Failure::DirectoryInUse { .. } => 75,
            Failure::LoginRefused(_) | Failure::SocketRefused(_) | Failure::AccessRefused { .. } => 77,
        }
    }

    /// Whether the reader of the output went away (`warrenctl list_queues | head`), which is nobody's failure.
    pub(super) fn is_closed_pipe(&self) -> bool {
        matches!(self, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Says what it was that is not there; other failures stay as they are.
    pub(super) fn or_missing(self, missing: impl FnOnce() -> Failure) -> Failure {
        if matches!(self, Failure::NotFound(_)) { missing() } else { self }
    }
}

/// A vhost that is not there.
pub(super) fn no_vhost(vhost: &str) -> Failure {
    Failure::Data(format!("vhost '{vhost}' does not exist; `warrenctl list_vhosts` lists those that do"))
}

/// clap's complaint in one line: what is wrong and its tips, without the usage.
pub(super) fn usage(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let paragraphs = text.split("\n\n").enumerate();
    let wanted = paragraphs.filter(|(index, text)| *index == 0 || text.trim_start().starts_with("tip:"));
    let words: Vec<&str> = wanted.flat_map(|(_, text)| text.split_whitespace()).collect();
    let line = words.join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    Failure::Usage(format!("{line} (see `warrenctl --help` or `warrenctl COMMAND --help`)"))
}
