//! Progress bars on standard error, if that is a terminal and notes are wanted.

use super::output::Output;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// How often what turns is turned.
const TURN: Duration = Duration::from_millis(100);

/// A bar for things that are counted; their number is told as it is known.
pub(super) fn bar(output: &Output<'_>, unit: &str) -> ProgressBar {
    shown(output, &format!("{{wide_bar}} {{pos}}/{{len}} {unit} {{eta}}"))
}

/// A bar for a transfer of that many bytes.
pub(super) fn transfer(output: &Output<'_>, bytes: u64) -> ProgressBar {
    let bar = shown(output, "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    bar.set_length(bytes);
    bar
}

/// What turns while something takes as long as it takes; `text` says what, with `{bytes}` for how much was read.
pub(super) fn spinner(output: &Output<'_>, text: &str) -> ProgressBar {
    let bar = shown(output, &format!("{{spinner}} {text} {{elapsed}}"));
    bar.enable_steady_tick(TURN);
    bar
}

fn shown(output: &Output<'_>, template: &str) -> ProgressBar {
    if !output.has_notes {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
