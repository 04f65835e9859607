//! Answers that go on: a list in parts, and events as they happen.

use super::call::Call;
use super::query::Rows;
use super::statistics::Frame;
use crate::auth::UserTags;
use axum::body::Body;
use axum::http::header;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use tokio::sync::watch;

/// The body of a list. The next part is made when the one before has been taken, so a client that reads slowly holds
/// up no thread and takes no memory.
pub(super) fn body(rows: Box<dyn Rows>) -> Body {
    Body::from_stream(stream::try_unfold(rows, |mut rows| async {
        let made = tokio::task::spawn_blocking(move || {
            let part = rows.next_part();
            (part, rows)
        });
        let (part, rows) = made.await.map_err(io::Error::other)?;
        Ok::<_, io::Error>((!part.is_empty()).then_some((part, rows)))
    }))
}

/// Events for somebody who watches the node.
pub(super) struct Events {
    call: Call,
    frames: watch::Receiver<Option<Arc<Frame>>>,
    /// What is to be sent before the next frame is waited for.
    due: VecDeque<Event>,
}

impl Events {
    /// Events after each sample from now on, of what the call's user may see.
    pub(super) fn new(call: Call) -> Self {
        let mut frames = call.node.statistics.watch();
        frames.mark_unchanged();
        Self { call, frames, due: VecDeque::new() }
    }

    /// The next event; none when the node stops, or when the user may not look any more.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.due.pop_front() {
                return Some(event);
            }
            self.frames.changed().await.ok()?;
            let frame = self.frames.borrow_and_update().clone()?;
            self.due = self.events(&frame)?.into();
        }
    }

    /// What of a frame the user may see now; none when there is no such user any more.
    fn events(&self, frame: &Frame) -> Option<Vec<Event>> {
        let users = &self.call.node.broker.users;
        let name = &self.call.user().ok()?.name;
        // As it is now: who began to watch may have lost the right since.
        let is_monitoring = UserTags::from(&users.user(name.as_str())?.tags[..]).is_monitoring();
        let mut events = Vec::new();
        if is_monitoring {
            events.push(Event::default().event("overview").data(&*frame.node));
        }
        for (vhost, text) in &frame.vhosts {
            if is_monitoring || users.permissions(vhost, name).is_some() {
                events.push(Event::default().event("vhost").data(&**text));
            }
        }
        Some(events)
    }

    fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut events| async { events.next().await.map(|event| (Ok(event), events)) })
    }
}

impl IntoResponse for Events {
    fn into_response(self) -> Response {
        let mut response = Sse::new(self.stream()).keep_alive(KeepAlive::default()).into_response();
        // For proxies that would keep events back until they have many.
        response.headers_mut().insert("x-accel-buffering", header::HeaderValue::from_static("no"));
        response
    }
}
