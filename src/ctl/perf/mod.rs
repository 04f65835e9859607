//! `warrenctl perf`: load for any AMQP 0-9-1 broker, upon the codec of Warren's own, and what it measures.
//!
//! A message carries who published it, its number and when it was to be sent; consumers check that each comes once and in
//! order, and a run in which one does not is a failure, not a figure. To add a kind of load: an `Action` in a file of its own, a
//! line in `ACTIONS`.

mod batch;
mod churn;
mod common;
mod connection;
mod consumer;
mod idle;
mod meter;
mod page;
mod process;
mod producer;
mod report;
mod target;
mod throughput;
mod topology;
mod traffic;

use super::{Command, Context, Failure, failure};
use clap::{ArgMatches, Args, FromArgMatches};
use traffic::Traffic;

pub(super) const PERF: Command = Command {
    name: "perf",
    about: "Put load on any AMQP 0-9-1 broker and measure it",
    arguments: |command| {
        let actions = ACTIONS.iter().map(|action| {
            // Behind the arguments, whose type would say what it is instead.
            let command = (action.arguments)(clap::Command::new(action.name));
            command.about(action.about).long_about(action.long_about)
        });
        command.long_about(LONG_ABOUT).subcommand_required(true).subcommands(actions)
    },
    run: |context, arguments| {
        let (name, arguments) =
            arguments.subcommand().ok_or_else(|| Failure::Usage("a subcommand is missing".into()))?;
        let action = ACTIONS.iter().find(|action| action.name == name);
        let action = action.ok_or_else(|| Failure::Usage(format!("unknown command perf {name}")))?;
        (action.run)(context, arguments)
    },
};

const LONG_ABOUT: &str = "\
Puts load on a broker over AMQP and reports rates, latencies and what it cost. Any AMQP 0-9-1 broker will do: `--uri`.

The generator shares the machine with the broker when both are on it: on few cores compare processor seconds per million \
messages (`--pid`), not only rates.

How far a run is goes to standard error, the report to standard output; both are JSON with `--format json`.";

/// A command below `perf`.
struct Action {
    name: &'static str,
    about: &'static str,
    long_about: &'static str,
    arguments: fn(clap::Command) -> clap::Command,
    run: fn(&mut Context<'_>, &ArgMatches) -> Result<(), Failure>,
}

const ACTIONS: &[Action] = &[Action {
    name: "throughput",
    about: "Producers and consumers: messages a second, and latencies",
    long_about: "\
Publishes and consumes, as fast as may be or at a rate, and checks that every message comes once and in order.

Examples:
  perf throughput                                       one producer, one consumer, transient
  perf throughput -x4 -y4 -s1024 --persistent -c200 -A50
  perf throughput -r10000 -s1024 --html report.html     latencies at 10,000 a second
  perf throughput --exchange-type fanout --queues 100 -y100
  perf throughput -y0 -C1000000 --persistent -c2000     a backlog, then:
  perf throughput -x0 -C1000000 --persistent -A100      take it out again

Latencies are from when a message was to be sent: with --rate, one that is sent late because the broker did not take the \
one before counts from its own time on (no coordinated omission). Without --rate it is when it was handed to the system.",
    arguments: |command| Traffic::augment_args(command),
    run: |context, arguments| {
        let traffic = Traffic::from_arg_matches(arguments).map_err(|error| failure::usage(&error))?;
        throughput::run(context, &traffic)
    },
},
Action {
    name: "churn",
    about: "Connections, channels, queues and so on that come and go, each a second",
    long_about: "\
Makes something and ends it again, over and over, one after the other on each connection, and times each turn.

Examples:
  perf churn connection -x4
  perf churn queue --persistent --leave -C5000          only declares are timed; the queues go at the end",
    arguments: |command| churn::Churn::augment_args(command),
    run: |context, arguments| {
        let churn = churn::Churn::from_arg_matches(arguments).map_err(|error| failure::usage(&error))?;
        churn::run(context, &churn)
    },
},
Action {
    name: "idle",
    about: "What connections, channels and queues cost that do nothing",
    long_about: "\
Opens connections, then channels on them, then declares queues, and ends all of it again. With `--pid` it says by how \
many bytes the broker grows for each of them.

Example:
  perf idle -x10000 --channels 10000 --queues 10000 --persistent --pid $(pidof warren)",
    arguments: |command| idle::Idle::augment_args(command),
    run: |context, arguments| {
        let idle = idle::Idle::from_arg_matches(arguments).map_err(|error| failure::usage(&error))?;
        idle::run(context, &idle)
    },
}];
