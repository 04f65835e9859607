//! Behaviour, over real sockets: one module per behaviour.
//!
//! What runs against Warren alone asserts; `differential` runs the same scenarios against RabbitMQ too.

// Helpers of a test may fail it.
#![allow(clippy::unwrap_used)]

mod support;

mod alarms;
mod alternate_exchange;
mod bad_input;
mod bindings;
mod channels;
mod configuration;
mod confirms;
mod consumer_timeout;
mod consuming;
mod content;
mod dead_letters;
mod deduplication;
mod definitions;
mod delayed_messages;
mod differential;
mod direct_reply_to;
mod durability;
mod exchange_to_exchange;
mod exchanges;
mod exclusive_and_auto_delete;
mod firehose;
mod full_disk;
mod group_commit;
mod handshake;
mod hash_exchanges;
mod headers_exchange;
mod http_fields;
mod kill;
mod lapin_client;
mod limits;
mod live_statistics;
mod load_generator;
mod local_socket;
mod metrics;
mod migration;
mod permissions;
mod policies;
mod publishing;
mod queue_arguments;
mod queue_expiry;
mod queue_limits;
mod queues;
mod quorum_queues;
mod random_exchanges;
mod recent_history;
mod restarts;
mod running;
mod runtime_parameters;
mod settling;
mod stress;
#[cfg(feature = "otel")]
mod telemetry;
mod topic_routing;
mod transactions;
mod vhost_and_user_limits;
mod vhosts;
