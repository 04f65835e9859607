//! The composition root: opens the store, builds the broker, binds the listeners, and ends it all in order.

pub mod doctor;
pub mod huge_pages;
mod local_socket;
pub mod log_exchange;
mod log_file;
pub mod logging;
mod monitor;
pub mod service;
pub mod summary;

use crate::amqp::driver::{self, Anonymous};
use crate::amqp::handshake::Limits;
use crate::broker::{self, Broker, Defaults};
use crate::config::{Config, Configuration, Live};
use crate::durability::Level;
use crate::event::Event;
use crate::management;
use crate::management::prometheus::{self, Exporter};
use crate::name::{UserName, VhostName};
use crate::net::listener;
use crate::store::{self, JournalFailed, Report, Store};
use crate::telemetry::{self, Tracer};
use crate::time::{self, Duration};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use summary::Summary;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

/// How long clients have to answer our close when the node stops.
const FAREWELL: Duration = Duration::from_secs(5);

/// A protocol with its listeners.
struct Protocol {
    name: &'static str,
    addresses: fn(&Config) -> Vec<SocketAddr>,
    serve: fn(TcpListener, Serve<'_>, &mut JoinSet<()>),
}

/// What a protocol is served with.
struct Serve<'a> {
    config: &'a Arc<Live>,
    broker: Arc<Broker>,
    /// The node, for those who are shown it.
    node: Arc<management::Node>,
    stop: watch::Receiver<bool>,
}

/// What the node speaks.
const PROTOCOLS: &[Protocol] = &[
    Protocol { name: "amqp", addresses: |config| config.amqp_listen.clone(), serve: serve_amqp },
    Protocol { name: "http", addresses: |config| vec![config.management_listen], serve: serve_http },
    Protocol {
        name: "http/prometheus",
        addresses: |config| vec![config.prometheus_listen],
        serve: serve_prometheus,
    },
];

/// Where a node with this configuration listens, and for what.
fn addresses(config: &Config) -> impl Iterator<Item = (&'static str, SocketAddr)> {
    PROTOCOLS
        .iter()
        .flat_map(move |one| (one.addresses)(config).into_iter().map(move |address| (one.name, address)))
}

fn serve_amqp(listener: TcpListener, serve: Serve<'_>, tasks: &mut JoinSet<()>) {
    let Serve { config, broker, stop, .. } = serve;
    let config = Arc::clone(config);
    tasks.spawn(listener::accept(listener, config.subscribe(), stop, move |stream, peer, local| {
        // As it is now: a connection keeps what it began with.
        let settings = settings(&config.config());
        let broker = Arc::clone(&broker);
        async move {
            // A drained node closes before it has read anything.
            if !broker.is_drained() {
                driver::run(stream, driver::Ends { peer, local }, settings, broker).await;
            }
        }
    }));
}

/// What a connection that comes now is held to.
fn settings(config: &Config) -> driver::Settings {
    let limits = Limits {
        channel_max: config.channel_max,
        frame_max: config.frame_max,
        heartbeat_s: config.heartbeat_s,
        message_bytes_max: config.max_message_size,
    };
    let anonymous = Some(&config.anonymous_login_user).filter(|user| *user != "none");
    driver::Settings {
        limits,
        handshake_timeout: config.handshake_timeout,
        mechanisms: config.auth_mechanisms.join(" ").into(),
        anonymous: anonymous.map(|user| Anonymous {
            user: UserName::new(user),
            password: config.anonymous_login_pass.0.clone().into_bytes(),
        }),
        consumers_per_channel_max: config.rules.limits.consumers_per_channel,
    }
}

fn serve_http(listener: TcpListener, serve: Serve<'_>, tasks: &mut JoinSet<()>) {
    let (node, stop) = (serve.node, serve.stop);
    tasks.spawn(async move {
        if let Err(error) = management::serve(listener, node, stopped(stop)).await {
            warn!(%error, "the HTTP API has ended");
        }
    });
}

fn serve_prometheus(listener: TcpListener, serve: Serve<'_>, tasks: &mut JoinSet<()>) {
    let config = serve.config.config();
    let exporter = Exporter::new(serve.node, &config.prometheus_path, config.prometheus_is_per_object);
    let stop = serve.stop;
    tasks.spawn(async move {
        if let Err(error) = prometheus::serve(listener, Arc::new(exporter), stopped(stop)).await {
            warn!(%error, "metrics are not served any more");
        }
    });
}

/// The HTTP API on the socket in the data directory, if there can be one.
fn serve_local(serve: Serve<'_>, tasks: &mut JoinSet<()>) {
    let Some(local_socket::LocalSocket { listener, file }) =
        local_socket::listen(&serve.config.config().data_dir)
    else {
        return;
    };
    let (node, stop) = (serve.node, serve.stop);
    tasks.spawn(async move {
        if let Err(error) = management::serve_local(listener, node, stopped(stop)).await {
            warn!(%error, "the HTTP API on the local socket has ended");
        }
        drop(file);
    });
}

/// Is ready when the node stops.
async fn stopped(mut stop: watch::Receiver<bool>) {
    // A sender that is gone also means the end.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// How often samples are taken; zero where none are.
fn statistics_interval(config: &Config) -> Duration {
    if config.statistics_are_off { Duration::ZERO } else { config.statistics_interval }
}

/// What is served over HTTP.
fn node(
    config: &Arc<Live>,
    broker: &Arc<Broker>,
    listening: &[(&'static str, SocketAddr)],
) -> management::Node {
    let listening = listening.iter();
    management::Node {
        broker: Arc::clone(broker),
        listeners: listening.map(|&(protocol, address)| management::Listener { protocol, address }).collect(),
        data_dir: config.config().data_dir.clone(),
        sessions: management::Sessions::default(),
        statistics: management::Statistics::new(statistics_interval(&config.config())),
        config: Arc::clone(config),
    }
}

/// Why the node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The broker cannot be built.
    #[error(transparent)]
    Broker(#[from] broker::StartError),
    /// There are no definitions where they should be, or they make no sense.
    #[error(transparent)]
    Definitions(#[from] management::LoadError),
    /// No spans can be exported.
    #[error(transparent)]
    Telemetry(#[from] telemetry::StartError),
    /// What was loaded cannot be made durable.
    #[error(transparent)]
    Journal(#[from] JournalFailed),
    /// An address is taken or not ours.
    #[error("cannot listen on {address} for {protocol}: {source}; is another broker running there?")]
    Listen {
        /// What was to be spoken there.
        protocol: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// A running node. Dropping it without [`Server::stop`] is like pulling the plug, but for what was synced.
#[derive(Debug)]
pub struct Server {
    /// The broker, for those who are in the same process.
    pub broker: Arc<Broker>,
    /// What it was told, and can be told again.
    pub config: Arc<Live>,
    store: Store,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    listening: Vec<(&'static str, SocketAddr)>,
    /// What the start came to.
    pub summary: Summary,
}

impl Server {
    /// Opens the store, recovers, and listens.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub async fn start(configuration: impl Into<Configuration>) -> Result<Server, StartError> {
        let live = Arc::new(Live::new(configuration.into()));
        let config = live.config();
        // Listeners first: a second broker on the same machine must not touch a store before it knows.
        let mut bound = Vec::new();
        for protocol in PROTOCOLS {
            for address in (protocol.addresses)(&config) {
                let refused = |source| StartError::Listen { protocol: protocol.name, address, source };
                bound.push((protocol, listener::bind(address, &config.sockets).map_err(refused)?));
            }
        }
        let loadable = config.load_definitions.as_deref().map(management::Loadable::read).transpose()?;
        let started = time::now();
        let sync_delay = config.durability.sync_delay();
        let options = store::Options { sync_delay, ..store::Options::new(&config.data_dir) };
        let (store, recovered) = store::open(options)?;
        let took = time::now() - started;
        report(&recovered.report, took);
        let mut summary = Summary::new(&config, &recovered, took);
        let has_user = !loadable.as_ref().is_some_and(management::Loadable::has_users);
        let mut defaults = Defaults { has_user, ..defaults(&config) };
        if has_user && summary.is_first_start() {
            summary.set_new_user(&config.default_user);
        }
        if let Some(endpoint) = &config.otlp_endpoint {
            defaults.tracer = Tracer::start(endpoint, &defaults.node)?;
        }
        let broker = Broker::start(defaults, store.clone(), recovered)?;
        if let Some(loadable) = loadable {
            load(&loadable, &broker, &store).await?;
        }
        follow(&live, &broker);
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(monitor::watch(live.subscribe(), Arc::clone(&broker), stopped.clone()));
        let events = Arc::clone(&broker);
        tasks.spawn(async move { events.publish_events().await });
        let deadlines = Arc::clone(&broker);
        tasks.spawn(async move { deadlines.mind_deadlines().await });
        let mut listening = Vec::new();
        for (protocol, listener) in &bound {
            let address = listener.local_addr().map_err(|source| StartError::Listen {
                protocol: protocol.name,
                address: SocketAddr::from(([0, 0, 0, 0], 0)),
                source,
            })?;
            info!(protocol = protocol.name, %address, "listening");
            listening.push((protocol.name, address));
        }
        summary.set_listening(&listening);
        let node = Arc::new(node(&live, &broker, &listening));
        tasks.spawn(management::sample(Arc::clone(&node), stopped.clone()));
        let serve = || Serve {
            config: &live,
            broker: Arc::clone(&broker),
            node: Arc::clone(&node),
            stop: stopped.clone(),
        };
        // Before the others: who sees that the broker answers may use it.
        serve_local(serve(), &mut tasks);
        for (protocol, listener) in bound {
            (protocol.serve)(listener, serve(), &mut tasks);
        }
        Ok(Server { broker, config: live, store, stop, tasks, listening, summary })
    }

    /// Where a protocol listens, `amqp`, `http` or `http/prometheus`: the ports the system chose for those given as 0.
    pub fn address(&self, protocol: &str) -> Option<SocketAddr> {
        self.listening.iter().find(|(name, _)| *name == protocol).map(|(_, address)| *address)
    }

    /// Waits until the journal fails: nothing may be confirmed any more, so the process must end.
    pub async fn failed(&self) -> JournalFailed {
        self.store.wait_failed().await
    }

    /// Stops: no new connections, a farewell to those there are, then the store is synced and closed.
    ///
    /// # Errors
    /// Those of closing the store.
    pub async fn stop(mut self) -> Result<(), store::Error> {
        info!("stopping");
        // The receivers may be gone already: then there is nothing left to stop.
        let _ = self.stop.send(true);
        let text = "broker forced connection closure with reason 'shutdown'";
        self.broker.connections.broadcast(&Event::Close(text.to_owned()));
        let deadline = time::now() + FAREWELL;
        let mut pause = tokio::time::interval(Duration::from_millis(10));
        while !self.broker.connections.is_empty() && time::now() < deadline {
            pause.tick().await;
        }
        if !self.broker.connections.is_empty() {
            warn!(connections = self.broker.connections.len(), "clients did not answer our close");
        }
        self.tasks.shutdown().await;
        let (broker, store) = (self.broker, self.store);
        let close = move || {
            broker.stop_moving();
            let closed = store.close();
            broker.tracer.stop();
            closed
        };
        let closed = tokio::task::spawn_blocking(close).await;
        info!("stopped");
        closed.unwrap_or(Ok(()))
    }
}

/// From now on the broker takes what changes.
fn follow(live: &Live, broker: &Arc<Broker>) {
    let broker = Arc::downgrade(broker);
    live.follow(move |config| {
        if let Some(broker) = broker.upgrade() {
            broker.set_rules(config.rules.clone());
            broker.services.memory.set_limit_bytes(config.message_memory_limit_bytes);
        }
    });
}

/// Makes what a file of definitions says, before anybody comes.
async fn load(loadable: &management::Loadable, broker: &Broker, store: &Store) -> Result<(), StartError> {
    let end = loadable.load(broker)?;
    if end.is_some() {
        store.wait(Level::SyncedButLarge.at(end)).await?;
    }
    info!(%loadable, "definitions are loaded");
    Ok(())
}

/// What the operator should know of a start.
fn report(report: &Report, took: Duration) {
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    info!(
        messages = report.messages,
        journal_files = report.files,
        journal_bytes = report.bytes,
        clean = report.clean,
        took_ms,
        "store opened"
    );
    if report.unfinished > 0 {
        info!(
            count = report.unfinished,
            "large messages were on their way when the broker ended; they were never confirmed"
        );
    }
    if report.bytes_cut > 0 {
        warn!(bytes = report.bytes_cut, "the journal's last record was torn and is cut off");
    }
    for warning in &report.warnings {
        warn!("{warning}");
    }
}

fn defaults(config: &Config) -> Defaults {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "localhost" } else { host.trim() };
    let node = match &config.node_name {
        Some(name) if name.contains('@') => name.clone(),
        name => format!("{}@{host}", name.as_deref().unwrap_or("warren")),
    };
    Defaults {
        cluster_name: config.cluster_name.clone().unwrap_or_else(|| node.clone()),
        node,
        has_user: true,
        user: UserName::new(&config.default_user),
        password: config.default_pass.0.as_bytes().to_vec(),
        tags: config.default_user_tags.iter().cloned().collect(),
        vhost: VhostName::new(&config.default_vhost),
        permissions: config.default_permissions.clone(),
        message_memory_bytes: config.message_memory_limit_bytes,
        durability: config.durability,
        log_exchange: config.log.exchange,
        loopback_users: config.loopback_users.iter().cloned().collect(),
        tracer: Tracer::default(),
        rules: config.rules.clone(),
    }
}
