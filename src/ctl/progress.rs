//! Progress bars on standard error, if that is a terminal and notes are wanted.

use super::output::Output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// How often what turns is turned.
const TURN: Duration = Duration::from_millis(100);

/// A bar for things that are counted; their number is told as it is known.
pub(super) fn bar(output: &Output<'_>, unit: &str) -> ProgressBar {
    shown(output, &of_things(unit))
}

fn of_things(unit: &str) -> String {
    format!("{{wide_bar}} {{pos}}/{{len}} {unit} {{eta}}")
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
    shown_on(ProgressDrawTarget::stderr(), output, template)
}

fn shown_on(terminal: ProgressDrawTarget, output: &Output<'_>, template: &str) -> ProgressBar {
    if !output.has_notes {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(0), terminal);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::super::output::Format;
    use super::*;
    use indicatif::TermLike;
    use parking_lot::Mutex;
    use std::io;
    use std::sync::Arc;

    /// A terminal that keeps all that is written to it.
    #[derive(Clone, Debug, Default)]
    struct Screen(Arc<Mutex<String>>);

    impl Screen {
        fn keep(&self, text: &str) -> io::Result<()> {
            self.0.lock().push_str(text);
            Ok(())
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.keep(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.keep(text)
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn drawn(has_notes: bool) -> String {
        let (screen, mut out) = (Screen::default(), Vec::new());
        let output = Output { format: Format::Table, has_notes, has_headers: true, out: &mut out };
        let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
        let bar = shown_on(target, &output, &of_things("queues"));
        bar.set_length(5);
        bar.set_position(3);
        bar.tick();
        drop(bar);
        screen.0.lock().clone()
    }

    #[test]
    fn a_bar_says_how_much_is_done_unless_notes_are_unwanted() {
        let text = drawn(true);
        assert!(text.contains(" 3/5 queues "), "{text:?}");
        assert_eq!(drawn(false), "");
    }
}
