//! The bytes of a request's body, up to as many as the configuration allows.

use super::error::Error;
use axum::body::{Body, Bytes};
use bytes::BytesMut;
use futures_util::StreamExt;

/// So much is read, and not kept, of a body that is larger than it may be.
const EXCESS_BYTES_MAX: usize = 1 << 30;

/// Reads a body of so many bytes at most.
///
/// # Errors
/// 400 for a larger one, in RabbitMQ's words and with what can be done about it, and for one that breaks off.
pub(super) async fn body(body: Body, bytes_max: usize) -> Result<Bytes, Error> {
    let (mut chunks, mut read, mut length) = (body.into_data_stream(), BytesMut::new(), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Error::BadRequest(format!("the body broke off: {error}")))?;
        length += chunk.len();
        if length <= bytes_max {
            read.extend_from_slice(&chunk);
            continue;
        }
        read = BytesMut::new();
        // What is not read resets the connection, and the client may never see the answer.
        if length > bytes_max.saturating_add(EXCESS_BYTES_MAX) {
            break;
        }
    }
    if length <= bytes_max {
        return Ok(read.freeze());
    }
    Err(Error::BadRequest(format!(
        "Exceeded HTTP request body size limit: management.http.max_body_size is {bytes_max} bytes; raise it, or send \
         less at a time (definitions may come in several files)"
    )))
}
