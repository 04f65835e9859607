//! Dead letters: why a message becomes one, where it goes, and what its headers say (behaviour.md, 2.1 and 2.3).

use crate::support::raw::Incoming;
use crate::support::scenario::run;
use crate::support::{Client, Properties, Scenario, Value, scenarios, text};

/// A delivery of a dead letter in one line: where it was published and what it is, its deaths newest first, its first
/// death. RabbitMQ orders headers otherwise, and gives times.
fn describe(incoming: &Incoming) -> String {
    let (exchange, key) = (incoming.get("exchange"), incoming.get("key"));
    let properties = &incoming.properties;
    let headers = properties.headers.clone().unwrap_or_default();
    let of = |table: &[(String, Value)], name: &str| {
        let value = table.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        value.map(|value| show(&value)).unwrap_or_default()
    };
    let mut line = format!("'{exchange}' '{key}' {}", String::from_utf8_lossy(&incoming.body));
    if !properties.get("expiration").is_empty() {
        line += &format!(" (lives {})", properties.get("expiration"));
    }
    if let Some((_, copies)) = headers.iter().find(|(name, _)| name == "CC") {
        line += &format!(" (CC {})", show(copies));
    }
    let deaths = headers.iter().find(|(name, _)| name == "x-death").map(|(_, deaths)| deaths.clone());
    let Some(Value::A(deaths)) = deaths else { return line + "; no deaths" };
    for death in deaths {
        let Value::F(death) = death else { return line + "; a death that is no table" };
        assert!(matches!(death.iter().find(|(name, _)| name == "time"), Some((_, Value::T(_)))));
        let [queue, reason, count, from, keys] =
            ["queue", "reason", "count", "exchange", "routing-keys"].map(|name| of(&death, name));
        line += &format!("; {count} {reason} in {queue} from '{from}' {keys}");
        let original = of(&death, "original-expiration");
        if !original.is_empty() {
            line += &format!(" lived {original}");
        }
    }
    let first = ["queue", "reason", "exchange"].map(|name| of(&headers, &format!("x-first-death-{name}")));
    line + &format!("; first {} in {} from '{}'", first[1], first[0], first[2])
}

fn show(value: &Value) -> String {
    match value {
        Value::S(text) => String::from_utf8_lossy(text).into_owned(),
        Value::A(values) => values.iter().map(show).collect::<Vec<_>>().join(","),
        Value::l(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn expect_letter(c: &mut Client, wanted: &str) {
    c.expect_described(wanted, describe);
}

/// A queue whose dead letters go to the queue `~dead`, by its name, and a consumer of that.
fn with_dead(t: &Scenario, arguments: &[(&'static str, Value)]) -> Client {
    let mut c = t.open();
    c.declare(1, "~dead", "exclusive");
    let to = [("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text("~dead"))];
    let arguments: Vec<_> = to.into_iter().chain(arguments.iter().cloned()).collect();
    c.declare_with(1, "~q", "exclusive", &arguments);
    c.consume(1, "~dead", "d", "no-ack");
    c
}

fn get(c: &mut Client, body: &str, delivery: u32) {
    c.call(1, "basic.get queue=~q", &format!("basic.get-ok delivery={delivery} key=~q left=0: {body}"));
}

fn a_rejected_message_becomes_a_dead_letter(t: &Scenario) {
    let mut c = with_dead(t, &[]);
    c.publish(1, "", "~q", "one");
    get(&mut c, "one", 1);
    c.send(1, "basic.reject delivery=1");
    expect_letter(&mut c, "'' '~dead' one; 1 rejected in ~q from '' ~q; first rejected in ~q from ''");
}

fn messages_nacked_together_become_dead_letters_in_their_order(t: &Scenario) {
    let mut c = with_dead(t, &[]);
    for body in ["one", "two", "three"] {
        c.publish(1, "", "~q", body);
    }
    for (number, body) in ["one", "two", "three"].iter().enumerate() {
        let left = 2 - number;
        c.call(
            1,
            "basic.get queue=~q",
            &format!("basic.get-ok delivery={} key=~q left={left}: {body}", number + 1),
        );
    }
    c.send(1, "basic.nack delivery=3 multiple");
    for body in ["one", "two", "three"] {
        let wanted = format!("'' '~dead' {body}; 1 rejected in ~q from '' ~q; first rejected in ~q from ''");
        expect_letter(&mut c, &wanted);
    }
}

fn an_expired_message_becomes_a_dead_letter_without_its_expiration(t: &Scenario) {
    let mut c = with_dead(t, &[]);
    c.publish_with(1, "key=~q", &Properties::new("expiration=1"), "own");
    let wanted = "'' '~dead' own; 1 expired in ~q from '' ~q lived 1; first expired in ~q from ''";
    expect_letter(&mut c, wanted);
}

fn a_message_that_outlives_its_queues_time_becomes_a_dead_letter(t: &Scenario) {
    let mut c = with_dead(t, &[("x-message-ttl", Value::I(1))]);
    c.publish(1, "", "~q", "one");
    expect_letter(&mut c, "'' '~dead' one; 1 expired in ~q from '' ~q; first expired in ~q from ''");
}

fn what_a_full_queue_drops_becomes_a_dead_letter(t: &Scenario) {
    let mut c = with_dead(t, &[("x-max-length", Value::I(2))]);
    for body in ["one", "two", "three", "four"] {
        c.publish(1, "", "~q", body);
    }
    for body in ["one", "two"] {
        let wanted = format!("'' '~dead' {body}; 1 maxlen in ~q from '' ~q; first maxlen in ~q from ''");
        expect_letter(&mut c, &wanted);
    }
    c.expect_messages(1, "~q", &["three", "four"]);
}

fn what_a_full_queue_does_not_take_becomes_a_dead_letter_if_it_says_so(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~dead", "exclusive");
    let arguments = [
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("~dead")),
        ("x-max-length", Value::I(1)),
        ("x-overflow", text("reject-publish-dlx")),
    ];
    c.declare_with(1, "~q", "exclusive", &arguments);
    c.call(1, "confirm.select", "confirm.select-ok");
    c.publish(1, "", "~q", "one");
    c.expect("1 basic.ack delivery=1");
    c.publish(1, "", "~q", "two");
    // RabbitMQ sets the other bits of the nack, too.
    c.expect_described("nack 2", |incoming| {
        format!("{} {}", &incoming.method.name[6..], incoming.get("delivery"))
    });
    c.consume(1, "~dead", "d", "no-ack");
    expect_letter(&mut c, "'' '~dead' two; 1 maxlen in ~q from '' ~q; first maxlen in ~q from ''");
}

fn without_a_key_of_its_own_a_dead_letter_keeps_its_keys(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "topic auto-delete");
    c.exchange(1, "~dlx", "topic auto-delete");
    c.declare(1, "~dead", "exclusive");
    c.bind(1, "~dead", "~dlx", "a.*");
    c.declare_with(
        1,
        "~q",
        "exclusive",
        &[("x-dead-letter-exchange", text("~dlx")), ("x-message-ttl", Value::I(1))],
    );
    c.bind(1, "~q", "~x", "#");
    c.consume(1, "~dead", "d", "no-ack");
    c.publish(1, "~x", "b.c", "elsewhere");
    c.publish(1, "~x", "a.b", "here");
    expect_letter(&mut c, "'~dlx' 'a.b' here; 1 expired in ~q from '~x' a.b; first expired in ~q from '~x'");
}

fn the_keys_of_cc_count_and_are_told(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~dlx", "direct auto-delete");
    c.declare(1, "~dead", "exclusive");
    c.bind(1, "~dead", "~dlx", "copy");
    c.declare_with(
        1,
        "~q",
        "exclusive",
        &[("x-dead-letter-exchange", text("~dlx")), ("x-message-ttl", Value::I(1))],
    );
    c.consume(1, "~dead", "d", "no-ack");
    let headers =
        [("CC", Value::A(vec![text("copy"), text("other")])), ("BCC", Value::A(vec![text("hidden")]))];
    c.publish_with(1, "key=~q", &Properties::default().headers(&headers), "one");
    let wanted =
        "'~dlx' '~q' one (CC copy,other); 1 expired in ~q from '' ~q,copy,other; first expired in ~q from ''";
    expect_letter(&mut c, wanted);
}

fn a_key_of_its_own_replaces_all_and_cc_goes(t: &Scenario) {
    let mut c = with_dead(t, &[("x-message-ttl", Value::I(1))]);
    let headers = [("CC", Value::A(vec![text("copy")]))];
    c.publish_with(1, "key=~q", &Properties::default().headers(&headers), "one");
    expect_letter(&mut c, "'' '~dead' one; 1 expired in ~q from '' ~q,copy; first expired in ~q from ''");
}

fn a_dead_letter_for_an_exchange_that_is_not_there_is_gone(t: &Scenario) {
    let mut c = t.open();
    c.declare_with(1, "~q", "exclusive", &[("x-dead-letter-exchange", text("~none"))]);
    c.publish(1, "", "~q", "one");
    get(&mut c, "one", 1);
    c.send(1, "basic.reject delivery=1");
    c.expect_queue(1, "~q", 0, 0);
    c.close_channel(1);
    c.open_channel(1);
    c.expect_queue(1, "~q", 0, 0);
}

fn a_message_that_dies_again_counts_its_deaths(t: &Scenario) {
    let mut c = t.open();
    let to = |queue: &'static str| {
        [("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text(queue))]
    };
    c.declare_with(1, "~a", "exclusive", &to("~b"));
    c.declare_with(1, "~b", "exclusive", &to("~a"));
    c.consume(1, "~a", "a", "");
    c.consume(1, "~b", "b", "");
    c.publish(1, "", "~a", "one");
    expect_letter(&mut c, "'' '~a' one; no deaths");
    c.send(1, "basic.reject delivery=1");
    expect_letter(&mut c, "'' '~b' one; 1 rejected in ~a from '' ~a; first rejected in ~a from ''");
    c.send(1, "basic.reject delivery=2");
    let wanted =
        "'' '~a' one; 1 rejected in ~b from '' ~b; 1 rejected in ~a from '' ~a; first rejected in ~a from ''";
    expect_letter(&mut c, wanted);
    c.send(1, "basic.reject delivery=3");
    let wanted =
        "'' '~b' one; 2 rejected in ~a from '' ~a; 1 rejected in ~b from '' ~b; first rejected in ~a from ''";
    expect_letter(&mut c, wanted);
}

fn a_message_that_would_go_round_by_itself_is_gone(t: &Scenario) {
    let mut c = t.open();
    let to = |queue: &'static str| {
        [
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text(queue)),
            ("x-message-ttl", Value::I(1)),
        ]
    };
    c.declare_with(1, "~a", "exclusive", &to("~b"));
    c.declare_with(1, "~b", "exclusive", &to("~a"));
    c.publish(1, "", "~a", "one");
    c.expect_none(1, "~a", "messages");
    c.expect_none(1, "~b", "messages");
    // As long as another one takes to die twice, it is not there again.
    c.declare(1, "~end", "exclusive");
    c.declare_with(1, "~c", "exclusive", &to("~d"));
    c.declare_with(1, "~d", "exclusive", &to("~end"));
    c.consume(1, "~end", "e", "no-ack");
    c.publish(1, "", "~c", "two");
    let wanted =
        "'' '~end' two; 1 expired in ~d from '' ~d; 1 expired in ~c from '' ~c; first expired in ~c from ''";
    expect_letter(&mut c, wanted);
    c.expect_queue(1, "~a", 0, 0);
    c.expect_queue(1, "~b", 0, 0);
}

fn a_rejection_on_the_way_keeps_a_message_going_round(t: &Scenario) {
    let mut c = t.open();
    let to = |queue: &'static str| {
        vec![("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text(queue))]
    };
    c.declare_with(1, "~work", "exclusive", &to("~pause"));
    let pause: Vec<_> = to("~work").into_iter().chain([("x-message-ttl", Value::I(1))]).collect();
    c.declare_with(1, "~pause", "exclusive", &pause);
    c.consume(1, "~work", "w", "");
    c.publish(1, "", "~work", "one");
    expect_letter(&mut c, "'' '~work' one; no deaths");
    for count in 1..=3 {
        c.send(1, &format!("basic.reject delivery={count}"));
        let wanted = format!(
            "'' '~work' one; {count} expired in ~pause from '' ~pause; {count} rejected in ~work from '' ~work; first \
             rejected in ~work from ''"
        );
        expect_letter(&mut c, &wanted);
    }
}

fn dead_letters_keep_their_order(t: &Scenario) {
    let mut c = with_dead(t, &[("x-max-length", Value::I(0))]);
    for number in 0..300 {
        c.publish(1, "", "~q", format!("{number}"));
    }
    for number in 0..300 {
        let wanted = format!("'' '~dead' {number}; 1 maxlen in ~q from '' ~q; first maxlen in ~q from ''");
        expect_letter(&mut c, &wanted);
    }
}

scenarios![
    a_rejected_message_becomes_a_dead_letter,
    messages_nacked_together_become_dead_letters_in_their_order,
    an_expired_message_becomes_a_dead_letter_without_its_expiration,
    a_message_that_outlives_its_queues_time_becomes_a_dead_letter,
    what_a_full_queue_drops_becomes_a_dead_letter,
    what_a_full_queue_does_not_take_becomes_a_dead_letter_if_it_says_so,
    without_a_key_of_its_own_a_dead_letter_keeps_its_keys,
    the_keys_of_cc_count_and_are_told,
    a_key_of_its_own_replaces_all_and_cc_goes,
    a_dead_letter_for_an_exchange_that_is_not_there_is_gone,
    a_message_that_dies_again_counts_its_deaths,
    a_message_that_would_go_round_by_itself_is_gone,
    a_rejection_on_the_way_keeps_a_message_going_round,
    dead_letters_keep_their_order,
];

/// RabbitMQ 3.10 sorts them by their counts.
#[test]
fn the_newest_death_is_told_first_and_the_last_in_headers_of_its_own() {
    run(|t| {
        let mut c = t.open();
        let to = |queue: &str| {
            [
                ("x-dead-letter-exchange", text("")),
                ("x-dead-letter-routing-key", text(queue)),
                ("x-message-ttl", Value::I(1)),
            ]
        };
        c.declare(1, "~end", "exclusive");
        for (queue, next) in [("~a", "~b"), ("~b", "~c"), ("~c", "~end")] {
            c.declare_with(1, queue, "exclusive", &to(next));
        }
        c.consume(1, "~end", "e", "no-ack");
        c.publish(1, "", "~a", "one");
        let wanted = "'' '~end' one; 1 expired in ~c from '' ~c; 1 expired in ~b from '' ~b; 1 expired in ~a from '' \
                      ~a; first expired in ~a from ''; last expired in ~c from ''";
        c.expect_described(wanted, |incoming| {
            let headers = incoming.properties.headers.clone().unwrap_or_default();
            let of =
                |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| show(value));
            let [reason, queue, exchange] =
                ["x-last-death-reason", "x-last-death-queue", "x-last-death-exchange"]
                    .map(|name| of(name).unwrap());
            format!("{}; last {reason} in {queue} from '{exchange}'", describe(incoming))
        });
    });
}

#[test]
fn a_message_that_was_rejected_too_often_becomes_a_dead_letter() {
    run(|t| {
        let mut c = with_dead(t, &[("x-delivery-limit", Value::I(1))]);
        c.publish(1, "", "~q", "one");
        get(&mut c, "one", 1);
        c.send(1, "basic.reject delivery=1 requeue");
        let counts = "headers={x-acquired-count=l1 x-delivery-count=l1}";
        let again = format!("basic.get-ok delivery=2 redelivered key=~q left=0 {{{counts}}}: one");
        c.call(1, "basic.get queue=~q", &again);
        c.send(1, "basic.reject delivery=2 requeue");
        let wanted = "'' '~dead' one; 1 delivery_limit in ~q from '' ~q; first delivery_limit in ~q from ''";
        expect_letter(&mut c, wanted);
    });
}

#[test]
fn a_nack_that_gives_a_message_back_is_no_failure_and_the_end_of_a_channel_is() {
    run(|t| {
        let mut c = with_dead(t, &[("x-delivery-limit", Value::I(0))]);
        c.open_channel(2);
        c.publish(1, "", "~q", "one");
        get(&mut c, "one", 1);
        c.send(1, "basic.nack delivery=1 requeue");
        let again = "basic.get-ok delivery=1 redelivered key=~q left=0 {headers={x-acquired-count=l1}}: one";
        c.call(2, "basic.get queue=~q", again);
        c.close_channel(2);
        let wanted = "'' '~dead' one; 1 delivery_limit in ~q from '' ~q; first delivery_limit in ~q from ''";
        expect_letter(&mut c, wanted);
    });
}

#[test]
fn at_least_once_a_dead_letter_stays_until_a_queue_takes_it() {
    run(|t| {
        let mut c = t.open();
        c.exchange(1, "~dlx", "fanout auto-delete");
        let arguments = [
            ("x-dead-letter-exchange", text("~dlx")),
            ("x-dead-letter-strategy", text("at-least-once")),
            ("x-message-ttl", Value::I(1)),
        ];
        c.declare_with(1, "~q", "exclusive", &arguments);
        for body in ["one", "two", "three"] {
            c.publish(1, "", "~q", body);
        }
        c.declare_with(
            1,
            "~full",
            "exclusive",
            &[("x-max-length", Value::I(2)), ("x-overflow", text("reject-publish"))],
        );
        c.bind(1, "~full", "~dlx", "");
        c.call(1, "basic.qos prefetch=1", "basic.qos-ok");
        c.consume(1, "~full", "f", "");
        // The third waits for the consumer, because the queue takes two.
        for (number, body) in ["one", "two", "three"].iter().enumerate() {
            let wanted =
                format!("'~dlx' '~q' {body}; 1 expired in ~q from '' ~q; first expired in ~q from ''");
            expect_letter(&mut c, &wanted);
            c.send(1, &format!("basic.ack delivery={}", number + 1));
        }
    });
}
