//! Limits on the wire: frames, texts, names, numbers.

use crate::support::{Login, Scenario, scenarios};

fn an_error_text_is_cut_at_255_bytes(t: &Scenario) {
    let mut c = t.open();
    let name = format!("~{}", "n".repeat(255 - t.trace.prefix.len()));
    c.send(1, &format!("queue.declare queue={name} passive"));
    let close = c.next("channel.close").unwrap();
    assert_eq!((close.get("code"), close.get("text").len()), ("404", 255));
    assert!(close.get("text").starts_with("NOT_FOUND - no queue '"), "{}", close.text);
}

fn the_largest_frame_is_accepted(t: &Scenario) {
    let mut c = t.open_as(&Login { frame_max: Some(4096), ..Login::default() });
    c.declare(1, "~q", "exclusive");
    for size in [4087, 4088, 4089, 8176, 8177] {
        c.publish(1, "", "~q", vec![b'f'; size]);
        c.send(1, "basic.get queue=~q no-ack");
        assert_eq!(c.receive("basic.get-ok").body.len(), size);
    }
}

fn a_message_of_the_largest_size_is_accepted(t: &Scenario) {
    let mut c = t.open();
    c.declare(1, "~q", "exclusive");
    c.publish(1, "", "~q", vec![7; 16 * 1024 * 1024]);
    c.send(1, "basic.get queue=~q no-ack");
    assert_eq!(c.receive("basic.get-ok").body.len(), 16 * 1024 * 1024);
}

fn the_longest_routing_key_and_tag_work(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "direct");
    c.declare(1, "~q", "exclusive");
    let key = "k".repeat(255);
    c.bind(1, "~q", "~x", &key);
    c.consume(1, "~q", &"t".repeat(255), "no-ack");
    c.publish(1, "~x", &key, "long");
    let delivered = c.receive("basic.deliver");
    assert_eq!((delivered.get("key").len(), delivered.get("tag").len()), (255, 255));
}

fn prefetch_goes_up_to_65535(t: &Scenario) {
    let mut c = t.open();
    c.call(1, "basic.qos prefetch=65535", "basic.qos-ok");
    c.call(1, "basic.qos prefetch=65535 global", "basic.qos-ok");
    c.call(1, "basic.qos prefetch=0", "basic.qos-ok");
}

fn thousands_of_bindings_do_not_slow_a_publish_down(t: &Scenario) {
    let mut c = t.open();
    c.exchange(1, "~x", "direct");
    c.declare(1, "~q", "exclusive");
    for number in 0..2_000 {
        c.send(1, &format!("queue.bind queue=~q exchange=~x key=k{number} no-wait"));
    }
    for number in [0, 999, 1_999] {
        c.publish(1, "~x", &format!("k{number}"), "x");
    }
    c.publish(1, "~x", "k2000", "dropped");
    c.expect_messages(1, "~q", &["x", "x", "x"]);
}

scenarios![
    an_error_text_is_cut_at_255_bytes,
    the_largest_frame_is_accepted,
    a_message_of_the_largest_size_is_accepted,
    the_longest_routing_key_and_tag_work,
    prefetch_goes_up_to_65535,
    thousands_of_bindings_do_not_slow_a_publish_down,
];
