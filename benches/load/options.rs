//! The command line of the load generator.

use std::time::Duration;

/// How many digits a queue's number has in its name, where there are several.
pub(crate) const QUEUE_DIGITS: usize = 6;
const QUEUES_MAX: u64 = 1_000_000;

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
usage: load [--option value]...
  --address HOST:PORT   the broker (127.0.0.1:5672)
  --user NAME           (guest)
  --password TEXT       (guest)
  --vhost NAME          (/)
  --queue NAME          (load)
  --queues N            so many queues, NAME.000000 and so on; message n goes to queue n modulo N (1)
  --part PART           both: publish and consume at once; the queue is deleted before and after (the default)
                        publish: only that; the messages stay in the queue
                        drain: consume --messages messages, which may say redelivered; the queue stays
  --first N             the number of the first message (0)
  --report-every N      print a line of JSON whenever so many more are published or received; 0 never (0)
  --mode MODE           transient: transient messages and queue, no confirms (the default)
                        confirms: persistent messages, durable queue, publisher confirms
  --size BYTES          of a body, at least 8 (16)
  --seconds N           publish so long, then drain (8); or
  --messages N          publish so many
  --window N            unconfirmed messages at most, with confirms (200)
  --ack-every N         the consumer acks every N messages with `multiple`; 0 consumes without acks
                        (0 for transient, 50 with confirms)
  --prefetch N          of a consumer with acks (500)
  --backlog-max N       the producer waits while so many messages are on their way; 0 never waits (0)
  --pid PID             of the broker, to measure its processor time
";

/// Durability of a run: decides the queue, the messages and whether the producer waits for confirms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    Transient,
    Confirms,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::Transient => "transient",
            Mode::Confirms => "confirms",
        }
    }
}

/// Which sides of the load there are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Part {
    Both,
    Publish,
    Drain,
}

impl Part {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Part::Both => "both",
            Part::Publish => "publish",
            Part::Drain => "drain",
        }
    }
}

/// What ends the publishing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    Time(Duration),
    Messages(u64),
}

/// A run, fully described.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) address: String,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) vhost: String,
    pub(crate) queue: String,
    pub(crate) queues: u64,
    pub(crate) part: Part,
    pub(crate) first: u64,
    /// `u64::MAX` = never.
    pub(crate) report_every: u64,
    pub(crate) mode: Mode,
    pub(crate) size: usize,
    pub(crate) bound: Bound,
    pub(crate) window: u64,
    /// 0 = consume with no_ack.
    pub(crate) ack_every: u64,
    pub(crate) prefetch: u16,
    /// `u64::MAX` = no limit.
    pub(crate) backlog_max: u64,
    pub(crate) pid: Option<u32>,
}

impl Options {
    /// Reads the arguments; `None` means that help was asked for.
    pub(crate) fn from_arguments(arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
        let mut options = Options {
            address: "127.0.0.1:5672".to_owned(),
            user: "guest".to_owned(),
            password: "guest".to_owned(),
            vhost: "/".to_owned(),
            queue: "load".to_owned(),
            queues: 1,
            part: Part::Both,
            first: 0,
            report_every: 0,
            mode: Mode::Transient,
            size: 16,
            bound: Bound::Time(Duration::from_secs(8)),
            window: 200,
            ack_every: u64::MAX,
            prefetch: 500,
            backlog_max: 0,
            pid: None,
        };
        let mut arguments = arguments.filter(|argument| argument != "--bench"); // added by cargo
        while let Some(name) = arguments.next() {
            if name == "--help" {
                return Ok(None);
            }
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            options.set(&name, value)?;
        }
        options.complete()?;
        Ok(Some(options))
    }

    /// The name of the queue that message `index` goes to.
    pub(crate) fn queue_of(&self, index: u64) -> String {
        match self.queues {
            1 => self.queue.clone(),
            queues => format!("{}.{:0width$}", self.queue, index % queues, width = QUEUE_DIGITS),
        }
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        match name {
            "--address" => self.address = value,
            "--user" => self.user = value,
            "--password" => self.password = value,
            "--vhost" => self.vhost = value,
            "--queue" => self.queue = value,
            "--queues" => self.queues = number(name, &value)?,
            "--part" => self.part = part(&value)?,
            "--first" => self.first = number(name, &value)?,
            "--report-every" => self.report_every = number(name, &value)?,
            "--mode" => self.mode = mode(&value)?,
            "--size" => self.size = number(name, &value)?,
            "--seconds" => self.bound = Bound::Time(Duration::from_secs_f64(seconds(name, &value)?)),
            "--messages" => self.bound = Bound::Messages(number(name, &value)?),
            "--window" => self.window = number(name, &value)?,
            "--ack-every" => self.ack_every = number(name, &value)?,
            "--prefetch" => self.prefetch = number(name, &value)?,
            "--backlog-max" => self.backlog_max = number(name, &value)?,
            "--pid" => self.pid = Some(number(name, &value)?),
            _ => return Err(format!("unknown option {name}")),
        }
        Ok(())
    }

    /// Fills in defaults that depend on other options, and refuses what cannot work.
    fn complete(&mut self) -> Result<(), String> {
        if self.ack_every == u64::MAX {
            self.ack_every = if self.mode == Mode::Confirms { 50 } else { 0 };
        }
        if self.backlog_max == 0 {
            self.backlog_max = u64::MAX;
        }
        if self.report_every == 0 {
            self.report_every = u64::MAX;
        }
        if self.size < 8 {
            return Err("--size: a body holds its number and needs 8 bytes".to_owned());
        }
        if self.window == 0 || matches!(self.bound, Bound::Messages(0)) {
            return Err("--window and --messages must not be 0".to_owned());
        }
        if self.prefetch != 0 && u64::from(self.prefetch) < self.ack_every {
            return Err("--prefetch below --ack-every: the consumer would wait forever".to_owned());
        }
        if self.part == Part::Drain && !matches!(self.bound, Bound::Messages(_)) {
            return Err("--part drain needs --messages".to_owned());
        }
        if self.part == Part::Publish && self.backlog_max != u64::MAX {
            return Err("--backlog-max: nobody consumes with --part publish".to_owned());
        }
        if self.queues == 0 || self.queues > QUEUES_MAX || !self.first.is_multiple_of(self.queues) {
            return Err("--queues: 1 to 1000000, and --first is a multiple of it".to_owned());
        }
        if self.queue.len() + QUEUE_DIGITS + 1 > 255 || self.vhost.len() > 255 {
            return Err("--queue and --vhost take at most 255 bytes, with the queue's number".to_owned());
        }
        Ok(())
    }
}

fn part(value: &str) -> Result<Part, String> {
    let parts = [Part::Both, Part::Publish, Part::Drain];
    let known = parts.into_iter().find(|part| part.name() == value);
    known.ok_or_else(|| format!("--part: '{value}' is none of both, publish and drain"))
}

fn mode(value: &str) -> Result<Mode, String> {
    match value {
        "transient" => Ok(Mode::Transient),
        "confirms" => Ok(Mode::Confirms),
        _ => Err(format!("--mode: '{value}' is neither transient nor confirms")),
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name}: '{value}' is not a number it can take"))
}

fn seconds(name: &str, value: &str) -> Result<f64, String> {
    let seconds: f64 = number(name, value)?;
    if (0.001..=86_400.0).contains(&seconds) { Ok(seconds) } else { Err(format!("{name}: 0.001 to 86400")) }
}
