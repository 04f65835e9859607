//! `warren doctor`: looks at the machine as the broker would find it, and says what to do about it.
//!
//! What is measured ([`measure`]) and what that means ([`judge`]) are two things: the second is a function of the first.

mod judge;
mod measure;

use crate::config::{Configuration, Flags};
use judge::{Finding, Verdict};
use serde_json::json;
use std::fmt::Write;

/// Look at the limits, disk, clock, ports, memory and configuration that the broker would run with, and advise.
#[derive(Clone, Debug, clap::Args)]
pub struct Command {
    /// How
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Under which flags of `serve`
    #[command(flatten)]
    flags: Flags,
}

/// What `warren doctor` prints.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Format {
    /// A line for each finding, and one with advice where there is some
    Text,
    /// A list of objects
    Json,
}

impl Command {
    /// What it prints, and whether there is no problem. Writes a temporary file into the data directory, if that is there,
    /// and removes it.
    pub fn run(&self, environment: impl IntoIterator<Item = (String, String)>) -> (String, bool) {
        let findings = match Configuration::load(&self.flags, environment) {
            Ok(configuration) => judge::judge(&measure::measure(&configuration)),
            Err(error) => {
                judge::unreadable(&error.problems.iter().map(ToString::to_string).collect::<Vec<_>>())
            }
        };
        let is_well = findings.iter().all(|finding| finding.verdict != Verdict::Problem);
        let text = match self.format {
            Format::Text => lines(&findings),
            Format::Json => format!("{:#}\n", objects(&findings)),
        };
        (text, is_well)
    }
}

fn lines(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { check, verdict, text: said, advice } in findings {
        // A text takes everything.
        let _ = writeln!(text, "{:<8} {check}: {said}", verdict.as_str());
        if let Some(advice) = advice {
            let _ = writeln!(text, "{:<8} {advice}", "");
        }
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (ok, warnings, problems) = (count(Verdict::Ok), count(Verdict::Warning), count(Verdict::Problem));
    let _ = writeln!(text, "{ok} ok, {warnings} warnings, {problems} problems");
    text
}

fn objects(findings: &[Finding]) -> serde_json::Value {
    let object = |Finding { check, verdict, text, advice }: &Finding| json!({ "check": check, "verdict": verdict.as_str(), "text": text, "advice": advice });
    findings.iter().map(object).collect()
}
