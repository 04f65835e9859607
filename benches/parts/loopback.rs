//! All together: a publisher and a consumer on TCP connections to a broker in this process.

use super::client::{self, Client};
use criterion::{Criterion, Throughput};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use warren::broker::Broker;
use warren::store::{self, Options};

const COUNT: usize = 1000;

pub(crate) fn loopback(c: &mut Criterion) {
    let mut group = c.benchmark_group("loopback");
    group.throughput(Throughput::Elements(COUNT as u64));
    let runtime = Runtime::new().unwrap();
    for size in [16, 1024] {
        for is_durable in [false, true] {
            let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let (store, recovered) = store::open(Options::new(folder.path())).unwrap();
            let broker = {
                // What it starts, it starts there.
                let _inside = runtime.enter();
                Broker::start(client::defaults(), store.clone(), recovered).unwrap()
            };
            let pair = runtime.block_on(connect(&broker, is_durable));
            let (mut publisher, mut consumer) = pair.unwrap();
            let bytes = client::publishes("", "queue", size, is_durable, COUNT);
            let mut total = 0;
            let kind = if is_durable { "persistent, with confirms and acks" } else { "transient" };
            group.bench_function(format!("{size} B, {kind}"), |b| {
                b.iter(|| {
                    total += COUNT as u64;
                    runtime
                        .block_on(async {
                            publisher.stream.write_all(&bytes).await?;
                            consumer.receive(total, is_durable).await?;
                            if is_durable { publisher.await_confirms(total).await } else { Ok(()) }
                        })
                        .unwrap();
                });
            });
            drop((publisher, consumer));
            store.close().unwrap();
        }
    }
    group.finish();
}

async fn connect(
    broker: &std::sync::Arc<Broker>,
    is_durable: bool,
) -> anyhow::Result<(Client<TcpStream>, Client<TcpStream>)> {
    let mut publisher = Client::connect(broker).await?;
    publisher.declare_queue("queue", is_durable).await?;
    if is_durable {
        publisher.select_confirms().await?;
    }
    let mut consumer = Client::connect(broker).await?;
    consumer.consume("queue", !is_durable).await?;
    Ok((publisher, consumer))
}
