//! Spans by OpenTelemetry, exported over OTLP (HTTP, protobuf) by a thread of its SDK.

use super::{Delivered, Published, Settled};
use crate::arguments;
use crate::message::Message;
use crate::name::{QueueId, Sequence};
use crate::time;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use std::collections::HashMap;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How long the collector may take to take spans.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// So many deliveries of a connection are remembered until they are settled; of more, only their delivery is told.
const OUTSTANDING_MAX: usize = 65_536;

/// Makes spans, or none.
#[derive(Clone, Debug, Default)]
pub struct Tracer {
    started: Option<Arc<Started>>,
}

#[derive(Debug)]
struct Started {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// Why no tracer can be made.
#[derive(Debug, thiserror::Error)]
#[error("spans cannot be exported: {0}")]
pub struct StartError(#[from] opentelemetry_otlp::ExporterBuildError);

/// A message that is traced.
#[derive(Debug)]
pub struct Traced {
    /// What its publisher calls its own span.
    parent: SpanContext,
    started: SystemTime,
    routed: Option<SystemTime>,
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(time::unix_ns())
}

impl Tracer {
    /// A tracer that exports to a collector: `endpoint` is its base, like `http://127.0.0.1:4318`.
    /// # Errors
    /// [`StartError`] for an endpoint that makes no sense.
    pub fn start(endpoint: &str, node: &str) -> Result<Self, StartError> {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Client::default())
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .with_timeout(EXPORT_TIMEOUT)
            .build()?;
        let resource = Resource::builder_empty()
            .with_service_name("warren")
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", node.to_owned()),
            ])
            .build();
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        let tracer = provider.tracer("warren");
        Ok(Self { started: Some(Arc::new(Started { provider, tracer })) })
    }

    /// The message as a traced one, if it is: it has a `traceparent` that is sampled.
    #[inline]
    pub fn trace(&self, message: &Message) -> Option<Traced> {
        self.started.as_ref()?;
        let parent = parent(message)?;
        Some(Traced { parent, started: now(), routed: None })
    }

    /// Sends what is left to be sent. Waits for the collector as long as an export may take.
    pub fn stop(&self) {
        if let Some(started) = &self.started
            && let Err(error) = started.provider.shutdown_with_timeout(EXPORT_TIMEOUT)
        {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }

    /// A span within another, that is over.
    fn tell(
        &self,
        parent: &SpanContext,
        span: SpanBuilder,
        until: SystemTime,
        fault: Option<&'static str>,
    ) -> SpanContext {
        let Some(started) = &self.started else { return SpanContext::NONE };
        let context = Context::new().with_remote_span_context(parent.clone());
        let mut span = started.tracer.build_with_context(span, &context);
        if let Some(fault) = fault {
            span.set_status(Status::error(fault));
        }
        span.end_with_timestamp(until);
        span.span_context().clone()
    }
}

/// What the header says that this is part of.
fn parent(message: &Message) -> Option<SpanContext> {
    let properties = message.properties();
    properties.headers?;
    let headers = properties.parse_headers().ok()?;
    let text = |name| arguments::get(&headers, name).and_then(arguments::as_text);
    parse_parent(text("traceparent")?, text("tracestate").unwrap_or_default())
}

/// A sampled parent: `00-32 digits-16 digits-01`. Later versions may say more behind these.
fn parse_parent(traceparent: &str, tracestate: &str) -> Option<SpanContext> {
    let mut parts = traceparent.split('-');
    let [version, trace, span, flags] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let is_hexadecimal = |text: &str, digits| {
        text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_known = version != "ff" && (version != "00" || parts.next().is_none());
    let is_well_formed = is_hexadecimal(version, 2)
        && is_hexadecimal(trace, 32)
        && is_hexadecimal(span, 16)
        && is_hexadecimal(flags, 2);
    if !is_known || !is_well_formed {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let state = TraceState::from_str(tracestate).unwrap_or_default();
    let parent = SpanContext::new(trace, span, flags, true, state);
    (parent.is_valid() && parent.is_sampled()).then_some(parent)
}

/// A span of what was done with a message.
fn span(
    name: String,
    kind: SpanKind,
    from: SystemTime,
    operation: &'static str,
    message: &Message,
) -> SpanBuilder {
    let exchange = if message.exchange.is_empty() { "amq.default" } else { message.exchange.as_str() };
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    SpanBuilder::from_name(name).with_kind(kind).with_start_time(from).with_attributes([
        KeyValue::new("messaging.system", "rabbitmq"),
        KeyValue::new("messaging.operation.name", operation),
        KeyValue::new("messaging.destination.name", exchange.to_owned()),
        KeyValue::new(
            "messaging.rabbitmq.destination.routing_key",
            String::from_utf8_lossy(message.routing_key()).into_owned(),
        ),
        KeyValue::new("messaging.message.body.size", number(message.body().len())),
    ])
}

fn with(mut span: SpanBuilder, attribute: KeyValue) -> SpanBuilder {
    span.attributes.get_or_insert_default().push(attribute);
    span
}

impl Traced {
    /// It is known which queues it goes to.
    pub fn routed(&mut self) {
        self.routed = Some(now());
    }

    /// It has been published.
    pub fn published(self, tracer: &Tracer, message: &Message, how: Published) {
        let until = now();
        let named = |operation| {
            format!(
                "{operation} {}",
                if message.exchange.is_empty() { "amq.default" } else { message.exchange.as_str() }
            )
        };
        let fault = match how {
            Published::Routed(_) => None,
            Published::Unroutable => Some("no queue"),
            Published::Rejected => Some("a queue is full"),
        };
        let publish = span(named("publish"), SpanKind::Server, self.started, "publish", message);
        let publish = tracer.tell(&self.parent, publish, until, fault);
        let queues = if let Published::Routed(queues) = how { queues } else { 0 };
        let route = span(named("route"), SpanKind::Internal, self.started, "route", message);
        let route = with(route, KeyValue::new("warren.queues", i64::try_from(queues).unwrap_or(i64::MAX)));
        tracer.tell(&publish, route, self.routed.unwrap_or(until), None);
    }
}

/// Deliveries of traced messages that are not settled.
#[derive(Debug, Default)]
pub struct Outstanding {
    deliveries: HashMap<(QueueId, Sequence), (Traced, Arc<Message>)>,
}

impl Outstanding {
    /// A message is handed to a consumer.
    pub fn delivered(&mut self, tracer: &Tracer, delivered: Delivered) {
        let Delivered { traced, message, from, redelivered } = delivered;
        let deliver = span("deliver".into(), SpanKind::Internal, traced.started, "deliver", &message);
        let deliver = with(deliver, KeyValue::new("warren.redelivered", redelivered));
        tracer.tell(&traced.parent, deliver, now(), None);
        if let Some(from) = from.filter(|_| self.deliveries.len() < OUTSTANDING_MAX) {
            self.deliveries.insert(from, (traced, message));
        }
    }

    /// Deliveries are settled.
    #[inline]
    pub fn settled(&mut self, tracer: &Tracer, queue: QueueId, sequences: &[Sequence], how: Settled) {
        if self.deliveries.is_empty() {
            return;
        }
        for sequence in sequences {
            let Some((traced, message)) = self.deliveries.remove(&(queue, *sequence)) else { continue };
            let settle = span("settle".into(), SpanKind::Server, traced.started, "settle", &message);
            let settle = with(settle, KeyValue::new("warren.outcome", how.name()));
            tracer.tell(&traced.parent, settle, now(), None);
        }
    }
}

/// Posts spans. It blocks, on the thread that the SDK has for exports.
#[derive(Debug)]
struct Client(ureq::Agent);

impl Default for Client {
    fn default() -> Self {
        let agent =
            ureq::Agent::config_builder().timeout_global(Some(EXPORT_TIMEOUT)).http_status_as_error(false);
        Self(agent.build().into())
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let answer = self.0.run(Request::from_parts(parts, body.to_vec()))?;
        let (parts, mut body) = answer.into_parts();
        Ok(Response::from_parts(parts, body.read_to_vec()?.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_sampled_traceparent_is_a_parent() {
        let parent = parse_parent(PARENT, "a=b").unwrap();
        assert_eq!(parent.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(parent.span_id().to_string(), "b7ad6b7169203331");
        assert_eq!(parent.trace_state().header(), "a=b");
        assert!(parse_parent(&PARENT.replace("00-", "01-"), "").is_some(), "a later version");
        assert!(parse_parent(&format!("{}-more", PARENT.replace("00-", "01-")), "").is_some());
    }

    #[test]
    fn what_is_not_sampled_or_makes_no_sense_is_not_traced() {
        let not = [
            PARENT.replace("-01", "-00"),
            PARENT.replace("00-0", "ff-0"),
            PARENT.to_uppercase(),
            format!("{PARENT}-more"),
            PARENT[..50].to_owned(),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01".to_owned(),
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01".to_owned(),
            String::new(),
        ];
        not.iter().for_each(|text| assert_eq!(parse_parent(text, ""), None, "{text}"));
    }
}
