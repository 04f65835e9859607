//! Starting: from what the store recovered to a broker, with the first user and vhost of an empty node.

use super::Vhost;
use super::events::{Actor, EVENT_EXCHANGE, LOG_EXCHANGE, TRACE_EXCHANGE};
use super::policy::{Applied, Compiled, Policies, Target, Whose};
use super::topology::{Exchange, PREDECLARED};
use super::{Broker, alarms, connections, policies, rules};
use crate::arguments::Table;
use crate::auth;
use crate::auth::users::Users;
use crate::config::rules::Rules;
use crate::definition::{self, Change, Definition, Role};
use crate::durability::Durability;
use crate::exchange;
use crate::name::{ExchangeName, PolicyName, QueueName, UserName, VhostName};
use crate::queue::{AllQueues, Memory, NewQueue, Pager, Queue, Services};
use crate::store::{Queues, Recovered, RecoveredQueue, Store};
use crate::telemetry::Tracer;
use crate::time;
use dashmap::DashMap;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use tracing::warn;

/// Whoever lists all queues holds one of the map's shards at a time, and must not hold it for long however many queues there are.
const QUEUE_SHARDS: usize = 512;

/// What an empty node begins with, and what it is called.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Defaults {
    pub node: String,
    pub cluster_name: String,
    /// Whether an empty node gets the user; otherwise definitions bring others.
    pub has_user: bool,
    pub user: UserName,
    pub password: Vec<u8>,
    pub tags: Vec<String>,
    pub vhost: VhostName,
    pub permissions: definition::Permissions,
    /// What messages may take of memory together, in bytes.
    pub message_memory_bytes: u64,
    /// When clients are told that a message is safe, in queues that say nothing else.
    pub durability: Durability,
    /// Whether log lines are published: then there is an exchange for them.
    pub log_exchange: bool,
    /// Users who may log in from this machine only.
    pub loopback_users: Vec<String>,
    /// Makes spans of traced messages.
    pub tracer: Tracer,
    /// The operator's rules.
    pub rules: Rules,
}

#[cfg(test)]
impl Defaults {
    /// Of a node whose `guest` may do everything in `/`.
    pub(crate) fn in_tests() -> Self {
        let all = || ".*".to_owned();
        Self {
            node: "warren@test".into(),
            cluster_name: "warren@test".into(),
            has_user: true,
            user: "guest".into(),
            password: b"guest".to_vec(),
            tags: vec!["administrator".into()],
            vhost: "/".into(),
            permissions: definition::Permissions { configure: all(), write: all(), read: all() },
            message_memory_bytes: 0,
            durability: Durability::default(),
            log_exchange: false,
            loopback_users: vec!["guest".into()],
            tracer: Tracer::default(),
            rules: Rules::default(),
        }
    }
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum StartError {
    #[error("no random bytes from the operating system: {0}")]
    Random(#[from] getrandom::Error),
    #[error("{0}")]
    Backend(String),
    #[error("no thread can be made: {0}")]
    Thread(std::io::Error),
}

/// What all queues share.
fn services(defaults: &Defaults, store: &Store) -> Result<Services, StartError> {
    let memory = Arc::new(if store.can_page() {
        Memory::new(defaults.message_memory_bytes)
    } else {
        Memory::unlimited()
    });
    let pager = Arc::new(Pager::start(store, &memory).map_err(StartError::Thread)?);
    let durability = defaults.durability;
    let services = Services {
        store: store.clone(),
        deadlines: Arc::default(),
        dead_letters: Arc::default(),
        memory,
        pager,
        durability,
        consumer_timeout_ms: Arc::default(),
        gone: Arc::default(),
    };
    services.set_consumer_timeout_ms(defaults.rules.consumer_timeout_ms);
    Ok(services)
}

impl Broker {
    /// A broker with what the store recovered. An empty store gets the default vhost and user.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(defaults: Defaults, store: Store, recovered: Recovered) -> Result<Arc<Self>, StartError> {
        let Recovered { definitions, queues, next_queue_id, .. } = recovered;
        let (users, bad_patterns) = Users::load(&definitions);
        for error in bad_patterns {
            warn!(%error, "a stored permission does not compile and grants nothing");
        }
        let users = Arc::new(users);
        let context = auth::Context {
            users: Arc::clone(&users),
            loopback_users: defaults.loopback_users.clone().into(),
        };
        let authenticator = auth::Chain::new(&["internal"], &context)
            .map_err(|error| StartError::Backend(error.to_string()))?;
        let services = services(&defaults, &store)?;
        let broker = Arc::new(Self {
            node: defaults.node.clone(),
            configured_cluster_name: defaults.cluster_name.clone(),
            started_at: time::unix_ms(),
            users,
            store,
            counters: Arc::default(),
            tracer: defaults.tracer.clone(),
            alarms: alarms::Alarms::default(),
            connections: connections::Connections::default(),
            events: super::events::Events::default(),
            event_vhost: defaults.vhost.clone(),
            has_log_exchange: defaults.log_exchange,
            mover: parking_lot::Mutex::new(None),
            authenticator,
            vhosts: DashMap::new(),
            admin: parking_lot::Mutex::new(()),
            queues: DashMap::with_shard_amount(QUEUE_SHARDS),
            consumers: DashMap::new(),
            open_by_user: DashMap::new(),
            open: Arc::default(),
            rules: parking_lot::RwLock::new(Arc::new(defaults.rules.clone())),
            counting_exchanges: parking_lot::Mutex::new(()),
            parameters: Default::default(),
            replies: DashMap::new(),
            deadlines: Arc::clone(&services.deadlines),
            services: Arc::new(services),
            is_drained: AtomicBool::new(false),
            next_queue_id: AtomicU64::new(next_queue_id.0.max(1)),
            next_consumer_id: AtomicU64::new(1),
            next_connection_id: AtomicU64::new(1),
        });
        let is_empty = !definitions.iter().any(|definition| matches!(definition, Definition::Vhost(..)));
        broker.load(definitions, queues);
        if is_empty {
            broker.begin(&defaults)?;
        }
        let queues: Arc<dyn Queues> = Arc::clone(&broker) as Arc<dyn Queues>;
        broker.store.set_queues(Arc::downgrade(&queues));
        let queues: Arc<dyn AllQueues> = Arc::clone(&broker) as Arc<dyn AllQueues>;
        broker.services.pager.set_queues(Arc::downgrade(&queues));
        broker.start_mover().map_err(StartError::Thread)?;
        Ok(broker)
    }

    /// Builds the topology of recovered definitions: vhosts, their policies, what is in them, then bindings.
    fn load(&self, definitions: Vec<Definition>, mut queues: BTreeMap<crate::name::QueueId, RecoveredQueue>) {
        let (mut policies, mut bindings, mut later) = (Vec::new(), Vec::new(), Vec::new());
        for definition in definitions {
            match definition {
                Definition::Vhost(name, vhost) => drop(self.add_vhost_in_memory(name, vhost)),
                Definition::Policy(vhost, name, policy) => policies.push((Whose::Users, vhost, name, policy)),
                Definition::OperatorPolicy(vhost, name, policy) => {
                    policies.push((Whose::Operators, vhost, name, policy));
                }
                Definition::Binding(vhost, binding, place) => bindings.push((place, vhost, binding)),
                other => later.push(other),
            }
        }
        self.load_policies(policies);
        let is_exchange = |definition: &Definition| matches!(definition, Definition::Exchange(..));
        // Exchanges first: some have queues of their own.
        let (exchanges, later): (Vec<_>, Vec<_>) = later.into_iter().partition(is_exchange);
        for definition in exchanges.into_iter().chain(later) {
            match definition {
                Definition::Exchange(vhost, name, exchange) => self.load_exchange(&vhost, name, exchange),
                Definition::Queue(vhost, name, queue) => {
                    let recovered = queues.remove(&queue.id).unwrap_or_default();
                    self.load_queue(&vhost, name, queue, recovered);
                }
                Definition::VhostLimits(vhost, limits) => {
                    self.vhost(&vhost).into_iter().for_each(|vhost| vhost.set_limits(limits));
                }
                other => self.parameters.write().load(other),
            }
        }
        bindings.sort_by_key(|(place, ..)| *place);
        for (place, vhost, binding) in bindings {
            if let Some(vhost) = self.vhost(&vhost) {
                let is_heard = vhost.name == self.event_vhost && binding.source.as_str() == EVENT_EXCHANGE;
                vhost.topology_mut().restore_binding(binding, place);
                if is_heard {
                    self.events.set_heard(true);
                }
            }
        }
    }

    fn load_policies(&self, stored: Vec<(Whose, VhostName, PolicyName, definition::Policy)>) {
        let mut by_vhost: BTreeMap<VhostName, Policies> = BTreeMap::new();
        for (whose, vhost, name, policy) in stored {
            let (policy, reason) = Compiled::stored(name, policy);
            if let Some(reason) = reason {
                warn!(policy = %policy.name, vhost = %vhost, reason, "a stored pattern is none and matches nothing");
            }
            by_vhost.entry(vhost).or_default().put(whose, policy);
        }
        for (name, policies) in by_vhost {
            if let Some(vhost) = self.vhost(&name) {
                vhost.set_policies(policies);
                policies::sweep(&vhost, |_| {});
            }
        }
    }

    fn load_exchange(&self, vhost: &VhostName, name: ExchangeName, definition: definition::Exchange) {
        let Some(vhost) = self.vhost(vhost) else { return };
        match exchange::find(&definition.kind) {
            Some(kind) => {
                let policy = vhost.policies().of(Target::Exchange(name.as_str()));
                let exchange = Exchange::new(name.clone(), definition, kind, policy);
                vhost.topology_mut().put_exchange(exchange);
            }
            None => warn!(exchange = %name, kind = %definition.kind, "exchange of unknown type is left out"),
        }
    }

    fn load_queue(
        &self,
        vhost: &VhostName,
        name: QueueName,
        definition: definition::Queue,
        recovered: RecoveredQueue,
    ) {
        let Some(home) = self.vhost(vhost) else { return };
        // One name for all of them: each definition has its own.
        let vhost = home.name.clone();
        let id = definition.id;
        let services = Arc::clone(&self.services);
        let policy = match definition.role {
            Role::Ordinary => {
                home.policies().of(Target::Queue { name: name.as_str(), kind: &definition.kind })
            }
            Role::DelayOf(_) | Role::WindowOf(_) => Applied::default(),
        };
        let new = NewQueue { vhost, name: name.clone(), definition, owner: None, policy, services };
        let queue = Queue::new(new, recovered);
        home.topology_mut().put_queue(Arc::clone(&queue));
        self.queues.insert(id, queue);
    }

    /// The default vhost, user and permissions of an empty node.
    fn begin(&self, defaults: &Defaults) -> Result<(), StartError> {
        let vhost = definition::Vhost { description: "Default virtual host".into(), ..Default::default() };
        let algorithm = rules::algorithm(&defaults.rules.passwords);
        let user = definition::User {
            password_hash: auth::hash_password(algorithm, &defaults.password)?,
            hashing_algorithm: algorithm.name().into(),
            tags: defaults.tags.clone(),
        };
        let (name, user_name) = (defaults.vhost.clone(), defaults.user.clone());
        let mut changes = vec![Change::Put(Definition::Vhost(name.clone(), vhost.clone()))];
        if defaults.has_user {
            let permissions = defaults.permissions.clone();
            changes.push(Change::Put(Definition::User(user_name.clone(), user)));
            changes.push(Change::Put(Definition::Permissions(name.clone(), user_name, permissions)));
        }
        for change in &changes {
            if let Err(error) = self.users.apply(change) {
                warn!(%error, "the default permissions do not compile and grant nothing");
            }
        }
        self.store.append_changes(&changes);
        self.add_vhost_in_memory(name.clone(), vhost);
        self.furnish(&Actor::default(), &name);
        Ok(())
    }

    /// Adds a vhost with its predeclared exchanges.
    pub(super) fn add_vhost_in_memory(&self, name: VhostName, definition: definition::Vhost) -> Arc<Vhost> {
        let vhost = Arc::new(Vhost::new(name.clone(), definition));
        {
            let mut topology = vhost.topology_mut();
            let is_home = name == self.event_vhost;
            let own = [(EVENT_EXCHANGE, is_home), (LOG_EXCHANGE, is_home && self.has_log_exchange)];
            let own = own.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| (name, "topic"));
            for (exchange_name, kind) in PREDECLARED.iter().copied().chain(own) {
                let Some(kind) = exchange::find(kind) else { continue };
                let definition = definition::Exchange {
                    kind: kind.name().into(),
                    durable: true,
                    auto_delete: false,
                    internal: matches!(exchange_name, TRACE_EXCHANGE | EVENT_EXCHANGE | LOG_EXCHANGE),
                    arguments: Table::default(),
                };
                let exchange_name = ExchangeName::new(exchange_name);
                let exchange = Exchange::new(exchange_name.clone(), definition, kind, Applied::default());
                topology.put_exchange(exchange);
            }
        }
        self.vhosts.insert(name, Arc::clone(&vhost));
        vhost
    }
}
