//! Export and import of definitions.

use super::*;

fn file() -> Value {
    json!({"users": [{"name": "u", "password_hash": "h"}], "queues": [{"name": "a"}, {"name": "b"}]})
}

#[test]
fn definitions_are_written_into_a_file_that_only_its_owner_reads() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("definitions.json");
    let path = path.to_str().unwrap();
    let ran = run_against(&["export_definitions", path], &[(200, file())]);
    assert_eq!((ran.code, ran.errors.as_str()), (0, ""));
    assert_eq!(ran.out, format!("Wrote 2 queues, 1 user to {path}.\n"));
    assert_eq!(ran.requests, ["GET /api/definitions"]);
    let written: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(written, file());
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
    let ran = run_against(
        &["export_definitions", "-", "-p", "v/w", "--single-vhost"],
        &[(200, json!({"queues": []}))],
    );
    assert_eq!((ran.code, ran.out.as_str()), (0, "{\n  \"queues\": []\n}\n"));
    assert_eq!(ran.requests, ["GET /api/definitions/v%2Fw"]);
}

#[test]
fn a_file_is_imported_and_what_is_left_out_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("definitions.json");
    std::fs::write(&path, format!("\u{feff}{}", file())).unwrap();
    let path = path.to_str().unwrap();
    let ran = run_against(&["import_definitions", path], &[(204, Value::Null)]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "Definitions are imported.\n"));
    assert_eq!(ran.requests, [format!("POST /api/definitions {}", file())]);
    let left_out = json!({"left_out": ["queue 's' in vhost '/': no streams"]});
    let ran = run_against(&["import_definitions", path, "--single-vhost"], &[(200, left_out.clone())]);
    assert_eq!(ran.out, "left out: queue 's' in vhost '/': no streams\nDefinitions are imported.\n");
    assert!(ran.requests[0].starts_with("POST /api/definitions/%2F "), "{}", ran.requests[0]);
    let ran = run_against(&["import_definitions", path, "--format", "json"], &[(200, left_out.clone())]);
    assert_eq!(ran.out, format!("{left_out}\n"));
}

#[test]
fn a_file_that_is_too_large_is_told_with_its_size_and_the_setting() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.json");
    std::fs::write(&path, r#"{"users": []}"#).unwrap();
    let path = path.to_str().unwrap();
    let reason = "Exceeded HTTP request body size limit: management.http.max_body_size is 10 bytes; raise it";
    let ran = run_against(
        &["import_definitions", path],
        &[(400, json!({"error": "bad_request", "reason": reason}))],
    );
    assert_eq!((ran.code, ran.errors), (65, format!("Error: {path} has 13 bytes. {reason}\n")));
}

#[test]
fn what_cannot_be_imported_or_written_is_told_with_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none/definitions.json");
    let path = path.to_str().unwrap();
    let ran = run_against(&["import_definitions", path], &[]);
    assert_eq!(ran.code, 65);
    assert!(ran.errors.starts_with(&format!("Error: cannot read {path}: ")), "{}", ran.errors);
    let ran = run_against(&["export_definitions", path], &[(200, file())]);
    assert_eq!(ran.code, 74);
    assert!(ran.errors.starts_with(&format!("Error: cannot write the output: {path}: ")), "{}", ran.errors);
    let bad = directory.path().join("bad");
    std::fs::write(&bad, "[1").unwrap();
    let ran = run_against(&["import_definitions", bad.to_str().unwrap()], &[]);
    assert_eq!(ran.code, 65);
    assert!(ran.errors.contains("is no JSON") && ran.errors.contains("--format json"), "{}", ran.errors);
    let refused = json!({"error": "bad_request", "reason": "queues[0]: name is missing"});
    std::fs::write(&bad, "{\"queues\": [{}]}").unwrap();
    let ran = run_against(&["import_definitions", bad.to_str().unwrap()], &[(400, refused)]);
    assert_eq!((ran.code, ran.errors.as_str()), (65, "Error: queues[0]: name is missing\n"));
    let missing = json!({"error": "Object Not Found", "reason": "Not Found"});
    let ran = run_against(&["export_definitions", "-", "-p", "v", "--single-vhost"], &[(404, missing)]);
    assert_eq!(ran.code, 65);
    assert!(ran.errors.starts_with("Error: vhost 'v' does not exist"), "{}", ran.errors);
}
