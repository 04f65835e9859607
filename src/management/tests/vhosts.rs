//! Vhosts that are protected from deletion.

use super::*;

fn protected(name: &str) -> Got {
    let reason = format!("Refusing to delete virtual host '{name}' because it is protected from deletion");
    Got(412, json!({"error": "precondition_failed", "reason": reason}))
}

/// Whether a vhost shows that it is protected, in both places.
fn shown(api: &Api, vhost: &str) -> (Value, Value) {
    let Got(status, shown) = api.get(&format!("/vhosts/{vhost}"));
    assert_eq!(status, 200);
    (shown["protected_from_deletion"].clone(), shown["metadata"]["protected_from_deletion"].clone())
}

#[test]
fn a_protected_vhost_is_not_deleted_until_its_protection_is() {
    let api = Api::start();
    assert_eq!(api.put("/vhosts/a%2Fb", json!({"description": "d"})), created());
    assert_eq!(api.put("/queues/a%2Fb/q", json!({"durable": true})), created());
    assert_eq!(shown(&api, "a%2Fb"), (json!(false), json!(false)));
    let path = "/vhosts/a%2Fb/deletion/protection";
    for _ in 0..2 {
        assert_eq!(api.post(path, Value::Null), done());
        assert_eq!(api.delete("/vhosts/a%2Fb"), protected("a/b"));
    }
    assert_eq!(shown(&api, "a%2Fb"), (json!(true), json!(true)));
    // All else stays as it was.
    assert_eq!(api.get("/vhosts/a%2Fb?columns=description"), Got(200, json!({"description": "d"})));
    assert_eq!(api.get("/queues/a%2Fb?columns=name"), Got(200, json!([{"name": "q"}])));
    for _ in 0..2 {
        assert_eq!(api.delete(path), done());
    }
    assert_eq!(shown(&api, "a%2Fb"), (json!(false), json!(false)));
    assert_eq!(api.delete("/vhosts/a%2Fb"), done());
}

#[test]
fn a_vhost_is_put_with_its_protection_and_keeps_it_unless_told_otherwise() {
    let api = Api::start();
    let put = |body: Value| api.put("/vhosts/v", body);
    assert_eq!(
        put(json!({"protected_from_deletion": "yes"})),
        bad("protected_from_deletion must be true or false")
    );
    assert_eq!(put(json!({"protected_from_deletion": true})), created());
    assert_eq!(put(json!({"description": "d", "tracing": true})), done());
    assert_eq!(api.delete("/vhosts/v"), protected("v"));
    assert_eq!(put(json!({"protected_from_deletion": false})), done());
    assert_eq!(api.delete("/vhosts/v"), done());
}

#[test]
fn protection_is_for_administrators_and_for_vhosts_that_are_there() {
    let api = Api::start();
    api.exists("maker", "policymaker,monitoring", true);
    for method in ["POST", "DELETE"] {
        assert_eq!(api.as_user("maker:p", method, "/vhosts/%2F/deletion/protection", Value::Null), refused());
        assert_eq!(api.as_user("", method, "/vhosts/%2F/deletion/protection", Value::Null).0, 401);
    }
    let reason = "Cannot enable deletion protection of virtual host 'v' because it does not exist";
    assert_eq!(
        api.post("/vhosts/v/deletion/protection", Value::Null),
        Got(404, json!({"error": "not_found", "reason": reason}))
    );
    assert_eq!(api.delete("/vhosts/v/deletion/protection"), not_found());
    assert_eq!(api.get("/vhosts/v"), not_found(), "asking for protection makes no vhost");
}
