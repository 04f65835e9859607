//! Files of definitions: as they are written, and as they are read. PURE.

use super::answers::{
    BINDING, GLOBAL_PARAMETER, PARAMETER, PERMISSIONS, POLICY, TOPIC_PERMISSIONS, USER, VHOST_METADATA,
};
use super::requests::{FLAG, TABLE, TAGS, TEXT};
use super::schema::Kind::{Any, Flag, List, Map, Maybe, Text};
use super::schema::{Field, Kind, Object, always, object, sometimes};

const TEXTS: Kind = List(&Text);

const RABBIT_VERSION: Field = always("rabbit_version", Text, "The version of RabbitMQ whose file this is.");
const RABBITMQ_VERSION: Field = always("rabbitmq_version", Text, "The same.");
const PRODUCT_NAME: Field = always("product_name", Text, "");
const PRODUCT_VERSION: Field = always("product_version", Text, "");
const FORMAT: Field = always("rabbitmq_definition_format", Text, "`cluster` or `single_virtual_host`.");
const EXPLANATION: Field = always("explanation", Text, "");
const PARAMETERS: Field = always("parameters", List(&Kind::Object(&PARAMETER)), "");
const POLICIES: Field = always("policies", List(&Kind::Object(&POLICY)), "");
const QUEUES: Field = always("queues", List(&Kind::Object(&QUEUE)), "");
const EXCHANGES: Field = always("exchanges", List(&Kind::Object(&EXCHANGE)), "");
const BINDINGS: Field = always("bindings", List(&Kind::Object(&BINDING)), "");

const VHOST: Object = object(
    "VhostDefinition",
    "A vhost in a file.",
    &[
        always("name", Text, ""),
        always("description", Text, ""),
        always("tags", TEXTS, ""),
        always("tracing", Flag, ""),
        always("protected_from_deletion", Flag, ""),
        always("limits", Kind::EmptyList, "They are parameters of the component `vhost-limits`."),
        sometimes("default_queue_type", Text, ""),
        always("metadata", Kind::Object(&VHOST_METADATA), ""),
    ],
);

const QUEUE: Object = object(
    "QueueDefinition",
    "A queue in a file.",
    &[
        always("name", Text, ""),
        sometimes("vhost", Text, "Absent in a vhost's file."),
        always("type", Text, ""),
        always("durable", Flag, ""),
        always("auto_delete", Flag, ""),
        always("arguments", Map(&Any), ""),
    ],
);

const EXCHANGE: Object = object(
    "ExchangeDefinition",
    "An exchange in a file.",
    &[
        always("name", Text, ""),
        sometimes("vhost", Text, "Absent in a vhost's file."),
        always("type", Text, ""),
        always("durable", Flag, ""),
        always("auto_delete", Flag, ""),
        always("internal", Flag, ""),
        always("arguments", Map(&Any), ""),
    ],
);

/// The file of a node.
pub(super) const OF_NODE: Object = object(
    "Definitions",
    "All that was declared and administered on a node.",
    &[
        RABBIT_VERSION,
        RABBITMQ_VERSION,
        PRODUCT_NAME,
        PRODUCT_VERSION,
        FORMAT,
        EXPLANATION,
        always("original_cluster_name", Text, ""),
        always("users", List(&Kind::Object(&USER)), ""),
        always("vhosts", List(&Kind::Object(&VHOST)), ""),
        always("permissions", List(&Kind::Object(&PERMISSIONS)), ""),
        always("topic_permissions", List(&Kind::Object(&TOPIC_PERMISSIONS)), ""),
        always("global_parameters", List(&Kind::Object(&GLOBAL_PARAMETER)), ""),
        PARAMETERS,
        POLICIES,
        QUEUES,
        EXCHANGES,
        BINDINGS,
    ],
);

/// The file of a vhost.
pub(super) const OF_VHOST: Object = object(
    "VhostDefinitions",
    "What is in a vhost.",
    &[
        RABBIT_VERSION,
        RABBITMQ_VERSION,
        PRODUCT_NAME,
        PRODUCT_VERSION,
        FORMAT,
        EXPLANATION,
        always("original_vhost_name", Text, ""),
        always("description", Text, ""),
        always("tags", TEXTS, ""),
        always("tracing", Flag, ""),
        always("protected_from_deletion", Flag, ""),
        sometimes("default_queue_type", Text, ""),
        always("metadata", Kind::Object(&VHOST_METADATA), ""),
        PARAMETERS,
        POLICIES,
        QUEUES,
        EXCHANGES,
        BINDINGS,
    ],
);

const USER_READ: Object = object(
    "UserToImport",
    "A user of a file.",
    &[
        always("name", Text, ""),
        sometimes("tags", Maybe(&TAGS), ""),
        sometimes("password", TEXT, ""),
        sometimes("password_hash", TEXT, "Salt and hash, as base64."),
        sometimes("hashing_algorithm", TEXT, ""),
        sometimes("limits", Any, ""),
    ],
);

const METADATA_READ: Object = object(
    "VhostMetadataToImport",
    "What is known of a vhost, where the vhost does not say it.",
    &[
        sometimes("description", TEXT, ""),
        sometimes("tags", Maybe(&TAGS), ""),
        sometimes("default_queue_type", TEXT, ""),
        sometimes("protected_from_deletion", FLAG, ""),
    ],
);

const VHOST_READ: Object = object(
    "VhostToImport",
    "A vhost of a file.",
    &[
        always("name", Text, ""),
        sometimes("description", TEXT, ""),
        sometimes("tags", Maybe(&TAGS), ""),
        sometimes("default_queue_type", TEXT, ""),
        sometimes("tracing", FLAG, ""),
        sometimes("protected_from_deletion", FLAG, ""),
        sometimes("metadata", Maybe(&Kind::Either(&[Kind::Object(&METADATA_READ), Kind::EmptyList])), ""),
    ],
);

const PERMISSIONS_READ: Object = object(
    "PermissionsToImport",
    "Permissions of a file.",
    &[
        always("user", Text, ""),
        always("vhost", Text, ""),
        always("configure", Text, ""),
        always("write", Text, ""),
        always("read", Text, ""),
    ],
);

const TOPIC_PERMISSIONS_READ: Object = object(
    "TopicPermissionsToImport",
    "Topic permissions of a file.",
    &[
        always("user", Text, ""),
        always("vhost", Text, ""),
        always("exchange", Text, ""),
        always("write", Text, ""),
        always("read", Text, ""),
    ],
);

const GLOBAL_PARAMETER_READ: Object = object(
    "GlobalParameterToImport",
    "A global parameter of a file.",
    &[always("name", Text, ""), always("value", Any, "")],
);

const HOME: Field =
    sometimes("vhost", TEXT, "Passed over in a vhost's file, which says where all of it goes.");

const PARAMETER_READ: Object = object(
    "ParameterToImport",
    "A parameter of a file.",
    &[HOME, always("component", Text, ""), always("name", Text, ""), always("value", Any, "")],
);

const POLICY_READ: Object = object(
    "PolicyToImport",
    "A policy of a file. One that makes no sense here is left out.",
    &[
        HOME,
        always("name", Text, ""),
        sometimes("pattern", Any, ""),
        always("definition", Map(&Any), ""),
        sometimes("priority", Any, ""),
        sometimes("apply-to", Any, ""),
    ],
);

const QUEUE_READ: Object = object(
    "QueueToImport",
    "A queue of a file.",
    &[
        HOME,
        always("name", Text, ""),
        sometimes("type", TEXT, ""),
        sometimes("durable", FLAG, ""),
        sometimes("auto_delete", FLAG, ""),
        sometimes("arguments", TABLE, ""),
    ],
);

const EXCHANGE_READ: Object = object(
    "ExchangeToImport",
    "An exchange of a file.",
    &[
        HOME,
        always("name", Text, ""),
        always("type", Text, ""),
        sometimes("durable", FLAG, ""),
        sometimes("auto_delete", FLAG, ""),
        sometimes("internal", FLAG, ""),
        sometimes("arguments", TABLE, ""),
    ],
);

const BINDING_READ: Object = object(
    "BindingToImport",
    "A binding of a file.",
    &[
        HOME,
        always("source", Text, ""),
        always("destination", Text, ""),
        always("destination_type", Kind::OneOf(&["queue", "exchange"]), ""),
        sometimes("routing_key", TEXT, ""),
        sometimes("arguments", TABLE, ""),
    ],
);

const PARAMETERS_READ: Field = sometimes("parameters", Maybe(&List(&Kind::Object(&PARAMETER_READ))), "");
const POLICIES_READ: Field = sometimes("policies", Maybe(&List(&Kind::Object(&POLICY_READ))), "");
const QUEUES_READ: Field = sometimes("queues", Maybe(&List(&Kind::Object(&QUEUE_READ))), "");
const EXCHANGES_READ: Field = sometimes("exchanges", Maybe(&List(&Kind::Object(&EXCHANGE_READ))), "");
const BINDINGS_READ: Field = sometimes("bindings", Maybe(&List(&Kind::Object(&BINDING_READ))), "");

/// What is made on a node.
pub(super) const FOR_NODE: Object = object(
    "DefinitionsToImport",
    "What is to be made, beside what is there.",
    &[
        sometimes("users", Maybe(&List(&Kind::Object(&USER_READ))), ""),
        sometimes("vhosts", Maybe(&List(&Kind::Object(&VHOST_READ))), ""),
        sometimes("permissions", Maybe(&List(&Kind::Object(&PERMISSIONS_READ))), ""),
        sometimes("topic_permissions", Maybe(&List(&Kind::Object(&TOPIC_PERMISSIONS_READ))), ""),
        sometimes("global_parameters", Maybe(&List(&Kind::Object(&GLOBAL_PARAMETER_READ))), ""),
        PARAMETERS_READ,
        POLICIES_READ,
        QUEUES_READ,
        EXCHANGES_READ,
        BINDINGS_READ,
    ],
);

/// What is made in a vhost.
pub(super) const FOR_VHOST: Object = object(
    "VhostDefinitionsToImport",
    "What is to be made in a vhost. Users, vhosts and permissions are passed over.",
    &[PARAMETERS_READ, POLICIES_READ, QUEUES_READ, EXCHANGES_READ, BINDINGS_READ],
);
