//! Health checks: rabbitmq-diagnostics' commands, and rabbitmqadmin's `health_check`. A check that says no is a failure.

use super::{Command, Context, Failure, client};
use clap::{Arg, ArgMatches};
use serde_json::Value;

/// A health check.
struct Check {
    /// Its command.
    command: &'static str,
    /// What `health_check` calls it.
    noun: &'static str,
    about: &'static str,
    /// Its path in the API; what stands in braces is an argument.
    path: &'static [&'static str],
    /// The arguments: id, default, what they are.
    arguments: &'static [(&'static str, Option<&'static str>, &'static str)],
    /// What to say when all is well.
    passed: &'static str,
    /// What to do when it is not.
    advice: &'static str,
}

const SEE_STATUS: &str = "`warrenctl status` shows memory, disk and what the limits are";
const SEE_LISTENERS: &str = "`warrenctl listeners` lists those there are";
const SEE_LOG: &str = "see the broker's log";
const RUNNING: &str = "The broker runs and serves its clients.";

const CHECKS: &[Check] = &[
    Check {
        command: "check_alarms",
        noun: "cluster_wide_alarms",
        about: "Fail if an alarm blocks publishers",
        path: &["health", "checks", "alarms"],
        arguments: &[],
        passed: "No alarm is in effect.",
        advice: SEE_STATUS,
    },
    Check {
        command: "check_local_alarms",
        noun: "local_alarms",
        about: "Fail if an alarm of this node blocks publishers",
        path: &["health", "checks", "local-alarms"],
        arguments: &[],
        passed: "No alarm is in effect.",
        advice: SEE_STATUS,
    },
    Check {
        command: "check_running",
        noun: "is_in_service",
        about: "Fail if the broker does not serve clients",
        path: &["health", "checks", "is-in-service"],
        arguments: &[],
        passed: RUNNING,
        advice: SEE_LOG,
    },
    Check {
        command: "is_running",
        noun: "ready_to_serve_clients",
        about: "Fail if clients cannot connect and be served",
        path: &["health", "checks", "ready-to-serve-clients"],
        arguments: &[],
        passed: RUNNING,
        advice: SEE_LOG,
    },
    Check {
        command: "node_health_check",
        noun: "node",
        about: "Fail if the node does not answer",
        path: &["healthchecks", "node"],
        arguments: &[],
        passed: "The node answers.",
        advice: SEE_LOG,
    },
    Check {
        command: "check_port_listener",
        noun: "port_listener",
        about: "Fail if nothing listens on a port",
        path: &["health", "checks", "port-listener", "{port}"],
        arguments: &[("port", None, "Number of the port")],
        passed: "Something listens on that port.",
        advice: SEE_LISTENERS,
    },
    Check {
        command: "check_protocol_listener",
        noun: "protocol_listener",
        about: "Fail if nothing listens for a protocol",
        path: &["health", "checks", "protocol-listener", "{protocol}"],
        arguments: &[("protocol", None, "Such as amqp or http")],
        passed: "Something listens for that protocol.",
        advice: SEE_LISTENERS,
    },
    Check {
        command: "check_virtual_hosts",
        noun: "virtual_hosts",
        about: "Fail if a vhost is down",
        path: &["health", "checks", "virtual-hosts"],
        arguments: &[],
        passed: "All vhosts are up.",
        advice: SEE_LOG,
    },
    Check {
        command: "check_certificate_expiration",
        noun: "certificate_expiration",
        about: "Fail if a certificate of a listener expires soon",
        path: &["health", "checks", "certificate-expiration", "{within}", "{unit}"],
        arguments: &[
            ("within", Some("4"), "How many units"),
            ("unit", Some("weeks"), "days, weeks, months or years"),
        ],
        passed: "No certificate expires so soon.",
        advice: "renew the certificates that the broker is configured with",
    },
    Check {
        command: "check_if_node_is_quorum_critical",
        noun: "node_is_quorum_critical",
        about: "Fail if queues would lose their majority with this node",
        path: &["health", "checks", "node-is-quorum-critical"],
        arguments: &[],
        passed: "No queue would lose its majority.",
        advice: SEE_LOG,
    },
    Check {
        command: "check_if_metadata_store_is_initialized",
        noun: "metadata_store_is_initialized",
        about: "Fail if the definitions are not loaded yet",
        path: &["health", "checks", "metadata-store", "initialized"],
        arguments: &[],
        passed: "The definitions are loaded.",
        advice: "wait for it with `warrenctl await_startup`",
    },
    Check {
        command: "check_if_metadata_store_is_initialized_with_data",
        noun: "metadata_store_is_initialized_with_data",
        about: "Fail if there is no vhost yet",
        path: &["health", "checks", "metadata-store", "initialized", "with-data"],
        arguments: &[],
        passed: "There are vhosts.",
        advice: "`warrenctl add_vhost` adds one",
    },
    Check {
        command: "check_if_any_deprecated_features_are_used",
        noun: "deprecated_features_in_use",
        about: "Fail if somebody uses a deprecated feature",
        path: &["deprecated-features", "used"],
        arguments: &[],
        passed: "No deprecated feature is in use.",
        advice: "`warrenctl list_deprecated_features --used` says what they are",
    },
];

/// A command for every check, and `health_check` for all of them.
pub(super) fn commands() -> impl Iterator<Item = Command> {
    let all = CHECKS.iter().map(|check| Command {
        name: check.command,
        about: check.about,
        arguments: |command| {
            let check = CHECKS.iter().find(|check| check.command == command.get_name());
            let arguments = check.map_or(&[][..], |check| check.arguments);
            let option =
                |name: &'static str, default: &'static str| Arg::new(name).long(name).default_value(default);
            command.args(arguments.iter().map(|(name, default, help)| match default {
                Some(default) => option(name, default).help(*help),
                None => Arg::new(*name).required(true).help(*help),
            }))
        },
        run: |context, arguments| {
            let check = CHECKS.iter().find(|check| check.command == context.command);
            check.map_or(Ok(()), |check| run(context, check, arguments))
        },
    });
    all.chain([LEADERLESS_QUEUES, HEALTH_CHECK])
}

const LEADERLESS_QUEUES: Command = Command {
    name: "check_for_quorum_queues_without_an_elected_leader",
    about: "Fail if a quorum queue whose name matches a pattern has no leader",
    arguments: |command| {
        let all = Arg::new("all").long("across-all-vhosts").action(clap::ArgAction::SetTrue);
        let pattern = Arg::new("pattern").value_name("PATTERN").required(true).allow_hyphen_values(true);
        command.arg(pattern.help("Regular expression for names")).arg(all.help("Of all vhosts"))
    },
    run: |context, arguments| {
        let (vhost, pattern) = (context.vhost.clone(), super::text(arguments, "pattern"));
        let place: &[&str] = if arguments.get_flag("all") { &["all-vhosts"] } else { &["vhost", &vhost] };
        let path = ["health", "checks", "quorum-queues-without-elected-leaders"];
        let path = [&path[..], place, &["pattern", pattern]].concat();
        let asked = ask(context, &path, "All such queues have a leader.", SEE_LOG);
        asked.map_err(|failure| failure.or_missing(|| super::failure::no_vhost(&vhost)))
    },
};

const HEALTH_CHECK: Command = Command {
    name: "health_check",
    about: "Run a health check by rabbitmqadmin's name for it",
    arguments: |command| {
        let checks = CHECKS.iter().map(|check| {
            let arguments = check.arguments.iter().map(|(name, default, help)| {
                let option = Arg::new(*name).long(*name).help(*help);
                match default {
                    Some(default) => option.default_value(*default),
                    None => option.required(true),
                }
            });
            clap::Command::new(check.noun).about(check.about).args(arguments)
        });
        command.subcommand_required(true).subcommands(checks)
    },
    run: |context, arguments| {
        let Some((noun, arguments)) = arguments.subcommand() else { return Ok(()) };
        let check = CHECKS.iter().find(|check| check.noun == noun);
        check.map_or(Ok(()), |check| run(context, check, arguments))
    },
};

fn run(context: &mut Context<'_>, check: &Check, arguments: &ArgMatches) -> Result<(), Failure> {
    let part = |part: &&'static str| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
        Some(name) => super::text(arguments, name),
        None => part,
    };
    let path: Vec<&str> = check.path.iter().map(part).collect();
    ask(context, &path, check.passed, check.advice)
}

fn ask(context: &mut Context<'_>, path: &[&str], passed: &str, advice: &str) -> Result<(), Failure> {
    let answer = context.client.get(path).and_then(|answer| match answer.as_array() {
        Some(found) if !found.is_empty() => Err(Failure::Check(names(found))),
        _ => Ok(answer),
    });
    let answer = answer.map_err(|failure| match failure {
        Failure::Check(reason) => Failure::Check(format!("{reason}; {advice}")),
        failure => failure,
    })?;
    if context.output.format.is_json() {
        return Ok(writeln!(context.output.out, "{answer}")?);
    }
    context.output.note(passed)
}

/// What a list that should be empty has in it.
fn names(found: &[Value]) -> String {
    let names: Vec<&str> = found.iter().map(|object| client::text(object, "name")).collect();
    format!("in use: {}", names.join(", "))
}
