//! What answers say beside their bodies: whose pages may read them (CORS), and the configured policies for browsers.

use super::node::Node;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use std::sync::Arc;

/// Adds them to the answer to a request.
pub(super) async fn add(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let asked = request.headers().clone();
    let is_preflight = request.method() == Method::OPTIONS;
    let mut response = next.run(request).await;
    let config = node.config.config();
    let headers = response.headers_mut();
    for (name, text) in [
        (header::CONTENT_SECURITY_POLICY, &config.http.csp),
        (header::STRICT_TRANSPORT_SECURITY, &config.http.hsts),
    ] {
        put(headers, name, text);
    }
    if let Some(origin) = allowed_origin(&asked, &config.http.cors_allow_origins) {
        allow(headers, &origin);
        if is_preflight {
            preflight(headers, &asked, config.http.cors_max_age_s);
        }
    }
    response
}

/// The origin that asks, if it may.
fn allowed_origin(asked: &HeaderMap, allowed: &[String]) -> Option<HeaderValue> {
    let origin = asked.get(header::ORIGIN)?;
    let is_allowed = allowed.iter().any(|own| own == "*" || own.as_bytes() == origin.as_bytes());
    is_allowed.then(|| origin.clone())
}

fn allow(headers: &mut HeaderMap, origin: &HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("location"));
    headers.append(header::VARY, HeaderValue::from_static("origin"));
}

/// What a browser is told that asks before it asks.
fn preflight(headers: &mut HeaderMap, asked: &HeaderMap, max_age_s: u32) {
    put(headers, header::ACCESS_CONTROL_MAX_AGE, &max_age_s.to_string());
    if let Some(methods) = headers.get(header::ALLOW).cloned() {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    if let Some(wanted) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
}

/// Nothing for an empty text.
fn put(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text)
        && !text.is_empty()
    {
        headers.insert(name, value);
    }
}
