//! queue.declare, queue.purge and queue.delete: flags, server names, equivalence, exclusive access, counts.

use crate::support::{Scenario, Value, scenarios, text};

fn a_queue_is_declared_and_deleted(t: &Scenario) {
    let mut c = t.open();
    for flags in ["", "durable", "exclusive", "auto-delete", "durable auto-delete"] {
        c.declare(1, "~q", flags);
        c.call(1, "queue.delete queue=~q", "queue.delete-ok messages=0");
    }
}

fn declaring_again_shows_the_counts(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.publish(1, "", "~q", "one");
    c.publish(1, "", "~q", "two");
    c.expect_queue(1, "~q", 2, 0);
    c.call(1, "queue.declare queue=~q exclusive", "queue.declare-ok queue=~q messages=2 consumers=0");
    c.call(1, "basic.qos prefetch=1", "basic.qos-ok");
    c.consume(1, "~q", "t", "");
    c.expect("1 basic.deliver tag=t delivery=1 key=~q: one");
    c.expect_queue(1, "~q", 1, 1);
}

fn a_passive_declare_of_what_is_missing_is_404(t: &Scenario) {
    let mut c = t.open();
    c.refused(
        1,
        "queue.declare queue=~q passive",
        "404 NOT_FOUND - no queue '~q' in vhost '/' (queue.declare)",
    );
}

fn a_passive_declare_ignores_all_other_flags(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "");
    let arguments = [("x-message-ttl", Value::I(5))];
    c.call_with(
        1,
        "queue.declare queue=~q passive durable exclusive auto-delete",
        &arguments,
        "queue.declare-ok queue=~q messages=0 consumers=0",
    );
    c.call(1, "queue.delete queue=~q", "queue.delete-ok messages=0");
}

fn the_broker_names_a_queue_without_a_name(t: &Scenario) {
    let mut c = t.open();
    let declared =
        c.call(1, "queue.declare exclusive", "queue.declare-ok queue=amq.gen-* messages=0 consumers=0");
    let name = declared.get("queue").to_string();
    let other =
        c.call(1, "queue.declare exclusive", "queue.declare-ok queue=amq.gen-* messages=0 consumers=0");
    assert_ne!(name, other.get("queue"));
    // It exists, so it may be declared again under its name.
    c.call(
        1,
        &format!("queue.declare queue={name} exclusive"),
        "queue.declare-ok queue=amq.gen-* messages=0 consumers=0",
    );
}

fn an_empty_name_means_the_queue_declared_last(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~first", "exclusive");
    c.declare(1, "~q", "exclusive");
    c.call(1, "queue.bind exchange=amq.direct", "queue.bind-ok");
    c.publish(1, "amq.direct", "~q", "bound by its name");
    c.call(
        1,
        "basic.get no-ack",
        "basic.get-ok delivery=1 exchange=amq.direct key=~q left=0: bound by its name",
    );
    c.publish(1, "", "~q", "x");
    c.call(1, "queue.purge", "queue.purge-ok messages=1");
    c.call(1, "basic.consume tag=t", "basic.consume-ok tag=t");
    c.call(1, "queue.unbind exchange=amq.direct", "queue.unbind-ok");
    c.call(1, "basic.cancel tag=t", "basic.cancel-ok tag=t");
    c.call(1, "queue.delete", "queue.delete-ok messages=0");
}

fn an_empty_name_without_a_declared_queue_is_404(t: &Scenario) {
    let mut c = t.open();
    for method in [
        "queue.bind exchange=amq.direct key=k",
        "queue.unbind exchange=amq.direct key=k",
        "queue.purge",
        "queue.delete",
        "basic.consume",
        "basic.get",
    ] {
        let name = method.split(' ').next().unwrap();
        c.refused(1, method, &format!("404 NOT_FOUND - no previously declared queue ({name})"));
    }
}

fn reserved_names_are_403(t: &Scenario) {
    let mut c = t.open();
    c.refused(
        1,
        "queue.declare queue=amq.~q",
        "403 ACCESS_REFUSED - queue name 'amq.~q' contains reserved prefix 'amq.*' (queue.declare)",
    );
}

fn a_different_redeclaration_is_406(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "");
    for (flags, argument) in [("durable", "durable"), ("auto-delete", "auto_delete")] {
        c.refused(
            1,
            &format!("queue.declare queue=~q {flags}"),
            &format!(
                "406 PRECONDITION_FAILED - inequivalent arg '{argument}' for queue '~q' in vhost '/': received 'true' \
                 but current is 'false' (queue.declare)"
            ),
        );
    }
    c.call(1, "queue.delete queue=~q", "queue.delete-ok messages=0");
    c.declare(1, "~q", "durable");
    c.refused(
        1,
        "queue.declare queue=~q",
        "406 PRECONDITION_FAILED - inequivalent arg 'durable' for queue '~q' in vhost '/': received 'false' but \
         current is 'true' (queue.declare)",
    );
    c.call(1, "queue.delete queue=~q", "queue.delete-ok messages=0");
}

fn exclusive_that_does_not_match_is_405(t: &Scenario) {
    let mut c = t.open();
    let locked = "405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '~q' in vhost '/'. It could be \
                  originally declared on another connection or the exclusive property value does not match that of \
                  the original declaration. (queue.declare)";
    c.declare(1, "~q", "exclusive");
    c.refused(1, "queue.declare queue=~q", locked);
    c.call(1, "queue.delete queue=~q", "queue.delete-ok messages=0");
    c.declare(1, "~q", "");
    c.refused(1, "queue.declare queue=~q exclusive", locked);
    c.call(1, "queue.delete queue=~q", "queue.delete-ok messages=0");
}

fn different_arguments_are_406(t: &Scenario) {
    let mut c = t.open();
    let ttl = |ms| [("x-message-ttl", ms)];
    c.declare_with(1, "~q", "exclusive", &ttl(Value::I(60_000)));
    let declare = "queue.declare queue=~q exclusive";
    let inequivalent =
        "406 PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue '~q' in vhost '/': received";
    c.refused(
        1,
        declare,
        &format!("{inequivalent} none but current is the value '60000' of type 'signedint' (queue.declare)"),
    );
    c.refused_with(
        1,
        declare,
        &ttl(Value::I(5)),
        &format!("{inequivalent} '5' but current is '60000' (queue.declare)"),
    );
    c.declare(1, "~plain", "exclusive");
    c.refused_with(
        1,
        "queue.declare queue=~plain exclusive",
        &ttl(Value::I(5)),
        "406 PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue '~plain' in vhost '/': received the \
         value '5' of type 'signedint' but current is none (queue.declare)",
    );
}

fn integers_of_any_width_are_the_same_argument(t: &Scenario) {
    let mut c = t.open();
    c.declare_with(1, "~q", "exclusive", &[("x-message-ttl", Value::I(6_000))]);
    for ms in [Value::l(6_000), Value::s(6_000), Value::u(6_000), Value::i(6_000)] {
        c.declare_with(1, "~q", "exclusive", &[("x-message-ttl", ms)]);
    }
}

fn unknown_arguments_do_not_count(t: &Scenario) {
    let mut c = t.open();
    c.declare_with(1, "~q", "exclusive", &[("x-nonsense", text("a"))]);
    c.declare_with(1, "~q", "exclusive", &[("x-nonsense", text("b"))]);
    c.declare(1, "~q", "exclusive");
}

fn the_type_classic_is_the_default(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.declare_with(1, "~q", "exclusive", &[("x-queue-type", text("classic"))]);
    c.declare_with(1, "~p", "exclusive", &[("x-queue-type", text("classic"))]);
    c.declare(1, "~p", "exclusive");
}

fn an_exclusive_queue_is_locked_for_other_connections(t: &Scenario) {
    let mut owner = t.open();
    owner.declare(1, "~q", "exclusive");
    owner.bind(1, "~q", "amq.direct", "~k");
    let mut other = t.open();
    for method in [
        "queue.declare queue=~q passive",
        "queue.declare queue=~q exclusive",
        "queue.declare queue=~q",
        "queue.bind queue=~q exchange=amq.direct key=~k",
        "queue.unbind queue=~q exchange=amq.direct key=~k",
        "queue.purge queue=~q",
        "queue.delete queue=~q",
        "basic.consume queue=~q",
        "basic.get queue=~q",
    ] {
        let name = method.split(' ').next().unwrap();
        other.refused(
            1,
            method,
            &format!(
                "405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '~q' in vhost '/'. It could be \
                 originally declared on another connection or the exclusive property value does not match that of the \
                 original declaration. ({name})"
            ),
        );
    }
    // Publishing needs no access to the queue.
    other.call(1, "confirm.select", "confirm.select-ok");
    other.publish(1, "", "~q", "x");
    other.expect_confirms(1, 1, 1);
    owner.get(1, "~q", "basic.get-ok delivery=1 key=~q left=0: x");
}

fn a_channel_of_the_same_connection_may_use_an_exclusive_queue(t: &Scenario) {
    let mut c = t.open();
    c.open_channel(2);
    c.declare(1, "~q", "exclusive");
    c.declare(2, "~q", "exclusive");
    c.consume(2, "~q", "t", "no-ack");
    c.publish(1, "", "~q", "x");
    c.expect("2 basic.deliver tag=t delivery=1 key=~q: x");
}

fn purge_takes_what_is_ready(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    for body in ["one", "two", "three"] {
        c.publish(1, "", "~q", body);
    }
    c.call(1, "basic.get queue=~q", "basic.get-ok delivery=1 key=~q left=2: one");
    c.call(1, "queue.purge queue=~q", "queue.purge-ok messages=2");
    c.call(1, "queue.purge queue=~q", "queue.purge-ok messages=0");
    c.send(1, "basic.reject delivery=1 requeue");
    c.get(1, "~q", "basic.get-ok delivery=2 redelivered key=~q left=0: one");
}

fn purging_what_is_missing_is_404(t: &Scenario) {
    let mut c = t.open();
    c.refused(1, "queue.purge queue=~q", "404 NOT_FOUND - no queue '~q' in vhost '/' (queue.purge)");
}

fn deleting_says_how_many_messages_went(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "");
    for body in ["one", "two"] {
        c.publish(1, "", "~q", body);
    }
    c.call(1, "queue.delete queue=~q", "queue.delete-ok messages=2");
}

fn deleting_what_is_missing_is_ok(t: &Scenario) {
    let mut c = t.open();
    c.call(1, "queue.delete queue=~q", "queue.delete-ok messages=0");
    c.call(1, "queue.delete queue=~q if-unused if-empty", "queue.delete-ok messages=0");
}

fn a_queue_with_consumers_is_in_use(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.consume(1, "~q", "t", "");
    c.open_channel(2);
    c.refused(
        2,
        "queue.delete queue=~q if-unused",
        "406 PRECONDITION_FAILED - queue '~q' in vhost '/' in use (queue.delete)",
    );
    c.call(1, "basic.cancel tag=t", "basic.cancel-ok tag=t");
    c.call(2, "queue.delete queue=~q if-unused", "queue.delete-ok messages=0");
}

fn a_queue_with_messages_is_not_empty(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.publish(1, "", "~q", "x");
    c.refused(
        1,
        "queue.delete queue=~q if-empty",
        "406 PRECONDITION_FAILED - queue '~q' in vhost '/' not empty (queue.delete)",
    );
    c.call(1, "queue.purge queue=~q", "queue.purge-ok messages=1");
    c.call(1, "queue.delete queue=~q if-empty", "queue.delete-ok messages=0");
}

fn no_wait_gets_no_reply(t: &Scenario) {
    let mut c = t.open();
    c.send(1, "queue.declare queue=~q exclusive no-wait");
    c.send(1, "queue.bind queue=~q exchange=amq.direct key=~k no-wait");
    c.publish(1, "amq.direct", "~k", "one");
    c.publish(1, "amq.direct", "~k", "two");
    c.expect_queue(1, "~q", 2, 0);
    c.send(1, "queue.purge queue=~q no-wait");
    c.expect_queue(1, "~q", 0, 0);
    c.send(1, "queue.delete queue=~q no-wait");
    c.refused(
        1,
        "queue.declare queue=~q passive",
        "404 NOT_FOUND - no queue '~q' in vhost '/' (queue.declare)",
    );
}

fn what_is_unacked_does_not_keep_a_queue_from_being_empty(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.publish(1, "", "~q", "x");
    c.get(1, "~q", "basic.get-ok delivery=1 key=~q left=0: x");
    c.call(1, "queue.delete queue=~q if-empty", "queue.delete-ok messages=0");
}

fn invalid_arguments_are_406(t: &Scenario) {
    let mut c = t.open();
    let invalid = "406 PRECONDITION_FAILED - invalid arg";
    let cases = [
        ("x-expires", Value::I(0), "{value_zero,0}"),
        ("x-message-ttl", Value::I(-1), "{value_negative,-1}"),
        ("x-max-length", Value::I(-1), "{value_negative,-1}"),
    ];
    for (argument, value, reason) in cases {
        c.refused_with(
            1,
            "queue.declare queue=~q exclusive",
            &[(argument, value)],
            &format!("{invalid} '{argument}' for queue '~q' in vhost '/': {reason} (queue.declare)"),
        );
    }
}

fn arguments_of_the_wrong_type_are_406(t: &Scenario) {
    let mut c = t.open();
    for (argument, value, reason) in [
        ("x-expires", text("soon"), "\"expected integer, got longstr\""),
        ("x-message-ttl", text("5"), "\"expected integer, got longstr\""),
        ("x-max-length", Value::Bool(true), "\"expected integer, got bool\""),
        ("x-max-priority", text("ten"), "\"expected integer, got longstr\""),
        ("x-overflow", text("nonsense"), "invalid_overflow"),
        ("x-single-active-consumer", Value::I(1), "{unacceptable_type,signedint}"),
        ("x-queue-type", text("nonsense"), "\"unsupported queue type 'nonsense'\""),
    ] {
        let why = format!(
            "406 PRECONDITION_FAILED - invalid arg '{argument}' for queue '~q' in vhost '/': {reason} (queue.declare)"
        );
        c.refused_with(1, "queue.declare queue=~q exclusive", &[(argument, value)], &why);
    }
    c.refused_with(
        1,
        "queue.declare queue=~q exclusive",
        &[("x-dead-letter-exchange", Value::I(1))],
        "406 PRECONDITION_FAILED - invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue '~q' in vhost '/' \
         (queue.declare)",
    );
}

fn line_ends_are_stripped_from_names(t: &Scenario) {
    let mut c = t.open();
    c.call(1, "queue.declare queue=~a\r\nb exclusive", "queue.declare-ok queue=~ab messages=0 consumers=0");
    c.expect_queue(1, "~ab", 0, 0);
}

fn the_longest_name_works(t: &Scenario) {
    let mut c = t.open();
    let prefix = t.trace.prefix.len();
    let name = format!("~{}", "n".repeat(255 - prefix));
    c.declare(1, &name, "exclusive");
    c.publish(1, "", &name, "x");
    c.get(1, &name, &format!("basic.get-ok delivery=1 key={name} left=0: x"));
}

scenarios![
    a_queue_is_declared_and_deleted,
    declaring_again_shows_the_counts,
    a_passive_declare_of_what_is_missing_is_404,
    a_passive_declare_ignores_all_other_flags,
    the_broker_names_a_queue_without_a_name,
    an_empty_name_means_the_queue_declared_last,
    an_empty_name_without_a_declared_queue_is_404,
    reserved_names_are_403,
    a_different_redeclaration_is_406,
    exclusive_that_does_not_match_is_405,
    different_arguments_are_406,
    integers_of_any_width_are_the_same_argument,
    unknown_arguments_do_not_count,
    the_type_classic_is_the_default,
    an_exclusive_queue_is_locked_for_other_connections,
    a_channel_of_the_same_connection_may_use_an_exclusive_queue,
    purge_takes_what_is_ready,
    purging_what_is_missing_is_404,
    deleting_says_how_many_messages_went,
    deleting_what_is_missing_is_ok,
    a_queue_with_consumers_is_in_use,
    a_queue_with_messages_is_not_empty,
    no_wait_gets_no_reply,
    what_is_unacked_does_not_keep_a_queue_from_being_empty,
    invalid_arguments_are_406,
    arguments_of_the_wrong_type_are_406,
    line_ends_are_stripped_from_names,
    the_longest_name_works,
];
