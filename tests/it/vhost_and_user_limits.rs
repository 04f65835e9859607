//! Limits of vhosts and users: connections, channels, queues.

use crate::support::broker::{Process, start_in_process};
use crate::support::{Client, Login, Scenario, scenarios};
use serde_json::json;

fn limit_vhost(t: &Scenario, limit: &str, value: i64) {
    t.set(&format!("/api/vhost-limits/~v/{limit}"), &json!({ "value": value }));
}

fn limit_user(t: &Scenario, limit: &str, value: i64) {
    t.set(&format!("/api/user-limits/~u/{limit}"), &json!({ "value": value }));
}

/// Logs in; the answer to connection.open is still to come.
fn ask(t: &Scenario, login: &Login) -> Client {
    let mut c = t.socket();
    c.log_in(login);
    c
}

fn in_vhost() -> Login {
    Login::default().vhost("~v")
}

fn a_vhost_has_so_many_queues_and_no_more(t: &Scenario) {
    t.vhost("~v");
    let mut c = t.open_as(&in_vhost());
    c.declare(1, "~1", "durable");
    limit_vhost(t, "max-queues", 2);
    c.declare(1, "~2", "exclusive");
    let why = "406 PRECONDITION_FAILED - cannot declare queue '~3': queue limit in vhost '~v' (2) is reached (queue.declare)";
    c.refused(1, "queue.declare queue=~3 durable", why);
    c.refused(1, "queue.declare queue=~3 exclusive", why);
    // What is there may be declared again, and what goes makes room.
    c.call(1, "queue.declare queue=~1 durable", "queue.declare-ok queue=~1 messages=0 consumers=0");
    c.call(1, "queue.delete queue=~1", "queue.delete-ok messages=0");
    c.declare(1, "~3", "durable");
    limit_vhost(t, "max-queues", -1);
    c.declare(1, "~4", "durable");
    t.forget(&["/api/vhosts/~v"]);
}

fn with_a_limit_of_0_a_vhost_has_no_queues(t: &Scenario) {
    t.vhost("~v");
    limit_vhost(t, "max-queues", 0);
    let mut c = t.open_as(&in_vhost());
    c.refused(
        1,
        "queue.declare queue=~q durable",
        "406 PRECONDITION_FAILED - cannot declare queue '~q': queue limit in vhost '~v' (0) is reached (queue.declare)",
    );
    t.unset("/api/vhost-limits/~v/max-queues");
    c.declare(1, "~q", "durable");
    t.forget(&["/api/vhosts/~v"]);
}

fn a_vhost_has_so_many_connections_and_no_more(t: &Scenario) {
    t.vhost("~v");
    limit_vhost(t, "max-connections", 1);
    let mut first = t.open_as(&in_vhost());
    // RabbitMQ counts a connection a moment after it is open.
    t.let_it_spread();
    ask(t, &in_vhost()).expect_connection_close(
        "530 NOT_ALLOWED - access to vhost '~v' refused for user 'guest': connection limit (1) is reached \
         (connection.open)",
    );
    t.open().close();
    first.close();
    // For RabbitMQ a connection lasts until its client ends the stream.
    first.hang_up();
    t.let_it_spread();
    t.open_as(&in_vhost()).close();
    limit_vhost(t, "max-connections", 0);
    ask(t, &in_vhost()).expect_connection_close(
        "530 NOT_ALLOWED - access to vhost '~v' refused for user 'guest': connection limit (0) is reached \
         (connection.open)",
    );
    limit_vhost(t, "max-connections", -1);
    let mut both = [t.open_as(&in_vhost()), t.open_as(&in_vhost())];
    both.iter_mut().for_each(Client::close);
    t.forget(&["/api/vhosts/~v"]);
}

fn a_user_has_so_many_connections_and_no_more(t: &Scenario) {
    t.user("~u", "", Some([".*", ".*", ".*"]));
    limit_user(t, "max-connections", 1);
    let mut first = t.open_as(&Login::user("~u"));
    t.let_it_spread();
    ask(t, &Login::user("~u")).expect_connection_close(
        "530 NOT_ALLOWED - connection refused for user '~u': user connection limit (1) is reached (connection.open)",
    );
    t.open().close();
    first.close();
    // For RabbitMQ a connection lasts until its client ends the stream.
    first.hang_up();
    t.let_it_spread();
    t.open_as(&Login::user("~u")).close();
    limit_user(t, "max-connections", 0);
    ask(t, &Login::user("~u")).expect_connection_close(
        "530 NOT_ALLOWED - connection refused for user '~u': user connection limit (0) is reached (connection.open)",
    );
    t.unset("/api/user-limits/~u/max-connections");
    t.open_as(&Login::user("~u")).close();
    t.forget(&["/api/users/~u"]);
}

fn a_user_has_so_many_channels_and_no_more(t: &Scenario) {
    t.user("~u", "", Some([".*", ".*", ".*"]));
    limit_user(t, "max-channels", 2);
    let mut first = t.open_as(&Login::user("~u"));
    let mut second = t.open_as(&Login::user("~u"));
    t.let_it_spread();
    second.send(2, "channel.open");
    second.expect_connection_close(
        "530 NOT_ALLOWED - number of channels opened for user '~u' has reached the maximum allowed user limit of (2) \
         (0/0)",
    );
    t.let_it_spread();
    // Those of the connection that ended count no more, nor does one that is closed.
    first.open_channel(2);
    first.close_channel(2);
    t.let_it_spread();
    first.open_channel(3);
    limit_user(t, "max-channels", -1);
    first.open_channel(4);
    first.close();
    t.forget(&["/api/users/~u"]);
}

scenarios![
    a_vhost_has_so_many_queues_and_no_more,
    with_a_limit_of_0_a_vhost_has_no_queues,
    a_vhost_has_so_many_connections_and_no_more,
    a_user_has_so_many_connections_and_no_more,
    a_user_has_so_many_channels_and_no_more,
];

/// In one batch of frames: what is closed has made room for what is opened behind it.
#[test]
fn a_channel_may_be_opened_in_the_place_of_one_that_is_closed_just_before() {
    crate::support::scenario::run(|t| {
        t.user("~u", "", Some([".*", ".*", ".*"]));
        limit_user(t, "max-channels", 1);
        let mut c = t.open_as(&Login::user("~u"));
        for _ in 0..50 {
            c.send(1, "channel.close code=200");
            c.send(1, "channel.open");
        }
        for _ in 0..50 {
            c.expect("1 channel.close-ok");
            c.expect("1 channel.open-ok");
        }
        c.close();
        t.forget(&["/api/users/~u"]);
    });
}

/// A lost connection gives its places back as a closed one does.
#[test]
fn whoever_hangs_up_makes_room_for_another() {
    let (target, _) = start_in_process();
    let t = Scenario::new(target, true);
    t.user("~u", "", Some([".*", ".*", ".*"]));
    t.vhost("~v");
    t.permit("~u", "~v", ["", "", ""]);
    for limit in ["max-connections", "max-channels"] {
        limit_user(&t, limit, 1);
    }
    limit_vhost(&t, "max-connections", 1);
    for _ in 0..5 {
        let started = warren::time::now();
        let mut c = loop {
            let mut c = ask(&t, &Login::user("~u").vhost("~v"));
            if c.next("connection.open-ok").unwrap().method.name == "connection.open-ok" {
                break c;
            }
            assert!(started.elapsed() < crate::support::raw::PATIENCE, "its place is never free again");
        };
        c.open_channel(1);
        c.hang_up();
    }
}

/// Many ask at once, and exactly as many get in as may.
#[test]
fn a_limit_is_never_exceeded_however_many_ask_at_once() {
    const LIMIT: usize = 7;
    const CLIENTS: usize = 40;
    let (target, _) = start_in_process();
    let t = Scenario::new(target, true);
    t.vhost("~v");
    limit_vhost(&t, "max-connections", LIMIT as i64);
    let all_are_answered = std::sync::Arc::new(std::sync::Barrier::new(CLIENTS));
    let asked: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (vhost, all_are_answered) = (format!("{}v", t.trace.prefix), all_are_answered.clone());
            std::thread::spawn(move || {
                let t = Scenario::new(target, true);
                let mut c = ask(&t, &Login::default().vhost(&vhost));
                let is_in = c.next("an answer").unwrap().method.name == "connection.open-ok";
                all_are_answered.wait();
                is_in
            })
        })
        .collect();
    let answered = asked.into_iter().map(|thread| thread.join().unwrap());
    assert_eq!(answered.filter(|is_in| *is_in).count(), LIMIT);
}

#[test]
fn limits_survive_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let process = Process::start(&data);
    let t = Scenario::new(process.target, true);
    t.user("~u", "", Some([".*", ".*", ".*"]));
    t.vhost("~v");
    limit_vhost(&t, "max-queues", 0);
    limit_vhost(&t, "max-connections", 5);
    limit_user(&t, "max-channels", 5);
    limit_user(&t, "max-connections", 0);
    // What belonged to a vhost and a user that are gone is not of those that come under their names.
    t.vhost("~again");
    t.user("~again", "", None);
    t.set("/api/vhost-limits/~again/max-queues", &json!({"value": 0}));
    t.set("/api/user-limits/~again/max-channels", &json!({"value": 0}));
    t.forget(&["/api/vhosts/~again", "/api/users/~again"]);
    t.vhost("~again");
    t.user("~again", "", None);
    t.forget(&["/api/vhost-limits/~v/max-connections", "/api/user-limits/~u/max-channels"]);
    process.kill();
    let process = Process::start(&data);
    let t = t.moved(process.target);
    assert_eq!(t.shown("/api/vhost-limits"), json!([{"vhost": "~v", "value": {"max-queues": 0}}]));
    assert_eq!(t.shown("/api/user-limits"), json!([{"user": "~u", "value": {"max-connections": 0}}]));
    ask(&t, &Login::user("~u")).expect_connection_close(
        "530 NOT_ALLOWED - connection refused for user '~u': user connection limit (0) is reached (connection.open)",
    );
    process.stop();
}
