//! exchange.bind and exchange.unbind: chains, cycles, and each queue once.

use crate::support::{Client, Scenario, scenarios};

fn link(c: &mut Client, source: &str, destination: &str, key: &str) {
    let method = format!("exchange.bind destination={destination} source={source} key={key}");
    c.call(1, &method, "exchange.bind-ok");
}

fn a_message_passes_through_a_chain(t: &Scenario) {
    let mut c = t.open();
    for (exchange, kind) in [("~a", "fanout"), ("~b", "topic"), ("~c", "direct")] {
        c.exchange(1, exchange, kind);
    }
    c.declare(1, "~q", "exclusive");
    link(&mut c, "~a", "~b", "");
    link(&mut c, "~b", "~c", "k.*");
    c.bind(1, "~q", "~c", "k.1");
    c.publish(1, "~a", "k.1", "through");
    c.publish(1, "~a", "k.2", "stopped at c");
    c.publish(1, "~a", "j.1", "stopped at b");
    c.get(1, "~q", "basic.get-ok delivery=1 exchange=~a key=k.1 left=0: through");
}

fn a_queue_reached_on_two_ways_gets_one_copy(t: &Scenario) {
    let mut c = t.open();
    for exchange in ["~a", "~b", "~c"] {
        c.exchange(1, exchange, "fanout");
    }
    c.declare(1, "~q", "exclusive");
    link(&mut c, "~a", "~b", "");
    link(&mut c, "~a", "~c", "");
    c.bind(1, "~q", "~b", "");
    c.bind(1, "~q", "~c", "");
    c.bind(1, "~q", "~a", "");
    c.publish(1, "~a", "", "once");
    c.expect_messages(1, "~q", &["once"]);
}

fn cycles_end(t: &Scenario) {
    let mut c = t.open();
    for exchange in ["~a", "~b", "~c"] {
        c.exchange(1, exchange, "fanout");
    }
    c.declare(1, "~q", "exclusive");
    link(&mut c, "~a", "~b", "");
    link(&mut c, "~b", "~c", "");
    link(&mut c, "~c", "~a", "");
    link(&mut c, "~a", "~a", "");
    c.bind(1, "~q", "~c", "");
    for exchange in ["~a", "~b", "~c"] {
        c.publish(1, exchange, "", exchange);
    }
    c.expect_messages(1, "~q", &["~a", "~b", "~c"]);
}

fn unbinding_cuts_the_chain(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~a", "direct");
    c.exchange(1, "~b", "fanout");
    c.declare(1, "~q", "exclusive");
    link(&mut c, "~a", "~b", "k");
    c.bind(1, "~q", "~b", "");
    c.publish(1, "~a", "k", "linked");
    c.call(1, "exchange.unbind destination=~b source=~a key=k", "exchange.unbind-ok");
    c.publish(1, "~a", "k", "cut");
    c.expect_messages(1, "~q", &["linked"]);
}

fn binding_to_what_is_missing_is_404(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~a", "direct");
    for (destination, source) in [("~none", "~a"), ("~a", "~none")] {
        c.refused(
            1,
            &format!("exchange.bind destination={destination} source={source} key=k"),
            "404 NOT_FOUND - no exchange '~none' in vhost '/' (exchange.bind)",
        );
    }
}

fn unbinding_what_is_missing_is_ok(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~a", "direct");
    c.exchange(1, "~b", "direct");
    for (destination, source) in [("~b", "~a"), ("~none", "~a"), ("~a", "~none")] {
        let method = format!("exchange.unbind destination={destination} source={source} key=k");
        c.call(1, &method, "exchange.unbind-ok");
    }
}

fn an_internal_exchange_can_be_reached_by_a_binding(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~a", "fanout");
    c.exchange(1, "~b", "fanout internal");
    c.declare(1, "~q", "exclusive");
    link(&mut c, "~a", "~b", "");
    c.bind(1, "~q", "~b", "");
    c.publish(1, "~a", "", "inside");
    c.expect_messages(1, "~q", &["inside"]);
}

fn a_deleted_exchange_is_no_destination_any_more(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~a", "fanout");
    c.exchange(1, "~b", "fanout");
    c.declare(1, "~q", "exclusive");
    link(&mut c, "~a", "~b", "");
    c.bind(1, "~q", "~b", "");
    c.call(1, "exchange.delete exchange=~b", "exchange.delete-ok");
    c.exchange(1, "~b", "fanout");
    c.bind(1, "~q", "~b", "");
    c.publish(1, "~a", "", "dropped");
    c.expect_messages(1, "~q", &[]);
}

scenarios![
    a_message_passes_through_a_chain,
    a_queue_reached_on_two_ways_gets_one_copy,
    cycles_end,
    unbinding_cuts_the_chain,
    binding_to_what_is_missing_is_404,
    unbinding_what_is_missing_is_ok,
    an_internal_exchange_can_be_reached_by_a_binding,
    a_deleted_exchange_is_no_destination_any_more,
];
