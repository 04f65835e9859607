//! Policies, parameters and limits.

use super::*;

fn error(code: u16, error: &str, reason: &str) -> (u16, Value) {
    (code, json!({"error": error, "reason": reason}))
}

fn exists() -> (u16, Value) {
    (200, json!({"name": "x"}))
}

#[test]
fn a_policy_is_set_with_what_it_says_and_cleared() {
    let set = [
        "set_policy",
        "p",
        "-dlq$",
        r#"{"max-length": 5}"#,
        "--priority",
        "-3",
        "--apply-to",
        "queues",
        "-p",
        "a/b",
    ];
    let ran = run_against(&set, &[(201, Value::Null)]);
    let body = r#"{"apply-to":"queues","definition":{"max-length":5},"pattern":"-dlq$","priority":-3}"#;
    assert_eq!(ran.requests, [format!("PUT /api/policies/a%2Fb/p {body}")]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "Set policy 'p' in vhost 'a/b'.\n"));
    let ran = run_against(&["set_operator_policy", "o", "", r#"{"expires": 5}"#], &[(204, Value::Null)]);
    let body = r#"{"apply-to":"all","definition":{"expires":5},"pattern":"","priority":0}"#;
    assert_eq!(ran.requests, [format!("PUT /api/operator-policies/%2F/o {body}")]);
    let ran = run_against(&["clear_operator_policy", "o"], &[(204, Value::Null)]);
    assert_eq!(ran.out, "Cleared operator policy 'o' in vhost '/'.\n");
}

#[test]
fn what_is_wrong_with_a_policy_is_one_line() {
    let set = ["set_policy", "p", "", r#"{"x": 1}"#];
    let reason = "Validation failed\n\n[{<<\"x\">>,1}] are not recognised policy settings\n";
    let ran = run_against(&set, &[error(400, "bad_request", reason)]);
    assert_eq!((ran.code, ran.errors.lines().count()), (65, 1));
    assert!(ran.errors.contains("Validation failed [{<<\"x\">>,1}] are not recognised"), "{}", ran.errors);
    let ran = run_against(&set, &[error(404, "not_found", "vhost_not_found")]);
    assert_eq!((ran.code, ran.errors.contains("vhost '/' does not exist")), (65, true));
    for (arguments, code, text) in [
        (&["set_policy", "p", "", "{"][..], 65, "definition '{' is no JSON"),
        (&["set_policy", "p", "", "{}", "--apply-to", "foo"], 64, "classic_queues"),
        (&["set_policy", "p", "", "{}", "--priority", "high"], 64, "'high'"),
    ] {
        let (got, _, errors) = run_on(1, arguments);
        assert_eq!((got, errors.contains(text)), (code, true), "{errors}");
    }
}

#[test]
fn policies_are_listed_in_rabbitmqctls_columns() {
    let row = json!({
        "vhost": "/", "name": "p", "pattern": "^q", "apply-to": "queues", "definition": {"max-length": 5}, "priority": 3
    });
    let ran = run_against(&["list_policies"], &[(200, json!([row]))]);
    let expected = "vhost  name  pattern  apply-to  definition        priority\n\
                    /      p     ^q       queues    {\"max-length\":5}  3\n";
    assert_eq!(ran.out, expected);
    let ran = run_against(&["list_operator_policies", "--format", "json"], &[(200, json!([row]))]);
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap(), json!([row]));
    assert!(ran.requests[0].starts_with("GET /api/operator-policies/%2F?"), "{}", ran.requests[0]);
    let ran = run_against(&["list_policies", "-p", "v"], &[not_found()]);
    assert_eq!((ran.code, ran.errors.contains("vhost 'v' does not exist")), (65, true));
}

#[test]
fn what_cannot_be_cleared_is_named() {
    for (arguments, named) in [
        (&["clear_policy", "p"][..], "policy 'p' does not exist in vhost '/'"),
        (&["clear_operator_policy", "p"], "operator policy 'p' does not exist in vhost '/'"),
        (&["clear_parameter", "c", "n"], "component 'c' has no parameter 'n' in vhost '/'"),
        (&["clear_vhost_limits"], "vhost '/' has no limits"),
    ] {
        let ran = run_against(arguments, &[not_found(), exists()]);
        assert_eq!((ran.code, ran.errors.contains(named)), (65, true), "{}", ran.errors);
        let ran = run_against(arguments, &[not_found(), not_found()]);
        assert_eq!((ran.code, ran.errors.contains("vhost '/' does not exist")), (65, true), "{}", ran.errors);
    }
    let ran = run_against(&["clear_global_parameter", "g"], &[not_found()]);
    assert_eq!((ran.code, ran.errors.contains("no global parameter 'g'")), (65, true), "{}", ran.errors);
}

#[test]
fn parameters_are_set_listed_and_cleared() {
    let ran = run_against(&["set_parameter", "shovel", "s", r#"{"a": 1}"#], &[(201, Value::Null)]);
    assert_eq!(ran.requests, [r#"PUT /api/parameters/shovel/%2F/s {"value":{"a":1}}"#]);
    let row = |vhost: &str| json!({"vhost": vhost, "component": "shovel", "name": "s", "value": {"a": 1}});
    let ran = run_against(&["list_parameters"], &[exists(), (200, json!([row("/"), row("other")]))]);
    assert_eq!(ran.out, "component  name  value\nshovel     s     {\"a\":1}\n");
    let ran = run_against(&["list_parameters", "-p", "v"], &[not_found()]);
    assert_eq!((ran.code, ran.errors.contains("vhost 'v' does not exist")), (65, true));
    let ran = run_against(&["set_global_parameter", "g", "-1"], &[(201, Value::Null)]);
    assert_eq!(ran.requests, [r#"PUT /api/global-parameters/g {"value":-1}"#]);
    let ran = run_against(&["list_global_parameters"], &[(200, json!([{"name": "g", "value": [1]}]))]);
    assert_eq!(ran.out, "name  value\ng     [1]\n");
    assert_eq!(run_against(&["clear_global_parameter", "g"], &[(204, Value::Null)]).code, 0);
}

#[test]
fn limits_are_set_listed_and_cleared() {
    let ran = run_against(&["set_vhost_limits", r#"{"max-queues": 5}"#], &[(201, Value::Null)]);
    assert_eq!(ran.requests, [r#"PUT /api/parameters/vhost-limits/%2F/limits {"value":{"max-queues":5}}"#]);
    let rows = json!([{"vhost": "/", "value": {"max-queues": 5}}]);
    let ran = run_against(&["list_vhost_limits"], &[(200, rows.clone())]);
    assert_eq!(ran.out, "vhost  limits\n/      {\"max-queues\":5}\n");
    assert!(ran.requests[0].starts_with("GET /api/vhost-limits/%2F?"), "{}", ran.requests[0]);
    let ran = run_against(&["list_vhost_limits", "--global"], &[(200, rows)]);
    assert!(ran.requests[0].starts_with("GET /api/vhost-limits?"), "{}", ran.requests[0]);
    let both = r#"{"max-connections": 1, "max-channels": 2}"#;
    let done = || (204, Value::Null);
    let ran = run_against(&["set_user_limits", "u", both], &[exists(), done(), done()]);
    let expected = [
        "GET /api/users/u",
        r#"PUT /api/user-limits/u/max-channels {"value":2}"#,
        r#"PUT /api/user-limits/u/max-connections {"value":1}"#,
    ];
    assert_eq!(ran.requests, expected);
    let ran = run_against(&["set_user_limits", "u", both], &[not_found()]);
    assert_eq!((ran.code, ran.errors.contains("user 'u' does not exist")), (67, true));
    let ran = run_against(&["clear_user_limits", "u", "all"], &[done(), done()]);
    assert_eq!(
        ran.requests,
        ["DELETE /api/user-limits/u/max-connections", "DELETE /api/user-limits/u/max-channels"]
    );
    let ran = run_against(&["clear_user_limits", "u", "max-channels"], &[not_found()]);
    assert_eq!(ran.code, 67);
    let rows = json!([{"user": "guest", "value": {"max-channels": 5}}]);
    let ran = run_against(&["list_user_limits"], &[(200, rows)]);
    assert_eq!(ran.out, "user   limits\nguest  {\"max-channels\":5}\n");
    assert!(ran.requests[0].starts_with("GET /api/user-limits/guest?"), "{}", ran.requests[0]);
}
