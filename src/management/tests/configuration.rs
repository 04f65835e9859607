//! The configuration over HTTP, and what the API does because of it.

use super::*;
use crate::config::rules::{DefaultLimits, DefaultPolicy, DefaultUser, Passwords, Rules, Validator};
use crate::config::{Http, Secret};

/// An API of a node with these rules.
fn api_with(rules: Rules) -> Api {
    let config = Config { rules, ..Config::default() };
    Api::start_with(Setup { configuration: config.into(), ..Setup::default() })
}

#[test]
fn a_new_vhost_begins_with_what_the_operator_configured() {
    let mut rules = Rules::default();
    let limits = |pattern: &str, max_connections, max_queues| DefaultLimits {
        pattern: pattern.into(),
        max_connections,
        max_queues,
    };
    rules.new_vhosts.limits.insert("1".into(), limits("^shop", Some(10), None));
    rules.new_vhosts.limits.insert("2".into(), limits("", Some(20), Some(30)));
    let policy = |pattern: &str| DefaultPolicy {
        vhost_pattern: pattern.into(),
        queue_pattern: "^q".into(),
        definition: json!({"max-length": 5}).as_object().unwrap().clone(),
        ..DefaultPolicy::default()
    };
    rules.new_vhosts.operator_policies.insert("short".into(), policy("^shop"));
    let user = DefaultUser {
        vhost_pattern: "^shop".into(),
        password: Some(Secret("p".into())),
        tags: vec!["monitoring".into()],
        read: ".*".into(),
        ..DefaultUser::default()
    };
    rules.new_vhosts.users.insert("reader".into(), user);
    let api = api_with(rules);
    assert_eq!(api.put("/vhosts/shop", Value::Null), created());
    assert_eq!(api.put("/vhosts/other", Value::Null), created());
    let limits = |vhost: &str| api.get(&format!("/vhost-limits/{vhost}")).1[0]["value"].clone();
    assert_eq!(limits("shop"), json!({"max-connections": 10, "max-queues": 30}));
    assert_eq!(limits("other"), json!({"max-connections": 20, "max-queues": 30}));
    assert_eq!(limits("%2F"), limits("other"), "the first vhost is a new one, too");
    let policies = api.get("/operator-policies/shop").1;
    assert_eq!(policies[0]["name"], "short");
    assert_eq!(
        (&policies[0]["pattern"], &policies[0]["definition"]),
        (&json!("^q"), &json!({"max-length": 5}))
    );
    assert_eq!(policies[0]["apply-to"], "queues");
    assert_eq!(api.get("/operator-policies/other").1, json!([]));
    let Got(status, permissions) = api.get("/permissions/shop/reader");
    assert_eq!((status, &permissions["read"], &permissions["write"]), (200, &json!(".*"), &json!("")));
    assert_eq!(api.as_user("reader:p", "GET", "/whoami", Value::Null).1["tags"], json!(["monitoring"]));
    // A user that is there keeps its password.
    assert_eq!(api.put("/users/reader", json!({"password": "mine", "tags": "management"})), done());
    assert_eq!(api.put("/vhosts/shop-2", Value::Null), created());
    assert_eq!(api.as_user("reader:mine", "GET", "/whoami", Value::Null).0, 200);
    assert_eq!(api.get("/permissions/shop-2/reader").0, 200);
    // A vhost that is there is not furnished again.
    assert_eq!(api.delete("/vhost-limits/shop/max-queues"), done());
    assert_eq!(api.put("/vhosts/shop", json!({"description": "d"})), done());
    assert_eq!(limits("shop"), json!({"max-connections": 10}));
}

#[test]
fn there_are_so_many_vhosts_and_no_more() {
    let mut rules = Rules::default();
    rules.limits.vhosts = Some(2);
    let api = api_with(rules);
    assert_eq!(api.put("/vhosts/a", Value::Null), created());
    let why = "cannot create vhost 'b': vhost limit of 2 is reached";
    assert_eq!(api.put("/vhosts/b", Value::Null), bad(why));
    assert_eq!(api.put("/vhosts/a", json!({"description": "d"})), done(), "what is there may be changed");
    assert_eq!(api.delete("/vhosts/a"), done());
    assert_eq!(api.put("/vhosts/b", Value::Null), created());
}

#[test]
fn passwords_are_as_the_operator_wants_them() {
    let passwords = Passwords { validator: Validator::Length, length_min: 8, ..Passwords::default() };
    let api = api_with(Rules { passwords, ..Rules::default() });
    let put = |password: &str| api.put("/users/u", json!({"password": password, "tags": ""}));
    assert_eq!(put("short"), bad("minimum required password length: 8"));
    assert_eq!(api.get("/users/u"), not_found());
    assert_eq!(put("long enough"), created());
    assert_eq!(
        api.put("/users/none", json!({"password_hash": "", "tags": ""})),
        created(),
        "no password at all"
    );
    let passwords = Passwords {
        validator: Validator::Pattern,
        pattern: "^[0-9]+$".into(),
        algorithm: "rabbit_password_hashing_sha512".into(),
        ..Passwords::default()
    };
    api.broker.set_rules(Rules { passwords, ..Rules::default() });
    assert_eq!(put("letters"), bad("provided password does not match the validator regular expression"));
    assert_eq!(put("123"), done());
    assert_eq!(api.get("/users/u").1["hashing_algorithm"], "rabbit_password_hashing_sha512");
    assert!(api.broker.log_in("u", b"123", true).is_ok());
}

#[test]
fn queues_and_vhosts_that_say_no_type_have_the_configured_one() {
    let rules = Rules { default_queue_type: Some("quorum".into()), ..Rules::default() };
    let api = api_with(rules);
    assert_eq!(api.get("/vhosts/%2F").1["default_queue_type"], "quorum");
    assert_eq!(api.get("/overview").1["default_queue_type"], "quorum");
    assert_eq!(api.put("/queues/%2F/q", json!({"durable": true})), created());
    assert_eq!(api.get("/queues/%2F/q").1["type"], "quorum");
    let classic = json!({"durable": true, "arguments": {"x-queue-type": "classic"}});
    assert_eq!(api.put("/queues/%2F/c", classic), created());
    assert_eq!(api.get("/queues/%2F/c").1["type"], "classic");
    // Also one that changes while the node runs.
    api.broker.set_rules(Rules::default());
    assert_eq!(api.put("/queues/%2F/d", json!({"durable": true})), created());
    assert_eq!(api.get("/queues/%2F/d").1["type"], "classic");
}

#[test]
fn pages_of_allowed_origins_may_ask_and_policies_are_sent() {
    let http = Http {
        cors_allow_origins: vec!["https://here.example".into()],
        cors_max_age_s: 60,
        csp: "default-src 'self'".into(),
        hsts: "max-age=10".into(),
        ..Http::default()
    };
    let config = Config { http, ..Config::default() };
    let api = Api::start_with(Setup { configuration: config.into(), ..Setup::default() });
    let ask = |method: &str, origin: &str| {
        let uri = format!("{}/api/overview", api.base);
        let request = ureq::http::Request::builder().method(method).uri(uri).header("origin", origin);
        let request = request.header("access-control-request-headers", "authorization").body(()).unwrap();
        let request = api.agent.configure_request(request).allow_non_standard_methods(true).build();
        api.agent.run(request).unwrap()
    };
    let header = |response: &ureq::http::Response<ureq::Body>, name: &str| {
        response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    let answer = ask("OPTIONS", "https://here.example");
    for (name, expected) in [
        ("access-control-allow-origin", "https://here.example"),
        ("access-control-allow-methods", "HEAD, GET, OPTIONS"),
        ("access-control-allow-headers", "authorization"),
        ("access-control-max-age", "60"),
        ("content-security-policy", "default-src 'self'"),
        ("strict-transport-security", "max-age=10"),
    ] {
        assert_eq!(header(&answer, name).as_deref(), Some(expected), "{name}");
    }
    let answer = ask("GET", "https://here.example");
    assert_eq!(header(&answer, "access-control-allow-origin").as_deref(), Some("https://here.example"));
    assert_eq!(header(&answer, "access-control-max-age"), None);
    let answer = ask("GET", "https://elsewhere.example");
    assert_eq!(header(&answer, "access-control-allow-origin"), None);
}

#[test]
fn everything_is_below_a_path_prefix() {
    let http = Http { path_prefix: "/rabbit/one".into(), ..Http::default() };
    let config = Config { http, ..Config::default() };
    let api = Api::start_with(Setup { configuration: config.into(), ..Setup::default() });
    assert_eq!(api.ask_as("guest:guest", "GET", "/rabbit/one/api/whoami", "").status(), 200);
    assert_eq!(api.ask_as("guest:guest", "GET", "/rabbit/one/api/vhosts/%2F", "").status(), 200);
    assert_eq!(api.ask_as("guest:guest", "GET", "/api/whoami", "").status(), 404);
}

#[test]
fn what_is_in_force_is_shown_to_administrators_without_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("warren.conf");
    std::fs::write(&file, "heartbeat = 30\ndefault_pass = hunter2\nssl_options.depth = 1\n").unwrap();
    let flags = Flags { config: Some(file.clone()), ..Flags::default() };
    let configuration = Configuration::load(&flags, []).unwrap();
    let api = Api::start_with(Setup { configuration, ..Setup::default() });
    let Got(status, effective) = api.get("/config/effective");
    let rows = effective["settings"].as_array().unwrap();
    let row = rows.iter().find(|row| row["key"] == "heartbeat").unwrap();
    assert_eq!((status, &row["value"], &row["live"]), (200, &json!("30"), &json!(true)));
    assert_eq!(row["source"], format!("{}:1", file.display()));
    assert_eq!(effective["notices"][0]["key"], "ssl_options.depth");
    assert!(!effective.to_string().contains("hunter2"));
    api.exists("watcher", "monitoring", true);
    assert_eq!(api.as_user("watcher:p", "GET", "/config/effective", Value::Null), refused());
    assert_eq!(api.as_user("watcher:p", "POST", "/config/reload", Value::Null), refused());
    assert_eq!(
        api.as_user("watcher:p", "PUT", "/config/effective/heartbeat", json!({"value": 1})),
        refused()
    );
}

#[test]
fn a_running_node_is_given_other_values_until_it_reads_its_configuration_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("warren.conf");
    std::fs::write(&file, "heartbeat = 30\nvm_memory_high_watermark.absolute = 1GB\n").unwrap();
    let flags = Flags { config: Some(file), ..Flags::default() };
    let configuration = Configuration::load(&flags, []).unwrap();
    let api = Api::start_with(Setup { configuration, ..Setup::default() });
    let followed = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let told = Arc::clone(&followed);
    api.node.config.follow(move |config| told.lock().push(config.heartbeat_s));
    let row = |key: &str| {
        let Got(_, effective) = api.get("/config/effective");
        let rows = effective["settings"].as_array().unwrap();
        let row = rows.iter().find(|row| row["key"] == key).unwrap();
        (row["value"].clone(), row["source"].clone())
    };
    assert_eq!(api.put("/config/effective/heartbeat", json!({"value": 15})), done());
    assert_eq!(row("heartbeat"), (json!("15"), json!("set at run time")));
    assert_eq!(
        api.put("/config/effective/vm_memory_high_watermark.relative", json!({"value": "0.5"})),
        done()
    );
    assert_eq!(row("vm_memory_high_watermark.absolute").0, Value::Null, "the relative one replaces it");
    let config = api.node.config.config();
    assert_eq!(
        (config.heartbeat_s, config.memory_high_watermark_relative, config.memory_high_watermark_absolute),
        (15, 0.5, None)
    );
    let Got(_, reloaded) = api.as_user("guest:guest", "POST", "/config/reload", Value::Null);
    let back = ["heartbeat", "vm_memory_high_watermark.absolute", "vm_memory_high_watermark.relative"];
    assert_eq!(reloaded["changed"], json!(back));
    assert_eq!(row("heartbeat").0, json!("30"), "the file counts again");
    assert_eq!(*followed.lock(), [15, 15, 30]);
}

#[test]
fn what_a_running_node_does_not_take_changes_nothing_and_says_why() {
    let api = Api::start();
    let put = |key: &str, value: Value| api.put(&format!("/config/effective/{key}"), json!({"value": value}));
    let before = api.get("/config/effective");
    for (key, value, why) in [
        ("heartbeat", json!("often"), "heartbeat: \"often\" is no integer from 0 to 65535"),
        (
            "data_dir",
            json!("/tmp"),
            "data_dir needs a restart: set it in the configuration and start the node again",
        ),
        ("heartbeat", json!([1]), "value must be a string, a number, true or false"),
    ] {
        assert_eq!(put(key, value), bad(why), "{key}");
    }
    let unknown = "unknown setting heartbeet; the nearest known one is heartbeat";
    assert_eq!(put("heartbeet", json!(1)), Got(404, json!({"error": "not_found", "reason": unknown})));
    assert_eq!(api.get("/config/effective"), before);
    let in_code = api_with(Rules::default());
    let why = "heartbeat cannot be set: this node was not started from a file, the environment or flags";
    assert_eq!(in_code.put("/config/effective/heartbeat", json!({"value": 1})), bad(why));
}

#[test]
fn a_node_that_was_configured_in_code_cannot_read_that_again() {
    let api = api_with(Rules::default());
    let why = "the configuration: this node was not started from a file, the environment or flags";
    assert_eq!(api.as_user("guest:guest", "POST", "/config/reload", Value::Null), bad(why));
}
