//! What goes by itself: exclusive queues with their connection, auto-delete queues with their last consumer,
//! auto-delete exchanges with their last binding.

use crate::support::{Scenario, scenarios};

const GONE: &str = "404 NOT_FOUND - no queue '~q' in vhost '/' (queue.declare)";

fn an_exclusive_queue_goes_with_a_closed_connection(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.close();
    t.open().expect_gone(1, "~q");
}

fn an_exclusive_queue_goes_with_a_lost_connection(t: &Scenario) {
    let mut watcher = t.open();
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.hang_up();
    watcher.expect_gone(1, "~q");
}

fn an_exclusive_queue_stays_when_its_channel_closes(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.close_channel(1);
    c.open_channel(1);
    c.expect_queue(1, "~q", 0, 0);
}

fn a_durable_exclusive_queue_goes_too(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "durable exclusive");
    c.close();
    t.open().expect_gone(1, "~q");
}

fn an_auto_delete_queue_goes_with_its_last_consumer(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "auto-delete");
    c.consume(1, "~q", "a", "");
    c.consume(1, "~q", "b", "");
    c.call(1, "basic.cancel tag=a", "basic.cancel-ok tag=a");
    c.expect_queue(1, "~q", 0, 1);
    c.call(1, "basic.cancel tag=b", "basic.cancel-ok tag=b");
    c.refused(1, "queue.declare queue=~q passive", GONE);
}

fn an_auto_delete_queue_goes_with_its_last_consumers_channel(t: &Scenario) {
    let mut c = t.open();
    c.open_channel(2);
    c.declare(1, "~q", "auto-delete");
    c.consume(2, "~q", "t", "");
    c.close_channel(2);
    c.refused(1, "queue.declare queue=~q passive", GONE);
}

fn an_auto_delete_queue_goes_with_its_last_consumers_connection(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "auto-delete");
    let mut other = t.open();
    other.consume(1, "~q", "t", "");
    other.hang_up();
    c.expect_gone(1, "~q");
}

fn an_auto_delete_queue_without_consumers_stays(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "auto-delete");
    c.publish(1, "", "~q", "x");
    c.get(1, "~q", "basic.get-ok delivery=1 key=~q left=0: x");
    c.close_channel(1);
    c.open_channel(1);
    c.expect_queue(1, "~q", 0, 0);
    c.call(1, "queue.delete queue=~q", "queue.delete-ok messages=0");
}

fn an_auto_delete_exchange_goes_with_its_last_binding(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "direct auto-delete");
    c.declare(1, "~q", "exclusive");
    c.bind(1, "~q", "~x", "a");
    c.bind(1, "~q", "~x", "b");
    c.call(1, "queue.unbind queue=~q exchange=~x key=a", "queue.unbind-ok");
    c.call(1, "exchange.declare exchange=~x type=direct passive", "exchange.declare-ok");
    c.call(1, "queue.unbind queue=~q exchange=~x key=b", "queue.unbind-ok");
    c.refused(
        1,
        "exchange.declare exchange=~x type=direct passive",
        "404 NOT_FOUND - no exchange '~x' in vhost '/' (exchange.declare)",
    );
}

fn an_auto_delete_exchange_goes_with_its_last_queue(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "direct auto-delete");
    c.declare(1, "~q", "exclusive");
    c.bind(1, "~q", "~x", "a");
    c.call(1, "queue.delete queue=~q", "queue.delete-ok messages=0");
    c.refused(
        1,
        "exchange.declare exchange=~x type=direct passive",
        "404 NOT_FOUND - no exchange '~x' in vhost '/' (exchange.declare)",
    );
}

fn an_auto_delete_exchange_goes_with_its_last_bound_exchange(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "direct auto-delete");
    c.exchange(1, "~y", "direct");
    c.call(1, "exchange.bind destination=~y source=~x key=k", "exchange.bind-ok");
    c.call(1, "exchange.unbind destination=~y source=~x key=k", "exchange.unbind-ok");
    c.refused(
        1,
        "exchange.declare exchange=~x type=direct passive",
        "404 NOT_FOUND - no exchange '~x' in vhost '/' (exchange.declare)",
    );
}

fn auto_delete_exchanges_go_one_after_another(t: &Scenario) {
    let mut c = t.open();
    for exchange in ["~x", "~y", "~z"] {
        c.exchange(1, exchange, "fanout auto-delete");
    }
    c.declare(1, "~q", "exclusive");
    c.call(1, "exchange.bind destination=~y source=~x", "exchange.bind-ok");
    c.call(1, "exchange.bind destination=~z source=~y", "exchange.bind-ok");
    c.bind(1, "~q", "~z", "");
    c.call(1, "queue.delete queue=~q", "queue.delete-ok messages=0");
    for exchange in ["~z", "~y", "~x"] {
        c.refused(
            1,
            &format!("exchange.declare exchange={exchange} type=fanout passive"),
            &format!("404 NOT_FOUND - no exchange '{exchange}' in vhost '/' (exchange.declare)"),
        );
    }
}

fn an_auto_delete_exchange_without_bindings_stays(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "direct auto-delete");
    c.call(1, "exchange.bind destination=~x source=amq.direct key=~k", "exchange.bind-ok");
    c.call(1, "exchange.unbind destination=~x source=amq.direct key=~k", "exchange.unbind-ok");
    c.call(1, "exchange.declare exchange=~x type=direct passive", "exchange.declare-ok");
}

fn a_deleted_auto_delete_queue_cancels_nobody_twice(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "auto-delete");
    c.consume(1, "~q", "t", "");
    c.open_channel(2);
    c.send(2, "queue.delete queue=~q");
    c.expect_all(&["1 basic.cancel tag=t no-wait", "2 queue.delete-ok messages=0"]);
    c.call(1, "basic.cancel tag=t", "basic.cancel-ok tag=t");
}

scenarios![
    an_exclusive_queue_goes_with_a_closed_connection,
    an_exclusive_queue_goes_with_a_lost_connection,
    an_exclusive_queue_stays_when_its_channel_closes,
    a_durable_exclusive_queue_goes_too,
    an_auto_delete_queue_goes_with_its_last_consumer,
    an_auto_delete_queue_goes_with_its_last_consumers_channel,
    an_auto_delete_queue_goes_with_its_last_consumers_connection,
    an_auto_delete_queue_without_consumers_stays,
    an_auto_delete_exchange_goes_with_its_last_binding,
    an_auto_delete_exchange_goes_with_its_last_queue,
    an_auto_delete_exchange_goes_with_its_last_bound_exchange,
    auto_delete_exchanges_go_one_after_another,
    an_auto_delete_exchange_without_bindings_stays,
    a_deleted_auto_delete_queue_cancels_nobody_twice,
];
