//! Versions, features, passwords, the cluster's name: what the operator asks the node itself.

use super::*;
use crate::auth::password;

#[test]
fn the_version_and_how_to_log_in_are_told_to_everybody() {
    let api = Api::start();
    let overview = api.get("/overview").1;
    for login in ["", "guest:guest", "guest:wrong"] {
        let got = |path: &str| api.as_user(login, "GET", path, Value::Null);
        assert_eq!(got("/version"), Got(200, overview["product_version"].clone()));
        assert_eq!(got("/auth"), Got(200, json!({"oauth_enabled": false})));
    }
}

#[test]
fn a_password_is_hashed_for_administrators_and_the_hash_lets_its_user_in() {
    let api = Api::start();
    let Got(status, hashed) = api.get("/auth/hash_password/s%2Fcret%20");
    let hash = hashed["ok"].as_str().unwrap();
    assert_eq!((status, &hashed), (200, &json!({"ok": hash})));
    assert!(password::verify(hash, password::DEFAULT_ALGORITHM, b"s/cret "));
    let user = json!({"password_hash": hash, "tags": "management"});
    assert_eq!(api.put("/users/u", user), created());
    assert_eq!(api.as_user("u:s/cret ", "GET", "/whoami", Value::Null).0, 200);
    assert_ne!(api.get("/auth/hash_password/s%2Fcret%20").1["ok"], json!(hash), "another salt");
    assert_eq!(api.as_user("u:s/cret ", "GET", "/auth/hash_password/p", Value::Null), refused());
    assert_eq!(api.as_user("", "GET", "/auth/hash_password/p", Value::Null).0, 401);
    assert_eq!(api.get("/auth/hash_password/").0, 405, "a password of no letters goes into a body");
}

#[test]
fn a_password_in_a_body_is_hashed_as_one_in_the_path_is() {
    let api = Api::start();
    let hash_of = |body| api.post("/auth/hash_password", body);
    for plain in ["s/cret", "ü"] {
        let Got(status, hashed) = hash_of(json!({ "password": plain }));
        let hash = hashed["ok"].as_str().unwrap();
        assert_eq!(status, 200);
        assert!(password::verify(hash, password::DEFAULT_ALGORITHM, plain.as_bytes()));
    }
    assert_eq!(hash_of(json!({})), bad("[{key_missing,password}]"));
    assert_eq!(hash_of(json!({"password": 5})), bad("password must be a string"));
    api.exists("m", "management", true);
    assert_eq!(api.as_user("m:p", "POST", "/auth/hash_password", json!({"password": "x"})), refused());
}

#[test]
fn feature_flags_are_on_and_those_that_there_are_may_be_enabled() {
    let api = Api::start();
    api.exists("manager", "management", false);
    let Got(status, flags) = api.as_user("manager:p", "GET", "/feature-flags", Value::Null);
    let names: Vec<&str> =
        flags.as_array().unwrap().iter().map(|flag| flag["name"].as_str().unwrap()).collect();
    assert_eq!(status, 200);
    for expected in ["quorum_queue", "user_limits", "detailed_queues_endpoint", "rabbitmq_4.0.0"] {
        assert!(names.contains(&expected), "{expected}: {names:?}");
    }
    assert_eq!(
        api.get("/feature-flags?page=1&name=quorum").1["items"],
        json!([{
            "name": "quorum_queue", "desc": "Queues of type `quorum`", "doc_url": "", "state": "enabled",
            "stability": "required", "provided_by": "warren"
        }])
    );
    assert_eq!(api.put("/feature-flags/quorum_queue/enable", json!({"name": "quorum_queue"})), done());
    assert_eq!(api.put("/feature-flags/khepri_db/enable", json!({})), bad("unsupported"));
    let enable = |login: &str| api.as_user(login, "PUT", "/feature-flags/quorum_queue/enable", Value::Null);
    assert_eq!((enable("manager:p"), enable("").0), (refused(), 401));
    assert_eq!(api.as_user("", "GET", "/feature-flags", Value::Null).0, 401);
}

#[test]
fn deprecated_features_are_listed_and_told_apart_by_who_relies_on_them() {
    let api = Api::start();
    api.exists("manager", "management", false);
    let names = |path: &str| {
        let Got(status, rows) = api.as_user("manager:p", "GET", path, Value::Null);
        let name = |row: &Value| row["name"].as_str().unwrap().to_owned();
        (status, rows.as_array().unwrap().iter().map(name).collect::<Vec<_>>())
    };
    let (global, transient) = ("global_qos".to_owned(), "transient_nonexcl_queues".to_owned());
    let [mirroring, ram] = ["classic_queue_mirroring", "ram_node_type"].map(str::to_owned);
    assert_eq!(names("/deprecated-features"), (200, vec![mirroring, global.clone(), ram, transient.clone()]));
    assert_eq!(names("/deprecated-features/used"), (200, vec![]));
    assert_eq!(api.put("/queues/%2F/kept", json!({"durable": true})), created());
    let _outbox = api.connect("guest", 1);
    assert_eq!(names("/deprecated-features/used"), (200, vec![]));
    assert_eq!(api.put("/queues/%2F/q", json!({"durable": false})), created());
    assert_eq!(names("/deprecated-features/used"), (200, vec![transient.clone()]));
    for connection in api.broker.connections.all() {
        connection.channels.lock()[0].global_prefetch = 5;
    }
    assert_eq!(names("/deprecated-features/used"), (200, vec![global.clone(), transient]));
    assert_eq!(api.delete("/queues/%2F/q"), done());
    assert_eq!(names("/deprecated-features/used"), (200, vec![global]));
    assert_eq!(
        api.get("/deprecated-features?page=1&name=ram").1["items"][0]["deprecation_phase"],
        json!("removed")
    );
    assert_eq!(
        api.get("/deprecated-features").1[3],
        json!({
            "name": "transient_nonexcl_queues", "desc": "Queues that are neither durable nor exclusive",
            "doc_url": "", "deprecation_phase": "permitted_by_default", "provided_by": "warren"
        })
    );
    for path in ["/deprecated-features", "/deprecated-features/used"] {
        assert_eq!(api.as_user("", "GET", path, Value::Null).0, 401);
    }
}

#[test]
fn queues_have_nowhere_to_move_when_an_administrator_asks_for_it() {
    let api = Api::start();
    api.exists("monitor", "monitoring", true);
    assert_eq!(api.post("/rebalance/queues", Value::Null), done());
    assert_eq!(api.as_user("monitor:p", "POST", "/rebalance/queues", Value::Null), refused());
    assert_eq!(api.as_user("", "POST", "/rebalance/queues", Value::Null).0, 401);
}

#[test]
fn an_administrator_names_the_cluster() {
    let api = Api::start();
    api.exists("maker", "policymaker,monitoring", true);
    let name = || (api.get("/cluster-name"), api.get("/overview").1["cluster_name"].clone());
    let named = |name: &str| (Got(200, json!({"name": name})), json!(name));
    assert_eq!(name(), named("warren@test"));
    assert_eq!(api.put("/cluster-name", json!({})), bad("[{key_missing,name}]"));
    assert_eq!(api.put("/cluster-name", json!({"name": 5})), bad("name must be a string"));
    assert_eq!(api.put("/cluster-name", json!({"name": ""})), bad("cluster name must not be empty"));
    assert_eq!(api.put("/cluster-name", json!({"name": "n".repeat(256)})).0, 400);
    assert_eq!(api.as_user("maker:p", "PUT", "/cluster-name", json!({"name": "x"})), refused());
    assert_eq!(name(), named("warren@test"));
    assert_eq!(api.put("/cluster-name", json!({"name": "rabbits"})), done());
    assert_eq!(name(), named("rabbits"));
    assert_eq!(
        api.get("/global-parameters"),
        Got(200, json!([{"name": "cluster_name", "value": "rabbits"}]))
    );
    // What is no name leaves the configured one.
    for value in [json!(5), json!(""), json!("n".repeat(256))] {
        assert_eq!(api.put("/global-parameters/cluster_name", json!({"value": value})), done());
        assert_eq!(name(), named("warren@test"));
    }
    assert_eq!(api.delete("/global-parameters/cluster_name"), done());
    assert_eq!(name(), named("warren@test"));
}

#[test]
fn only_an_administrator_drains_and_revives_the_node() {
    let api = Api::start();
    api.exists("monitor", "monitoring", true);
    for path in ["/nodes/warren@test/drain", "/nodes/warren@test/revive"] {
        assert_eq!(api.as_user("monitor:p", "POST", path, Value::Null), refused(), "{path}");
        assert_eq!(api.as_user("", "POST", path, Value::Null).0, 401, "{path}");
    }
    assert_eq!(api.post("/nodes/other@test/drain", Value::Null).0, 404);
    assert_eq!(api.get("/nodes").1[0]["being_drained"], json!(false));
    assert_eq!(api.post("/nodes/warren@test/drain", Value::Null), done());
    assert_eq!(api.get("/nodes").1[0]["being_drained"], json!(true));
    // A client that was let in just before, and is registered only now.
    let outbox = api.connect("guest", 4001);
    let mut events = Default::default();
    outbox.drain(&mut events);
    let why = "broker forced connection closure with reason 'Node was put into maintenance mode'";
    assert_eq!(events, [Event::Close(why.into())]);
}
