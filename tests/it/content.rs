//! Content: a method, its header, its bodies; sizes, and what may not stand between them.

use crate::support::broker::start_in_process;
use crate::support::raw::PATIENCE;
use crate::support::{Client, Properties, Scenario, Value, scenarios, text};

fn start_publish(t: &Scenario) -> crate::support::Client {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.send(1, "basic.publish key=~q");
    c
}

fn a_message_comes_back_byte_for_byte(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    let body: Vec<u8> = (0..=255).cycle().take(1_000).collect();
    c.publish(1, "", "~q", &body);
    c.send(1, "basic.get queue=~q no-ack");
    assert_eq!(c.receive("basic.get-ok").body, body);
}

fn an_empty_message_has_no_body_frame(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.publish(1, "", "~q", "");
    c.publish(1, "", "~q", "behind it");
    c.get(1, "~q", "basic.get-ok delivery=1 key=~q left=1: ");
    c.get(1, "~q", "basic.get-ok delivery=2 key=~q left=0: behind it");
}

fn ten_mebibytes_travel_in_many_frames(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    let body: Vec<u8> = (0..10 * 1024 * 1024u32).map(|n| ((n * 31) >> 3) as u8).collect();
    c.publish(1, "", "~q", &body);
    c.send(1, "basic.get queue=~q no-ack");
    assert!(c.receive("basic.get-ok").body == body, "the body came back changed");
}

fn a_body_may_come_in_uneven_pieces(t: &Scenario) {
    let mut c = start_publish(t);
    c.send_header(1, 10, &Properties::default());
    for piece in [&b"a"[..], b"", b"bcdefgh", b"ij"] {
        c.send_frame(3, 1, piece);
    }
    c.get(1, "~q", "basic.get-ok delivery=1 key=~q left=0: abcdefghij");
}

fn contents_of_two_channels_may_interleave(t: &Scenario) {
    let mut c = start_publish(t);
    c.open_channel(2);
    c.send(2, "basic.publish key=~q");
    c.send_header(1, 4, &Properties::default());
    c.send_header(2, 4, &Properties::default());
    c.send_frame(3, 2, b"tw");
    c.send_frame(3, 1, b"one ");
    c.send_frame(3, 2, b"o ");
    c.expect_queue(2, "~q", 2, 0);
    c.drain(1, "~q");
}

fn a_heartbeat_may_stand_within_content(t: &Scenario) {
    let mut c = start_publish(t);
    c.send_frame(8, 0, &[]);
    c.send_header(1, 2, &Properties::default());
    c.send_frame(8, 0, &[]);
    c.send_frame(3, 1, b"ok");
    c.get(1, "~q", "basic.get-ok delivery=1 key=~q left=0: ok");
}

fn a_body_longer_than_announced_is_501(t: &Scenario) {
    let mut c = start_publish(t);
    c.send_header(1, 3, &Properties::default());
    c.send_frame(3, 1, b"four");
    let close = c.receive("connection.close");
    assert!(close.text.starts_with("0 connection.close 501 FRAME_ERROR - "), "{}", close.text);
}

fn a_method_instead_of_a_header_is_505(t: &Scenario) {
    let mut c = start_publish(t);
    c.send(1, "basic.get queue=~q");
    c.expect_connection_close(
        "505 UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead \
         (basic.publish)",
    );
}

fn a_method_instead_of_a_body_is_505(t: &Scenario) {
    let mut c = start_publish(t);
    c.send_header(1, 3, &Properties::default());
    c.send(1, "basic.get queue=~q");
    c.expect_connection_close(
        "505 UNEXPECTED_FRAME - expected content body, got non content body frame instead (basic.publish)",
    );
}

fn a_body_instead_of_a_header_is_505(t: &Scenario) {
    let mut c = start_publish(t);
    c.send_frame(3, 1, b"body");
    c.expect_connection_close(
        "505 UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead \
         (basic.publish)",
    );
}

fn a_header_of_another_class_is_505(t: &Scenario) {
    let mut c = start_publish(t);
    c.send_frame(2, 1, &[0, 50, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
    c.expect_connection_close(
        "505 UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead (basic.publish)",
    );
}

fn content_without_a_method_is_505(t: &Scenario) {
    let header = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
    for (kind, payload) in [(2, &header[..]), (3, b"x")] {
        let mut c = t.open();
        c.send_frame(kind, 1, payload);
        c.expect_connection_close(
            "505 UNEXPECTED_FRAME - expected method frame, got non method frame instead (0/0)",
        );
    }
}

fn content_on_an_unopened_channel_is_504(t: &Scenario) {
    let header = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
    for (kind, payload) in [(2, &header[..]), (3, b"x")] {
        let mut c = t.open();
        c.send_frame(kind, 9, payload);
        c.expect("0 connection.close 504 CHANNEL_ERROR - expected 'channel.open' (basic.publish)");
    }
}

fn every_property_comes_back(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    let properties = Properties::new(
        "content-type=text/plain content-encoding=gzip delivery-mode=2 priority=7 correlation-id=c reply-to=r \
         expiration=60000 message-id=m timestamp=1700000000 type=t user-id=guest app-id=a cluster-id=k",
    );
    let sent = properties.headers(&[("h", text("v"))]);
    c.publish_with(1, "key=~q", &sent, "x");
    c.send(1, "basic.get queue=~q no-ack");
    assert_eq!(c.expect(
        "1 basic.get-ok delivery=1 key=~q left=0 {content-type=text/plain content-encoding=gzip delivery-mode=2 \
         priority=7 correlation-id=c reply-to=r expiration=60000 message-id=m timestamp=1700000000 type=t \
         user-id=guest app-id=a cluster-id=k headers={h='v'}}: x",
    ).properties, sent);
}

fn headers_of_every_type_come_back(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    let nested = Value::F(vec![("a".into(), Value::A(vec![Value::I(1), Value::V, text("x")]))]);
    let headers = [
        ("a", Value::Bool(true)),
        ("b", Value::b(-5)),
        ("c", Value::B(200)),
        ("d", Value::s(-300)),
        ("e", Value::u(60_000)),
        ("f", Value::I(-70_000)),
        ("g", Value::i(4_000_000_000)),
        ("h", Value::l(i64::MIN)),
        ("i", Value::f(1.5)),
        ("j", Value::d(-2.25)),
        ("k", Value::D(2, 314)),
        ("l", Value::T(1_700_000_000)),
        ("m", text("")),
        ("n", Value::x(vec![0, 255])),
        ("o", nested),
        ("p", Value::V),
    ];
    let sent = Properties::default().headers(&headers);
    c.publish_with(1, "key=~q", &sent, "x");
    c.send(1, "basic.get queue=~q no-ack");
    assert_eq!(c.receive("basic.get-ok").properties, sent);
}

fn an_announced_body_above_the_largest_message_is_refused(t: &Scenario) {
    let mut c = start_publish(t);
    c.send_header(1, 600 * 1024 * 1024, &Properties::default());
    let close = c.receive("a close");
    let is_wanted = close.text.starts_with("0 connection.close 501 FRAME_ERROR")
        || close.text.starts_with("1 channel.close 406 PRECONDITION_FAILED - message size");
    assert!(is_wanted, "{}", close.text);
}

/// Connections are closed on demand, whether their clients read or not.
#[test]
fn a_client_that_reads_nothing_can_be_told_to_go() {
    const MESSAGES: u32 = 40;
    let (target, broker) = start_in_process();
    let t = Scenario::new(target, true);
    let mut deaf = t.open();
    let of_the_deaf = broker.connections.all()[0].id;
    let mut c = t.open();
    c.declare(1, "~q", "");
    for _ in 0..MESSAGES {
        c.publish(1, "", "~q", vec![b'x'; 1024 * 1024]);
    }
    c.expect_queue(1, "~q", MESSAGES, 0);
    deaf.send(1, "basic.consume queue=~q tag=t");
    let ready = |c: &mut Client| {
        c.send(1, "queue.declare queue=~q passive");
        c.next("queue.declare-ok").unwrap().number("messages") as u32
    };
    while ready(&mut c) > 0 {}
    broker.connections.close_where(|connection| connection.id == of_the_deaf, "go");
    let started = warren::time::now();
    while ready(&mut c) < MESSAGES && started.elapsed() < PATIENCE {}
    c.expect_queue(1, "~q", MESSAGES, 0);
}

scenarios![
    a_message_comes_back_byte_for_byte,
    an_empty_message_has_no_body_frame,
    ten_mebibytes_travel_in_many_frames,
    a_body_may_come_in_uneven_pieces,
    contents_of_two_channels_may_interleave,
    a_heartbeat_may_stand_within_content,
    a_body_longer_than_announced_is_501,
    a_method_instead_of_a_header_is_505,
    a_method_instead_of_a_body_is_505,
    a_body_instead_of_a_header_is_505,
    a_header_of_another_class_is_505,
    content_without_a_method_is_505,
    content_on_an_unopened_channel_is_504,
    every_property_comes_back,
    headers_of_every_type_come_back,
    an_announced_body_above_the_largest_message_is_refused,
];
