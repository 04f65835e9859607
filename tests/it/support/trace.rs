//! The transcript of a scenario: what came, without what differs from run to run, and whether it was what was wanted.

use regex::Regex;
use std::cell::RefCell;
use std::sync::LazyLock;

/// What a scenario has seen, shared by its clients.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// What stands for `~` in names.
    pub(crate) prefix: String,
    /// Whether an unexpected frame fails the test, or is only written down.
    pub(crate) is_strict: bool,
    /// Whether the broker is RabbitMQ, where what one process does is seen by another only a little later.
    pub(crate) is_rabbitmq: bool,
    /// The lines so far.
    pub(crate) lines: RefCell<Vec<String>>,
}

/// Generated names, as they are shown: the parts that differ from run to run as `*`.
static GENERATED: LazyLock<[(Regex, &str); 2]> = LazyLock::new(|| {
    [
        (Regex::new(r"amq\.(gen|ctag)-[A-Za-z0-9_-]{22}").unwrap(), "amq.$1-*"),
        (Regex::new(r"amq\.rabbitmq\.reply-to\.[^ })']+").unwrap(), "amq.rabbitmq.reply-to.*"),
    ]
});

impl Trace {
    /// A text without what differs from run to run.
    pub(crate) fn normal(&self, line: &str) -> String {
        let mut line = line.replace(&self.prefix, "~");
        for (pattern, shown) in GENERATED.iter() {
            line = pattern.replace_all(&line, *shown).into_owned();
        }
        line
    }

    /// Ends the scenario, because what it needs does not come.
    pub(crate) fn give_up(&self, label: &str, wanted: &str, seen: &str) -> ! {
        self.saw(label, wanted, seen);
        // Not a panic: where only a transcript is wanted, this is not a failure.
        std::panic::resume_unwind(Box::new(format!("no {wanted}")))
    }

    /// Writes down what was seen, and fails a strict scenario that wanted something else.
    pub(crate) fn saw(&self, label: &str, wanted: &str, seen: &str) {
        self.lines.borrow_mut().push(format!("{label}{seen}"));
        if self.is_strict {
            assert_eq!(seen, wanted, "\nafter:\n  {}\n", self.lines.borrow().join("\n  "));
        }
    }
}
