//! `perf churn`: how often a second something can be made and ended again, one after the other on each connection.

use super::super::output::Output;
use super::super::{Context, Failure};
use super::common::Common;
use super::connection::{CHANNEL, Connection};
use super::meter::{Figures, Latencies, Run};
use super::process;
use super::report::{Process, cost, grouped, rate};
use super::target::Target;
use super::topology;
use crate::amqp::method::{basic, id, queue};
use crate::name::ChannelId;
use crate::time::{self, Duration};
use amq_protocol::protocol::AMQPClass;
use amq_protocol::types::FieldTable;
use clap::Args;
use serde::Serialize;
use std::sync::mpsc::{RecvTimeoutError, channel};

/// A way to churn.
struct Kind {
    name: &'static str,
    /// What is there before, for each connection.
    prepare: fn(&mut Worker<'_>) -> Result<(), Failure>,
    /// Makes the thing with this number and, unless it is to be left, ends it.
    turn: fn(&mut Worker<'_>, u64) -> Result<(), Failure>,
    /// Ends what is left, so many things.
    clean: fn(&mut Worker<'_>, u64) -> Result<(), Failure>,
}

/// In the order of the help.
const KINDS: &[Kind] = &[
    Kind {
        name: "connection",
        prepare: |_| Ok(()),
        turn: |worker, _| {
            let mut connection = Connection::open(worker.target, "perf churn")?;
            connection.open_channel(CHANNEL)?;
            connection.close()
        },
        clean: |_, _| Ok(()),
    },
    Kind {
        name: "channel",
        prepare: |_| Ok(()),
        turn: |worker, _| {
            worker.connection.open_channel(ChannelId(2))?;
            worker.connection.close_channel(ChannelId(2))
        },
        clean: |_, _| Ok(()),
    },
    Kind {
        name: "queue",
        prepare: |_| Ok(()),
        turn: |worker, number| {
            worker.declare_queue(number)?;
            if worker.churn.leave { Ok(()) } else { worker.delete_queues(number..number + 1) }
        },
        clean: |worker, count| {
            if worker.churn.leave { worker.delete_queues(0..count) } else { Ok(()) }
        },
    },
    Kind {
        name: "exchange",
        prepare: |_| Ok(()),
        turn: |worker, number| {
            worker.declare_exchange(number)?;
            worker.delete_exchange(number)
        },
        clean: |_, _| Ok(()),
    },
    Kind {
        name: "binding",
        prepare: |worker| {
            worker.declare_queue(0)?;
            worker.declare_exchange(0)
        },
        turn: |worker, number| {
            worker.bind(number)?;
            worker.unbind(number)
        },
        clean: |worker, _| {
            worker.delete_exchange(0)?;
            worker.delete_queues(0..1)
        },
    },
    Kind {
        name: "consumer",
        prepare: |worker| worker.declare_queue(0),
        turn: |worker, number| worker.consume_and_cancel(number),
        clean: |worker, _| worker.delete_queues(0..1),
    },
];

/// The options of `perf churn`; a report says them.
#[derive(Clone, Debug, Args, Serialize)]
pub(super) struct Churn {
    /// What is made and ended
    #[arg(value_name = "WHAT", value_parser = KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>())]
    what: String,
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
    /// Connections that do so side by side, each with a thread
    #[arg(short = 'x', long, value_name = "N", default_value_t = 1)]
    connections: u16,
    /// Durable queues and exchanges
    #[arg(long)]
    persistent: bool,
    /// Leave queues until the end, so that only declaring them is timed
    #[arg(long)]
    leave: bool,
    /// Go on so long, in seconds [default: 10]
    #[arg(short = 'z', long, value_name = "N", conflicts_with = "count")]
    seconds: Option<f64>,
    /// Do it so often on each connection
    #[arg(short = 'C', long, value_name = "N")]
    count: Option<u64>,
}

/// What a run has shown.
#[derive(Debug, Serialize)]
struct Report {
    product: String,
    version: String,
    options: Churn,
    seconds: f64,
    /// How often something was made, and ended unless it was left.
    turns: u64,
    turns_per_second: f64,
    latency_ms: Option<Figures>,
    broker: Option<Process>,
    generator: Process,
}

/// A connection that churns.
struct Worker<'a> {
    target: &'a Target,
    churn: &'a Churn,
    connection: Connection,
    /// What its things are called, up to their number.
    prefix: String,
}

/// Runs it and reports.
///
/// # Errors
/// The broker is not there, or refuses something.
pub(super) fn run(context: &mut Context<'_>, churn: &Churn) -> Result<(), Failure> {
    let seconds = churn.seconds.unwrap_or(10.0);
    if churn.connections == 0 || churn.count == Some(0) || !(seconds > 0.0 && seconds <= 86_400.0) {
        return Err(Failure::Usage("--connections, --count and --seconds: above 0, 86400 s at most".into()));
    }
    let kind = KINDS.iter().find(|kind| kind.name == churn.what);
    let kind = kind.ok_or_else(|| Failure::Usage(format!("nothing is called {}", churn.what)))?;
    let target = churn.common.target(context)?;
    let report = measure(kind, &target, churn, context.output.has_notes)?;
    report.write(&mut context.output)
}

fn measure(kind: &Kind, target: &Target, churn: &Churn, is_live: bool) -> Result<Report, Failure> {
    let mut workers = Vec::new();
    for index in 0..churn.connections {
        let mut connection = Connection::open(target, "perf churn")?;
        connection.open_channel(CHANNEL)?;
        let prefix = format!("perf.churn.{}.{index}", std::process::id());
        let mut worker = Worker { target, churn, connection, prefix };
        (kind.prepare)(&mut worker)?;
        workers.push(worker);
    }
    let peer = workers.first().map(|worker| worker.connection.peer.clone()).unwrap_or_default();
    let before = (churn.common.usage()?, process::usage(&[std::process::id()])?);
    let run = &Run::new(churn.connections.into(), 0, None);
    let mut latencies = Latencies::new();
    let mut outcomes = std::thread::scope(|scope| {
        let (sender, ended) = channel();
        for (index, mut worker) in (0..).zip(workers) {
            let sender = sender.clone();
            scope.spawn(move || {
                let result = worker.churn(kind, run, index);
                if result.is_err() {
                    run.fail();
                }
                sender.send(result.map(|turns| (worker, turns))).ok();
            });
        }
        drop(sender);
        let (mut outcomes, mut before) = (Vec::new(), (0.0, 0));
        loop {
            match ended.recv_timeout(Duration::from_secs(1)) {
                Ok(outcome) => outcomes.push(outcome),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let now = (run.seconds(), run.producers.messages());
                    if is_live {
                        let per_second = rate((now.1 - before.1) as f64 / (now.0 - before.0));
                        eprintln!("{:>7.1} s   {per_second:>10}/s", now.0);
                    }
                    before = now;
                }
            }
        }
        outcomes
    });
    let after = (churn.common.usage()?, process::usage(&[std::process::id()])?);
    latencies.add(run.producers.take_latencies());
    let turns = run.producers.messages();
    let seconds = run.seconds_at(run.producers.latest(|worker| &worker.last_ns));
    outcomes.sort_by_key(|outcome| matches!(outcome, Err(Failure::Stopped)));
    for outcome in outcomes {
        let (mut worker, turns) = outcome?;
        (kind.clean)(&mut worker, turns)?;
        worker.connection.close()?;
    }
    Ok(Report {
        product: peer.product,
        version: peer.version,
        options: churn.clone(),
        seconds,
        turns,
        turns_per_second: if seconds > 0.0 { turns as f64 / seconds } else { 0.0 },
        latency_ms: latencies.figures(),
        broker: churn.common.is_measured().then(|| cost(before.0, after.0, turns)),
        generator: cost(before.1, after.1, turns),
    })
}

impl Worker<'_> {
    /// Goes on until it is time; how many turns there were.
    fn churn(&mut self, kind: &Kind, run: &Run, index: usize) -> Result<u64, Failure> {
        let worker = &run.producers.workers[index];
        let duration = Duration::from_secs_f64(self.churn.seconds.unwrap_or(10.0));
        let started = time::now();
        let mut turns = 0;
        while self.churn.count.map_or_else(|| started.elapsed() < duration, |count| turns < count) {
            if run.has_failed() {
                return Err(Failure::Stopped);
            }
            let since_ns = run.clock.now_ns();
            (kind.turn)(self, turns)?;
            worker.latencies.lock().record(run.clock.now_ns() - since_ns, 1);
            run.published(worker, 1, 0);
            turns += 1;
        }
        Ok(turns)
    }

    fn call(&mut self, class: &AMQPClass, answer: (u16, u16)) -> Result<(), Failure> {
        self.connection.call(CHANNEL, class, answer).map(drop)
    }

    fn name(&self, number: u64) -> String {
        format!("{}.{number}", self.prefix)
    }

    fn declare_queue(&mut self, number: u64) -> Result<(), Failure> {
        let declare =
            topology::declare_queue(&self.name(number), self.churn.persistent, FieldTable::default());
        self.call(&declare, id::QUEUE_DECLARE_OK)
    }

    fn delete_queues(&mut self, numbers: std::ops::Range<u64>) -> Result<(), Failure> {
        let deletes: Vec<_> = numbers.map(|number| topology::delete_queue(&self.name(number))).collect();
        topology::call_all(&mut self.connection, deletes, id::QUEUE_DELETE_OK)
    }

    fn declare_exchange(&mut self, number: u64) -> Result<(), Failure> {
        let declare = topology::declare_exchange(&self.name(number), "direct", self.churn.persistent);
        self.call(&declare, id::EXCHANGE_DECLARE_OK)
    }

    fn delete_exchange(&mut self, number: u64) -> Result<(), Failure> {
        self.call(&topology::delete_exchange(&self.name(number)), id::EXCHANGE_DELETE_OK)
    }

    fn bind(&mut self, number: u64) -> Result<(), Failure> {
        let name = self.name(0);
        let bind = topology::bind(&name, &name, &number.to_string(), FieldTable::default());
        self.call(&bind, id::QUEUE_BIND_OK)
    }

    fn unbind(&mut self, number: u64) -> Result<(), Failure> {
        let unbind = queue::AMQPMethod::Unbind(queue::Unbind {
            queue: self.name(0).into(),
            exchange: self.name(0).into(),
            routing_key: number.to_string().into(),
            arguments: FieldTable::default(),
        });
        self.call(&AMQPClass::Queue(unbind), id::QUEUE_UNBIND_OK)
    }

    fn consume_and_cancel(&mut self, number: u64) -> Result<(), Failure> {
        let consumer_tag = number.to_string();
        let consume = basic::AMQPMethod::Consume(basic::Consume {
            queue: self.name(0).into(),
            consumer_tag: consumer_tag.as_str().into(),
            no_local: false,
            no_ack: true,
            exclusive: false,
            nowait: false,
            arguments: FieldTable::default(),
        });
        self.call(&AMQPClass::Basic(consume), id::BASIC_CONSUME_OK)?;
        let cancel = basic::Cancel { consumer_tag: consumer_tag.into(), nowait: false };
        self.call(&AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)), id::BASIC_CANCEL_OK)
    }
}

impl Report {
    fn write(&self, output: &mut Output<'_>) -> Result<(), Failure> {
        let mut lines = vec![
            ("Broker", format!("{} {}", self.product, self.version)),
            ("Turns", format!("{} ({}/s)", grouped(self.turns), rate(self.turns_per_second))),
            ("Seconds", format!("{:.2}", self.seconds)),
        ];
        lines.extend(self.latency_ms.map(|latency| ("A turn takes", latency.to_string())));
        lines.extend(self.broker.map(|broker| ("Broker's processor", broker.to_string())));
        lines.push(("Own processor", self.generator.to_string()));
        self.options.common.write(self, &lines, output)
    }
}
