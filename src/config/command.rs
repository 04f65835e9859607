//! `warren config …`: the configuration looked at without running a broker.

use super::{ConfigError, Configuration, Finding, Flags, Verdict, print};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Look at the configuration without running the broker.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Tell of every line of a configuration file whether it is obeyed, ignored and why, or wrong
    Check {
        /// The file, or a directory of files that end in .conf
        file: PathBuf,
        /// Fail also if anything is not obeyed that may matter
        #[arg(long)]
        strict: bool,
    },
    /// Show every setting with its value, where that comes from, its unit and its meaning
    Print {
        /// How
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
        /// Under which flags of `serve`
        #[command(flatten)]
        flags: Flags,
    },
}

/// What `warren config print` prints.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Format {
    /// A line for each setting
    Table,
    /// A list of objects
    Json,
    /// A configuration file
    Conf,
    /// The tables of the documentation: no values
    Markdown,
}

impl Command {
    /// What it prints, and whether all is well.
    ///
    /// # Errors
    /// [`ConfigError`] when there is no valid configuration to print.
    pub fn run(
        &self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(String, bool), ConfigError> {
        match self {
            Command::Check { file, strict } => Ok(check(file, *strict)),
            Command::Print { format: Format::Markdown, .. } => Ok((print::markdown(), true)),
            Command::Print { format, flags } => {
                let configuration = Configuration::load(flags, environment)?;
                let in_force = &configuration.in_force;
                let text = match format {
                    Format::Json => format!("{:#}\n", print::json(in_force)),
                    Format::Conf => print::conf(in_force),
                    Format::Table | Format::Markdown => print::table(in_force),
                };
                Ok((text, true))
            }
        }
    }
}

fn check(file: &Path, strict: bool) -> (String, bool) {
    let (findings, _) = Configuration::check(file);
    let mut text = String::new();
    for Finding { origin, verdict, key, text: reason } in &findings {
        let colon = if key.is_empty() || reason.is_empty() { "" } else { ":" };
        let (key, reason) = (gap(key), gap(reason));
        // A text takes everything.
        let _ = writeln!(text, "{origin}: {}{key}{colon}{reason}", verdict.as_str());
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (warnings, errors) = (count(Verdict::Warning), count(Verdict::Error));
    let (fine, ignored) = (count(Verdict::Fine), count(Verdict::Ignored));
    let _ = writeln!(text, "{fine} fine, {ignored} ignored, {warnings} warnings, {errors} errors");
    (text, errors == 0 && !(strict && warnings > 0))
}

fn gap(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" {text}") }
}
