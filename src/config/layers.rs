//! Layers of assignments: which value is in force, and what is to be said of every line. PURE.
//!
//! Later layers count before earlier ones: defaults, the file, the environment, the flags.

use super::setting::{self, Setting};
use super::{Config, ignored, nearest, settings};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;

/// A key with the value it was given, and where.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Assignment {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) origin: Origin,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A line of the configuration file, from 1.
    Line(PathBuf, usize),
    /// The configuration file as a whole.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
    /// Somebody who asked the running node.
    RunTime,
    /// All of it together.
    Whole,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Line(path, line) => write!(f, "{}:{line}", path.display()),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Variable(name) => write!(f, "environment variable {name}"),
            Origin::Flag(name) => write!(f, "{name}"),
            Origin::RunTime => f.write_str("set at run time"),
            Origin::Whole => f.write_str("the configuration"),
        }
    }
}

/// What becomes of a line, from harmless to fatal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It is obeyed.
    Fine,
    /// It is not obeyed, and nothing is lost by that.
    Ignored,
    /// It is not obeyed, and that may be dangerous or change what clients see.
    Warning,
    /// The node does not start with it.
    Error,
}

impl Verdict {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Fine => "fine",
            Verdict::Ignored => "ignored",
            Verdict::Warning => "WARNING",
            Verdict::Error => "ERROR",
        }
    }
}

/// What is to be said of a line, a variable or a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where it stands.
    pub origin: Origin,
    /// What becomes of it.
    pub verdict: Verdict,
    /// The key, if it is about one.
    pub key: String,
    /// What is wrong and what to do; empty where all is fine.
    pub text: String,
}

impl Finding {
    pub(super) fn new(
        origin: Origin,
        verdict: Verdict,
        key: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        Self { origin, verdict, key: key.into(), text: text.into() }
    }

    /// Of something that has no key.
    pub(super) fn of_place(origin: Origin, verdict: Verdict, text: impl Into<String>) -> Self {
        Self::new(origin, verdict, "", text)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.text)
    }
}

/// A setting that has a value, and where it has it from.
#[derive(Clone, Debug)]
pub struct InForce {
    /// The setting.
    pub setting: &'static Setting,
    /// Its key, with a name for the `*`.
    pub key: String,
    /// The value as it was written.
    pub value: String,
    /// Where it was written.
    pub origin: Origin,
}

impl InForce {
    /// The value for people: a secret is not shown.
    pub fn shown(&self) -> &str {
        if self.setting.is_secret { REDACTED } else { &self.value }
    }

    pub(super) fn is_same(&self, other: &InForce) -> bool {
        self.key == other.key && self.value == other.value
    }
}

/// What stands for a secret.
pub(super) const REDACTED: &str = "[redacted]";

/// What the layers so far come to.
#[derive(Debug)]
pub(super) struct Layers {
    in_force: Vec<InForce>,
    pub(super) findings: Vec<Finding>,
    /// Takes values only to see whether they are valid.
    trial: Config,
}

impl Layers {
    /// What a node runs with already.
    pub(super) fn above(in_force: &[InForce]) -> Self {
        Self { in_force: in_force.to_vec(), findings: Vec::new(), trial: settings::blank() }
    }

    /// The defaults alone.
    pub(super) fn new() -> Self {
        let defaults = settings::all().filter_map(|setting| {
            let (key, value) = setting.default_assignment()?;
            Some(InForce { setting, key, value: value.to_owned(), origin: Origin::Default })
        });
        Self { in_force: defaults.collect(), findings: Vec::new(), trial: settings::blank() }
    }

    /// Lays one layer over what is in force so far.
    ///
    /// Within a layer the last line for a key counts; a list (listeners, loopback users, tags) that a layer mentions
    /// replaces the list of the layers below.
    pub(super) fn lay(&mut self, layer: Vec<Assignment>) {
        let mut entries: Vec<InForce> = Vec::new();
        let mut index_of: HashMap<String, usize> = HashMap::new();
        for assignment in layer {
            let Some(entry) = self.check(assignment) else { continue };
            match index_of.get(&entry.key) {
                Some(&index) => {
                    let earlier = std::mem::replace(&mut entries[index], entry);
                    let text = format!("set again at {}, which counts", entries[index].origin);
                    self.findings.retain(|finding| finding.origin != earlier.origin);
                    self.findings.push(Finding::new(earlier.origin, Verdict::Ignored, earlier.key, text));
                }
                None => {
                    index_of.insert(entry.key.clone(), entries.len());
                    entries.push(entry);
                }
            }
        }
        let mut gone: HashSet<&str> = HashSet::new();
        for entry in &entries {
            gone.extend(entry.setting.replaces);
            gone.extend(entry.setting.is_list.then_some(entry.setting.key));
        }
        let is_over = |below: &InForce| gone.contains(below.setting.key) || index_of.contains_key(&below.key);
        self.in_force.retain(|below| !is_over(below));
        self.in_force.extend(entries);
    }

    /// Says what becomes of an assignment; it comes back if it is valid.
    fn check(&mut self, assignment: Assignment) -> Option<InForce> {
        let Assignment { key, value, origin } = assignment;
        let Some((setting, name)) = setting::find(&key) else {
            self.findings.push(match ignored::find(&key, &value) {
                Some((verdict, reason)) => Finding::new(origin, verdict, key, reason),
                None => Finding::of_place(origin, Verdict::Error, nearest::unknown_key(&key)),
            });
            return None;
        };
        if let Some((verdict, reason)) = ignored::value(&key, &value) {
            self.findings.push(Finding::new(origin, verdict, key, reason));
            return None;
        }
        let outcome = match setting.is_secret && value.starts_with(ENCRYPTED) {
            true => Err(ENCRYPTED_TEXT.to_owned()),
            false => (setting.set)(&mut self.trial, name, &value),
        };
        match outcome {
            Ok(()) => {
                self.findings.push(Finding::new(origin.clone(), Verdict::Fine, key.clone(), ""));
                let key = setting.key_of(name);
                Some(InForce { setting, key, value, origin })
            }
            Err(reason) => {
                self.findings.push(Finding::new(origin, Verdict::Error, key, reason));
                None
            }
        }
    }

    /// What is in force, in the order of the table, and what is to be said.
    pub(super) fn end(mut self) -> (Vec<InForce>, Vec<Finding>) {
        sort(&mut self.in_force);
        (self.in_force, self.findings)
    }
}

/// Puts entries into the order of the table; those of one setting stay as they are.
pub(super) fn sort(in_force: &mut [InForce]) {
    in_force.sort_by_cached_key(|entry| settings::all().position(|own| own.key == entry.setting.key));
}

const ENCRYPTED: &str = "encrypted:";
const ENCRYPTED_TEXT: &str = "encrypted values cannot be read here. Write the value out in a file that only the broker's \
                              user may read, or set it by an environment variable (for a secret, WARREN_…_FILE names a \
                              file with it)";

/// The configuration that values in force make. They are valid one by one.
pub(super) fn build(in_force: &[InForce]) -> Config {
    let mut config = settings::blank();
    for entry in in_force {
        let name = entry.setting.name_in(&entry.key).unwrap_or_default();
        let outcome = (entry.setting.set)(&mut config, name, &entry.value);
        debug_assert_eq!(outcome, Ok(()), "{} was valid before", entry.key);
    }
    config
}
