//! What all kinds of load have in common: which broker, what of it is measured, where the report goes.

use super::super::output::Output;
use super::super::{Context, Failure};
use super::process::{self, Usage};
use super::target::Target;
use clap::Args;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// The options of every kind; a report says those that matter.
#[derive(Clone, Debug, Args, Serialize)]
pub(super) struct Common {
    /// The broker, as amqp://user:password@host:5672/vhost; without, --host, --username, --password and --vhost count
    #[arg(long, value_name = "URI", env = "WARRENCTL_URI", hide_env_values = true)]
    #[serde(skip)]
    uri: Option<String>,
    /// A process of the broker on this machine, whose processor time and memory are measured; may be given several times
    #[arg(long, value_name = "PID", help_heading = "Report")]
    pid: Vec<u32>,
    /// Write the report as JSON to this file, too
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    #[serde(skip)]
    json: Option<PathBuf>,
}

impl Common {
    /// The broker that is meant.
    pub(super) fn target(&self, context: &Context<'_>) -> Result<Target, Failure> {
        Target::new(self.uri.as_deref(), context)
    }

    /// Whether the broker's processes are measured.
    pub(super) fn is_measured(&self) -> bool {
        !self.pid.is_empty()
    }

    /// What they have used.
    pub(super) fn usage(&self) -> Result<Usage, Failure> {
        process::usage(&self.pid)
    }

    /// Writes a report where it is wanted; `lines` are what people read.
    pub(super) fn write(
        &self,
        report: &impl Serialize,
        lines: &[(&str, String)],
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        // Numbers, texts and lists always serialize.
        let json = serde_json::to_string(report).unwrap_or_default();
        if let Some(path) = &self.json {
            write_file(path, &json)?;
        }
        if output.format.is_json() {
            return Ok(writeln!(output.out, "{json}")?);
        }
        for (name, value) in lines {
            writeln!(output.out, "{name:<22}{value}")?;
        }
        Ok(())
    }
}

/// Writes a file that was asked for.
pub(super) fn write_file(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| Failure::Data(format!("cannot write {}: {error}", path.display())))
}
