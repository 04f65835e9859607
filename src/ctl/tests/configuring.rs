//! Settings of a running broker, what it uses, and the report.

use super::*;

fn done() -> (u16, Value) {
    (204, Value::Null)
}

fn effective() -> (u16, Value) {
    let row = |key: &str, value: Value| {
        json!({
            "key": key, "value": value, "source": "default", "unit": "u", "default": "", "live": true, "meaning": "m"
        })
    };
    let settings = [
        row("opentelemetry.otlp.endpoint", json!("http://u:secret@h")),
        row("heartbeat", json!("60")),
        row("log.console.level", json!("error")),
        row("log.file.level", Value::Null),
    ];
    (200, json!({"file": null, "notices": [], "settings": settings}))
}

#[test]
fn the_environment_is_the_settings_with_their_sources() {
    let ran = run_against(&["environment"], &[effective()]);
    assert_eq!(ran.requests, ["GET /api/config/effective"]);
    assert_eq!(
        ran.out,
        "key                          value              source\n\
         opentelemetry.otlp.endpoint  http://u:secret@h  default\n\
         heartbeat                    60                 default\n\
         log.console.level            error              default\n\
         log.file.level                                  default\n"
    );
    let ran = run_against(&["environment", "key", "unit", "-s"], &[effective()]);
    assert!(ran.out.contains("\nheartbeat                    u\n"), "{}", ran.out);
    let ran = run_against(&["environment", "kye"], &[effective()]);
    assert_eq!(
        (ran.code, ran.errors.contains("unknown column 'kye'; there are: key value")),
        (64, true),
        "{}",
        ran.errors
    );
}

#[test]
fn limits_are_set_as_parts_and_as_sizes() {
    for (line, key, value) in [
        (&["set_vm_memory_high_watermark", "0.5"][..], "vm_memory_high_watermark.relative", "0.5"),
        (&["set_vm_memory_high_watermark", "absolute", "2GB"], "vm_memory_high_watermark.absolute", "2GB"),
        (&["set_vm_memory_high_watermark", "0"], "vm_memory_high_watermark.absolute", "0"),
        (&["set_disk_free_limit", "500MiB"], "disk_free_limit.absolute", "500MiB"),
        (&["set_disk_free_limit", "mem_relative", "1.5"], "disk_free_limit.relative", "1.5"),
    ] {
        let ran = run_against(line, &[done()]);
        assert_eq!(
            ran.requests,
            [format!(r#"PUT /api/config/effective/{key} {{"value":"{value}"}}"#)],
            "{line:?}"
        );
        assert_eq!(
            (ran.code, ran.out),
            (0, format!("{key} is {value} until the broker starts again or reads its configuration.\n"))
        );
    }
    for line in [
        &["set_vm_memory_high_watermark", "absolute"][..],
        &["set_vm_memory_high_watermark", "0.5", "1"],
        &["set_disk_free_limit", "mem_relative"],
        &["set_disk_free_limit", "1GB", "2"],
    ] {
        let (code, _, errors) = run_on(1, line);
        assert_eq!((code, errors.contains("Error: say a ")), (64, true), "{errors}");
    }
    let reason = "vm_memory_high_watermark.relative: \"7\" is no number above 0 and up to 1";
    let refused = (400, json!({"error": "bad_request", "reason": reason}));
    let ran = run_against(&["set_vm_memory_high_watermark", "7"], &[refused]);
    assert_eq!((ran.code, ran.errors), (65, format!("Error: {reason}\n")));
}

#[test]
fn the_log_level_is_that_of_the_outputs_that_have_their_own_too() {
    let ran = run_against(&["set_log_level", "debug"], &[done(), effective(), done()]);
    assert_eq!(
        ran.requests,
        [
            r#"PUT /api/config/effective/log.level {"value":"debug"}"#,
            "GET /api/config/effective",
            r#"PUT /api/config/effective/log.console.level {"value":"debug"}"#,
        ]
    );
    assert_eq!((ran.code, ran.errors.as_str()), (0, ""));
}

#[test]
fn what_takes_memory_is_listed_the_most_first() {
    let overview = || (200, json!({"node": "n@h"}));
    let memory = || {
        let total = json!({"erlang": 3, "rss": 3_000_000, "allocated": 3});
        (200, json!({"memory": {"a": 500_000, "b": 2_000_000, "none": 0, "strategy": "rss", "total": total}}))
    };
    let ran = run_against(&["memory_breakdown"], &[overview(), memory()]);
    assert_eq!(ran.requests[1], "GET /api/nodes/n%40h/memory");
    assert_eq!(ran.out, "part  memory     percent\nb     1.9 MiB    66.6\na     488.3 KiB  16.6\n");
    let ran = run_against(&["memory_breakdown", "--unit", "MB", "-s"], &[overview(), memory()]);
    assert_eq!(ran.out, "b  2.0000 mb  66.6\na  0.5000 mb  16.6\n");
    let ran = run_against(&["memory_breakdown", "-f", "tsv", "-s"], &[overview(), memory()]);
    assert_eq!(ran.out, "b\t2000000\t66.6\na\t500000\t16.6\n");
    let ran = run_against(&["memory_breakdown", "--formatter", "json"], &[overview(), memory()]);
    let parts: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(parts["b"], json!({"bytes": 2_000_000, "percentage": 66.6}));
    let node = (200, json!({"mem_used": 1_500_000}));
    let ran = run_against(&["status", "--unit", "mb"], &[overview(), node]);
    assert!(ran.out.contains("Memory used  1.5000 mb\n"), "{}", ran.out);
}

#[test]
fn logins_are_listed_and_counted_anew() {
    let overview = || (200, json!({"node": "n"}));
    let attempt = json!({
        "protocol": "amqp091", "username": "u", "remote_address": "::1", "auth_attempts": 3,
        "auth_attempts_succeeded": 2, "auth_attempts_failed": 1
    });
    let ran = run_against(&["list_node_auth_attempt_stats", "-s"], &[overview(), (200, json!([attempt]))]);
    assert_eq!(
        (ran.requests[1].as_str(), ran.out.as_str()),
        ("GET /api/auth/attempts/n", "amqp091  3  2  1\n")
    );
    let by_source = ["list_node_auth_attempts", "--by-source", "-s"];
    let ran = run_against(&by_source, &[overview(), (200, json!([attempt]))]);
    assert_eq!(
        (ran.requests[1].as_str(), ran.out.as_str()),
        ("GET /api/auth/attempts/n/source", "amqp091  u  ::1  3  2  1\n")
    );
    let ran = run_against(&["reset_node_auth_attempt_metrics"], &[overview(), done()]);
    assert_eq!(
        (ran.requests[1].as_str(), ran.out.as_str()),
        ("DELETE /api/auth/attempts/n", "Logins are counted anew.\n")
    );
}

#[test]
fn a_check_of_leaders_is_of_a_vhost_or_of_all() {
    const NAME: &str = "check_for_quorum_queues_without_an_elected_leader";
    let all_is_well = || (200, json!({"status": "ok"}));
    let checks = "GET /api/health/checks/quorum-queues-without-elected-leaders";
    let ran = run_against(&[NAME, "-p", "v", "^q"], &[all_is_well()]);
    assert_eq!(ran.requests, [format!("{checks}/vhost/v/pattern/%5Eq")]);
    let ran = run_against(&[NAME, "--across-all-vhosts", ".*"], &[all_is_well()]);
    assert_eq!(ran.requests, [format!("{checks}/all-vhosts/pattern/.%2A")]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "All such queues have a leader.\n"));
}

#[test]
fn a_broker_that_answers_is_not_starting() {
    let overview = || (200, json!({"node": "n"}));
    assert_eq!(
        run_against(&["is_booting"], &[overview()]).out,
        "The broker is not starting: it has started.\n"
    );
    assert_eq!(run_against(&["is_booting", "-f", "json"], &[overview()]).out, "{\"result\":false}\n");
}

/// Status, the settings, and then an answer for every list: 16 that are empty, and the parameters.
fn reported() -> Vec<(u16, Value)> {
    let mut answers = vec![
        (200, json!({"node": "n", "product_name": "Warren"})),
        (401, json!({"error": "not_authorised", "reason": "Access refused."})),
        effective(),
    ];
    answers.extend(vec![(200, json!([])); 17]);
    let upstream = json!({"uri": "amqp://u:secret@h"});
    answers[16] =
        (200, json!([{"vhost": "/", "component": "federation-upstream", "name": "x", "value": upstream}]));
    answers
}

#[test]
fn a_report_has_everything_but_passwords() {
    let ran = run_against(&["report"], &reported());
    assert_eq!((ran.code, ran.errors.as_str()), (0, ""));
    for text in ["## status", "Product  Warren", "## environment", "heartbeat ", "## queues", "## policies"] {
        assert!(ran.out.contains(text), "{text}\n{}", ran.out);
    }
    assert!(ran.out.contains(r#"{"uri":"amqp://u:[redacted]@h"}"#), "{}", ran.out);
    assert!(!ran.out.contains("secret"), "{}", ran.out);
    assert_eq!(ran.requests.len(), 20);
    let queues = ran.requests.iter().find(|request| request.starts_with("GET /api/queues?"));
    assert!(queues.unwrap().contains("messages_ready"));
}

#[test]
fn a_report_for_scripts_is_one_object_and_says_what_it_leaves_out() {
    let mut answers = reported();
    answers[2] = (401, json!({"error": "not_authorised", "reason": "Access refused."}));
    let ran = run_against(&["report", "--format", "json"], &answers);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["status"]["product_name"], "Warren");
    assert!(report["environment"].as_str().unwrap().starts_with("left out: user 'guest' may not do this"));
    assert_eq!((&report["queues"], &report["deprecated_features_in_use"]), (&json!([]), &json!([])));
    answers[3] = (500, Value::Null);
    let ran = run_against(&["report"], &answers);
    assert_eq!(ran.code, 70, "a broker that fails is no report");
}
