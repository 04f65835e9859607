//! Bad input: whatever bytes come, the exact error, never a panic, and nobody else is disturbed.
//!
//! RabbitMQ drops the connection without a word in most of these cases, so they are no scenarios of the differential
//! test.

use crate::support::scenario::run;
use crate::support::{Client, Login, Scenario, codec, text};

/// Runs a scenario beside a connection that must not notice.
fn undisturbed(body: impl Fn(&Scenario)) {
    run_with(|t| {
        let mut bystander = t.open();
        bystander.declare(1, "~bystander", "exclusive");
        bystander.consume(1, "~bystander", "t", "no-ack");
        body(t);
        bystander.publish(1, "", "~bystander", "still here");
        bystander.expect("1 basic.deliver tag=t delivery=1 key=~bystander: still here");
    });
}

fn run_with(body: impl Fn(&Scenario)) {
    body(&Scenario::new(crate::support::broker::shared(), true));
}

/// Expects the connection to be closed with this code, answers, and sees the stream end. (Behind a broken frame the
/// answer cannot be read, so the broker ends the stream in its own time.)
fn expect_code(mut c: Client, code: &str, what: &str) {
    let close = c.receive(what);
    let wanted = format!("0 connection.close {code} - ");
    assert!(close.text.starts_with(&wanted), "{what}: wanted {wanted}…, got {}", close.text);
    if code != FRAME_ERROR {
        c.send(0, "connection.close-ok");
        c.expect_end();
    }
}

const FRAME_ERROR: &str = "501 FRAME_ERROR";
const SYNTAX_ERROR: &str = "502 SYNTAX_ERROR";
const NOT_IMPLEMENTED: &str = "540 NOT_IMPLEMENTED";
const UNEXPECTED_FRAME: &str = "505 UNEXPECTED_FRAME";

/// A field table with one field that nests tables (`F`) or arrays (`A`) this deep.
fn nested(letter: u8, depth: usize) -> Vec<u8> {
    let mut value = Vec::new();
    for _ in 0..depth {
        let mut outer = Vec::new();
        if letter == b'F' && !value.is_empty() {
            outer.extend_from_slice(&[1, b'a']);
        }
        outer.extend_from_slice(&value);
        value = vec![letter];
        codec::put_long(&mut value, &outer);
    }
    let mut table = Vec::new();
    codec::put_long(&mut table, &[&[1, b'a'][..], &value].concat());
    table
}

#[test]
fn a_table_nested_4000_deep_before_login_is_refused() {
    undisturbed(|t| {
        // Smaller than the frame that is allowed before tune, and larger.
        for (letter, depth) in [(b'F', 500), (b'A', 500), (b'F', 4_000), (b'A', 4_000)] {
            let mut c = t.socket();
            c.start();
            let mut payload = vec![0, 10, 0, 11];
            payload.extend_from_slice(&nested(letter, depth));
            codec::put_short(&mut payload, b"PLAIN");
            codec::put_long(&mut payload, b"\0guest\0guest");
            codec::put_short(&mut payload, b"en_US");
            c.send_frame(1, 0, &payload);
            let close = c.receive("connection.close");
            let codes = ["501", "502"];
            let is_refused =
                codes.iter().any(|code| close.text.starts_with(&format!("0 connection.close {code}")));
            assert!(is_refused, "{depth} deep: {}", close.text);
        }
    });
}

#[test]
fn a_table_nested_4000_deep_in_arguments_is_502() {
    undisturbed(|t| {
        for letter in [b'F', b'A'] {
            let mut c = t.open();
            let mut payload = vec![0, 50, 0, 10, 0, 0];
            codec::put_short(&mut payload, b"deep");
            payload.push(0);
            payload.extend_from_slice(&nested(letter, 4_000));
            c.send_frame(1, 1, &payload);
            expect_code(c, SYNTAX_ERROR, "queue.declare");
        }
    });
}

#[test]
fn headers_nested_4000_deep_are_502() {
    undisturbed(|t| {
        let mut c = t.open();
        c.send(1, "basic.publish key=~q");
        let payload = [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0][..], &nested(b'F', 4_000)].concat();
        c.send_frame(2, 1, &payload);
        expect_code(c, SYNTAX_ERROR, "a header");
    });
}

#[test]
fn an_unknown_frame_type_is_501() {
    undisturbed(|t| {
        for kind in [0, 4, 5, 7, 9, 255] {
            let mut c = t.open();
            c.send_frame(kind, 1, b"?");
            expect_code(c, FRAME_ERROR, &format!("frame type {kind}"));
        }
    });
}

#[test]
fn a_wrong_end_octet_is_501_for_every_frame_type() {
    undisturbed(|t| {
        let method = codec::encode("basic.qos", &[], "");
        let header = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
        for (kind, channel, payload) in [(1, 1, &method[..]), (2, 1, &header), (3, 1, b"x"), (8, 0, b"")] {
            let mut c = t.open();
            if kind != 1 && kind != 8 {
                c.send(1, "basic.publish key=~q");
            }
            let mut bytes = codec::frame(kind, channel, payload);
            *bytes.last_mut().unwrap() = 0;
            c.send_bytes(&bytes);
            expect_code(c, FRAME_ERROR, &format!("frame type {kind}"));
        }
    });
}

#[test]
fn a_frame_above_frame_max_is_501_for_every_frame_type() {
    undisturbed(|t| {
        for kind in [1, 2, 3, 8] {
            let mut c = t.open_as(&Login { frame_max: Some(4096), ..Login::default() });
            if kind == 2 || kind == 3 {
                c.send(1, "basic.publish key=~q");
            }
            c.send_bytes(&[&[kind, 0, u8::from(kind != 8)][..], &200_000u32.to_be_bytes()].concat());
            expect_code(c, FRAME_ERROR, &format!("frame type {kind}"));
        }
    });
}

#[test]
fn behind_a_broken_frame_the_stream_ends() {
    run(|t| {
        let mut c = t.open();
        c.send_frame(9, 1, b"?");
        assert_eq!(c.receive("connection.close").method.name, "connection.close");
        c.expect_end();
    });
}

#[test]
fn a_frame_announced_with_4_gibibytes_is_501() {
    undisturbed(|t| {
        let mut c = t.open();
        c.send_bytes(&[3, 0, 1, 255, 255, 255, 255]);
        expect_code(c, FRAME_ERROR, "a body");
    });
}

#[test]
fn a_payload_shorter_than_its_fixed_part_is_501() {
    undisturbed(|t| {
        for (kind, payload) in [(1, &[0, 60, 0][..]), (1, &[]), (2, &[0, 60, 0, 0, 0]), (2, &[])] {
            let mut c = t.open();
            if kind == 2 {
                c.send(1, "basic.publish key=~q");
            }
            c.send_frame(kind, 1, payload);
            expect_code(c, FRAME_ERROR, &format!("frame type {kind}, {} bytes", payload.len()));
        }
    });
}

#[test]
fn every_method_with_truncated_arguments_is_502() {
    undisturbed(|t| {
        for (class, method, name, spec) in codec::METHODS {
            let is_for_clients = matches!(*method, 10 | 20 | 30 | 40 | 80 | 90 | 100 | 110 | 120);
            if spec.is_empty() || !is_for_clients || *class == 10 || *name == "channel.close" {
                continue;
            }
            let whole = codec::encode(name, &[], "");
            for length in [4, whole.len() - 1] {
                let mut c = t.open();
                c.send_frame(1, 1, &whole[..length]);
                expect_code(c, SYNTAX_ERROR, &format!("{name} cut to {length} bytes"));
            }
            assert_eq!(whole[..4], [class.to_be_bytes(), method.to_be_bytes()].concat());
        }
    });
}

#[test]
fn bytes_behind_the_arguments_are_502() {
    undisturbed(|t| {
        for method in ["queue.declare exclusive", "basic.qos prefetch=1", "tx.select", "basic.ack delivery=1"]
        {
            let mut c = t.open();
            let mut payload = codec::encode(method, &[], "");
            payload.push(0);
            c.send_frame(1, 1, &payload);
            expect_code(c, SYNTAX_ERROR, method);
        }
    });
}

#[test]
fn a_short_string_that_reaches_beyond_its_frame_is_502() {
    undisturbed(|t| {
        // queue.declare with a name of 255 bytes, of which 3 are there.
        let mut c = t.open();
        c.send_frame(1, 1, &[0, 50, 0, 10, 0, 0, 255, b'a', b'b', b'c']);
        expect_code(c, SYNTAX_ERROR, "queue.declare");
        // basic.publish likewise: it is read on a path of its own.
        let mut c = t.open();
        c.send_frame(1, 1, &[0, 60, 0, 40, 0, 0, 0, 255, b'a', b'b', b'c']);
        expect_code(c, SYNTAX_ERROR, "basic.publish");
    });
}

#[test]
fn a_name_of_300_bytes_is_502() {
    undisturbed(|t| {
        // 300 does not fit into the length octet, 44 does: the rest is garbage behind the name.
        let mut c = t.open();
        let mut payload = vec![0, 50, 0, 10, 0, 0, 44];
        payload.extend_from_slice(&[b'n'; 300]);
        payload.extend_from_slice(&[0, 0, 0, 0, 0]);
        c.send_frame(1, 1, &payload);
        expect_code(c, SYNTAX_ERROR, "queue.declare");
    });
}

#[test]
fn malformed_tables_are_502() {
    undisturbed(|t| {
        for (what, table) in [
            ("a length beyond the frame", &[0, 0, 1, 0][..]),
            ("a length of 4 GiB", &[255, 255, 255, 255]),
            ("no length", &[0, 0]),
            ("an unknown type", &[0, 0, 0, 4, 1, b'a', b'z', 0]),
            ("a name beyond the table", &[0, 0, 0, 3, 9, b'a', b't']),
            ("a name that is not UTF-8", &[0, 0, 0, 4, 1, 0xFF, b't', 1]),
            ("a value that is cut off", &[0, 0, 0, 4, 1, b'a', b'I', 0]),
            ("no value", &[0, 0, 0, 2, 1, b'a']),
            ("a string beyond the table", &[0, 0, 0, 7, 1, b'a', b'S', 0, 0, 0, 9]),
            ("an array beyond the table", &[0, 0, 0, 7, 1, b'a', b'A', 0, 0, 0, 9]),
        ] {
            let mut c = t.open();
            let mut payload = vec![0, 50, 0, 10, 0, 0];
            codec::put_short(&mut payload, b"malformed");
            payload.push(0);
            payload.extend_from_slice(table);
            c.send_frame(1, 1, &payload);
            expect_code(c, SYNTAX_ERROR, what);
        }
    });
}

#[test]
fn malformed_properties_are_502() {
    undisturbed(|t| {
        for (what, properties) in [
            ("no flags", &[][..]),
            ("one octet of flags", &[0x80]),
            ("a property that is not there", &[0x80, 0]),
            ("a property that is cut off", &[0x80, 0, 9, b'a']),
            ("a flag without a property", &[0, 0b10]),
            ("flags that go on", &[0, 1, 0, 0]),
            ("bytes behind the last property", &[0x10, 0, 2, 2]),
            ("headers with an unknown type", &[0x20, 0, 0, 0, 0, 4, 1, b'a', b'z', 0]),
            ("headers beyond the frame", &[0x20, 0, 0, 0, 1, 0]),
        ] {
            let mut c = t.open();
            c.send(1, "basic.publish key=~q");
            c.send_frame(2, 1, &[&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], properties].concat());
            expect_code(c, SYNTAX_ERROR, what);
        }
    });
}

#[test]
fn a_content_header_with_a_weight_is_501() {
    undisturbed(|t| {
        let mut c = t.open();
        c.send(1, "basic.publish key=~q");
        c.send_frame(2, 1, &[0, 60, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
        expect_code(c, FRAME_ERROR, "a header");
    });
}

#[test]
fn unknown_classes_and_methods_are_540() {
    undisturbed(|t| {
        for (class, method) in [(99, 10), (0, 0), (60, 99), (50, 12), (40, 41), (20, 99), (65_535, 65_535)] {
            let mut c = t.open();
            let payload = [u16::to_be_bytes(class), u16::to_be_bytes(method)].concat();
            c.send_frame(1, 1, &payload);
            expect_code(c, NOT_IMPLEMENTED, &format!("method {class}.{method}"));
        }
    });
}

#[test]
fn a_heartbeat_on_a_channel_is_505() {
    undisturbed(|t| {
        let mut c = t.open();
        c.send_frame(8, 1, &[]);
        expect_code(c, UNEXPECTED_FRAME, "a heartbeat");
    });
}

#[test]
fn channel_0_is_for_the_connection_class_alone() {
    undisturbed(|t| {
        for method in ["channel.open", "queue.declare queue=~q", "basic.publish key=~q"] {
            let mut c = t.open();
            c.send(0, method);
            expect_code(c, "504 CHANNEL_ERROR", method);
        }
    });
}

#[test]
fn content_on_channel_0_is_505() {
    undisturbed(|t| {
        for (kind, payload) in [(2, &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0][..]), (3, b"x")] {
            let mut c = t.open();
            c.send_frame(kind, 0, payload);
            expect_code(c, UNEXPECTED_FRAME, &format!("frame type {kind}"));
        }
    });
}

#[test]
fn a_method_before_its_time_closes_the_connection() {
    undisturbed(|t| {
        for method in ["connection.open vhost=/", "connection.tune-ok frame-max=131072 channel-max=1"] {
            let mut c = t.socket();
            c.start();
            c.send(0, method);
            let close = c.receive("connection.close");
            assert!(close.text.starts_with("0 connection.close 50"), "{method}: {}", close.text);
        }
        let mut c = t.socket();
        c.start();
        c.send(1, "channel.open");
        let close = c.receive("connection.close");
        assert!(close.text.starts_with("0 connection.close 504 CHANNEL_ERROR"), "{}", close.text);
    });
}

#[test]
fn a_frame_above_8192_bytes_before_tune_is_501() {
    undisturbed(|t| {
        let mut c = t.socket();
        c.start();
        c.send_bytes(&[&[1, 0, 0][..], &100_000u32.to_be_bytes()].concat());
        let close = c.receive("connection.close");
        assert!(close.text.starts_with("0 connection.close 501 FRAME_ERROR"), "{}", close.text);
    });
}

#[test]
fn a_connection_lost_at_any_byte_of_a_frame_does_no_harm() {
    undisturbed(|t| {
        let method = codec::frame(1, 1, &codec::encode("basic.publish key=lost", &[], ""));
        let header = codec::frame(2, 1, &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0]);
        let bytes = [method, header, codec::frame(3, 1, b"hello")].concat();
        for length in (1..bytes.len()).step_by(5) {
            let mut c = t.open();
            c.send_bytes(&bytes[..length]);
            c.hang_up();
        }
    });
}

#[test]
fn a_connection_lost_within_the_handshake_does_no_harm() {
    undisturbed(|t| {
        for length in 0..8 {
            let mut c = t.socket();
            c.send_bytes(&crate::support::raw::HEADER[..length]);
            c.hang_up();
        }
        let mut c = t.socket();
        c.start();
        c.hang_up();
        let mut c = t.socket();
        c.start();
        c.start_ok(&Login::default());
        c.hang_up();
    });
}

#[test]
fn names_that_are_not_utf_8_are_refused() {
    undisturbed(|t| {
        let mut c = t.open();
        let mut payload = vec![0, 50, 0, 10, 0, 0];
        codec::put_short(&mut payload, &[0xFF, 0xFE]);
        payload.extend_from_slice(&[0, 0, 0, 0, 0]);
        c.send_frame(1, 1, &payload);
        expect_code(c, SYNTAX_ERROR, "queue.declare");
    });
}

#[test]
fn a_routing_key_may_be_any_bytes() {
    run(|t| {
        let mut c = t.open();
        c.exchange(1, "~x", "fanout");
        c.declare(1, "~q", "exclusive");
        c.bind(1, "~q", "~x", "");
        let mut payload = vec![0, 60, 0, 40, 0, 0];
        codec::put_short(&mut payload, format!("{}x", t.trace.prefix).as_bytes());
        codec::put_short(&mut payload, &[0xFF, 0, 0xFE]);
        payload.push(0);
        c.send_frame(1, 1, &payload);
        c.send_header(1, 4, &crate::support::Properties::default());
        c.send_frame(3, 1, b"body");
        c.send(1, "basic.get queue=~q no-ack");
        assert_eq!(c.receive("basic.get-ok").body, b"body");
    });
}

#[test]
fn a_text_that_is_no_utf_8_is_a_value_like_others() {
    run(|t| {
        let mut c = t.open();
        c.declare(1, "~q", "exclusive");
        let sent = crate::support::Properties::default()
            .headers(&[("bytes", crate::support::Value::S(vec![0xFF, 0xFE])), ("text", text("ü"))]);
        c.publish_with(1, "key=~q", &sent, "x");
        c.send(1, "basic.get queue=~q no-ack");
        assert_eq!(c.receive("basic.get-ok").properties, sent);
    });
}
