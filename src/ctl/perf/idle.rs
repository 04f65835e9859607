//! `perf idle`: what connections, channels and queues cost that do nothing.

use super::super::output::Output;
use super::super::{Context, Failure};
use super::common::Common;
use super::connection::{CHANNEL, Connection, Peer};
use super::report::{grouped, rate};
use super::target::Target;
use super::topology;
use crate::amqp::method::id;
use crate::name::ChannelId;
use crate::time::{self, Duration};
use amq_protocol::types::FieldTable;
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

/// How long memory is given to settle before it is read.
const SETTLE: Duration = Duration::from_secs(1);

/// The options of `perf idle`; a report says them.
#[derive(Clone, Debug, Args, Serialize)]
pub(super) struct Idle {
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
    /// Connections to open, without a channel at first
    #[arg(short = 'x', long, value_name = "N", default_value_t = 0)]
    connections: u32,
    /// Channels to open then, dealt to the connections
    #[arg(long, value_name = "N", default_value_t = 0)]
    channels: u32,
    /// Queues to declare then
    #[arg(long, value_name = "N", default_value_t = 0)]
    queues: u32,
    /// Durable queues
    #[arg(long)]
    persistent: bool,
    /// Keep everything open so long, in seconds
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    hold: f64,
}

/// What a run has shown.
#[derive(Debug, Serialize)]
struct Report {
    product: String,
    version: String,
    options: Idle,
    steps: Vec<StepReport>,
}

/// What one kind of thing took.
#[derive(Debug, Serialize)]
struct StepReport {
    what: &'static str,
    count: u32,
    seconds: f64,
    per_second: f64,
    /// With `--pid`: by how much the broker has grown for each of them.
    bytes_each: Option<f64>,
}

/// Opens everything, measures, holds it and ends it.
///
/// # Errors
/// The broker is not there, or refuses something; this system allows too few open files.
pub(super) fn run(context: &mut Context<'_>, idle: &Idle) -> Result<(), Failure> {
    if idle.channels > 0 && idle.connections == 0 {
        return Err(Failure::Usage("--channels needs --connections".into()));
    }
    if !(0.0..=86_400.0).contains(&idle.hold) {
        return Err(Failure::Usage("--hold: 0 to 86400".into()));
    }
    allow_files(u64::from(idle.connections) + 100)?;
    let target = idle.common.target(context)?;
    let mut control = Connection::open(&target, "perf idle control")?;
    control.open_channel(CHANNEL)?;
    let mut idling = Idling { idle, connections: Vec::new(), control, target, steps: Vec::new() };
    let outcome = idling.open();
    // What was declared goes even if something failed.
    let cleaned = idling.clean();
    outcome.and(cleaned)?;
    let Peer { product, version } = idling.control.peer.clone();
    let report = Report { product, version, options: idle.clone(), steps: idling.steps };
    report.write(&mut context.output)
}

struct Idling<'a> {
    idle: &'a Idle,
    target: Target,
    control: Connection,
    connections: Vec<Connection>,
    steps: Vec<StepReport>,
}

impl Idling<'_> {
    fn open(&mut self) -> Result<(), Failure> {
        let Idle { connections, channels, queues, .. } = *self.idle;
        self.step("connections", connections, |idling| {
            for _ in 0..connections {
                let mut connection = Connection::open(&idling.target, "perf idle")?;
                connection.rest();
                idling.connections.push(connection);
            }
            Ok(())
        })?;
        self.step("channels", channels, |idling| {
            let count = idling.connections.len();
            for index in 0..channels as usize {
                let channel = u16::try_from(index / count + 1)
                    .map_err(|_| Failure::Usage("--channels: 65535 for each connection at most".into()))?;
                let connection = &mut idling.connections[index % count];
                connection.open_channel(ChannelId(channel))?;
                connection.rest();
            }
            Ok(())
        })?;
        self.step("queues", queues, |idling| {
            let is_durable = idling.idle.persistent;
            let declares = (0..queues)
                .map(|index| topology::declare_queue(&queue_name(index), is_durable, FieldTable::default()));
            topology::call_all(&mut idling.control, declares, id::QUEUE_DECLARE_OK)
        })?;
        pause(Duration::from_secs_f64(self.idle.hold));
        Ok(())
    }

    fn step(
        &mut self,
        what: &'static str,
        count: u32,
        work: impl FnOnce(&mut Self) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if count == 0 {
            return Ok(());
        }
        let before = self.idle.common.usage()?.memory_bytes;
        let started = time::now();
        work(self)?;
        let seconds = started.elapsed().as_secs_f64();
        let is_measured = self.idle.common.is_measured();
        if is_measured {
            pause(SETTLE);
        }
        let grown = self.idle.common.usage()?.memory_bytes as f64 - before as f64;
        let bytes_each = is_measured.then(|| grown / f64::from(count));
        self.steps.push(StepReport {
            what,
            count,
            seconds,
            per_second: f64::from(count) / seconds,
            bytes_each,
        });
        Ok(())
    }

    fn clean(&mut self) -> Result<(), Failure> {
        let deletes = (0..self.idle.queues).map(|index| topology::delete_queue(&queue_name(index)));
        topology::call_all(&mut self.control, deletes, id::QUEUE_DELETE_OK)?;
        self.connections.drain(..).try_for_each(Connection::close)
    }
}

fn queue_name(index: u32) -> String {
    format!("perf.idle.{}.{index:06}", std::process::id())
}

fn pause(duration: Duration) {
    let until = time::now() + duration;
    while time::now() < until {
        std::thread::park_timeout(until.saturating_duration_since(time::now()));
    }
}

/// Every connection is an open file: asks the system for as many as it gives.
fn allow_files(wanted: u64) -> Result<(), Failure> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let current = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let allowed = setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum });
    if current < wanted || allowed.is_err() {
        return Err(Failure::Usage(format!(
            "this system allows {current} open files, {wanted} are needed; raise the limit (`ulimit -n`)"
        )));
    }
    Ok(())
}

impl Report {
    fn write(&self, output: &mut Output<'_>) -> Result<(), Failure> {
        let mut lines = vec![("Broker", format!("{} {}", self.product, self.version))];
        lines.extend(self.steps.iter().map(|step| {
            let StepReport { count, seconds, per_second, .. } = step;
            let each =
                step.bytes_each.map_or_else(String::new, |bytes| format!("; {:.1} KiB each", bytes / 1024.0));
            let name = match step.what {
                "connections" => "Connections",
                "channels" => "Channels",
                _ => "Queues",
            };
            let count = grouped(u64::from(*count));
            (name, format!("{count} in {seconds:.2} s ({}/s){each}", rate(*per_second)))
        }));
        self.options.common.write(self, &lines, output)
    }
}
