//! What the environment sets: `WARREN_…` for every setting, and the variables of RabbitMQ and its container images.
//!
//! Every variable of these two families is obeyed or told; Kubernetes' are passed over.

use super::layers::{Assignment, Finding, Origin, Verdict};
use super::{nearest, setting, settings};
use std::path::{Path, PathBuf};

/// What the names of all variables of ours start with.
const PREFIX: &str = "WARREN_";
const RABBITMQ_PREFIX: &str = "RABBITMQ_";
/// The environment variables that name the configuration file when no flag does.
const CONFIG_FILE: &str = "CONFIG_FILE";
/// A file that holds the value of the variable without this.
const FILE: &str = "_FILE";

/// All variables of the process.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment(Vec<(String, String)>);

impl FromIterator<(String, String)> for Environment {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(variables: T) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// What is done about a variable of RabbitMQ's that is no setting of the file.
enum Does {
    /// It is read elsewhere.
    Elsewhere,
    /// It sets this key.
    Sets(&'static str),
    /// It is not obeyed.
    Passes(Verdict, &'static str),
}

use Does::{Elsewhere, Passes, Sets};
use Verdict::{Error, Ignored, Warning};

const NO_ERLANG: &str = "Erlang: there is no virtual machine to tune";
const NO_TLS: &str =
    "there is no TLS in this version, and RabbitMQ's images refuse this variable: take it away";
const OTHER_DATA: &str = "Warren's data is not RabbitMQ's and is never written there: set WARREN_DATA_DIR, and move what is \
                          declared by a file of definitions (docs/definitions.md)";

/// RabbitMQ's variables; a `*` at the end stands for any rest.
const VARIABLES: &[(&str, Does)] = &[
    ("CONFIG_FILE", Elsewhere),
    ("CONFIG_FILES", Elsewhere),
    ("ENABLED_PLUGINS_FILE", Elsewhere),
    ("NODE_IP_ADDRESS", Elsewhere),
    ("NODE_PORT", Elsewhere),
    ("NODENAME", Sets("nodename")),
    ("LOG_BASE", Sets("log.dir")),
    ("LOGS", Elsewhere),
    (
        "VM_MEMORY_HIGH_WATERMARK",
        Passes(
            Error,
            "RabbitMQ's images refuse this variable: set WARREN_VM_MEMORY_HIGH_WATERMARK_RELATIVE or …_ABSOLUTE",
        ),
    ),
    ("SSL_*", Passes(Error, NO_TLS)),
    ("MANAGEMENT_SSL_*", Passes(Error, NO_TLS)),
    ("HIPE_COMPILE", Passes(Ignored, NO_ERLANG)),
    (
        "ADVANCED_CONFIG_FILE",
        Passes(Warning, "Erlang terms are not read: write what is needed into the configuration file"),
    ),
    ("MNESIA_BASE", Passes(Ignored, OTHER_DATA)),
    ("MNESIA_DIR", Passes(Ignored, OTHER_DATA)),
    ("DATA_DIR", Passes(Ignored, OTHER_DATA)),
    ("LOG", Passes(Warning, "set WARREN_LOG_LEVEL, or log.connection.level and the like in the file")),
    (
        "ENABLED_PLUGINS",
        Passes(
            Ignored,
            "nothing is switched on by a list of plugins; `warren config check` tells what there is",
        ),
    ),
    ("ERLANG_COOKIE", Passes(Warning, "Erlang's cookie is a secret that is not needed here: take it away")),
    ("PROMETHEUS_*", Passes(Ignored, "not a variable of RabbitMQ's")),
    ("*", Passes(Ignored, "no variable of RabbitMQ's is obeyed here but those in docs/configuration.md")),
];

impl Environment {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    fn either(&self, rest: &str) -> Option<PathBuf> {
        [PREFIX, RABBITMQ_PREFIX]
            .iter()
            .find_map(|prefix| self.get(&format!("{prefix}{rest}")))
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    }

    /// The configuration file.
    pub(super) fn config_file(&self) -> Option<PathBuf> {
        self.either(CONFIG_FILE)
    }

    /// More configuration files: a directory.
    pub(super) fn config_files(&self) -> Option<PathBuf> {
        let path = self.either("CONFIG_FILES")?;
        // RabbitMQ also takes a pattern; that of its images is every `.conf` of a directory.
        Some(if path.ends_with("*.conf") { path.with_file_name("") } else { path })
    }

    /// The list of plugins.
    pub(super) fn plugins_file(&self) -> Option<PathBuf> {
        self.either("ENABLED_PLUGINS_FILE")
    }

    /// The settings in the environment. RabbitMQ's own variables come first, so that ours override them.
    pub(super) fn layers(&self, findings: &mut Vec<Finding>) -> [Vec<Assignment>; 2] {
        [self.rabbitmqs(findings), self.ours(findings)]
    }

    fn rabbitmqs(&self, findings: &mut Vec<Finding>) -> Vec<Assignment> {
        let mut assignments = Vec::new();
        for (name, value) in &self.0 {
            let Some(rest) = name.strip_prefix(RABBITMQ_PREFIX).filter(|rest| !is_service_link(rest)) else {
                continue;
            };
            if let Some(setting) = settings::all().find(|setting| setting.rabbitmq_variable == Some(name)) {
                assignments.push(assignment(setting.key, name, value));
                continue;
            }
            let of_file = rest.strip_suffix(FILE).map(|rest| format!("{RABBITMQ_PREFIX}{rest}"));
            let of_file = settings::all()
                .find(|setting| setting.rabbitmq_variable.is_some_and(|own| of_file.as_deref() == Some(own)));
            if let Some(setting) = of_file {
                assignments.extend(self.value_in_file(setting.key, name, value, findings));
                continue;
            }
            let fits = |pattern: &str| pattern == rest || setting::name_in(pattern, rest).is_some();
            match VARIABLES.iter().find(|(pattern, _)| fits(pattern)) {
                Some((_, Sets(key))) => assignments.push(assignment(key, name, value)),
                Some((_, Passes(verdict, reason))) => {
                    findings.push(Finding::of_place(Origin::Variable(name.clone()), *verdict, *reason));
                }
                Some((_, Elsewhere)) | None => {}
            }
        }
        self.listener(&mut assignments);
        self.logs(&mut assignments);
        assignments
    }

    /// Both variables together make one address.
    fn listener(&self, assignments: &mut Vec<Assignment>) {
        const PORT: &str = "RABBITMQ_NODE_PORT";
        const IP: &str = "RABBITMQ_NODE_IP_ADDRESS";
        let (port, ip) = (self.get(PORT), self.get(IP).filter(|ip| !ip.is_empty()));
        let Some(name) = port.map(|_| PORT).or(ip.map(|_| IP)) else { return };
        let port = port.unwrap_or("5672");
        let address = match ip.map(|ip| ip.trim_matches(['[', ']'])) {
            Some(ip) if ip.contains(':') => format!("[{ip}]:{port}"),
            Some(ip) => format!("{ip}:{port}"),
            None => port.to_owned(),
        };
        assignments.push(assignment("listeners.tcp.default", name, &address));
    }

    /// `-` is the console, anything else a file.
    fn logs(&self, assignments: &mut Vec<Assignment>) {
        const LOGS: &str = "RABBITMQ_LOGS";
        match self.get(LOGS) {
            None | Some("") => {}
            Some("-") => assignments.push(assignment("log.console", LOGS, "true")),
            Some(file) => assignments.push(assignment("log.file", LOGS, file)),
        }
    }

    fn ours(&self, findings: &mut Vec<Finding>) -> Vec<Assignment> {
        let mut assignments = Vec::new();
        for (name, value) in &self.0 {
            let Some(rest) = name.strip_prefix(PREFIX).filter(|rest| !is_service_link(rest)) else {
                continue;
            };
            if matches!(rest, CONFIG_FILE | "CONFIG_FILES" | "ENABLED_PLUGINS_FILE") {
                continue;
            }
            if let Some(key) = setting::key_of_variable(rest) {
                assignments.push(assignment(&key, name, value));
            } else if let Some(key) = rest.strip_suffix(FILE).and_then(setting::key_of_variable) {
                assignments.extend(self.value_in_file(&key, name, value, findings));
            } else {
                let origin = Origin::Variable(name.clone());
                findings.push(Finding::of_place(origin, Error, nearest::unknown_variable(rest)));
            }
        }
        assignments
    }

    /// A value that stands in a file, as container platforms hand over secrets. The line end behind it is not part of it.
    fn value_in_file(
        &self,
        key: &str,
        name: &str,
        path: &str,
        findings: &mut Vec<Finding>,
    ) -> Option<Assignment> {
        match std::fs::read_to_string(Path::new(path)) {
            Ok(text) => Some(assignment(key, name, text.trim_end_matches(['\n', '\r']))),
            Err(error) => {
                let text = format!("cannot read {path}: {error}");
                findings.push(Finding::of_place(Origin::Variable(name.to_owned()), Error, text));
                None
            }
        }
    }
}

fn assignment(key: &str, name: &str, value: &str) -> Assignment {
    Assignment { key: key.to_owned(), value: value.to_owned(), origin: Origin::Variable(name.to_owned()) }
}

/// Kubernetes gives every pod the addresses of a service called `warren` as WARREN_SERVICE_… and WARREN_PORT…:
/// a pod must not fail to start over variables that nobody wrote.
fn is_service_link(rest: &str) -> bool {
    rest.starts_with("SERVICE_") || rest == "PORT" || rest.starts_with("PORT_")
}
