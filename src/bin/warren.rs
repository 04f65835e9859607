//! The broker: arguments → configuration → run.

use clap::{Parser, Subcommand};
use std::io::IsTerminal;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use warren::config::{Config, Flags};
use warren::server::Server;
use warren::server::log_exchange::LogExchange;

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
}

fn main() -> ExitCode {
    warren::server::huge_pages::refuse();
    let arguments = Arguments::parse();
    let flags = match arguments.command {
        Some(Command::Serve(flags)) => flags,
        None => arguments.flags,
    };
    let environment = std::env::vars_os();
    let environment =
        environment.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let config = match Config::load(&flags, environment) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("warren: {error}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    let log_exchange = config.log_exchange.then(LogExchange::default);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    tracing_subscriber::registry()
        .with(EnvFilter::new(config.log_level.as_str()))
        .with(lines)
        .with(log_exchange.clone())
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "the runtime does not start");
            return ExitCode::from(EXIT_UNAVAILABLE);
        }
    };
    runtime.block_on(serve(config, log_exchange))
}

async fn serve(config: Config, log_exchange: Option<LogExchange>) -> ExitCode {
    info!(version = env!("CARGO_PKG_VERSION"), data_dir = %config.data_dir.display(), "Warren is starting");
    let (user, is_guest) = (config.default_user.clone(), config.default_user == "guest");
    let server = match Server::start(config).await {
        Ok(server) => server,
        Err(error) => {
            error!("{error}");
            return ExitCode::from(EXIT_UNAVAILABLE);
        }
    };
    if let Some(log_exchange) = log_exchange {
        log_exchange.begin(&server);
    }
    // Before it says that it is ready: who hears that may ask it to stop at once.
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
        error!("signals cannot be handled");
        return ExitCode::from(EXIT_UNAVAILABLE);
    };
    let is_guest = is_guest && server.broker.users.user("guest").is_some();
    welcome(&server, &user, is_guest);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        failed = server.failed() => {
            // The promise: rather no broker than one that confirms what may be lost.
            error!(%failed, "the journal cannot be made durable; ending without confirming anything more");
            return ExitCode::from(EXIT_IO);
        }
    }
    match server.stop().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error}");
            ExitCode::from(EXIT_IO)
        }
    }
}

/// Where things are, for somebody who sees the broker for the first time.
fn welcome(server: &Server, user: &str, is_guest: bool) {
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
