//! Reading the configuration: the file, the environment and the flags laid over each other; and reading it again.

use super::environment::Environment;
use super::file::Files;
use super::layers::{self, Assignment, Finding, InForce, Layers, Origin, Verdict};
use super::{Config, Flags, nearest, plugins, setting};
use std::fmt;
use std::path::{Path, PathBuf};

/// A configuration with where its values come from. It can be read again.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    /// The values.
    pub config: Config,
    /// Every setting that has a value, in the order of the table. None for a configuration that was put together in code.
    pub in_force: Vec<InForce>,
    /// What is to be said of it, in the order of the layers. No errors.
    pub findings: Vec<Finding>,
    /// None for one that was put together in code.
    sources: Option<Sources>,
}

/// Where a configuration is read from.
#[derive(Clone, Debug)]
struct Sources {
    flags: Flags,
    environment: Environment,
}

impl From<Config> for Configuration {
    fn from(config: Config) -> Self {
        Self { config, ..Self::default() }
    }
}

/// What reading again came to, by keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// What is in force now and was not before.
    pub changed: Vec<String>,
    /// What is different in the file and needs a restart.
    pub needs_restart: Vec<String>,
    /// What is to be said of the file, without what is fine.
    pub findings: Vec<Finding>,
}

impl Configuration {
    /// Reads the file that the flags or the environment name, if any, and lays environment and flags over it.
    ///
    /// `environment` is the whole environment: variables that are not ours are passed over.
    /// # Errors
    /// Every problem found, not only the first: an unreadable file, unknown keys, bad values.
    pub fn load(
        flags: &Flags,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let sources = Sources { flags: flags.clone(), environment: environment.into_iter().collect() };
        sources.read().into_result(sources)
    }

    /// Everything that is to be said of a file, of the files that it brings along and of the list of plugins beside it, and
    /// what the node would be set to by them alone. Also what is wrong.
    pub fn check(path: &Path) -> (Vec<Finding>, Vec<InForce>) {
        let flags = Flags { config: Some(path.to_owned()), ..Flags::default() };
        let read = Sources { flags, environment: Environment::default() }.read();
        (read.findings, read.in_force)
    }

    /// Reads the same sources again: the configuration that a running node can take, and what came of it. What needs a
    /// restart stays as it is.
    ///
    /// # Errors
    /// Those of [`Configuration::load`], and that there is nothing to read.
    pub(super) fn read_again(&self) -> Result<(Self, Reloaded), ConfigError> {
        let Some(sources) = &self.sources else {
            return Err(ConfigError {
                problems: vec![Finding::of_place(Origin::Whole, Verdict::Error, NO_SOURCES)],
            });
        };
        let read = sources.read().into_result(sources.clone())?;
        let mut reloaded = Reloaded::default();
        for (key, is_live) in different(&self.in_force, &read.in_force) {
            if is_live { &mut reloaded.changed } else { &mut reloaded.needs_restart }.push(key);
        }
        let is_live = |entry: &&InForce| entry.setting.is_live;
        let old = self.in_force.iter().filter(|entry| !is_live(entry));
        let mut in_force: Vec<InForce> = old.chain(read.in_force.iter().filter(is_live)).cloned().collect();
        layers::sort(&mut in_force);
        let said = read.findings.iter().filter(|finding| finding.verdict != Verdict::Fine);
        reloaded.findings = said.cloned().collect();
        let config = layers::build(&in_force);
        Ok((Self { config, in_force, findings: read.findings, sources: self.sources.clone() }, reloaded))
    }

    /// The same with another value of one setting, for a node that runs.
    ///
    /// # Errors
    /// [`SetError`]: for a key or a value that there is not, and for a setting that only a start takes.
    pub(super) fn with(&self, key: &str, value: &str) -> Result<Self, SetError> {
        let wrong = |text: String| Err(SetError::Refused(text));
        let Some((setting, _)) = setting::find(key) else {
            return Err(SetError::Unknown(nearest::unknown_key(key)));
        };
        if self.sources.is_none() {
            return wrong(format!("{key} cannot be set: {NO_SOURCES}"));
        }
        if !setting.is_live {
            let text = "needs a restart: set it in the configuration and start the node again";
            return wrong(format!("{key} {text}"));
        }
        let mut layers = Layers::above(&self.in_force);
        let (key, value) = (key.to_owned(), value.to_owned());
        layers.lay(vec![Assignment { key, value, origin: Origin::RunTime }]);
        let (in_force, findings) = layers.end();
        if let Some(finding) = findings.iter().find(|finding| finding.verdict != Verdict::Fine) {
            return wrong(format!("{}: {}", finding.key, finding.text));
        }
        Ok(Self { config: layers::build(&in_force), in_force, ..self.clone() })
    }

    /// What the operator should know when the node starts: what is not obeyed.
    pub fn notices(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.verdict != Verdict::Fine)
    }
}

const NO_SOURCES: &str = "this node was not started from a file, the environment or flags";

/// Why a setting of a running node is not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// There is no such setting; the text names the nearest.
    #[error("{0}")]
    Unknown(String),
    /// It cannot have this value, or none while the node runs.
    #[error("{0}")]
    Refused(String),
}

/// The keys whose values differ, and whether a running node takes them.
fn different(old: &[InForce], new: &[InForce]) -> Vec<(String, bool)> {
    let is_in = |all: &[InForce], entry: &InForce| all.iter().any(|other| other.is_same(entry));
    let gone = old.iter().filter(|entry| !is_in(new, entry));
    let come = new.iter().filter(|entry| !is_in(old, entry));
    let mut keys: Vec<_> = gone.chain(come).map(|entry| (entry.key.clone(), entry.setting.is_live)).collect();
    keys.sort();
    keys.dedup();
    keys
}

/// What the sources say, valid or not.
struct Read {
    in_force: Vec<InForce>,
    findings: Vec<Finding>,
}

impl Sources {
    fn read(&self) -> Read {
        let Self { flags, environment } = self;
        let mut files = Files::default();
        let path = flags.config.clone().or_else(|| environment.config_file());
        for path in path.iter().chain(&environment.config_files()) {
            files.read(path);
        }
        let mut layers = Layers::new();
        layers.findings.append(&mut files.findings);
        layers.lay(files.assignments);
        // A file's findings are told by line, whoever found them.
        layers.findings.sort_by_key(|finding| match &finding.origin {
            Origin::Line(path, line) => Some((path.clone(), *line)),
            Origin::File(path) => Some((path.clone(), 0)),
            _ => None,
        });
        for layer in environment.layers(&mut layers.findings) {
            layers.lay(layer);
        }
        layers.lay(flags.assignments());
        let beside = path.as_deref().and_then(Path::parent).map(|folder| folder.join("enabled_plugins"));
        let beside = beside.filter(|path| path.exists());
        if let Some(path) = environment.plugins_file().or(beside) {
            plugins::read(&path, &mut layers.findings);
        }
        let (in_force, mut findings) = layers.end();
        check_as_a_whole(&in_force, &mut findings);
        Read { in_force, findings }
    }
}

/// What no line is wrong with, but all of them together.
fn check_as_a_whole(in_force: &[InForce], findings: &mut Vec<Finding>) {
    check_mechanisms(in_force, findings);
    let has_tls = findings
        .iter()
        .find(|finding| finding.key.starts_with("listeners.ssl") && finding.verdict == Verdict::Warning);
    let off = in_force.iter().find(|entry| entry.setting.key == "listeners.tcp");
    let Some(off) = off else { return };
    let (verdict, text) = match has_tls {
        Some(_) => (
            Verdict::Error,
            "plain listeners are off and there are no TLS ones: clients could not connect at all. Set \
             listeners.tcp.default to an address that only a proxy which ends TLS can reach",
        ),
        None => (Verdict::Warning, "no client of AMQP can connect: only the HTTP API is served"),
    };
    findings.push(Finding::new(off.origin.clone(), verdict, "listeners.tcp", text));
}

/// A node that was to let nobody in by password must not do so because it knows nothing else.
fn check_mechanisms(in_force: &[InForce], findings: &mut Vec<Finding>) {
    const KEY: &str = "auth_mechanisms.";
    let is_default = |entry: &InForce| entry.key.starts_with(KEY) && entry.origin == Origin::Default;
    let passed =
        findings.iter().find(|finding| finding.key.starts_with(KEY) && finding.verdict == Verdict::Warning);
    if let Some(passed) = passed.filter(|_| in_force.iter().any(is_default)) {
        let text = "none of the ways to log in that are asked for is there: say auth_mechanisms.1 = PLAIN if \
                    passwords are to do";
        findings.push(Finding::new(passed.origin.clone(), Verdict::Error, passed.key.clone(), text));
    }
}

impl Read {
    fn into_result(self, sources: Sources) -> Result<Configuration, ConfigError> {
        let Self { in_force, findings } = self;
        let is_error = |finding: &Finding| finding.verdict == Verdict::Error;
        if findings.iter().any(is_error) {
            return Err(ConfigError { problems: findings.into_iter().filter(is_error).collect() });
        }
        let config = layers::build(&in_force);
        Ok(Configuration { config, in_force, findings, sources: Some(sources) })
    }
}

/// The configuration is not valid. Its text has a line for each problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// In the order of the layers; never empty.
    pub problems: Vec<Finding>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl Configuration {
    /// The file that was named, if any.
    pub fn file(&self) -> Option<PathBuf> {
        let sources = self.sources.as_ref()?;
        sources.flags.config.clone().or_else(|| sources.environment.config_file())
    }
}
