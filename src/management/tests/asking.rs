//! What tools ask for now and then, and what they get where there is nothing to be had.

use super::*;
use crate::auth::password;
use crate::broker::consume::Subscribe;
use crate::outbox::Wakes;

#[test]
fn a_slash_at_the_end_of_a_path_means_nothing() {
    let api = Api::start();
    assert_eq!(api.get("/healthchecks/node/"), api.get("/healthchecks/node"));
    assert_eq!(api.get("/whoami/"), api.get("/whoami"));
    assert_eq!(api.put("/queues/%2F/q/", json!({"durable": true})), created());
    assert_eq!(api.get("/queues/%2F/").1[0]["name"], "q");
    assert_eq!(api.get("/queues/%2F/nope/"), not_found());
}

#[test]
fn the_detailed_list_of_queues_is_the_list_of_queues() {
    let api = Api::start();
    api.put("/queues/%2F/q", json!({"durable": true}));
    assert_eq!(api.get("/queues/detailed").1[0]["name"], "q");
    assert_eq!(api.as_user("", "GET", "/queues/detailed", Value::Null).0, 401);
}

#[test]
fn a_queue_has_no_actions_and_says_so() {
    let api = Api::start();
    api.put("/queues/%2F/q", json!({"durable": true}));
    let act = |queue: &str, body| api.post(&format!("/queues/%2F/{queue}/actions"), body);
    assert_eq!(act("q", json!({"action": "sync"})), bad("unknown action: sync"));
    assert_eq!(act("q", json!({})), bad("[{key_missing,action}]"));
    assert_eq!(act("q", json!([])), bad("not_json"));
    assert_eq!(act("nope", json!({"action": "sync"})), not_found());
    api.exists("m", "management", true);
    assert_eq!(api.as_user("m:p", "POST", "/queues/%2F/q/actions", json!({"action": "sync"})), refused());
}

#[test]
fn the_parts_of_a_nodes_memory_make_up_its_total() {
    let api = Api::start();
    let node = api.broker.node.clone();
    let Got(status, shown) = api.get(&format!("/nodes/{node}/memory"));
    assert_eq!(status, 200);
    let memory = shown["memory"].as_object().unwrap();
    let parts: u64 = memory.values().filter_map(Value::as_u64).sum();
    let total = &memory["total"];
    assert_eq!(json!(parts), total["rss"]);
    assert!(memory["code"].as_u64() > Some(0) && total["allocated"].as_u64() > Some(0), "{memory:?}");
    assert_eq!(memory["strategy"], "rss");

    let Got(status, shown) = api.get(&format!("/nodes/{node}/memory/relative"));
    assert_eq!(status, 200);
    let percent: u64 = shown["memory"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert!((200..210).contains(&percent), "each is rounded up, and the total is one of them: {shown}");

    api.exists("m", "management", true);
    for path in ["memory", "memory/relative"] {
        assert_eq!(api.get(&format!("/nodes/elsewhere/{path}")), not_found());
        assert_eq!(api.as_user("m:p", "GET", &format!("/nodes/{node}/{path}"), Value::Null), refused());
    }
}

#[test]
fn messages_in_queues_are_a_part_of_the_memory() {
    let api = Api::start();
    let node = api.broker.node.clone();
    for (queue, kind) in [("c", "classic"), ("q", "quorum")] {
        let queue = format!("/queues/%2F/{queue}");
        api.put(&queue, json!({"durable": true, "arguments": {"x-queue-type": kind}}));
    }
    let publish = |queue: &str, payload: &str| {
        let body =
            json!({"routing_key": queue, "properties": {}, "payload": payload, "payload_encoding": "string"});
        assert_eq!(api.post("/exchanges/%2F/amq.default/publish", body).1["routed"], true);
    };
    publish("c", &"x".repeat(5_000));
    publish("q", &"x".repeat(2_000));
    let Got(_, shown) = api.get(&format!("/nodes/{node}/memory"));
    let classic = shown["memory"]["queue_procs"].as_u64().unwrap();
    let quorum = shown["memory"]["quorum_queue_procs"].as_u64().unwrap();
    assert!(classic >= 5_000 && (2_000..classic).contains(&quorum), "{shown}");
}

#[test]
fn a_connection_of_amqp_091_has_no_sessions() {
    let api = Api::start();
    api.connect("guest", 4001);
    let name = "127.0.0.1:4001%20-%3E%20127.0.0.1:5672";
    assert_eq!(api.get(&format!("/connections/{name}/sessions")), Got(200, json!([])));
    assert_eq!(api.get("/connections/nope/sessions"), not_found());
    api.exists("m", "management", true);
    assert_eq!(
        api.as_user("m:p", "GET", &format!("/connections/{name}/sessions"), Value::Null),
        refused(),
        "it is another user's"
    );
}

#[test]
fn a_vhost_runs_and_need_not_be_started() {
    let api = Api::start();
    let node = api.broker.node.clone();
    let start = |vhost: &str, node: &str| api.post(&format!("/vhosts/{vhost}/start/{node}"), Value::Null);
    assert_eq!(start("%2F", &node), done());
    assert_eq!(start("%2F", "b@c"), bad("Request to node b@c failed with nodedown"));
    let missing = format!("Request to node {node} failed with {{no_such_vhost,<<\"v\">>}}");
    assert_eq!(start("v", &node), bad(&missing));
    api.exists("m", "management", true);
    assert_eq!(api.as_user("m:p", "POST", &format!("/vhosts/%2F/start/{node}"), Value::Null), refused());
}

#[test]
fn what_is_not_there_has_no_bindings() {
    let api = Api::start();
    let none = || Got(200, json!([]));
    assert_eq!(api.get("/queues/%2F/nope/bindings"), none());
    for end in ["source", "destination"] {
        assert_eq!(api.get(&format!("/exchanges/%2F/nope/bindings/{end}")), none());
        assert_eq!(api.get(&format!("/exchanges/nope/x/bindings/{end}")), not_found());
    }
    assert_eq!(api.get("/queues/nope/q/bindings"), not_found());
}

#[test]
fn a_hash_without_the_name_of_its_algorithm_lets_its_user_in() {
    let api = Api::start();
    let hash = password::hash(password::Algorithm::Sha512, [1, 2, 3, 4], b"secret");
    assert_eq!(api.put("/users/u", json!({"password_hash": hash, "tags": "management"})), created());
    assert_eq!(api.get("/users/u").1["hashing_algorithm"], "rabbit_password_hashing_sha512");
    assert_eq!(api.as_user("u:secret", "GET", "/whoami", Value::Null).0, 200);
}

/// Publishes a message with that date.
fn publish(api: &Api, queue: &str, timestamp: Value) {
    let properties = if timestamp.is_null() { json!({}) } else { json!({ "timestamp": timestamp }) };
    let body =
        json!({"routing_key": queue, "properties": properties, "payload": "x", "payload_encoding": "string"});
    assert_eq!(api.post("/exchanges/%2F/amq.default/publish", body).1["routed"], true);
}

#[test]
fn a_queue_shows_the_date_of_the_message_that_comes_next() {
    let api = Api::start();
    api.put("/queues/%2F/q", json!({"durable": true, "arguments": {"x-max-priority": 2}}));
    let date = || api.get("/queues/%2F/q").1["head_message_timestamp"].clone();
    assert_eq!(date(), Value::Null);
    publish(&api, "q", json!(1_700_000_000));
    publish(&api, "q", json!(1_800_000_000));
    assert_eq!(date(), json!(1_700_000_000));
    let take = json!({"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"});
    api.post("/queues/%2F/q/get", take.clone());
    assert_eq!(date(), json!(1_800_000_000));
    api.post("/queues/%2F/q/get", take);
    publish(&api, "q", Value::Null);
    assert_eq!(date(), Value::Null);
}

#[test]
fn a_quorum_queue_has_its_one_replica_here_and_a_classic_one_none() {
    let api = Api::start();
    let here = json!([api.broker.node]);
    api.put("/queues/%2F/q", json!({"durable": true, "arguments": {"x-queue-type": "quorum"}}));
    api.put("/queues/%2F/c", json!({"durable": true}));
    let queue = api.get("/queues/%2F/q").1;
    assert_eq!([&queue["members"], &queue["online"], &json!([queue["leader"]])], [&here, &here, &here]);
    let queue = api.get("/queues/%2F/c").1;
    assert!(["members", "online", "leader"].iter().all(|field| queue.get(field).is_none()));
}

#[test]
fn logins_are_counted_by_protocol_and_source_until_somebody_begins_anew() {
    let api = Api::start();
    assert_eq!(api.as_user("guest:wrong", "GET", "/whoami", Value::Null).0, 401);
    let attempts = |succeeded: u64, failed: u64| json!({"protocol": "http", "auth_attempts": succeeded + failed, "auth_attempts_succeeded": succeeded, "auth_attempts_failed": failed});
    let Got(200, by_protocol) = api.get("/auth/attempts/warren@test") else { panic!("no list") };
    assert_eq!((&by_protocol[0]["protocol"], &by_protocol[1]), (&json!("amqp091"), &attempts(1, 1)));
    let Got(200, by_source) = api.get("/auth/attempts/warren@test/source") else { panic!("no list") };
    let mut expected = attempts(2, 1);
    (expected["username"], expected["remote_address"]) = (json!("guest"), json!("127.0.0.1"));
    assert_eq!(by_source, json!([expected]));
    assert_eq!(api.delete("/auth/attempts/warren@test"), done());
    assert_eq!(api.get("/auth/attempts/warren@test").1[1], attempts(1, 0), "this request's own");
    for path in ["/auth/attempts/other", "/auth/attempts/other/source"] {
        assert_eq!((api.get(path), api.delete(path)), (not_found(), not_found()));
    }
    api.exists("manager", "management", false);
    assert_eq!(api.as_user("manager:p", "GET", "/auth/attempts/warren@test", Value::Null), refused());
}

#[test]
fn a_node_says_what_it_has_built_in_and_what_it_uses() {
    let api = Api::start();
    let node = |api: &Api| api.get("/nodes").1[0].clone();
    let before = node(&api);
    let plugins = before["enabled_plugins"].as_array().unwrap();
    assert!(
        ["rabbitmq_management", "rabbitmq_delayed_message_exchange"]
            .iter()
            .all(|plugin| plugins.contains(&json!(plugin)))
    );
    for field in ["proc_used", "proc_total", "context_switches", "fd_used", "fd_total", "uptime"] {
        assert!(before[field].is_u64(), "{field}: {before}");
    }
    assert!(before["proc_used"].as_u64() > Some(1) && before["proc_total"].as_u64() > Some(1));
    let _outbox = api.connect("guest", 4001);
    api.put("/queues/%2F/q", json!({"durable": true}));
    let after = node(&api);
    assert_eq!((&before["sockets_used"], &after["sockets_used"]), (&json!(0), &json!(1)));
    assert_eq!((&before["queue_created"], &after["queue_created"]), (&json!(0), &json!(1)));
}

/// Adds a consumer of the queue `q` that says so.
fn consume(api: &Api, tag: &str, arguments: Value) -> Arc<Outbox> {
    let user = api.broker.log_in("guest", b"guest", true).unwrap();
    let outbox = api.connect("guest", 4001);
    let session = api.broker.enter(&user, &"/".into(), Some(outbox.connection)).unwrap();
    let subscribe = Subscribe {
        queue: "q".into(),
        tag: tag.into(),
        channel: ChannelId(1),
        outbox: Arc::clone(&outbox),
        no_ack: false,
        exclusive: false,
        prefetch: 1,
        credit: Arc::default(),
        arguments: crate::arguments::json::to_table(arguments.as_object().unwrap()).unwrap(),
    };
    api.broker.subscribe(&session, subscribe, &mut Wakes::default()).unwrap();
    outbox
}

#[test]
fn a_consumer_shows_how_long_it_may_take_and_a_queue_that_it_has_capacity() {
    let api = Api::start();
    api.put("/queues/%2F/q", json!({"durable": true, "arguments": {"x-consumer-timeout": 90_000}}));
    let timeout = |tag: &str| {
        let consumers = api.get("/consumers/%2F").1;
        let found = consumers.as_array().unwrap().iter().find(|consumer| consumer["consumer_tag"] == tag);
        found.unwrap()["consumer_timeout"].clone()
    };
    let capacity = || api.get("/queues/%2F/q").1["consumer_capacity"].clone();
    assert_eq!(capacity(), json!(0.0), "there is no consumer");
    let _quick = consume(&api, "quick", json!({"x-consumer-timeout": 60_000}));
    assert_eq!((timeout("quick"), capacity()), (json!(60_000), json!(1.0)));
    let _slow = consume(&api, "slow", json!({"x-consumer-timeout": 120_000}));
    assert_eq!(timeout("slow"), json!(90_000), "the queue allows no more");
    (0..3).for_each(|_| publish(&api, "q", Value::Null));
    assert_eq!(capacity(), json!(0.0), "each takes no more than one");
}
