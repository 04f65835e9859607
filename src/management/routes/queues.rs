//! Queues, and looking into them.

use crate::broker::declare::{DeclareQueue, DeleteIf};
use crate::management::statistics::Spans;
use crate::management::view::{fields::Wanted, stats::Details, stats::Unsampled};
use crate::management::{Answer, Call, body::Body, error::Error, routes::consumers, view};
use crate::name::{QueueId, QueueName, Sequence};
use crate::outbox::Wakes;
use crate::queue::arguments::Kind;
use crate::queue::state::Return;
use crate::queue::{Queue, classic::Taken};
use serde_json::Value;
use std::sync::Arc;

/// The most messages that one request takes.
const GET_COUNT_MAX: u64 = 10_000;

/// The queues of the vhosts that the request is about, by vhost and name.
pub(super) fn all(call: &Call) -> Result<Vec<Arc<Queue>>, Error> {
    let mut queues = Vec::new();
    for vhost in call.vhosts()? {
        queues.extend(vhost.queues());
    }
    Ok(queues)
}

/// The queue that the path names, to look at.
pub(super) fn find(call: &Call) -> Result<Arc<Queue>, Error> {
    let vhost = call.vhost()?;
    let queue = vhost.topology().queue(call.parameter("queue")).cloned();
    queue.ok_or(Error::NotFound)
}

pub(in crate::management) fn list(call: &Call) -> Result<Answer, Error> {
    let spans = call.spans()?;
    let lean = call.query.is_true("disable_stats").then(|| {
        let totals = if call.query.is_true("enable_queue_totals") { view::queue::TOTALS } else { &[] };
        [view::queue::IDENTITY, totals].concat()
    });
    let render = move |call: &Call, queue: &Arc<Queue>, wanted: &Wanted| render(call, queue, &spans, wanted);
    call.list_among(lean.as_deref(), all(call)?, |queue| queue.name.as_str(), render)
}

pub(in crate::management) fn show(call: &Call) -> Result<Answer, Error> {
    let queue = find(call)?;
    let mut object = render(call, &queue, &call.spans()?, &Wanted::All);
    object["consumer_details"] = Value::Array(consumers::of_queue(call, &queue));
    object["incoming"] = Value::Array(Vec::new());
    object["deliveries"] = Value::Array(Vec::new());
    call.object(object)
}

fn render(call: &Call, queue: &Queue, spans: &Spans, wanted: &Wanted) -> Value {
    let owner = queue.owner.and_then(|owner| call.node.broker.connections.get(owner));
    let told =
        view::queue::wants_details(wanted).then(|| call.node.statistics.of_queue(queue.definition.id, spans));
    let details: &dyn Details = told.as_ref().map_or(&Unsampled, |told| told);
    view::queue::render(queue, owner.as_deref(), &call.node.broker.node, details, wanted)
}

pub(in crate::management) fn put(call: &Call) -> Result<Answer, Error> {
    let session = call.session()?;
    let body = call.body()?;
    let name = QueueName::checked(call.parameter("queue"));
    let declare = DeclareQueue {
        name: name.map_err(|error| Error::BadRequest(error.to_string()))?,
        durable: body.flag("durable")?,
        exclusive: false,
        auto_delete: body.flag("auto_delete")?,
        arguments: body.arguments("arguments")?,
    };
    let declared = call.node.broker.declare_queue(&session, declare)?;
    Ok(Answer::put(call.settled(declared)?.is_new))
}

pub(in crate::management) fn delete(call: &Call) -> Result<Answer, Error> {
    let session = call.session()?;
    let condition =
        DeleteIf { unused: call.query.is_true("if-unused"), empty: call.query.is_true("if-empty") };
    let mut wakes = Wakes::default();
    let name = call.parameter("queue").into();
    let deleted = call.node.broker.delete_queue(&session, &name, condition, &mut wakes)?;
    drop(wakes);
    call.settled(deleted)?.map(|_| Answer::Done).ok_or(Error::NotFound)
}

pub(in crate::management) fn purge(call: &Call) -> Result<Answer, Error> {
    let session = call.session()?;
    find(call)?;
    call.node.broker.purge_queue(&session, &call.parameter("queue").into(), &mut Wakes::default())?;
    Ok(Answer::Done)
}

/// What becomes of the messages that a request looks at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Acked,
    Discarded,
    Requeued(Return),
}

/// Takes messages out of the queue, shows them, and puts them back where they were or not, as the body says.
pub(in crate::management) fn get(call: &Call) -> Result<Answer, Error> {
    let session = call.session()?;
    find(call)?;
    let body = call.body()?;
    body.require(&["ackmode", "count", "encoding"])?;
    let (fate, is_base64) = (fate(&body)?, is_base64(&body)?);
    let count = body.number("count")?.unwrap_or(0).min(GET_COUNT_MAX);
    let truncate = body.number("truncate")?.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let (broker, name, mut wakes) = (&call.node.broker, call.parameter("queue").into(), Wakes::default());
    let mut taken: Vec<(QueueId, Taken)> = Vec::new();
    for _ in 0..count {
        match call.wait(broker.get(&session, &name, false, &mut wakes))? {
            Some(message) => taken.push(message),
            None => break,
        }
    }
    let shown = taken.iter().map(|(_, taken)| view::message::render(taken, is_base64, truncate)).collect();
    let sequences: Vec<Sequence> = taken.iter().map(|(_, taken)| taken.sequence).collect();
    if let Some((queue, _)) = taken.first() {
        match fate {
            Fate::Requeued(how) => broker.requeue(*queue, &sequences, how, &mut wakes),
            Fate::Discarded => broker.discard(*queue, &sequences, &mut wakes),
            Fate::Acked => broker.ack(*queue, &sequences, &mut wakes),
        }
    }
    Ok(Answer::Json(Value::Array(shown)))
}

fn fate(body: &Body) -> Result<Fate, Error> {
    match body.text("ackmode")? {
        Some("ack_requeue_true") => Ok(Fate::Requeued(Return::Plain)),
        Some("reject_requeue_true") => Ok(Fate::Requeued(Return::Failed)),
        Some("ack_requeue_false") => Ok(Fate::Acked),
        Some("reject_requeue_false") => Ok(Fate::Discarded),
        _ => Err(Error::BadRequest(
            "ackmode must be one of ack_requeue_true, reject_requeue_true, ack_requeue_false, reject_requeue_false"
                .into(),
        )),
    }
}

fn is_base64(body: &Body) -> Result<bool, Error> {
    match body.text("encoding")? {
        Some("auto") => Ok(false),
        Some("base64") => Ok(true),
        _ => Err(Error::BadRequest("encoding must be auto or base64".into())),
    }
}

/// The replicas of a quorum queue: here it has one, which leads.
pub(in crate::management) fn quorum_status(call: &Call) -> Result<Answer, Error> {
    let queue = find(call)?;
    if queue.definition.kind != Kind::Quorum.name() {
        return Err(Error::BadRequest(format!("{} is no quorum queue", queue.name)));
    }
    Ok(Answer::Json(view::queue::replicas(&call.node.broker.node)))
}

/// There is no other node that queues could move to.
pub(in crate::management) fn rebalance(_: &Call) -> Result<Answer, Error> {
    Ok(Answer::Done)
}

/// Queues had actions while they were mirrored; RabbitMQ 4 knows none either, but still says so in these words.
pub(in crate::management) fn act(call: &Call) -> Result<Answer, Error> {
    find(call)?;
    let body = call.body()?;
    body.require(&["action"])?;
    Err(Error::BadRequest(format!("unknown action: {}", body.text("action")?.unwrap_or_default())))
}
