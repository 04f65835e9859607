//! exchange.declare and exchange.delete: flags, equivalence, reserved names, the predeclared exchanges, auto-delete.

use crate::support::{Scenario, Value, scenarios, text};

fn an_exchange_is_declared_and_deleted(t: &Scenario) {
    let mut c = t.open();
    for kind in ["direct", "fanout", "topic", "headers"] {
        c.exchange(1, "~x", kind);
        c.exchange(1, "~x", kind);
        c.call(1, "exchange.delete exchange=~x", "exchange.delete-ok");
    }
}

fn a_passive_declare_finds_what_exists(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "direct auto-delete");
    c.call(1, "exchange.declare exchange=~x type=direct passive", "exchange.declare-ok");
    // Type and flags do not matter then.
    c.call(1, "exchange.declare exchange=~x type=fanout passive durable internal", "exchange.declare-ok");
}

fn a_passive_declare_of_what_is_missing_is_404(t: &Scenario) {
    let mut c = t.open();
    c.refused(
        1,
        "exchange.declare exchange=~x type=direct passive",
        "404 NOT_FOUND - no exchange '~x' in vhost '/' (exchange.declare)",
    );
}

fn an_unknown_type_is_406(t: &Scenario) {
    let mut c = t.open();
    c.refused(
        1,
        "exchange.declare exchange=~x type=nonsense",
        "406 PRECONDITION_FAILED - unknown exchange type 'nonsense' (exchange.declare)",
    );
}

fn a_different_redeclaration_is_406(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "direct");
    let inequivalent = [
        ("type=fanout", "type", "received 'fanout' but current is 'direct'"),
        ("type=direct durable", "durable", "received 'true' but current is 'false'"),
        ("type=direct auto-delete", "auto_delete", "received 'true' but current is 'false'"),
        ("type=direct internal", "internal", "received 'true' but current is 'false'"),
    ];
    for (flags, argument, values) in inequivalent {
        c.refused(
            1,
            &format!("exchange.declare exchange=~x {flags}"),
            &format!(
                "406 PRECONDITION_FAILED - inequivalent arg '{argument}' for exchange '~x' in vhost '/': {values} \
                 (exchange.declare)"
            ),
        );
    }
}

fn only_the_alternate_exchange_counts_among_arguments(t: &Scenario) {
    let mut c = t.open();
    let plain = "exchange.declare exchange=~x type=direct";
    let alternate = [("alternate-exchange", text("~ae"))];
    c.call_with(1, plain, &alternate, "exchange.declare-ok");
    c.call_with(1, plain, &[alternate[0].clone(), ("x-other", Value::I(1))], "exchange.declare-ok");
    c.refused(
        1,
        plain,
        "406 PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange '~x' in vhost '/': received \
         none but current is the value '~ae' of type 'longstr' (exchange.declare)",
    );
    c.exchange(1, "~y", "direct");
    c.refused_with(
        1,
        "exchange.declare exchange=~y type=direct",
        &alternate,
        "406 PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange '~y' in vhost '/': received \
         the value '~ae' of type 'longstr' but current is none (exchange.declare)",
    );
}

fn reserved_names_are_403(t: &Scenario) {
    let mut c = t.open();
    c.refused(
        1,
        "exchange.declare exchange=amq.~x type=direct",
        "403 ACCESS_REFUSED - exchange name 'amq.~x' contains reserved prefix 'amq.*' (exchange.declare)",
    );
}

fn predeclared_exchanges_exist_and_can_be_declared_again(t: &Scenario) {
    let mut c = t.open();
    for (name, kind) in [
        ("amq.direct", "direct"),
        ("amq.fanout", "fanout"),
        ("amq.topic", "topic"),
        ("amq.headers", "headers"),
        ("amq.match", "headers"),
    ] {
        c.call(1, &format!("exchange.declare exchange={name} type={kind} passive"), "exchange.declare-ok");
        c.call(1, &format!("exchange.declare exchange={name} type={kind} durable"), "exchange.declare-ok");
    }
    c.call(
        1,
        "exchange.declare exchange=amq.rabbitmq.trace type=topic durable internal",
        "exchange.declare-ok",
    );
    c.refused(
        1,
        "exchange.declare exchange=amq.direct type=fanout durable",
        "406 PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.direct' in vhost '/': received 'fanout' \
         but current is 'direct' (exchange.declare)",
    );
}

fn the_default_exchange_cannot_be_touched(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    let why = "403 ACCESS_REFUSED - operation not permitted on the default exchange";
    for (method, name) in [
        ("exchange.declare type=direct", "exchange.declare"),
        ("exchange.delete", "exchange.delete"),
        ("queue.bind queue=~q key=k", "queue.bind"),
        ("queue.unbind queue=~q key=k", "queue.unbind"),
        ("exchange.bind source=amq.direct key=k", "exchange.bind"),
        ("exchange.bind destination=amq.direct key=k", "exchange.bind"),
        ("exchange.unbind source=amq.direct key=k", "exchange.unbind"),
    ] {
        c.refused(1, method, &format!("{why} ({name})"));
    }
}

fn deleting_what_is_missing_is_ok(t: &Scenario) {
    let mut c = t.open();
    c.call(1, "exchange.delete exchange=~none", "exchange.delete-ok");
    c.call(1, "exchange.delete exchange=~none if-unused", "exchange.delete-ok");
}

fn deleting_a_predeclared_exchange_is_403(t: &Scenario) {
    let mut c = t.open();
    for name in ["amq.direct", "amq.topic", "amq.rabbitmq.trace"] {
        c.refused(
            1,
            &format!("exchange.delete exchange={name}"),
            &format!(
                "403 ACCESS_REFUSED - deletion of system exchange '{name}' in vhost '/' not allowed \
                 (exchange.delete)"
            ),
        );
    }
}

fn an_exchange_with_bindings_is_in_use(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "direct");
    c.declare(1, "~q", "exclusive");
    c.bind(1, "~q", "~x", "k");
    c.refused(
        1,
        "exchange.delete exchange=~x if-unused",
        "406 PRECONDITION_FAILED - exchange '~x' in vhost '/' in use (exchange.delete)",
    );
    c.call(1, "exchange.delete exchange=~x", "exchange.delete-ok");
}

fn an_exchange_that_is_only_a_destination_is_unused(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "direct");
    c.call(1, "exchange.bind destination=~x source=amq.direct key=~k", "exchange.bind-ok");
    c.call(1, "exchange.delete exchange=~x if-unused", "exchange.delete-ok");
}

fn no_wait_gets_no_reply(t: &Scenario) {
    let mut c = t.open();
    c.send(1, "exchange.declare exchange=~x type=direct no-wait");
    c.send(1, "exchange.declare exchange=~y type=direct no-wait");
    c.send(1, "exchange.bind destination=~y source=~x key=k no-wait");
    c.call(1, "exchange.declare exchange=~x type=direct passive", "exchange.declare-ok");
    c.send(1, "exchange.unbind destination=~y source=~x key=k no-wait");
    c.send(1, "exchange.delete exchange=~x no-wait");
    c.refused(
        1,
        "exchange.declare exchange=~x type=direct passive",
        "404 NOT_FOUND - no exchange '~x' in vhost '/' (exchange.declare)",
    );
}

fn no_wait_does_not_silence_errors(t: &Scenario) {
    let mut c = t.open();
    c.refused(
        1,
        "exchange.declare exchange=~x type=direct passive no-wait",
        "404 NOT_FOUND - no exchange '~x' in vhost '/' (exchange.declare)",
    );
}

fn line_ends_are_stripped_from_names(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x\r\ny", "direct");
    c.call(1, "exchange.declare exchange=~xy type=direct passive", "exchange.declare-ok");
}

fn publishing_to_a_deleted_exchange_is_404(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "fanout");
    c.publish(1, "~x", "", "before");
    c.call(1, "exchange.delete exchange=~x", "exchange.delete-ok");
    c.publish(1, "~x", "", "after");
    c.expect_channel_close(1, "404 NOT_FOUND - no exchange '~x' in vhost '/' (basic.publish)");
}

scenarios![
    an_exchange_is_declared_and_deleted,
    a_passive_declare_finds_what_exists,
    a_passive_declare_of_what_is_missing_is_404,
    an_unknown_type_is_406,
    a_different_redeclaration_is_406,
    only_the_alternate_exchange_counts_among_arguments,
    reserved_names_are_403,
    predeclared_exchanges_exist_and_can_be_declared_again,
    the_default_exchange_cannot_be_touched,
    deleting_what_is_missing_is_ok,
    deleting_a_predeclared_exchange_is_403,
    an_exchange_with_bindings_is_in_use,
    an_exchange_that_is_only_a_destination_is_unused,
    no_wait_gets_no_reply,
    no_wait_does_not_silence_errors,
    line_ends_are_stripped_from_names,
    publishing_to_a_deleted_exchange_is_404,
];
