//! The OpenAPI document of the HTTP API: made of `ROUTES`, of what `operations` says of each, and of the tables of objects.
//! PURE.
//!
//! A route without an entry in `operations`, and an answer with a field that no table has, fail the tests.

mod answers;
mod definitions;
mod node;
mod operations;
mod requests;
mod schema;
#[cfg(test)]
pub(super) mod tests;

use super::access::Level;
use super::view::stats::Group;
use super::{ROUTES, Route};
use operations::{COLUMNS, Gives, OF_LISTS, OPERATIONS, Operation, Refusal};
use schema::{Kind, Object, Place};
use std::collections::BTreeMap;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::info::{InfoBuilder, LicenseBuilder};
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn, PathsBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder, ComponentsBuilder, ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, HttpMethod, OpenApi, OpenApiBuilder, PathItem, Ref, RefOr, Required};
use utoipa::openapi::{Response, ResponseBuilder, Schema, Server};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
/// What Basic authentication is called in the document.
const LOGIN: &str = "basic";

/// Responses that many operations have: status, name, and what it means.
const REFUSALS: &[(&str, &str, &str)] = &[
    ("400", "BadRequest", "The request makes no sense, or AMQP's rules refuse it."),
    ("401", "NotAuthorised", "There is no login, or its user may not do this."),
    ("404", "NotFound", "Something that the request speaks of is not there."),
    ("405", "Fixed", "The node is configured not to change operator policies."),
    ("412", "Protected", "The vhost is protected from deletion."),
    ("503", "Unavailable", "The broker failed, or cannot do this now."),
];

/// The document of an API whose paths all stand behind a prefix, or none.
pub(super) fn document(path_prefix: &str) -> OpenApi {
    let mut items: BTreeMap<&str, PathItem> = BTreeMap::new();
    for (route, operation) in described() {
        let Some(method) = method(operation.method) else { continue };
        let item = PathItem::new(method, describe(route, operation));
        match items.get_mut(route.path) {
            Some(others) => others.merge_operations(item),
            None => drop(items.insert(route.path, item)),
        }
    }
    let paths = items.into_iter().fold(PathsBuilder::new(), |paths, (path, item)| paths.path(path, item));
    let license = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title("Warren's HTTP API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "RabbitMQ's management API, as Warren serves it. In a path, `/` in a name is `%2F`.",
        ))
        .license(Some(license));
    let server = (!path_prefix.is_empty()).then(|| vec![Server::new(path_prefix)]);
    let document = OpenApiBuilder::new().info(info.build()).servers(server);
    document.paths(paths.build()).components(Some(components())).build()
}

/// Each route with what is known of it.
fn described() -> impl Iterator<Item = (&'static Route, &'static Operation)> {
    ROUTES.iter().filter_map(|route| {
        let is_meant = |operation: &&Operation| {
            operation.path == route.path && operation.method == route.method.as_str()
        };
        Some((route, OPERATIONS.iter().find(is_meant)?))
    })
}

fn method(name: &str) -> Option<HttpMethod> {
    match name {
        "GET" => Some(HttpMethod::Get),
        "PUT" => Some(HttpMethod::Put),
        "POST" => Some(HttpMethod::Post),
        "DELETE" => Some(HttpMethod::Delete),
        _ => None,
    }
}

fn components() -> utoipa::openapi::Components {
    let login = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Basic).build());
    let mut components = ComponentsBuilder::new().security_scheme(LOGIN, login);
    for (_, name, about) in REFUSALS {
        let error = json(Kind::Object(&answers::ERROR).schema());
        components = components.response(*name, response(about).content(JSON, error).build());
    }
    for (name, (object, place)) in objects() {
        components = components.schema(name, object.schema(place));
    }
    components.build()
}

/// All objects of the document by their names. One that columns can be asked of somewhere has no field that is always
/// there.
fn objects() -> BTreeMap<&'static str, (&'static Object, Place)> {
    let mut all = BTreeMap::new();
    let mut add = |places: Vec<Kind>, place: Place| {
        let mut next: Vec<&Object> = places.into_iter().flat_map(Kind::objects).collect();
        while let Some(object) = next.pop() {
            if all.insert(object.name, (object, place)).is_none_or(|(_, other)| other != place) {
                next.extend(object.inner());
            }
        }
    };
    let operations = || described().map(|(_, operation)| operation);
    let bodies = operations().filter_map(|operation| operation.takes).map(Kind::Object);
    let whole = operations().flat_map(|operation| operation.gives.kinds());
    let errors = [Kind::Object(&answers::ERROR)];
    add(bodies.collect(), Place::Body);
    add(whole.chain(errors).collect(), Place::Answer);
    add(
        operations().filter_map(|operation| operation.gives.object()).map(Kind::Object).collect(),
        Place::Columns,
    );
    all
}

impl Gives {
    /// The object that it has columns of.
    fn object(self) -> Option<&'static Object> {
        match self {
            Gives::List(object) | Gives::One(object) => Some(object),
            _ => None,
        }
    }

    /// What it gives as a whole.
    fn kinds(self) -> Vec<Kind> {
        match self {
            Gives::Value(kind) => vec![kind],
            Gives::File(object) => vec![Kind::Object(object)],
            Gives::Imported => vec![Kind::Object(&answers::IMPORTED)],
            Gives::Verdict => vec![Kind::Object(&answers::PASSED), Kind::Object(&answers::FAILED)],
            _ => Vec::new(),
        }
    }

    /// The responses when all went well, and those of a check that fails.
    fn responses(self) -> Vec<(&'static str, Response)> {
        let with = |about: &str, kind: Kind| response(about).content(JSON, json(kind.schema())).build();
        match self {
            Gives::List(object) => {
                vec![(
                    "200",
                    response("The list, or a page of it.").content(JSON, json(list(object))).build(),
                )]
            }
            Gives::One(object) => vec![("200", with(object.about, Kind::Object(object)))],
            Gives::Value(kind) => vec![("200", with("What was asked for.", kind))],
            Gives::Put => {
                vec![("201", response("It is new.").build()), ("204", response("It was there.").build())]
            }
            Gives::Created => {
                let place = location("Where it is, relative to this path.");
                vec![("201", response("It was made.").header("location", place).build())]
            }
            Gives::Done => vec![("204", response("It was done.").build())],
            Gives::Imported => vec![
                ("200", with("It was made, but for what was left out.", Kind::Object(&answers::IMPORTED))),
                ("204", response("It was made, all of it.").build()),
                (
                    "303",
                    response("It was made, and the page goes on.").header("location", location("")).build(),
                ),
            ],
            Gives::Never => Vec::new(),
            Gives::File(object) => vec![("200", with(object.about, Kind::Object(object)))],
            Gives::Session => {
                let ok = response("The session's cookie.").content(JSON, json(Kind::Text.schema()));
                vec![("200", ok.header("set-cookie", text_header()).build())]
            }
            Gives::Page => vec![("200", text("A page.", "text/html; charset=utf-8"))],
            Gives::Events => vec![(
                "200",
                text("Events `overview` and `vhost`, until the client goes.", "text/event-stream"),
            )],
            Gives::Verdict => vec![
                ("200", with(answers::PASSED.about, Kind::Object(&answers::PASSED))),
                ("503", with(answers::FAILED.about, Kind::Object(&answers::FAILED))),
            ],
        }
    }
}

fn response(about: &str) -> ResponseBuilder {
    ResponseBuilder::new().description(about)
}

fn text_header() -> Header {
    HeaderBuilder::new().schema(Some(Kind::Text.schema())).build()
}

fn location(about: &str) -> Header {
    HeaderBuilder::new().schema(Some(Kind::Text.schema())).description(schema::described(about)).build()
}

/// A file in a form, as browsers send it.
fn form() -> Content {
    let text = |about| schema::describe(Kind::Text.schema(), about);
    let form = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("file", text("The same as JSON."))
        .required("file")
        .property("redirect", text("Where the page goes on, on this server."));
    json(RefOr::T(form.into()))
}

fn json(schema: RefOr<Schema>) -> Content {
    ContentBuilder::new().schema(Some(schema)).build()
}

fn text(about: &str, content_type: &str) -> Response {
    response(about).content(content_type, json(Kind::Text.schema())).build()
}

/// A list, or a page of it.
fn list(object: &'static Object) -> RefOr<Schema> {
    let rows = || ArrayBuilder::new().items(Ref::from_schema_name(object.name));
    let counts = ["total_count", "filtered_count", "item_count", "page", "page_size", "page_count"];
    let mut page = ObjectBuilder::new().schema_type(Type::Object).property("items", rows());
    for name in counts {
        page = page.property(name, Kind::Count.schema()).required(name);
    }
    let either = AnyOfBuilder::new().item(Schema::from(rows().build())).item(page.required("items").build());
    RefOr::T(either.into())
}

fn describe(route: &Route, operation: &Operation) -> utoipa::openapi::path::Operation {
    let mut shown = OperationBuilder::new()
        .operation_id(Some(id(operation)))
        .summary(Some(operation.summary))
        .description(Some(level(route.level)))
        .tag(tag(operation.path));
    for parameter in path_parameters(operation.path) {
        shown = shown.parameter(parameter);
    }
    for (name, place, kind, about) in queries(operation) {
        let schema = Some(schema::describe(kind.schema(), ""));
        let parameter = ParameterBuilder::new().name(name).parameter_in(place).required(Required::False);
        shown = shown.parameter(parameter.schema(schema).description(Some(about)));
    }
    if let Some(object) = operation.takes {
        let is_required = object.fields.iter().any(|field| field.is_required);
        let format = if matches!(operation.gives, Gives::Session) { FORM } else { JSON };
        let mut body = RequestBodyBuilder::new().content(format, json(Kind::Object(object).schema()));
        if matches!(operation.gives, Gives::Imported) {
            body = body.content("multipart/form-data", form());
        }
        let required = if is_required { Required::True } else { Required::False };
        shown = shown.request_body(Some(body.required(Some(required)).build()));
    }
    for (status, response) in operation.gives.responses() {
        shown = shown.response(status, response);
    }
    for (status, name, _) in REFUSALS.iter().filter(|(status, ..)| is_refused(route, operation, status)) {
        shown = shown.response(*status, Ref::from_response_name(*name));
    }
    if route.level != Level::Anyone {
        shown = shown.security(SecurityRequirement::new(LOGIN, Vec::<String>::new()));
    }
    shown.build()
}

/// Whether an operation may be refused with that status.
fn is_refused(route: &Route, operation: &Operation, status: &str) -> bool {
    let has = |wanted: fn(&Refusal) -> bool| operation.refuses.iter().any(wanted);
    let has_path = route.path.contains('{');
    match status {
        "400" => {
            let has_query = queries(operation).len() > 1;
            has_path
                || has_query
                || operation.takes.is_some()
                || has(|refusal| matches!(refusal, Refusal::Wrong))
        }
        "401" => route.level != Level::Anyone || matches!(operation.gives, Gives::Session),
        // The body may speak of something that is not there.
        "404" => has_path || operation.takes.is_some(),
        "405" => has(|refusal| matches!(refusal, Refusal::Fixed)),
        "412" => has(|refusal| matches!(refusal, Refusal::Protected)),
        // A check's own answer has this status.
        "503" => !matches!(operation.gives, Gives::Verdict),
        _ => false,
    }
}

/// What may stand in the query and in headers.
fn queries(operation: &Operation) -> Vec<(String, ParameterIn, Kind, String)> {
    let mut named: Vec<operations::Parameter> = Vec::new();
    if matches!(operation.gives, Gives::List(_)) {
        named.extend(OF_LISTS);
    }
    if operation.gives.object().is_some() {
        named.push(COLUMNS);
    }
    named.extend(operation.parameters);
    let mut all: Vec<_> = named
        .iter()
        .map(|parameter| {
            let place = if parameter.is_header { ParameterIn::Header } else { ParameterIn::Query };
            (parameter.name.to_owned(), place, parameter.kind, parameter.about.to_owned())
        })
        .collect();
    for (_, group) in Group::ALL.iter().filter(|_| operation.has_rates) {
        for (end, about) in
            [("age", "How many seconds back samples go."), ("incr", "One each so many seconds.")]
        {
            all.push((format!("{group}_{end}"), ParameterIn::Query, Kind::Count, about.to_owned()));
        }
    }
    all
}

fn path_parameters(path: &str) -> impl Iterator<Item = ParameterBuilder> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| {
        let (kind, about) = match name {
            "vhost" => (Kind::Text, "The vhost's name."),
            "source" | "exchange" => {
                (Kind::Text, "The exchange's name; `amq.default` for the default exchange.")
            }
            "kind" => (Kind::OneOf(&["q", "e"]), "`q` for a queue as the destination, `e` for an exchange."),
            "key" => (Kind::Text, "The binding's `properties_key`."),
            "port" => (Kind::Whole, ""),
            "protocol" => (Kind::Text, "`amqp`, `http` …"),
            "within" => (Kind::Whole, "How many of the units."),
            "unit" => (Kind::OneOf(&["days", "weeks", "months", "years"]), ""),
            "pattern" => (Kind::Text, "A regular expression."),
            _ => (Kind::Text, ""),
        };
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path);
        parameter.required(Required::True).schema(Some(kind.schema())).description(schema::described(about))
    })
}

/// Who may use it, in words.
fn level(level: Level) -> &'static str {
    match level {
        Level::Anyone => "Needs no login.",
        Level::Management => "For users with a tag of the HTTP API.",
        Level::Policymaker => "For the tags `policymaker` and `administrator`.",
        Level::Monitoring => "For the tags `monitoring` and `administrator`.",
        Level::Administrator => "For the tag `administrator`.",
    }
}

/// The noun that a path begins with.
fn tag(path: &str) -> &str {
    let noun = path.trim_start_matches("/api").split('/').nth(1).unwrap_or_default();
    if noun.is_empty() { "home" } else { noun }
}

/// The method and the words of the path, as programs name functions: `getQueuesVhostQueue`.
fn id(operation: &Operation) -> String {
    let words = operation.path.trim_start_matches("/api").split(|c: char| !c.is_ascii_alphanumeric());
    let mut id = operation.method.to_lowercase();
    for word in words.filter(|word| !word.is_empty()) {
        id.push_str(&word[..1].to_uppercase());
        id.push_str(&word[1..]);
    }
    id
}
