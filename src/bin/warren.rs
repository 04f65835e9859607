//! The broker: arguments → configuration → run.

use clap::{Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};
use warren::config::{ConfigError, Configuration, Flags, Verdict, command};
use warren::server::logging::Logs;
use warren::server::{Server, doctor, service};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit codes of sysexits(3).
const EXIT_UNAVAILABLE: u8 = 69;
const EXIT_IO: u8 = 74;
const EXIT_CONFIG: u8 = 78;

/// An AMQP 0-9-1 message broker.
#[derive(Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Subcommand)]
enum Command {
    /// Run the broker (what happens without a command, too)
    Serve(Flags),
    /// Look at the configuration without running the broker
    #[command(subcommand)]
    Config(command::Command),
    /// Look at the machine as the broker would find it, and advise
    Doctor(doctor::Command),
}

fn main() -> ExitCode {
    warren::server::huge_pages::refuse();
    let arguments = Arguments::parse();
    let environment = std::env::vars_os();
    let environment =
        environment.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let flags = match arguments.command {
        Some(Command::Serve(flags)) => flags,
        Some(Command::Config(command)) => return look_at_config(&command, environment),
        Some(Command::Doctor(command)) => return ask_doctor(&command, environment),
        None => arguments.flags,
    };
    let configuration = match Configuration::load(&flags, environment) {
        Ok(configuration) => configuration,
        Err(error) => return invalid(&error),
    };
    let logs = match Logs::begin(&configuration.config) {
        Ok(logs) => logs,
        Err(error) => {
            eprintln!("warren: the log file cannot be opened: {error}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "the runtime does not start");
            return ExitCode::from(EXIT_UNAVAILABLE);
        }
    };
    runtime.block_on(serve(configuration, logs))
}

fn look_at_config(
    command: &command::Command,
    environment: impl Iterator<Item = (String, String)>,
) -> ExitCode {
    match command.run(environment) {
        Ok((text, is_well)) => {
            // Whoever reads it may stop reading.
            let _ = std::io::stdout().write_all(text.as_bytes());
            if is_well { ExitCode::SUCCESS } else { ExitCode::from(EXIT_CONFIG) }
        }
        Err(error) => invalid(&error),
    }
}

fn ask_doctor(command: &doctor::Command, environment: impl Iterator<Item = (String, String)>) -> ExitCode {
    let (text, is_well) = command.run(environment);
    // Whoever reads it may stop reading.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn invalid(error: &ConfigError) -> ExitCode {
    eprintln!("warren: {error}");
    ExitCode::from(EXIT_CONFIG)
}

async fn serve(configuration: Configuration, logs: Logs) -> ExitCode {
    let config = &configuration.config;
    info!(version = env!("CARGO_PKG_VERSION"), data_dir = %config.data_dir.display(), "Warren is starting");
    if let Some(path) = &config.motd_file {
        match std::fs::read_to_string(path) {
            Ok(text) => info!("{}", text.trim_end()),
            Err(error) => warn!(path = %path.display(), %error, "the message of the day cannot be read"),
        }
    }
    let (user, is_guest) = (config.default_user.clone(), config.default_user == "guest");
    for finding in configuration.notices() {
        match finding.verdict {
            Verdict::Warning => warn!("{finding}"),
            _ => info!("ignored: {finding}"),
        }
    }
    service::starting("recovering what the data directory holds");
    let server = match Server::start(configuration).await {
        Ok(server) => server,
        Err(error) => {
            error!("{error}");
            service::stopping(&error.to_string());
            return ExitCode::from(EXIT_UNAVAILABLE);
        }
    };
    if let Some(log_exchange) = &logs.log_exchange {
        log_exchange.begin(&server);
    }
    let followed = logs.clone();
    server.config.follow(move |config| followed.set(&config.log));
    // Before it says that it is ready: who hears that may ask it to stop at once.
    let Ok(mut signals) = Signals::new() else {
        error!("signals cannot be handled");
        return ExitCode::from(EXIT_UNAVAILABLE);
    };
    let is_guest = is_guest && server.broker.users.user("guest").is_some();
    welcome(&server, &user, is_guest);
    service::feed_watchdog(server.broker.store.clone(), logs.clone());
    let serves = format!("serves {}", server.summary.listeners());
    service::ready(&serves);
    loop {
        tokio::select! {
            _ = signals.interrupt.recv() => break,
            _ = signals.terminate.recv() => break,
            _ = signals.hangup.recv() => {
                service::reloading();
                reopen(&logs);
                reload(&server).await;
                service::ready(&serves);
            }
            _ = signals.user1.recv() => reopen(&logs),
            failed = server.failed() => {
                // The promise: rather no broker than one that confirms what may be lost.
                error!(%failed, "the journal cannot be made durable; ending without confirming anything more");
                service::stopping("the journal cannot be made durable");
                return ExitCode::from(EXIT_IO);
            }
        }
    }
    service::stopping("closing connections and the store");
    match server.stop().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error}");
            ExitCode::from(EXIT_IO)
        }
    }
}

/// What the process is told by signals.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    user1: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
        })
    }
}

fn reopen(logs: &Logs) {
    match logs.reopen() {
        Ok(()) => info!("the log file is opened again"),
        Err(error) => error!(%error, "the log file cannot be opened again; the old one is written to"),
    }
}

/// Reads the configuration again, off the runtime: it reads files, and queues may take their time. What came of it is in
/// the log.
async fn reload(server: &Server) {
    let config = Arc::clone(&server.config);
    let reloaded = tokio::task::spawn_blocking(move || config.reload().is_ok()).await;
    if !reloaded.unwrap_or(false) {
        error!("the configuration is not reloaded: what was in force still is");
    }
}

/// Where things are, for somebody who sees the broker for the first time.
fn welcome(server: &Server, user: &str, is_guest: bool) {
    info!("{}", server.summary);
    if let Some(address) = server.address("amqp") {
        let login = if is_guest { "guest:guest@" } else { "" };
        info!("ready: connect to amqp://{login}127.0.0.1:{}", address.port());
    }
    if let Some(address) = server.address("http") {
        info!("HTTP API: http://127.0.0.1:{}/ as user '{user}'", address.port());
    }
    if is_guest {
        info!(
            "user 'guest' with password 'guest' may log in from this machine only; `warrenctl add_user` adds others"
        );
    }
}
