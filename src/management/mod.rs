//! The HTTP API: RabbitMQ's paths, names and status codes on 15672.
//!
//! A request goes through `ROUTES` (path, method, who may), the login, and the route's function, which calls the same
//! broker operations as AMQP does. A route is a function in `routes/` and a line in `ROUTES`. What the JSON looks like
//! stands in `view/`; which status an error has, in `error.rs`.
//!
//! Route functions run on blocking threads: they may wait for the disk or walk long lists without holding up connections.

mod access;
mod admission;
mod body;
mod call;
mod definitions;
mod error;
mod headers;
mod live;
mod node;
mod openapi;
pub mod prometheus;
mod query;
mod receive;
mod routes;
mod sessions;
mod statistics;
mod upload;
mod view;

pub use definitions::{LoadError, Loadable};
pub use node::{Listener, Node};
pub use sessions::Sessions;
pub use statistics::{Statistics, sample};

use access::Level;
use access::LocalPeer;
use axum::{
    Router,
    extract::{FromRequestParts, RawPathParams, Request},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::{MethodFilter, MethodRouter},
    serve::ListenerExt,
};
use call::Call;
use error::Error;
use live::Events;
use percent_encoding::percent_decode_str;
use query::Query;
use routes::{
    auth, bindings, channels, configuration, connections, consumers, exchanges, features, health, home,
    limits, login, maintenance, nodes, overview, parameters, permissions, policies, queues,
    topic_permissions, users, vhosts,
};
use serde_json::Value;
use std::{collections::BTreeMap, future::Future, io, net::SocketAddr, sync::Arc};
use tokio::{
    net::{TcpListener, UnixListener},
    runtime::Handle,
};

/// A route: a method of a path, who may use it, and what answers.
struct Route {
    method: Method,
    path: &'static str,
    level: Level,
    answer: fn(&Call) -> Result<Answer, Error>,
}

/// So much is read of a request that is refused.
const REFUSED_BYTES_MAX: usize = 64 << 10;

const fn route(
    method: Method,
    path: &'static str,
    level: Level,
    answer: fn(&Call) -> Result<Answer, Error>,
) -> Route {
    Route { method, path, level, answer }
}

use Level::{Administrator, Anyone, Management, Monitoring, Policymaker};

/// Every route.
const ROUTES: &[Route] = &[
    route(Method::GET, "/", Anyone, home::show),
    route(Method::GET, "/api/overview", Management, overview::show),
    route(Method::GET, "/api/live", Management, routes::live::show),
    route(Method::GET, "/api/cluster-name", Management, overview::cluster_name),
    route(Method::PUT, "/api/cluster-name", Administrator, overview::put_cluster_name),
    route(Method::GET, "/api/version", Anyone, overview::version),
    route(Method::GET, "/api/auth", Anyone, auth::settings),
    route(Method::GET, "/api/auth/hash_password/{password}", Administrator, auth::hash_password),
    route(Method::GET, "/api/feature-flags", Management, features::list_flags),
    route(Method::PUT, "/api/feature-flags/{name}/enable", Administrator, features::enable_flag),
    route(Method::GET, "/api/deprecated-features", Management, features::list_deprecated),
    route(Method::GET, "/api/deprecated-features/used", Management, features::list_used),
    route(Method::POST, "/api/rebalance/queues", Administrator, queues::rebalance),
    route(Method::GET, "/api/whoami", Management, users::whoami),
    route(Method::GET, "/api/extensions", Management, overview::extensions),
    route(Method::GET, "/api/nodes", Monitoring, nodes::list),
    route(Method::GET, "/api/nodes/{name}", Monitoring, nodes::show),
    route(Method::GET, "/api/definitions", Administrator, routes::definitions::export),
    route(Method::POST, "/api/definitions", Administrator, routes::definitions::import),
    route(Method::GET, "/api/definitions/{vhost}", Administrator, routes::definitions::export_vhost),
    route(Method::POST, "/api/definitions/{vhost}", Administrator, routes::definitions::import_into_vhost),
    route(Method::GET, "/api/all-configuration", Administrator, routes::definitions::export),
    route(Method::POST, "/api/all-configuration", Administrator, routes::definitions::import),
    route(Method::GET, "/api/vhosts", Management, vhosts::list),
    route(Method::GET, "/api/vhosts/{vhost}", Management, vhosts::show),
    route(Method::PUT, "/api/vhosts/{vhost}", Administrator, vhosts::put),
    route(Method::DELETE, "/api/vhosts/{vhost}", Administrator, vhosts::delete),
    route(Method::POST, "/api/vhosts/{vhost}/deletion/protection", Administrator, vhosts::protect),
    route(Method::DELETE, "/api/vhosts/{vhost}/deletion/protection", Administrator, vhosts::unprotect),
    route(Method::GET, "/api/vhosts/{vhost}/permissions", Administrator, permissions::list_of_vhost),
    route(Method::GET, "/api/vhosts/{vhost}/connections", Management, connections::list_of_vhost),
    route(Method::GET, "/api/vhosts/{vhost}/channels", Management, channels::list_of_vhost),
    route(Method::GET, "/api/users", Administrator, users::list),
    route(Method::GET, "/api/users/without-permissions", Administrator, users::list_without_permissions),
    route(Method::POST, "/api/users/bulk-delete", Administrator, users::delete_many),
    route(Method::GET, "/api/users/{user}", Administrator, users::show),
    route(Method::PUT, "/api/users/{user}", Administrator, users::put),
    route(Method::DELETE, "/api/users/{user}", Administrator, users::delete),
    route(Method::GET, "/api/users/{user}/permissions", Administrator, permissions::list_of_user),
    route(Method::GET, "/api/permissions", Administrator, permissions::list),
    route(Method::GET, "/api/permissions/{vhost}/{user}", Administrator, permissions::show),
    route(Method::PUT, "/api/permissions/{vhost}/{user}", Administrator, permissions::put),
    route(Method::DELETE, "/api/permissions/{vhost}/{user}", Administrator, permissions::delete),
    route(Method::GET, "/api/policies", Management, policies::list),
    route(Method::GET, "/api/policies/{vhost}", Management, policies::list),
    route(Method::GET, "/api/policies/{vhost}/{name}", Policymaker, policies::show),
    route(Method::PUT, "/api/policies/{vhost}/{name}", Policymaker, policies::put),
    route(Method::DELETE, "/api/policies/{vhost}/{name}", Policymaker, policies::delete),
    route(Method::GET, "/api/operator-policies", Management, policies::list_of_operators),
    route(Method::GET, "/api/operator-policies/{vhost}", Management, policies::list_of_operators),
    route(Method::GET, "/api/operator-policies/{vhost}/{name}", Administrator, policies::show_of_operators),
    route(Method::PUT, "/api/operator-policies/{vhost}/{name}", Administrator, policies::put_of_operators),
    route(
        Method::DELETE,
        "/api/operator-policies/{vhost}/{name}",
        Administrator,
        policies::delete_of_operators,
    ),
    route(Method::GET, "/api/parameters", Policymaker, parameters::list),
    route(Method::GET, "/api/parameters/{component}", Policymaker, parameters::list),
    route(Method::GET, "/api/parameters/{component}/{vhost}", Policymaker, parameters::list),
    route(Method::GET, "/api/parameters/{component}/{vhost}/{name}", Policymaker, parameters::show),
    route(Method::PUT, "/api/parameters/{component}/{vhost}/{name}", Policymaker, parameters::put),
    route(Method::DELETE, "/api/parameters/{component}/{vhost}/{name}", Policymaker, parameters::delete),
    route(Method::GET, "/api/global-parameters", Policymaker, parameters::list_global),
    route(Method::GET, "/api/global-parameters/{name}", Policymaker, parameters::show_global),
    route(Method::PUT, "/api/global-parameters/{name}", Policymaker, parameters::put_global),
    route(Method::DELETE, "/api/global-parameters/{name}", Policymaker, parameters::delete_global),
    route(Method::GET, "/api/vhost-limits", Management, limits::list_of_vhosts),
    route(Method::GET, "/api/vhost-limits/{vhost}", Management, limits::list_of_vhosts),
    route(Method::PUT, "/api/vhost-limits/{vhost}/{name}", Administrator, limits::put_of_vhost),
    route(Method::DELETE, "/api/vhost-limits/{vhost}/{name}", Administrator, limits::delete_of_vhost),
    route(Method::GET, "/api/user-limits", Administrator, limits::list_of_users),
    route(Method::GET, "/api/user-limits/{user}", Administrator, limits::list_of_users),
    route(Method::PUT, "/api/user-limits/{user}/{name}", Administrator, limits::put_of_user),
    route(Method::DELETE, "/api/user-limits/{user}/{name}", Administrator, limits::delete_of_user),
    route(Method::GET, "/api/queues", Management, queues::list),
    route(Method::GET, "/api/queues/{vhost}", Management, queues::list),
    route(Method::GET, "/api/queues/{vhost}/{queue}", Management, queues::show),
    route(Method::PUT, "/api/queues/{vhost}/{queue}", Management, queues::put),
    route(Method::DELETE, "/api/queues/{vhost}/{queue}", Management, queues::delete),
    route(Method::DELETE, "/api/queues/{vhost}/{queue}/contents", Management, queues::purge),
    route(Method::POST, "/api/queues/{vhost}/{queue}/get", Management, queues::get),
    route(Method::GET, "/api/queues/{vhost}/{queue}/bindings", Management, bindings::list_of_queue),
    route(Method::GET, "/api/exchanges", Management, exchanges::list),
    route(Method::GET, "/api/exchanges/{vhost}", Management, exchanges::list),
    route(Method::GET, "/api/exchanges/{vhost}/{exchange}", Management, exchanges::show),
    route(Method::PUT, "/api/exchanges/{vhost}/{exchange}", Management, exchanges::put),
    route(Method::DELETE, "/api/exchanges/{vhost}/{exchange}", Management, exchanges::delete),
    route(Method::POST, "/api/exchanges/{vhost}/{exchange}/publish", Management, exchanges::publish),
    route(Method::GET, "/api/exchanges/{vhost}/{exchange}/bindings/source", Management, bindings::list_from),
    route(
        Method::GET,
        "/api/exchanges/{vhost}/{exchange}/bindings/destination",
        Management,
        bindings::list_to,
    ),
    route(Method::GET, "/api/bindings", Management, bindings::list),
    route(Method::GET, "/api/bindings/{vhost}", Management, bindings::list),
    route(
        Method::GET,
        "/api/bindings/{vhost}/e/{source}/{kind}/{destination}",
        Management,
        bindings::list_between,
    ),
    route(
        Method::POST,
        "/api/bindings/{vhost}/e/{source}/{kind}/{destination}",
        Management,
        bindings::create,
    ),
    route(
        Method::GET,
        "/api/bindings/{vhost}/e/{source}/{kind}/{destination}/{key}",
        Management,
        bindings::show,
    ),
    route(
        Method::DELETE,
        "/api/bindings/{vhost}/e/{source}/{kind}/{destination}/{key}",
        Management,
        bindings::delete,
    ),
    route(Method::GET, "/api/connections", Management, connections::list),
    route(Method::GET, "/api/connections/{connection}", Management, connections::show),
    route(Method::DELETE, "/api/connections/{connection}", Management, connections::close),
    route(Method::GET, "/api/connections/{connection}/channels", Management, channels::list_of_connection),
    route(Method::GET, "/api/connections/username/{user}", Management, connections::list_of_user),
    route(Method::DELETE, "/api/connections/username/{user}", Management, connections::close_all_of_user),
    route(Method::GET, "/api/channels", Management, channels::list),
    route(Method::GET, "/api/channels/{channel}", Management, channels::show),
    route(Method::GET, "/api/consumers", Management, consumers::list),
    route(Method::GET, "/api/consumers/{vhost}", Management, consumers::list),
    route(Method::GET, "/api/aliveness-test/{vhost}", Management, health::aliveness),
    route(Method::GET, "/api/health/checks/alarms", Management, health::alarms),
    route(Method::GET, "/api/health/checks/local-alarms", Management, health::alarms),
    route(Method::GET, "/api/health/checks/port-listener/{port}", Management, health::port_listener),
    route(
        Method::GET,
        "/api/health/checks/protocol-listener/{protocol}",
        Management,
        health::protocol_listener,
    ),
    route(Method::GET, "/api/health/checks/virtual-hosts", Management, health::virtual_hosts),
    route(
        Method::GET,
        "/api/health/checks/certificate-expiration/{within}/{unit}",
        Management,
        health::certificate_expiration,
    ),
    route(
        Method::GET,
        "/api/health/checks/node-is-quorum-critical",
        Management,
        health::node_is_quorum_critical,
    ),
    route(
        Method::GET,
        "/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts",
        Management,
        health::leaderless_queues,
    ),
    route(
        Method::GET,
        "/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts/pattern/{pattern}",
        Management,
        health::leaderless_queues,
    ),
    route(
        Method::GET,
        "/api/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}",
        Management,
        health::leaderless_queues,
    ),
    route(
        Method::GET,
        "/api/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}/pattern/{pattern}",
        Management,
        health::leaderless_queues,
    ),
    route(Method::GET, "/api/health/checks/metadata-store/initialized", Management, health::metadata_store),
    route(
        Method::GET,
        "/api/health/checks/metadata-store/initialized/with-data",
        Management,
        health::metadata_store_with_data,
    ),
    route(Method::GET, "/api/health/checks/is-in-service", Anyone, health::is_in_service),
    route(
        Method::GET,
        "/api/health/checks/below-node-connection-limit",
        Anyone,
        health::below_connection_limit,
    ),
    route(Method::GET, "/api/health/checks/ready-to-serve-clients", Anyone, health::ready_to_serve_clients),
    route(
        Method::GET,
        "/api/health/checks/reached-target-cluster-size",
        Anyone,
        health::reached_target_cluster_size,
    ),
    route(Method::GET, "/api/healthchecks/node", Management, health::node),
    route(Method::GET, "/api/healthchecks/node/{name}", Management, health::node),
    route(Method::POST, "/api/auth/hash_password", Administrator, auth::hash_password_of_body),
    route(Method::GET, "/api/queues/detailed", Management, queues::list),
    route(Method::POST, "/api/queues/{vhost}/{queue}/actions", Administrator, queues::act),
    route(Method::GET, "/api/nodes/{name}/memory", Monitoring, nodes::memory),
    route(Method::GET, "/api/nodes/{name}/memory/relative", Monitoring, nodes::relative_memory),
    route(Method::GET, "/api/connections/{connection}/sessions", Management, connections::list_sessions),
    route(Method::POST, "/api/vhosts/{vhost}/start/{node}", Administrator, vhosts::start),
    route(Method::GET, "/api/topic-permissions", Administrator, topic_permissions::list),
    route(Method::GET, "/api/topic-permissions/{vhost}/{user}", Administrator, topic_permissions::show),
    route(Method::PUT, "/api/topic-permissions/{vhost}/{user}", Administrator, topic_permissions::put),
    route(Method::DELETE, "/api/topic-permissions/{vhost}/{user}", Administrator, topic_permissions::delete),
    route(
        Method::GET,
        "/api/topic-permissions/{vhost}/{user}/{exchange}",
        Administrator,
        topic_permissions::show,
    ),
    route(
        Method::DELETE,
        "/api/topic-permissions/{vhost}/{user}/{exchange}",
        Administrator,
        topic_permissions::delete,
    ),
    route(
        Method::GET,
        "/api/vhosts/{vhost}/topic-permissions",
        Administrator,
        topic_permissions::list_of_vhost,
    ),
    route(Method::GET, "/api/users/{user}/topic-permissions", Administrator, topic_permissions::list_of_user),
    route(Method::GET, "/api/config/effective", Administrator, configuration::effective),
    route(Method::PUT, "/api/config/effective/{setting}", Administrator, configuration::set),
    route(Method::POST, "/api/config/reload", Administrator, configuration::reload),
    route(Method::GET, "/api/auth/attempts/{name}", Monitoring, auth::list_attempts),
    route(Method::DELETE, "/api/auth/attempts/{name}", Monitoring, auth::forget_attempts),
    route(Method::GET, "/api/auth/attempts/{name}/source", Monitoring, auth::list_attempts_by_source),
    route(Method::DELETE, "/api/auth/attempts/{name}/source", Monitoring, auth::forget_attempts),
    route(Method::POST, "/api/login", Anyone, login::open),
    route(Method::DELETE, "/api/login", Anyone, login::close),
    route(Method::DELETE, "/api/reset", Administrator, nodes::reset),
    route(Method::DELETE, "/api/reset/{name}", Administrator, nodes::reset),
    route(Method::GET, "/api/queues/quorum/{vhost}/{queue}/status", Management, queues::quorum_status),
    route(Method::GET, "/api/openapi.json", Anyone, routes::openapi::show),
    route(Method::POST, "/api/nodes/{name}/drain", Administrator, maintenance::drain),
    route(Method::POST, "/api/nodes/{name}/revive", Administrator, maintenance::revive),
];

/// What a route's function answers with.
enum Answer {
    /// 200 and an object or a list.
    Json(Value),
    /// 200 and a list that is made while it is sent.
    Rows(Box<dyn query::Rows>),
    /// 200 and what happens, until the client goes.
    Events(Box<Events>),
    /// 200 and a file to be kept under that name.
    File(Value, String),
    /// 200 and a page for people.
    Html(String),
    /// 201, with the path where the new object is if it is not that of the request.
    Created(Option<String>),
    /// 204
    Done,
    /// An answer with a cookie beside it.
    Cookie(Box<Answer>, String),
    /// 303: where a page goes on after its form was sent.
    Onward(String),
    /// 503 and the reasons: what a health check says when it fails.
    Failed(Value),
}

impl Answer {
    /// 201 for a new object, 204 for one that was there.
    fn put(is_new: bool) -> Answer {
        if is_new { Answer::Created(None) } else { Answer::Done }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        const UNCACHED: [(HeaderName, HeaderValue); 1] =
            [(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
        match self {
            Answer::Json(value) => (UNCACHED, axum::Json(value)).into_response(),
            Answer::Rows(rows) => {
                const JSON: HeaderValue = HeaderValue::from_static("application/json");
                (UNCACHED, [(header::CONTENT_TYPE, JSON)], live::body(rows)).into_response()
            }
            Answer::Events(events) => events.into_response(),
            Answer::File(value, name) => {
                let name = name.replace(|c: char| c.is_control() || "\"\\/".contains(c), "_");
                let kept = format!("attachment; filename=\"{name}\"");
                (UNCACHED, [(header::CONTENT_DISPOSITION, kept)], axum::Json(value)).into_response()
            }
            Answer::Html(page) => Html(page).into_response(),
            Answer::Created(None) => StatusCode::CREATED.into_response(),
            Answer::Created(Some(location)) => {
                (StatusCode::CREATED, [(header::LOCATION, location)]).into_response()
            }
            Answer::Done => StatusCode::NO_CONTENT.into_response(),
            Answer::Onward(location) => {
                (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()
            }
            Answer::Cookie(answer, cookie) => {
                ([(header::SET_COOKIE, cookie)], answer.into_response()).into_response()
            }
            Answer::Failed(value) => {
                (StatusCode::SERVICE_UNAVAILABLE, UNCACHED, axum::Json(value)).into_response()
            }
        }
    }
}

/// Serves the HTTP API until `shutdown` is ready, then lets requests under way end.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    node: Arc<Node>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    // Answers are small: without this, they wait for the acknowledgement of their first half.
    let listener = listener.tap_io(|stream| {
        stream.set_nodelay(true).ok();
    });
    let service = router(node).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(shutdown).await
}

/// Serves the HTTP API on a Unix socket, where the user who runs the broker needs no password, until `shutdown` is ready.
///
/// # Errors
/// When the listener fails.
pub async fn serve_local(
    listener: UnixListener,
    node: Arc<Node>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let service = router(node).into_make_service_with_connect_info::<LocalPeer>();
    axum::serve(listener, service).with_graceful_shutdown(shutdown).await
}

/// All routes, with an answer to `OPTIONS` and to what is not there.
fn router(node: Arc<Node>) -> Router {
    let mut paths: BTreeMap<&str, (MethodRouter, Vec<&str>)> = BTreeMap::new();
    for route in ROUTES {
        let (router, methods) = paths.entry(route.path).or_default();
        let node = Arc::clone(&node);
        let handler = move |request: Request| handle(Arc::clone(&node), route, request);
        if let Ok(filter) = MethodFilter::try_from(route.method.clone()) {
            *router = std::mem::take(router).on(filter, handler);
            methods.push(route.method.as_str());
        }
    }
    let mut all = Router::new();
    for (path, (router, methods)) in paths {
        let allowed = format!("HEAD, {}, OPTIONS", methods.join(", "));
        let options = move || std::future::ready([(header::ALLOW, allowed.clone())]);
        let router = router.options(options);
        // As in RabbitMQ, a slash at the end means nothing.
        if !path.ends_with('/') {
            all = all.route(&format!("{path}/"), router.clone());
        }
        all = all.route(path, router);
    }
    let all = all.fallback(|| std::future::ready(Error::NotFound));
    let prefix = node.config.config().http.path_prefix.clone();
    let all = if prefix.is_empty() {
        all
    } else {
        // What is not below the prefix is not there.
        Router::new().nest(&prefix, all).fallback(|| std::future::ready(Error::NotFound))
    };
    all.layer(axum::middleware::from_fn_with_state(node, headers::add))
}

async fn handle(node: Arc<Node>, route: &'static Route, request: Request) -> Response {
    let outcome = match call(node, route, request).await {
        Ok(call) => {
            let answer = tokio::task::spawn_blocking(move || (route.answer)(&call)).await;
            answer.unwrap_or_else(|_| Err(Error::Unavailable("the request could not be completed".into())))
        }
        Err(error) => Err(error),
    };
    outcome.map_or_else(IntoResponse::into_response, IntoResponse::into_response)
}

/// Checks who asks, and reads what is asked.
async fn call(node: Arc<Node>, route: &Route, request: Request) -> Result<Call, Error> {
    let (mut parts, body) = request.into_parts();
    let admitted = match route.level {
        Level::Anyone => Ok((None, false)),
        level => admission::admit(&node, &parts)
            .and_then(|(user, is_local)| level.check(&user.tags).map(|()| (Some(user), is_local))),
    };
    let (user, is_local_administrator) = match admitted {
        Ok(admitted) => admitted,
        Err(refused) => {
            // What is not read resets the connection, and the client may never see the answer.
            drop(axum::body::to_bytes(body, REFUSED_BYTES_MAX).await);
            return Err(refused);
        }
    };
    let body = receive::body(body, node.config.config().management_body_bytes_max).await?;
    let parameters = RawPathParams::from_request_parts(&mut parts, &()).await;
    let parameters = parameters.map_err(|_| Error::BadRequest("the path is not valid UTF-8".into()))?;
    let parameters = parameters.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let query = parse_query(parts.uri.query().unwrap_or_default());
    let peer = admission::peer(&parts);
    let (headers, runtime) = (parts.headers, Handle::current());
    Ok(Call { node, user, is_local_administrator, peer, parameters, query, headers, body, runtime })
}

/// The pairs of a query, decoded as forms are.
fn parse_query(query: &str) -> Query {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    });
    Query::new(pairs.collect())
}

#[cfg(test)]
mod tests;
