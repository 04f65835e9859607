//! Requests over a socket against a broker in memory: statuses, bodies, who may what.

mod administering;
mod asking;
mod configuration;
mod definitions;
mod failures;
mod governing;
mod health;
mod local;
mod login;
mod openapi;
mod statistics;
mod topic_permissions;
mod uploading;
mod vhosts;

use super::*;
use crate::broker::connections::{Channel, Opened};
use crate::broker::{Broker, Defaults};
use crate::config::{Config, Configuration, Flags, Live};
use crate::event::Event;
use crate::name::ChannelId;
use crate::outbox::Outbox;
use crate::store::{self, JournalFailed};
use crate::time::{Duration, Millis};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;
use tokio::{runtime::Runtime, sync::watch};

/// The HTTP API on a port of its own, until dropped.
struct Api {
    base: String,
    broker: Arc<Broker>,
    node: Arc<Node>,
    agent: ureq::Agent,
    /// Fails the store.
    failure: watch::Sender<Option<JournalFailed>>,
    _runtime: Runtime,
}

/// What an API is started with besides a broker.
struct Setup {
    configuration: Configuration,
    /// Beside its own.
    listeners: Vec<Listener>,
}

impl Default for Setup {
    fn default() -> Self {
        let set = ("WARREN_MANAGEMENT_HTTP_MAX_BODY_SIZE".to_owned(), "10000".to_owned());
        let configuration = Configuration::load(&Flags::default(), [set]).unwrap();
        Self { configuration, listeners: Vec::new() }
    }
}

/// Status, body (null when empty), and the headers asked for.
#[derive(Debug, PartialEq)]
struct Got(u16, Value);

impl Api {
    fn start() -> Api {
        Api::start_with(Setup::default())
    }

    fn start_with(setup: Setup) -> Api {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let failure = watch::Sender::new(None);
        let (store, recovered) = store::memory::open_to_fail(failure.clone());
        let rules = setup.configuration.config.rules.clone();
        let defaults = Defaults { rules, ..Defaults::in_tests() };
        let broker = Broker::start(defaults, store, recovered).unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let node = Node {
            broker: Arc::clone(&broker),
            listeners: [vec![Listener { protocol: "http", address }], setup.listeners].concat(),
            data_dir: ".".into(),
            config: Arc::new(Live::new(setup.configuration)),
            sessions: Sessions::default(),
            statistics: Statistics::new(Duration::from_secs(5)),
        };
        let node = Arc::new(node);
        runtime.spawn(serve(listener, Arc::clone(&node), std::future::pending()));
        let agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build();
        let base = format!("http://{address}");
        Api { base, broker, node, agent: agent.into(), failure, _runtime: runtime }
    }

    /// Asks as a user with its password, `user:password`; nobody for the empty text.
    fn ask_as(&self, login: &str, method: &str, path: &str, body: &str) -> ureq::http::Response<ureq::Body> {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        if !login.is_empty() {
            request = request.header("authorization", format!("Basic {}", BASE64_STANDARD.encode(login)));
        }
        let request = request.body(body.to_owned()).unwrap();
        let request = self.agent.configure_request(request).allow_non_standard_methods(true).build();
        self.agent.run(request).unwrap()
    }

    fn as_user(&self, login: &str, method: &str, path: &str, body: Value) -> Got {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut response = self.ask_as(login, method, &format!("/api{path}"), &body);
        let text = response.body_mut().read_to_string().unwrap();
        Got(response.status().as_u16(), serde_json::from_str(&text).unwrap_or_default())
    }

    /// Registers a connection as a driver does, from that port.
    fn connect(&self, user: &str, port: u16) -> Arc<Outbox> {
        let id = self.broker.next_connection_id();
        let outbox = Arc::new(Outbox::new(id));
        let connection = self.broker.connected(Opened {
            id,
            user: user.into(),
            vhost: "/".into(),
            peer: ([127, 0, 0, 1], port).into(),
            local: ([127, 0, 0, 1], 5672).into(),
            connected_at: Millis(1_000),
            protocol: "AMQP 0-9-1",
            auth_mechanism: "PLAIN".into(),
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat_s: 60,
            client_properties: Default::default(),
            user_provided_name: Some("mine".into()),
            traffic: Default::default(),
            outbox: Arc::clone(&outbox),
        });
        connection.channels.lock().push(Channel { id: ChannelId(1), prefetch: 5, ..Channel::default() });
        outbox
    }

    /// Makes a user with the password `p`.
    fn exists(&self, user: &str, tags: &str, may_enter: bool) {
        assert_eq!(self.put(&format!("/users/{user}"), json!({"password": "p", "tags": tags})), created());
        if may_enter {
            let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
            assert_eq!(self.put(&format!("/permissions/%2F/{user}"), all), created());
        }
    }

    fn get(&self, path: &str) -> Got {
        self.as_user("guest:guest", "GET", path, Value::Null)
    }

    fn put(&self, path: &str, body: Value) -> Got {
        self.as_user("guest:guest", "PUT", path, body)
    }

    fn post(&self, path: &str, body: Value) -> Got {
        self.as_user("guest:guest", "POST", path, body)
    }

    fn delete(&self, path: &str) -> Got {
        self.as_user("guest:guest", "DELETE", path, Value::Null)
    }
}

fn created() -> Got {
    Got(201, Value::Null)
}

fn done() -> Got {
    Got(204, Value::Null)
}

fn not_found() -> Got {
    Got(404, json!({"error": "Object Not Found", "reason": "Not Found"}))
}

fn refused() -> Got {
    Got(401, json!({"error": "not_authorised", "reason": "Access refused."}))
}

fn bad(reason: &str) -> Got {
    Got(400, json!({"error": "bad_request", "reason": reason}))
}

#[test]
fn a_wrong_or_missing_login_is_asked_for_one() {
    let api = Api::start();
    for login in ["", "guest:wrong", "nobody:x"] {
        let mut response = api.ask_as(login, "GET", "/api/overview", "");
        assert_eq!(response.status(), 401);
        assert!(response.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic realm="));
        assert_eq!(
            response.body_mut().read_to_string().unwrap(),
            r#"{"error":"not_authorized","reason":"Not_Authorized"}"#
        );
    }
}

#[test]
fn a_request_that_is_refused_is_read_and_the_connection_goes_on() {
    use std::io::{BufRead, BufReader, Read, Write};
    let api = Api::start();
    let mut stream = std::net::TcpStream::connect(api.base.trim_start_matches("http://")).unwrap();
    let body = "x".repeat(60_000);
    let refused =
        format!("PUT /api/users/u HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(refused.as_bytes()).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    answers.read_line(&mut line).unwrap();
    assert_eq!(line, "HTTP/1.1 401 Unauthorized\r\n");
    let login = BASE64_STANDARD.encode("guest:guest");
    let next = format!(
        "GET /api/whoami HTTP/1.1\r\nhost: h\r\nauthorization: Basic {login}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(next.as_bytes()).unwrap();
    let mut rest = String::new();
    answers.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("HTTP/1.1 200 OK"), "{rest}");
}

#[test]
fn tags_and_vhost_access_decide_who_may_what() {
    let api = Api::start();
    for (user, tags) in [("none", ""), ("manager", "management"), ("monitor", "monitoring")] {
        assert_eq!(api.put(&format!("/users/{user}"), json!({"password": "p", "tags": tags})), created());
    }
    assert_eq!(api.put("/vhosts/v", Value::Null), created());
    assert_eq!(
        api.put("/permissions/v/manager", json!({"configure": "^own", "write": "", "read": ""})),
        created()
    );
    assert_eq!(api.as_user("none:p", "GET", "/overview", Value::Null), refused());
    assert_eq!(api.as_user("manager:p", "GET", "/nodes", Value::Null), refused());
    assert_eq!(api.as_user("monitor:p", "GET", "/nodes", Value::Null).0, 200);
    assert_eq!(api.as_user("manager:p", "GET", "/users", Value::Null), refused());
    assert_eq!(api.as_user("manager:p", "PUT", "/vhosts/w", Value::Null), refused());
    assert_eq!(api.as_user("manager:p", "GET", "/queues/%2F", Value::Null), refused());
    assert_eq!(api.as_user("monitor:p", "GET", "/queues/%2F", Value::Null), Got(200, json!([])));
    assert_eq!(api.as_user("manager:p", "GET", "/queues", Value::Null), Got(200, json!([])));
    assert_eq!(api.as_user("manager:p", "PUT", "/queues/v/own", json!({"durable": true})), created());
    assert_eq!(api.as_user("manager:p", "PUT", "/queues/v/other", json!({"durable": true})), refused());
    assert_eq!(api.as_user("monitor:p", "PUT", "/queues/v/own2", json!({"durable": true})), refused());
    let Got(_, vhosts) = api.as_user("manager:p", "GET", "/vhosts?columns=name", Value::Null);
    assert_eq!(vhosts, json!([{"name": "v"}]));
}

#[test]
fn vhosts_come_change_and_go() {
    let api = Api::start();
    assert_eq!(api.put("/vhosts/a%2Fb%20c", json!({"description": "d", "tags": "x,y"})), created());
    assert_eq!(api.put("/vhosts/a%2Fb%20c", json!({"tags": ["z"]})), done());
    let Got(_, vhost) = api.get("/vhosts/a%2Fb%20c");
    assert_eq!(
        (&vhost["name"], &vhost["description"], &vhost["tags"], &vhost["messages"], &vhost["tracing"]),
        (&json!("a/b c"), &json!("d"), &json!(["z"]), &json!(0), &json!(false))
    );
    assert_eq!(api.get("/permissions/a%2Fb%20c/guest").0, 200, "who adds a vhost may use it");
    assert_eq!(api.delete("/vhosts/a%2Fb%20c"), done());
    assert_eq!(api.delete("/vhosts/a%2Fb%20c"), not_found());
    assert_eq!(api.get("/vhosts/a%2Fb%20c"), not_found());
    assert_eq!(api.get("/queues/nowhere"), not_found());
}

#[test]
fn users_are_put_as_a_whole() {
    let api = Api::start();
    assert_eq!(api.put("/users/u", json!({"password": "p"})), bad("tags_not_present"));
    let both = json!({"password": "p", "password_hash": "h", "tags": ""});
    assert_eq!(api.put("/users/u", both), bad("both_password_and_password_hash_are_provided"));
    let no_algorithm = json!({"password": "p", "tags": "", "hashing_algorithm": {}});
    assert_eq!(api.put("/users/u", no_algorithm), bad("hashing_algorithm must be a string"));
    assert_eq!(api.put("/users/u", json!({"password": "p", "tags": "management"})), created());
    let Got(_, user) = api.get("/users/u");
    assert_eq!((&user["tags"], &user["limits"]), (&json!(["management"]), &json!({})));
    assert_eq!(api.as_user("u:p", "GET", "/whoami", Value::Null).0, 200);
    // With its hash, a user keeps its password; without, it has none.
    let with_hash = json!({
        "password_hash": user["password_hash"], "hashing_algorithm": user["hashing_algorithm"], "tags": ["monitoring"]
    });
    assert_eq!(api.put("/users/u", with_hash), done());
    assert_eq!(
        api.as_user("u:p", "GET", "/whoami", Value::Null),
        Got(
            200,
            json!({"name": "u", "tags": ["monitoring"], "is_internal_user": true, "login_session_timeout": 480})
        )
    );
    assert_eq!(api.put("/users/u", json!({"tags": "monitoring"})), done());
    assert_eq!(api.as_user("u:p", "GET", "/whoami", Value::Null).0, 401);
    assert_eq!(api.get("/users/without-permissions?columns=name"), Got(200, json!([{"name": "u"}])));
    assert_eq!(api.post("/users/bulk-delete", json!({"users": ["u", "nobody"]})), done());
    assert_eq!(api.delete("/users/u"), not_found());
}

#[test]
fn permissions_need_all_three_patterns_and_both_ends() {
    let api = Api::start();
    let permissions = json!({"configure": "", "write": "^a", "read": ".*"});
    assert_eq!(api.put("/users/u", json!({"password": "p", "tags": ""})), created());
    assert_eq!(
        api.put("/permissions/%2F/u", json!({"read": ""})),
        bad("[{key_missing,configure},{key_missing,write}]")
    );
    assert_eq!(api.put("/permissions/%2F/nobody", permissions.clone()), bad("vhost_or_user_not_found"));
    assert_eq!(api.put("/permissions/v/u", permissions.clone()), bad("vhost_or_user_not_found"));
    assert_eq!(api.put("/permissions/%2F/u", json!({"configure": "[", "write": "", "read": ""})).0, 400);
    assert_eq!(api.put("/permissions/%2F/u", permissions.clone()), created());
    assert_eq!(api.put("/permissions/%2F/u", permissions), done());
    let row = json!({"user": "u", "vhost": "/", "configure": "", "write": "^a", "read": ".*"});
    assert_eq!(api.get("/permissions/%2F/u"), Got(200, row.clone()));
    assert_eq!(api.get("/users/u/permissions"), Got(200, json!([row])));
    assert_eq!(api.get("/vhosts/%2F/permissions").1.as_array().unwrap().len(), 2);
    assert_eq!(api.delete("/permissions/%2F/u"), done());
    assert_eq!(api.delete("/permissions/%2F/u"), not_found());
}

#[test]
fn queues_are_declared_listed_purged_and_deleted() {
    let api = Api::start();
    let body = json!({"durable": true, "arguments": {"x-expires": 60000}});
    assert_eq!(api.put("/queues/%2F/q%20a", body.clone()), created());
    assert_eq!(api.put("/queues/%2F/q%20a", body), done());
    let Got(status, refused_again) = api.put("/queues/%2F/q%20a", json!({"durable": false}));
    assert_eq!(status, 400);
    assert!(
        refused_again["reason"].as_str().unwrap().starts_with("inequivalent arg 'durable' for queue 'q a'")
    );
    assert_eq!(api.put("/queues/%2F/amq.x", json!({})), refused());
    assert_eq!(api.put("/queues/%2F/x", json!({"durable": "yes"})), bad("durable must be true or false"));
    assert_eq!(
        api.put("/queues/v/x", json!({})),
        Got(404, json!({"error": "not_found", "reason": "vhost_not_found"}))
    );
    let Got(_, queue) = api.get("/queues/%2F/q%20a");
    assert_eq!(
        [&queue["name"], &queue["arguments"], &queue["messages_ready"], &queue["type"], &queue["consumers"]],
        [&json!("q a"), &json!({"x-expires": 60000}), &json!(0), &json!("classic"), &json!(0)]
    );
    assert_eq!(queue.get("message_stats"), None, "nothing happened yet");
    let Got(_, page) = api.get("/queues?page=1&page_size=10&name=Q&columns=name,vhost");
    assert_eq!((&page["items"], &page["total_count"]), (&json!([{"name": "q a", "vhost": "/"}]), &json!(1)));
    assert_eq!(api.delete("/queues/%2F/q%20a/contents"), done());
    assert_eq!(api.delete("/queues/%2F/nothing/contents"), not_found());
    assert_eq!(api.delete("/queues/%2F/q%20a?if-empty=true&if-unused=true"), done());
    assert_eq!(api.delete("/queues/%2F/q%20a"), not_found());
    assert_eq!(api.get("/queues/%2F/q%20a"), not_found());
}

#[test]
fn exchanges_are_declared_listed_and_deleted() {
    let api = Api::start();
    assert_eq!(api.put("/exchanges/%2F/x", json!({"type": "topic", "durable": true})), created());
    assert_eq!(api.put("/exchanges/%2F/x", json!({"type": "topic", "durable": true})), done());
    let Got(status, other) = api.put("/exchanges/%2F/x", json!({"type": "direct", "durable": true}));
    assert_eq!(status, 400);
    assert!(other["reason"].as_str().unwrap().starts_with("inequivalent arg 'type' for exchange 'x'"));
    assert_eq!(api.put("/exchanges/%2F/y", json!({"type": "bogus"})), bad("unknown exchange type 'bogus'"));
    assert_eq!(api.get("/exchanges/%2F/amq.default").1["name"], json!(""));
    let Got(_, names) = api.get("/exchanges/%2F?columns=name");
    assert_eq!((names.as_array().unwrap().len(), &names[0]["name"]), (9, &json!("")));
    assert_eq!(api.delete("/exchanges/%2F/amq.topic"), refused());
    assert_eq!(api.delete("/exchanges/%2F/x?if-unused=true"), done());
    assert_eq!(api.delete("/exchanges/%2F/x"), not_found());
}

#[test]
fn bindings_are_made_where_their_location_says_and_deleted_there() {
    let api = Api::start();
    assert_eq!(api.put("/queues/%2F/q", json!({"durable": true})), created());
    let path = "/api/bindings/%2F/e/amq.topic/q/q";
    let mut locations = Vec::new();
    for body in
        [json!({"routing_key": "a b/#"}), json!({}), json!({"routing_key": "k", "arguments": {"n": 1}})]
    {
        let response = api.ask_as("guest:guest", "POST", path, &body.to_string());
        assert_eq!(response.status(), 201);
        locations.push(response.headers()["location"].to_str().unwrap().to_owned());
    }
    assert_eq!(locations[1], "q/~");
    let Got(_, own) = api.get("/bindings/%2F/e/amq.topic/q/q?columns=properties_key");
    assert_eq!(own.as_array().unwrap().len(), 3);
    assert_eq!(
        api.get("/queues/%2F/q/bindings").1.as_array().unwrap().len(),
        4,
        "and the default exchange's"
    );
    assert_eq!(api.get("/exchanges/%2F/amq.topic/bindings/source").1.as_array().unwrap().len(), 3);
    for location in locations {
        let path = format!("/bindings/%2F/e/amq.topic/q/{location}");
        assert_eq!(api.get(&path).0, 200, "{path}");
        assert_eq!(api.delete(&path), done());
        assert_eq!(api.delete(&path), not_found());
    }
    assert_eq!(
        api.post("/bindings/%2F/e/nowhere/q/q", json!({})),
        Got(404, json!({"error": "not_found", "reason": "no exchange 'nowhere' in vhost '/'"}))
    );
    assert_eq!(api.post("/bindings/%2F/e/amq.default/q/q", json!({})), refused());
}

#[test]
fn messages_are_published_looked_at_and_taken() {
    let api = Api::start();
    assert_eq!(api.put("/queues/%2F/q", json!({"durable": true})), created());
    let properties =
        json!({"delivery_mode": 2, "headers": {"a": 1}, "priority": 3, "content_type": "text/plain"});
    let publish = |key: &str, properties: Value, payload: &str, encoding: &str| {
        let body = json!({
            "routing_key": key, "properties": properties, "payload": payload, "payload_encoding": encoding
        });
        api.post("/exchanges/%2F/amq.default/publish", body)
    };
    assert_eq!(publish("q", properties.clone(), "aGk=", "base64"), Got(200, json!({"routed": true})));
    assert_eq!(publish("q", json!({}), "ho", "string"), Got(200, json!({"routed": true})));
    assert_eq!(publish("nowhere", json!([]), "x", "string"), Got(200, json!({"routed": false})));
    assert_eq!(publish("q", json!({"priority": 300}), "x", "string").0, 400);
    assert_eq!(publish("q", json!({}), "!", "base64"), bad("payload is not valid base64"));
    let take = |ackmode: &str| {
        api.post("/queues/%2F/q/get", json!({"count": 5, "ackmode": ackmode, "encoding": "auto"}))
    };
    let Got(status, messages) = take("ack_requeue_true");
    assert_eq!((status, messages.as_array().unwrap().len()), (200, 2));
    assert_eq!(
        messages[0],
        json!({
            "payload_bytes": 2, "redelivered": false, "exchange": "", "routing_key": "q", "message_count": 1,
            "properties": properties, "payload": "hi", "payload_encoding": "string"
        })
    );
    assert_eq!(messages[1]["properties"], json!([]), "as RabbitMQ writes none");
    assert_eq!(take("ack_requeue_false").1[0]["redelivered"], json!(true), "put back in between");
    assert_eq!(take("ack_requeue_false"), Got(200, json!([])));
    assert_eq!(api.get("/queues/%2F/q").1["message_stats"]["publish"], json!(2));
    assert_eq!(api.post("/queues/%2F/q/get", json!({})).0, 400);
}

#[test]
fn the_overview_and_the_node_have_the_fields_that_tools_read() {
    let api = Api::start();
    let Got(_, overview) = api.get("/overview");
    assert_eq!(
        [&overview["product_name"], &overview["node"], &overview["object_totals"]["exchanges"]],
        [&json!("Warren"), &json!("warren@test"), &json!(8)]
    );
    assert!(
        overview["rabbitmq_version"].as_str().unwrap().split('.').all(|part| part.parse::<u32>().is_ok())
    );
    assert_eq!(overview["queue_totals"]["messages_details"]["rate"], json!(0.0));
    let types = overview["exchange_types"].as_array().unwrap().iter();
    let listed: Vec<_> = types.map(|kind| kind["name"].as_str().unwrap()).collect();
    assert_eq!(listed, crate::exchange::TYPES.iter().map(|kind| kind.name()).collect::<Vec<_>>());
    assert_eq!(overview["listeners"][0]["protocol"], json!("http"));
    let Got(status, node) = api.get("/nodes/warren@test");
    assert_eq!((status, &node["running"], &node["mem_alarm"]), (200, &json!(true), &json!(false)));
    assert!(node["mem_used"].as_u64().unwrap() > 0);
    assert_eq!(
        (&node["store"]["damages_found_at_start"], &node["store"]["refused"]),
        (&json!(0), &Value::Null)
    );
    assert_eq!(api.get("/nodes/other"), not_found());
    assert_eq!(api.get("/cluster-name"), Got(200, json!({"name": "warren@test"})));
    assert_eq!(api.get("/health/checks/alarms"), Got(200, json!({"status": "ok"})));
    assert_eq!(api.get("/aliveness-test/%2F"), Got(200, json!({"status": "ok"})));
    assert_eq!(api.get("/aliveness-test/v"), not_found());
    assert_eq!(api.get("/connections"), Got(200, json!([])));
    assert_eq!(api.get("/connections/c"), not_found());
    assert_eq!(api.get("/channels"), Got(200, json!([])));
    assert_eq!(api.get("/consumers/%2F"), Got(200, json!([])));
}

#[test]
fn connections_and_channels_are_shown_to_their_user_and_to_monitoring() {
    let api = Api::start();
    assert_eq!(api.put("/users/u", json!({"password": "p", "tags": "management"})), created());
    api.connect("guest", 1001);
    api.connect("u", 1002);
    let own = "127.0.0.1:1002 -> 127.0.0.1:5672";
    let names = |got: Got| -> Vec<String> {
        got.1.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    let ask = |login: &str, path: &str| api.as_user(login, "GET", path, Value::Null);
    assert_eq!(names(ask("guest:guest", "/connections")).len(), 2);
    assert_eq!(names(ask("u:p", "/connections")), [own]);
    assert_eq!(names(ask("u:p", "/channels")), [format!("{own} (1)")]);
    assert_eq!(names(ask("guest:guest", "/connections/username/u")), [own]);
    assert_eq!(names(ask("guest:guest", "/vhosts/%2F/channels")).len(), 2);
    assert_eq!(ask("u:p", "/connections/127.0.0.1:1001%20-%3E%20127.0.0.1:5672"), refused());
    let Got(_, connection) = ask("u:p", "/connections/127.0.0.1:1002%20-%3E%20127.0.0.1:5672");
    assert_eq!(
        [&connection["peer_host"], &connection["peer_port"], &connection["timeout"], &connection["recv_oct"]],
        [&json!("127.0.0.1"), &json!(1002), &json!(60), &json!(0)]
    );
    let Got(_, channel) = ask("u:p", "/channels/127.0.0.1:1002%20-%3E%20127.0.0.1:5672%20(1)");
    assert_eq!((&channel["number"], &channel["prefetch_count"]), (&json!(1), &json!(5)));
    assert_eq!(channel["consumer_details"], json!([]));
    assert_eq!(ask("guest:guest", "/overview").1["object_totals"]["channels"], json!(2));
}

#[test]
fn closing_a_connection_tells_its_client_why() {
    let api = Api::start();
    let outbox = api.connect("guest", 1001);
    let path = "/connections/127.0.0.1:1001%20-%3E%20127.0.0.1:5672";
    assert_eq!(api.delete(path), done());
    let request = ureq::http::Request::delete(format!("{}/api{path}", api.base));
    let request = request.header("authorization", format!("Basic {}", BASE64_STANDARD.encode("guest:guest")));
    let request = request.header("x-reason", "maintenance").body(()).unwrap();
    assert_eq!(api.agent.run(request).unwrap().status(), 204);
    let mut events = Default::default();
    outbox.drain(&mut events);
    let close = |text: &str| Event::Close(text.to_owned());
    assert_eq!(events, [close("Closed via management plugin"), close("maintenance")]);
    assert_eq!(api.delete("/connections/nothing"), not_found());
}

#[test]
fn bad_requests_of_every_kind_are_answered() {
    let api = Api::start();
    assert_eq!(api.get("/nothing"), not_found());
    let response = api.ask_as("guest:guest", "PATCH", "/api/queues/%2F/q", "");
    assert_eq!(response.status(), 405);
    assert_eq!(api.ask_as("guest:guest", "PUT", "/api/queues/%2F/q", "[1").status(), 400);
    assert_eq!(
        api.put("/queues/%2F/q", json!({"arguments": {"x": "y".repeat(20_000)}})),
        bad(
            "Exceeded HTTP request body size limit: management.http.max_body_size is 10000 bytes; raise it, or send \
             less at a time (definitions may come in several files)"
        )
    );
    // However large: what is not read would reset the connection before the answer is.
    let large = format!(r#"{{"x": "{}"}}"#, "y".repeat(8 << 20));
    let mut response = api.ask_as("guest:guest", "POST", "/api/definitions", &large);
    let text = response.body_mut().read_to_string().unwrap();
    assert!(response.status() == 400 && text.contains("max_body_size is 10000 bytes"), "{text}");
    assert_eq!(api.ask_as("guest:guest", "GET", "/api/queues/%FF", "").status(), 400);
    assert_eq!(api.get("/queues?page=2&page_size=10").1["error"], json!("page_out_of_range"));
    assert_eq!(api.put(&format!("/queues/%2F/{}", "q".repeat(256)), json!({})).0, 400);
    let response = api.ask_as("", "OPTIONS", "/api/queues/%2F/q", "");
    assert_eq!(
        (response.status().as_u16(), &response.headers()["allow"]),
        (200, &"HEAD, GET, PUT, DELETE, OPTIONS".parse().unwrap())
    );
    assert_eq!(api.ask_as("guest:guest", "HEAD", "/api/overview", "").status(), 200);
    let mut home = api.ask_as("", "GET", "/", "");
    assert!(home.body_mut().read_to_string().unwrap().contains("<h1>Warren "));
}
