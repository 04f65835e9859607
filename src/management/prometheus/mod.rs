//! Metrics for Prometheus on 15692, by RabbitMQ's paths and names.
//!
//! `/metrics` has everything added up, `/metrics/per-object` a sample for each queue, channel and connection,
//! `/metrics/detailed` what is asked for by family, vhost and queue, `/metrics/memory-breakdown` what memory is used for. Names
//! stand in `names` and beside what is read for them, the formats in `text`. Nobody logs in here, as with RabbitMQ.
//!
//! A page is written on a blocking thread while it is sent, piece by piece. It takes no lock for longer than one queue, one
//! connection or one slice of exchanges is read.

mod connections;
mod exchanges;
mod filter;
mod global;
mod names;
mod node;
mod queues;
mod text;

use super::Node;
use crate::broker::Counters;
use crate::time::{self, Duration};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use axum::{Router, routing};
use connections::Open;
use filter::Filter;
use names::{DETAILED, Family, RABBITMQ};
use parking_lot::Mutex;
use queues::Rows;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{io, net::SocketAddr};
use text::{Format, Gone, Page};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

/// So many pages are written at a time; who asks for more waits.
const PAGES_MAX: usize = 2;
/// So many pieces wait to be sent.
const PIECES_MAX: usize = 4;
/// Whoever takes no piece for so long gets no more.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is served on the port for metrics.
#[derive(Debug)]
pub struct Exporter {
    node: Arc<Node>,
    /// Where metrics are: `/metrics`.
    path: String,
    /// There is a sample for each object without being asked for.
    is_per_object: bool,
    pages: Arc<Semaphore>,
    /// What counters showed last, where what they are added up from may be in between: they never fall.
    shown: Mutex<HashMap<(&'static str, usize), u64>>,
    /// How long the last page of each scope took in microseconds, and how many bytes it had.
    last: Mutex<[(u64, u64); 4]>,
}

/// What a page has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Aggregated,
    PerObject,
    Detailed,
    Memory,
}

impl Scope {
    /// RabbitMQ's word.
    fn name(self) -> &'static str {
        match self {
            Self::Aggregated => "aggregated",
            Self::PerObject => "per-object",
            Self::Detailed => "detailed",
            Self::Memory => "memory-breakdown",
        }
    }
}

/// A page that somebody asked for.
struct Scrape<'a> {
    exporter: &'a Exporter,
    scope: Scope,
    filter: Filter,
}

impl Scrape<'_> {
    fn counters(&self) -> &Counters {
        &self.exporter.node.broker.counters
    }

    /// What names begin with.
    fn prefix(&self) -> &'static str {
        if self.scope == Scope::Detailed { DETAILED } else { RABBITMQ }
    }

    /// Whether a family is on the page. Those that only cost are there when they are asked for alone.
    fn wants(&self, family: Family) -> bool {
        use Family as F;
        let is_detailed_only = matches!(
            family,
            F::Exchange | F::VhostStatus | F::ExchangeBindings | F::ExchangeNames | F::LoginSources
        );
        match self.scope {
            Scope::Detailed => self.filter.has_family(family),
            Scope::Memory => false,
            Scope::Aggregated | Scope::PerObject => !is_detailed_only,
        }
    }

    /// Writes the page.
    fn write(&self, page: &mut Page<'_>) -> Result<(), Gone> {
        node::write_identity(self, page)?;
        if self.scope == Scope::Memory {
            return node::write_memory(self, page);
        }
        node::write(self, page)?;
        let rows = Rows::read(self);
        let open = Open::read(self);
        rows.write(self, page)?;
        open.write(self, page)?;
        exchanges::write(self, page)?;
        if self.scope == Scope::Detailed {
            return Ok(());
        }
        global::write(self, &rows.sum, &open, page)?;
        node::write_alarms(self, page)?;
        node::write_own(self, page)?;
        node::write_telemetry(self, page)
    }
}

impl Exporter {
    /// For a node, under a path.
    pub fn new(node: Arc<Node>, path: &str, is_per_object: bool) -> Self {
        Self {
            node,
            path: path.trim_end_matches('/').to_owned(),
            is_per_object,
            pages: Arc::new(Semaphore::new(PAGES_MAX)),
            shown: Mutex::default(),
            last: Mutex::default(),
        }
    }

    /// The value, or what was shown for that key before if that is more.
    fn never_less(&self, key: (&'static str, usize), value: u64) -> u64 {
        let mut shown = self.shown.lock();
        let before = shown.entry(key).or_default();
        *before = value.max(*before);
        *before
    }

    /// How long the last page of a scope took in microseconds, and how many bytes it had.
    fn last(&self, scope: Scope) -> (u64, u64) {
        self.last.lock()[scope as usize]
    }

    /// Writes a page. Blocks for as long as its pieces are taken.
    fn write(
        &self,
        scope: Scope,
        filter: Filter,
        format: Format,
        send: &mut dyn FnMut(String) -> Option<String>,
    ) {
        let begin = time::now();
        let mut page = Page::new(format, send);
        let written = Scrape { exporter: self, scope, filter }.write(&mut page);
        if let Ok(bytes) = written.and_then(|()| page.finish()) {
            let took_us = u64::try_from((time::now() - begin).as_micros()).unwrap_or(u64::MAX);
            self.last.lock()[scope as usize] = (took_us, bytes);
        }
    }
}

/// A piece on its way. Whoever writes the page gets its buffer back: allocators are slow to notice what one thread always asks for
/// and another always frees.
struct Lent {
    text: String,
    back: std::sync::mpsc::Sender<String>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // The page may be written already.
        let _ = self.back.send(std::mem::take(&mut self.text));
    }
}

/// Pieces of a page on their way to whoever asked.
struct Pieces(mpsc::Receiver<Bytes>);

impl futures_core::Stream for Pieces {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|piece| piece.map(Ok))
    }
}

/// Serves metrics until `shutdown` is ready, then lets pages under way end.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    exporter: Arc<Exporter>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = listener.tap_io(|stream| {
        stream.set_nodelay(true).ok();
    });
    let service = router(exporter).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(shutdown).await
}

fn router(exporter: Arc<Exporter>) -> Router {
    let mut router = Router::new();
    let scope = if exporter.is_per_object { Scope::PerObject } else { Scope::Aggregated };
    for (path, scope) in [
        ("", scope),
        ("/per-object", Scope::PerObject),
        ("/detailed", Scope::Detailed),
        ("/memory-breakdown", Scope::Memory),
    ] {
        let answer = move |State(exporter): State<Arc<Exporter>>, uri: Uri, headers: HeaderMap| async move {
            answer(exporter, scope, &uri, &headers).await
        };
        let path = format!("{}{path}", exporter.path);
        router = router.route(if path.is_empty() { "/" } else { &path }, routing::get(answer));
    }
    router.with_state(exporter)
}

async fn answer(exporter: Arc<Exporter>, scope: Scope, uri: &Uri, headers: &HeaderMap) -> Response {
    let query = super::parse_query(uri.query().unwrap_or_default());
    let filter = match Filter::parse(&query) {
        Ok(filter) => filter,
        Err(reason) => return (StatusCode::BAD_REQUEST, format!("{reason}\n")).into_response(),
    };
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::preferred(&accept.collect::<Vec<_>>().join(","));
    let Ok(permit) = Arc::clone(&exporter.pages).acquire_owned().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let (back, spare) = std::sync::mpsc::channel();
        let mut send = |text: String| {
            let piece = Bytes::from_owner(Lent { text, back: back.clone() });
            let sent = runtime.block_on(tokio::time::timeout(PATIENCE, sender.send(piece)));
            matches!(sent, Ok(Ok(()))).then(|| spare.try_recv().unwrap_or_default())
        };
        exporter.write(scope, filter, format, &mut send);
        drop(permit);
    });
    ([(header::CONTENT_TYPE, format.content_type())], Body::from_stream(Pieces(receiver))).into_response()
}

#[cfg(test)]
mod tests;
