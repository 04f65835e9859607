//! queue.bind and queue.unbind: what makes two bindings the same, and what is missing.

use crate::support::{Properties, Scenario, scenarios, text};

fn a_binding_routes_until_it_is_removed(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "direct");
    c.declare(1, "~q", "exclusive");
    c.publish(1, "~x", "k", "before");
    c.bind(1, "~q", "~x", "k");
    c.publish(1, "~x", "k", "bound");
    c.call(1, "queue.unbind queue=~q exchange=~x key=k", "queue.unbind-ok");
    c.publish(1, "~x", "k", "after");
    c.expect_messages(1, "~q", &["bound"]);
}

fn binding_twice_is_binding_once(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "direct");
    c.declare(1, "~q", "exclusive");
    c.bind(1, "~q", "~x", "k");
    c.bind(1, "~q", "~x", "k");
    c.publish(1, "~x", "k", "once");
    c.expect_messages(1, "~q", &["once"]);
    c.call(1, "queue.unbind queue=~q exchange=~x key=k", "queue.unbind-ok");
    c.publish(1, "~x", "k", "gone");
    c.expect_messages(1, "~q", &[]);
}

fn bindings_with_other_keys_are_others(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "direct");
    c.declare(1, "~q", "exclusive");
    c.bind(1, "~q", "~x", "a");
    c.bind(1, "~q", "~x", "b");
    c.publish(1, "~x", "a", "one");
    c.publish(1, "~x", "b", "two");
    c.call(1, "queue.unbind queue=~q exchange=~x key=a", "queue.unbind-ok");
    c.publish(1, "~x", "a", "gone");
    c.publish(1, "~x", "b", "three");
    c.expect_messages(1, "~q", &["one", "two", "three"]);
}

fn bindings_with_other_arguments_are_others(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "fanout");
    c.declare(1, "~q", "exclusive");
    let arguments = [("a", text("1"))];
    c.bind(1, "~q", "~x", "k");
    c.call_with(1, "queue.bind queue=~q exchange=~x key=k", &arguments, "queue.bind-ok");
    c.publish(1, "~x", "", "once");
    c.expect_messages(1, "~q", &["once"]);
    c.call(1, "queue.unbind queue=~q exchange=~x key=k", "queue.unbind-ok");
    c.publish(1, "~x", "", "still");
    c.expect_messages(1, "~q", &["still"]);
    c.call_with(1, "queue.unbind queue=~q exchange=~x key=k", &arguments, "queue.unbind-ok");
    c.publish(1, "~x", "", "gone");
    c.expect_messages(1, "~q", &[]);
}

fn binding_what_is_missing_is_404(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.refused(
        1,
        "queue.bind queue=~none exchange=amq.direct key=k",
        "404 NOT_FOUND - no queue '~none' in vhost '/' (queue.bind)",
    );
    c.refused(
        1,
        "queue.bind queue=~q exchange=~none key=k",
        "404 NOT_FOUND - no exchange '~none' in vhost '/' (queue.bind)",
    );
}

fn unbinding_what_is_missing_is_ok(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "direct");
    c.declare(1, "~q", "exclusive");
    for fields in ["queue=~q exchange=~x", "queue=~none exchange=~x", "queue=~q exchange=~none"] {
        c.call(1, &format!("queue.unbind {fields} key=k"), "queue.unbind-ok");
    }
}

fn a_fanout_reaches_every_queue_whatever_the_key(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "fanout");
    for queue in ["~a", "~b", "~c"] {
        c.declare(1, queue, "exclusive");
        c.bind(1, queue, "~x", "ignored");
    }
    c.publish(1, "~x", "another", "all");
    for queue in ["~a", "~b", "~c"] {
        c.expect_messages(1, queue, &["all"]);
    }
}

fn a_direct_exchange_compares_whole_keys(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "direct");
    c.declare(1, "~q", "exclusive");
    c.bind(1, "~q", "~x", "a.*");
    for key in ["a.*", "a.b", "a", "A.*", ""] {
        c.publish(1, "~x", key, format!("{key}!"));
    }
    c.expect_messages(1, "~q", &["a.*!"]);
}

fn two_queues_may_be_bound_with_one_key(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "direct");
    for queue in ["~a", "~b"] {
        c.declare(1, queue, "exclusive");
        c.bind(1, queue, "~x", "k");
    }
    c.publish(1, "~x", "k", "both");
    c.expect_messages(1, "~a", &["both"]);
    c.expect_messages(1, "~b", &["both"]);
}

fn a_deleted_queue_takes_its_bindings_along(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "fanout");
    c.declare(1, "~q", "");
    c.bind(1, "~q", "~x", "");
    c.call(1, "queue.delete queue=~q", "queue.delete-ok messages=0");
    c.publish_with(1, "exchange=~x mandatory", &Properties::default(), "back");
    c.expect("1 basic.return code=312 text=NO_ROUTE exchange=~x: back");
    c.declare(1, "~q", "exclusive");
    c.publish(1, "~x", "", "dropped");
    c.expect_messages(1, "~q", &[]);
    c.call(1, "exchange.delete exchange=~x if-unused", "exchange.delete-ok");
}

fn a_deleted_exchange_takes_its_bindings_along(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "fanout");
    c.declare(1, "~q", "exclusive");
    c.bind(1, "~q", "~x", "");
    c.call(1, "exchange.delete exchange=~x", "exchange.delete-ok");
    c.exchange(1, "~x", "fanout");
    c.publish(1, "~x", "", "dropped");
    c.expect_messages(1, "~q", &[]);
}

scenarios![
    a_binding_routes_until_it_is_removed,
    binding_twice_is_binding_once,
    bindings_with_other_keys_are_others,
    bindings_with_other_arguments_are_others,
    binding_what_is_missing_is_404,
    unbinding_what_is_missing_is_ok,
    a_fanout_reaches_every_queue_whatever_the_key,
    a_direct_exchange_compares_whole_keys,
    two_queues_may_be_bound_with_one_key,
    a_deleted_queue_takes_its_bindings_along,
    a_deleted_exchange_takes_its_bindings_along,
];
