//! Every command, when the broker is down, lets nobody in, refuses, or does not have what is meant.

use super::*;

/// A command line, and the exit code when nothing of what it names is there.
type Case = (&'static [&'static str], u8);

/// One line at least of every command that asks the broker.
const CASES: &[Case] = &[
    (&["add_vhost", "v"], 65),
    (&["delete_vhost", "v"], 65),
    (&["enable_vhost_deletion_protection", "v"], 65),
    (&["disable_vhost_deletion_protection", "v"], 65),
    (&["update_vhost_metadata", "v", "--description", "d"], 65),
    (&["set_vhost_tags", "v", "t"], 65),
    (&["list_vhosts"], 65),
    (&["trace_on"], 65),
    (&["trace_off"], 65),
    (&["drain"], 65),
    (&["revive"], 65),
    (&["add_user", "u", "p"], 65),
    (&["delete_user", "u"], 67),
    (&["change_password", "u", "p"], 67),
    (&["clear_password", "u"], 67),
    (&["hash_password", "p"], 65),
    (&["authenticate_user", "u", "p"], 65),
    (&["set_user_tags", "u", "t"], 67),
    (&["list_users"], 65),
    (&["set_permissions", "u", "", "", ""], 67),
    (&["clear_permissions", "u"], 67),
    (&["list_permissions"], 65),
    (&["list_user_permissions", "u"], 67),
    (&["set_topic_permissions", "u", "x", "", ""], 67),
    (&["clear_topic_permissions", "u"], 67),
    (&["list_topic_permissions"], 65),
    (&["list_user_topic_permissions", "u"], 67),
    (&["set_policy", "p", "", "{}"], 65),
    (&["clear_policy", "p"], 65),
    (&["list_policies"], 65),
    (&["set_operator_policy", "p", "", "{}"], 65),
    (&["clear_operator_policy", "p"], 65),
    (&["list_operator_policies"], 65),
    (&["set_parameter", "c", "n", "1"], 65),
    (&["clear_parameter", "c", "n"], 65),
    (&["list_parameters"], 65),
    (&["set_global_parameter", "n", "1"], 65),
    (&["clear_global_parameter", "n"], 65),
    (&["list_global_parameters"], 65),
    (&["set_vhost_limits", "{}"], 65),
    (&["clear_vhost_limits"], 65),
    (&["list_vhost_limits"], 65),
    (&["set_user_limits", "u", "{}"], 67),
    (&["clear_user_limits", "u", "all"], 67),
    (&["list_user_limits"], 67),
    (&["export_definitions", "-"], 65),
    (&["export", "--stdout"], 65),
    (&["definitions", "export_from_vhost", "--stdout"], 65),
    (&["list_queues"], 65),
    (&["list_unresponsive_queues"], 65),
    (&["delete_queue", "q"], 65),
    (&["purge_queue", "q"], 65),
    (&["quorum_status", "q"], 65),
    (&["list_exchanges"], 65),
    (&["list_bindings"], 65),
    (&["list_connections"], 65),
    (&["close_connection", "c", "x"], 65),
    (&["close_all_connections", "x"], 65),
    (&["close_all_user_connections", "u", "x"], 65),
    (&["list_channels"], 65),
    (&["list_consumers"], 65),
    (&["status"], 65),
    (&["report"], 65),
    (&["environment"], 65),
    (&["set_log_level", "debug"], 65),
    (&["set_vm_memory_high_watermark", "0.5"], 65),
    (&["set_disk_free_limit", "1GB"], 65),
    (&["memory_breakdown"], 65),
    (&["list_node_auth_attempt_stats"], 65),
    (&["reset_node_auth_attempt_metrics"], 65),
    (&["is_booting"], 65),
    (&["wait", "--timeout", "1"], 65),
    (&["check_for_quorum_queues_without_an_elected_leader", "."], 65),
    (&["ping"], 65),
    (&["cluster_status"], 65),
    (&["set_cluster_name", "n"], 65),
    (&["listeners"], 65),
    (&["alarms"], 65),
    (&["server_version"], 65),
    (&["await_startup", "--timeout", "1"], 65),
    (&["await_online_nodes", "1", "--timeout", "1"], 65),
    (&["check_port_connectivity"], 65),
    (&["list_feature_flags"], 65),
    (&["enable_feature_flag", "f"], 65),
    (&["list_deprecated_features"], 65),
    (&["check_alarms"], 65),
    (&["check_local_alarms"], 65),
    (&["check_running"], 65),
    (&["is_running"], 65),
    (&["node_health_check"], 65),
    (&["check_port_listener", "1"], 65),
    (&["check_protocol_listener", "p"], 65),
    (&["check_virtual_hosts"], 65),
    (&["check_certificate_expiration"], 65),
    (&["check_if_node_is_quorum_critical"], 65),
    (&["check_if_metadata_store_is_initialized"], 65),
    (&["check_if_metadata_store_is_initialized_with_data"], 65),
    (&["check_if_any_deprecated_features_are_used"], 65),
    (&["health_check", "cluster_wide_alarms"], 65),
    (&["top", "--once"], 65),
    (&["publish", "payload=p"], 65),
    (&["get", "queue=q"], 65),
    (&["declare", "queue", "name=q"], 65),
    (&["declare", "exchange", "name=x"], 65),
    (&["declare", "binding", "source=x", "destination=q"], 65),
    (&["declare", "vhost", "name=v"], 65),
    (&["declare", "user", "name=u"], 65),
    (&["declare", "permissions", "user=u", "configure=", "write=", "read="], 65),
    (&["declare", "policy", "name=p", "pattern=", "definition={}"], 65),
    (&["declare", "operator_policy", "name=p", "pattern=", "definition={}"], 65),
    (&["declare", "parameter", "component=c", "name=n", "value=1"], 65),
    (&["declare", "global_parameter", "name=n", "value=1"], 65),
    (&["declare", "vhost_limit", "name=max-queues", "value=1"], 65),
    (&["declare", "user_limit", "user=u", "name=max-channels", "value=1"], 67),
    (&["delete", "queue", "name=q"], 65),
    (&["delete", "exchange", "name=x"], 65),
    (&["delete", "binding", "source=x", "destination=q"], 65),
    (&["delete", "vhost", "name=v"], 65),
    (&["delete", "user", "name=u"], 67),
    (&["delete", "permissions", "user=u"], 65),
    (&["delete", "policy", "name=p"], 65),
    (&["delete", "operator_policy", "name=p"], 65),
    (&["delete", "parameter", "component=c", "name=n"], 65),
    (&["delete", "global_parameter", "name=n"], 65),
    (&["delete", "vhost_limit", "name=max-queues"], 65),
    (&["delete", "user_limit", "user=u", "name=max-channels"], 67),
    (&["list", "queues"], 65),
    (&["list", "user_connections", "--username", "u"], 67),
    (&["list", "user_limits", "--user", "u"], 67),
    (&["list", "parameters", "--component", "c"], 65),
    (&["list", "queues", "--page", "2"], 65),
    (&["queues", "delete_multiple", "--name-pattern", ".", "--approve"], 65),
    (&["vhosts", "delete_multiple", "--name-pattern", ".", "--dry-run"], 65),
    (&["vhosts", "enable_deletion_protection", "--name", "v"], 65),
    (&["feature_flags", "enable_all"], 65),
    (&["policies", "patch", "--name", "p", "--definition", "{}"], 65),
    (&["policies", "list_conflicting"], 65),
    (&["operator_policies", "list_in"], 65),
    (&["policies", "declare_blanket", "--name", "p", "--apply-to", "all", "--definition", "{}"], 65),
    (&["show", "memory_breakdown_in_bytes", "--node", "n"], 65),
    (&["nodes", "memory_breakdown_in_percent"], 65),
    (&["auth_attempts", "stats"], 65),
    (&["show", "overview"], 65),
    (&["show", "queue", "name=q"], 65),
    (&["purge", "queue", "name=q"], 65),
    (&["close", "connection", "name=c"], 65),
];

/// Commands that ask no broker, and those that read a file first; they have tests of their own.
const OTHERS: &[&str] = &["import_definitions", "import", "version", "store", "perf", "completions", "man"];

/// Runs a command against a server that always answers the same.
fn run_against_one(arguments: &[&str], status: u16, body: &Value) -> (u8, String, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let body = body.to_string();
    let server = std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            // Whoever says nothing ends it.
            if reader.fill_buf().unwrap().is_empty() {
                return;
            }
            read_request(&mut reader);
            let head =
                format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            reader.get_mut().write_all((head + &body).as_bytes()).unwrap();
        }
    });
    let ran = run_on(address.port(), arguments);
    drop(std::net::TcpStream::connect(address).unwrap());
    server.join().unwrap();
    ran
}

fn answer(error: &str, reason: &str) -> Value {
    json!({"error": error, "reason": reason})
}

#[test]
fn every_command_has_a_line_here() {
    let is_here = |name: &str| {
        let is_tested = CASES.iter().any(|(line, _)| line[0] == name) || OTHERS.contains(&name);
        // A group says the same as the verb.
        is_tested || crate::ctl::nouns::is_group(name)
    };
    let refused: Vec<&str> = refused::commands().map(|command| command.name).collect();
    let missing: Vec<&str> = commands().map(|command| command.name).filter(|name| !is_here(name)).collect();
    assert_eq!(missing, refused, "commands without a line in CASES");
}

#[test]
fn a_broker_that_is_down_is_told_by_every_command() {
    let (_taken, port) = port_of_nobody();
    for (line, _) in CASES {
        let (code, _, errors) = run_on(port, line);
        assert_eq!(code, 69, "{line:?}: {errors}");
        assert!(errors.contains("is it running, and are --host and --port right?"), "{line:?}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{line:?}: {errors}");
    }
}

#[test]
fn who_may_not_log_in_or_not_do_it_is_told_by_every_command() {
    for (line, _) in CASES {
        let (code, _, errors) = run_against_one(line, 401, &answer("not_authorized", "Not_Authorized"));
        assert_eq!(
            (code, errors.contains("check --username and --password")),
            (77, true),
            "{line:?}: {errors}"
        );
        if line[0] == "authenticate_user" {
            continue;
        }
        let (code, _, errors) = run_against_one(line, 401, &answer("not_authorised", "Access refused."));
        assert_eq!(
            (code, errors.contains("an administrator can grant it")),
            (77, true),
            "{line:?}: {errors}"
        );
        assert_eq!(errors.lines().count(), 1, "{line:?}: {errors}");
    }
}

#[test]
fn what_is_not_there_is_named_by_every_command() {
    for (line, expected) in CASES {
        let (code, _, errors) = run_against_one(line, 404, &answer("Object Not Found", "Not Found"));
        assert_eq!(code, *expected, "{line:?}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{line:?}: {errors}");
    }
}

#[test]
fn what_the_broker_refuses_is_told_by_every_command() {
    for (line, _) in
        CASES.iter().filter(|(line, _)| line[0] != "set_permissions" && line[0] != "enable_feature_flag")
    {
        let (code, _, errors) = run_against_one(line, 400, &answer("bad_request", "there is a reason"));
        assert_eq!((code, errors.contains("there is a reason")), (65, true), "{line:?}: {errors}");
    }
}
