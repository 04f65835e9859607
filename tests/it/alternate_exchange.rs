//! Alternate exchanges: where a message goes that no binding wants.

use crate::support::{Client, Properties, Scenario, scenarios, text};

fn with_alternate(c: &mut Client, exchange: &str, kind: &str, alternate: &str) {
    let method = format!("exchange.declare exchange={exchange} type={kind}");
    c.call_with(1, &method, &[("alternate-exchange", text(alternate))], "exchange.declare-ok");
}

fn what_no_binding_wants_goes_to_the_alternate(t: &Scenario) {
    let mut c = t.open();
    with_alternate(&mut c, "~x", "direct", "~ae");
    c.exchange(1, "~ae", "fanout");
    for (queue, exchange) in [("~q", "~x"), ("~rest", "~ae")] {
        c.declare(1, queue, "exclusive");
        c.bind(1, queue, exchange, "k");
    }
    c.publish(1, "~x", "k", "wanted");
    c.publish(1, "~x", "other", "unwanted");
    c.get(1, "~q", "basic.get-ok delivery=1 exchange=~x key=k left=0: wanted");
    c.get(1, "~rest", "basic.get-ok delivery=2 exchange=~x key=other left=0: unwanted");
    c.get(1, "~rest", "basic.get-empty");
}

fn a_message_of_the_alternate_is_not_returned(t: &Scenario) {
    let mut c = t.open();
    with_alternate(&mut c, "~x", "direct", "~ae");
    c.exchange(1, "~ae", "fanout");
    c.declare(1, "~q", "exclusive");
    c.bind(1, "~q", "~ae", "");
    c.publish_with(1, "exchange=~x key=k mandatory", &Properties::default(), "x");
    c.expect_messages(1, "~q", &["x"]);
}

fn what_the_alternate_does_not_want_either_is_returned(t: &Scenario) {
    let mut c = t.open();
    with_alternate(&mut c, "~x", "direct", "~ae");
    c.exchange(1, "~ae", "direct");
    c.publish_with(1, "exchange=~x key=k mandatory", &Properties::default(), "x");
    c.expect("1 basic.return code=312 text=NO_ROUTE exchange=~x key=k: x");
}

fn a_missing_alternate_drops(t: &Scenario) {
    let mut c = t.open();
    with_alternate(&mut c, "~x", "direct", "~ae");
    c.publish(1, "~x", "k", "dropped");
    c.publish_with(1, "exchange=~x key=k mandatory", &Properties::default(), "x");
    c.expect("1 basic.return code=312 text=NO_ROUTE exchange=~x key=k: x");
    c.exchange(1, "~ae", "fanout");
    c.declare(1, "~q", "exclusive");
    c.bind(1, "~q", "~ae", "");
    c.publish(1, "~x", "k", "kept");
    c.expect_messages(1, "~q", &["kept"]);
}

fn alternates_chain_and_cycles_end(t: &Scenario) {
    let mut c = t.open();
    with_alternate(&mut c, "~a", "direct", "~b");
    with_alternate(&mut c, "~b", "direct", "~c");
    with_alternate(&mut c, "~c", "direct", "~a");
    c.declare(1, "~q", "exclusive");
    c.bind(1, "~q", "~c", "k");
    c.publish(1, "~a", "k", "found");
    c.publish_with(1, "exchange=~a key=lost mandatory", &Properties::default(), "lost");
    c.expect("1 basic.return code=312 text=NO_ROUTE exchange=~a key=lost: lost");
    c.expect_messages(1, "~q", &["found"]);
}

fn an_alternate_behind_a_binding_counts(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~a", "fanout");
    with_alternate(&mut c, "~b", "direct", "~ae");
    c.exchange(1, "~ae", "fanout");
    c.declare(1, "~q", "exclusive");
    c.bind(1, "~q", "~ae", "");
    c.call(1, "exchange.bind destination=~b source=~a", "exchange.bind-ok");
    c.publish(1, "~a", "k", "x");
    c.expect_messages(1, "~q", &["x"]);
}

scenarios![
    what_no_binding_wants_goes_to_the_alternate,
    a_message_of_the_alternate_is_not_returned,
    what_the_alternate_does_not_want_either_is_returned,
    a_missing_alternate_drops,
    alternates_chain_and_cycles_end,
    an_alternate_behind_a_binding_counts,
];
