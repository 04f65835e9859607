//! Whether routes and their descriptions belong together, whether the document holds together, and a check of real answers
//! against the tables.

use super::schema::Field;
use super::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use utoipa::openapi::OpenApi;

fn document() -> Value {
    serde_json::to_value(super::document("")).unwrap()
}

#[test]
fn every_route_is_described_once_and_nothing_else_is() {
    let routes = ROUTES.iter().map(|route| (route.method.as_str(), route.path));
    let described = OPERATIONS.iter().map(|operation| (operation.method, operation.path));
    assert_eq!(described.clone().collect::<BTreeSet<_>>(), routes.collect(), "routes and descriptions");
    assert_eq!(described.clone().collect::<BTreeSet<_>>().len(), described.count(), "described twice");
    let document = document();
    for route in ROUTES {
        let shown = &document["paths"][route.path][route.method.as_str().to_lowercase()];
        assert!(shown["summary"].is_string(), "{} {}", route.method, route.path);
        assert_eq!(shown["security"].is_null(), route.level == Level::Anyone, "{}", route.path);
    }
}

#[test]
fn the_document_is_openapi_3_1_and_comes_back_as_it_was() {
    let mut document = document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
    narrow(&mut document);
    let read: OpenApi = serde_json::from_value(document.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), document);
}

/// Makes a schema of anything, which utoipa writes and does not read, one of texts.
fn narrow(value: &mut Value) {
    match value {
        Value::Object(fields) if fields.is_empty() => *value = json!({"type": "string"}),
        Value::Object(fields) => fields.values_mut().for_each(narrow),
        Value::Array(items) => items.iter_mut().for_each(narrow),
        _ => {}
    }
}

/// What is under a JSON pointer of each `$ref`, and the names of operations, anywhere in a value.
fn walk(value: &Value, refs: &mut Vec<String>, ids: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("$ref", Value::String(target)) => refs.push(target.clone()),
                    ("operationId", Value::String(id)) => ids.push(id.clone()),
                    _ => walk(value, refs, ids),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, refs, ids)),
        _ => {}
    }
}

#[test]
fn references_lead_somewhere_and_operations_have_names_of_their_own() {
    let (document, mut refs, mut ids) = (document(), Vec::new(), Vec::new());
    walk(&document, &mut refs, &mut ids);
    assert!(refs.len() > 100 && ids.len() == ROUTES.len(), "{} {}", refs.len(), ids.len());
    for target in &refs {
        let pointer = target.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{target} leads nowhere");
    }
    let named: BTreeSet<&str> = refs.iter().filter_map(|target| target.split('/').nth(3)).collect();
    for (section, objects) in document["components"].as_object().unwrap() {
        for name in objects.as_object().unwrap().keys().filter(|_| section != "securitySchemes") {
            assert!(named.contains(name.as_str()), "{section} {name} is nowhere");
        }
    }
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "two operations of one name");
}

#[test]
fn two_objects_never_share_a_name() {
    let mut next: Vec<&Object> = vec![&answers::ERROR];
    for (_, operation) in described() {
        next.extend(operation.takes);
        next.extend(operation.gives.object());
        next.extend(operation.gives.kinds().into_iter().flat_map(Kind::objects));
    }
    let mut all: BTreeMap<&str, String> = BTreeMap::new();
    while let Some(object) = next.pop() {
        let shown = format!("{object:?}");
        match all.insert(object.name, shown.clone()) {
            Some(other) => assert_eq!(other, shown, "{}", object.name),
            None => next.extend(object.inner()),
        }
    }
    assert!(all.len() > 50, "{}", all.len());
}

/// Columns are optional in an answer that may be cut, and whatever stands in a whole one is there.
#[test]
fn fields_are_required_where_they_are_always_there() {
    let schemas = &document()["components"]["schemas"];
    assert_eq!(schemas["Queue"]["required"], Value::Null);
    assert_eq!(schemas["Routed"]["required"], json!(["routed"]));
    assert_eq!(schemas["Permissions"]["required"], Value::Null, "it stands in lists, too");
    assert_eq!(schemas["PermissionsBody"]["required"], json!(["configure", "write", "read"]));
    assert_eq!(schemas["PermissionsBody"]["additionalProperties"], Value::Null);
    assert_eq!(schemas["Queue"]["additionalProperties"], json!(false));
}

#[test]
fn statuses_follow_from_what_a_route_is() {
    let document = document();
    let statuses = |method: &str, path: &str| -> Vec<String> {
        document["paths"][path][method]["responses"].as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(statuses("get", "/api/version"), ["200", "503"]);
    assert_eq!(statuses("get", "/api/overview"), ["200", "400", "401", "503"]);
    assert_eq!(statuses("put", "/api/queues/{vhost}/{queue}"), ["201", "204", "400", "401", "404", "503"]);
    assert_eq!(statuses("delete", "/api/vhosts/{vhost}"), ["204", "400", "401", "404", "412", "503"]);
    assert_eq!(statuses("get", "/api/health/checks/alarms"), ["200", "401", "503"]);
}

/// The fault of an empty list.
pub(in crate::management) const NO_ROWS: &str = "there are no rows to be looked at";

/// What is wrong with the answer of a route, as the tables have it.
pub(in crate::management) fn faults(method: &str, path: &str, status: u16, answer: &Value) -> Vec<String> {
    let operation = operation(method, path);
    let mut faults = Vec::new();
    let kind = match (operation.gives, status) {
        (_, 201 | 204) => return faults,
        (Gives::Verdict, 503) => Kind::Object(&answers::FAILED),
        (Gives::Verdict, 200) => Kind::Object(&answers::PASSED),
        (Gives::Imported, 200) => Kind::Object(&answers::IMPORTED),
        (Gives::One(object) | Gives::File(object), 200) => Kind::Object(object),
        (Gives::Value(kind), 200) => kind,
        (Gives::List(object), 200) => {
            let rows = answer.as_array().or_else(|| answer["items"].as_array());
            let rows = rows.map(Vec::as_slice).unwrap_or_default();
            if rows.is_empty() {
                faults.push(NO_ROWS.to_owned());
            }
            rows.iter().for_each(|row| look(Kind::Object(object), row, "[]", &mut faults));
            return faults;
        }
        _ => Kind::Object(&answers::ERROR),
    };
    look(kind, answer, "", &mut faults);
    faults
}

fn operation(method: &str, path: &str) -> &'static Operation {
    let is_meant = |operation: &&Operation| operation.path == path && operation.method == method;
    OPERATIONS.iter().find(is_meant).unwrap()
}

/// Whether the document has that status for a route.
pub(in crate::management) fn has_status(method: &str, path: &str, status: u16) -> bool {
    let operation = operation(method, path);
    let route = ROUTES.iter().find(|route| route.path == path && route.method.as_str() == method).unwrap();
    let status = status.to_string();
    let given = operation.gives.responses();
    given.iter().any(|(given, _)| *given == status) || is_refused(route, operation, &status)
}

/// What the document says that a GET of a path answers with.
pub(in crate::management) fn content_types(path: &str) -> Vec<String> {
    let document = document();
    let content = document["paths"][path]["get"]["responses"]["200"]["content"].as_object().unwrap();
    content.keys().cloned().collect()
}

/// Checks a value and what is in it.
fn look(kind: Kind, value: &Value, place: &str, faults: &mut Vec<String>) {
    let is_right = match kind {
        Kind::Any => true,
        Kind::Text => value.is_string(),
        Kind::Digits => value.as_str().is_some_and(|text| text.parse::<u64>().is_ok()),
        Kind::Flag => value.is_boolean(),
        Kind::Count => value.is_u64(),
        Kind::Whole => value.is_i64() || value.is_u64(),
        Kind::Number => value.is_number(),
        Kind::OneOf(texts) => value.as_str().is_some_and(|text| texts.contains(&text)),
        Kind::EmptyList => value.as_array().is_some_and(Vec::is_empty),
        Kind::Maybe(_) if value.is_null() => true,
        Kind::Maybe(kind) => return look(*kind, value, place, faults),
        Kind::Either(kinds) => {
            let wrong = |kind: &Kind| {
                let mut faults = Vec::new();
                look(*kind, value, place, &mut faults);
                faults
            };
            kinds.iter().any(|kind| wrong(kind).is_empty())
        }
        Kind::List(kind) => {
            let items = value.as_array();
            items.into_iter().flatten().for_each(|item| look(*kind, item, &format!("{place}[]"), faults));
            items.is_some()
        }
        Kind::Map(kind) => {
            let fields = value.as_object();
            fields.into_iter().flatten().for_each(|(name, value)| {
                look(*kind, value, &format!("{place}.{name}"), faults);
            });
            fields.is_some()
        }
        Kind::Object(object) => match value.as_object() {
            Some(fields) => return look_at_object(object, fields, place, faults),
            None => false,
        },
    };
    if !is_right {
        faults.push(format!("{place}: {value} is no {kind:?}"));
    }
}

fn look_at_object(object: &Object, fields: &Map<String, Value>, place: &str, faults: &mut Vec<String>) {
    let mut known = BTreeSet::new();
    for Field { name, kind, is_required, .. } in object.fields {
        known.insert((*name).to_owned());
        match fields.get(*name) {
            Some(value) => look(*kind, value, &format!("{place}.{name}"), faults),
            None if *is_required => faults.push(format!("{place}.{name} is missing")),
            None => {}
        }
    }
    for group in object.figures {
        let is_there = group.iter().any(|(name, _)| fields.contains_key(*name));
        for (name, _) in group.iter() {
            for (name, kind) in [
                ((*name).to_owned(), Kind::Count),
                (format!("{name}_details"), Kind::Object(&answers::DETAILS)),
            ] {
                match fields.get(&name) {
                    Some(value) => look(kind, value, &format!("{place}.{name}"), faults),
                    None if is_there => faults.push(format!("{place}.{name} is missing")),
                    None => {}
                }
                known.insert(name);
            }
        }
    }
    faults.extend(
        fields.keys().filter(|name| !known.contains(*name)).map(|name| format!("{place}.{name} is unknown")),
    );
}

/// The JSON bodies that routes with required fields take: method, path, and each field with a value that it may have.
pub(in crate::management) fn bodies() -> Vec<(&'static str, &'static str, Map<String, Value>)> {
    let of_json = OPERATIONS.iter().filter(|operation| !matches!(operation.gives, Gives::Session));
    let with_bodies = of_json.filter_map(|operation| Some((operation, operation.takes?)));
    let bodies = with_bodies.map(|(operation, object)| {
        let required = object.fields.iter().filter(|field| field.is_required);
        let body = required.map(|field| (field.name.to_owned(), example(field.kind))).collect();
        (operation.method, operation.path, body)
    });
    bodies.collect()
}

/// Whether a route takes JSON.
pub(in crate::management) fn has_body(method: &str, path: &str) -> bool {
    let operation = operation(method, path);
    operation.takes.is_some() && !matches!(operation.gives, Gives::Session)
}

/// A value of a kind.
fn example(kind: Kind) -> Value {
    match kind {
        Kind::Text | Kind::Any => json!("x"),
        Kind::Digits => json!("1"),
        Kind::Flag => json!(true),
        Kind::Count | Kind::Whole | Kind::Number => json!(100),
        Kind::OneOf(texts) => json!(texts[0]),
        Kind::List(kind) => json!([example(*kind)]),
        Kind::EmptyList => json!([]),
        Kind::Map(_) => json!({"max-length": 1}),
        Kind::Object(_) => json!({}),
        Kind::Maybe(kind) => example(*kind),
        Kind::Either(kinds) => example(kinds[0]),
    }
}
