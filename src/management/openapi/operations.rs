//! What each route is for, what it takes and what it gives: one entry for each line of `ROUTES`. PURE.

use super::schema::{Kind, Object};
use super::{answers, definitions, node, requests};

/// What is known of a route beside what `ROUTES` says.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// What it does, in a few words.
    pub(super) summary: &'static str,
    /// The body that it takes.
    pub(super) takes: Option<&'static Object>,
    pub(super) gives: Gives,
    /// Queries and headers of its own, beside those that follow from what it gives.
    pub(super) parameters: &'static [Parameter],
    /// Whether spans of samples may be asked for.
    pub(super) has_rates: bool,
    /// Statuses that only some have.
    pub(super) refuses: &'static [Refusal],
}

/// What comes back when all went well.
#[derive(Clone, Copy, Debug)]
pub(super) enum Gives {
    /// 200 and a list, or a page of it.
    List(&'static Object),
    /// 200 and an object, or some columns of it.
    One(&'static Object),
    /// 200 and a value as a whole.
    Value(Kind),
    /// 201 for what is new, 204 for what was there.
    Put,
    /// 201, with the place of what was made.
    Created,
    /// 204
    Done,
    /// 204, or 200 and what was left out; 303 for a form that says where its page goes on.
    Imported,
    /// 200 and a file; under a name, if there is one.
    File(&'static Object),
    /// 200 and a cookie, for a form.
    Session,
    /// 200 and a page for people.
    Page,
    /// 200 and events, until the client goes.
    Events,
    /// It is always refused.
    Never,
    /// 200 for a check that passes, 503 for one that fails.
    Verdict,
}

/// A value in the query, or a header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) is_header: bool,
    pub(super) kind: Kind,
    pub(super) about: &'static str,
}

/// Why a request may be refused, beside what all are refused for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    /// 400, though it takes nothing: what it reads makes no sense.
    Wrong,
    /// 405: operator policies are fixed.
    Fixed,
    /// 412: the object is protected.
    Protected,
}

const fn query(name: &'static str, kind: Kind, about: &'static str) -> Parameter {
    Parameter { name, is_header: false, kind, about }
}

/// `true`; anything else is false.
const SWITCH: Kind = Kind::Text;

/// Those of a list, and of a page of it.
pub(super) const OF_LISTS: &[Parameter] = &[
    query("page", Kind::Count, "Which page, from 1; without one, the whole list comes."),
    query("page_size", Kind::Count, "The most rows of a page: 1 to 500, 100 if it is not given."),
    query("name", Kind::Text, "Rows of a page whose name contains this."),
    query("use_regex", SWITCH, "With `true`, `name` is a regular expression."),
    query("pagination", SWITCH, "Passed over, as RabbitMQ does."),
    query("sort", Kind::Text, "A field to sort by, as a dotted path."),
    query("sort_reverse", SWITCH, "With `true`, the greatest comes first."),
];

/// That of all objects.
pub(super) const COLUMNS: Parameter =
    query("columns", Kind::Text, "These fields only: dotted paths, with commas between them.");

const LEAN: &[Parameter] = &[
    query("disable_stats", SWITCH, "With `true`, without statistics."),
    query("enable_queue_totals", SWITCH, "With `true`, with the numbers of messages nevertheless."),
];
const IF_UNUSED: Parameter = query("if-unused", SWITCH, "With `true`, only if nobody uses it.");
const IF_EMPTY: Parameter = query("if-empty", SWITCH, "With `true`, only if it is empty.");
const DOWNLOAD: &[Parameter] =
    &[query("download", Kind::Text, "The name that the file is to be kept under.")];
const REASON: &[Parameter] = &[Parameter {
    name: "x-reason",
    is_header: true,
    kind: Kind::Text,
    about: "Why, which the client is told.",
}];

const fn operation(
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    gives: Gives,
) -> Operation {
    let (parameters, refuses) = (&[], &[]);
    Operation { method, path, summary, takes: None, gives, parameters, has_rates: false, refuses }
}

const fn get(path: &'static str, summary: &'static str, gives: Gives) -> Operation {
    operation("GET", path, summary, gives)
}

const fn post(path: &'static str, summary: &'static str, gives: Gives) -> Operation {
    operation("POST", path, summary, gives)
}

const fn put(path: &'static str, summary: &'static str, gives: Gives) -> Operation {
    operation("PUT", path, summary, gives)
}

const fn delete(path: &'static str, summary: &'static str) -> Operation {
    operation("DELETE", path, summary, Done)
}

const fn check(path: &'static str, summary: &'static str) -> Operation {
    operation("GET", path, summary, Verdict)
}

impl Operation {
    const fn takes(self, object: &'static Object) -> Operation {
        Operation { takes: Some(object), ..self }
    }

    const fn asks(self, parameters: &'static [Parameter]) -> Operation {
        Operation { parameters, ..self }
    }

    const fn rates(self) -> Operation {
        Operation { has_rates: true, ..self }
    }

    const fn refuses(self, refuses: &'static [Refusal]) -> Operation {
        Operation { refuses, ..self }
    }
}

use Gives::{Created, Done, Events, File, Imported, List, Never, One, Page, Put, Session, Value, Verdict};
use Refusal::{Fixed, Protected, Wrong};
use answers::{BINDING, CHANNEL, CONNECTION, CONSUMER, DEPRECATED_FEATURE, EXCHANGE, FEATURE_FLAG};
use answers::{GLOBAL_PARAMETER, PARAMETER, PERMISSIONS, POLICY, QUEUE, USER, VHOST};
use answers::{TOPIC_PERMISSIONS, USER_LIMITS, VHOST_LIMITS};
use node::NODE;

/// What is known of each route, in no order.
pub(super) const OPERATIONS: &[Operation] = &[
    get("/", "A page for people who point a browser at the port", Page),
    get("/api/openapi.json", "This document", Value(Kind::Map(&Kind::Any))),
    post("/api/login", "Opens a session: a cookie stands for the login from then on", Session)
        .takes(&requests::LOGIN),
    delete("/api/login", "Ends the session of the request's cookie"),
    delete("/api/reset", "Forgets the samples that rates are made of"),
    delete("/api/reset/{name}", "The same, of a node"),
    get("/api/overview", "What the node is and how much it holds", One(&node::OVERVIEW)).rates(),
    get("/api/live", "What happens, as server-sent events after each sample", Events),
    get("/api/cluster-name", "What the cluster is called", One(&node::CLUSTER_NAME)),
    put("/api/cluster-name", "Names the cluster", Done).takes(&requests::CLUSTER_NAME),
    get("/api/version", "Warren's version", Value(Kind::Text)),
    get("/api/auth", "How people log in", Value(Kind::Object(&answers::AUTH_SETTINGS))),
    get(
        "/api/auth/hash_password/{password}",
        "What a password looks like when it is kept",
        Value(Kind::Object(&answers::PASSWORD_HASH)),
    ),
    post(
        "/api/auth/hash_password",
        "The same, of a password that no log of paths shows",
        Value(Kind::Object(&answers::PASSWORD_HASH)),
    )
    .takes(&requests::PASSWORD),
    get("/api/feature-flags", "What the broker can of what RabbitMQ has flags for", List(&FEATURE_FLAG)),
    put("/api/feature-flags/{name}/enable", "Does nothing: what the broker can, it does", Done),
    get("/api/deprecated-features", "What clients should not rely on", List(&DEPRECATED_FEATURE)),
    get("/api/deprecated-features/used", "Which of it somebody relies on now", List(&DEPRECATED_FEATURE)),
    post("/api/rebalance/queues", "Does nothing: there is one node", Done),
    get("/api/whoami", "Who asks", One(&answers::WHOAMI)),
    get("/api/extensions", "An empty list: there are no plugins with pages", Value(Kind::List(&Kind::Any))),
    get("/api/nodes", "The nodes: there is one", List(&NODE)).rates(),
    get("/api/nodes/{name}", "The node, and what it uses of the machine", One(&NODE)).rates(),
    get("/api/nodes/{name}/memory", "What takes the node's memory, in bytes", One(&node::MEMORY)),
    get("/api/nodes/{name}/memory/relative", "The same in percent", One(&node::RELATIVE_MEMORY)),
    get(
        "/api/auth/attempts/{name}",
        "How often people logged in over each protocol, or tried to",
        List(&answers::LOGIN_ATTEMPTS),
    ),
    delete("/api/auth/attempts/{name}", "Begins to count logins anew"),
    get(
        "/api/auth/attempts/{name}/source",
        "The same of each user and address",
        List(&answers::LOGIN_ATTEMPTS),
    ),
    delete("/api/auth/attempts/{name}/source", "Begins to count logins anew"),
    post(
        "/api/nodes/{name}/drain",
        "Puts the node into maintenance: it closes its clients and takes none",
        Done,
    ),
    post("/api/nodes/{name}/revive", "Ends its maintenance", Done),
    get("/api/config/effective", "The configuration in force", Value(Kind::Object(&node::CONFIGURATION))),
    put(
        "/api/config/effective/{setting}",
        "Gives a setting another value, until the next start or reload",
        Done,
    )
    .takes(&requests::SETTING),
    post("/api/config/reload", "Reads the configuration again", Value(Kind::Object(&node::RELOADED)))
        .refuses(&[Wrong]),
    get("/api/definitions", "All that was declared and administered", File(&definitions::OF_NODE))
        .asks(DOWNLOAD),
    post("/api/definitions", "Makes what a file says", Imported).takes(&definitions::FOR_NODE),
    get("/api/definitions/{vhost}", "What is in a vhost", File(&definitions::OF_VHOST)).asks(DOWNLOAD),
    post("/api/definitions/{vhost}", "Makes what a file says, in a vhost", Imported)
        .takes(&definitions::FOR_VHOST),
    get("/api/all-configuration", "An older name of the definitions", File(&definitions::OF_NODE))
        .asks(DOWNLOAD),
    post("/api/all-configuration", "An older name of the definitions", Imported)
        .takes(&definitions::FOR_NODE),
    get("/api/vhosts", "The vhosts that the user may see", List(&VHOST)).rates(),
    get("/api/vhosts/{vhost}", "A vhost", One(&VHOST)).rates(),
    put("/api/vhosts/{vhost}", "Adds a vhost, or changes what the body names of it", Put)
        .takes(&requests::VHOST),
    delete("/api/vhosts/{vhost}", "Deletes a vhost with all that is in it").refuses(&[Protected]),
    post("/api/vhosts/{vhost}/start/{node}", "Does nothing: a vhost runs", Done),
    post("/api/vhosts/{vhost}/deletion/protection", "Protects a vhost from deletion", Done),
    delete("/api/vhosts/{vhost}/deletion/protection", "Lets a vhost be deleted again"),
    get("/api/vhosts/{vhost}/permissions", "Who may do what in a vhost", List(&PERMISSIONS)),
    get("/api/vhosts/{vhost}/connections", "The connections to a vhost", List(&CONNECTION)).rates(),
    get("/api/vhosts/{vhost}/channels", "The channels in a vhost", List(&CHANNEL)),
    get("/api/users", "The users", List(&USER)),
    get("/api/users/without-permissions", "The users who may enter no vhost", List(&USER)),
    post("/api/users/bulk-delete", "Deletes users", Done).takes(&requests::USERS),
    get("/api/users/{user}", "A user", One(&USER)),
    put("/api/users/{user}", "Adds a user, or replaces it", Put).takes(&requests::USER),
    delete("/api/users/{user}", "Deletes a user"),
    get("/api/users/{user}/permissions", "What a user may do in each vhost", List(&PERMISSIONS)),
    get("/api/permissions", "Who may do what in each vhost", List(&PERMISSIONS)),
    get("/api/permissions/{vhost}/{user}", "What a user may do in a vhost", One(&PERMISSIONS)),
    put("/api/permissions/{vhost}/{user}", "Says what a user may do in a vhost", Put)
        .takes(&requests::PERMISSIONS),
    delete("/api/permissions/{vhost}/{user}", "Keeps a user out of a vhost"),
    get(
        "/api/topic-permissions",
        "Who may use which routing keys at topic exchanges",
        List(&TOPIC_PERMISSIONS),
    ),
    get(
        "/api/topic-permissions/{vhost}/{user}",
        "Which routing keys a user may use at the topic exchanges of a vhost",
        List(&TOPIC_PERMISSIONS),
    ),
    put(
        "/api/topic-permissions/{vhost}/{user}",
        "Says which routing keys a user may use at a topic exchange",
        Put,
    )
    .takes(&requests::TOPIC_PERMISSIONS),
    delete("/api/topic-permissions/{vhost}/{user}", "Lets a user use any routing key in a vhost"),
    get(
        "/api/topic-permissions/{vhost}/{user}/{exchange}",
        "Which routing keys a user may use at a topic exchange",
        List(&TOPIC_PERMISSIONS),
    ),
    delete(
        "/api/topic-permissions/{vhost}/{user}/{exchange}",
        "Lets a user use any routing key at a topic exchange",
    ),
    get("/api/vhosts/{vhost}/topic-permissions", "Those in a vhost", List(&TOPIC_PERMISSIONS)),
    get("/api/users/{user}/topic-permissions", "Those of a user", List(&TOPIC_PERMISSIONS)),
    get("/api/policies", "The policies", List(&POLICY)),
    get("/api/policies/{vhost}", "The policies of a vhost", List(&POLICY)),
    get("/api/policies/{vhost}/{name}", "A policy", One(&POLICY)),
    put("/api/policies/{vhost}/{name}", "Adds a policy, or replaces it", Put).takes(&requests::POLICY),
    delete("/api/policies/{vhost}/{name}", "Deletes a policy"),
    get("/api/operator-policies", "The operators' policies", List(&POLICY)),
    get("/api/operator-policies/{vhost}", "The operators' policies of a vhost", List(&POLICY)),
    get("/api/operator-policies/{vhost}/{name}", "An operators' policy", One(&POLICY)),
    put("/api/operator-policies/{vhost}/{name}", "Adds an operators' policy, or replaces it", Put)
        .takes(&requests::POLICY)
        .refuses(&[Fixed]),
    delete("/api/operator-policies/{vhost}/{name}", "Deletes an operators' policy").refuses(&[Fixed]),
    get("/api/parameters", "The runtime parameters", List(&PARAMETER)),
    get("/api/parameters/{component}", "The runtime parameters of a component", List(&PARAMETER)),
    get("/api/parameters/{component}/{vhost}", "Those of a component in a vhost", List(&PARAMETER)),
    get("/api/parameters/{component}/{vhost}/{name}", "A runtime parameter", One(&PARAMETER)),
    put("/api/parameters/{component}/{vhost}/{name}", "Adds a runtime parameter, or replaces it", Put)
        .takes(&requests::PARAMETER)
        .refuses(&[Fixed]),
    delete("/api/parameters/{component}/{vhost}/{name}", "Deletes a runtime parameter").refuses(&[Fixed]),
    get("/api/global-parameters", "The runtime parameters of the cluster", List(&GLOBAL_PARAMETER)),
    get("/api/global-parameters/{name}", "A runtime parameter of the cluster", One(&GLOBAL_PARAMETER)),
    put("/api/global-parameters/{name}", "Adds a runtime parameter of the cluster, or replaces it", Put)
        .takes(&requests::GLOBAL_PARAMETER),
    delete("/api/global-parameters/{name}", "Deletes a runtime parameter of the cluster"),
    get("/api/vhost-limits", "The limits of vhosts that have any", List(&VHOST_LIMITS)),
    get("/api/vhost-limits/{vhost}", "The limits of a vhost", List(&VHOST_LIMITS)),
    put("/api/vhost-limits/{vhost}/{name}", "Sets a limit of a vhost", Done).takes(&requests::LIMIT),
    delete("/api/vhost-limits/{vhost}/{name}", "Takes a limit of a vhost away"),
    get("/api/user-limits", "The limits of users that have any", List(&USER_LIMITS)),
    get("/api/user-limits/{user}", "The limits of a user", List(&USER_LIMITS)),
    put("/api/user-limits/{user}/{name}", "Sets a limit of a user", Done).takes(&requests::LIMIT),
    delete("/api/user-limits/{user}/{name}", "Takes a limit of a user away"),
    get("/api/queues", "The queues", List(&QUEUE)).asks(LEAN).rates(),
    get("/api/queues/detailed", "The queues, with all that is known of them", List(&QUEUE))
        .asks(LEAN)
        .rates(),
    get("/api/queues/{vhost}", "The queues of a vhost", List(&QUEUE)).asks(LEAN).rates(),
    get("/api/queues/{vhost}/{queue}", "A queue", One(&QUEUE)).rates(),
    put("/api/queues/{vhost}/{queue}", "Declares a queue", Put).takes(&requests::QUEUE),
    delete("/api/queues/{vhost}/{queue}", "Deletes a queue").asks(&[IF_UNUSED, IF_EMPTY]),
    delete("/api/queues/{vhost}/{queue}/contents", "Purges a queue"),
    post(
        "/api/queues/{vhost}/{queue}/get",
        "Takes messages out of a queue and shows them",
        Value(Kind::List(&Kind::Object(&answers::MESSAGE))),
    )
    .takes(&requests::GET),
    post("/api/queues/{vhost}/{queue}/actions", "There are none", Never).takes(&requests::ACTION),
    get(
        "/api/queues/quorum/{vhost}/{queue}/status",
        "The replicas of a quorum queue: there is one",
        Value(Kind::List(&Kind::Object(&answers::REPLICA))),
    ),
    get("/api/queues/{vhost}/{queue}/bindings", "The bindings of a queue", List(&BINDING)),
    get("/api/exchanges", "The exchanges", List(&EXCHANGE)).rates(),
    get("/api/exchanges/{vhost}", "The exchanges of a vhost", List(&EXCHANGE)).rates(),
    get("/api/exchanges/{vhost}/{exchange}", "An exchange", One(&EXCHANGE)).rates(),
    put("/api/exchanges/{vhost}/{exchange}", "Declares an exchange", Put).takes(&requests::EXCHANGE),
    delete("/api/exchanges/{vhost}/{exchange}", "Deletes an exchange").asks(&[IF_UNUSED]),
    post(
        "/api/exchanges/{vhost}/{exchange}/publish",
        "Publishes a message; answers when it is safe",
        Value(Kind::Object(&answers::ROUTED)),
    )
    .takes(&requests::PUBLISH),
    get("/api/exchanges/{vhost}/{exchange}/bindings/source", "Bindings from an exchange", List(&BINDING)),
    get("/api/exchanges/{vhost}/{exchange}/bindings/destination", "Bindings to an exchange", List(&BINDING)),
    get("/api/bindings", "The bindings", List(&BINDING)),
    get("/api/bindings/{vhost}", "The bindings of a vhost", List(&BINDING)),
    get("/api/bindings/{vhost}/e/{source}/{kind}/{destination}", "Bindings between two", List(&BINDING)),
    post("/api/bindings/{vhost}/e/{source}/{kind}/{destination}", "Binds", Created).takes(&requests::BINDING),
    get("/api/bindings/{vhost}/e/{source}/{kind}/{destination}/{key}", "A binding", One(&BINDING)),
    delete("/api/bindings/{vhost}/e/{source}/{kind}/{destination}/{key}", "Unbinds"),
    get("/api/connections", "The connections that the user may see", List(&CONNECTION)).rates(),
    get("/api/connections/{connection}", "A connection", One(&CONNECTION)).rates(),
    delete("/api/connections/{connection}", "Closes a connection").asks(REASON),
    get("/api/connections/{connection}/channels", "The channels of a connection", List(&CHANNEL)),
    get("/api/connections/{connection}/sessions", "An empty list", List(&answers::SESSION)),
    get("/api/connections/username/{user}", "The connections of a user", List(&CONNECTION)).rates(),
    delete("/api/connections/username/{user}", "Closes all connections of a user").asks(REASON),
    get("/api/channels", "The channels", List(&CHANNEL)),
    get("/api/channels/{channel}", "A channel", One(&CHANNEL)),
    get("/api/consumers", "The consumers", List(&CONSUMER)),
    get("/api/consumers/{vhost}", "The consumers in a vhost", List(&CONSUMER)),
    check("/api/aliveness-test/{vhost}", "Whether the vhost is there and an answer comes"),
    check("/api/health/checks/alarms", "Whether no alarm blocks publishers"),
    check("/api/health/checks/local-alarms", "Whether no alarm blocks publishers"),
    check("/api/health/checks/port-listener/{port}", "Whether anything listens on a port"),
    check("/api/health/checks/protocol-listener/{protocol}", "Whether anything listens for a protocol"),
    check("/api/health/checks/virtual-hosts", "Whether all vhosts are up"),
    check(
        "/api/health/checks/certificate-expiration/{within}/{unit}",
        "Whether no certificate ends till then",
    ),
    check("/api/health/checks/node-is-quorum-critical", "Whether no queue needs this node for its majority"),
    check(
        "/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts",
        "Whether all queues have leaders",
    ),
    check(
        "/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts/pattern/{pattern}",
        "Whether all queues whose names match have leaders",
    ),
    check(
        "/api/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}",
        "Whether all queues of a vhost have leaders",
    ),
    check(
        "/api/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}/pattern/{pattern}",
        "Whether all queues of a vhost whose names match have leaders",
    ),
    check("/api/health/checks/metadata-store/initialized", "Whether the definitions are there"),
    check("/api/health/checks/metadata-store/initialized/with-data", "Whether there is a vhost among them"),
    check("/api/health/checks/is-in-service", "Whether the broker does what it is asked"),
    check("/api/health/checks/below-node-connection-limit", "Whether there may be more connections"),
    check("/api/health/checks/ready-to-serve-clients", "Whether clients can connect and be served"),
    check("/api/health/checks/reached-target-cluster-size", "Whether all nodes are there"),
    check("/api/healthchecks/node", "Whether an answer comes"),
    check("/api/healthchecks/node/{name}", "Whether an answer comes"),
];
