//! Frames and methods: bytes to a publish, a delivery to bytes.

use super::{client, message};
use criterion::{Criterion, Throughput};
use std::hint::black_box;
use warren::amqp::frame::{self, Output, Payload};
use warren::amqp::method::{self, Deliver};
use warren::name::{ChannelId, DeliveryTag};

const FRAME_MAX: u32 = 131_072;
const COUNT: usize = 1000;

pub(crate) fn codec(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec");
    group.throughput(Throughput::Elements(COUNT as u64));
    for size in [16, 1024] {
        let bytes = client::publishes("", "queue", size, false, COUNT);
        group.bench_function(format!("read publishes of {size} B"), |b| b.iter(|| read(black_box(&bytes))));
        let message = message(size, false);
        group.bench_function(format!("write deliveries of {size} B"), |b| {
            let mut output = Output::default();
            b.iter(|| {
                for n in 0..COUNT {
                    let deliver = Deliver {
                        consumer_tag: "ctag",
                        tag: DeliveryTag(n as u64),
                        redelivered: false,
                        exchange: "",
                        routing_key: message.routing_key(),
                    };
                    output.deliver(ChannelId(1), &deliver);
                    output.content(ChannelId(1), &message, FRAME_MAX);
                }
                output.advance(output.len());
            });
        });
    }
    group.finish();
}

/// How many publishes are in it.
fn read(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let Some((frame, length)) = frame::read(bytes, FRAME_MAX).unwrap() {
        if let Payload::Method { payload, .. } = frame.payload {
            count += usize::from(!method::parse_publish(payload).unwrap().routing_key.is_empty());
        }
        bytes = &bytes[length..];
    }
    assert_eq!(count, COUNT);
    count
}
