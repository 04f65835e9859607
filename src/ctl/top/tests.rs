//! Frames as text, and what keys do to them.

use super::state::*;
use super::*;
use ratatui::{Terminal, backend::TestBackend};
use serde_json::json;

fn queue(name: &str, ready: u64, rate_in: f64, consumers: u64, since_s: Option<u64>) -> Value {
    json!({
        "vhost": "/", "name": name, "state": "running", "messages_ready": ready, "messages_unacknowledged": 1,
        "consumers": consumers, "head_message_timestamp": since_s,
        "message_stats": {"publish_details": {"rate": rate_in}, "deliver_get_details": {"rate": 0.0}},
    })
}

fn snapshot() -> Snapshot {
    let overview = json!({
        "node": "n", "product_version": "1.2",
        "object_totals": {"connections": 2, "channels": 3, "consumers": 4, "queues": 3},
        "queue_totals": {"messages_ready": 12, "messages_unacknowledged": 3},
        "message_stats": {"publish_details": {"rate": 12500.0}, "ack_details": {"rate": 0.5}},
    });
    let nodes = json!([{"mem_alarm": false, "disk_free_alarm": true}]);
    let queues =
        [queue("b", 2, 0.0, 0, Some(940)), queue("a", 10, 1.25, 1, None), queue("c", 0, 300.0, 2, Some(990))];
    Snapshot {
        overview: Overview::read(&overview, Some(&nodes)),
        queues: queues.iter().map(Queue::read).collect(),
        matching: 3,
        now_s: 1_000,
    }
}

fn shown(state: &State, width: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, 8)).unwrap();
    terminal.draw(|frame| view::draw(frame, state)).unwrap();
    let lines = terminal.backend().to_string();
    // Each line stands in quotes.
    let lines = lines.lines().map(|line| line.trim_matches('"').trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

fn state() -> State {
    let mut state = State::new(Sort::Depth, String::new());
    state.take(Ok(snapshot()));
    state
}

fn names(state: &State) -> Vec<&str> {
    state.snapshot.queues.iter().map(|queue| queue.name.as_str()).collect()
}

#[test]
fn a_frame_has_totals_alarms_and_the_queues_by_depth() {
    assert_eq!(
        shown(&state(), 96),
        "\
n 1.2  ALARM: disk — publishers are blocked
2 connections  3 channels  4 consumers  3 queues
12 ready  3 unacked  in 12.5k/s  out 0/s  acked 0.5/s
VHOST      QUEUE            READY▼     UNACKED  IN/s      OUT/s     AGE      CONSUMERS  STATE
/          a                10         1        1.2       0         -        1          running
/          b                2          1        0         0         1m00s    0          running
/          c                0          1        300       0         10s      2          running
3 queues  sort: d·epth i·n o·ut a·ge c·onsumers n·ame  / filter  space pause  q quit"
    );
}

#[test]
fn letters_sort_and_sort_the_other_way_round() {
    let mut state = state();
    for (key, expected, title) in [
        ('i', ["c", "a", "b"], "IN/s▼"),
        ('i', ["b", "a", "c"], "IN/s▲"),
        ('c', ["c", "a", "b"], "CONSUMERS▼"),
        ('a', ["b", "c", "a"], "AGE▲"),
        ('n', ["a", "b", "c"], "QUEUE▲"),
        ('n', ["c", "b", "a"], "QUEUE▼"),
        ('d', ["a", "b", "c"], "READY▼"),
    ] {
        assert!(state.press(Key::Letter(key)), "the broker sorts, too");
        assert_eq!(names(&state), expected, "{key}");
        assert!(shown(&state, 120).contains(title), "{key}\n{}", shown(&state, 120));
    }
    assert!(!state.press(Key::Letter('z')));
}

#[test]
fn queues_of_the_same_rank_do_not_jump() {
    let mut state = State::new(Sort::Consumers, String::new());
    for order in [["x", "y"], ["y", "x"]] {
        let queues = order.map(|name| Queue::read(&queue(name, 1, 0.0, 1, None))).to_vec();
        state.take(Ok(Snapshot { queues, ..snapshot() }));
        assert_eq!(names(&state), ["x", "y"]);
    }
}

#[test]
fn a_filter_is_typed_kept_and_cleared() {
    let mut state = state();
    assert!(!state.press(Key::Letter('/')));
    assert!(state.press(Key::Letter('q')), "a letter, not the end");
    assert!(state.press(Key::Letter('1')));
    assert!(
        shown(&state, 80).ends_with("filter: q1_  (Enter keeps it, Esc clears it)"),
        "{}",
        shown(&state, 80)
    );
    assert!(state.press(Key::Backspace));
    state.press(Key::Enter);
    assert_eq!((state.filter.as_str(), state.is_typing, state.is_over), ("q", false, false));
    assert!(shown(&state, 100).contains("3 queues with 'q'  sort:"));
    state.press(Key::Letter('/'));
    assert!(state.press(Key::Escape));
    assert_eq!(state.filter, "");
}

#[test]
fn it_pauses_moves_and_ends() {
    let mut state = state();
    assert!(!state.press(Key::Letter(' ')));
    assert!(shown(&state, 80).contains("PAUSED"));
    assert!(state.press(Key::Letter(' ')), "what was missed is asked for at once");
    state.press(Key::Down);
    assert!(!shown(&state, 80).contains("a                10"));
    state.press(Key::PageDown);
    assert_eq!(state.offset, 2, "the last one stays in sight");
    state.press(Key::PageUp);
    assert_eq!(state.offset, 0);
    state.press(Key::Letter('q'));
    assert!(state.is_over);
    let mut other = self::state();
    other.press(Key::Letter('/'));
    other.press(Key::Interrupt);
    assert!(other.is_over, "also while one types");
}

#[test]
fn a_broker_that_goes_away_is_told_and_what_was_known_stays() {
    let mut state = state();
    state.take(Err("no broker at x".into()));
    let text = shown(&state, 80);
    assert!(text.ends_with("no broker at x") && text.contains("a                10"), "{text}");
    state.take(Ok(Snapshot { matching: 9, ..snapshot() }));
    assert!(shown(&state, 100).contains("first 3 of 9 queues"));
}

#[test]
fn names_do_not_reach_the_terminal_as_they_are() {
    let mut state = state();
    let queues = vec![Queue::read(&queue("\u{1b}[2J", 1, 0.0, 1, None))];
    state.take(Ok(Snapshot { queues, ..snapshot() }));
    assert!(shown(&state, 100).contains("\\u{1b}[2J"), "{}", shown(&state, 100));
}

#[test]
fn keys_of_the_terminal_are_ours() {
    let key = |code, modifiers| key_of(KeyEvent::new(code, modifiers));
    assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Interrupt));
    assert_eq!(key(KeyCode::Char('c'), KeyModifiers::NONE), Some(Key::Letter('c')));
    assert_eq!(key(KeyCode::Esc, KeyModifiers::NONE), Some(Key::Escape));
    assert_eq!(key(KeyCode::F(1), KeyModifiers::NONE), None);
}

#[test]
fn a_queue_that_nobody_consumes_from_is_yellow() {
    let mut terminal = Terminal::new(TestBackend::new(96, 8)).unwrap();
    terminal.draw(|frame| view::draw(frame, &state())).unwrap();
    let buffer = terminal.backend().buffer();
    // Below the head and the titles: a, b and c, of which b has two messages and no consumer.
    let colours: Vec<_> = (4..7).map(|line| buffer[(11, line)].fg).collect();
    let (plain, yellow) = (ratatui::style::Color::Reset, ratatui::style::Color::Yellow);
    assert_eq!(colours, [plain, yellow, plain]);
}
