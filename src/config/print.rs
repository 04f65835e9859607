//! The settings as text: what is in force for people, scripts and files, and the tables of the documentation. PURE.

use super::layers::{InForce, REDACTED};
use super::settings::{GROUPS, Group};
use super::{Origin, Setting};
use serde_json::{Value, json};
use std::fmt::Write;

/// A setting with one of its values, or without any.
struct Row<'a> {
    setting: &'static Setting,
    key: &'a str,
    value: Option<&'a str>,
    origin: Origin,
}

/// The rows of a group: a setting that is not set has one, too.
fn rows<'a>(group: &Group, in_force: &'a [InForce]) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for setting in group.settings {
        let before = rows.len();
        let own = in_force.iter().filter(|entry| entry.setting.key == setting.key);
        rows.extend(own.map(|entry| Row {
            setting,
            key: &entry.key,
            value: Some(entry.shown()),
            origin: entry.origin.clone(),
        }));
        if rows.len() == before {
            rows.push(Row { setting, key: setting.key, value: None, origin: Origin::Default });
        }
    }
    rows
}

/// For scripts: a list of objects with `key`, `value` (null = not set), `source`, `unit`, `default`, `live` and `meaning`.
pub fn json(in_force: &[InForce]) -> Value {
    let rows = GROUPS.iter().flat_map(|group| rows(group, in_force));
    let object = |row: Row<'_>| {
        json!({
            "key": row.key,
            "value": row.value,
            "source": row.origin.to_string(),
            "unit": row.setting.unit,
            "default": default_of(row.setting),
            "live": row.setting.is_live,
            "meaning": row.setting.doc,
        })
    };
    rows.map(object).collect()
}

/// For people: a line for each setting, under headings.
pub fn table(in_force: &[InForce]) -> String {
    let mut text = String::new();
    let all: Vec<(&str, Vec<Row<'_>>)> =
        GROUPS.iter().map(|group| (group.title, rows(group, in_force))).collect();
    let shown = |row: &Row<'_>| format!("{} = {}", row.key, row.value.unwrap_or("(not set)"));
    let flat = || all.iter().flat_map(|(_, rows)| rows);
    let width = |wide: &dyn Fn(&Row<'_>) -> String| {
        flat().map(|row| wide(row).chars().count()).max().unwrap_or(0).min(WIDTH_MAX)
    };
    let (first, second) = (width(&shown), width(&|row| row.origin.to_string()));
    for (title, rows) in &all {
        // A text takes everything.
        let _ = writeln!(text, "# {title}");
        for row in rows {
            let (setting, origin) = (row.setting, row.origin.to_string());
            let (unit, effect) = (setting.unit, setting.takes_effect());
            let meaning = setting.doc;
            let _ = writeln!(text, "{:first$}  {origin:second$}  {effect:7}  [{unit}] {meaning}", shown(row));
        }
        text.push('\n');
    }
    text
}

/// Longer texts push the next column aside.
const WIDTH_MAX: usize = 60;

/// As a file that can be read again: what is not set, and every secret, is a comment.
pub fn conf(in_force: &[InForce]) -> String {
    let mut text = String::new();
    for group in GROUPS {
        let _ = writeln!(text, "## {}\n", group.title);
        for row in rows(group, in_force) {
            let Row { setting, key, value, origin } = row;
            let _ = writeln!(text, "# {} ({}; {})", setting.doc, setting.unit, setting.takes_effect());
            let _ = match value {
                None => writeln!(text, "# {key} =\n"),
                Some(REDACTED) if setting.is_secret => writeln!(text, "# {key} = {REDACTED}  # {origin}\n"),
                Some(value) => writeln!(text, "{key} = {}  # {origin}\n", quoted(value)),
            };
        }
    }
    text
}

/// A value with quotes if it would be read as something else without.
fn quoted(value: &str) -> String {
    let is_plain =
        !value.is_empty() && value.trim() == value && !value.contains('#') && !value.starts_with(['\'', '"']);
    match (is_plain, value.contains('\'')) {
        (true, _) => value.to_owned(),
        (false, false) => format!("'{value}'"),
        (false, true) => format!("\"{value}\""),
    }
}

/// The tables of `docs/configuration.md`.
pub fn markdown() -> String {
    let mut text = String::new();
    for group in GROUPS {
        let _ = writeln!(text, "### {}\n", group.title);
        text.push_str("| key | value | default | takes effect | |\n|---|---|---|---|---|\n");
        for setting in group.settings {
            let keys = std::iter::once(&setting.key).chain(setting.aliases);
            let keys: Vec<String> = keys.map(|key| format!("`{key}`")).collect();
            let default = match default_of(setting) {
                default if default.is_empty() => "not set".to_owned(),
                default => format!("`{default}`"),
            };
            let variable = setting.rabbitmq_variable;
            let variable = variable.map(|name| format!(" Also `{name}`.")).unwrap_or_default();
            let (unit, effect, doc) = (setting.unit, setting.takes_effect(), setting.doc);
            let _ =
                writeln!(text, "| {} | {unit} | {default} | {effect} | {doc}{variable} |", keys.join(", "));
        }
        text.push('\n');
    }
    text
}

/// The default; with its key, where that has a name in it.
fn default_of(setting: &Setting) -> String {
    match setting.default_assignment() {
        None => String::new(),
        Some((key, value)) if setting.key.contains('*') => format!("{key} = {value}"),
        Some((_, value)) => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Configuration, Flags};
    use super::*;

    fn loaded(file: &str) -> Configuration {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("warren.conf");
        std::fs::write(&path, file).unwrap();
        Configuration::load(&Flags { config: Some(path), ..Flags::default() }, []).unwrap()
    }

    #[test]
    fn every_setting_is_printed_with_its_source_and_no_secret_is() {
        let configuration = loaded("heartbeat = 30\ndefault_pass = hunter2\nlisteners.tcp.1 = 5673\n");
        let in_force = &configuration.in_force;
        let rows = json(in_force);
        let row = |key: &str| rows.as_array().unwrap().iter().find(|row| row["key"] == key).unwrap();
        let source = row("heartbeat")["source"].as_str().unwrap();
        assert!(source.ends_with("warren.conf:1"), "{source}");
        assert_eq!(row("heartbeat")["value"], "30");
        assert_eq!(
            (&row("heartbeat")["default"], &row("heartbeat")["unit"]),
            (&json!("60"), &json!("seconds"))
        );
        assert_eq!(row("default_pass")["value"], REDACTED);
        assert_eq!(row("default_user")["source"], "default");
        assert_eq!(row("load_definitions")["value"], Value::Null);
        assert_eq!(row("listeners.tcp.1")["value"], "5673");
        for text in [table(in_force), conf(in_force), rows.to_string()] {
            assert!(!text.contains("hunter2"), "{text}");
            for setting in super::super::settings::all() {
                let start = setting.key.split('*').next().unwrap();
                assert!(text.contains(start), "{start} is missing");
            }
        }
    }

    #[test]
    fn what_is_printed_as_a_file_can_be_read_again() {
        let first = loaded("heartbeat = 30\ndefault_vhost = 'a # b'\ndefault_permissions.read = ''\n");
        let again = loaded(&conf(&first.in_force));
        assert_eq!(again.config, first.config);
    }

    #[test]
    fn the_tables_of_the_documentation_are_these() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
        let page = std::fs::read_to_string(path).unwrap();
        assert!(
            page.contains(&markdown()),
            "docs/configuration.md has other tables than `cargo run -- config print --format markdown` prints; put these there"
        );
    }
}
