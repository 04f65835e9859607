//! Permissions by routing key: set, shown, cleared, and what they allow.

use super::*;

fn of_guest(exchange: &str) -> Value {
    json!({"user": "guest", "vhost": "/", "exchange": exchange, "write": "^a", "read": ""})
}

fn body(exchange: &str) -> Value {
    json!({"exchange": exchange, "write": "^a", "read": ""})
}

#[test]
fn they_are_set_for_each_exchange_shown_and_cleared() {
    let api = Api::start();
    let path = "/topic-permissions/%2F/guest";
    assert_eq!(api.get("/topic-permissions"), Got(200, json!([])));
    assert_eq!(api.get(path), not_found(), "as in RabbitMQ, there is no empty list of a user in a vhost");
    assert_eq!(api.put(path, body("amq.topic")), created());
    assert_eq!(api.put(path, body("amq.topic")), done());
    assert_eq!(api.put(path, body("later")), created(), "the exchange need not be there");
    let both = || Got(200, json!([of_guest("amq.topic"), of_guest("later")]));
    for list in
        [path, "/topic-permissions", "/vhosts/%2F/topic-permissions", "/users/guest/topic-permissions"]
    {
        assert_eq!(api.get(list), both(), "{list}");
    }
    assert_eq!(api.get(&format!("{path}/later")), Got(200, json!([of_guest("later")])));
    assert_eq!(api.delete(&format!("{path}/later")), done());
    assert_eq!(api.delete(&format!("{path}/later")), not_found());
    assert_eq!(api.get(path), Got(200, json!([of_guest("amq.topic")])));
    assert_eq!(api.delete(path), done());
    assert_eq!(api.get(path), not_found());
    assert_eq!(api.put("/topic-permissions/nowhere/guest", body("x")), bad("vhost_or_user_not_found"));
    assert_eq!(api.put("/topic-permissions/%2F/nobody", body("x")), bad("vhost_or_user_not_found"));
    let wrong = json!({"exchange": "x", "write": "(", "read": ""});
    assert_eq!(api.put(path, wrong).0, 400);
}

#[test]
fn they_say_which_keys_a_user_may_publish_and_bind_with_at_topic_exchanges() {
    let api = Api::start();
    assert_eq!(api.put("/queues/%2F/q", json!({"durable": true})), created());
    for exchange in ["amq.topic", "amq.direct"] {
        let patterns = json!({"exchange": exchange, "write": "^a\\.", "read": "^{username}\\."});
        assert_eq!(api.put("/topic-permissions/%2F/guest", patterns), created());
    }
    let publish = |exchange: &str, key: &str, headers: Value| {
        let properties = json!({"headers": headers});
        let body = json!({"routing_key": key, "properties": properties, "payload": "", "payload_encoding": "string"});
        api.post(&format!("/exchanges/%2F/{exchange}/publish"), body).0
    };
    assert_eq!(publish("amq.topic", "a.b", json!({})), 200);
    assert_eq!(publish("amq.topic", "b.a", json!({})), 401);
    assert_eq!(publish("amq.topic", "a.b", json!({"CC": ["b.a"]})), 401, "each key counts");
    assert_eq!(publish("amq.topic", "a.b", json!({"BCC": ["b.a"]})), 401);
    assert_eq!(publish("amq.topic", "a.b", json!({"CC": ["a.c"]})), 200);
    assert_eq!(publish("amq.direct", "b.a", json!({})), 200, "it is no topic exchange");
    assert_eq!(publish("amq.headers", "b.a", json!({})), 200);
    let bind = |exchange: &str, key: &str| {
        api.post(&format!("/bindings/%2F/e/{exchange}/q/q"), json!({"routing_key": key, "arguments": {}})).0
    };
    assert_eq!(
        (bind("amq.topic", "guest.#"), bind("amq.topic", "a.#"), bind("amq.direct", "a")),
        (201, 401, 201)
    );
    assert_eq!(api.delete("/topic-permissions/%2F/guest"), done());
    assert_eq!(
        (publish("amq.topic", "b.a", json!({})), bind("amq.topic", "a.#")),
        (200, 201),
        "any key again"
    );
}

#[test]
fn they_go_with_their_user_and_vhost_and_come_with_definitions() {
    let api = Api::start();
    api.exists("u", "", true);
    assert_eq!(api.put("/vhosts/v", Value::Null), created());
    for path in ["/topic-permissions/%2F/u", "/topic-permissions/v/u", "/topic-permissions/v/guest"] {
        assert_eq!(api.put(path, body("x")), created());
    }
    let Got(200, file) = api.get("/definitions") else { panic!("no definitions") };
    assert_eq!(file["topic_permissions"].as_array().unwrap().len(), 3);
    assert_eq!(api.delete("/users/u"), done());
    assert_eq!(api.get("/topic-permissions").1.as_array().unwrap().len(), 1);
    assert_eq!(api.delete("/vhosts/v"), done());
    assert_eq!(api.get("/topic-permissions"), Got(200, json!([])));
    assert_eq!(api.post("/definitions", file.clone()), done());
    let Got(200, again) = api.get("/definitions") else { panic!("no definitions") };
    assert_eq!(again["topic_permissions"], file["topic_permissions"]);
    let wrong = json!({"topic_permissions": [{"user": "no", "vhost": "/", "exchange": "x", "write": "", "read": ""}]});
    assert_eq!(api.post("/definitions", wrong).0, 400);
}
