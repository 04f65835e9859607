//! Errors of the HTTP API: status and JSON, in one place. RabbitMQ's tools read both, so the texts are RabbitMQ's.

use crate::broker;
use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// Why a request is answered with an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// No login, or a refused one.
    #[error("Not_Authorized")]
    NotLoggedIn,
    /// Logged in, but without the right to do this.
    #[error("Access refused.")]
    AccessRefused,
    /// The object that the path names is not there.
    #[error("Not Found")]
    NotFound,
    /// Something that the request needs is not there.
    #[error("{0}")]
    Missing(String),
    /// The request makes no sense, or AMQP refuses it.
    #[error("{0}")]
    BadRequest(String),
    /// The object is protected from this.
    #[error("{0}")]
    Protected(String),
    /// The node is configured not to do this.
    #[error("method_not_allowed")]
    Fixed,
    /// A page number or size that no list has.
    #[error("Invalid pagination parameters: page number {page}, page size {size}")]
    InvalidPage {
        /// The number asked for.
        page: usize,
        /// The size asked for.
        size: usize,
    },
    /// A page behind the last.
    #[error("Page out of range, page: {page} page size: {size}, len: {length}")]
    PageOutOfRange {
        /// The number asked for.
        page: usize,
        /// The size asked for.
        size: usize,
        /// How long the list is.
        length: usize,
    },
    /// The broker failed, or cannot do this now.
    #[error("{0}")]
    Unavailable(String),
}

impl Error {
    /// The status, and the word that JSON has for the kind of error.
    fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            // RabbitMQ spells these two differently, and tools compare them.
            Error::NotLoggedIn => (StatusCode::UNAUTHORIZED, "not_authorized"),
            Error::AccessRefused => (StatusCode::UNAUTHORIZED, "not_authorised"),
            Error::NotFound => (StatusCode::NOT_FOUND, "Object Not Found"),
            Error::Missing(_) => (StatusCode::NOT_FOUND, "not_found"),
            Error::BadRequest(_) => (StatusCode::BAD_REQUEST, "bad_request"),
            Error::Protected(_) => (StatusCode::PRECONDITION_FAILED, "precondition_failed"),
            Error::Fixed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Error::InvalidPage { .. } => (StatusCode::BAD_REQUEST, "invalid_pagination_parameters"),
            Error::PageOutOfRange { .. } => (StatusCode::BAD_REQUEST, "page_out_of_range"),
            Error::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "service_unavailable"),
        }
    }
}

impl From<broker::Error> for Error {
    /// AMQP's 403 is a 401 here, its 404 stays one, and everything else that a client can get wrong is a 400.
    fn from(error: broker::Error) -> Error {
        use broker::Error as Amqp;
        let text = error.to_string();
        match error {
            Amqp::NotFound(_) => Error::Missing(text),
            Amqp::NoVhost(_) => Error::Missing("vhost_not_found".into()),
            Amqp::NoUser(_) => Error::NotFound,
            Amqp::ProtectedVhost(_) => Error::Protected(text),
            Amqp::LoginRefused => Error::NotLoggedIn,
            Amqp::Refused { .. }
            | Amqp::RefusedTopic { .. }
            | Amqp::VhostRefused { .. }
            | Amqp::DefaultExchange
            | Amqp::ReservedPrefix { .. }
            | Amqp::SystemExchange(_)
            | Amqp::InternalExchange(_)
            | Amqp::ExclusiveUse(_)
            | Amqp::VolatileQueue => Error::AccessRefused,
            Amqp::Journal(_) | Amqp::NoRandom => Error::Unavailable(text),
            _ => Error::BadRequest(text),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, word) = self.kind();
        let body = Json(json!({ "error": word, "reason": self.to_string() }));
        let mut response = (status, body).into_response();
        if self == Error::NotLoggedIn {
            let challenge = header::HeaderValue::from_static("Basic realm=\"Warren Management\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
