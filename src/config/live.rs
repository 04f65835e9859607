//! The configuration of a running node: what is in force now, and reading it again.

use super::{Config, ConfigError, Configuration, Origin, Reloaded, SetError, Verdict};
use parking_lot::{Mutex, RwLock};
use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;
use tracing::{info, warn};

/// What obeys a new configuration at once.
type Follower = Box<dyn Fn(&Config) + Send + Sync>;

/// The configuration that a node runs with. Whoever obeys a setting that can change looks here, or is told of changes.
pub struct Live {
    current: RwLock<Arc<Configuration>>,
    values: watch::Sender<Arc<Config>>,
    /// One reads again at a time.
    followers: Mutex<Vec<Follower>>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("current", &self.current).finish_non_exhaustive()
    }
}

impl Live {
    /// Of a node that starts with it.
    pub fn new(configuration: Configuration) -> Self {
        let values = watch::Sender::new(Arc::new(configuration.config.clone()));
        Self { current: RwLock::new(Arc::new(configuration)), values, followers: Mutex::default() }
    }

    /// What is in force now, with where it came from.
    pub fn current(&self) -> Arc<Configuration> {
        Arc::clone(&self.current.read())
    }

    /// The values that are in force now.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.values.borrow())
    }

    /// The values, and whenever they change.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Config>> {
        self.values.subscribe()
    }

    /// Tells of every new configuration before [`Live::reload`] returns. The follower must not read it again itself.
    pub fn follow(&self, follower: impl Fn(&Config) + Send + Sync + 'static) {
        self.followers.lock().push(Box::new(follower));
    }

    /// Reads the file again, under the environment and the flags that the node was started with. What can change does;
    /// what needs a restart is told. Both go to the log, too.
    ///
    /// # Errors
    /// [`ConfigError`]: nothing has changed then.
    pub fn reload(&self) -> Result<Reloaded, ConfigError> {
        let followers = self.followers.lock();
        let (configuration, reloaded) = self.current().read_again().inspect_err(|error| {
            error.problems.iter().for_each(|problem| warn!("not reloaded: {problem}"));
        })?;
        self.put_in_force(configuration, &followers);
        let (changed, needs_restart) = (reloaded.changed.join(", "), reloaded.needs_restart.join(", "));
        info!(changed, "configuration reloaded");
        if !needs_restart.is_empty() {
            warn!(settings = needs_restart, "these settings have changed and need a restart");
        }
        for finding in reloaded.findings.iter().filter(|finding| finding.verdict == Verdict::Warning) {
            warn!("{finding}");
        }
        Ok(reloaded)
    }

    /// Gives one setting another value, until the node starts or reads its configuration again.
    ///
    /// # Errors
    /// [`SetError`]: nothing has changed then.
    pub fn set(&self, key: &str, value: &str) -> Result<(), SetError> {
        let followers = self.followers.lock();
        let configuration = self.current().with(key, value)?;
        let set = configuration.in_force.iter().filter(|entry| entry.origin == Origin::RunTime);
        let values: Vec<String> = set.map(|entry| format!("{} = {}", entry.key, entry.shown())).collect();
        self.put_in_force(configuration, &followers);
        info!(key, at_run_time = values.join(", "), "setting changed until the next start or reload");
        Ok(())
    }

    /// Tells everybody. The followers are those that are locked: one changes the configuration at a time.
    fn put_in_force(&self, configuration: Configuration, followers: &[Follower]) {
        let config = Arc::new(configuration.config.clone());
        *self.current.write() = Arc::new(configuration);
        self.values.send_replace(Arc::clone(&config));
        followers.iter().for_each(|follower| follower(&config));
    }
}
