//! What a channel makes of its methods, class by class: checked as far as the channel itself can, then asked of the broker.

use super::{
    Awaiting, Channel, Confirms, Mode, REPLY_TO, Step, Transaction, not_implemented, precondition,
    unknown_tag,
};
use crate::amqp::exception::{Exception, ReplyCode};
use crate::amqp::frame::Output;
use crate::amqp::method::{basic, channel, confirm, exchange, queue, tx};
use crate::amqp::request::{Disposition, Request, Settle, Subscribe, Topology};
use crate::name::{ConsumerTag, DeliveryTag, QueueName};
use crate::queue::state::Return;
use amq_protocol::protocol::AMQPClass;
use std::sync::Arc;

/// RabbitMQ strips line ends from the names of queues and exchanges.
fn strip(name: &mut amq_protocol::types::ShortString) {
    if name.as_str().contains(['\r', '\n']) {
        *name = name.as_str().replace(['\r', '\n'], "").into();
    }
}

impl Channel {
    /// A method other than publish and ack, which have their own ways in.
    pub(in crate::amqp) fn handle_method(
        &mut self,
        class: AMQPClass,
        payload: &[u8],
        output: &mut Output,
    ) -> Step {
        match class {
            AMQPClass::Channel(method) => self.handle_channel(&method, output),
            AMQPClass::Access(_) => {
                output.access_request_ok(self.id);
                Ok(None)
            }
            AMQPClass::Exchange(method) => self.handle_exchange(method),
            AMQPClass::Queue(method) => self.handle_queue(method),
            AMQPClass::Basic(method) => self.handle_basic(method, payload, output),
            AMQPClass::Confirm(confirm::AMQPMethod::Select(select)) => self.confirm_select(&select, output),
            AMQPClass::Tx(method) => self.handle_tx(&method, output),
            _ => Err(Exception::new(ReplyCode::CommandInvalid, "unimplemented method")),
        }
    }

    fn handle_channel(&self, method: &channel::AMQPMethod, output: &mut Output) -> Step {
        match method {
            channel::AMQPMethod::Open(_) => {
                Err(Exception::new(ReplyCode::ChannelError, "second 'channel.open' seen"))
            }
            channel::AMQPMethod::Flow(channel::Flow { active: true }) => {
                let ok = channel::AMQPMethod::FlowOk(channel::FlowOk { active: true });
                output.class(self.id, &AMQPClass::Channel(ok));
                Ok(None)
            }
            channel::AMQPMethod::Flow(_) => Err(not_implemented("active=false")),
            // We never sent channel.flow.
            _ => Err(Exception::new(ReplyCode::CommandInvalid, "unimplemented method")),
        }
    }

    fn topology(&self, topology: Topology, awaiting: Awaiting) -> Step {
        Ok(Some((Request::Topology(self.id, Box::new(topology)), awaiting)))
    }

    fn handle_exchange(&mut self, method: exchange::AMQPMethod) -> Step {
        use exchange::AMQPMethod as M;
        let ok = |no_wait: bool, ok: M| {
            if no_wait { Awaiting::Silence } else { Awaiting::Ok(Box::new(AMQPClass::Exchange(ok))) }
        };
        match method {
            M::Declare(mut declare) => {
                strip(&mut declare.exchange);
                let awaiting = ok(declare.nowait, M::DeclareOk(exchange::DeclareOk {}));
                self.topology(Topology::DeclareExchange(declare), awaiting)
            }
            M::Delete(mut delete) => {
                strip(&mut delete.exchange);
                let awaiting = ok(delete.nowait, M::DeleteOk(exchange::DeleteOk {}));
                self.topology(Topology::DeleteExchange(delete), awaiting)
            }
            M::Bind(mut bind) => {
                strip(&mut bind.source);
                strip(&mut bind.destination);
                let awaiting = ok(bind.nowait, M::BindOk(exchange::BindOk {}));
                self.topology(Topology::BindExchange(bind), awaiting)
            }
            M::Unbind(mut unbind) => {
                strip(&mut unbind.source);
                strip(&mut unbind.destination);
                let awaiting = ok(unbind.nowait, M::UnbindOk(exchange::UnbindOk {}));
                self.topology(Topology::UnbindExchange(unbind), awaiting)
            }
            _ => Err(Exception::new(ReplyCode::CommandInvalid, "unimplemented method")),
        }
    }

    fn handle_queue(&mut self, method: queue::AMQPMethod) -> Step {
        use queue::AMQPMethod as M;
        match method {
            M::Declare(mut declare) => {
                strip(&mut declare.queue);
                let awaiting = Awaiting::DeclareOk { no_wait: declare.nowait };
                self.topology(Topology::DeclareQueue(declare), awaiting)
            }
            M::Bind(mut bind) => {
                strip(&mut bind.exchange);
                self.expand_key(&bind.queue, &mut bind.routing_key)?;
                self.expand(&mut bind.queue)?;
                let ok = Awaiting::Ok(Box::new(AMQPClass::Queue(M::BindOk(queue::BindOk {}))));
                let awaiting = if bind.nowait { Awaiting::Silence } else { ok };
                self.topology(Topology::BindQueue(bind), awaiting)
            }
            M::Unbind(mut unbind) => {
                strip(&mut unbind.exchange);
                self.expand_key(&unbind.queue, &mut unbind.routing_key)?;
                self.expand(&mut unbind.queue)?;
                let ok = Awaiting::Ok(Box::new(AMQPClass::Queue(M::UnbindOk(queue::UnbindOk {}))));
                self.topology(Topology::UnbindQueue(unbind), ok)
            }
            M::Purge(mut purge) => {
                self.expand(&mut purge.queue)?;
                let awaiting = Awaiting::PurgeOk { no_wait: purge.nowait };
                self.topology(Topology::PurgeQueue(purge), awaiting)
            }
            M::Delete(mut delete) => {
                self.expand(&mut delete.queue)?;
                let awaiting = Awaiting::DeleteOk { no_wait: delete.nowait };
                self.topology(Topology::DeleteQueue(delete), awaiting)
            }
            _ => Err(Exception::new(ReplyCode::CommandInvalid, "unimplemented method")),
        }
    }

    /// The empty queue name means the queue last declared on the channel.
    fn expand(&self, name: &mut amq_protocol::types::ShortString) -> Result<(), Exception> {
        strip(name);
        if name.as_str().is_empty() {
            let last = self.last_queue.as_ref();
            let last =
                last.ok_or_else(|| Exception::new(ReplyCode::NotFound, "no previously declared queue"))?;
            *name = last.as_str().into();
        }
        Ok(())
    }

    /// With an empty queue name an empty routing key means that queue's name, too.
    fn expand_key(
        &self,
        queue: &amq_protocol::types::ShortString,
        key: &mut amq_protocol::types::ShortString,
    ) -> Result<(), Exception> {
        if queue.as_str().is_empty() && key.as_str().is_empty() { self.expand(key) } else { Ok(()) }
    }

    fn handle_basic(&mut self, method: basic::AMQPMethod, payload: &[u8], output: &mut Output) -> Step {
        use basic::AMQPMethod as M;
        match method {
            M::Qos(qos) => self.qos(qos, payload, output),
            M::Consume(consume) => self.consume(consume),
            M::Cancel(cancel) => self.cancel(cancel, output),
            // The answer to a cancel of ours, which we don't wait for.
            M::CancelOk(_) => Ok(None),
            M::Get(mut get) => {
                self.expand(&mut get.queue)?;
                if get.queue.as_str() == REPLY_TO {
                    return Err(not_implemented("basic.get not supported by direct reply-to"));
                }
                let queue = QueueName::new(get.queue.as_str());
                let request = Request::Get { channel: self.id, queue, no_ack: get.no_ack };
                Ok(Some((request, Awaiting::GetOk { no_ack: get.no_ack })))
            }
            M::Reject(reject) => {
                self.settle(DeliveryTag(reject.delivery_tag), false, requeue(reject.requeue, Return::Failed))
            }
            M::Nack(nack) => self.settle(
                DeliveryTag(nack.delivery_tag),
                nack.multiple,
                requeue(nack.requeue, Return::Plain),
            ),
            M::Recover(recover) => self.recover(recover.requeue, true),
            M::RecoverAsync(recover) => self.recover(recover.requeue, false),
            _ => Err(Exception::new(ReplyCode::CommandInvalid, "unimplemented method")),
        }
    }

    fn qos(&mut self, qos: basic::Qos, payload: &[u8], output: &mut Output) -> Step {
        let size = payload.get(4..8).and_then(|size| size.try_into().ok()).map_or(0, u32::from_be_bytes);
        if size != 0 {
            return Err(not_implemented(format!("prefetch_size!=0 ({size})")));
        }
        let ok = AMQPClass::Basic(basic::AMQPMethod::QosOk(basic::QosOk {}));
        if !qos.global {
            self.prefetch = qos.prefetch_count;
            output.class(self.id, &ok);
            return Ok(None);
        }
        self.credit.set_limit(qos.prefetch_count.into());
        let consumers = self.consumers.iter().map(|consumer| consumer.id).collect();
        Ok(Some((Request::Resume(consumers), Awaiting::Ok(Box::new(ok)))))
    }

    fn consume(&mut self, mut consume: basic::Consume) -> Step {
        self.expand(&mut consume.queue)?;
        let tag = consume.consumer_tag.as_str();
        let is_used = self.consumers.iter().any(|consumer| consumer.tag.as_str() == tag)
            || self.replies.as_ref().is_some_and(|replies| replies.tag.as_str() == tag);
        if !tag.is_empty() && is_used {
            let text = format!("attempt to reuse consumer tag '{tag}'");
            return Err(Exception::new(ReplyCode::NotAllowed, text));
        }
        let awaiting = Awaiting::ConsumeOk { no_wait: consume.nowait, no_ack: consume.no_ack };
        if consume.queue.as_str() == REPLY_TO {
            if self.replies.is_some() {
                return Err(precondition("reply consumer already set"));
            }
            if !consume.no_ack {
                return Err(precondition("reply consumer cannot acknowledge"));
            }
            return Ok(Some((Request::SubscribeReplies(self.id, ConsumerTag::new(tag)), awaiting)));
        }
        let (channel, prefetch, credit) = (self.id, self.prefetch, Arc::clone(&self.credit));
        Ok(Some((Request::Subscribe(Box::new(Subscribe { channel, consume, prefetch, credit })), awaiting)))
    }

    fn cancel(&mut self, cancel: basic::Cancel, output: &mut Output) -> Step {
        let tag = ConsumerTag::new(cancel.consumer_tag.as_str());
        let awaiting = Awaiting::CancelOk { tag: tag.clone(), no_wait: cancel.nowait };
        if self.replies.as_ref().is_some_and(|replies| replies.tag == tag) {
            return Ok(Some((Request::UnsubscribeReplies(self.id), awaiting)));
        }
        match self.consumers.iter().find(|consumer| consumer.tag == tag) {
            Some(consumer) => Ok(Some((Request::Unsubscribe(self.id, consumer.id), awaiting))),
            None => {
                // RabbitMQ confirms the end of a consumer it never had.
                self.cancel_ok(tag, cancel.nowait, output);
                Ok(None)
            }
        }
    }

    pub(super) fn cancel_ok(&mut self, tag: ConsumerTag, no_wait: bool, output: &mut Output) {
        self.consumers.retain(|consumer| consumer.tag != tag);
        self.replies.take_if(|replies| replies.tag == tag);
        if !no_wait {
            let ok = basic::AMQPMethod::CancelOk(basic::CancelOk { consumer_tag: tag.as_str().into() });
            output.class(self.id, &AMQPClass::Basic(ok));
        }
    }

    fn settle(&mut self, tag: DeliveryTag, multiple: bool, disposition: Disposition) -> Step {
        let mut deliveries = Vec::new();
        self.unacked.take(tag, multiple, &mut deliveries).map_err(unknown_tag)?;
        let settle = Settle { disposition, deliveries };
        if let Mode::Transaction(transaction) = &mut self.mode {
            transaction.settles.push(settle);
            return Ok(None);
        }
        Ok(Some((Request::Settle(settle), Awaiting::Silence)))
    }

    fn recover(&mut self, is_requeue: bool, wants_reply: bool) -> Step {
        if !is_requeue {
            return Err(not_implemented("requeue=false"));
        }
        let settle =
            Settle { disposition: Disposition::Requeue(Return::Plain), deliveries: self.unacked.take_all() };
        let ok = Awaiting::Ok(Box::new(AMQPClass::Basic(basic::AMQPMethod::RecoverOk(basic::RecoverOk {}))));
        Ok(Some((Request::Settle(settle), if wants_reply { ok } else { Awaiting::Silence })))
    }

    fn confirm_select(&mut self, select: &confirm::Select, output: &mut Output) -> Step {
        match self.mode {
            Mode::Transaction(_) => return Err(precondition("cannot switch from tx to confirm mode")),
            Mode::Plain => self.mode = Mode::Confirm(Confirms::default()),
            Mode::Confirm(_) => {}
        }
        if !select.nowait {
            let ok = confirm::AMQPMethod::SelectOk(confirm::SelectOk {});
            output.class(self.id, &AMQPClass::Confirm(ok));
        }
        Ok(None)
    }

    fn handle_tx(&mut self, method: &tx::AMQPMethod, output: &mut Output) -> Step {
        let transaction = match (&mut self.mode, method) {
            (Mode::Confirm(_), tx::AMQPMethod::Select(_)) => {
                return Err(precondition("cannot switch from confirm to tx mode"));
            }
            (mode @ Mode::Plain, tx::AMQPMethod::Select(_)) => {
                *mode = Mode::Transaction(Transaction::default());
                None
            }
            (Mode::Transaction(_), tx::AMQPMethod::Select(_)) => None,
            (Mode::Transaction(transaction), _) => Some(std::mem::take(transaction)),
            _ => return Err(precondition("channel is not transactional")),
        };
        match (method, transaction) {
            (tx::AMQPMethod::Commit(_), Some(Transaction { publishes, settles })) => {
                let acks = settles.iter().filter(|settle| settle.disposition == Disposition::Ack);
                self.counts.acked += acks.map(|settle| settle.deliveries.len() as u64).sum::<u64>();
                Ok(Some((Request::Commit { channel: self.id, publishes, settles }, Awaiting::CommitOk)))
            }
            (tx::AMQPMethod::Rollback(_), Some(transaction)) => {
                // What was acked in the transaction is unacked again; it is not delivered again.
                let settles = transaction.settles.into_iter();
                self.unacked.restore(settles.flat_map(|settle| settle.deliveries).collect());
                let ok = tx::AMQPMethod::RollbackOk(tx::RollbackOk {});
                output.class(self.id, &AMQPClass::Tx(ok));
                Ok(None)
            }
            (tx::AMQPMethod::Select(_), None) => {
                output.class(self.id, &AMQPClass::Tx(tx::AMQPMethod::SelectOk(tx::SelectOk {})));
                Ok(None)
            }
            _ => Err(Exception::new(ReplyCode::CommandInvalid, "unimplemented method")),
        }
    }
}

/// RabbitMQ 4.3: who rejects a message has failed with it, who nacks gives it back.
fn requeue(is_requeue: bool, how: Return) -> Disposition {
    if is_requeue { Disposition::Requeue(how) } else { Disposition::Discard }
}
